"""The text table of net changes: key by key, with old and new content and the process."""

from collections.abc import Iterator
from datetime import UTC, tzinfo
from typing import Any

import pyarrow as pa

from cli.output.answer_columns import with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, path_line
from cli.tables.history import content_cell
from cli.tables.timeline import DATA_WIDTH, process_cells, time_cells, value_cells

__all__ = ["change_lines"]

_STYLES = {"removed": "red", "deleted": "red", "recreated": "red", "renamed": "red", "unclear": "yellow"}
_NOTES = {  # note -> its letter on a terminal, and what it means
    "others": ("o", "changed by others too, after the first change that was asked for"),
    "cut": ("c", "what was captured of both is the same; what was cut may differ"),
}


def change_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of net changes, rows of `analysis.answers.net_changes.NET_CHANGES`.

    On a terminal the changes of a key stand together, below its path, keys by their first change. Elsewhere
    every row has its key, and rows keep their order.
    """
    if width is None:
        yield from lay_out(with_hosts(rows, _flat(rows, zone)), color=color)
        return
    rows, starts = _by_key(rows)
    columns = with_hosts(rows, _below_keys(rows, width, zone))
    lines = lay_out(columns, width=width, color=color)
    yield next(lines)
    for place, line in enumerate(lines):
        if place in starts:
            yield path_line(starts[place], width, color=color)
        yield line
    used = {note for some in _notes(rows) for note in some}
    yield from (f"{letter}: {meaning}" for note, (letter, meaning) in _NOTES.items() if note in used)


def _by_key(rows: pa.Table) -> tuple[pa.Table, dict[int, str]]:
    """Return the rows grouped by key, and the index of each key's first row."""
    places: dict[int, list[int]] = {}
    for place, key in enumerate(rows.column("key_id").to_pylist()):
        places.setdefault(key, []).append(place)
    paths = rows.column("display_key")
    order: list[int] = []
    starts = {}
    for some in places.values():
        starts[len(order)] = str(paths[some[0]])
        order += some
    return rows.take(pa.array(order, pa.int64())), starts


def _flat(rows: pa.Table, zone: tzinfo) -> list[TextColumn]:
    change, value, before, after = _cells(rows)
    return [
        change,
        TextColumn("key", text_cells(rows, "display_key")),
        value,
        before,
        after,
        TextColumn("before from", text_cells(rows, "before_from")),
        TextColumn("process", process_cells(rows)),
        TextColumn("writes", text_cells(rows, "writes"), right=True),
        TextColumn("processes", text_cells(rows, "processes"), right=True),
        TextColumn("last time", text_cells(rows, "last_time", zone=zone)),
        TextColumn("note", [", ".join(some) for some in _notes(rows)]),
    ]


def _below_keys(rows: pa.Table, width: int, zone: tzinfo) -> list[TextColumn]:
    change, value, before, after = _cells(rows)
    title, times = time_cells(pa.table({"time": rows.column("last_time")}), zone, width)
    letters = ["".join(_NOTES[note][0] for note in some) for some in _notes(rows)]
    note = [TextColumn("", letters, styles=["yellow"] * len(letters))] if any(letters) else []
    return [
        TextColumn("", [""] * rows.num_rows),  # indents
        change,
        value,
        before,
        after,
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        *note,
        TextColumn(f"last on {title}" if title != "time" else "last time", times, optional=True),
        TextColumn("writes", text_cells(rows, "writes"), right=True, optional=True),
    ]


def _notes(rows: pa.Table) -> list[list[str]]:
    names = ("also_by_others", "change", "complete", "before_data", "after_data")
    return [
        ["others"] * bool(others) + ["cut"] * (change == "changed" and not complete and before == after)
        for others, change, complete, before, after in zip(
            *(rows.column(name).to_pylist() for name in names), strict=True
        )
    ]


def _cells(rows: pa.Table) -> tuple[TextColumn, TextColumn, TextColumn, TextColumn]:
    changes = rows.column("change").to_pylist()
    is_key = [name is None for name in rows.column("value_name").to_pylist()]
    words = [f"key {word}" if key else word for word, key in zip(changes, is_key, strict=True)]
    return (
        TextColumn("change", words, styles=[_STYLES.get(word, "") for word in changes]),
        TextColumn("value", value_cells(rows), shrink="middle", least=12),
        TextColumn("before", _contents(rows, "before", is_key), shrink="end", least=10, most=DATA_WIDTH),
        TextColumn("after", _contents(rows, "after", is_key), shrink="end", least=10, most=DATA_WIDTH),
    )


def _contents(rows: pa.Table, side: str, is_key: list[bool]) -> list[str]:
    """Return the content of each value on one side: (none) where absent, ? where unknown."""
    cells = []
    parts: list[list[Any]] = [
        rows.column(f"{side}_{name}").to_pylist() for name in ("from", "type", "data", "size", "meaning")
    ]
    for key, source, *content in zip(is_key, *parts, strict=True):
        cell = "(none)" if source == "absent" else content_cell(*content) or "?"
        cells.append("" if key else cell)
    return cells
