"""Two sequences of steps aligned by plain loops: the reference of `analysis.answers.alignment`."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

__all__ = ["plain_align"]

MOST_PERIOD = 64


def plain_align(
    a: Sequence[Hashable],
    b: Sequence[Hashable],
    *,
    looks: Sequence[set[int]] = (set(), set()),
    elsewhere: set[Hashable] | None = None,
    order: Sequence[Hashable] = (),
) -> dict[str, object]:
    """Return runs, repeats, moves and the parting of two threads.

    Args:
        a: the steps of one.
        b: the steps of the other.
        looks: the places of each side whose steps only look.
        elsewhere: the steps that both processes, with all threads, have equally often; None: the threads are alone.
        order: all steps, in the order that decides ties.
    """
    found: dict[str, Any] = {"runs": [], "repeats": [], "moves": []}
    i = j = run = 0
    counts = Counter(a), Counter(b)
    while True:
        while i < len(a) and j < len(b) and a[i] == b[j]:
            i, j, run = i + 1, j + 1, run + 1
        if run:
            found["runs"].append((i - run, j - run, run))
        run = 0
        if i == len(a) and j == len(b):
            return found | {"parting": None}
        ours, theirs = repeated(a, b, i, j, looks[0]), repeated(b, a, j, i, looks[1])
        if ours and theirs:
            first = ours < theirs or (ours == theirs and order.index(a[i]) < order.index(b[j]))
            ours, theirs = (ours, 0) if first else (0, theirs)
        if ours or theirs:
            found["repeats"].append((i, j, ours, theirs))
            i, j = i + ours, j + theirs
            continue
        if elsewhere is None:
            return found | {"parting": (i, j)}
        later = meeting(a, b, i, j, order)
        gaps = a[i : i + later[0]], b[j : j + later[1]]
        steps = [step for gap in gaps for step in gap]
        uneven = any(counts[0][step] != counts[1][step] for step in steps)
        if not uneven or any(step not in elsewhere for step in steps):
            return found | {"parting": (i, j)}
        found["moves"].append((i, j, *later))
        i, j = i + later[0], j + later[1]


def repeated(one: Sequence[Hashable], other: Sequence[Hashable], i: int, j: int, looks: set[int]) -> int:
    """Return how many steps repeat those just before them, so often that the other side then goes on alike; 0: none."""
    for length in range(1, len(one) - i + 1):
        if i + length - 1 not in looks:
            return 0
        ended = i + length == len(one)
        alike = j == len(other) if ended else j < len(other) and one[i + length] == other[j]
        for period in range(1, min(MOST_PERIOD, length, i) + 1):
            repeats = all(one[i + k] == one[i + k - period] for k in range(length))
            # All that is repeated is left out at once.
            over = ended or one[i + length] != one[i + length - period]
            if length % period == 0 and alike and repeats and over:
                return length
    return 0


def meeting(
    a: Sequence[Hashable], b: Sequence[Hashable], i: int, j: int, order: Sequence[Hashable]
) -> tuple[int, int]:
    """Return how many steps later three steps are equal, or all up to both ends; the nearest."""

    def ahead(steps: Sequence[Hashable], at: int) -> list[int]:
        return [order.index(step) for step in steps[at : at + 3]] + [-1] * (at + 3 - min(len(steps), at + 3))

    pairs = [
        (p - i + q - j, ahead(a, p), p - i, q - j)
        for p in range(i, len(a) + 1)
        for q in range(j, len(b) + 1)
        if ahead(a, p) == ahead(b, q)
    ]
    _, _, more_a, more_b = min(pairs)
    return more_a, more_b
