"""The text table of what hives say otherwise than the trace."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out

__all__ = ["baseline_lines"]

_STYLES = {"unseen": "yellow", "lost": "dim", "in_memory": "dim"}


def baseline_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of the findings; the key is the last column, with the most room."""
    words = text_cells(rows, "finding")
    columns = [
        TextColumn(
            "finding",
            [word.replace("_", " ") for word in words],
            styles=[_STYLES.get(word, "") for word in words],
        ),
        TextColumn("last written", text_cells(rows, "last_written", zone=zone)),
        TextColumn("last change seen", text_cells(rows, "last_change", zone=zone), optional=True),
        TextColumn("hive", text_cells(rows, "hive"), shrink="middle", least=8, optional=True),
    ]
    if width is not None:
        columns = [column for column in columns if any(column.cells)] or columns
    columns.append(
        TextColumn("key", text_cells(rows, "display_key"), shrink="middle", least=30, ids=short_ids(rows))
    )
    yield from lay_out(with_hosts(rows, columns), width=width, color=color)
