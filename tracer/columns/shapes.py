"""Shapes of texts: texts that differ in their digits only are read together, digit by digit.

Numbers and times in logs have few shapes, and their numbers are nearly all different. A shape is looked at once, by a
regular expression; the numbers of all its texts are then computed by column.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Shape", "shapes"]

LONGEST = 64  # bytes: a longer text is no number and no time
_TRIES = 8  # shapes of one length that are taken out one by one, before the rest is sorted
_ZERO = ord("0")


@dataclass(frozen=True, slots=True)
class Shape:
    """Texts that are equal but for their digits.

    Attributes:
        text: one of them (UTF-8), with 0 for every digit.
        rows: their places, ascending.
        letters: their bytes, shape (rows, length).
    """

    text: bytes
    rows: NDArray[np.int64]
    letters: NDArray[np.uint8]

    def number(self, start: int, end: int) -> NDArray[np.int64]:
        """Return the numbers that the digits from byte `start` up to `end` are, at most 18; other letters are left out."""
        value = np.zeros(len(self.rows), np.int64)
        for place in range(start, end):
            if self.text[place] == _ZERO:
                value = value * 10 + (self.letters[:, place].astype(np.int64) - _ZERO)
        return value


def shapes(texts: pa.StringArray) -> Iterator[Shape]:
    """Yield the shapes of texts; NULL, empty ones and those longer than LONGEST bytes are in none."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)
    sizes = np.diff(offsets)
    if texts.null_count:
        sizes = np.where(texts.is_valid().to_numpy(zero_copy_only=False), sizes, 0)
    data = texts.buffers()[2]
    letters = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    for size in np.unique(sizes[(sizes > 0) & (sizes <= LONGEST)]).tolist():
        rows = np.flatnonzero(sizes == size)
        some = letters[offsets[rows][:, None] + np.arange(size)]
        yield from _of_one_length(rows, some)


def _of_one_length(rows: NDArray[np.int64], letters: NDArray[np.uint8]) -> Iterator[Shape]:
    bare = np.where((letters >= _ZERO) & (letters <= _ZERO + 9), np.uint8(_ZERO), letters)
    for _ in range(_TRIES):
        same = (bare == bare[0]).all(axis=1)
        if same.all():
            yield Shape(bare[0].tobytes(), rows, letters)
            return
        yield Shape(bare[0].tobytes(), rows[same], letters[same])
        rows, letters, bare = rows[~same], letters[~same], bare[~same]
    _, inverse = np.unique(np.ascontiguousarray(bare).view(f"V{bare.shape[1]}").ravel(), return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(inverse[order])) + 1):
        yield Shape(bare[places[0]].tobytes(), rows[places], letters[places])
