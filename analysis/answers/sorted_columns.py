"""Columns of Arrow as numbers, packed and put into order, for loops over sorted columns."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.sorting import find_distinct, stable_argsort
from tracer.registry.text import fold_name

__all__ = [
    "MOST_BITS",
    "ORDER_BITS",
    "Bools",
    "Ints",
    "Names",
    "booleans_of",
    "in_order",
    "numbers_of",
    "packed",
]

ORDER_BITS = 40  # a sequence is below 2**40
MOST_BITS = 63

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Names:
    """Value names: as spelled, by number (-1 where there is none), and the number of each one's folded form."""

    dictionary: pa.Array
    raw: Ints
    folded: Ints
    numbers: dict[str, int]

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> "Names":
        """Return the names of a column of texts."""
        encoded = pc.dictionary_encode(column.combine_chunks())
        numbers: dict[str, int] = {}
        folded = [
            numbers.setdefault(fold_name(name), len(numbers)) for name in encoded.dictionary.to_pylist()
        ]
        raw = numbers_of(encoded.indices.fill_null(-1))
        return cls(encoded.dictionary, raw, np.array([*folded, -1], np.int64), numbers)

    def number(self) -> Ints:
        """Return the number of each row's folded name; -1 where it has none."""
        found: Ints = self.folded[self.raw]
        return found

    def find(self, folded: pa.ChunkedArray) -> Ints:
        """Return the numbers of folded names; -1 of those that are not among these names."""
        return numbers_of(pc.index_in(folded, pa.array(list(self.numbers), pa.string())).fill_null(-1))

    def spelled(self, rows: Ints) -> pa.Array:
        """Return the names of rows as they are spelled there; NULL for none."""
        raw = self.raw[rows]
        return self.dictionary.take(pa.array(raw, mask=raw < 0))


def packed(*columns: Ints) -> Ints:
    """Return one number for each different row of numbers, 0 or more; it is ordered as the rows are, or by them."""
    numbers, bits = np.zeros(len(columns[0]), np.int64), 0
    for column in columns:
        more = int(column.max(initial=0)).bit_length()
        if bits + more > MOST_BITS:
            numbers = find_distinct(numbers)[2]
            bits = int(numbers.max(initial=0)).bit_length()
        numbers = numbers << more | column
        bits += more
    return numbers


def in_order(numbers: Ints, sequence: Ints) -> tuple[Ints, Bools]:
    """Return the rows by number, those with the same number by sequence, and which has the number of the one before."""
    order = stable_argsort(numbers)
    ordered = numbers[order]
    same = np.zeros(len(order), bool)
    same[1:] = ordered[1:] == ordered[:-1]
    at = sequence[order]
    if (same[1:] & (at[1:] < at[:-1])).any():  # spellings of one key, or parts that do not follow each other
        by_sequence = stable_argsort(sequence)
        order = by_sequence[stable_argsort(numbers[by_sequence])]
    return order, same


def numbers_of(column: pa.Array | pa.ChunkedArray) -> Ints:
    """Return a column of numbers as 64 bits; NULL is 0."""
    filled = column.fill_null(0) if column.null_count else column
    values: Ints = filled.to_numpy().astype(np.int64)
    return values


def booleans_of(column: pa.Array | pa.ChunkedArray) -> Bools:
    """Return a boolean column; NULL is false."""
    return numbers_of(pc.fill_null(column, False).cast(pa.int8())) > 0
