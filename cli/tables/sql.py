"""The text table of an SQL answer: numbers aligned right, long cells shortened."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.columns import text_cells
from cli.output.safe import visible
from cli.output.table import TextColumn, lay_out

__all__ = ["sql_lines"]

_PATHS = ("key", "path", "image", "process", "file", "name")  # the ends of these tell most
_LEAST = 8


def sql_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a table of any columns; NULL is an empty cell. A plan (EXPLAIN) keeps its lines."""
    if rows.schema.names == ["explain_key", "explain_value"]:
        for plan in rows.column("explain_value").to_pylist():
            yield from map(visible, plan.splitlines())
        return
    columns = [_column(rows, name, zone) for name in rows.schema.names]
    yield from lay_out(columns, width=width, color=color)


def _column(rows: pa.Table, name: str, zone: tzinfo) -> TextColumn:
    kind = rows.schema.field(name).type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    cells = text_cells(rows, name, zone=zone)
    if number or pa.types.is_timestamp(kind) or pa.types.is_boolean(kind):
        return TextColumn(name, cells, right=number)
    where = "middle" if any(word in name.lower() for word in _PATHS) else "end"
    return TextColumn(name, cells, shrink=where, least=_LEAST)
