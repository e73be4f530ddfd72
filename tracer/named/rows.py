"""Rows of named sources before their keys and processes have numbers: one Arrow schema for every adapter."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["SCHEMA", "NamedRows", "make_rows"]

NamedRows: TypeAlias = pa.Table  # of SCHEMA

SCHEMA = pa.schema(
    [
        # UTC, nanoseconds. Never NULL: a record without a time has no place in an order, and is counted instead.
        pa.field("time_ns", pa.int64(), nullable=False),
        pa.field(
            "actor", pa.int32()
        ),  # number in `tracer.named.actors.Actors`; NULL: the record names no process
        pa.field("thread_id", pa.uint32()),
        pa.field("operation", pa.string(), nullable=False),  # a name of tracer.registry.operations
        pa.field("status", pa.uint32()),
        # As the source writes it, escaped: the key's path, or with `has_value` the key's, a backslash and the value's name.
        pa.field("path", pa.string()),
        pa.field("has_value", pa.bool_(), nullable=False),
        pa.field("value_name", pa.string()),  # escaped; where the source gives it apart from the key
        pa.field("requested_name", pa.string()),
        pa.field(
            "handle", pa.int64()
        ),  # the number of a handle of the actor's process; NULL: the source has none
        # The record is one of a key only where its handle is a key's (`tracer.named.handles`); else its row is left out.
        pa.field("needs_handle", pa.bool_(), nullable=False),
        # No row at all: a record that says that its handle is that of another object now.
        pa.field("other_object", pa.bool_(), nullable=False),
        pa.field("disposition", pa.uint32()),
        pa.field("information_class", pa.uint32()),
        pa.field("index", pa.uint32()),
        pa.field("data_type", pa.uint32()),
        pa.field("data_size", pa.uint32()),
        pa.field("data", pa.binary()),
        pa.field("previous_type", pa.uint32()),
        pa.field("previous_size", pa.uint32()),
        pa.field("previous_data", pa.binary()),
        pa.field("duration_ns", pa.int64()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("event_id", pa.uint16()),
        pa.field("record_offset", pa.int64()),
        pa.field("flags", pa.uint32(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)
_ALWAYS: Mapping[str, Any] = {"has_value": False, "needs_handle": False, "other_object": False, "flags": 0}


def make_rows(
    count: int, columns: Mapping[str, pa.Array | pa.ChunkedArray | NDArray[np.generic] | str | int]
) -> NamedRows:
    """Return a table of SCHEMA with `count` rows.

    Args:
        count: how many rows.
        columns: arrays of that length, or one value for all rows; a column that is not here is NULL (`has_value`,
            `needs_handle` and `other_object` False, `flags` 0).
    """
    arrays = []
    for field in SCHEMA:
        value = columns.get(field.name, _ALWAYS.get(field.name))
        if isinstance(value, pa.ChunkedArray):
            array: pa.Array = value.combine_chunks()
        elif isinstance(value, pa.Array):
            array = value
        elif isinstance(value, np.ndarray):
            array = pa.array(value)
        else:
            array = (
                pa.nulls(count, field.type)
                if value is None
                else pa.repeat(pa.scalar(value, field.type), count)
            )
        arrays.append(array if array.type == field.type else array.cast(field.type))
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
