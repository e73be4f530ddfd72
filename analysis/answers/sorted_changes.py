"""Changed keys and values of a range of keys, by loops over sorted columns: what `analysis.answers.changes` asks of an engine.

The rules stand there; here they are the same for evidence as numbers (`analysis.answers.marks`). Stays are left to the engine.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from analysis.answers.facts import (
    ABSENT_KEY,
    EXISTING_KEY,
    FACTS,
    KEY_CHANGES,
    KEY_FACTS,
    KEY_GONE,
    OWN_CHANGES,
    OWN_STATES,
    VALUE_FACTS,
)
from analysis.answers.marks import NONE, Marks, Moments
from analysis.answers.sorted_columns import ORDER_BITS, Bools, Ints
from tracer.columns.sorting import find_distinct

__all__ = ["TOUCHED", "touched_by_range"]

_TIME = pa.timestamp("us", tz="UTC")
TOUCHED = pa.schema(
    [
        ("key_id", pa.int64()),
        ("value", pa.string()),
        ("value_name", pa.string()),
        ("first_sequence", pa.int64()),
        ("last_sequence", pa.int64()),
        ("first_time", _TIME),
        ("last_time", _TIME),
        ("process_id", pa.int32()),
        ("writes", pa.int64()),
        ("processes", pa.int64()),
        ("also_by_others", pa.bool_()),
        ("first_fact", pa.string()),
        ("was_created", pa.bool_()),
        ("with_key", pa.bool_()),
        ("moved", pa.bool_()),
        ("before", pa.string()),
        ("after", pa.string()),
        ("before_write", pa.int64()),
        ("before_read", pa.int64()),
        ("after_write", pa.int64()),
        ("after_read", pa.int64()),
        ("before_at_time", _TIME),
        ("after_at_time", _TIME),
    ]
)
_NEVER = 2**62  # after every sequence
_ID_BITS = 31  # of a process_id
_WORDS = pa.array(["absent", "present"])
_ABSENT, _PRESENT, _UNKNOWN = 0, 1, NONE  # states: places in _WORDS
_KEY_UNKNOWN, _UNCLEAR = KEY_FACTS["key_unknown"], VALUE_FACTS["unclear"]
_SIDES = {
    "write": ("write",),
    "read": ("read",),
    "seen": ("seen",),
    "absent": ("delete", "miss"),
    "unclear": _UNCLEAR,
}


def touched_by_range(rows: pa.Table, *, start_ns: int | None, asked: Ints | None) -> pa.Table:
    """Return one row for each changed value and key, in no order, with the columns TOUCHED.

    They are those of `analysis.answers.changes.touched_values_and_keys`, but those of data and names.

    Args:
        rows: all evidence of some keys that were changed (`analysis.answers.evidence.numbered_evidence`, and of other keys
            about these), with time, process_id, and time_ns where there is a start.
        start_ns: the time's beginning, UTC nanoseconds; None: the capture's.
        asked: sequences of the events whose changes were asked for, rising; None: all since the beginning.
    """
    marks = Marks.of(rows, FACTS)
    in_time = np.ones(len(marks.sequence), bool)
    if start_ns is not None:
        in_time = marks.column(rows, "time_ns") >= start_ns
    counts = in_time if asked is None else _are_in(marks.sequence, asked)
    people = marks.column(rows, "process_id", NONE)
    evidence = _Evidence(marks, marks.column(rows, "time"), people, in_time, counts)
    keys = _keys(evidence)
    return pa.concat_tables(
        [_as_table(evidence, _of_keys(keys)), _as_table(evidence, _of_values(evidence, keys))]
    )


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Marks with the columns of their events; one array a column.

    Attributes:
        marks: the evidence.
        time: UTC microseconds.
        process_id: NONE where nobody knows.
        in_time: whether it is of the time asked about.
        counts: whether a change was asked for.
    """

    marks: Marks
    time: Ints
    process_id: Ints
    in_time: Bools
    counts: Bools

    def taken(self, places: Ints) -> "_Evidence":
        return _Evidence(
            self.marks.taken(places),
            self.time[places],
            self.process_id[places],
            self.in_time[places],
            self.counts[places],
        )


@dataclass(frozen=True, slots=True)
class _Changes:
    """What the changes of each thing (a key, or a value) amount to; sequences are _NEVER and NONE where there is none.

    Attributes:
        first, last: sequences of the first and the last that was asked for.
        first_time, last_time: UTC microseconds.
        first_fact: place in FACTS.
        process: of the last one.
        writes: how many were asked for.
        processes: how many changed it in the time.
        others: sequence of the last in the time that was not asked for.
    """

    first: Ints
    last: Ints
    first_time: Ints
    last_time: Ints
    first_fact: Ints
    process: Ints
    writes: Ints
    processes: Ints
    others: Ints

    def taken(self, places: Ints) -> "_Changes":
        return _Changes(*(getattr(self, name)[places] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class _Keys:
    """Each key: its own changes, and sequences of what was last said of it, at the end and before its first change."""

    changes: _Changes
    absent: Ints
    unknown: Ints
    there: Ints
    gone: Ints
    early_there: Ints
    early_gone: Ints
    early_unknown: Ints
    early_created: Ints


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the answer: the changes they tell of, and the states before and after; NONE is NULL."""

    group: Ints
    value: Ints
    name_row: Ints
    changes: _Changes
    also_by_others: Bools
    was_created: Bools
    with_key: Bools
    before: Ints
    after: Ints
    before_at: Ints
    after_at: Ints
    sides: dict[str, Ints]


def _keys(evidence: _Evidence) -> _Keys:
    marks, count = evidence.marks, len(evidence.marks.keys)
    changes = _summed(evidence, np.flatnonzero(marks.are(KEY_CHANGES)), marks.group, count)
    early = marks.sequence < changes.first[marks.group]
    early &= (changes.first < _NEVER)[marks.group]

    def last(facts: tuple[str, ...], chosen: Bools | None = None) -> Ints:
        fits = marks.are(facts) if chosen is None else marks.are(facts) & chosen
        return _last(marks.group, marks.sequence, fits, count)

    return _Keys(
        changes,
        absent=last(ABSENT_KEY),
        unknown=last(_KEY_UNKNOWN),
        there=last(EXISTING_KEY),
        gone=last(KEY_GONE),
        early_there=last(EXISTING_KEY, early),
        early_gone=last(KEY_GONE, early),
        early_unknown=last(_KEY_UNKNOWN, early),
        early_created=last(("key_created",), early),
    )


def _of_keys(keys: _Keys) -> _Rows:
    """Return the keys with changes of their own."""
    rows = np.flatnonzero(keys.changes.first < _NEVER)
    changes = keys.changes.taken(rows)
    there, gone, unknown, created = (
        one[rows] for one in (keys.early_there, keys.early_gone, keys.early_unknown, keys.early_created)
    )
    there_after, gone_after, unknown_after = (one[rows] for one in (keys.there, keys.gone, keys.unknown))
    nothing, no = np.full(len(rows), NONE, np.int64), np.zeros(len(rows), bool)
    return _Rows(
        group=rows,
        value=nothing,
        name_row=nothing,
        changes=changes,
        also_by_others=changes.others > changes.first,
        was_created=(created > unknown) & (created > gone),
        with_key=no,
        before=_state(there, gone, unknown),
        after=_state(there_after, gone_after, unknown_after),
        before_at=np.maximum(there, gone),
        after_at=np.maximum(there_after, gone_after),
        sides=dict.fromkeys(("before_write", "before_read", "after_write", "after_read"), nothing),
    )


def _of_values(evidence: _Evidence, keys: _Keys) -> _Rows:
    """Return the values that were changed, or that went with their keys."""
    own = evidence.taken(np.flatnonzero(evidence.marks.are(OWN_STATES)))
    places, pair = own.marks.by_value()
    own = own.taken(places)
    of_values = own.marks
    count = int(pair[-1]) + 1 if len(pair) else 0
    begins = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])) if count else np.empty(0, np.int64)
    changes = _summed(own, np.flatnonzero(of_values.are(OWN_CHANGES)), pair, count)
    group = of_values.group[begins]
    first = np.minimum(changes.first, keys.changes.first[group])
    chosen = np.flatnonzero(first < _NEVER)
    group, first, changes = group[chosen], first[chosen], changes.taken(chosen)
    of_key = keys.changes.taken(group)
    firsts = np.full(count, NONE, np.int64)
    firsts[chosen] = first
    early = of_values.sequence < firsts[pair]
    states = {}
    for name, facts in _SIDES.items():
        fits = of_values.are(facts)
        states[f"before_{name}"] = _last(pair, of_values.sequence, fits & early, count)[chosen]
        states[f"after_{name}"] = _last(pair, of_values.sequence, fits, count)[chosen]
    marks = evidence.marks
    absent, unknown = (
        Moments.of(marks.group, marks.sequence, marks.are(facts)).last_before(group, first)
        for facts in (ABSENT_KEY, _KEY_UNKNOWN)
    )
    known, sides = {}, {}
    for side, no_key, no_state in (
        ("before", absent, unknown),
        ("after", keys.absent[group], keys.unknown[group]),
    ):
        write, read, seen = (states[f"{side}_{name}"] for name in ("write", "read", "seen"))
        there = np.maximum(np.maximum(write, read), seen)
        gone = np.maximum(states[f"{side}_absent"], no_key)
        unclear = np.maximum(states[f"{side}_unclear"], no_state)
        known[side] = _state(there, gone, unclear), np.maximum(there, gone)
        since = np.maximum(gone, unclear)
        for name, last in (("write", write), ("read", read)):
            sides[f"{side}_{name}"] = np.where(last > since, last, NONE)
    before, after = known["before"][0], known["after"][0]
    key_first = of_key.first < changes.first
    is_own = changes.first < _NEVER
    by_key = key_first & (before == _PRESENT)
    ended_by_key = (of_key.last > changes.last) & (by_key | is_own)
    answered = np.flatnonzero(by_key | is_own)
    summed = _Changes(
        first=np.where(by_key, of_key.first, changes.first),
        last=np.where(ended_by_key, of_key.last, changes.last),
        first_time=np.where(by_key, of_key.first_time, changes.first_time),
        last_time=np.where(ended_by_key, of_key.last_time, changes.last_time),
        first_fact=np.where(key_first, of_key.first_fact, changes.first_fact),
        process=np.where(ended_by_key, of_key.process, changes.process),
        writes=changes.writes,
        processes=np.where(is_own, changes.processes, of_key.processes),
        others=np.maximum(changes.others, of_key.others),
    )
    with_key = (after == _ABSENT) & (keys.absent[group] > states["after_absent"])
    return _Rows(
        group=group[answered],
        value=of_values.value[begins[chosen]][answered],
        name_row=of_values.row[begins[chosen]][answered],
        changes=summed.taken(answered),
        also_by_others=(summed.others > first)[answered],
        was_created=np.zeros(len(answered), bool),
        with_key=with_key[answered],
        before=before[answered],
        after=after[answered],
        before_at=known["before"][1][answered],
        after_at=known["after"][1][answered],
        sides={name: one[answered] for name, one in sides.items()},
    )


def _summed(evidence: _Evidence, rows: Ints, thing: Ints, count: int) -> _Changes:
    """Return what some changes amount to.

    Args:
        evidence: evidence.
        rows: places of the changes.
        thing: what each mark is of, by number, rising.
        count: how many things there are.
    """
    counted = rows[evidence.counts[rows]]
    of, sequence = thing[counted], evidence.marks.sequence[counted]
    # Where a thing comes several times, the last one stays.
    backwards = slice(None, None, -1)
    starts = np.flatnonzero(np.append(True, of[1:] != of[:-1])) if len(of) else np.empty(0, np.int64)
    time = evidence.time[counted]
    in_time = rows[evidence.in_time[rows]]
    known = in_time[evidence.process_id[in_time] != NONE]
    different = find_distinct(thing[known] << _ID_BITS | evidence.process_id[known])[0]
    others = evidence.in_time & ~evidence.counts
    return _Changes(
        first=_put(count, of[backwards], sequence[backwards], _NEVER),
        last=_put(count, of, sequence),
        first_time=_put(count, of[starts], np.minimum.reduceat(time, starts) if len(starts) else time),
        last_time=_put(count, of[starts], np.maximum.reduceat(time, starts) if len(starts) else time),
        first_fact=_put(count, of[backwards], evidence.marks.fact[counted][backwards]),
        process=_put(count, of, evidence.process_id[counted]),
        writes=np.bincount(of, minlength=count),
        processes=np.bincount(different >> _ID_BITS, minlength=count),
        others=_put(count, thing[rows[others[rows]]], evidence.marks.sequence[rows[others[rows]]]),
    )


def _put(count: int, places: Ints, numbers: Ints, nothing: int = NONE) -> Ints:
    """Return numbers at their places among so many; of several at one place the last."""
    found = np.full(count, nothing, np.int64)
    found[places] = numbers
    return found


def _last(thing: Ints, sequence: Ints, fits: Bools, count: int) -> Ints:
    """Return the last sequence of each thing among the marks that fit."""
    rows = np.flatnonzero(fits)
    return _put(count, thing[rows], sequence[rows])


def _state(there: Ints, gone: Ints, unclear: Ints) -> Ints:
    """Return the states by the latest of three kinds of evidence: places in _WORDS, or _UNKNOWN."""
    present, absent = (there > gone) & (there > unclear), (gone > there) & (gone > unclear)
    return np.where(present, _PRESENT, np.where(absent, _ABSENT, _UNKNOWN))


def _as_table(evidence: _Evidence, rows: _Rows) -> pa.Table:
    marks, changes, names = evidence.marks, rows.changes, evidence.marks.names
    folded = pa.array(list(names.numbers), pa.string())
    columns = {
        "key_id": marks.keys.take(pa.array(rows.group)),
        "value": folded.take(_array(rows.value)),
        "value_name": names.dictionary.take(
            _array(np.where(rows.name_row < 0, NONE, names.raw[rows.name_row]))
        ),
        "first_sequence": changes.first,
        "last_sequence": changes.last,
        "first_time": changes.first_time,
        "last_time": changes.last_time,
        "process_id": _array(changes.process),
        "writes": changes.writes,
        "processes": changes.processes,
        "also_by_others": rows.also_by_others,
        "first_fact": pa.array(FACTS).take(pa.array(changes.first_fact)),
        "was_created": rows.was_created,
        "with_key": rows.with_key,
        "moved": np.zeros(len(rows.group), bool),
        "before": _WORDS.take(_array(rows.before)),
        "after": _WORDS.take(_array(rows.after)),
        **{name: _array(one) for name, one in rows.sides.items()},
        "before_at_time": _time_of(evidence, rows.group, rows.before_at),
        "after_at_time": _time_of(evidence, rows.group, rows.after_at),
    }
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in TOUCHED})


def _time_of(evidence: _Evidence, group: Ints, sequence: Ints) -> pa.Array:
    """Return the times of evidence, known by its key and sequence; NULL where there is none."""
    at = evidence.marks.group << ORDER_BITS | evidence.marks.sequence
    place = np.searchsorted(at, group << ORDER_BITS | np.maximum(sequence, 0))
    return pa.array(evidence.time[np.minimum(place, len(at) - 1)], mask=sequence < 0)


def _are_in(numbers: Ints, some: Ints) -> Bools:
    """Tell which numbers are among some others, which rise."""
    if not len(some):
        return np.zeros(len(numbers), bool)
    found: Bools = some[np.minimum(np.searchsorted(some, numbers), len(some) - 1)] == numbers
    return found


def _array(numbers: Ints) -> pa.Array:
    """Return numbers as a column; NONE is NULL."""
    return pa.array(numbers, mask=numbers == NONE)
