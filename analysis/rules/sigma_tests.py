"""Tests of one text: what each answers, with three values, of a text that is known, known in part, or not at all.

Here are those of numbers, networks and null; strings with wildcards are in `analysis.rules.sigma_patterns`.
"""

import ipaddress
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["MAYBE", "NO", "YES", "Comparison", "IsNull", "Network", "Number", "Test", "Trits", "number_of"]

# Kleene's values: `and` is the least of some, `or` the greatest, `not` is 2 minus it.
NO, MAYBE, YES = 0, 1, 2
Trits = NDArray[np.uint8]

_DATA = re.compile(r"(?:DWORD \(0x([0-9a-f]{8})\)|QWORD \(0x([0-9a-f]{8})-0x([0-9a-f]{8})\))", re.IGNORECASE)


class Test:
    """One test of a text.

    Attributes:
        is_folded: whether texts are handed over in upper case.
    """

    is_folded = True

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        raise NotImplementedError

    def matches_all(self, texts: pa.Array) -> NDArray[np.bool_]:
        """Tell of each of many texts whether it passes."""
        return np.fromiter(map(self.matches, texts.to_pylist()), bool, len(texts))

    def of_end(self, end: str) -> int:
        """Return the verdict on a text that is longer than its known end."""
        del end
        return MAYBE

    def of_beginning(self, beginning: str) -> int:
        """Return the verdict on a text that is longer than its known beginning."""
        del beginning
        return MAYBE

    def of_absent(self) -> int:
        """Return the verdict on a field that such events do not have."""
        return NO

    def of_unknown(self) -> int:
        """Return the verdict on a field of which nothing is known."""
        return MAYBE


@dataclass(frozen=True)
class Number(Test):
    """A number: the text must be its digits, as Sigma's value ``Details: 0`` means the text 0."""

    number: float

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        return text == str(self.number)


@dataclass(frozen=True)
class Comparison(Test):
    """A comparison with a number (``lt``, ``lte``, ``gt``, ``gte``); a text that is no number passes none.

    Attributes:
        sign: one of ``< <= > >=``.
        number: what the text's number is compared with.
    """

    sign: str
    number: float

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        found = number_of(text)
        return found is not None and _SIGNS[self.sign](found, self.number)


@dataclass(frozen=True)
class IsNull(Test):
    """Whether a record has no such field (null, ``exists: false``).

    Attributes:
        expects: whether its absence passes; False: its presence.
    """

    expects: bool

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        del text
        return not self.expects

    def of_end(self, end: str) -> int:
        """Return the verdict on a text that is longer than its known end."""
        del end
        return NO if self.expects else YES

    def of_beginning(self, beginning: str) -> int:
        """Return the verdict on a text that is longer than its known beginning."""
        return self.of_end(beginning)

    def of_absent(self) -> int:
        """Return the verdict on a field that such events do not have."""
        return YES if self.expects else NO


@dataclass(frozen=True)
class Network(Test):
    """Whether the text is an address inside a network (``cidr``)."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network

    def matches(self, text: str) -> bool:
        """Tell whether a known text passes."""
        try:
            return ipaddress.ip_address(text.strip()) in self.network
        except ValueError:
            return False


def number_of(text: str) -> float | None:
    """Return the number that a text shows, also as Sysmon shows a REG_DWORD or REG_QWORD; None where it is none.

    >>> number_of("12"), number_of("DWORD (0x00000010)"), number_of("twelve")
    (12.0, 16, None)
    """
    if found := _DATA.fullmatch(text):
        return int(found[1] or found[2] + found[3], 16)
    try:
        return float(text) if text.isascii() and text[:1] in set("-+.0123456789") else None
    except ValueError:
        return None


_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
