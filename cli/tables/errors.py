"""The text table of failures: those that matter first, then searches that succeeded."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below, path_line
from cli.tables.timeline import below_common, process_cells, value_cells
from tracer.registry.operations import BY_NAME

__all__ = ["error_lines"]

_WIDE, _VERY_WIDE = 120, 180


def error_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a table of failures; a search has its hit after an arrow."""
    paths = keys = text_cells(rows, "display_key")
    is_narrow = width is not None and width < _WIDE  # keys stand above their rows
    if width is not None and not is_narrow:
        common, keys = below_common(keys)
        if common:  # said once, above the table, instead of in every row
            yield path_line(common, width, color=color)
    chains = text_cells(rows, "chain")
    harmless = rows.column("harmless").to_pylist()
    statuses = text_cells(rows, "status_name")
    if width is not None:
        statuses = [name.removeprefix("OBJECT_") for name in statuses]  # --status takes both
    columns = [
        TextColumn("failures", text_cells(rows, "failures"), right=True),
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        TextColumn("operation", _operations(rows, width), optional=True),
        TextColumn(
            "status", statuses, shrink="end", least=9, styles=["dim" if fine else "red" for fine in harmless]
        ),
        TextColumn("key", keys, shrink="middle", least=20, ids=short_ids(rows)),
        TextColumn("value", value_cells(rows), shrink="middle", least=8),
        TextColumn("chain", chains, optional=True, styles=["dim" if fine else "yellow" for fine in harmless]),
    ]
    if width is None or width >= _WIDE:
        hits = [f"-> {key}" if key else "" for key in text_cells(rows, "resolved_key")]
        columns.append(TextColumn("found at last", hits, shrink="middle", least=20))
    if width is None or width >= _VERY_WIDE:
        rates = [_rate(rate) for rate in rows.column("rate_per_s").to_pylist()]
        columns.insert(1, TextColumn("per s", rates, right=True, optional=True))
    if width is None:
        columns += [
            TextColumn(title, text_cells(rows, name, zone=zone))
            for title, name in (("first time", "first_time"), ("last time", "last_time"))
        ]
    else:
        columns = [
            column for column in columns if any(column.cells) and not (is_narrow and column.title == "key")
        ] or columns
    columns = with_hosts(rows, columns)
    if width is not None and is_narrow:
        yield from lay_out_below(paths, columns, width=width, ids=short_ids(rows), color=color)
    else:
        yield from lay_out(columns, width=width, color=color)


def _operations(rows: pa.Table, width: int | None) -> list[str]:
    """Return the operations; on a terminal as the short words of --operation."""
    names = text_cells(rows, "operation")
    return names if width is None else [BY_NAME[name].short if name in BY_NAME else name for name in names]


def _rate(rate: float | None) -> str:
    if rate is None:
        return ""
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.2g}"
