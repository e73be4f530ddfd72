"""Pairs of processes and threads of two sides, each pair aligned."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers import alignment
from analysis.answers.alignment import Alignment, align, count_in, pair_threads
from analysis.answers.step_numbers import READS, Side, first_uses
from tracer.registry.text import fold_name

__all__ = ["Images", "ThreadPair", "aligned_threads", "pair_processes"]

_LOOKS = (*READS, "OpenKey")  # what may be repeated without a meaning

Images = Mapping[int, tuple[str | None, int | None]]  # process_id -> image and pid
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ThreadPair:
    """Two threads, as rows of both sides; no row where one side has no such thread."""

    a: Ints
    b: Ints
    group: int  # of the pair of processes
    aligned: Alignment = field(default_factory=lambda: Alignment([], [], [], (0, 0)))

    @property
    def parting(self) -> tuple[int | None, int | None] | None:
        """The rows from which they no longer match, None for a side that has ended."""
        if self.aligned.parting is None:
            return None
        i, j = self.aligned.parting
        return (int(self.a[i]) if i < len(self.a) else None, int(self.b[j]) if j < len(self.b) else None)


def pair_processes(
    sides: tuple[Side, Side],
    images: tuple[Images, Images],
    *,
    by_image: bool,
) -> tuple[list[tuple[Ints, Ints]], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the rows of each pair of processes, and the images of those that have no partner."""
    listed: list[dict[tuple[str, int], Ints]] = []
    for side, names in zip(sides, images, strict=True):
        ids = pc.fill_null(side.rows.column("process_id").cast(pa.int64()), -1).to_numpy()
        named: dict[tuple[str, int], Ints] = {}
        times: dict[str, int] = {}
        for number, rows in _groups(ids):
            image = fold_name((names.get(number) or (None, None))[0] or "") if by_image else ""
            named[image, times.setdefault(image, 0)] = rows
            times[image] += 1
        listed.append(named)
    a, b = listed
    pairs = [(rows, b[name]) for name, rows in a.items() if name in b]
    alone = tuple(
        tuple(sorted({_image(side, names, one[name]) for name in one if name not in other}))
        for side, names, one, other in ((sides[0], images[0], a, b), (sides[1], images[1], b, a))
    )
    return pairs, alone  # type: ignore[return-value]


def _image(side: Side, names: Images, rows: Ints) -> str:
    number = side.rows.column("process_id")[int(rows[0])].as_py()
    return (names.get(number) or (None, None))[0] or "?"


def _groups(values: Ints) -> list[tuple[int, Ints]]:
    """Return the places of each value, those that occur first first."""
    distinct, firsts, places = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(places.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(places.reshape(-1), minlength=len(distinct)))[:-1]
    parts = np.split(order.astype(np.int64), ends)
    return [(int(distinct[one]), parts[one]) for one in np.argsort(firsts, kind="stable").tolist()]


def aligned_threads(sides: tuple[Side, Side], pair: tuple[Ints, Ints], group: int) -> list[ThreadPair]:
    """Return the pairs of threads of two processes, aligned, and those that have no partner."""
    listed = []
    for side, rows in zip(sides, pair, strict=True):
        ids = pc.fill_null(side.rows.column("thread_id").cast(pa.int64()), -1).to_numpy()[rows]
        listed.append([rows[places] for _, places in _groups(ids)])
    ours, theirs = (
        [side.numbers[rows] for rows in of_side] for side, of_side in zip(sides, listed, strict=True)
    )
    size = int(max(sides[0].numbers.max(initial=0), sides[1].numbers.max(initial=0))) + 1
    of_processes = [count_in(np.concatenate(steps), size) for steps in (ours, theirs)]
    elsewhere = of_processes[0] == of_processes[1]
    paired = pair_threads(ours, theirs)
    threads = []
    for one, other in paired:
        a, b = listed[0][one], listed[1][other]
        # A thread that is the only one has nobody who could have done its work.
        single = len(ours) == len(theirs) == 1
        uneven = (
            np.zeros(size, bool) if single else count_in(ours[one], size) != count_in(theirs[other], size)
        )
        exact = _exact(sides, a, b)
        sequences = [
            alignment.Sequence(
                steps, _looks(side, rows), elsewhere[side.numbers[rows]], uneven[side.numbers[rows]]
            )
            for side, rows, steps in zip(sides, (a, b), exact, strict=True)
        ]
        threads.append(ThreadPair(a, b, group, align(*sequences)))
    none = np.zeros(0, np.int64)
    for place, of_side in enumerate(listed):
        for thread in {*range(len(of_side))} - {each[place] for each in paired}:
            rows = of_side[thread]
            own = np.flatnonzero(~elsewhere[sides[place].numbers[rows]])
            if len(own):  # it did what no thread of the other side did
                rows = rows[own[0] :]
                threads.append(ThreadPair(rows, none, group) if place == 0 else ThreadPair(none, rows, group))
    return threads


def _exact(sides: tuple[Side, Side], a: Ints, b: Ints) -> list[Ints]:
    """Return the steps of two threads as numbers that also say which identifiers are used."""
    uses = [first_uses(side, rows) for side, rows in zip(sides, (a, b), strict=True)]
    order = {use: place for place, use in enumerate(sorted({use for _, listed in uses for use in listed}))}
    return [
        side.numbers[rows] * len(order) + np.array([order[use] for use in listed], np.int64)[places]
        for side, rows, (places, listed) in zip(sides, (a, b), uses, strict=True)
    ]


def _looks(side: Side, rows: Ints) -> NDArray[np.bool_]:
    looks: NDArray[np.bool_] = (
        pc.is_in(side.rows.column("operation"), pa.array(_LOOKS)).to_numpy()[rows]
        if len(rows)
        else np.zeros(0, bool)
    )
    return looks
