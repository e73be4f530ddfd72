"""Every question that captures are asked, for tests that compare one capture with many, and engines with each other."""

from collections.abc import Callable

import pandas as pd

from analysis.capture import Capture

__all__ = ["NOT_ASKED", "QUESTIONS"]

SOFTWARE = r"HKLM\SOFTWARE"

# "method" or "method, how" -> asks it
QUESTIONS: dict[str, Callable[[Capture], pd.DataFrame]] = {
    "timeline": lambda capture: capture.timeline(),
    "timeline of a subtree": lambda capture: capture.timeline(SOFTWARE, subtree=True),
    "timeline of a process": lambda capture: capture.timeline(process="s*", operation="write"),
    "keys": lambda capture: capture.keys(),
    "who": lambda capture: capture.who(SOFTWARE),
    "history": lambda capture: capture.history(SOFTWARE, subtree=True),
    "state under": lambda capture: capture.state(under=SOFTWARE, process="*e*"),
    "changes under": lambda capture: capture.changes(under=SOFTWARE),
    "hot by key": lambda capture: capture.hot(),
    "hot by second": lambda capture: capture.hot(by="second", every_s=0.001),
    "hot by storm": lambda capture: capture.hot(by="storm", min_count=3),
    "tree under": lambda capture: capture.tree(under=SOFTWARE, depth=1, sort="events"),
    "handles by key": lambda capture: capture.handles(by="key", min_count=2),
    "redundant": lambda capture: capture.redundant(),
    "coverage": lambda capture: capture.coverage(),
    "errors": lambda capture: capture.errors(),
    "keys under": lambda capture: capture.keys(under=SOFTWARE, operation="write"),
}

# Methods whose answer over many captures is not that of each put together, and why.
NOT_ASKED = {
    "autoruns": "no key of these captures is an autostart point: test_answer_autoruns asks others",
    "bisect": "compares two captures",
    "blame": "names the change sets of each capture by itself, as log does",
    "diff": "compares two captures",
    "first_divergence": "compares two captures",
    "log": "names change sets by their content: each capture has its own",
    "rules": "needs files of rules: tests/test_answer_rules.py asks many captures",
    "why": "needs one value: tests/test_answer_why.py asks many captures",
    "triage": "is made of autoruns, rules and changes: tests/test_triage.py asks many captures",
    "slow": "is about the time of one capture",
}
