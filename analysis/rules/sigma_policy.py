"""How pySigma treats what a stranger's rule holds: regular expressions compile without a word on standard error.

RE2 is tried first, whose time does not explode. An expression that only Python's `re` knows is valid too: it is compiled to
see that it is one, and never searched with (`analysis.rules.sigma_patterns.Regex`).
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigma.policy import SigmaPolicy

__all__ = ["quiet_policy"]


@cache
def quiet_policy() -> "SigmaPolicy":
    """Return the policy for rules of strangers: nothing from outside, and no message of RE2."""
    import re2
    from sigma.policy import SigmaPolicy
    from sigma.policy.regex_engine import RegexEngine

    options = re2.Options()
    options.log_errors = False
    letters = {re.IGNORECASE: "i", re.MULTILINE: "m", re.DOTALL: "s"}

    class Engine(RegexEngine):
        def compile(self, pattern: str, flags: int = 0) -> Any:  # noqa: ANN401
            some = "".join(letter for flag, letter in letters.items() if flags & flag)
            try:
                return re2.compile(f"(?{some}){pattern}" if some else pattern, options)
            except re2.error:
                return re.compile(pattern, flags)

        @property
        def error(self) -> type[Exception]:
            return re.error

    return SigmaPolicy(regex_engine=Engine())
