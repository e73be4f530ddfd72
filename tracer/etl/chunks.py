"""Chunks: buffers that are read together, and the place and time of their records."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.etl.buffers import BUFFER_HEADER, Buffer

__all__ = ["Piece", "Raw", "carry", "lay_out", "take"]


@dataclass(frozen=True, slots=True)
class Piece:
    """A buffer to be read: its file and the time of its first record."""

    source: int
    buffer: Buffer
    time_ns: int


@dataclass(frozen=True, slots=True)
class Raw:
    """Records before their facts are read; position order."""

    start: NDArray[np.int64]
    size: NDArray[np.int64]
    kind: NDArray[np.uint8]
    time_ns: NDArray[np.int64]
    cpu: NDArray[np.int16]
    source: NDArray[np.int16]
    offset: NDArray[np.int64]


def lay_out(pieces: Sequence[Piece], at: int) -> tuple[list[int], list[slice]]:
    """Return where the records of each piece go, the end of all as well, and which pieces are read in one go.

    Buffers that follow each other in the file are read together, headers between them included.
    """
    starts: list[int] = []
    runs: list[slice] = []
    before: Piece | None = None
    for number, piece in enumerate(pieces):
        size = piece.buffer.filled - BUFFER_HEADER
        step = before.buffer.size if before else 0
        if (
            before is None
            or piece.source != before.source
            or piece.buffer.at != before.buffer.at + step
            or step % 8
            or piece.buffer.compressed
            or before.buffer.compressed
        ):
            runs.append(slice(number, number + 1))
            starts.append(at)
        else:
            runs[-1] = slice(runs[-1].start, number + 1)
            starts.append(starts[-1] + step)
        at = starts[-1] + (size + 7 & ~7)
        before = piece
    return [*starts, at], runs


def take(found: Raw, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Raw:
    """Return some of the records."""
    return Raw(*(getattr(found, name)[rows] for name in Raw.__slots__))


def carry(raw: NDArray[np.uint8], found: Raw, rows: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], Raw]:
    """Copy the records that stay behind, each 8-aligned, so that the chunk's bytes can go."""
    kept = take(found, rows)
    room = kept.size + 7 & ~7
    starts = np.cumsum(room) - room
    total = int(room.sum())
    lengths = kept.size
    inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    out = np.zeros(total, np.uint8)
    out[np.repeat(starts, lengths) + inside] = raw[np.repeat(kept.start, lengths) + inside]
    return out, Raw(starts, *(getattr(kept, name) for name in Raw.__slots__ if name != "start"))
