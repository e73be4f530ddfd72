"""Text tables of busy keys, processes and times, and of storms of misses."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.amounts import duration_cells, rate_cells, share_cells
from cli.output.answer_columns import drop_empty_columns, short_ids, times_column
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out
from cli.tables.timeline import process_cells

__all__ = ["hot_lines", "storm_lines"]

_WIDE, _VERY_WIDE = 120, 170
_COUNTS = ("reads", "opens", "writes", "unclear_writes", "failures", "not_found", "keys", "processes")
_FEWER = ("failures", "not_found")  # where the row's busiest key and process tell more


def hot_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.answers.hot`; a key is the last column, with the most room."""
    names = rows.schema.names
    columns = []
    if "operation" in names:
        columns.append(TextColumn("operation", [name or "?" for name in text_cells(rows, "operation")]))
    elif "status" in names:
        columns.append(TextColumn("status", [name or "?" for name in text_cells(rows, "status_name")]))
    elif "process" in names:
        columns.append(TextColumn("process", process_cells(rows), shrink="middle", least=20))
    elif "time" in names:
        columns.append(times_column(rows, "time", zone, width))
    columns += [
        TextColumn("events", text_cells(rows, "events"), right=True),
        TextColumn("share", share_cells(rows, "share"), right=True),
    ]
    wide, very_wide = (width is None or width >= least for least in (_WIDE, _VERY_WIDE))
    for name in _counts(names, all_of_them=very_wide):
        cells = text_cells(rows, name)
        red = ["red" if name == "failures" and cell != "0" else "" for cell in cells]
        shown = TextColumn(name.replace("_", " "), cells, right=True, styles=red)
        columns.append(replace(shown, optional=name != "failures"))
    rates = rate_cells(rows, "per_second")
    if rates != text_cells(rows, "events"):
        columns.append(TextColumn("per second", rates, right=True, optional=True))
    columns.append(TextColumn("time spent", duration_cells(rows, "time_spent_ns"), right=True, optional=True))
    if very_wide:
        for name in ("bytes_read", "bytes_written"):
            columns.append(
                TextColumn(name.replace("_", " "), text_cells(rows, name), right=True, optional=True)
            )
        if "time" not in names:
            columns += [times_column(rows, name, zone, width) for name in ("first_time", "last_time")]
    if "top_process" in names and (wide or "time" in names):
        columns.append(
            TextColumn("mostly by", _top_processes(rows), shrink="middle", least=14, optional=True)
        )
    if "display_key" in names:
        columns.append(
            TextColumn("key", text_cells(rows, "display_key"), shrink="middle", least=38, ids=short_ids(rows))
        )
    elif "top_key" in names and wide:
        columns.append(
            TextColumn("mostly of key", text_cells(rows, "top_key"), shrink="middle", least=24, optional=True)
        )
    yield from lay_out(drop_empty_columns(rows, columns, width), width=width, color=color)


def storm_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.answers.storms`; the key with most misses is the last column."""
    columns = [
        times_column(rows, "first_time", zone, width),
        TextColumn("lasted", duration_cells(rows, "lasted_ns"), right=True),
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        TextColumn("misses", text_cells(rows, "misses"), right=True),
        TextColumn("names", text_cells(rows, "names"), right=True),
        TextColumn("keys", text_cells(rows, "keys"), right=True, optional=True),
        TextColumn("per second", rate_cells(rows, "per_second"), right=True, optional=True),
        TextColumn("most", text_cells(rows, "top_key_misses"), right=True, optional=True),
        TextColumn("of key", text_cells(rows, "top_key"), shrink="middle", least=20, optional=True),
    ]
    yield from lay_out(drop_empty_columns(rows, columns, width), width=width, color=color)


def _counts(names: Sequence[str], *, all_of_them: bool) -> Sequence[str]:
    if "time" in names and not all_of_them:
        return _FEWER
    of_operations = ("reads", "opens", "writes", "unclear_writes") if "operation" in names else ()
    return [name for name in _COUNTS if name in names and name not in of_operations]


def _top_processes(rows: pa.Table) -> list[str]:
    processes = rows.select(["top_process", "top_pid"]).rename_columns(["process", "pid"])
    ids = rows.column("top_process_id").to_pylist()
    return [
        "" if number is None else cell for cell, number in zip(process_cells(processes), ids, strict=True)
    ]
