"""The table `usage`: sums of what was done to each key, computed while events are written."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import Numbers, from_booleans, from_numbers, read_numbers, to_numbers
from tracer.registry.ntstatus import NAME_NOT_FOUND, NOT_FAILURES, NOT_SUCCESS
from tracer.registry.operation_rows import holds, match_cases
from tracer.registry.operations import GROUPS, OPERATIONS, Condition, find_operations
from tracer.schema import USAGE

__all__ = ["Usage"]

Column = NDArray[np.int64]
Bools = NDArray[np.bool_]
_NUMBERS = {operation.name: number for number, operation in enumerate(OPERATIONS)}
_UNKNOWN = len(_NUMBERS)  # number of an operation that is none of ours
_COUNTED = tuple(name for name, group in GROUPS.items() if group.counted)
_READS = np.isin([*_NUMBERS, ""], find_operations("read"))
_SET = _NUMBERS["SetValueKey"]
_BLOCK = 1 << 15  # rows at a time: what is made of them on the way stays near the processor
# Counts that some operations belong to whatever else a row says are added as one number each row; what depends on more
# is looked at row by row, for it is rare. A block is at most 2 to the 15th.
_BITS = 16
_PACKED = [name for name in _COUNTED if any(not case.conditions for case in GROUPS[name].cases)]
_STEP = {name: np.uint64(1 << place * _BITS) for place, name in enumerate(_PACKED)}
assert len(_PACKED) * _BITS <= 64, "too many counts for one number"
_COUNTS = np.zeros(_UNKNOWN + 1, np.uint64)
_RARE: dict[str, list[tuple[str, tuple[Condition, ...]]]] = {}  # operation -> counts, and on what they depend
for _name in _COUNTED:
    for _case in GROUPS[_name].cases:
        for _operation in _case.operations:
            if _case.conditions:
                _RARE.setdefault(_operation, []).append((_name, _case.conditions))
            else:
                _COUNTS[_NUMBERS[_operation]] += _STEP[_name]
_NOISE = GROUPS["noise"].cases
_COLUMNS = (
    "sequence", "time_ns", "key_id", "operation", "status", "disposition", "information_class", "data_size", "duration_ns",
)  # fmt: skip
_SUMS = ("events", *_COUNTED, "failures", "not_found")
_KNOWN_SUMS = ("bytes_read", "bytes_written", "time_spent_ns")  # NULL where none is known
_FIRSTS = ("first_ns", "first_sequence")
_LASTS = ("last_ns", "last_sequence")
_ROUGH = "rough time_spent_ns"  # a float: it tells whether damaged durations add up to more than 64 bits
_STARTS = {  # what is summed, and what it is before the first row
    **dict.fromkeys((*_SUMS, *_KNOWN_SUMS, *(f"known {name}" for name in _KNOWN_SUMS)), 0),
    _ROUGH: 0.0,
    **dict.fromkeys(_FIRSTS, np.iinfo(np.int64).max),
    **dict.fromkeys(_LASTS, np.iinfo(np.int64).min),
}


class Usage:
    """Sums by key, added row group by row group: one set of what programs did, one of noise (`GROUPS["noise"]`)."""

    def __init__(self) -> None:
        self._sums = {False: _Sums(), True: _Sums()}

    def add(self, events: pa.Table) -> None:
        """Add rows of a table `events`, sorted by (key_id, sequence)."""
        events = events.select(_COLUMNS)
        for start in range(0, events.num_rows, _BLOCK):
            block = events.slice(start, _BLOCK)
            is_noise = match_cases(block, _NOISE)
            if not is_noise.any():
                self._sums[False].add(block)
                continue
            for noise, sums in self._sums.items():
                rows = block.take(from_numbers(np.flatnonzero(is_noise == noise)))
                if rows.num_rows:
                    sums.add(rows)

    def arrow(self) -> pa.Table:
        """Return the table `usage`: one row per key that has events, then one per key that has noise."""
        return pa.concat_tables(sums.arrow(noise=noise) for noise, sums in self._sums.items())

    def total(self, name: str) -> int:
        """Return a sum over all keys, and over the operations without one."""
        return sum(sums.total(name) for sums in self._sums.values())


class _Sums:
    """Sums by key; the first row is for operations without a key."""

    def __init__(self) -> None:
        self._sums = {name: np.full(0, start) for name, start in _STARTS.items()}

    def add(self, events: pa.Table) -> None:
        """Add rows, sorted by (key_id, sequence); there is one at least."""
        key = _numbers(events, "key_id").or_else(-1)
        begins = np.append(0, np.flatnonzero(key[1:] != key[:-1]) + 1)
        rows = key.take(begins).astype(np.int64) + 1
        self._make_room(int(rows.max()) + 1)
        for name, sums in _sums_of_runs(events, begins).items():
            own = self._sums[name]
            if name in _FIRSTS:
                own[rows] = np.minimum(own[rows], sums)
            elif name in _LASTS:
                own[rows] = np.maximum(own[rows], sums)
            else:
                own[rows] += sums

    def arrow(self, *, noise: bool) -> pa.Table:
        """Return one row per key that has events, those without a key first."""
        rows = np.flatnonzero(self._sums["events"])
        columns = {name: sums.take(rows) for name, sums in self._sums.items()}
        columns["known time_spent_ns"][np.abs(columns[_ROUGH]) >= 2.0**62] = 0
        arrays = {
            "key_id": from_numbers(rows - 1, rows != 0),
            "noise": from_booleans(np.full(len(rows), noise)),
        }
        for name in (*_SUMS, *_KNOWN_SUMS, *_FIRSTS, *_LASTS):
            known = columns[f"known {name}"] != 0 if name in _KNOWN_SUMS else None
            arrays[name] = from_numbers(columns[name], known)
        return pa.table(arrays).select(USAGE.names).cast(USAGE.arrow())

    def total(self, name: str) -> int:
        return int(self._sums[name].sum())

    def _make_room(self, rows: int) -> None:
        room = len(self._sums["events"])
        if rows > room:
            room = max(rows, room + room // 2)
            for name, sums in self._sums.items():
                self._sums[name] = np.append(sums, np.full(room - len(sums), _STARTS[name]))


def _sums_of_runs(events: pa.Table, begins: Column) -> dict[str, Column]:
    """Return the sums of the rows from each of `begins` up to the next one, by the names of _STARTS."""
    rows, count = events.num_rows, len(begins)
    ends = np.append(begins[1:], rows)
    run = np.repeat(np.arange(count), ends - begins)

    def count_of(some: Column) -> Column:
        return np.bincount(run.take(some), minlength=count)

    def sum_of(name: str, values: NDArray, some: Column) -> dict[str, Column]:  # type: ignore[type-arg]
        sums = np.zeros(count, np.int64)
        np.add.at(sums, run.take(some), values.take(some).astype(np.int64))
        return {name: sums, f"known {name}": count_of(some)}

    operation = _operations(events["operation"])
    columns = {name: _numbers(events, name) for name in ("status", "disposition", "information_class")}
    packed = _COUNTS.take(operation)
    rare = {name: np.zeros(count, np.int64) for name in _COUNTED if name not in _STEP}
    for name, depending in _RARE.items():
        of_operation = np.flatnonzero(operation == _NUMBERS[name])
        for group, conditions in depending if len(of_operation) else ():
            some = of_operation
            for condition in conditions:
                column = columns[condition.column]
                some = some[holds(condition, column.values.take(some), column.is_valid.take(some))]
            if group in rare:
                rare[group] += count_of(some)
            else:
                packed[some] += _STEP[group]
    counts = np.add.reduceat(packed, begins)
    status = columns["status"]
    size, duration = _numbers(events, "data_size"), _numbers(events, "duration_ns")
    not_done = np.flatnonzero(status.is_valid & (status.values >= NOT_SUCCESS))
    code = status.values.take(not_done)
    sized = np.flatnonzero(size.is_valid & status.is_valid & (status.values < NOT_SUCCESS))
    timed = np.flatnonzero(duration.is_valid)
    time_ns, sequence = (_numbers(events, name).values for name in ("time_ns", "sequence"))
    return {
        "events": ends - begins,
        **{
            name: (counts >> np.uint64(place * _BITS) & np.uint64((1 << _BITS) - 1)).astype(np.int64)
            for place, name in enumerate(_PACKED)
        },
        **rare,
        "failures": count_of(not_done[~np.isin(code, NOT_FAILURES)]),
        "not_found": count_of(not_done[code == NAME_NOT_FOUND]),
        **sum_of("bytes_read", size.values, sized[_READS.take(operation.take(sized))]),
        **sum_of("bytes_written", size.values, sized[operation.take(sized) == _SET]),
        **sum_of("time_spent_ns", duration.values, timed),
        _ROUGH: np.bincount(run.take(timed), duration.values.take(timed), count),
        "first_ns": np.minimum.reduceat(time_ns, begins),
        "last_ns": np.maximum.reduceat(time_ns, begins),
        "first_sequence": sequence.take(begins),
        "last_sequence": sequence.take(ends - 1),
    }


def _operations(operation: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Return the number of each row's operation; a row without one has _UNKNOWN."""
    if not pa.types.is_dictionary(operation.type):
        operation = operation.dictionary_encode()
    operation = operation.combine_chunks()
    numbers = [_NUMBERS.get(name, _UNKNOWN) for name in operation.dictionary.to_pylist()]
    return np.array(numbers, np.uint8).take(to_numbers(operation.indices))


def _numbers(events: pa.Table, name: str) -> Numbers:
    return read_numbers(events[name].combine_chunks())
