"""Names of a whole chunk at once: where they end, and one number for each distinct one.

Zero-copy Arrow arrays are made straight over the chunk's bytes, so every position must have been checked
against its record before it comes here: an unchecked offset would crash the interpreter.
"""

from collections.abc import Callable
from itertools import repeat

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.registry.text import decode_names, encode_name

__all__ = ["EMPTY", "FIRST_NAMES", "NameTable", "NulFinder", "gapped"]

Positions = NDArray[np.int64]
FIRST_NAMES = 1 << 15
EMPTY = 0  # number of the empty name in every NameTable


class NulFinder:
    """Finds the next 16-bit NUL from any 2-aligned place of a chunk, by a bitmap of all of them."""

    def __init__(self, raw: NDArray[np.uint8]) -> None:
        halves = raw.view(np.uint16)
        bits = np.packbits(halves == 0, bitorder="little")
        words = np.zeros(len(bits) // 8 + 2, np.uint64)
        words.view(np.uint8)[: len(bits)] = bits
        words[-1] = 1  # a sentinel behind everything
        self._words = words
        filled = np.where(words != 0, np.arange(len(words)), len(words) - 1)
        self._next_filled = np.minimum.accumulate(filled[::-1])[::-1]

    def next(self, at: Positions) -> Positions:
        """Return the index (in 16-bit units) of the first NUL at or after each index `at`."""
        word = at >> 6
        here = self._words[word] >> (at & 63).astype(np.uint64)
        far = here == 0
        if not far.any():
            return at + _trailing_zeros(here)
        later = self._next_filled[np.minimum(word + 1, len(self._words) - 1)]
        return np.where(far, later * 64 + _trailing_zeros(self._words[later]), at + _trailing_zeros(here))


def _trailing_zeros(words: NDArray[np.uint64]) -> Positions:
    return np.bitwise_count(~words & (words - np.uint64(1))).astype(np.int64)


def gapped(raw: NDArray[np.uint8], starts: Positions, ends: Positions) -> pa.Array:
    """Return a binary array over `raw`, without a copy, whose elements 0, 2, 4, ... are the spans given.

    ByteSpans rise and do not overlap; the elements between are the gaps, all null.
    """
    count = len(starts)
    offsets = np.empty(2 * count, np.int32)
    offsets[0::2], offsets[1::2] = starts, ends
    valid = np.full((2 * count + 7) // 8, 0x55, np.uint8)
    return pa.BinaryArray.from_buffers(
        pa.binary(), 2 * count - 1, [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(raw)]
    )


class NameTable:
    """Every distinct name of a capture, numbered; number 0 is the empty name.

    Args:
        texts_of: what makes texts of bytes that are no names (`tracer.decode.reads`); None: a name's own text.
        room: how many names there is room for at first, in forms that make room.

    Attributes:
        texts: escaped text by number.
        has_nul: numbers of names that hold a NUL.
    """

    def __init__(
        self, texts_of: Callable[[list[bytes]], list[str]] | None = None, *, room: int = FIRST_NAMES
    ) -> None:
        del room
        self._texts_of = texts_of
        self.texts: list[str] = [""]
        self.has_nul: set[int] = set()
        self._numbers: dict[bytes, int] = {b"": EMPTY}

    def number(self, raw: bytes) -> int:
        """Return the number of a name given as UTF-16LE bytes."""
        known = self._numbers.get(raw)
        if known is not None:
            return known
        self._numbers[raw] = len(self.texts)
        self._learn([raw])
        return len(self.texts) - 1

    def number_of_text(self, text: str) -> int:
        """Return the number of a name given as escaped text."""
        return self.number(encode_name(text))

    def numbers(self, raws: list[bytes]) -> NDArray[np.int32]:
        """Return the numbers of many distinct names."""
        numbers = np.array(list(map(self._numbers.get, raws, repeat(-1))), np.int32)
        new = np.flatnonzero(numbers < 0)
        if len(new):
            numbers[new] = np.arange(len(self.texts), len(self.texts) + len(new))
            fresh = [raws[place] for place in new.tolist()]
            self._numbers.update(zip(fresh, numbers[new].tolist(), strict=True))
            self._learn(fresh)
        return numbers

    def encode_spans(self, raw: NDArray[np.uint8], starts: Positions, ends: Positions) -> NDArray[np.int32]:
        """Return the number of the name in each span (rising, not overlapping, checked by the caller)."""
        if not len(starts):
            return np.empty(0, np.int32)
        encoded = gapped(raw, starts, ends).dictionary_encode()
        numbers = self.numbers(encoded.dictionary.to_pylist())
        codes = np.frombuffer(encoded.indices.buffers()[1], np.int32, len(encoded.indices))
        return numbers.take(codes[::2])

    def _learn(self, raws: list[bytes]) -> None:
        """Add the texts of new names."""
        if self._texts_of is not None:
            self.texts += self._texts_of(raws)
            return
        first = len(self.texts)
        self.texts += decode_names(raws)
        self.has_nul.update(
            number for number, text in enumerate(self.texts[first:], first) if "<U+0000>" in text
        )
