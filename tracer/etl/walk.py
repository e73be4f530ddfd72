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

from tracer.columns.sorting import stable_argsort
from tracer.etl.headers import SIZE_AT_4, SMALLEST

__all__ = ["LANE_BYTES", "Walk", "walk"]

LANE_BYTES = 65_536  # records enough to pay for a guess, lanes enough for NumPy
_PATIENCE = 8  # wrong guesses in a buffer before the rest of it is walked in one go
_CONVINCING = 3  # records in a row that make a lane's guess
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


def walk(raw: NDArray[np.uint8], starts: Positions, ends: Positions, *, lane_bytes: int = LANE_BYTES) -> Walk:
    """Return the records between `starts` and `ends`, the first record and filled end of each buffer.

    `starts` are 8-aligned and rising; `raw` has at least 8 bytes beyond the last end. `lane_bytes` is the
    length above which a buffer is cut into lanes.
    """
    lanes = _Lanes(raw, starts, ends, lane_bytes)
    found, bad = _run(raw, lanes.start, lanes.stop, lanes.end)
    packed, stops = _join(found), np.concatenate([np.empty(0, np.int64), *bad])
    patience = _PATIENCE
    while True:
        wrong, entry = lanes.misled(packed, whole=patience == 0)
        if not len(wrong):
            return Walk(packed >> 32, packed & 0xFFFF, packed >> 16 & 0xFFFF, np.sort(stops))
        # Only what the walk before reaches counts: walk these stretches again from there.
        packed, stops = packed[~lanes.rejects(packed >> 32)], stops[~lanes.rejects(stops)]
        found, bad = _run(raw, entry, lanes.stop[wrong], lanes.end[wrong])
        packed, stops = _join([packed, *found]), np.concatenate([stops, *bad])
        patience = max(patience - 1, 0)


def _join(found: list[Positions]) -> Positions:
    packed = np.concatenate(found) if found else np.empty(0, np.int64)
    return packed.take(stable_argsort(packed >> 35))


def _run(
    raw: NDArray[np.uint8], at: Positions, stop: Positions, end: Positions
) -> tuple[list[Positions], list[Positions]]:
    """Walk from `at`, taking every record that begins before `stop` and ends by `end`.

    Returns packed records (position, mark, size) and the positions at which a walk could not go on.
    """
    words, halves = raw.view(np.uint32), raw.view(np.uint16)
    found: list[Positions] = []
    bad: list[Positions] = []
    while True:
        going = (at < stop) & (at + 8 <= end)
        if not going.all():
            at, stop, end = at[going], stop[going], end[going]
        if not len(at):
            return found, bad
        first = words.take(at >> 2)
        mark = first >> 16
        size = np.where(SIZE_AT_4.take(mark), halves.take((at >> 1) + 2), first & 0xFFFF).astype(np.int64)
        good = (size >= SMALLEST.take(mark)) & (at + size <= end)
        if not good.all():
            bad.append(at[~good & (first != _FILLER)])
            at, stop, end, size, mark = at[good], stop[good], end[good], size[good], mark[good]
        found.append(at << 32 | mark.astype(np.int64) << 16 | size)
        at = at + (size + 7 & ~7)


class _Lanes:
    """The stretches that are walked at once.

    Each has its `start` (a guess, but in a buffer's first lane), `stop`, and the `end` of its buffer.
    """

    def __init__(self, raw: NDArray[np.uint8], starts: Positions, ends: Positions, lane_bytes: int) -> None:
        count = np.maximum(-(-(ends - starts) // lane_bytes), 1)
        self.buffer = np.repeat(np.arange(len(starts)), count)
        number = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        self.lead = number == 0
        self.begin = starts[self.buffer] + number * lane_bytes
        self.end = ends[self.buffer]
        self.stop = np.minimum(self.begin + lane_bytes, self.end)
        self.rejected = np.zeros(len(self.begin), bool)
        self.absorbed = np.zeros(len(self.begin), bool)  # belongs to a lane before it
        self.start = _guess(raw, self.begin, self.stop, self.end, self.lead)

    def rejects(self, positions: Positions) -> NDArray[np.bool_]:
        """Return whether each position lies in a lane that `misled` has found wrong."""
        return self.rejected[self._of(positions)]

    def misled(self, packed: Positions, *, whole: bool) -> tuple[Positions, Positions]:
        """Return lanes that did not start where the walk before them arrives, and where that is.

        Only the first such lane of each buffer is sure, for what comes after rests on it. Where the walk
        before ended early, and everywhere when `whole` is asked for, that lane takes the rest of its buffer.
        """
        self.rejected = np.zeros(len(self.begin), bool)
        inner = np.flatnonzero(~self.lead & ~self.absorbed)
        if not len(inner):
            return inner, inner
        # Where the walk of each lane arrives: behind its last record; where it has none, where it was.
        arrives = np.where(self.lead, self.begin, 0)
        arrives[self._of(packed >> 32)] = (packed >> 32) + ((packed & 0xFFFF) + 7 & ~7)
        arrives = np.maximum.accumulate(arrives)
        before, stop = arrives[inner - 1], self.stop[inner - 1]
        ended = before < stop
        entry = np.where(ended, self.end[inner], before)
        wrong = (entry != self.start[inner]) & ~(
            (entry >= self.stop[inner]) & (self.start[inner] >= self.stop[inner])
        )
        inner, entry, ended = inner[wrong], entry[wrong], ended[wrong]
        first = np.ones(len(inner), bool)
        first[1:] = self.buffer[inner[1:]] != self.buffer[inner[:-1]]
        inner, entry, rest = inner[first], entry[first], ended[first] | whole
        self.rejected[inner] = True
        self.start[inner] = entry
        for lane in inner[rest].tolist():
            after = slice(lane + 1, int(np.searchsorted(self.buffer, self.buffer[lane], side="right")))
            self.rejected[after] = self.absorbed[after] = True
            self.stop[lane] = self.end[lane]
        return inner, entry

    def _of(self, positions: Positions) -> Positions:
        return np.searchsorted(self.begin, positions, side="right") - 1


def _guess(
    raw: NDArray[np.uint8], begin: Positions, stop: Positions, end: Positions, lead: NDArray[np.bool_]
) -> Positions:
    """Return where each lane's first record may start: the first place that looks like two records in a row."""
    words, halves = raw.view(np.uint32), raw.view(np.uint16)
    start = np.where(lead, begin, stop)
    seeking = np.flatnonzero(~lead)
    at = begin[seeking]
    while len(seeking):
        inside = at + 8 <= np.minimum(stop[seeking], end[seeking])
        seeking, at = seeking[inside], at[inside]
        place, looks = at, np.ones(len(at), bool)
        for _ in range(_CONVINCING):
            near = place + 8 <= end[seeking]
            safe = np.where(near, place, 0)
            first = words.take(safe >> 2)
            mark = first >> 16
            size = np.where(SIZE_AT_4.take(mark), halves.take((safe >> 1) + 2), first & 0xFFFF).astype(
                np.int64
            )
            # Behind a buffer's last record nothing needs to look like one.
            looks &= ~near | ((size >= SMALLEST.take(mark)) & (place + size <= end[seeking]))
            place = place + (size + 7 & ~7)
        start[seeking[looks]] = at[looks]
        seeking, at = seeking[~looks], at[~looks] + 8
    return start
