"""The text table of repeated reads."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.amounts import duration_cells, rate_cells, share_cells
from cli.output.answer_columns import drop_empty_columns, short_ids, times_column
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below
from cli.tables.timeline import process_cells
from tracer.registry.operations import BY_NAME

__all__ = ["redundant_lines"]

_WIDE, _VERY_WIDE = 120, 170
# KEY_INFORMATION_CLASS of wdm.h
_CLASSES = (
    "basic",
    "node",
    "full",
    "name",
    "cached",
    "flags",
    "virtualization",
    "handle tags",
    "trust",
    "layer",
)
_EXPLAINED = {
    "unproved": ("u", "some changes in between may have been missed: see the doubts, or regtrace info"),
    "changed": ("c", "the result changed though no change was seen"),
}


def redundant_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of repeated reads; the key or value is the last column, with the most room."""
    notes = _notes(rows)
    wide = width is None or width >= _WIDE
    operations = _operations(rows, wide=wide)
    statuses = [
        "" if name == "SUCCESS" else name.removeprefix("OBJECT_") for name in text_cells(rows, "status_name")
    ]
    letters = ["".join(_EXPLAINED[note][0] for note in row) for row in notes]
    columns = [
        TextColumn("redundant", text_cells(rows, "redundant"), right=True),
        TextColumn("reads", text_cells(rows, "reads"), right=True, optional=True),
        TextColumn("", letters, styles=["yellow"] * len(letters)),
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        TextColumn("operation", operations, shrink="end", least=10),
        TextColumn("status", statuses, shrink="end", least=9, optional=True),
        TextColumn("every", duration_cells(rows, "period_ns"), right=True),
        TextColumn("time spent", duration_cells(rows, "time_spent_ns"), right=True, optional=True),
        TextColumn("per second", rate_cells(rows, "per_second"), right=True, optional=True),
    ]
    if width is None or width >= _VERY_WIDE:
        columns += [
            TextColumn("bytes", text_cells(rows, "bytes"), right=True, optional=True),
        ]
        columns += [times_column(rows, name, zone, width) for name in ("first_time", "last_time")]
    if width is None:
        columns += [
            TextColumn("runs", text_cells(rows, "runs"), right=True),
            TextColumn("median interval", duration_cells(rows, "interval_ns"), right=True),
            TextColumn("spread", share_cells(rows, "spread"), right=True),
        ]
    columns = drop_empty_columns(rows, columns, width)
    paths = text_cells(rows, "display_key")
    values = ["" if name is None else name or "(default)" for name in rows.column("value_name").to_pylist()]
    columns += [
        *([TextColumn("key", paths, shrink="middle", least=30, ids=short_ids(rows))] if wide else []),
        TextColumn("value", values, shrink="middle", least=10),
    ]
    if width is not None and not any(values):
        columns.pop()
    if width is None or wide:
        yield from lay_out(columns, width=width, color=color)
    else:  # keys stand above their rows
        yield from lay_out_below(paths, columns, width=width, ids=short_ids(rows), color=color)
    for note, (letter, meaning) in _EXPLAINED.items():
        if any(note in row for row in notes):
            yield f"{letter}: {meaning}"


def _operations(rows: pa.Table, *, wide: bool) -> list[str]:
    """Return the operation of each row: with its information class, or in the short words of options."""
    cells = []
    for name, class_, index in zip(
        *(rows.column(name).to_pylist() for name in ("operation", "information_class", "index")), strict=True
    ):
        operation = name if wide else BY_NAME[name].short
        if wide and name == "QueryKey" and class_ is not None:
            operation += f" {_CLASSES[class_]}" if class_ < len(_CLASSES) else f" {class_}"
        cells.append(operation if index is None else f"{operation} {index}")
    return cells


def _notes(rows: pa.Table) -> list[list[str]]:
    proved, changed = (rows.column(name).to_pylist() for name in ("proved", "result_changed"))
    return [
        [*([] if is_proved else ["unproved"]), *(["changed"] if has_changed else [])]
        for is_proved, has_changed in zip(proved, changed, strict=True)
    ]
