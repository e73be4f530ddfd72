"""One field of many events as a column: each distinct thing that is known of it is tested once."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.rules.sigma_fields import Known
from analysis.rules.sigma_patterns import Pattern
from analysis.rules.sigma_tests import MAYBE, NO, YES, Test, Trits
from tracer.registry.text import fold_name

__all__ = ["FieldColumn", "column_of"]

Codes = NDArray[np.int32]

_FEW = 256  # texts that are looked at one by one


class FieldColumn:
    """One field of many events.

    Attributes:
        codes: of each event the place of what is known of its field.
    """

    def __init__(self, codes: Codes, known: Sequence[Known], *, is_spelled: bool = True) -> None:
        """Set up the column.

        Args:
            codes: of each event a place in `known`.
            known: what is known, each distinct one once.
            is_spelled: whether the case of the letters is that of the event; a capture keeps the first spelling of a name.
        """
        self.codes = codes
        self._known = known
        self._is_spelled = is_spelled
        # One text after the other of everything that is known as a whole, and an empty one in place of everything else.
        texts = [one.texts if one.how == "whole" else ("",) for one in known]
        self._starts = np.cumsum([0, *map(len, texts)])
        self._raw = [text for some in texts for text in some]
        self._folded = list(map(fold_name, self._raw))
        self._arrays: dict[bool, pa.Array] = {}
        self._others = [code for code, one in enumerate(known) if one.how != "whole"]
        self._all: dict[Test, Trits] = {}

    def verdicts(self, test: Test, rows: NDArray[np.int64]) -> Trits:
        """Return what a test says of the field of some events."""
        codes = self.codes[rows]
        if len(rows) >= _FEW and len(rows) * 8 >= len(self._known):
            if test not in self._all:
                self._all[test] = self._of_all(test)
            return self._all[test][codes]
        distinct, places = np.unique(codes, return_inverse=True)
        return np.array([self._of_one(test, code) for code in distinct.tolist()], np.uint8)[places]

    def known(self, row: int) -> Known:
        """Return what is known of the field of an event."""
        return self._known[self.codes[row]]

    def gaps(self, rows: NDArray[np.int64]) -> list[tuple[str, NDArray[np.int64]]]:
        """Return what is not known of the field of some events, each with the events of which it is not."""
        by_gap: dict[str, list[int]] = {}
        codes = self.codes[rows]
        for code in np.unique(codes).tolist():
            by_gap.setdefault(self._known[code].gap, []).append(code)
        return [(gap, rows[np.isin(codes, some)]) for gap, some in by_gap.items()]

    def _of_all(self, test: Test) -> Trits:
        """Return what a test says of everything that is known."""
        passed = test.matches_all(self._texts(folded=test.is_folded))
        if len(passed) == len(self._known):
            found = np.where(passed, YES, NO).astype(np.uint8)
        else:  # a field of which several texts are possible passes where all of them do
            starts = self._starts[:-1]
            found = np.logical_and.reduceat(passed, starts) + np.logical_or.reduceat(passed, starts).astype(
                np.uint8
            )
        for code in self._others:
            found[code] = _verdict(test, self._known[code])
        folded = self._folded_test(test)
        if folded is None:
            return found
        return np.where((found == NO) & (self._of_all(folded) != NO), np.uint8(MAYBE), found)

    def _of_one(self, test: Test, code: int) -> int:
        known = self._known[code]
        if known.how != "whole":
            return _verdict(test, known)
        texts = (self._folded if test.is_folded else self._raw)[self._starts[code] : self._starts[code + 1]]
        passed = {test.matches(text) for text in texts}
        found = MAYBE if len(passed) > 1 else YES if passed.pop() else NO
        folded = self._folded_test(test)
        return found if folded is None or found != NO else min(self._of_one(folded, code), MAYBE)

    def _folded_test(self, test: Test) -> Pattern | None:
        """Return the test without case where it asks for the case of names, of which only the first spelling is known."""
        return None if self._is_spelled or not isinstance(test, Pattern) or not test.is_cased else test.folded

    def _texts(self, *, folded: bool) -> pa.Array:
        if folded not in self._arrays:
            self._arrays[folded] = pa.array(self._folded if folded else self._raw, pa.string())
        return self._arrays[folded]


def _verdict(test: Test, known: Known) -> int:
    """Return what a test says of one field that is not known as a whole."""
    if known.how == "absent":
        return test.of_absent()
    if known.how == "nothing":
        return test.of_unknown()
    texts = [fold_name(text) for text in known.texts] if test.is_folded else known.texts
    found = {test.of_end(text) if known.how == "end" else test.of_beginning(text) for text in texts}
    return found.pop() if len(found) == 1 else MAYBE


def column_of(
    values: Sequence[Hashable], make: Callable[[Any], Known], *, is_spelled: bool = True
) -> FieldColumn:
    """Return the column of some events.

    Args:
        values: of each event what its field depends on.
        make: says what is known by it; called once for each distinct value.
        is_spelled: as of `FieldColumn`.
    """
    places: dict[Hashable, int] = {}
    known: dict[Known, int] = {}
    codes = np.empty(len(values), np.int32)
    for row, value in enumerate(values):
        code = places.get(value)
        if code is None:
            code = places[value] = known.setdefault(make(value), len(known))
        codes[row] = code
    return FieldColumn(codes, list(known), is_spelled=is_spelled)
