"""Alignment of two sequences of steps: where they run together, what one side only repeats, and where they part.

Steps are numbers here: equal numbers are equal steps. docs/questions.md has the rules in words, and
`tests/support/plain_alignment.py` has them as plain loops.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_PERIOD", "Alignment", "Sequence", "align", "count_in", "pair_threads"]

MOST_PERIOD = 64  # steps that are repeated together: an open and a query are two
_MEETING = 3  # steps that must be equal for sides to meet again; fewer, where both end
_WINDOW = 256  # how far they are looked for at first
_PAIRING_STEPS = 512  # of each thread, by which threads pair

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Sequence:
    """The steps of one thread.

    Attributes:
        steps: the numbers.
        repeatable: which of them may be repeated without a meaning: what only looks.
        elsewhere: of which of them both processes, with all their threads, have equally many.
        uneven: of which of them this pair of threads has not equally many.
    """

    steps: Ints
    repeatable: Bools
    elsewhere: Bools
    uneven: Bools


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two sequences side by side.

    Attributes:
        runs: place in a, place in b and length of each stretch in which they are equal, in order.
        repeats: place in a, place in b, and how many steps a or b repeats there; one of the two is 0.
        moves: place in a, place in b, and how many steps of a and of b other threads of the other side do.
        parting: the places from which the sequences no longer match, the length of a side that has ended; None:
            they match to the end.
    """

    runs: list[tuple[int, int, int]]
    repeats: list[tuple[int, int, int, int]]
    moves: list[tuple[int, int, int, int]]
    parting: tuple[int, int] | None


def align(a: Sequence, b: Sequence) -> Alignment:
    """Return the alignment of two threads, up to where they part.

    Time grows with the number of steps, and with that of the places at which threads took each other's work.
    """
    done = Alignment([], [], [], None)
    grams: tuple[Ints, Ints] | None = None
    i = j = 0
    while True:
        same = _equal_steps(a.steps[i:], b.steps[j:])
        if same:
            done.runs.append((i, j, same))
            i, j = i + same, j + same
        if i == len(a.steps) and j == len(b.steps):
            return done
        skipped = _repeat(a, b, i, j)
        if skipped is not None:
            done.repeats.append((i, j, *skipped))
            i, j = i + skipped[0], j + skipped[1]
            continue
        if not (a.uneven.any() or b.uneven.any()):
            return Alignment(done.runs, done.repeats, done.moves, (i, j))
        if grams is None:
            grams = _grams(a.steps, b.steps)
        more_a, more_b = _meeting(*grams, i, j)
        if not _is_move(a, b, slice(i, i + more_a), slice(j, j + more_b)):
            return Alignment(done.runs, done.repeats, done.moves, (i, j))
        done.moves.append((i, j, more_a, more_b))
        i, j = i + more_a, j + more_b


def count_in(steps: Ints, size: int) -> Ints:
    """Return how often each of the numbers below `size` occurs."""
    return np.bincount(steps, minlength=size).astype(np.int64)


def pair_threads(a: list[Ints], b: list[Ints]) -> list[tuple[int, int]]:
    """Return which thread of a is which of b: those with most steps in common first, the others in order.

    Of each thread the first 512 steps count. Threads that are left over have no pair.

    Args:
        a: the steps of each thread, in the order in which the threads begin.
        b: likewise.
    """
    if len(a) == 1 and len(b) == 1:
        return [(0, 0)]
    firsts = [[one[:_PAIRING_STEPS] for one in side] for side in (a, b)]
    known, codes = np.unique(np.concatenate([step for side in firsts for step in side]), return_inverse=True)
    ends = np.cumsum([len(step) for side in firsts for step in side])[:-1]
    counted = [count_in(one, len(known)) for one in np.split(codes, ends)]
    theirs = np.stack(counted[len(a) :])
    common = np.stack([np.minimum(one, theirs).sum(axis=1) for one in counted[: len(a)]])
    pairs: list[tuple[int, int]] = []
    place_a, place_b = np.indices(common.shape)
    # Largest first; then those that begin early on both sides.
    order = np.lexsort((np.minimum(place_a, place_b).ravel(), (place_a + place_b).ravel(), -common.ravel()))
    free_a, free_b = np.ones(len(a), bool), np.ones(len(b), bool)
    for place in order.tolist():
        one, other = divmod(place, len(b))
        if free_a[one] and free_b[other] and common[one, other]:
            free_a[one] = free_b[other] = False
            pairs.append((one, other))
    rest = zip(np.flatnonzero(free_a).tolist(), np.flatnonzero(free_b).tolist(), strict=False)
    return sorted([*pairs, *rest])


def _equal_steps(a: Ints, b: Ints) -> int:
    """Return the number of equal steps at the beginning."""
    length, width = min(len(a), len(b)), 64
    start = 0
    while start < length:
        end = min(start + width, length)
        differs = a[start:end] != b[start:end]
        if differs.any():
            return start + int(differs.argmax())
        start, width = end, width * 4
    return length


def _repeat(a: Sequence, b: Sequence, i: int, j: int) -> tuple[int, int] | None:
    """Return how many steps a side only repeats, after which both go on alike; None where neither does."""
    ours, theirs = _repeated(a, b, i, j), _repeated(b, a, j, i)
    if ours is None or theirs is None:
        return (ours, 0) if ours is not None else (0, theirs) if theirs is not None else None
    if ours != theirs:
        return (ours, 0) if ours < theirs else (0, theirs)
    return (ours, 0) if a.steps[i] < b.steps[j] else (0, theirs)


def _repeated(one: Sequence, other: Sequence, i: int, j: int) -> int | None:
    steps = one.steps
    if i == len(steps) or not one.repeatable[i]:
        return None
    least: int | None = None
    before = steps[max(i - MOST_PERIOD, 0) : i]
    for period in (len(before) - np.flatnonzero(before == steps[i])).tolist()[::-1]:
        length = _equal_steps(steps[i:], steps[i - period :])
        if length < period or length % period or not one.repeatable[i : i + length].all():
            continue
        ended = i + length == len(steps)
        alike = (
            j == len(other.steps) if ended else j < len(other.steps) and steps[i + length] == other.steps[j]
        )
        if alike and (least is None or length < least):
            least = length
    return least


def _grams(a: Ints, b: Ints) -> tuple[Ints, Ints]:
    """Return the number of the steps that begin at each place, and at the end; equal numbers are equal steps."""
    ends = np.full(_MEETING, -1, np.int64)
    padded = [np.concatenate((steps, ends)) for steps in (a, b)]
    windows = [np.lib.stride_tricks.sliding_window_view(steps, _MEETING) for steps in padded]
    _, numbers = np.unique(np.concatenate(windows), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1).astype(np.int64)
    return numbers[: len(windows[0])], numbers[len(windows[0]) :]


def _meeting(a: Ints, b: Ints, i: int, j: int) -> tuple[int, int]:
    """Return how many steps later the sides meet again, at the latest where both end."""
    width = _WINDOW
    while True:
        ours, first_a = np.unique(a[i : i + width], return_index=True)
        theirs, first_b = np.unique(b[j : j + width], return_index=True)
        _, of_a, of_b = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
        later_a, later_b = first_a[of_a], first_b[of_b]
        if len(of_a):
            nearest = int(np.argmin(later_a + later_b))  # the first of equal ones is the smallest number
            if later_a[nearest] + later_b[nearest] <= width:
                return int(later_a[nearest]), int(later_b[nearest])
        if i + width >= len(a) and j + width >= len(b):
            return int(later_a[nearest]), int(later_b[nearest])
        width *= 4


def _is_move(a: Sequence, b: Sequence, ours: slice, theirs: slice) -> bool:
    """Tell whether other threads of the other side do these steps."""
    elsewhere = bool(a.elsewhere[ours].all() and b.elsewhere[theirs].all())
    return elsewhere and bool(a.uneven[ours].any() or b.uneven[theirs].any())
