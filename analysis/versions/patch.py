"""What change sets did to each key and value, before and after: one query for many sets, where `show` asks one by one.

The data before is that of `analysis.questions.history`, with its evidence; the data after is what the set wrote last.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from analysis.engine.connection import engine_errors
from analysis.engine.relation import Relation, arrow_schema
from analysis.filters import Filters
from analysis.questions import history
from analysis.questions.chosen_keys import with_chosen_keys
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.versions.change_rows import OF_KEYS, OPERATIONS, Numbers
from analysis.versions.log import Member
from tracer.columns.arrays import from_rows
from tracer.registry.text import fold_name

__all__ = ["PATCH", "patch_of"]

PATCH = {
    "change_set": "string", "display_key": "string", "value_name": "string", "change": "string", "before_from": "string",
    "before_type": "uint32", "before_size": "uint32", "before_data": "binary", "after_type": "uint32", "after_size": "uint32",
    "after_data": "binary", "new_name": "string", "writes": "int64", "process": "string", "pid": "uint32",
    "time": "timestamp[us, tz=UTC]", "first_sequence": "int64", "last_sequence": "int64", "key_id": "int64", "process_id": "int64",
}  # fmt: skip
_WORDS = {  # (there before, there after) -> what became of a value; None: not known
    (False, True): "added",
    (True, True): "changed",
    (None, True): "set",
    (True, False): "removed",
    (None, False): "removed",
}
_KEY_WORDS = {"CreateKey": "created", "DeleteKey": "deleted", "RenameKey": "renamed"}
_CONTENT = ("type", "size", "data")
_Row = dict[str, Any]


def patch_of(context: QueryContext, members: Sequence[Member]) -> pa.Table:
    """Return what each of some change sets did, in their order; within one, keys by their first changes. PATCH.

    Of a value that a set wrote several times, before is before the first and after is after the last; what ended with the
    data it began with, or was made and is gone again, is left out.
    """
    made: dict[str, list[_Row]] = {}
    for one in {id(member.context): member.context for member in members}.values():
        own = [member for member in members if member.context is one]
        for row in _rows_of(one, own):
            made.setdefault(row["change_set"], []).append(row)
    rows = [row for member in members for row in made.get(member.name, ())]
    table = from_rows(rows, arrow_schema(tuple(PATCH.items())))
    return with_meanings(context, context.labelled(table))


def _rows_of(context: QueryContext, members: Sequence[Member]) -> Iterator[_Row]:
    """Yield the rows of change sets of one capture, those of one set after those of another."""
    sets = members[0].sets
    places = np.concatenate(
        [np.arange(own.start, own.stop) for own in (sets.places(one.number) for one in members)]
    )
    keys = _held(context, np.unique(sets.rows.key_id[places]).tolist())
    told: dict[int, list[_Row]] = {}
    asked = Filters(key="HKLM", operation=list(OPERATIONS))  # which keys, the context says
    found = history.query(with_chosen_keys(context, keys), asked)
    rows = context.engine.fetch(found.relation)
    with engine_errors():
        for row in (rows if found.finish is None else found.finish(rows)).to_pylist():
            told.setdefault(row["sequence"], []).append(row)
    of_keys = _changes_of_keys(
        context, sets.rows.sequence[places][sets.rows.operation[places] >= OPERATIONS.index(OF_KEYS[0])]
    )
    for member in members:
        yield from _of_set(member, told, of_keys)


def _of_set(member: Member, told: dict[int, list[_Row]], of_keys: dict[int, _Row]) -> Iterator[_Row]:
    """Yield the rows of one set, by key."""
    values: dict[tuple[int, str], list[_Row]] = {}
    keys: dict[int, list[_Row]] = {}
    for sequence in member.sets.rows.sequence[member.sets.places(member.number)].tolist():
        for row in told.get(sequence, ()):
            keys.setdefault(row["key_id"], [])
            values.setdefault((row["key_id"], fold_name(row["value_name"])), []).append(row)
        if sequence in of_keys:
            keys.setdefault(of_keys[sequence]["key_id"], []).append(of_keys[sequence])
    by_key = {key_id: list(_of_key(rows)) for key_id, rows in keys.items()}
    for (key_id, _), rows in values.items():
        by_key[key_id] += [made] if (made := _of_value(rows)) else []
    for rows in by_key.values():
        for row in rows:
            yield row | {"change_set": member.name}


def _of_key(rows: list[_Row]) -> Iterator[_Row]:
    """Yield the row of a key from those of its own changes; none where it was made and is gone again."""
    if not rows:
        return
    first, last = rows[0]["operation"], rows[-1]["operation"]
    word = "recreated" if (first, last) == ("DeleteKey", "CreateKey") else _KEY_WORDS[last]
    if word == "deleted" and first == "CreateKey":
        return
    yield rows[-1] | {
        "change": word, "before_from": "absent" if word == "created" else None, "value_name": None, "writes": len(rows),
        "first_sequence": rows[0]["sequence"], "last_sequence": rows[-1]["sequence"],
        "new_name": rows[-1]["requested_name"] if last == "RenameKey" else None,
    }  # fmt: skip


def _of_value(rows: list[_Row]) -> _Row | None:
    """Return the row of a value from those of its changes; None where it ended as it began."""
    first, last = rows[0], rows[-1]
    source = first["old_from"]
    before = None if source is None else source != "absent"
    after = last["operation"] == "SetValueKey"
    old, new = (
        tuple(row[f"{side}_{name}"] for name in _CONTENT) for row, side in ((first, "old"), (last, "new"))
    )
    if (before, after) not in _WORDS or (before and after and old == new and _is_whole(new)):
        return None
    return last | {
        "change": _WORDS[before, after], "before_from": source, "writes": len(rows),
        **{f"before_{name}": part for name, part in zip(_CONTENT, old, strict=True)},
        **{f"after_{name}": part if after else None for name, part in zip(_CONTENT, new, strict=True)},
        "first_sequence": first["sequence"], "last_sequence": last["sequence"],
    }  # fmt: skip


def _is_whole(content: tuple[Any, ...]) -> bool:
    kind, size, data = content
    return kind is not None and size is not None and len(data or b"") == size


def _changes_of_keys(context: QueryContext, sequences: Numbers) -> dict[int, _Row]:
    """Return creates, deletes and renames of keys, by sequence."""
    if not len(sequences):
        return {}
    events, keys, processes = (context.relation(name) for name in ("stored_events", "keys", "processes"))
    kinds = dict(events.columns)
    names = ("sequence", "time", "operation", "requested_name", "process_id")
    sql = f"""
        SELECT {", ".join(names)}, same_as AS key_id, display_path AS display_key, image AS process, pid
        FROM (SELECT {", ".join(names)}, key_id FROM {events.source} WHERE sequence IN ({", ".join(map(str, sequences.tolist()))}))
        JOIN (SELECT key_id, same_as FROM {keys.source}) USING (key_id)
        JOIN (SELECT key_id AS same_as, display_path FROM {keys.source}) USING (same_as)
        LEFT JOIN (SELECT process_id, image, pid FROM {processes.source}) USING (process_id)
    """
    columns = (
        *((name, kinds[name]) for name in names), ("key_id", kinds["key_id"]), ("display_key", "string"), ("process", "string"),
        ("pid", dict(processes.columns)["pid"]),
    )  # fmt: skip
    return {row["sequence"]: row for row in context.engine.fetch(Relation(sql, columns)).to_pylist()}


def _held(context: QueryContext, ids: Sequence[int]) -> Relation:
    """Return all spellings of keys as a table of the engine, with the column key_id."""
    keys = context.relation("keys")
    kind = dict(keys.columns)["key_id"]
    sql = f"SELECT key_id FROM {keys.source} WHERE same_as IN ({', '.join(map(str, ids)) or 'NULL'})"
    return context.engine.keep("set_keys", Relation(sql, (("key_id", kind),)))
