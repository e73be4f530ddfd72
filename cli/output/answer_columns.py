"""Columns that tables of several answers share: times, the host of each row; and removal of empty columns."""

from dataclasses import replace
from datetime import tzinfo

import pyarrow as pa

from cli.output.columns import host_cells, text_cells
from cli.output.table import TextColumn

__all__ = ["drop_empty_columns", "short_ids", "times_column", "with_hosts"]

_NARROW = 100  # columns of a terminal on which times are shown in milliseconds


def short_ids(rows: pa.Table, name: str = "key_id") -> list[str]:
    """Return the short id of each row's key, such as ``#1234``, which questions take in place of a key; "" for no key."""
    return [f"#{number}" if number else "" for number in text_cells(rows, name)]


def drop_empty_columns(rows: pa.Table, columns: list[TextColumn], width: int | None) -> list[TextColumn]:
    """Return the columns with the host of each row first, and on a terminal without empty ones."""
    if width is not None:
        columns = [
            column for column in columns if any(cell not in ("", "0") for cell in column.cells)
        ] or columns
    return with_hosts(rows, columns)


def with_hosts(rows: pa.Table, columns: list[TextColumn]) -> list[TextColumn]:
    """Return the columns; for a dataset, with the host or capture of each row first."""
    hosts = host_cells(rows)
    return [TextColumn("host", hosts, shrink="middle", least=8), *columns] if hosts else columns


def times_column(rows: pa.Table, name: str, zone: tzinfo, width: int | None) -> TextColumn:
    """Return a column of times; on a terminal a common date moves to its heading."""
    cells = text_cells(rows, name, zone=zone)
    title = name.replace("_", " ")
    column = TextColumn(title, cells, styles=["dim"] * len(cells))
    days = {cell[:10] for cell in cells if cell}
    if width is None or len(days) != 1:
        return column
    fraction = any(cell[19:26] != ".000000" for cell in cells if cell)
    end = 19 if not fraction else 23 if width < _NARROW else 26
    short = [cell[11:end] + cell[26:] for cell in cells]
    return replace(column, title=f"{title.removesuffix('time')}{days.pop()}", cells=short)
