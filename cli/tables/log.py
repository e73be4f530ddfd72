"""The log of a capture as text: a line a change set, and below it, where asked for, its processes or what it did."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo

import pyarrow as pa

from analysis.versions.graph import Branch
from analysis.versions.identity import SHORT
from cli.output.answer_columns import times_column, with_hosts
from cli.output.columns import text_cells
from cli.output.destination import Render
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import TextColumn, cut_end, lay_out
from cli.tables.timeline import process_cells

__all__ = ["below_log", "graph_lines", "log_lines", "rows_by"]

_FRACTION = re.compile(r"\.\d+")
Below = Callable[[str, int | None], Iterable[str]]  # name of a change set and the width -> lines below it


def log_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a log, rows of `analysis.versions.log.LOG`."""
    names = text_cells(rows, "change_set")
    others = [int(count.replace(",", "") or 0) - 1 for count in text_cells(rows, "processes")]
    people = process_cells(rows)
    if width is not None:  # the key needs the room; --graph shows the pids
        people = [image or shown for image, shown in zip(text_cells(rows, "process"), people, strict=True)]
    processes = [
        f"{process or '(not known)'} +{more}" if more > 0 else process or "(not known)"
        for process, more in zip(people, others, strict=True)
    ]
    columns = [
        TextColumn("change set", names if width is None else _short(names), styles=["yellow"] * len(names)),
        _in_seconds(times_column(rows, "last_time", zone, width), width),
        TextColumn("process", processes, shrink="middle", least=14),
        TextColumn("keys", text_cells(rows, "keys"), right=True),
        TextColumn("values", text_cells(rows, "values"), right=True),
    ]
    if width is None:
        columns.insert(1, times_column(rows, "time", zone, width))
        columns += [
            TextColumn(name.replace("_", " "), text_cells(rows, name), right=True)
            for name in ("changes", "all_changes")
        ]
    keys = text_cells(rows, "display_key")
    columns.append(TextColumn("most in", keys, shrink="middle", least=16))
    yield from lay_out(with_hosts(rows, columns), width=width, color=color)


def below_log(rows: pa.Table, width: int | None = None, *, lines: Render, below: Below) -> Iterator[str]:
    """Yield the lines of a log, each with lines below it."""
    own = iter(lines(rows, width))
    yield next(own)
    for name, line in zip(text_cells(rows, "change_set"), own, strict=True):
        yield line
        yield from below(name, width)


def rows_by(rows: pa.Table, name: str) -> dict[str, pa.Table]:
    """Return the rows of each value of a column of texts, in their order."""
    places: dict[str, list[int]] = {}
    for place, value in enumerate(rows.column(name).to_pylist()):
        places.setdefault(value, []).append(place)
    return {value: rows.take(pa.array(some, pa.int64())) for value, some in places.items()}


def graph_lines(branches: Sequence[Branch], width: int | None) -> Iterator[str]:
    """Yield the lines of the processes of a change set."""
    for branch in branches:
        lines = "".join("   " if is_last else "│  " for is_last in branch.path[:-1])
        corner = ("└─ " if branch.path[-1] else "├─ ") if branch.path else ""
        pid = "" if branch.pid is None else f" ({branch.pid})"
        count = plural(branch.changes, "change") if branch.changes else "no change"
        text = f"  {lines}{corner}{visible(branch.image or 'a process that is not known')}{pid}  {count}"
        yield text if width is None else cut_end(text, width)


def _in_seconds(times: TextColumn, width: int | None) -> TextColumn:
    """Return times on a terminal without their fractions: a change set lasts, and its key needs the room."""
    return (
        times
        if width is None
        else replace(
            times,
            title=times.title.removeprefix("last "),
            cells=[_FRACTION.sub("", cell) for cell in times.cells],
        )
    )


def _short(names: Sequence[str]) -> list[str]:
    """Return the first digits of names, as many as tell these apart."""
    digits = SHORT
    while digits < 40 and len({name[:digits] for name in names}) < len(set(names)):
        digits += 1
    return [name[:digits] for name in names]
