"""Which columns of a capture's tables are ids: where captures become one dataset, each is shifted.

An id means something inside its capture only. A dataset adds one constant to every id of a kind, another one
for each capture, so that no two captures share an id and a range of ids is a capture.
"""

from collections.abc import Iterable

from tracer.schema import TABLES

__all__ = ["IDS", "KINDS", "LABELS", "kind_of_id"]

KINDS = ("sequence", "key_id", "process_id", "handle_id", "source_id")
LABELS = ("host", "capture")  # the columns that say which capture of a dataset a row is of


def kind_of_id(column: str) -> str | None:
    """Return which kind of id a column of a table or an answer holds, by its name; None where it holds none.

    >>> kind_of_id("opened_sequence"), kind_of_id("same_as"), kind_of_id("session_id")
    ('sequence', 'key_id', None)
    """
    if column == "same_as":
        return "key_id"
    return next((kind for kind in KINDS if column == kind or column.endswith(f"_{kind}")), None)


def _ids(own: str, columns: Iterable[str]) -> dict[str, str]:
    """Return the ids among the columns of a table, and the kind of each; a parent is of the table's own kind."""
    kinds = {column: own if column == "parent_id" else kind_of_id(column) for column in columns}
    return {column: kind for column, kind in kinds.items() if kind is not None}


# table -> column -> kind
IDS = {name: _ids(table.names[0], table.names) for name, table in TABLES.items()}
