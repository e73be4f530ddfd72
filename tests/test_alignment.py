"""Alignment of steps: the fast form against plain loops, and what it must find whatever the steps are."""

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_alignment import plain_align

from analysis.answers.alignment import Alignment, Sequence, align, pair_threads

STEPS = st.lists(st.integers(0, 5), max_size=24)


def sequences(
    a: list[int], b: list[int], looks: set[int] | None = None, elsewhere: set[int] | None = None
) -> tuple[Sequence, Sequence]:
    """Return both threads; `looks` and `elsewhere` are steps, None: nothing is only looked at, threads are alone."""
    counts = Counter(a), Counter(b)
    sides = []
    for steps in (a, b):
        sides.append(
            Sequence(
                np.array(steps, np.int64),
                np.array([step in (looks or ()) for step in steps], bool),
                np.array([step in (elsewhere or ()) for step in steps], bool),
                np.array([elsewhere is not None and counts[0][s] != counts[1][s] for s in steps], bool),
            )
        )
    return sides[0], sides[1]


def aligned(a: list[int], b: list[int], looks: set[int] | None = None) -> Alignment:
    return align(*sequences(a, b, looks))


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(STEPS, STEPS, st.sets(st.integers(0, 5)), st.none() | st.sets(st.integers(0, 5)))
def test_it_is_what_the_loops_find(
    a: list[int], b: list[int], looks: set[int], elsewhere: set[int] | None
) -> None:
    found = align(*sequences(a, b, looks, elsewhere))
    uneven = any(Counter(a)[step] != Counter(b)[step] for step in range(6))
    wanted = plain_align(
        a, b, order=range(6), elsewhere=elsewhere if uneven else None,
        looks=[{place for place, step in enumerate(side) if step in looks} for side in (a, b)],
    )  # fmt: skip
    assert {name: getattr(found, name) for name in wanted} == wanted


@settings(max_examples=300, deadline=None)
@given(STEPS, STEPS, st.sets(st.integers(0, 5)))
def test_the_sides_can_be_swapped(a: list[int], b: list[int], looks: set[int]) -> None:
    one, other = aligned(a, b, looks), aligned(b, a, looks)
    assert one.parting == (None if other.parting is None else other.parting[::-1])
    assert one.runs == [(i, j, n) for j, i, n in other.runs]


@settings(max_examples=200, deadline=None)
@given(st.data(), st.lists(st.integers(0, 10**6), min_size=1, max_size=60, unique=True))
def test_one_operation_more_less_or_changed_is_found_at_its_place(
    data: st.DataObject, steps: list[int]
) -> None:
    place = data.draw(st.integers(0, len(steps) - 1))
    looks = set(steps) | {-1}
    for other in (
        [*steps[:place], -1, *steps[place:]],
        [*steps[:place], *steps[place + 1 :]],
        [*steps[:place], -1, *steps[place + 1 :]],
    ):
        for a, b in ((steps, other), (other, steps)):
            assert aligned(a, b, looks).parting == (place, place)


@given(STEPS)
def test_a_sequence_does_not_part_from_itself(steps: list[int]) -> None:
    found = aligned(steps, steps)
    assert (found.parting, found.repeats) == (None, [])
    assert sum(n for _, _, n in found.runs) == len(steps)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30, unique=True), st.integers(1, 5), st.data())
def test_what_is_only_looked_at_again_is_no_divergence(
    steps: list[int], times: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(steps) - 1))
    end = data.draw(st.integers(start + 1, len(steps)))
    again = steps[:end] + steps[start:end] * times + steps[end:]
    found = aligned(again, steps, set(steps))
    assert found.parting is None
    assert [(one[2], one[3]) for one in found.repeats] == [((end - start) * times, 0)]
    assert aligned(again, steps).parting == (end, end)  # what changes something is no repetition


def test_work_that_another_thread_does_is_no_divergence() -> None:
    work, other, own = list(range(10, 20)), list(range(30, 40)), list(range(50, 60))
    a, b = [*own[:5], *work, *own[5:]], [*own[:5], *other, *own[5:]]
    assert align(*sequences(a, b, elsewhere={*work, *other})).parting is None
    assert align(*sequences(a, b, elsewhere={*work})).parting == (5, 5)


def test_threads_pair_by_what_they_do() -> None:
    one, two, three = (np.arange(start, start + 50, dtype=np.int64) for start in (0, 100, 200))
    assert pair_threads([one, two, three], [three, one, two]) == [(0, 1), (1, 2), (2, 0)]
    assert pair_threads([one, two], [two, three, one]) == [(0, 2), (1, 0)]
    assert pair_threads([one], [two]) == [(0, 0)]
    assert pair_threads([one, two], [three, two]) == [(0, 0), (1, 1)]


@pytest.mark.slow
def test_time_grows_with_the_number_of_steps() -> None:
    random = np.random.default_rng(5)
    steps = random.integers(0, 500, 400_000)

    def seconds(size: int) -> float:
        a = steps[:size].tolist()
        b = [*a[: size - 5], 1000, *a[size - 5 :]]
        sides = sequences(a, b, {*range(500)})
        begun = time.perf_counter()
        assert align(*sides).parting == (size - 5, size - 5)
        return time.perf_counter() - begun

    seconds(1000)
    assert seconds(400_000) < 16 * seconds(100_000) + 0.1
