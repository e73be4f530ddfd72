"""Text tables of handle lives, one by one or by process and key."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.amounts import duration_cells, duration_text, rate_cells
from cli.output.answer_columns import drop_empty_columns, short_ids, times_column
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below
from cli.tables.timeline import process_cells

__all__ = ["handle_lines", "handle_use_lines"]

_WIDE, _VERY_WIDE = 120, 170
_LOSS = "x"
_LEGEND = "x: events may have been lost while it was there, so that a close or a use may be missing"
_STYLES = {"never closed": "red", "unseen close": "yellow", "closed late": "yellow"}


def handle_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of single lives; the key is the last column, with the most room.

    A length with "+" is what is known of a life whose beginning or end was not seen.
    """
    verdicts = text_cells(rows, "verdict")
    columns = [
        times_column(rows, "opened_time", zone, width),
        TextColumn("lived", _lengths(rows), right=True),
        TextColumn("idle", duration_cells(rows, "idle_ns"), right=True, optional=True),
        TextColumn("uses", text_cells(rows, "uses"), right=True),
        TextColumn("verdict", verdicts, styles=[_STYLES.get(verdict, "") for verdict in verdicts]),
        _losses(rows),
        TextColumn("opened by", process_cells(rows), shrink="middle", least=20),
    ]
    if width is None or width >= _WIDE:
        columns.append(TextColumn("closed by", _others(rows), shrink="middle", least=12, optional=True))
    if width is None or width >= _VERY_WIDE:
        columns += [
            TextColumn("reads", text_cells(rows, "reads"), right=True, optional=True),
            TextColumn("writes", text_cells(rows, "writes"), right=True, optional=True),
            times_column(rows, "closed_time", zone, width),
        ]
    if width is None:
        columns += [TextColumn(name, text_cells(rows, name)) for name in ("began", "ended")]
    columns = drop_empty_columns(rows, columns, width)
    yield from _with_keys(rows, columns, width, color=color)
    yield from _legend(rows)


def handle_use_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of lives by process and key; the key is the last column."""
    columns = [
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        TextColumn("handles", text_cells(rows, "handles"), right=True),
        TextColumn("growth", text_cells(rows, "growth"), right=True),
        TextColumn("brief", text_cells(rows, "brief"), right=True),
        TextColumn("", _patterns(rows), styles=["red"] * rows.num_rows),
        _losses(rows),
    ]
    more = (
        ("most open", text_cells(rows, "most_open")),
        ("opens/s", rate_cells(rows, "opens_per_second")),
        ("median life", duration_cells(rows, "median_lifetime_ns")),
        ("longest", duration_cells(rows, "longest_lifetime_ns")),
        ("uses", text_cells(rows, "uses")),
        ("never closed", text_cells(rows, "never_closed")),
        ("unseen closes", text_cells(rows, "unseen_closes")),
        ("late closes", text_cells(rows, "late_closes")),
    )
    columns += [TextColumn(title, cells, right=True, optional=True) for title, cells in more]
    if width is None:
        columns += [times_column(rows, name, zone, width) for name in ("first_opened", "last_opened")]
    columns = drop_empty_columns(rows, columns, width)
    yield from _with_keys(rows, columns, width, color=color)
    yield from _legend(rows)


def _with_keys(rows: pa.Table, columns: list[TextColumn], width: int | None, *, color: bool) -> Iterator[str]:
    """Yield the lines of a table with the key of each row: in the last column, or above it on a narrow terminal."""
    keys = text_cells(rows, "display_key")
    if width is not None and width < _WIDE:
        yield from lay_out_below(keys, columns, width=width, ids=short_ids(rows), color=color)
    else:
        columns = [*columns, TextColumn("key", keys, shrink="middle", least=36, ids=short_ids(rows))]
        yield from lay_out(columns, width=width, color=color)


def _lengths(rows: pa.Table) -> list[str]:
    """Return the length of each life; "+" marks a minimum."""
    cells = []
    for lifetime, seen in zip(
        *(rows.column(name).to_pylist() for name in ("lifetime_ns", "seen_ns")), strict=True
    ):
        length = lifetime if lifetime is not None else seen
        cells.append("" if not length else duration_text(length) + ("" if lifetime is not None else "+"))
    return cells


def _others(rows: pa.Table) -> list[str]:
    """Return the closing process of each life where another process opened it."""
    processes = rows.select(["closed_process", "closed_pid"]).rename_columns(["process", "pid"])
    opened, closed = (rows.column(name).to_pylist() for name in ("process_id", "closed_process_id"))
    return [
        "" if by is None or by == mine else cell
        for cell, by, mine in zip(process_cells(processes), closed, opened, strict=True)
    ]


def _patterns(rows: pa.Table) -> list[str]:
    words = (("leaking", "leaks"), ("reopened", "re-opened"))
    flags = [rows.column(name).to_pylist() for name, _ in words]
    return [
        ", ".join(word for (_, word), flag in zip(words, row, strict=True) if flag)
        for row in zip(*flags, strict=True)
    ]


def _losses(rows: pa.Table) -> TextColumn:
    cells = [_LOSS if lossy else "" for lossy in rows.column("across_loss").to_pylist()]
    return TextColumn("", cells, styles=["yellow"] * len(cells))


def _legend(rows: pa.Table) -> Iterator[str]:
    if any(rows.column("across_loss").to_pylist()):
        yield _LEGEND
