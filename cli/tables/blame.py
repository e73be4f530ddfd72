"""Blame as text: below each key its values, and who wrote each last, in which change set, and when."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from analysis.versions.identity import SHORT
from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out, lay_out_below
from cli.tables.history import content_cell
from cli.tables.timeline import DATA_WIDTH, process_cells, time_cells, value_cells
from tracer.registry.values import type_name

__all__ = ["blame_lines"]

_NOBODY = "(not seen)"
_STYLES = {"unknown": "yellow", "absent": "dim", "deleted": "dim"}


def blame_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.versions.blame`, by key."""
    people = {"process": rows.column("writer"), "pid": rows.column("writer_pid")}
    writers = process_cells(pa.table(people))
    if width is not None:  # the data needs the room
        writers = [image or shown for image, shown in zip(text_cells(rows, "writer"), writers, strict=True)]
    evidence = text_cells(rows, "evidence")
    sequences = rows.column("write_sequence").to_pylist()
    by = [
        ("a hive" if how == "hive" else _NOBODY) if sequence is None else writer
        for writer, how, sequence in zip(writers, evidence, sequences, strict=True)
    ]
    known = rows.column("known").to_pylist()
    is_key = [name is None for name in rows.column("value_name").to_pylist()]
    title, times = time_cells(pa.table({"time": rows.column("write_time")}), zone, width)
    names = text_cells(rows, "change_set")
    kinds, contents = (
        rows.column("type").to_pylist(),
        [
            content_cell(*row)
            for row in zip(
                *(rows.column(name).to_pylist() for name in ("type", "data", "size", "meaning")), strict=True
            )
        ],
    )
    data = [
        word
        if word in _STYLES and not cell
        else f"{type_name(kind).removeprefix('REG_')} {cell}"
        if kind is not None
        else cell
        for word, kind, cell in zip(known, kinds, contents, strict=True)
    ]
    data = [
        f"(was) {cell}" if word == "unknown" and cell != word else cell
        for word, cell in zip(known, data, strict=True)
    ]
    styles = [_STYLES.get(word, "") for word in known]
    keys = text_cells(rows, "display_key")
    columns = [
        TextColumn("change set", names if width is None else [name[:SHORT] for name in names], styles=["yellow"] * len(names)),
        TextColumn("writer", by, shrink="middle", least=14),
        TextColumn(title, times if width is None else [cell[:8] for cell in times] if title != "time" else times,
                   styles=["dim"] * len(times), optional=width is not None),
        TextColumn("value", ["(key)" if alone else name for alone, name in zip(is_key, value_cells(rows), strict=True)],
                   shrink="middle", least=10),
        TextColumn("data", data, shrink="end", least=12, most=DATA_WIDTH, styles=styles),
    ]  # fmt: skip
    if width is None:
        columns = [
            TextColumn("key", keys),
            *columns,
            TextColumn("evidence", evidence),
            TextColumn("known", text_cells(rows, "known")),
        ]
        yield from lay_out(with_hosts(rows, columns), color=color)
        return
    yield from lay_out_below(keys, with_hosts(rows, columns), width=width, ids=short_ids(rows), color=color)
