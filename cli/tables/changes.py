"""The text table of net changes: key by key, with old and new content and the process."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.phrases import plural
from cli.output.table import TextColumn, lay_out, path_line, text_line
from cli.tables.history import SIGNS, content_cell
from cli.tables.key_tree import key_tree
from cli.tables.timeline import DATA_WIDTH, process_cells, time_cells, value_cells

__all__ = ["change_lines"]

_Titles = dict[
    int, list[tuple[int, str, int]]
]  # place of a row -> depth, text and number of changes of titles above it
_WIDE = 100  # columns; on narrower terminals what was and what is have a line each
_BYTES = 24  # of a value in hex on a line of its own
_DEEPEST = 8  # indents of a deeper tree would take the room of its names
_STYLES = {"removed": "red", "deleted": "red", "recreated": "red", "renamed": "red", "unclear": "yellow"}
_NOTES = {  # note -> its letter on a terminal, and what it means
    "others": ("o", "changed by others too, after the first change that was asked for"),
    "cut": ("c", "what was captured of both is the same; what was cut may differ"),
}


def change_lines(
    rows: pa.Table,
    width: int | None = None,
    *,
    zone: tzinfo = UTC,
    color: bool = False,
    by_process: bool = False,
) -> Iterator[str]:
    """Yield the lines of net changes, rows of `analysis.answers.net_changes.NET_CHANGES`.

    On a terminal keys are a tree: each key below the one it belongs to, with the number of changes in it and below, and its
    own changes under it; keys come by their first change. Where it is narrow, what a value held (-) and holds (+) stands below
    it. Elsewhere every row has its key, and rows keep their order.

    Args:
        rows: the rows.
        width: of the terminal; None where there is none.
        zone: the zone that times are shown in.
        color: whether the terminal shows colors.
        by_process: a tree for each process that made the last of the changes, those with most changes first.
    """
    if width is None:
        yield from lay_out(with_hosts(rows, _flat(rows, zone)), color=color)
        return
    rows, titles = _in_trees(rows, by_process=by_process)
    below = _contents_below(rows) if width < _WIDE else []
    columns = with_hosts(rows, _below_titles(rows, titles, width, zone, by_process=by_process))
    lines = lay_out(columns, width=width, color=color)
    yield next(lines)
    ids, indent = short_ids(rows), ""
    for place, line in enumerate(lines):
        headings = titles.get(place, [])
        for above, (depth, title, count) in enumerate(headings, 1):
            indent = _indent(depth)
            count_text = f"  {plural(count, 'change')}" if count > 1 else ""
            number = ids[place] if above == len(headings) else ""  # the last one is the key of the row
            room = width - len(indent) - len(count_text)
            yield indent + path_line(title, room, number=number, color=color) + count_text
        yield line
        for sign, content in below[place] if below else ():
            indent = _indent(titles[place][-1][0] + 1) if place in titles else indent
            text = f"{indent}    {sign} {content}"
            yield text_line(text, width, style=SIGNS[sign], color=color)
    used = {note for some in _notes(rows) for note in some}
    yield from (f"{letter}: {meaning}" for note, (letter, meaning) in _NOTES.items() if note in used)


def _indent(depth: int) -> str:
    return "  " * min(depth, _DEEPEST)


def _in_trees(rows: pa.Table, *, by_process: bool) -> tuple[pa.Table, _Titles]:
    """Return the rows in order, and the titles above some of them."""
    keys = rows.column("display_key").to_pylist()
    groups: dict[str, list[int]] = {}
    for place, process in enumerate(process_cells(rows) if by_process else [""] * len(keys)):
        groups.setdefault(process, []).append(place)
    order: list[int] = []
    titles: _Titles = {}
    for process, places in sorted(groups.items(), key=lambda group: -len(group[1])):
        own, headings = key_tree([keys[place] for place in places])
        if by_process:
            titles[len(order)] = [(0, process or "(process not known)", len(places))]
        for place, some in headings.items():
            titles.setdefault(len(order) + place, []).extend(
                (one.depth + by_process, one.path, one.rows) for one in some
            )
        order += [places[row] for row in own]
    return rows.take(pa.array(order, pa.int64())), titles


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


def _below_titles(
    rows: pa.Table, titles: _Titles, width: int, zone: tzinfo, *, by_process: bool
) -> list[TextColumn]:
    change, value, before, after = _cells(rows)
    title, times = time_cells(pa.table({"time": rows.column("last_time")}), zone, width)
    letters = ["".join(_NOTES[note][0] for note in some) for some in _notes(rows)]
    note = [TextColumn("", letters, styles=["yellow"] * len(letters))] if any(letters) else []
    processes = TextColumn("process", process_cells(rows), shrink="middle", least=20)
    return [
        replace(change, title=f"  {change.title}", cells=_indented(change.cells, titles)),
        value,
        *([before, after] if width >= _WIDE else []),
        *([] if by_process else [processes]),
        *note,
        TextColumn(f"last on {title}" if title != "time" else "last time", times, optional=True),
        TextColumn("writes", text_cells(rows, "writes"), right=True, optional=True),
    ]


def _indented(words: Sequence[str], titles: _Titles) -> list[str]:
    """Return the words of rows, each a step to the right of the title that it stands below."""
    cells, indent = [], ""
    for place, word in enumerate(words):
        if place in titles:
            indent = _indent(titles[place][-1][0] + 1)
        cells.append(indent + word)
    return cells


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


def _contents_below(rows: pa.Table) -> list[list[tuple[str, str]]]:
    """Return for each row the lines with what was and what is: nothing where that is absent or unknown, as the word says."""
    is_key = [name is None for name in rows.column("value_name").to_pylist()]
    sides = (_contents(rows, side, is_key, bytes_shown=_BYTES) for side in ("before", "after"))
    return [
        [(sign, cell) for sign, cell in zip(SIGNS, cells, strict=True) if cell not in ("", "?", "(none)")]
        for cells in zip(*sides, strict=True)
    ]


def _contents(rows: pa.Table, side: str, is_key: list[bool], *, bytes_shown: int = 16) -> list[str]:
    """Return the content of each value on one side: (none) where absent, ? where unknown."""
    cells = []
    parts: list[list[Any]] = [
        rows.column(f"{side}_{name}").to_pylist() for name in ("from", "type", "data", "size", "meaning")
    ]
    for key, source, *content in zip(is_key, *parts, strict=True):
        cell = "(none)" if source == "absent" else content_cell(*content, limit=bytes_shown) or "?"
        cells.append("" if key else cell)
    return cells
