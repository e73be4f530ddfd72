"""Times of losses: evidence from before a loss may be out of date after it."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["LossTimes"]

_EARLIEST, _LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class LossTimes:
    """Intervals in which something was lost, as (from, to) in UTC nanoseconds; None is unbounded."""

    def __init__(self, intervals: Iterable[tuple[int | None, int | None]]) -> None:
        self.replace(intervals)

    def replace(self, intervals: Iterable[tuple[int | None, int | None]]) -> None:
        """Replace the intervals; damage is found only while reading."""
        pairs = [(_EARLIEST if a is None else a, _LATEST if b is None else b) for a, b in intervals]
        self._starts = np.sort(np.array([a for a, _ in pairs], np.int64))
        self._ends = np.sort(np.array([b for _, b in pairs], np.int64))

    def __bool__(self) -> bool:
        return bool(len(self._starts))

    def between(self, since: NDArray[np.int64], until: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return whether a loss may lie after `since` and before `until`, row by row."""
        # Losses begun before `until`, less those over by `since`, are those that overlap the stretch.
        begun = np.searchsorted(self._starts, until, side="left")
        over = np.searchsorted(self._ends, np.minimum(since, until - 1), side="right")
        return begun > over
