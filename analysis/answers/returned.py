"""What reads of values returned: KEY_VALUE_*_INFORMATION structures (wdm.h) as type, size and data, by column."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.values import decode_value

__all__ = ["by_batch", "content", "value_information", "value_texts"]

_BASIC, _FULL, _PARTIAL, _FULL_64, _PARTIAL_64 = range(5)
_CLASSES = 5
_ROWS = 65_536
# where each structure has its type, the length of its data, and the data itself (full: an offset says where)
_TYPE_AT = np.array([4, 4, 4, 4, 0])
_SIZE_AT = np.array([0, 12, 8, 12, 4])
_DATA_AT = np.array([0, 0, 12, 0, 8])
_FIXED = np.array([8, 20, 12, 20, 8])  # bytes before what varies, without which a structure says nothing
_OFFSET_AT, _NAME_SIZE_AT = 8, 16

Int64s = NDArray[np.int64]


def by_batch(
    rows: pa.Table,
    names: Sequence[str],
    function: Callable[[dict[str, pa.Array]], dict[str, pa.Array]],
) -> pa.Table:
    """Return a table of the columns `names` that `function` makes of the columns of some rows at a time."""
    batches = rows.combine_chunks().to_batches(max_chunksize=_ROWS)
    if not batches:
        batches = [pa.RecordBatch.from_pylist([], rows.schema)]
    made = [function(dict(zip(rows.schema.names, batch.columns, strict=True))) for batch in batches]
    return pa.Table.from_batches([pa.RecordBatch.from_pydict({n: one[n] for n in names}) for one in made])


def content(columns: dict[str, pa.Array]) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return type, size and data of rows of evidence, as written or as a read returned it; NULL where unknown.

    Args:
        columns: own_fact (`analysis.answers.evidence`), own_class (information_class), own_type, own_size and
            own_data, by name.
    """
    kind, size, data = value_information(columns["own_class"], columns["own_data"])
    written = pc.fill_null(pc.equal(columns["own_fact"], "write"), False)
    return (
        pc.if_else(written, columns["own_type"], pc.coalesce(kind, columns["own_type"])),
        pc.if_else(written, columns["own_size"], size),
        pc.if_else(written, columns["own_data"], data),
    )


def value_information(information_class: pa.Array, data: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return type (uint32), size (uint32) and data (bytes) of the values that reads returned.

    NULL is what a structure does not hold (basic information has no data), what does not fit its layout, and
    an unknown class. Data that was cut is as long as was captured; `size` is what it was.

    Args:
        information_class: KEY_VALUE_INFORMATION_CLASS of each row.
        data: the returned bytes of each row.
    """
    data = data.cast(pa.large_binary())
    rows = len(data)
    ends = np.frombuffer(data.buffers()[1] or b"\0" * 8, np.int64)[data.offset : data.offset + rows + 1]
    raw = np.frombuffer(data.buffers()[2] or b"", np.uint8)
    start, length = ends[:-1], np.diff(ends)
    kind = information_class.cast(pa.int64()).fill_null(_CLASSES).to_numpy(zero_copy_only=False)
    kind = np.where(kind < _CLASSES, kind, _CLASSES)
    is_known = (kind < _CLASSES) & np.asarray(data.is_valid())
    kind = np.where(is_known, kind, _BASIC)
    is_known &= length >= _FIXED[kind]

    def number(at: Int64s | int) -> Int64s:
        place = np.where(is_known, start + at, 0)
        padded = raw if len(raw) >= 4 else np.zeros(4, np.uint8)
        place = np.minimum(place, len(padded) - 4)
        return np.sum([padded[place + byte].astype(np.int64) << (8 * byte) for byte in range(4)], axis=0)

    size = number(_SIZE_AT[kind])
    is_full = (kind == _FULL) | (kind == _FULL_64)
    offset = np.where(is_full, number(_OFFSET_AT), _DATA_AT[kind])
    # Without data there is no place for it either: the kernel writes an offset of 0xFFFFFFFF.
    bad = is_full & (size > 0) & (offset < _FIXED[_FULL] + number(_NAME_SIZE_AT))
    is_known &= ~bad
    has_data = is_known & (kind != _BASIC)
    begin = start + np.minimum(offset, length)
    held = np.where(has_data, np.minimum(size, start + length - begin), 0)
    return (
        pa.array(number(_TYPE_AT[kind]).astype(np.uint32), mask=~is_known),
        pa.array(size.astype(np.uint32), mask=~has_data),
        _slices(raw, begin, held, has_data),
    )


def value_texts(kind: pa.Array, data: pa.Array, size: pa.Array) -> pa.Array:
    """Return values as people read them (`tracer.values.decode_value`); NULL where nothing at all is known."""
    seen: dict[tuple[int | None, bytes | None, int | None], str | None] = {(None, None, None): None}
    texts = []
    for value in zip(kind.to_pylist(), data.to_pylist(), size.to_pylist(), strict=True):
        if value not in seen:
            number, content_, length = value
            # Nothing was captured of what has no bytes because there is nothing.
            seen[value] = decode_value(number, b"" if content_ is None and length == 0 else content_, length)
        texts.append(seen[value])
    return pa.array(texts, pa.string())


def _slices(raw: NDArray[np.uint8], begin: Int64s, size: Int64s, valid: NDArray[np.bool_]) -> pa.Array:
    """Return the bytes at each place as an array of their own."""
    ends = np.cumsum(size)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(begin - (ends - size), size)
    offsets = np.concatenate([[0], ends]).astype(np.int64)
    bits = pa.array(valid).buffers()[1]
    buffers = [bits, pa.py_buffer(offsets), pa.py_buffer(raw[places])]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(size), buffers).cast(pa.binary())
