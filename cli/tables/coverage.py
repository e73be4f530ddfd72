"""The text table of what each source reported."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import times_column, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out

__all__ = ["coverage_lines"]

_VERY_WIDE = 170
_SHORT = {"Microsoft-Windows-Kernel-Registry": "Kernel-Registry"}  # as --provider of the doctor's words
_COUNTS = {
    "events": "events", "shared": "shared", "alone": "alone", "named": "named", "with_process": "process", "with_data": "data",
    "with_previous": "before", "with_duration": "duration",
}  # fmt: skip


def coverage_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.answers.coverage`; an operation is named in the first of its rows."""
    operations = text_cells(rows, "operation")
    sources = text_cells(rows, "source")
    if width is not None:
        operations = [
            "" if place and name == operations[place - 1] else name for place, name in enumerate(operations)
        ]
        sources = [_SHORT.get(name, name) for name in sources]
    columns = [
        TextColumn("operation", operations),
        TextColumn("source", sources, shrink="end", least=10),
        *(TextColumn(title, text_cells(rows, name), right=True) for name, title in _COUNTS.items()),
    ]
    if width is None or width >= _VERY_WIDE:
        columns += [times_column(rows, name, zone, width) for name in ("first_time", "last_time")]
    yield from lay_out(with_hosts(rows, columns), width=width, color=color)
