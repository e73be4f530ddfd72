"""The text table of a state: keys with their values below, contents, and the source of each content."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from analysis.questions.baseline import OPERATION
from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below
from cli.tables.history import content_cell
from cli.tables.timeline import DATA_WIDTH, process_cells, time_cells, value_cells
from tracer.registry.values import type_name

__all__ = ["state_lines"]

_NARROW = 100  # columns
_STYLES = {"unknown": "yellow", "absent": "dim", "deleted": "dim"}


def state_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a state; the columns `analysis.answers.state.STATE_COLUMNS`, by key."""
    kinds, words, last = (rows.column(name).to_pylist() for name in ("type", "known", "last_known"))
    data = [
        content_cell(*row)
        for row in zip(
            kinds, *(rows.column(name).to_pylist() for name in ("data", "size", "meaning")), strict=True
        )
    ]
    operations = rows.column("operation").to_pylist()
    by = [
        "a hive" if operation == OPERATION else cell
        for operation, cell in zip(operations, process_cells(rows), strict=True)
    ]
    is_key = [name is None for name in rows.column("value_name").to_pylist()]
    how = [
        f"{now} (was: {before})" if now == "unknown" and before else now or ""
        for now, before in zip(words, last, strict=True)
    ]
    types = ["" if kind is None else type_name(kind).removeprefix("REG_") for kind in kinds]
    title, times = time_cells(rows, zone, width)
    is_narrow = width is not None and width < _NARROW
    if width is not None:
        title = "since" if title == "time" else f"since, {title}"
    keys = text_cells(rows, "display_key")
    columns = [
        TextColumn("key", keys, shrink="middle", least=24, ids=short_ids(rows)),
        TextColumn(
            "value",
            ["" if alone else name for alone, name in zip(is_key, value_cells(rows), strict=True)],
            shrink="middle",
            least=8,
        ),
        TextColumn("known", how, styles=[_STYLES.get(word, "") for word in words]),
        TextColumn("type", types, optional=True),
        TextColumn("data", data, shrink="end", least=12, most=DATA_WIDTH),
        TextColumn("by", by, shrink="middle", least=14 if is_narrow else 20),
        TextColumn("time" if width is None else title, times, styles=["dim"] * len(times), optional=True),
    ]
    if width is not None:
        out = ("key", "type") if is_narrow else ("key",)  # the data's own form tells most of its type
        columns = [column for column in columns if column.title not in out and any(column.cells)] or columns
        yield from lay_out_below(
            keys, with_hosts(rows, columns), width=width, ids=short_ids(rows), color=color
        )
        return
    yield from lay_out(with_hosts(rows, columns), color=color)
