"""Protobuf's wire format by column: pieces of messages of many rows at once, as arrays of bytes.

A message is its fields one after the other, so pieces made by the generated classes and pieces made here can be put
together. Numbers that differ by row take a fixed width: a varint may end with groups of zero, and every reader takes that
(Perfetto's own writer leaves room for lengths in the same way).
https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = [
    "LENGTH_BYTES",
    "NUMBER_BYTES",
    "Octets",
    "as_array",
    "framed",
    "joined",
    "message",
    "piece",
    "varints",
]

Octets = NDArray[np.uint8]
NUMBER_BYTES = 10  # a varint of 64 bits
LENGTH_BYTES = 5  # a varint of 32 bits
_MORE = 0x80


def varints(numbers: NDArray[np.int64], width: int = NUMBER_BYTES) -> Octets:
    """Return numbers as varints of a fixed width, one a row; negative ones as their 64-bit pattern, in 10 bytes."""
    left = numbers.astype(np.int64).view(np.uint64)
    made = np.empty((len(numbers), width), np.uint8)
    for place in range(width):
        made[:, place] = (left & np.uint64(0x7F)).astype(np.uint8) | (_MORE if place < width - 1 else 0)
        left = left >> np.uint64(7)
    return made


def piece(tag: bytes, octets: Octets) -> Octets:
    """Return the bytes of each row with the tag of their field before them."""
    head = np.broadcast_to(np.frombuffer(tag, np.uint8), (len(octets), len(tag)))
    return np.concatenate([head, octets], axis=1)


def as_array(octets: Octets, known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return rows of bytes of one width as an Arrow array; NULL where `known` is False."""
    rows, width = octets.shape
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    data = np.ascontiguousarray(octets)
    made = pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    return made if known is None else pc.if_else(pa.array(known), made, pa.scalar(None, pa.binary()))


def joined(parts: Sequence[pa.Array]) -> pa.Array:
    """Return the parts of each row one after the other; NULL is nothing. The first has no NULL."""
    return pc.binary_join_element_wise(*parts, b"", null_handling="skip")


def message(tag: bytes, inside: pa.Array) -> pa.Array:
    """Return each row as a field that holds a message: tag, length, bytes."""
    return joined([as_array(piece(tag, _lengths(inside, 0))), inside])


def framed(tag: bytes, head: Octets, inner_tag: bytes, inside: pa.Array) -> pa.Array:
    """Return a message in a message for each row: `tag` around the fields `head` and `inner_tag` around `inside`."""
    inner = piece(inner_tag, _lengths(inside, 0))
    before = np.concatenate([head, inner], axis=1)
    outer = piece(tag, _lengths(inside, before.shape[1]))
    return joined([as_array(np.concatenate([outer, before], axis=1)), inside])


def _lengths(inside: pa.Array, more: int) -> Octets:
    lengths = pc.binary_length(inside).to_numpy(zero_copy_only=False).astype(np.int64)
    return varints(lengths + more, LENGTH_BYTES)
