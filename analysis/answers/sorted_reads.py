"""Reads of some keys summed up by loops over sorted columns: what `redundant` asks, in a fraction of the engine's time.

For each window an engine puts wide rows into order anew. Here numbers are put into order once, by question and time. The
engine still says which events are reads and which are changes (`analysis.answers.read_runs`), and
`analysis.answers.redundant` has the same sums as windows, for few rows and for engines that share the work among machines.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers.intervals import Intervals
from analysis.answers.reads import LEAST_INTERVALS, MISSES, READS
from analysis.answers.sorted_columns import (
    MOST_BITS,
    ORDER_BITS,
    Bools,
    Ints,
    Names,
    booleans_of,
    in_order,
    numbers_of,
    packed,
)
from tracer.columns.sorting import find_distinct
from tracer.registry.ntstatus import NOT_SUCCESS, TOO_SHORT

__all__ = ["SUMS", "summed_reads"]

_LONGEST = 1 << 60
_LARGEST = np.iinfo(np.int64)
_COMPARED = ("content", "size", "duration_ns", "data_size")
SUMS = (
    ("process_id", "int64"), ("group_id", "int64"), ("operation", "string"), ("index", "uint32"),
    ("information_class", "uint32"), ("status", "uint32"), ("value_name", "string"), ("reads", "int64"),
    ("runs", "int64"), ("redundant", "int64"), ("unproved", "int64"), ("result_changed", "bool"),
    ("time_spent_ns", "int64"), ("bytes", "int64"), ("first_ns", "int64"), ("last_ns", "int64"),
    ("first_sequence", "int64"), ("last_sequence", "int64"), ("interval_ns", "int64"), ("spread", "double"),
)  # fmt: skip

Numbers = NDArray[Any]  # int64 or float64


@dataclass(frozen=True, slots=True)
class _Known:
    """Numbers, and where they are known."""

    values: Ints
    known: Bools

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "_Known":
        return cls(numbers_of(column), np.asarray(pc.is_valid(column)))

    def take(self, rows: Ints) -> "_Known":
        return _Known(self.values[rows], self.known[rows])

    def differ(self, starts: Ints) -> Bools:
        """Tell in which groups of rows, known by their first rows, two known numbers differ."""
        least = np.minimum.reduceat(np.where(self.known, self.values, _LARGEST.max), starts)
        most = np.maximum.reduceat(np.where(self.known, self.values, _LARGEST.min), starts)
        differ: Bools = least < most
        return differ

    def sums(self, starts: Ints, counted: Bools) -> pa.Array:
        """Return the sum of the known numbers that count in each group; NULL where there is none."""
        known = self.known & counted
        sums = np.add.reduceat(np.where(known, self.values, 0), starts)
        return pa.array(sums, mask=~np.logical_or.reduceat(known, starts))

    def column(self) -> pa.Array:
        return pa.array(self.values, mask=~self.known)


def summed_reads(reads: pa.Table, steps: pa.Table, unsure: pa.Table, *, repeated: bool) -> pa.Table:
    """Return one row per question and status, in no order: the sums of `analysis.answers.redundant.redundant_reads`.

    Args:
        reads: rows of `analysis.answers.read_runs.reads_of`: all reads of the keys they are of.
        steps: rows of `analysis.answers.read_runs.read_steps`, of these keys at least.
        unsure: from_ns and to_ns of the times in which changes may have been missed; NULL is the end of time.
        repeated: leave out what was asked once.
    """
    names = Names.of(reads.column("value_name"))
    groups = pc.dictionary_encode(reads.column("group_id").combine_chunks())
    statuses = pc.dictionary_encode(reads.column("status").combine_chunks())
    group, value, asked = numbers_of(groups.indices), names.number(), numbers_of(reads.column("asked"))
    index, class_ = (_plus_1(reads.column(name)) for name in ("index", "information_class"))
    # Only queries have a value here, only enumerations an index.
    question = packed(
        group, numbers_of(reads.column("process_id")), asked, np.where(value >= 0, value + 1, index), class_
    )
    sequence = numbers_of(reads.column("sequence"))
    order, same = in_order(packed(question, numbers_of(statuses.indices)), sequence)
    if repeated:
        often = _like_a_neighbour(question[order])
        order, same = order[often], same[often]
    if not len(order):
        return _schema().empty_table()
    group, question, sequence = group[order], question[order], sequence[order]
    time = numbers_of(reads.column("time_ns"))[order]
    # Runs: what was asked again without a change in between.
    changes = _Changes(steps, groups.dictionary, names)
    run = changes.before(group, value[order], sequence)
    again = same.copy()
    again[1:] &= run[1:] == run[:-1]
    starts = np.flatnonzero(~again)
    ends = np.append(starts[1:], len(order)) - 1
    unclear = changes.unclear(group, sequence)
    doubtful = (unclear[starts] != unclear[ends]) | np.logical_or.reduceat(
        booleans_of(reads.column("ambiguous"))[order], starts
    )
    first_ns, last_ns = np.minimum.reduceat(time, starts), np.maximum.reduceat(time, starts)
    doubtful |= Intervals.of(unsure).touch(first_ns, last_ns)
    kept = {name: _Known.of(reads.column(name)).take(order) for name in _COMPARED}
    status = numbers_of(statuses.dictionary)[numbers_of(statuses.indices)[order[starts]]]
    changed = _contradicted(question[starts], run[starts], status)
    changed |= kept["content"].differ(starts) | kept["size"].differ(starts)
    # All runs of one question and one status.
    tops = np.flatnonzero(~same[starts])
    begins = starts[tops]
    count = np.diff(np.append(begins, len(order)))
    first, redundant = order[begins], ends - starts
    interval, spread = _intervals(time, begins, count)
    own = reads.select(["process_id", "group_id", "index", "information_class", "status"]).take(
        pa.array(first)
    )
    columns = {name: own.column(name) for name in own.schema.names} | {
        "operation": pa.array(READS).take(pa.array(asked[first])),
        "value_name": names.spelled(first),
        "reads": count,
        "runs": np.diff(np.append(tops, len(starts))),
        "redundant": np.add.reduceat(redundant, tops),
        "unproved": np.add.reduceat(np.where(doubtful, redundant, 0), tops),
        "result_changed": np.logical_or.reduceat(changed, tops),
        "time_spent_ns": kept["duration_ns"].sums(begins, again),
        "bytes": kept["data_size"].sums(begins, again),
        "first_ns": np.minimum.reduceat(first_ns, tops),
        "last_ns": np.maximum.reduceat(last_ns, tops),
        "first_sequence": sequence[begins],
        "last_sequence": sequence[begins + count - 1],
        "interval_ns": interval.column(),
        "spread": pa.array(spread, mask=np.isnan(spread)),
    }
    return pa.table({name: columns[name] for name, _ in SUMS}).cast(_schema())


class _Changes:
    """How often each key and each value was changed before a moment."""

    def __init__(self, steps: pa.Table, groups: pa.Array, names: Names) -> None:
        """Take the changes of some keys.

        Args:
            steps: as of `summed_reads`.
            groups: the keys by number.
            names: the value names by number.
        """
        group = pc.index_in(steps.column("group_id").cast(groups.type), groups)
        steps = steps.filter(pc.is_valid(group))
        group = numbers_of(pc.drop_null(group))
        at = group << ORDER_BITS | numbers_of(steps.column("sequence"))
        counted = {
            name: numbers_of(steps.column(name)) > 0 for name in ("of_whole", "of_any", "of_value", "unclear")
        }
        self._whole, self._any, self._unclear = (
            np.sort(at[counted[name]]) for name in ("of_whole", "of_any", "unclear")
        )
        value = names.find(steps.column("value"))
        rows = np.flatnonzero(counted["of_value"] & (value >= 0))
        self._width = len(names.numbers) + 1
        self._pairs, _, pair = find_distinct(group[rows] * self._width + value[rows])
        self._values = np.sort(pair << ORDER_BITS | numbers_of(steps.column("sequence"))[rows])

    def before(self, group: Ints, value: Ints, sequence: Ints) -> Ints:
        """Return a number that grows with each change of what a read asks for: of a value, or (-1) of its key."""
        at = group << ORDER_BITS | sequence
        runs = np.searchsorted(self._any, at)
        named = np.flatnonzero(value >= 0)
        runs[named] = np.searchsorted(self._whole, at[named])
        if not len(self._pairs):
            return runs
        wanted = group[named] * self._width + value[named]
        pair = np.minimum(np.searchsorted(self._pairs, wanted), len(self._pairs) - 1)
        found = self._pairs[pair] == wanted
        named, pair = named[found], pair[found]
        runs[named] += np.searchsorted(self._values, pair << ORDER_BITS | sequence[named])
        return runs

    def unclear(self, group: Ints, sequence: Ints) -> Ints:
        """Return a number that grows with each event that may have changed the whole subtree."""
        return np.searchsorted(self._unclear, group << ORDER_BITS | sequence)


def _like_a_neighbour(numbers: Ints) -> Bools:
    """Tell which numbers are equal to the one before or after."""
    found = np.zeros(len(numbers), bool)
    found[1:] = numbers[1:] == numbers[:-1]
    found[:-1] |= found[1:]
    return found


def _contradicted(question: Ints, run: Ints, status: Ints) -> Bools:
    """Tell which runs of a status found what the same run of reads, with another status, did not find."""
    missing = np.isin(status, MISSES)
    there = (status < NOT_SUCCESS) | np.isin(status, TOO_SHORT)
    starts = np.flatnonzero(
        np.append(True, question[1:] != question[:-1])
    )  # a question's statuses follow each other
    both = np.logical_or.reduceat(missing, starts) & np.logical_or.reduceat(there, starts)
    found = np.zeros(len(question), bool)
    some = np.flatnonzero(np.repeat(both, np.diff(np.append(starts, len(question)))))
    if not len(some):
        return found
    some = some[np.lexsort((run[some], question[some]))]
    begins = np.append(True, (question[some][1:] != question[some][:-1]) | (run[some][1:] != run[some][:-1]))
    starts = np.flatnonzero(begins)
    mixed = np.logical_or.reduceat(missing[some], starts) & np.logical_or.reduceat(there[some], starts)
    found[some] = np.repeat(mixed, np.diff(np.append(starts, len(some)))) & (missing | there)[some]
    return found


def _intervals(time: Ints, begins: Ints, count: Ints) -> tuple[_Known, NDArray[np.float64]]:
    """Return the median time between one read and the next (rounded down), and its spread; NaN where nobody knows it.

    Args:
        time: of the reads, nanoseconds.
        begins: the first read of each group.
        count: how many each has.
    """
    interval = _Known(np.zeros(len(begins), np.int64), count > LEAST_INTERVALS)
    spread = np.full(len(begins), np.nan)
    many = np.flatnonzero(interval.known)
    if not len(many):
        return interval, spread
    waits = count[many] - 1
    starts = np.cumsum(waits) - waits
    rows = np.arange(waits.sum()) + np.repeat(begins[many] + 1 - starts, waits)
    group = np.repeat(np.arange(len(many)), waits)
    waited = np.maximum(time[rows] - time[rows - 1], 0)
    if waited.max() >= _LONGEST:
        waited = waited.astype(np.float64)  # decades: nobody asks for their last nanosecond
    # A middle of two numbers may be half a nanosecond: twice the middle is a whole number.
    twice = _twice_the_middle(group, waited, starts, waits)
    middle = twice / 2
    away = _twice_the_middle(group, np.abs(2 * waited - np.repeat(twice, waits)), starts, waits) / 4
    interval.values[many] = twice // 2
    spread[many] = np.divide(away, middle, out=np.full(len(many), np.nan), where=middle != 0)
    return interval, spread


def _twice_the_middle(group: Ints, numbers: Numbers, starts: Ints, count: Ints) -> Numbers:
    """Return twice the median of the numbers of each group; a group's numbers follow each other."""
    bits = int(numbers.max(initial=0)).bit_length()
    if numbers.dtype == np.int64 and bits + int(group[-1]).bit_length() <= MOST_BITS:
        ordered = np.sort(group << bits | numbers) & ((1 << bits) - 1)
    else:
        ordered = numbers[np.lexsort((numbers, group))]
    twice: Numbers = ordered[starts + (count - 1) // 2] + ordered[starts + count // 2]
    return twice


def _plus_1(column: pa.ChunkedArray) -> Ints:
    """Return a column of numbers plus 1; NULL is 0."""
    found: Ints = numbers_of(pc.add(column.cast(pa.int64()), 1))
    return found


def _schema() -> pa.Schema:
    return pa.schema([pa.field(name, pa.type_for_alias(kind)) for name, kind in SUMS])
