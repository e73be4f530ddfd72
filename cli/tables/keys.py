"""The text table of keys."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids
from cli.output.columns import host_cells, text_cells
from cli.output.table import TextColumn, lay_out

__all__ = ["key_lines"]

_COUNTS = (
    "events", "reads", "opens", "writes", "unclear_writes", "created", "deletes", "failures", "processes", "values",
)  # fmt: skip
_VERY_WIDE = 200
_IF_ANY = ("unclear_writes", "deletes")  # shown where one is not 0
_LATER = ("values", "created", "processes", "opens")  # the first to go where the terminal is narrow


def key_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a table of keys; the key is the last column, with the most room."""
    columns = [
        TextColumn(
            name.replace("_", " "),
            text_cells(rows, name),
            right=True,
            optional=name in _LATER,
            styles=["red" if name == "failures" and cell != "0" else "" for cell in text_cells(rows, name)],
        )
        for name in _COUNTS
        if name not in _IF_ANY or any(rows[name].to_pylist())
    ]
    written = text_cells(rows, "bytes_written")
    if width is None or (width >= 120 and any(written)):
        columns.append(TextColumn("bytes written", written, right=True, optional=True))
    if width is None or width >= _VERY_WIDE:  # else a key has no room beside two times
        columns += [
            TextColumn("first time", text_cells(rows, "first_time", zone=zone), optional=True),
            TextColumn("last time", text_cells(rows, "last_time", zone=zone), optional=True),
        ]
    if hosts := host_cells(rows):
        columns.append(TextColumn("host", hosts, shrink="middle"))
    columns.append(
        TextColumn("key", text_cells(rows, "display_key"), shrink="middle", least=38, ids=short_ids(rows))
    )
    yield from lay_out(columns, width=width, color=color)
