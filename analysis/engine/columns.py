"""The columns of a capture's tables and of the view `events`, and which of them are ids.

Where captures become one dataset, each id is shifted.

An id means something inside its capture only. A dataset adds one constant to every id of a kind, another one
for each capture, so that no two captures share an id and a range of ids is a capture.
"""

from collections.abc import Iterable
from functools import cache

from analysis.engine.phrases import phrase
from analysis.engine.relation import Columns, Relation, columns_of
from tracer.registry.value_columns import names_with_texts
from tracer.schema import TABLES

__all__ = [
    "EVENT_COLUMNS",
    "IDS",
    "KINDS",
    "LABELS",
    "SHOWN_COLUMNS",
    "columns_of_many",
    "columns_of_one",
    "joined",
    "kind_of_id",
    "stored_name",
]

KINDS = ("sequence", "key_id", "process_id", "handle_id", "source_id")
EVENT_COLUMNS = (
    "sequence",
    "time",
    "time_ns",
    "operation",
    "notify_class",
    "phase",
    "noise",
    "status",
    "status_name",
    "key",
    "display_key",
    "value_name",
    "process",
    "pid",
    "tid",
    "user",
    "command_line",
    "requested_name",
    "disposition",
    "information_class",
    "index",
    "entry_count",
    "data_type",
    "data_size",
    "data",
    "previous_type",
    "previous_size",
    "previous_data",
    "duration_ns",
    "name_source",
    "key_id",
    "handle_id",
    "process_id",
    "cpu",
    "source",
    "source_id",
    "event_id",
    "record_offset",
    "flags",
    "detail",
)
# What users see of events: beside the data of values stand the names of types, and texts.
SHOWN_COLUMNS = names_with_texts(EVENT_COLUMNS)
LABELS = ("host", "capture")  # the columns that say which capture of a dataset a row is of


def kind_of_id(column: str) -> str | None:
    """Return the kind of id in a column of this name, such as `key`; None where it holds no id.

    >>> kind_of_id("opened_sequence"), kind_of_id("same_as"), kind_of_id("session_id")
    ('sequence', 'key_id', None)
    """
    if column == "same_as":
        return "key_id"
    return next((kind for kind in KINDS if column == kind or column.endswith(f"_{kind}")), None)


def _ids(own: str, columns: Iterable[str]) -> dict[str, str]:
    """Return the id columns of a table with their kinds; a parent has the table's own kind."""
    kinds = {column: own if column == "parent_id" else kind_of_id(column) for column in columns}
    return {column: kind for column, kind in kinds.items() if kind is not None}


# table -> column -> kind
IDS = {name: _ids(table.names[0], table.names) for name, table in TABLES.items()}


def stored_name(table: str) -> str:
    """Return the engine's name of a stored table: `events` is the view with the names joined."""
    return "stored_events" if table == "events" else table


@cache
def columns_of_one() -> dict[str, Columns]:
    """Return the columns of every stored table of one capture, by its name in the engine, and of `events`."""
    stored = {stored_name(name): columns_of(table.arrow()) for name, table in TABLES.items()}
    return stored | {"events": joined(*_named(stored)).columns}


@cache
def columns_of_many(*, labelled: bool) -> dict[str, Columns]:
    """Return the columns of the tables of a dataset: ids are int64; `labelled`: LABELS come first."""
    labels = tuple((label, "string") for label in LABELS) if labelled else ()
    stored = {
        stored_name(name): labels + columns_of(table.arrow(), dict.fromkeys(IDS[name], "int64"))
        for name, table in TABLES.items()
    }
    return stored | {"events": joined(*_named(stored), first=LABELS if labelled else ()).columns}


def joined(events: Relation, keys: Relation, processes: Relation, *, first: tuple[str, ...] = ()) -> Relation:
    """Return stored events with the names of keys and processes (`analysis.expressions.events_view.join_names`)."""
    return phrase(
        "analysis.expressions.events_view:join_names",
        options={"first": first},
        events=events,
        keys=keys,
        processes=processes,
    )


def _named(stored: dict[str, Columns]) -> list[Relation]:
    return [Relation.of_table(name, stored[name]) for name in ("stored_events", "keys", "processes")]
