"""The changes of values of a range of keys, each with what was known before it, by loops over sorted columns.

It is what `analysis.answers.history` asks of an engine, for evidence as numbers (`analysis.answers.marks`); the rules stand
there and in `analysis.answers.value_verdict`. Stays are left to the engine.
"""

import numpy as np
import pyarrow as pa

from analysis.answers.facts import FACTS, KEY_FACTS, VALUE_FACTS
from analysis.answers.marks import NONE, Marks, Moments
from analysis.answers.sorted_columns import Bools, Ints

__all__ = ["CHANGED", "changed_by_range"]

CHANGED = pa.schema(
    [
        ("key_id", pa.int64()),
        ("sequence", pa.int64()),
        ("said", pa.string()),
        ("value", pa.string()),
        ("first_name", pa.string()),
        ("own_from", pa.string()),
        ("own_sequence", pa.int64()),
    ]
)
_FACTS = (
    *(fact for some in (VALUE_FACTS, KEY_FACTS) for each in some.values() for fact in each), "failed", "hearsay",
)  # fmt: skip
_WORDS = pa.array(["unknown", "write", "read", "deleted", "absent"])
_UNKNOWN, _WRITE, _READ, _DELETED, _ABSENT = range(5)  # places in _WORDS; NONE: there is no evidence


def changed_by_range(rows: pa.Table) -> pa.Table:
    """Return one row for each write and delete of a value, in no order, with the columns CHANGED.

    They are those of `analysis.answers.history.value_history` before contents are looked up; first_name is value_name.

    Args:
        rows: all evidence of some keys (`analysis.answers.evidence.numbered_evidence`, and of other keys about these).
    """
    marks = Marks.of(rows, _FACTS)
    places, pair = marks.by_value()
    of_values = marks.taken(places)
    is_change = of_values.column(rows, "of_value") > 0
    gone = marks.taken(np.flatnonzero(marks.are(KEY_FACTS["key_deleted"])))
    # Values that were changed, or whose keys are gone.
    begins = np.flatnonzero(np.append(True, pair[1:] != pair[:-1])) if len(pair) else pair
    group, first = of_values.group[begins], of_values.sequence[begins]
    taken_pair, taken_row = _taken(group, first, gone)
    changed = np.flatnonzero(is_change)
    thing = np.concatenate([pair[changed], taken_pair])
    key = np.concatenate([of_values.group[changed], gone.group[taken_row]])
    sequence = np.concatenate([of_values.sequence[changed], gone.sequence[taken_row]])
    said = np.concatenate([of_values.column(rows, "said")[changed], gone.column(rows, "said")[taken_row]])
    newest = {
        name: Moments.of(pair, of_values.sequence, of_values.are(facts)).last_before(thing, sequence)
        for name, facts in VALUE_FACTS.items()
    } | {
        name: Moments.of(marks.group, marks.sequence, marks.are(facts)).last_before(key, sequence)
        for name, facts in KEY_FACTS.items()
    }
    word, own = _known_value(newest)
    shown = np.flatnonzero((np.arange(len(thing)) < len(changed)) | (word == _WRITE) | (word == _READ))
    begin = begins[thing[shown]]
    names = of_values.names
    columns = {
        "key_id": marks.keys.take(pa.array(key[shown])),
        "sequence": sequence[shown],
        "said": pa.array(FACTS).take(pa.array(said[shown])),
        "value": pa.array(list(names.numbers), pa.string()).take(pa.array(of_values.value[begin])),
        "first_name": names.spelled(of_values.row[begin]),
        "own_from": _WORDS.take(pa.array(word[shown], mask=word[shown] == NONE)),
        "own_sequence": pa.array(own[shown], mask=own[shown] == NONE),
    }
    return pa.table({field.name: pa.array(columns[field.name]).cast(field.type) for field in CHANGED})


def _taken(group: Ints, first: Ints, gone: Marks) -> tuple[Ints, Ints]:
    """Return the values that were heard of before their key was deleted or renamed, with the place of that in `gone`.

    Args:
        group: the key of each value, rising.
        first: the sequence of its first evidence.
        gone: deletes and renames.
    """
    start, end = (np.searchsorted(group, gone.group, side=side) for side in ("left", "right"))
    count = end - start
    row = np.repeat(np.arange(len(count)), count)
    value = np.arange(count.sum()) + np.repeat(start - (np.cumsum(count) - count), count)
    heard = np.flatnonzero(first[value] < gone.sequence[row])
    return value[heard], row[heard]


def _known_value(newest: dict[str, Ints]) -> tuple[Ints, Ints]:
    """Return what `analysis.answers.value_verdict.known_value` returns: a place in _WORDS, and a sequence."""
    data = np.maximum(newest["write"], newest["read"])
    seen, deleted = newest["seen"], np.maximum(newest["deleted"], newest["key_deleted"])
    absent = np.maximum(newest["missed"], newest["key_absent"])
    gone, unsure = np.maximum(deleted, absent), np.maximum(newest["unclear"], newest["key_unknown"])
    some = np.maximum(np.maximum(data, seen), gone)
    is_unsure: Bools = (unsure > some) | (some < 0)
    held, is_seen = (data > gone) & (data > unsure), seen > gone
    source = np.where(newest["write"] == data, _WRITE, _READ)
    ended = np.where(deleted > absent, _DELETED, _ABSENT)
    word = np.where(held, source, np.where(is_seen, _READ, ended))
    word = np.where(is_unsure, np.where(unsure < 0, NONE, _UNKNOWN), word)
    last = np.where(data > gone, data, np.where(is_seen, seen, np.where(gone >= 0, gone, unsure)))
    return word, np.where(is_unsure, last, np.where(held, data, np.where(is_seen, seen, gone)))
