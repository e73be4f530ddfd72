"""Rows as JSON lines: one object a row, NULL is null, a line never holds an unprintable character."""

import json
from datetime import UTC, tzinfo
from typing import Any, BinaryIO

import pyarrow as pa

from cli.output.columns import plain_batch
from cli.output.safe import is_visible

__all__ = ["write_jsonl"]

_ROWS = 4096  # a row of Python objects is large; these are alive at a time


def write_jsonl(
    reader: pa.RecordBatchReader,
    stream: BinaryIO,
    *,
    zone: tzinfo = UTC,
    always: frozenset[str] | None = None,
) -> None:
    """Write `reader` to `stream` as UTF-8; `cli.output.columns` says how times, bytes and addresses are written.

    Lines hold letters of all languages as they are. A line with anything unprintable (a terminal escape, a
    bidi override, U+2028) is written in ASCII with JSON's own escapes: the same object for every parser.

    Args:
        reader: the rows, in the order they are written.
        stream: where to.
        zone: the zone times are shown in.
        always: columns that are named even where they are NULL; the others then are not. None: all.
    """
    readable = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
    ascii_only = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode
    for batch in reader:
        for start in range(0, batch.num_rows, _ROWS):
            lines = []
            for row in _rows(batch.slice(start, _ROWS), zone, always):
                line = readable(row)
                lines.append(line if is_visible(line) else ascii_only(row))
            lines.append("")
            stream.write("\n".join(lines).encode())


def _rows(batch: pa.RecordBatch, zone: tzinfo, always: frozenset[str] | None) -> list[dict[str, Any]]:
    if always is None:
        return plain_batch(batch, zone).to_pylist()
    filled = [
        name
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if name in always or column.null_count < batch.num_rows
    ]
    rows = plain_batch(batch.select(filled), zone).to_pylist()
    return [
        {name: value for name, value in row.items() if value is not None or name in always} for row in rows
    ]
