"""Matching: which reports of one source are of the same operations as those of another.

The rule, on the reports of one operation, place and process id, in the order of time, the clock difference taken out:

1. Two reports may be of one operation where their times are no further apart than the window, and they do not contradict
   each other.
2. A report belongs to one report of the other source at most, and two pairs never cross.
3. Of all ways to pair them the one with the most pairs counts; of these the one whose times are the least apart.

The clock difference is the median over what leaves no choice: an operation, place and process id of which each source
has one report. `tests/test_matching.py` states the rule as plain loops.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LONGEST_WINDOW_NS", "SHORTEST_WINDOW_NS", "Clock", "match", "measure_clock"]

Column = NDArray[np.int64]
Bools = NDArray[np.bool_]
Fits = Callable[[Column, Column], Bools]  # (rows of one source, rows of the other) -> which do not contradict

SHORTEST_WINDOW_NS = 2_000_000  # Sysmon writes whole milliseconds
LONGEST_WINDOW_NS = 100_000_000
_FURTHEST_NS = 60_000_000_000  # no clock of one machine was seen further off
_ENOUGH = 5  # pairs without a choice, for a clock difference
_WINDOW_SPREADS = 4
_MOST_CELLS = 4_000_000  # candidates that one alignment looks at; more narrow its window


@dataclass(frozen=True, slots=True)
class Clock:
    """How much later one source's times are than another's.

    Attributes:
        later_ns: the median; 0 where there are too few reports to measure it.
        spread_ns: how far nine of ten are from it at most; None where it was not measured.
        window_ns: how far two reports of one operation may be apart, the median taken out.
    """

    later_ns: int = 0
    spread_ns: int | None = None
    window_ns: int = LONGEST_WINDOW_NS


def measure_clock(
    what: Column, time_ns: Column, other_what: Column, other_time_ns: Column, fits: Fits
) -> Clock:
    """Return how much later the other source's times are.

    Args:
        what: number of operation, place and process id of each report, rising.
        time_ns: its time.
        other_what: the same of the other source.
        other_time_ns: its time.
        fits: says of rows of the one and of the other, pair by pair, whether they do not contradict each other.
    """
    rows, others = _alone(what), _alone(other_what)
    _, mine, its = np.intersect1d(what[rows], other_what[others], assume_unique=True, return_indices=True)
    rows, others = rows[mine], others[its]
    later = other_time_ns[others] - time_ns[rows]
    later = later[fits(rows, others) & (np.abs(later) <= _FURTHEST_NS)]
    if len(later) < _ENOUGH:
        return Clock()
    middle = int(np.median(later))
    spread = int(np.quantile(np.abs(later - middle), 0.9))
    window = min(max(_WINDOW_SPREADS * spread, SHORTEST_WINDOW_NS), LONGEST_WINDOW_NS)
    return Clock(middle, spread, window)


def _alone(what: Column) -> Column:
    """Return the rows of numbers that come once."""
    begins = np.ones(len(what), bool)
    begins[1:] = what[1:] != what[:-1]
    return np.flatnonzero(begins & np.append(begins[1:], True)[: len(what)])


def match(
    what: Column, time_ns: Column, other_what: Column, other_time_ns: Column, window_ns: int, fits: Fits
) -> tuple[Column, Column]:
    """Return the pairs, as rows of the one and rows of the other source.

    Args:
        what: as for `measure_clock`; rows rise by (what, time).
        time_ns: times of the one source.
        other_what: the same of the other source.
        other_time_ns: its times, the clock difference taken out.
        window_ns: how far the times of a pair may be apart.
        fits: as for `measure_clock`.
    """
    count = len(what)
    every = np.concatenate([what, other_what])
    times = np.concatenate([time_ns, other_time_ns])
    order = np.lexsort((times, every))
    is_other = order >= count
    begins = np.ones(len(order), bool)
    # Rows of one thing rise by time: as unsigned numbers differences are right, however far apart damage put them.
    apart = np.diff(times[order]).view(np.uint64)
    begins[1:] = (every[order][1:] != every[order][:-1]) | (apart > window_ns)
    cluster = np.cumsum(begins) - 1
    size = int(cluster[-1]) + 1 if len(cluster) else 0
    # Rows of a source stand in their own order, so those of a cluster follow each other.
    mine, its = cluster[~is_other], cluster[is_other]
    number, other_number = np.bincount(mine, minlength=size), np.bincount(its, minlength=size)
    own, others = order[~is_other], order[is_other] - count
    pairs_ = [
        _match_alike(own, others, mine, its, number == other_number, time_ns, other_time_ns, window_ns, fits)
    ]
    done = np.zeros(size, bool)
    done[mine[pairs_[0][2]]] = True
    left = np.flatnonzero(~done & (number > 0) & (other_number > 0) & (number * other_number > 1))
    first, other_first = np.cumsum(number) - number, np.cumsum(other_number) - other_number
    rows, other_rows = [pairs_[0][0]], [pairs_[0][1]]
    for one in left.tolist():
        some = own[first[one] : first[one] + number[one]]
        more = others[other_first[one] : other_first[one] + other_number[one]]
        at, its_at = _align(time_ns[some], other_time_ns[more], window_ns, _of(fits, some, more))
        rows.append(some[at])
        other_rows.append(more[its_at])
    return np.concatenate(rows), np.concatenate(other_rows)


def _of(fits: Fits, some: Column, more: Column) -> Fits:
    return lambda rows, others: fits(some[rows], more[others])


def _match_alike(
    own: Column,
    others: Column,
    mine: Column,
    its: Column,
    is_alike: Bools,
    time_ns: Column,
    other_time_ns: Column,
    window_ns: int,
    fits: Fits,
) -> tuple[Column, Column, Column]:
    """Pair the rows of clusters of which each source has as many, one by one, where all of them may be pairs.

    Returns:
        rows of the one source, of the other, and their places among `own`.
    """
    at, its_at = np.flatnonzero(is_alike[mine]), np.flatnonzero(is_alike[its])
    rows, other_rows = own[at], others[its_at]
    right = (np.abs(time_ns[rows] - other_time_ns[other_rows]) <= window_ns) & fits(rows, other_rows)
    wrong = np.bincount(mine[at[~right]], minlength=len(is_alike)) > 0
    whole = ~wrong[mine[at]]
    return rows[whole], other_rows[whole], at[whole]


def _align(time_ns: Column, other_time_ns: Column, window_ns: int, fits: Fits) -> tuple[Column, Column]:
    """Return the best pairs of one cluster: the longest common subsequence, and the closest of these."""
    while True:
        begins = np.searchsorted(time_ns, other_time_ns - window_ns, side="left")
        ends = np.searchsorted(time_ns, other_time_ns + window_ns, side="right")
        if int((ends - begins).sum()) <= _MOST_CELLS:
            break
        window_ns //= 2
    # One pair more is worth more than any distance, in microseconds.
    worth = (min(len(time_ns), len(other_time_ns)) + 1) * (window_ns // 1000 + 1)
    best = np.zeros(
        len(time_ns) + 1, np.int64
    )  # of the first rows of the one, and the rows of the other so far
    reached = 0
    steps: list[tuple[int, Column, Column]] = []
    for other, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        if end > reached:
            best[reached + 1 : end + 1] = best[reached]
            reached = end
        old = best[begin : end + 1].copy()
        new = old.copy()
        if end > begin:
            rows = np.arange(begin, end)
            score = worth - np.abs(time_ns[begin:end] - other_time_ns[other]) // 1000
            may = fits(rows, np.full(end - begin, other))
            np.maximum(new[1:], np.where(may, old[:-1] + score, 0), out=new[1:])
            np.maximum.accumulate(new, out=new)
            best[begin : end + 1] = new
        steps.append((begin, old, new))
    rows_, others_ = [], []
    place = reached
    for other in range(len(steps) - 1, -1, -1):
        begin, old, new = steps[other]
        place = min(place, begin + len(new) - 1)
        if place < begin or new[place - begin] == old[place - begin]:
            continue
        place = begin + int(np.searchsorted(new, new[place - begin], side="left")) - 1
        rows_.append(place)
        others_.append(other)
    return np.array(rows_[::-1], np.int64), np.array(others_[::-1], np.int64)
