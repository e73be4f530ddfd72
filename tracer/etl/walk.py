"""Finding every record of a chunk of buffers, all buffers in lockstep.

One NumPy step moves every lane (a stretch of a buffer) on by one record. A record begins 8-aligned, states
its size, and the next begins at the aligned end. Long buffers are cut into several lanes: a lane may start
at any plausible record, and its records count only if the walk of the lane before it arrives exactly
there; otherwise the stretch is walked again from where that walk really arrived. So the result is that of
one walk from the buffer's start, whatever the guess was.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.etl.headers import SIZE_AT_4, SMALLEST
from tracer.radix import stable_order

__all__ = ["Walk", "walk"]

_FILLER = 0xFFFFFFFF
Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Walk:
    """The records found: position, size and the upper half of the first dword, by rising position.

    `bad` holds the positions at which a buffer's walk had to end before the buffer's filled part did.
    """

    start: Positions
    size: Positions
    mark: Positions
    bad: Positions


def walk(raw: NDArray[np.uint8], starts: Positions, ends: Positions) -> Walk:
    """Return the records between `starts` and `ends`, the first record and filled end of each buffer.

    `starts` are 8-aligned and rising; `raw` has at least 8 bytes beyond the last end.
    """
    words = raw.view(np.uint32)
    halves = raw.view(np.uint16)
    found: list[Positions] = []
    at, end = starts.copy(), ends
    bad: list[Positions] = []
    while len(at):
        going = at + 8 <= end
        if not going.all():
            at, end = at[going], end[going]
            if not len(at):
                break
        first = words.take(at >> 2)
        mark = first >> 16
        size = np.where(SIZE_AT_4.take(mark), halves.take((at >> 1) + 2), first & 0xFFFF).astype(np.int64)
        good = (size >= SMALLEST.take(mark)) & (at + size <= end)
        if not good.all():
            stop = at[~good]
            bad.append(stop[first[~good] != _FILLER])
            at, end, size, mark = at[good], end[good], size[good], mark[good]
        found.append(at << 32 | mark.astype(np.int64) << 16 | size)
        at = at + (size + 7 & ~7)
    packed = np.concatenate(found) if found else np.empty(0, np.int64)
    packed = packed.take(stable_order(packed >> 35))
    return Walk(
        start=packed >> 32,
        size=packed & 0xFFFF,
        mark=packed >> 16 & 0xFFFF,
        bad=np.concatenate(bad) if bad else np.empty(0, np.int64),
    )
