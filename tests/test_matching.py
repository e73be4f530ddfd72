"""Matching of reports against the rule as plain loops, and the clock difference."""

from functools import cache

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracer.merge.matching import LONGEST_WINDOW_NS, SHORTEST_WINDOW_NS, match, measure_clock

UNIT = 1_000_000  # times in milliseconds, so that distances in microseconds are whole
WINDOW = 4

Report = tuple[int, int, int]  # what, time, what it says of the data (0 is nothing)


def contradicts(one: Report, other: Report) -> bool:
    return one[2] != 0 and other[2] != 0 and one[2] != other[2]


def best(mine: list[Report], its: list[Report], window: int) -> tuple[int, int]:
    """Return how many pairs the best way has, and how far apart these are together: every way is tried."""

    @cache
    def from_here(place: int, other: int) -> tuple[int, int]:
        if place == len(mine) or other == len(its):
            return 0, 0
        ways = [from_here(place + 1, other), from_here(place, other + 1)]
        apart = abs(mine[place][1] - its[other][1])
        if apart <= window and not contradicts(mine[place], its[other]):
            pairs, distance = from_here(place + 1, other + 1)
            ways.append((pairs + 1, distance + apart))
        return max(ways, key=lambda way: (way[0], -way[1]))

    return from_here(0, 0)


reports = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 24), st.integers(0, 2)), max_size=9).map(
    lambda rows: sorted(rows, key=lambda row: row[:2])
)


def columns(rows: list[Report]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    what, time, says = (np.array([row[place] for row in rows], np.int64) for place in range(3))
    return what, time * UNIT, says


@given(reports, reports)
def test_pairs_are_the_best_that_plain_loops_find(mine: list[Report], its: list[Report]):
    what, time_ns, says = columns(mine)
    other_what, other_time_ns, other_says = columns(its)

    def fits(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        one, other = says[rows], other_says[others]
        return (one == 0) | (other == 0) | (one == other)

    rows, others = match(what, time_ns, other_what, other_time_ns, WINDOW * UNIT, fits)
    pairs = sorted(zip(rows.tolist(), others.tolist(), strict=True))
    assert len(set(rows.tolist())) == len(set(others.tolist())) == len(pairs)
    for row, other in pairs:
        assert mine[row][0] == its[other][0]
        assert abs(mine[row][1] - its[other][1]) <= WINDOW
        assert not contradicts(mine[row], its[other])
    for kind in (0, 1):
        own = [(row, other) for row, other in pairs if mine[row][0] == kind]
        assert own == sorted(own, key=lambda pair: pair[1])  # none crosses another
        right = best([row for row in mine if row[0] == kind], [row for row in its if row[0] == kind], WINDOW)
        assert (len(own), sum(abs(mine[row][1] - its[other][1]) for row, other in own)) == right


def always(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.ones(len(rows), bool)


def test_the_clock_is_the_median_of_what_leaves_no_choice():
    what = np.array([1, 2, 3, 4, 5, 6, 6], np.int64)
    time_ns = np.arange(7, dtype=np.int64) * 1_000_000_000
    other = time_ns + 3_000_000
    other[:6] += np.array([0, 1, -1, 0, 2, 0]) * 1000
    other[6] += 50_000_000_000  # it comes twice, so it does not count
    clock = measure_clock(what, time_ns, what, other, always)
    assert (clock.later_ns, clock.window_ns) == (3_000_000, SHORTEST_WINDOW_NS)
    assert clock.spread_ns is not None
    assert 1000 <= clock.spread_ns <= 2000


def test_too_few_reports_measure_no_clock():
    what = np.arange(4, dtype=np.int64)
    clock = measure_clock(what, what * 10, what, what * 10 + 7, always)
    assert (clock.later_ns, clock.spread_ns, clock.window_ns) == (0, None, LONGEST_WINDOW_NS)


def test_what_contradicts_measures_no_clock():
    what = np.arange(9, dtype=np.int64)
    later = np.where(what < 6, 5, 40_000_000)
    clock = measure_clock(what, what * 0, what, later, lambda rows, others: what[rows] < 6)
    assert (clock.later_ns, clock.spread_ns) == (5, 0)


def test_very_many_reports_of_one_operation_take_no_more_than_their_share():
    """A window that holds all of them is narrowed, so that neither time nor memory grow with the square."""
    count = 20_000
    what = np.zeros(count, np.int64)
    times = np.arange(count, dtype=np.int64) * 4_000
    rows, others = match(what, times, what[1:], times[1:] + 500, LONGEST_WINDOW_NS, always)
    assert (rows == others + 1).all()
    assert len(rows) == count - 1
