r"""Strings with wildcards and regular expressions as tests of one text.

Texts compare by the registry's own upper case (`tracer.registry.text.fold_name`), unless a rule asks for the case (`cased`,
`re`). No pattern and no text makes a test slow: wildcards are an automaton's, expressions RE2's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.rules.sigma_tests import MAYBE, NO, YES, Test
from tracer.registry.text import escape_name, fold_name

__all__ = ["AnyPattern", "Pattern", "Regex"]

_LONG = 1_000  # letters of a pattern that RE2, whose memory for one is limited, is not asked about
_MANY = 200  # patterns that it is asked about at once


@dataclass(frozen=True)
class Pattern(Test):
    """A string with wildcards.

    Attributes:
        tokens: its letters; "" stands for any one letter (``?``), None for any number of letters (``*``).
        is_cased: whether the case counts.
    """

    tokens: tuple[str | None, ...]
    is_cased: bool = False
    _shape: tuple[str, str] = field(init=False, compare=False, default=("", ""))

    def __post_init__(self) -> None:
        object.__setattr__(self, "_shape", _shape_of(self.tokens))

    @classmethod
    def of(cls, parts: Sequence[Any], *, is_cased: bool = False) -> "Pattern":
        """Return the pattern of some parts: text, "" for any one letter, None for any number of letters."""
        tokens: list[str | None] = []
        for part in parts:
            if part is None:
                if not tokens or tokens[-1] is not None:
                    tokens.append(None)
            elif part == "":
                tokens.append("")
            else:
                text = escape_name(part)
                tokens += text if is_cased else fold_name(text)
        return cls(tuple(tokens), is_cased)

    @property
    def is_folded(self) -> bool:  # type: ignore[override]
        """Whether texts are handed over in upper case."""
        return not self.is_cased

    @property
    def searches(self) -> bool:
        """Whether letters are looked for inside a text, which takes longer than a look at its ends."""
        return self._shape[0] in ("contains", "wildcards")

    @property
    def folded(self) -> "Pattern":
        """The same pattern for which the case does not count."""
        return Pattern(tuple(token and fold_name(token) for token in self.tokens))

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        kind, letters = self._shape
        if kind == "contains":
            return letters in text
        if kind == "endswith":
            return text.endswith(letters)
        if kind == "equals":
            return text == letters
        if kind == "startswith":
            return text.startswith(letters)
        return bool(
            self._run(1, text) & self._automaton[2]
        )  # in time that grows with the text, and no faster

    def matches_all(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Tell of each of many texts whether it passes."""
        kind, letters = self._shape
        if kind == "endswith":
            found = pc.ends_with(texts, letters)
        elif kind == "equals":
            found = pc.equal(texts, letters)
        elif kind == "startswith":
            found = pc.starts_with(texts, letters)
        elif len(self.tokens) > _LONG:
            return super().matches_all(texts)
        else:  # RE2 finds letters inside a text in a third of the time that Arrow's own search takes
            found = pc.match_substring_regex(texts, f"(?s){self.searched}")
        return found.to_numpy(zero_copy_only=False)

    def of_end(self, end: str) -> int:
        """Return the verdict on a text that is longer than its known end."""
        states, loops, accepted = self._automaton
        # Whatever stands before the end, a wildcard at the very beginning may take it; and it may have led to any state.
        if self._run(loops & 1, end) & accepted:
            return YES
        return MAYBE if self._run(states & ~1 | loops & 1, end) & accepted else NO

    def of_beginning(self, beginning: str) -> int:
        """Return the verdict on a text that is longer than its known beginning."""
        _, loops, accepted = self._automaton
        reached = self._run(1, beginning)
        if reached & accepted & loops:
            return YES
        return MAYBE if reached & ~accepted else NO  # at least one letter follows

    @property
    def searched(self) -> str:
        """The pattern as an expression of RE2 that is looked for anywhere in a text."""
        kind, letters = self._shape
        if kind == "contains":
            return re.escape(letters)
        some = {None: ".*", "": "."}
        return rf"\A{''.join(re.escape(token) if token else some[token] for token in self.tokens)}\z"

    @cached_property
    def _automaton(self) -> tuple[int, int, int]:
        """The states as bits: all, those that stay for any letter, and the last."""
        singles = [token for token in self.tokens if token is not None]
        loops = place = 0
        for token in self.tokens:
            if token is None:
                loops |= 1 << place
            else:
                place += 1
        return (2 << len(singles)) - 1, loops, 1 << len(singles)

    @cached_property
    def _steps(self) -> tuple[dict[str, int], int]:
        """The states that a letter leads out of, by letter, and those that any letter does."""
        by_letter: dict[str, int] = {}
        singles = [token for token in self.tokens if token is not None]
        for place, token in enumerate(singles):
            by_letter[token] = by_letter.get(token, 0) | 1 << place
        return by_letter, by_letter.pop("", 0)

    def _run(self, states: int, text: str) -> int:
        """Return the states that the letters of a text lead to."""
        by_letter, by_any = self._steps
        loops = self._automaton[1]
        for letter in text:
            states = (states & (by_letter.get(letter, 0) | by_any)) << 1 | states & loops
            if not states:
                return 0
        return states


@dataclass(frozen=True)
class AnyPattern(Test):
    """At least one of some patterns, for none of which the case counts; one search instead of many.

    Attributes:
        patterns: the patterns.
    """

    patterns: tuple[Pattern, ...]

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        return any(one.matches(text) for one in self.patterns)

    def matches_all(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Tell of each of many texts whether it passes."""
        found = np.zeros(len(texts), bool)
        batch: list[str] = []
        for pattern in self.patterns:
            if len(pattern.tokens) > _LONG:
                found |= pattern.matches_all(texts)
                continue
            batch.append(pattern.searched)
            if len(batch) == _MANY:
                found |= _searched(texts, batch)
                batch = []
        return found | _searched(texts, batch) if batch else found

    def of_end(self, end: str) -> int:
        """Return the verdict on a text that is longer than its known end."""
        return max(one.of_end(end) for one in self.patterns)

    def of_beginning(self, beginning: str) -> int:
        """Return the verdict on a text that is longer than its known beginning."""
        return max(one.of_beginning(beginning) for one in self.patterns)


@dataclass(frozen=True)
class Regex(Test):
    """A regular expression, searched for anywhere in the text; RE2's, whose time grows with the text and no faster.

    Attributes:
        text: the expression, with its flags in front.
    """

    text: str
    is_folded = False

    @classmethod
    def of(cls, text: str, flags: str) -> "Regex":
        """Return the test of an expression.

        Args:
            text: the expression.
            flags: letters of ``i``, ``m`` and ``s``.

        Raises:
            ValueError: RE2 does not know such an expression.
        """
        made = cls(f"(?{flags}){text}" if flags else text)
        try:
            pc.match_substring_regex(pa.array([""]), made.text)
        except (pa.ArrowInvalid, UnicodeError) as error:
            raise ValueError("a regular expression that looks around, refers back or is too large") from error
        return made

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        return bool(self.matches_all(pa.array([text]))[0])

    def matches_all(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Tell of each of many texts whether it passes."""
        return pc.match_substring_regex(texts, self.text).to_numpy(zero_copy_only=False)


def _searched(texts: pa.Array, expressions: Sequence[str]) -> NDArray[np.bool_]:
    """Return which texts hold what one of some expressions finds."""
    return pc.match_substring_regex(texts, f"(?s){'|'.join(expressions)}").to_numpy(zero_copy_only=False)


def _shape_of(tokens: tuple[str | None, ...]) -> tuple[str, str]:
    """Return what kind of pattern it is, and its letters where these are all."""
    first, last = tokens[:1] == (None,), len(tokens) > 1 and tokens[-1] is None
    inner = tokens[first : len(tokens) - last]
    if not all(inner):
        return "wildcards", ""
    kind = ("contains" if last else "endswith") if first else ("startswith" if last else "equals")
    return kind, "".join(token for token in inner if token)
