"""What the view tells of a value and of a write as plain text: nothing in a capture is markup or obeyed by the terminal."""

from dataclasses import dataclass
from datetime import UTC, tzinfo

import pyarrow as pa

from analysis.questions.baseline import OPERATION
from cli.output.columns import text_cells
from cli.output.safe import visible
from cli.tables.history import content_cell, old_cells
from cli.tables.timeline import process_cells, value_cells
from tracer.registry.values import type_name

__all__ = ["ValueLine", "WriteLine", "order_of_values", "value_lines", "write_lines"]

_LAST = ("deleted", "absent")  # what is not there stands last
_ALL_BYTES = 256  # of a value in hex, in the line that tells one value in full
_TOLD = ("value_name", "type", "data", "size", "meaning", "known", "last_known", "lost_since", "operation")
_DONE = {
    "SetValueKey": "set",
    "DeleteValueKey": "deleted",
    "DeleteKey": "key deleted",
    "RenameKey": "key renamed",
}


@dataclass(frozen=True, slots=True)
class ValueLine:
    """A value, or the key's own row.

    Attributes:
        name: its name; `(key)` for the key, `(default)` for the value without a name.
        kind: the type of its data, such as REG_SZ; "" where unknown.
        data: its data, short.
        full: its data, longer.
        known: how it is known; a word of docs/glossary.md.
        was: what it was before that became uncertain; "" where nothing is known.
        lost: events may have been lost since.
        when: the time of the event that tells it.
        who: process and id of that event.
    """

    name: str
    kind: str
    data: str
    full: str
    known: str
    was: str
    lost: bool
    when: str
    who: str


@dataclass(frozen=True, slots=True)
class WriteLine:
    """A write or delete: when and by whom, of which value, what was done, and the data before and after."""

    when: str
    who: str
    name: str
    done: str
    old: str
    new: str


def order_of_values(rows: pa.Table) -> list[int]:
    """Return the places of the rows of a state as they are shown: the key, what is there, what is not; by name."""
    names, known = (rows.column(name).to_pylist() for name in ("value_name", "known"))

    def rank(row: int) -> tuple[bool, int, str]:
        name = names[row]
        gone = _LAST.index(known[row]) + 1 if known[row] in _LAST else 0
        return name is not None, gone, (name or "").upper()

    return sorted(range(rows.num_rows), key=rank)


def value_lines(rows: pa.Table, *, zone: tzinfo = UTC) -> list[ValueLine]:
    """Return what is told of each row of a state, in the order of the rows."""
    of = {name: rows.column(name).to_pylist() for name in _TOLD}
    contents = list(zip(of["type"], of["data"], of["size"], of["meaning"], strict=True))
    return [
        ValueLine(
            "(key)" if own is None else visible(name),
            "" if kind[0] is None else type_name(kind[0]),
            visible(content_cell(*kind)),
            visible(content_cell(*kind, limit=_ALL_BYTES)),
            known or "",
            was or "",
            bool(lost),
            when,
            "a hive" if operation == OPERATION else visible(who),
        )
        for own, name, kind, known, was, lost, when, operation, who in zip(
            of["value_name"], value_cells(rows), contents, of["known"], of["last_known"], of["lost_since"],
            text_cells(rows, "time", zone=zone), of["operation"], process_cells(rows), strict=True,
        )
    ]  # fmt: skip


def write_lines(rows: pa.Table, *, zone: tzinfo = UTC) -> list[WriteLine]:
    """Return what is told of each row of a history, in its order."""
    of = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    contents = zip(*(of[f"new_{name}"] for name in ("type", "data", "size", "meaning")), strict=True)
    old, new = map(visible, old_cells(of)), [visible(content_cell(*one)) for one in contents]
    done = [
        _DONE.get(name, name) if done is not False else f"failed: {(status or '?').removeprefix('OBJECT_')}"
        for name, done, status in zip(of["operation"], of["done"], of["status_name"], strict=True)
    ]
    times = text_cells(rows, "time", zone=zone)
    who, names = map(visible, process_cells(rows)), map(visible, value_cells(rows))
    return [WriteLine(*one) for one in zip(times, who, names, done, old, new, strict=True)]
