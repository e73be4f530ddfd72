"""Twin of the NameTable: distinct names in one hash table over their bytes."""

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.compiled.unaligned import load, store
from tracer.decode.batch import ByteSpans
from tracer.decode.strings import EMPTY, FIRST_NAMES, NameTable

__all__ = ["CompiledNameTable"]

_FIRST = np.zeros(1, np.int64)
_FREE = np.uint64(0)
_BYTES = 64  # there is room for, for each name
_SPARE = 8  # bytes that may be read, and overwritten, behind a name
# Odd numbers with bits well spread (from the golden ratio), and how far a hash is folded onto itself.
_MIX, _STIR, _FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32)
_NUMBER, _HASH = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFF00000000)
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)  # the first `count` bytes


class _Table(NamedTuple):
    """The arrays of a CompiledNameTable."""

    places: NDArray[np.uint64]
    ends: NDArray[np.int64]
    held: NDArray[np.uint8]


class CompiledNameTable(NameTable):
    """A NameTable that numbers spans of a chunk without making Python objects of the names it knows.

    `_held` has the names one after the other, name `n` from `_ends[n - 1]` to `_ends[n]`; `_places` is an
    open-addressed table, at most half full, of the upper half of a name's hash and its number.
    """

    def __init__(
        self, texts_of: Callable[[list[bytes]], list[str]] | None = None, *, room: int = FIRST_NAMES
    ) -> None:
        super().__init__(texts_of)
        self._places = np.zeros(2 * room, np.uint64)  # twice as many, a power of two
        self._ends = np.zeros(room, np.int64)
        self._held = np.zeros(_BYTES * room, np.uint8)

    def number(self, raw: bytes) -> int:
        """Return the number of a name given as UTF-16LE bytes."""
        source = np.frombuffer(raw + bytes(_SPARE), np.uint8)
        number = np.zeros(1, np.int32)
        self.encode_into(number, source, ByteSpans(_FIRST, _FIRST, np.array([len(raw)])))
        return int(number[0])

    def encode_spans(
        self, raw: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """Return the number of the name in each span."""
        if int(ends.max(initial=0)) + _SPARE > len(raw):
            raw = np.append(raw, np.zeros(_SPARE, np.uint8))
        numbers = np.zeros(len(starts), np.int32)
        self.encode_into(numbers, raw, ByteSpans(np.arange(len(starts)), starts, ends - starts))
        return numbers

    def encode_into(self, numbers: NDArray[np.int32], raw: NDArray[np.uint8], spans: ByteSpans) -> None:
        """Give `numbers` the number of the name in each of `spans`; `raw` goes on for eight bytes more."""
        done = 0
        while done < len(spans.rows):
            known = len(self.texts)
            table = _Table(self._places, self._ends, self._held)
            done, now = _number(raw, spans, done, numbers, table, known, _MASKS)
            if now > known:
                bounds = self._ends[known - 1 : now]
                held = self._held[bounds[0] : bounds[-1]].tobytes()
                self._learn([held[start:stop] for start, stop in pairwise((bounds - bounds[0]).tolist())])
            if done < len(spans.rows):
                self._grow(int(spans.size[done]))

    def _grow(self, size: int) -> None:
        """Make room for one more name, `size` bytes long."""
        known = len(self.texts)
        if int(self._ends[known - 1]) + size + _SPARE > len(self._held):
            held = np.empty(2 * len(self._held) + size, np.uint8)
            held[: len(self._held)] = self._held
            self._held = held
        if known == len(self._ends):
            self._ends = np.concatenate([self._ends, np.zeros_like(self._ends)])
            self._places = np.zeros(2 * len(self._places), np.uint64)
            _place_all(_Table(self._places, self._ends, self._held), known, _MASKS)


@kernel
def _hash(source, start, size, masks):
    mixed = np.uint64(size)
    at = 0
    while at + 8 < size:
        mixed = (mixed ^ load(source, start + at)) * _MIX
        mixed ^= mixed >> _FOLD
        at += 8
    mixed = (mixed ^ load(source, start + at) & masks[size - at]) * _MIX
    mixed = (mixed ^ mixed >> _FOLD) * _STIR
    return mixed ^ mixed >> _FOLD


@kernel
def _is_same(one, start, other, begin, size, masks):
    at = 0
    while at + 8 < size:
        if load(one, start + at) != load(other, begin + at):
            return False
        at += 8
    return (load(one, start + at) ^ load(other, begin + at)) & masks[size - at] == 0


@kernel
def _number(source, spans, done, numbers, table, known, masks):
    """Number spans from `done` on; stops before the first one there is no room for."""
    places, name_ends, held = table.places, table.ends, table.held
    rows = spans.rows
    last = np.uint64(len(places) - 1)
    for which in range(done, len(rows)):
        start, size = spans.start[which], spans.size[which]
        if size == 0:
            numbers[rows[which]] = EMPTY
            continue
        mixed = _hash(source, start, size, masks)
        place = mixed & last
        while True:
            found = places[place]
            if found == _FREE:
                used = name_ends[known - 1]
                if known == len(name_ends) or used + size + _SPARE > len(held):
                    return which, known
                for at in range(0, size, 8):
                    store(held, used + at, load(source, start + at))
                name_ends[known] = used + size
                places[place] = mixed & _HASH | np.uint64(known)
                numbers[rows[which]] = known
                known += 1
                break
            if (found ^ mixed) & _HASH == 0:
                number = np.int64(found & _NUMBER)
                begin = name_ends[number - 1]
                if name_ends[number] - begin == size and _is_same(source, start, held, begin, size, masks):
                    numbers[rows[which]] = number
                    break
            place = place + np.uint64(1) & last
    return len(rows), known


@kernel
def _place_all(table, known, masks):
    places, name_ends, held = table.places, table.ends, table.held
    last = np.uint64(len(places) - 1)
    for number in range(1, known):
        begin = name_ends[number - 1]
        mixed = _hash(held, begin, name_ends[number] - begin, masks)
        place = mixed & last
        while places[place] != _FREE:
            place = place + np.uint64(1) & last
        places[place] = mixed & _HASH | np.uint64(number)
