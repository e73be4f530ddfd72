"""The changes of a capture as columns: successful writes and deletes of values, and creates, deletes and renames of keys."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.answers.facts import NEEDED, OF_SUBTREES
from analysis.engine.relation import Relation, quoted
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from tracer.registry.ntstatus import NOT_SUCCESS, REPARSE
from tracer.registry.text import fold_name

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "CHANGES", "DONE", "OF_KEYS", "OPERATIONS", "ChangeRows", "Numbers", "change_rows", "changes_of", "contents_of",
    "fitting", "unclear_changes",
]  # fmt: skip

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]
_CREATED = 1  # REG_CREATED_NEW_KEY (winnt.h)
_PENDING = 0x103  # STATUS_PENDING (ntstatus.h): it may have been done later, or not
OF_KEYS = ("CreateKey", "DeleteKey", "RenameKey")
OPERATIONS = ("SetValueKey", "DeleteValueKey", *OF_KEYS)
DONE = (
    f"operation IN ({', '.join(map(quoted, OPERATIONS))}) AND status < {NOT_SUCCESS} AND status NOT IN ({_PENDING}, {REPARSE}) "
    f"AND (operation <> 'CreateKey' OR disposition = {_CREATED})"
)
CHANGES = f"({DONE}) OR operation IN ({', '.join(map(quoted, sorted(OF_SUBTREES)))})"  # also those of whole subtrees
_UNCLEAR = (
    f"operation IN ({', '.join(map(quoted, OPERATIONS))}) AND (status IS NULL OR status = {_PENDING}) "
    f"OR operation = 'CreateKey' AND status < {NOT_SUCCESS} AND status <> {REPARSE} AND disposition IS NULL "
    "OR operation = 'CreateOrDelete'"
)
_NOBODY = -1
_FEW = 500_000  # operations that may be changes, of which a table of the changes is worth its memory


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """Changes in the order of `sequence`, one array a column.

    Attributes:
        sequence: of the event.
        time_ns: UTC nanoseconds.
        process_id: who did it; -1 where nobody knows.
        operation: place in OPERATIONS.
        key_id: the key, all its spellings as one; -1 where the row has no key.
        value: number of the value's name (folded) among the names of this capture; -1 for a change of a key.
    """

    sequence: Numbers
    time_ns: Numbers
    process_id: Numbers
    operation: Numbers
    key_id: Numbers
    value: Numbers

    def taken(self, places: Numbers) -> "ChangeRows":
        """Return the rows at some places, in the order of these."""
        return ChangeRows(
            self.sequence[places],
            self.time_ns[places],
            self.process_id[places],
            self.operation[places],
            self.key_id[places],
            self.value[places],
        )


def changes_of(context: QueryContext) -> Relation:
    """Return the event rows of one capture that are CHANGES: where they are few from a table, for they are read often.

    Columns that are not among `analysis.answers.facts.NEEDED` may be NULL.
    """
    events = context.relation("stored_events")
    found = Relation(f"SELECT * FROM {events.source} WHERE {CHANGES}", events.columns)
    counts = [manifest.totals.get("operations") for _, manifest in context.stores]
    kinds = {*OPERATIONS, *OF_SUBTREES}
    if any(one is None or sum(one.get(kind, 0) for kind in kinds) > _FEW for one in counts):
        return found
    # Of no row, but with its type, each column that nobody asks for.
    every = f"{found.select(*NEEDED).sql} UNION ALL BY NAME SELECT * FROM {events.source} WHERE false"
    return context.engine.keep("changes", Relation(f"({every})", events.columns).select(*events.names))


def unclear_changes(context: QueryContext) -> int:
    """Return how many operations of one capture may have been changes, where the source does not say."""
    events = context.relation("stored_events")
    found = Relation(f"SELECT sequence FROM {events.source} WHERE {_UNCLEAR}", (events.columns[0],))
    return context.engine.count(found)


def change_rows(context: QueryContext) -> ChangeRows:
    """Return all changes of one capture."""
    events, keys = changes_of(context), context.relation("keys")
    names = ("sequence", "time_ns", "process_id", "value_name")
    kinds = dict(events.columns)
    listed = ", ".join(quoted(name) for name in OPERATIONS)
    sql = f"""
        SELECT {", ".join(names)}, list_position([{listed}], operation)::BIGINT - 1 AS operation_place, same_as
        FROM (SELECT {", ".join(names)}, operation, key_id FROM {events.source} WHERE {DONE})
        LEFT JOIN (SELECT key_id, same_as FROM {keys.source}) USING (key_id)
        ORDER BY sequence
    """
    columns = (
        *((name, kinds[name]) for name in names),
        ("operation_place", "int64"),
        ("same_as", dict(keys.columns)["key_id"]),
    )
    rows = context.engine.fetch(Relation(sql, columns))
    operations = _numbers(rows.column("operation_place"))
    return ChangeRows(
        _numbers(rows.column("sequence")),
        _numbers(rows.column("time_ns")),
        _numbers(rows.column("process_id")),
        operations,
        _numbers(rows.column("same_as")),
        _name_numbers(rows.column("value_name"), operations),
    )


def fitting(context: QueryContext, filters: Filters) -> Numbers:
    """Return the sequences of the changes that fit filters, sorted."""
    rows = context.rows(filters)
    sql = f"SELECT sequence FROM {rows.source} WHERE {DONE} ORDER BY sequence"
    found = context.engine.fetch(Relation(sql, (("sequence", dict(rows.columns)["sequence"]),)))
    return _numbers(found.column(0))


def contents_of(context: QueryContext, first: int, last: int) -> "pa.Table":
    """Return the sequence of each change from one sequence to another, and a SHA-256 of what it did, in order.

    What it did is its operation, the folded path of its key, the names of value and new key, and type, size and captured
    bytes of the data; nothing that another capture of the same events would number otherwise.
    """
    events, keys = changes_of(context), context.relation("keys")
    names = (
        "sequence",
        "operation",
        "key_id",
        "value_name",
        "requested_name",
        "data_type",
        "data_size",
        "data",
    )
    text = "coalesce(length({0}) || ':' || {0}, '-')"
    parts = (
        "operation",
        text.format("path"),
        text.format("value_name"),
        # Of a create the caller's name is only another way to the same key.
        "CASE WHEN operation = 'RenameKey' THEN " + text.format("requested_name") + " ELSE '-' END",
        *(f"CASE WHEN operation = 'SetValueKey' THEN coalesce({one}, '-') ELSE '-' END" for one in (
            "data_type::VARCHAR", "data_size::VARCHAR", "hex(data)"
        )),
    )  # fmt: skip
    sql = f"""
        WITH own AS (SELECT key_id, same_as FROM {keys.source}),
        paths AS (SELECT key_id AS same_as, folded_path AS path FROM {keys.source})
        SELECT sequence, sha256({" || '/' || ".join(parts)}) AS content
        FROM (
            SELECT {", ".join(names)} FROM {events.source} WHERE {DONE} AND sequence BETWEEN {int(first)} AND {int(last)}
        ) LEFT JOIN own USING (key_id) LEFT JOIN paths USING (same_as)
        ORDER BY sequence
    """
    columns = (("sequence", dict(events.columns)["sequence"]), ("content", "string"))
    return context.engine.fetch(Relation(sql, columns))


def _numbers(column: "pa.ChunkedArray") -> Numbers:
    """Return a column of whole numbers; NULL is -1."""
    return np.concatenate(
        [np.empty(0, np.int64)]
        + [np.asarray(chunk.cast("int64").fill_null(_NOBODY)) for chunk in column.chunks]
    )


def _name_numbers(names: "pa.ChunkedArray", operations: Numbers) -> Numbers:
    """Return a number for each folded name; -1 for changes of keys."""
    encoded = names.combine_chunks().dictionary_encode()
    numbers: dict[str, int] = {}
    of_name = [numbers.setdefault(fold_name(name), len(numbers)) for name in encoded.dictionary.to_pylist()]
    places = np.asarray(encoded.indices.cast("int64").fill_null(len(of_name)))
    # A value whose name nobody recorded is one of its own.
    found = np.array([*of_name, len(numbers)], np.int64)[places]
    return np.where(operations < OPERATIONS.index(OF_KEYS[0]), found, _NOBODY)
