"""Cells of a hive as columns: which offsets lead to a sound cell that nothing else has led to yet.

A cell is read once: a hostile hive that lists one cell a million times stays as small in memory as on the disk.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import find_distinct

__all__ = ["CELL", "NO_CELL", "Cells"]

Offsets = NDArray[np.int64]
CELL = 4  # bytes of a cell before its content: its size, negative while it is in use
NO_CELL = 0xFFFF_FFFF
_FIRST = 32  # a bin's own header


class Cells:
    """The cells in the bins of a hive.

    Attributes:
        bins: the bytes; a multiple of 8.
    """

    def __init__(self, bins: bytes) -> None:
        self.bins = bins
        self._numbers: dict[str, NDArray[Any]] = {
            kind: np.frombuffer(bins, kind) for kind in ("<u2", "<u4", "<i4", "<u8")
        }
        self._taken = np.zeros(len(bins) // 8, np.bool_)

    def read(self, kind: str, at: Offsets) -> NDArray[Any]:
        """Return the numbers of a NumPy kind at aligned offsets."""
        numbers = self._numbers[kind]
        return numbers.take(at // numbers.itemsize)

    def sizes(self, at: Offsets) -> Offsets:
        """Return how many bytes of content the cells at these offsets have; -1 where no cell in use is."""
        is_place = (at >= _FIRST) & (at % 8 == 0) & (at < len(self.bins))
        size = np.full(len(at), -1, np.int64)
        places = at[is_place]
        stated = -self.read("<i4", places).astype(np.int64)
        fits = (stated >= 8) & (places + stated <= len(self.bins))
        size[is_place] = np.where(fits, stated - CELL, -1)
        return size

    def take(self, at: Offsets, least: int, signatures: tuple[bytes, ...] = ()) -> NDArray[np.bool_]:
        """Return at which offsets a sound cell begins that was not taken before; it is taken now.

        Args:
            at: offsets in the bins.
            least: bytes of content that it needs.
            signatures: the two bytes that it may begin with; none: any.
        """
        sound = self.sizes(at) >= least
        if signatures:
            kinds = np.array([int.from_bytes(one, "little") for one in signatures], np.uint16)
            sound[sound] = np.isin(self.read("<u2", at[sound] + CELL), kinds)
        places = np.flatnonzero(sound)
        cells = at[places] // 8
        fresh = ~self._taken[cells]
        _, first, _ = find_distinct(cells)
        once = np.zeros(len(cells), np.bool_)
        once[first] = True
        sound[places] = fresh & once
        self._taken[cells] = True
        return sound

    def is_taken(self, at: Offsets) -> NDArray[np.bool_]:
        """Return which of the cells were taken."""
        return self._taken[at // 8]

    def in_use(self, signature: bytes, least: int) -> Offsets:
        """Return the offsets of all places that look like a cell in use with this signature."""
        words = self._numbers["<u2"]
        places = np.flatnonzero(words[2::4] == int.from_bytes(signature, "little")).astype(np.int64) * 8
        return places[self.sizes(places) >= least]
