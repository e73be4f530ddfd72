"""Times of possible changes without a record, looked up for many rows at once."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["Doubtful", "Intervals"]

_LAST_NS = 2**63 - 1
_MICROSECOND_NS = 1000

Bools = NDArray[np.bool_]
Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Intervals:
    """Intervals by start, with the latest end of all earlier ones; UTC nanoseconds, inclusive."""

    begins: Int64s
    ends: Int64s

    @classmethod
    def of(cls, rows: pa.Table) -> Self:
        """Return the intervals in the columns from_ns and to_ns; a NULL bound is the end of time."""
        begins = rows.column("from_ns").fill_null(-_LAST_NS).to_numpy()
        ends = rows.column("to_ns").fill_null(_LAST_NS).to_numpy()
        order = np.argsort(begins, kind="stable")
        return cls(begins[order], np.maximum.accumulate(ends[order]))

    def touch(self, after: Int64s, before: Int64s) -> Bools:
        """Tell which times, from `after` to `before`, overlap an interval."""
        place = np.searchsorted(self.begins, before, "right") - 1
        if not len(self.ends):
            return np.zeros(len(after), bool)
        touches: Bools = (place >= 0) & (self.ends[np.maximum(place, 0)] >= after)
        return touches


@dataclass(frozen=True, slots=True)
class Doubtful:
    """The times at which keys and values may have been changed without a record.

    Attributes:
        everything: losses, and times at which anything may have been changed.
        absence, key, values: as the kinds of `analysis.answers.unproved.unproved_changes`; values by folded name.
        end_ns: the end of the time asked about, UTC nanoseconds.
    """

    everything: Intervals
    absence: Intervals
    key: Intervals
    values: dict[str, Intervals]
    end_ns: int = _LAST_NS

    @classmethod
    def of(cls, losses: pa.Table, unproved: pa.Table | None, *, end_ns: int | None = None) -> Self:
        """Return the doubtful times from real losses (from_ns, to_ns) and the rows of `unproved_changes`."""
        if unproved is None:
            unproved = pa.table({"kind": pa.array([], pa.string()), "name": pa.array([], pa.string()),
                                 **{name: pa.array([], pa.int64()) for name in ("from_ns", "to_ns")}})  # fmt: skip
        kinds = {
            kind: unproved.filter(pc.equal(unproved.column("kind"), kind))
            for kind in ("everything", "absence", "key", "value")
        }
        times = [rows.select(["from_ns", "to_ns"]) for rows in (losses, kinds["everything"])]
        of_values = kinds["value"]
        values = {
            name: Intervals.of(of_values.filter(pc.equal(of_values.column("name"), name)))
            for name in of_values.column("name").unique().to_pylist()
        }
        return cls(
            Intervals.of(pa.concat_tables(times)),
            Intervals.of(kinds["absence"]),
            Intervals.of(kinds["key"]),
            values,
            _LAST_NS if end_ns is None else end_ns,
        )

    def between(
        self,
        after: pa.ChunkedArray,
        before: pa.ChunkedArray | None,
        values: pa.ChunkedArray,
        *,
        absent: Bools,
        is_key: Bools,
    ) -> Bools:
        """Tell for which rows a fact may have been changed between its time and another time.

        Args:
            after: when it was known, as a time of microseconds; where it is NULL the answer is no.
            before: until when, likewise; None: until the end of the time asked about.
            values: folded names of the values; NULL for keys.
            absent: whether it was known not to be there.
            is_key: whether it is a key.
        """
        has_time = pc.is_valid(after).to_numpy()
        start = _nanoseconds(after)
        stop = np.full(len(start), self.end_ns)
        if before is not None:  # times without their last three digits: the later end, to be sure
            stop = _nanoseconds(before) + (_MICROSECOND_NS - 1)
        in_doubt = self.everything.touch(start, stop)
        in_doubt |= absent & (self.absence.touch(start, stop) | (is_key & self.key.touch(start, stop)))
        if self.values:
            names = list(self.values)
            place = pc.index_in(values, pa.array(names, pa.string())).fill_null(-1).to_numpy()
            rows = np.flatnonzero(place >= 0)
            rows = rows[np.argsort(place[rows], kind="stable")]
            for group in np.split(rows, np.flatnonzero(np.diff(place[rows])) + 1):
                if len(group):
                    times = self.values[names[place[group[0]]]]
                    in_doubt[group] |= times.touch(start[group], stop[group])
        doubted: Bools = in_doubt & has_time
        return doubted


def _nanoseconds(times: pa.ChunkedArray) -> Int64s:
    numbers: Int64s = times.cast(pa.int64()).fill_null(0).to_numpy() * _MICROSECOND_NS
    return numbers
