"""A change set as a diff: key by key, `-` what was there before, `+` what is there after."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids
from cli.output.columns import text_cells
from cli.output.console import with_style
from cli.output.destination import Render
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import cut_end, path_line
from cli.tables.history import SIGNS, content_cell
from cli.tables.timeline import process_cells, value_cells
from tracer.registry.quoting import quote_name
from tracer.registry.values import type_name

__all__ = ["head_lines", "patch_lines", "with_head"]

_SOURCES = {  # how the old data is known, where the change itself did not record it
    "write": "as written before",
    "read": "as read before",
    "baseline": "as a hive had it",
}
_STYLES = SIGNS | {"?": "yellow", "~": "yellow"}
_INDENT = "  "


def head_lines(head: pa.Table, *, zone: tzinfo = UTC, color: bool = False) -> Iterator[str]:
    """Yield the lines above the diff of one change set; its row of the log."""
    (row,) = head.to_pylist()
    name = f"change set {row['change_set']}"
    yield with_style(name, "yellow") if color else name
    (process,), (time,), (last,) = (
        process_cells(head),
        text_cells(head, "time", zone=zone),
        text_cells(head, "last_time", zone=zone),
    )
    more = row["processes"] - 1
    who = visible(process) if process else "a process that is not known"
    yield f"Process:  {who}" + (f" and {plural(more, 'process')} that it started" if more else "")
    if row["user"]:
        yield f"User:     {visible(row['user'])}"
    if row["command_line"]:
        yield f"Command:  {visible(row['command_line'])}"
    yield f"Time:     {time}" + (
        f" to {last[11:] if last[:10] == time[:10] else last}" if last != time else ""
    )
    counts = [plural(row["changes"], "change")] + [
        f"{plural(row[name], name[:-1])}" for name in ("keys", "values")
    ]
    yield f"Changes:  {counts[0]} of {counts[1]} and {counts[2]}"
    yield ""


def with_head(
    rows: pa.Table,
    width: int | None = None,
    *,
    lines: Render,
    head: pa.Table,
    zone: tzinfo = UTC,
    color: bool = False,
) -> Iterator[str]:
    """Yield the lines of one change set: its head, and then `lines` of the rows."""
    for line in head_lines(head, zone=zone, color=color):
        yield line if width is None else cut_end(line, width)
    yield from lines(rows, width)


def patch_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a diff; rows of `analysis.versions.patch.PATCH` or net changes, by key."""
    del zone
    keys, ids = text_cells(rows, "display_key"), short_ids(rows)
    changes = rows.column("change").to_pylist()
    is_key = [name is None for name in rows.column("value_name").to_pylist()]
    values = value_cells(rows)
    sources = rows.column("before_from").to_pylist()
    has_news = "new_name" in rows.schema.names
    news = rows.column("new_name").to_pylist() if has_news else [None] * rows.num_rows
    before, after = (_contents(rows, side) for side in ("before", "after"))
    order: dict[str, list[int]] = {}
    for place, key in enumerate(keys):
        order.setdefault(key, []).append(place)
    for key, places in order.items():
        yield path_line(key or "(no key)", width or 10**6, number=ids[places[0]], color=color)
        for place in sorted(places, key=lambda place: not is_key[place]):
            for sign, text in _lines(
                changes[place],
                is_key[place],
                values[place],
                sources[place],
                before[place],
                after[place],
                news[place],
            ):
                line = f"{sign} {text}"
                line = line if width is None else cut_end(line, width)
                yield with_style(line, _STYLES[sign]) if color else line


def _lines(
    change: str, is_key: bool, value: str, source: str | None, before: str, after: str, new_name: str | None
) -> Iterator[tuple[str, str]]:
    """Yield sign and text of the lines of one key or value."""
    if is_key:
        if change == "recreated":
            yield "-", "(the key, with what it held)"
            yield "+", "(the key, made again)"
        elif change == "renamed":
            yield "~", "(the key was renamed" + (f" to {visible(quote_name(new_name))})" if new_name else ")")
        elif change == "unclear":
            yield "?", "(the key: what became of it is not known)"
        else:
            yield ("+" if change == "created" else "-"), "(the key)"
        return
    name = visible(value)
    if change in ("changed", "removed", "unclear") and source not in (None, "absent"):
        said = _SOURCES.get(source)
        yield (
            "-",
            f"{name} = {before or '(there, its data was not captured)'}" + (f"  ({said})" if said else ""),
        )
    elif change in ("set", "removed", "unclear") and source is None:
        yield "?", f"{name}: what it held before was not seen"
    if change in ("added", "changed", "set"):
        yield "+", f"{name} = {after or '(its data was not captured)'}"
    elif change == "unclear":
        yield "?", f"{name}: what it holds at the end is not known"


def _contents(rows: pa.Table, side: str) -> list[str]:
    names = [name for name in ("type", "data", "size", "meaning") if f"{side}_{name}" in rows.schema.names]
    cells = []
    for kind, *rest in zip(*(rows.column(f"{side}_{name}").to_pylist() for name in names), strict=True):
        cell = visible(content_cell(kind, *rest))
        cells.append(f"{type_name(kind).removeprefix('REG_')} {cell}" if cell and kind is not None else cell)
    return cells
