"""The text table of processes that touched keys and values."""

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below, path_line
from cli.tables.timeline import DATA_WIDTH, below_common, data_cells, process_cells, value_cells

__all__ = ["who_lines"]

_COUNTS = ("writes", "unclear_writes", "created", "deletes", "reads", "opens", "failures", "keys", "values")
_LATER = ("opens", "keys", "values", "created")  # the first to go where the terminal is narrow
_LAST = ("keys", "values")  # that give way to the last change, which names the key and the value
_WIDE, _VERY_WIDE = 100, 220


def who_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a table of processes, or of keys, values and processes; the last change is at the end."""
    each = "display_key" in rows.schema.names
    has_change = not each and width is not None and _WIDE <= width < _VERY_WIDE
    columns = [
        TextColumn(
            "process",
            process_cells(rows),
            shrink="middle",
            least=30 if has_change else 18,
            styles=_by_changes(rows, color=color),
        )
    ]
    paths = text_cells(rows, "display_key")
    is_below = each and width is not None and width < _WIDE
    if each:
        keys = paths
        if width is not None and not is_below:
            common, keys = below_common(keys)
            if common:  # said once, above the table, instead of in every row
                yield path_line(common, width, color=color)
        columns = [
            *([] if is_below else [TextColumn("key", keys, shrink="middle", least=20, ids=short_ids(rows))]),
            TextColumn("value", value_cells(rows), shrink="middle", least=8),
            *columns,
        ]
    for name in _COUNTS:
        if name not in rows.schema.names or (has_change and name in _LAST):
            continue
        cells = text_cells(rows, name)
        red = ["red" if name == "failures" and cell != "0" else "" for cell in cells]
        columns.append(
            TextColumn(name.replace("_", " "), cells, right=True, optional=name in _LATER, styles=red)
        )
    if width is None or width >= _VERY_WIDE:
        columns += [
            TextColumn(title, text_cells(rows, name, zone=zone), optional=True)
            for title, name in (("first time", "first_time"), ("last time", "last_time"))
        ]
    if width is None or width >= _WIDE:
        columns += _last_changes(rows, each=each)
    if width is not None:
        columns = [
            column for column in columns if any(cell not in ("", "0") for cell in column.cells)
        ] or columns
    columns = with_hosts(rows, columns)
    if width is not None and is_below:
        yield from lay_out_below(paths, columns, width=width, ids=short_ids(rows), color=color)
    else:
        yield from lay_out(columns, width=width, color=color)


def _by_changes(rows: pa.Table, *, color: bool) -> Sequence[str]:
    """Return bold for processes that changed something."""
    if not color:
        return [""] * rows.num_rows
    return ["bold" if change else "" for change in rows.column("last_change").to_pylist()]


def _last_changes(rows: pa.Table, *, each: bool) -> list[TextColumn]:
    """Return the columns of each row's last change."""
    written = rows.select(["last_change", "data_type", "data_size", "data"])
    data = data_cells(written.rename_columns(["operation", "data_type", "data_size", "data"]))
    columns = [TextColumn("last change", text_cells(rows, "last_change"))]
    if not each:
        values = value_cells(rows.select(["last_change_value"]).rename_columns(["value_name"]))
        columns += [
            TextColumn("of key", text_cells(rows, "last_change_key"), shrink="middle", least=20),
            TextColumn("of value", values, shrink="middle", least=8, optional=True),
        ]
    return [*columns, TextColumn("to", data, shrink="end", least=10, most=DATA_WIDTH, optional=True)]
