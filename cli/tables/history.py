"""The text table of a history: time, process, value, old and new content."""

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Any

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below, text_line
from cli.tables.meanings import with_meaning
from cli.tables.timeline import DATA_WIDTH, process_cells, time_cells, value_cells
from tracer.registry.values import show_value

__all__ = ["SIGNS", "content_cell", "history_lines", "old_cells"]

_NARROW = 100
_BYTES = 16  # of a value in hex; the whole data is in CSV, JSONL and Parquet
_LINE_BYTES = 22  # of one on a line of its own
SIGNS = {"-": "red", "+": "green"}  # of a line that says what was, or what is, and its style
_ACTIONS = {
    "SetValueKey": ("set", ""),
    "DeleteValueKey": ("delete", "(deleted)"),
    "DeleteKey": ("delete key", "(deleted with the key)"),
    "RenameKey": ("rename key", "(renamed with the key)"),
}
_NOTES = {  # note -> its letter on a terminal, and what it means
    "absent": ("a", "there was a value where, by what was known before, there was none"),
    "present": ("p", "there was no value where, by what was known before, there was one"),
    "data": ("d", "the value held something else than was known before"),
    "lost": ("x", "events may have been lost between the change and what tells the old data"),
}


def content_cell(
    kind: int | None, data: bytes | None, size: int | None, meaning: str | None = None, *, limit: int = _BYTES
) -> str:
    """Return a value's content, short enough for a table; "" where unknown. Of bytes `limit` are shown in hex.

    What well-known data means stands in square brackets (`cli.tables.meanings`).
    """
    if kind is None and data is None and size is None:
        return ""
    if data is None and size == 0:  # nothing was captured because there is nothing
        data = b""
    return with_meaning(show_value(kind, data, size, limit=limit), meaning)


def history_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a history; the columns `analysis.answers.history.HISTORY_COLUMNS`, in order."""
    values = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    notes = [
        [conflict] * (conflict is not None) + ["lost"] * bool(lost)
        for conflict, lost in zip(values["conflict"], values["across_loss"], strict=True)
    ]
    statuses = ["" if name == "SUCCESS" else name or "?" for name in values["status_name"]]
    if width is not None:
        statuses = [name.removeprefix("OBJECT_") for name in statuses]
    actions, new = _changes(values)
    failed = ["red" if done is False else "" for done in values["done"]]
    title, times = time_cells(rows, zone, width)
    keys = text_cells(rows, "display_key")
    columns = [
        TextColumn(title, times, styles=["dim"] * len(times)),
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        TextColumn("key", keys, shrink="middle", least=24, ids=short_ids(rows)),
        TextColumn("value", value_cells(rows), shrink="middle", least=8),
        TextColumn("action", actions),
        TextColumn("old data", old_cells(values), shrink="end", least=10, most=DATA_WIDTH),
        TextColumn("new data", new, shrink="end", least=10, most=DATA_WIDTH),
        TextColumn("status", statuses, shrink="end", least=9, styles=failed),
    ]
    if width is None:
        columns += [
            TextColumn("old from", [name or "" for name in values["old_from"]]),
            TextColumn("note", [", ".join(some) for some in notes]),
        ]
        yield from lay_out(with_hosts(rows, columns), color=color)
        return
    below: list[list[tuple[str, str]]] = []
    if width < _NARROW:  # old and new data have a line each
        below = _contents_below(values)
        tried = [f"{one}: {status}" if status else one for one, status in zip(actions, statuses, strict=True)]
        columns[4:] = [TextColumn("action", tried, shrink="end", least=12, styles=failed)]
    letters = ["".join(_NOTES[note][0] for note in some) for some in notes]
    columns.append(TextColumn("", letters, styles=["yellow"] * len(letters)))
    del columns[2]
    columns = with_hosts(rows, [c for c in columns if any(c.cells)] or columns)
    yield from lay_out_below(
        keys, columns, width=width, ids=short_ids(rows), color=color,
        after=[
            [text_line(f"      {sign} {text}", width, style=SIGNS[sign], color=color) for sign, text in some]
            for some in below
        ],
    )  # fmt: skip
    used = {note for some in notes for note in some}
    yield from (f"{letter}: {meaning}" for note, (letter, meaning) in _NOTES.items() if note in used)


def old_cells(values: dict[str, list[Any]], *, limit: int = _BYTES) -> list[str]:
    """Return the content before each write, from the columns of a history; ? where it is unknown."""
    names = ("old_from", "old_type", "old_data", "old_size", "old_meaning")
    cells = []
    for source, *content in zip(*(values[name] for name in names), strict=True):
        unknown = "?" if source is None else "(there)"
        cells.append("(none)" if source == "absent" else content_cell(*content, limit=limit) or unknown)
    return cells


def _contents_below(values: dict[str, list[Any]]) -> list[list[tuple[str, str]]]:
    """Return for each row the lines with the old and the new data; none of what is not there, or of what failed."""
    old, (_, new) = old_cells(values, limit=_LINE_BYTES), _changes(values, limit=_LINE_BYTES)
    lines = []
    for name, done, before, after in zip(values["operation"], values["done"], old, new, strict=True):
        gone = [] if before == "(none)" else [("-", before)]
        come = [("+", after)] if name == "SetValueKey" and after else []
        lines.append([] if done is False else gone + come)
    return lines


def _changes(values: dict[str, list[Any]], *, limit: int = _BYTES) -> tuple[list[str], list[str]]:
    """Return the operation, and the content after it; "" where unchanged."""
    names = ("operation", "done", "new_type", "new_data", "new_size", "new_meaning")
    actions, new = [], []
    for operation, done, *content in zip(*(values[name] for name in names), strict=True):
        action, result = _ACTIONS.get(operation, (operation, ""))
        actions.append(action)
        new.append(
            content_cell(*content, limit=limit) if operation == "SetValueKey" else result if done else ""
        )
    return actions, new
