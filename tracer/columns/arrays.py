"""Arrow arrays from NumPy's and from lists, and back, without pandas.

`pyarrow.array`, `Table.from_pylist` and `to_numpy` import pandas, where it is installed, to see whether they were given
one of its objects. That takes a quarter of a second, which is most of what a short ingest takes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = [
    "Numbers",
    "from_booleans",
    "from_bytes",
    "from_numbers",
    "from_rows",
    "from_texts",
    "read_numbers",
    "to_numbers",
]

Bools = NDArray[np.bool_]


def from_numbers(
    values: NDArray[Any], known: Bools | None = None, kind: pa.DataType | None = None
) -> pa.Array:
    """Return numbers, not copied, as an array.

    Args:
        values: whole numbers or fractions.
        known: which are known; the others are NULL. None: all are.
        kind: a type of the same width that they are of; None: that of NumPy's.
    """
    valid = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))
    kind = pa.from_numpy_dtype(values.dtype) if kind is None else kind
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def from_booleans(values: Bools) -> pa.Array:
    """Return a column of booleans, none of them NULL."""
    bits = pa.py_buffer(np.packbits(values, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, bits])


def from_texts(texts: Sequence[str | None]) -> pa.Array:
    """Return texts as an array; None is NULL."""
    try:
        return _from_strings(cast("Sequence[str]", texts), None)
    except TypeError:  # no str: it is None
        known = np.array([text is not None for text in texts], bool)
        return _from_strings([text or "" for text in texts], known)


def _from_strings(texts: Sequence[str], known: Bools | None) -> pa.Array:
    joined = "".join(texts)
    data = joined.encode()
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    if len(data) != len(joined):
        ascii_ = np.fromiter(map(str.isascii, texts), bool, len(texts))
        for place in np.flatnonzero(~ascii_).tolist():
            sizes[place] = len(texts[place].encode())
    return _from_pieces(pa.string(), data, sizes, known)


def from_bytes(pieces: Sequence[bytes], known: Bools | None = None) -> pa.Array:
    """Return bytes as a binary array, NULL where they are not `known`."""
    return _from_pieces(
        pa.binary(), b"".join(pieces), np.fromiter(map(len, pieces), np.int64, len(pieces)), known
    )


def _from_pieces(kind: pa.DataType, data: bytes, sizes: NDArray[np.int64], known: Bools | None) -> pa.Array:
    ends = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    if ends[-1] > np.iinfo(np.int32).max:
        raise pa.ArrowCapacityError("a column of more than 2 GiB of text")
    valid = None if known is None else pa.py_buffer(np.packbits(known, bitorder="little"))
    buffers = [valid, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(sizes), buffers)


def from_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table; a value that is missing or None is NULL."""
    return pa.table(
        [_column([row.get(field.name) for row in rows], field.type) for field in schema], schema=schema
    )


def _column(values: list[Any], kind: pa.DataType) -> pa.Array:
    if all(value is None for value in values):
        return pa.nulls(len(values), kind)
    if pa.types.is_string(kind):
        return from_texts(values)
    known = np.array([value is not None for value in values], bool)
    if pa.types.is_binary(kind):
        return from_bytes([value or b"" for value in values], known)
    if pa.types.is_list(kind):
        ends = np.cumsum([0, *(len(value or ()) for value in values)], dtype=np.int32)
        items = _column([item for value in values for item in value or ()], kind.value_type)
        valid = pa.py_buffer(np.packbits(known, bitorder="little"))
        return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(ends)], children=[items])
    if pa.types.is_boolean(kind) or not all(isinstance(value, int | None) for value in values):
        return pa.array(values, kind)
    numbers = np.array(
        [value or 0 for value in values], np.int64 if pa.types.is_timestamp(kind) else str(kind)
    )
    return from_numbers(numbers, known, kind)


def to_numbers(array: pa.Array) -> NDArray[Any]:
    """Return the numbers of an array, not copied; anything where they are NULL."""
    values = array.buffers()[1]
    kind = np.dtype(str(array.type))
    if values is None:
        return np.zeros(len(array), kind)
    return np.frombuffer(values, kind, len(array), array.offset * kind.itemsize)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers of an array: anything where `is_valid` is False."""

    values: NDArray[Any]
    is_valid: Bools

    def or_else(self, unknown: int) -> NDArray[Any]:
        """Return the numbers, with another one where they are NULL."""
        return np.where(self.is_valid, self.values, unknown)


def read_numbers(array: pa.Array) -> Numbers:
    """Return the numbers of an array, not copied, and where they are known."""
    values, bits = to_numbers(array), array.buffers()[0]
    if bits is None:
        return Numbers(values, np.ones(len(array), np.bool_))
    first, skipped = divmod(array.offset, 8)
    is_valid = np.unpackbits(
        np.frombuffer(bits, np.uint8)[first:], count=skipped + len(array), bitorder="little"
    )
    return Numbers(values, is_valid[skipped:].view(np.bool_))
