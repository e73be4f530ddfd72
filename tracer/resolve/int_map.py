"""Whole numbers to whole numbers, looked up many at a time."""

from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers, to_numbers

__all__ = ["ABSENT", "IntMap"]

Ints = NDArray[np.int64]
ABSENT = -1


class IntMap:
    """A dict of 64-bit numbers; values are not negative.

    >>> numbers = IntMap()
    >>> numbers.number(np.array([70, 50, 70])).tolist()
    [0, 1, 0]
    >>> numbers.get(np.array([50, 60])).tolist()
    [1, -1]
    """

    def __init__(self) -> None:
        self._values: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()

    def keys(self) -> Ints:
        """Return the keys by rising value."""
        return np.array(sorted(self._values, key=self._values.__getitem__), np.int64)

    def get(self, keys: Ints) -> Ints:
        """Return the value of each key; ABSENT where it has none."""
        encoded = from_numbers(keys).dictionary_encode()
        found = map(self._values.get, encoded.dictionary.to_pylist(), repeat(ABSENT))
        return np.array(list(found), np.int64)[to_numbers(encoded.indices)]

    def number(self, keys: Ints) -> Ints:
        """Return the value of each key; new keys get the numbers from len(self) on, in order."""
        encoded = from_numbers(keys).dictionary_encode()
        values = self._values
        found = [values.setdefault(key, len(values)) for key in encoded.dictionary.to_pylist()]
        return np.array(found, np.int64)[to_numbers(encoded.indices)]

    def put(self, keys: Ints, values: Ints) -> None:
        """Give keys their values, none of them negative."""
        self._values.update(zip(keys.tolist(), values.tolist(), strict=True))
