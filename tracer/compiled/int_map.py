"""Twin of `tracer.resolve.int_map`: whole numbers to whole numbers, many at a time."""

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.resolve.int_map import ABSENT, IntMap

__all__ = ["CompiledIntMap", "find_place"]

Ints = NDArray[np.int64]
_FIRST_PLACES = 1 << 12  # a power of two; at most half of them are taken
_MIX, _FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


class CompiledIntMap(IntMap):
    """An open-addressed table of pairs (see `find_place`); a place is free where its value is ABSENT."""

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._count

    def clear(self) -> None:
        """Forget everything."""
        self.pairs = np.full((_FIRST_PLACES, 2), ABSENT, np.int64)
        self._count = 0

    def keys(self) -> Ints:
        """Return the keys by rising value."""
        held = self.pairs[self.pairs[:, 1] != ABSENT]
        return held[np.argsort(held[:, 1]), 0]

    def get(self, keys: Ints) -> Ints:
        """Return the value of each key; ABSENT where it has none."""
        return _get(self.pairs, keys)

    def number(self, keys: Ints) -> Ints:
        """Return the value of each key; new keys get the numbers from len(self) on, in order."""
        self.reserve(len(keys))
        values = np.empty(len(keys), np.int64)
        self._count = _number(self.pairs, keys, values, self._count)
        return values

    def put(self, keys: Ints, values: Ints) -> None:
        """Give keys their values, none of them negative."""
        self.reserve(len(keys))
        self._count += _put(self.pairs, keys, values)

    def note_added(self, count: int) -> None:
        """Take note that `count` keys were put into `pairs` from outside, for which there was room."""
        self._count += count

    def reserve(self, more: int) -> None:
        """Make room for `more` keys."""
        size = len(self.pairs)
        while size < 2 * (self._count + more):
            size *= 2
        if size > len(self.pairs):
            old = self.pairs[self.pairs[:, 1] != ABSENT]
            self.pairs = np.full((size, 2), ABSENT, np.int64)
            _put(self.pairs, old[:, 0].copy(), old[:, 1].copy())


@kernel
def find_place(pairs, key):
    """Return the place of `key` in pairs of (key, value), or the free one where it belongs."""
    last = np.uint64(len(pairs) - 1)
    mixed = np.uint64(key) * _MIX
    place = mixed >> _FOLD & last
    while pairs[place, 1] != ABSENT and pairs[place, 0] != key:
        place = place + np.uint64(1) & last
    return place


@kernel
def _get(pairs, keys):
    values = np.empty(len(keys), np.int64)
    for row in range(len(keys)):
        values[row] = pairs[find_place(pairs, keys[row]), 1]
    return values


@kernel
def _number(pairs, keys, values, count):
    for row in range(len(keys)):
        place = find_place(pairs, keys[row])
        if pairs[place, 1] == ABSENT:
            pairs[place, 0], pairs[place, 1] = keys[row], count
            count += 1
        values[row] = pairs[place, 1]
    return count


@kernel
def _put(pairs, keys, values):
    new = 0
    for row in range(len(keys)):
        place = find_place(pairs, keys[row])
        new += pairs[place, 1] == ABSENT
        pairs[place, 0], pairs[place, 1] = keys[row], values[row]
    return new
