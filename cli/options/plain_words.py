"""Words of a command line that are what they say: typer takes them without the library that checks the others.

typer checks every word with pydantic, which takes longer to load than most answers to compute. A text is taken as it is, and
so is a digit, a choice spelled as it is listed, a path that can be read or is not there yet. Whatever else was typed typer
checks itself, with its own messages.
"""

import os
import re
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin

__all__ = ["take_plain_words"]

_DIGITS = re.compile(r"[0-9]{1,18}")


def take_plain_words(parameters: list[Any]) -> list[Any]:
    """Return the parameters of a typer command, which now take plain words by themselves."""
    for parameter in parameters:
        checked = getattr(parameter, "get_runtime_param", None)  # an older or newer typer goes on as it does
        if checked is not None and "get_runtime_param" not in vars(parameter):
            words = _PlainWords(parameter, checked)
            parameter.get_runtime_param = lambda words=words: words
    return parameters


class _PlainWords:
    """The values of one parameter, in the place of typer's own object of this kind."""

    def __init__(self, parameter: Any, checked: Any) -> None:  # noqa: ANN401
        described = parameter.type_descriptor
        self._checked = checked
        self._limits = described.parameter_info.min, described.parameter_info.max
        self._several = get_origin(described.annotation) is list
        self._kind = get_args(described.annotation)[0] if self._several else described.annotation

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ANN401
        """Return the value of what was typed, None or () where nothing was."""
        if self._several and value is None:
            return ()
        words = value if self._several and isinstance(value, list | tuple) else [value]
        taken = [self._taken(word) for word in words]
        if any(one is None and word is not None for one, word in zip(taken, words, strict=True)):
            return self._checked().coerce(value, param=param, ctx=ctx)
        return taken if self._several else taken[0]

    def _taken(self, word: Any) -> Any:  # noqa: ANN401
        """Return the value of a plain word; None where typer is to look at it."""
        if self._kind is str and isinstance(word, str):
            return word
        if self._kind is Path and isinstance(word, str | Path):
            return Path(word) if not os.path.lexists(word) or os.access(word, os.R_OK) else None
        if self._kind is int and _DIGITS.fullmatch(str(word)):
            least, most = self._limits
            number = int(word)
            return number if (least is None or number >= least) and (most is None or number <= most) else None
        if isinstance(self._kind, type) and issubclass(self._kind, Enum):
            return next((choice for choice in self._kind if choice.value == word), None)
        return None
