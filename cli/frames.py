"""Any table of a capture as a table for people: every column, in order."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.columns import plain_batch
from cli.table import TextColumn, lay_out

__all__ = ["generic_lines", "text_cells"]

_PATHS = ("key", "path", "display_key", "display_path", "image_path")


def generic_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a table of all of `rows`; NULL is an empty cell.

    Args:
        rows: what to show.
        width: the columns of the terminal; None: nothing is shortened or left out.
        zone: the zone times are shown in.
        color: whether headings are bold.
    """
    columns = []
    for position, name in enumerate(rows.schema.names):
        kind = rows.schema.field(position).type
        columns.append(
            TextColumn(
                name,
                text_cells(rows, name, zone=zone),
                right=pa.types.is_integer(kind) or pa.types.is_floating(kind),
                shrink="middle" if name in _PATHS else None if _is_short(kind) else "end",
                optional=position > 0 and name not in _PATHS,
            )
        )
    yield from lay_out(columns, width=width, color=color)


def text_cells(rows: pa.Table, name: str, *, zone: tzinfo = UTC) -> list[str]:
    """Return a column as text: "" for NULL, and for every row where the table has no such column."""
    if name not in rows.schema.names:
        return [""] * rows.num_rows
    cells: list[str] = []
    for batch in rows.select([name]).to_batches():
        cells += [
            "" if value is None else str(value) for value in plain_batch(batch, zone).column(0).to_pylist()
        ]
    return cells


def _is_short(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind))
