"""Claims: what reports say of a value's data, so that two of them can be compared without the bytes.

A source may know type, size and bytes; a cut of the bytes; or a text of which it does not show the type (Sysmon). What
one of them does not say contradicts nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import read_numbers
from tracer.registry.values import ValueType
from tracer.schema import FLAGS

__all__ = ["COLUMNS", "Claims", "join_claims", "number_of", "read_claims", "wide_numbers"]

COLUMNS = ("data_type", "data_size", "data", "previous_type", "previous_size", "previous_data", "flags")
_PARTS = {
    "data": ("data_type", "data_size", "data", FLAGS["data_truncated"]),
    "previous": ("previous_type", "previous_size", "previous_data", FLAGS["previous_truncated"]),
}
_HEAD = 32  # bytes that a cut is compared by
_TEXTS = (int(ValueType.SZ), int(ValueType.EXPAND_SZ))
Column = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Claims:
    """One row a report; 0 (of numbers -1) is unknown.

    Attributes:
        kind: type of the value.
        size: its size in bytes.
        whole: a number for all of its bytes.
        head: a number for its first bytes, where there are so many.
        text: a number for its bytes up to the first NUL of UTF-16.
        is_text: it is text of which the source does not show the type.
    """

    kind: Column
    size: Column
    whole: Column
    head: Column
    text: Column
    is_text: NDArray[np.bool_]

    def take(self, rows: Column) -> "Claims":
        """Return some of the rows."""
        return Claims(*(getattr(self, item.name)[rows] for item in fields(self)))

    def contradict(self, other: "Claims") -> NDArray[np.bool_]:
        """Tell, row by row, whether the two cannot be of the same data."""
        wrong = _differ(self.kind, other.kind, -1) | _differ(self.size, other.size, -1)
        wrong |= _differ(self.head, other.head, 0)
        any_text = self.is_text | other.is_text
        wrong |= ~any_text & _differ(self.whole, other.whole, 0)
        wrong |= any_text & _differ(self.text, other.text, 0)
        for one, rival in ((self, other), (other, self)):
            wrong |= one.is_text & (rival.kind >= 0) & ~np.isin(rival.kind, _TEXTS)
        return wrong


def _differ(one: Column, other: Column, unknown: int) -> NDArray[np.bool_]:
    differs: NDArray[np.bool_] = (one != unknown) & (other != unknown) & (one != other)
    return differs


def read_claims(rows: pa.Table, what: str) -> Claims:
    """Return what rows of `events` say of the new data (`what` is data) or of that before (previous)."""
    kind_name, size_name, data_name, cut = _PARTS[what]
    kind, size = wide_numbers(rows[kind_name]), wide_numbers(rows[size_name])
    is_cut = read_numbers(rows["flags"].combine_chunks()).values & cut != 0
    encoded = rows[data_name].combine_chunks().dictionary_encode()
    place = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    numbers = np.array([_numbers(data) for data in encoded.dictionary.to_pylist()] + [(0, 0, 0, 0)], np.int64)
    whole, head, text, whole_text = numbers[place].T
    empty = (place < 0) & (size == 0)  # an empty value has no bytes to capture
    whole = np.where(empty, number_of(b""), np.where(is_cut, 0, whole))
    text = np.where(empty, number_of(b""), np.where(is_cut, whole_text, text))
    return Claims(kind, size, whole, head, text, (place >= 0) & (kind < 0))


def _numbers(data: bytes) -> tuple[int, int, int, int]:
    """Return numbers for all bytes, the first ones, and the text up to its NUL, with and without one at its end."""
    end = next((at for at in range(0, len(data) - 1, 2) if data[at : at + 2] == b"\0\0"), None)
    text = number_of(data[:end])
    return (
        number_of(data),
        number_of(data[:_HEAD]) if len(data) >= _HEAD else 0,
        text,
        0 if end is None else text,
    )


def join_claims(pieces: Sequence[Claims]) -> Claims:
    """Return the rows of several, one after the other."""
    return Claims(*(np.concatenate([getattr(one, item.name) for one in pieces]) for item in fields(Claims)))


def wide_numbers(column: pa.ChunkedArray) -> Column:
    """Return a column of numbers of 32 bits; -1 is NULL."""
    found = read_numbers(column.combine_chunks())
    return np.where(found.is_valid, found.values.astype(np.int64), -1)


def number_of(data: bytes) -> int:
    """Return a number for bytes; that two of them share one by chance has odds of one to 2 to the 63rd."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little") >> 1 or 1
