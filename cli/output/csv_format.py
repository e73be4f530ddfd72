"""Rows as CSV (RFC 4180): text is quoted, NULL is an empty cell, empty text is ``""``, lines end with LF.

`cli.output.columns` says how times, bytes and addresses are written, `cli.output.safe` what is done about formulas.
"""

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from cli.output.columns import is_text, plain_batch, plain_schema
from cli.output.safe import visible
from tracer.registry.safe_text import guarded_cells

__all__ = ["write_csv"]


def write_csv(
    reader: pa.RecordBatchReader, stream: BinaryIO, *, zone: tzinfo = UTC, for_eyes: bool = False
) -> None:
    """Write `reader` to `stream`.

    Args:
        reader: the rows, in the order they are written.
        stream: where to, as bytes (UTF-8).
        zone: the zone times are shown in.
        for_eyes: the stream is a terminal: show unprintable characters escaped, as tables do.
    """
    guard: Callable[[pa.Array], pa.Array] = _for_eyes if for_eyes else guarded_cells
    schema = plain_schema(reader.schema)
    names = [spelled.as_py() for spelled in guard(pa.array(schema.names, pa.string()))]
    shown = pa.schema([pa.field(name, field.type) for name, field in zip(names, schema, strict=True)])
    # pyarrow writes text quoted and NULL bare with "needed": a reader can tell "" from NULL.
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    stream.write(_header(names))
    for batch in reader:
        plain = plain_batch(batch, zone)
        untrusted = [is_text(_value_type(field.type)) for field in reader.schema]
        arrays = [
            guard(array) if check else array for array, check in zip(plain.columns, untrusted, strict=True)
        ]
        lines = pa.BufferOutputStream()
        pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(arrays, schema=shown), lines, options)
        stream.write(lines.getvalue())


def _header(names: list[str]) -> bytes:
    quoted = ['"' + name.replace('"', '""') + '"' if not name.isidentifier() else name for name in names]
    return (",".join(quoted) + "\n").encode()


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_list(kind) else kind


def _for_eyes(array: pa.Array) -> pa.Array:
    return pa.array(
        [None if text is None else visible(text) for text in guarded_cells(array).to_pylist()], pa.string()
    )
