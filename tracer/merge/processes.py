"""Processes of several captures: which of them are one.

Two processes are one where nothing else fits. Either they have the same id, image and start. Or they come out of
different captures, and

1. they have the same id and the same image: its file name, or the first 14 characters of it, which is what the kernel
   keeps of a longer one;
2. their lives overlap: what each is known to have done, its start, its end and its rows, lies within the time in which
   the other can have lived. That ends before the next process of the same id in the other's own capture starts;
3. the other capture has no second process of which this can be said, on either side.

A process of which no image is known is nobody's twin, unless rows prove it: all of its rows that another source reported
as well are there of one process, the only one of its id.

What one of them does not say, the other does.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_rows
from tracer.registry.image_paths import is_surer, with_dos_paths
from tracer.registry.text import fold_name
from tracer.schema import PROCESSES

__all__ = ["Life", "join_processes"]

SLACK_NS = 1_000_000_000  # between the clocks of two sources; a log of milliseconds rounds as well
_KEPT_CHARACTERS = 14
_ALWAYS = 1 << 62


@dataclass(slots=True)
class Life:
    """One process as one capture tells it.

    Attributes:
        row: its row of `processes`.
        first_ns: time of its first row; None where it has none.
        last_ns: time of its last row.
        earliest_ns: it cannot have lived before.
        latest_ns: it cannot have lived after.
        image: its image, folded; None where it is unknown.
        member: number of the capture; `join_processes` sets it.
    """

    row: dict[str, Any]
    first_ns: int | None = None
    last_ns: int | None = None
    earliest_ns: int = -_ALWAYS
    latest_ns: int = _ALWAYS
    image: str | None = field(init=False)
    member: int = -1

    def __post_init__(self) -> None:
        image = self.row["image"]
        self.image = None if image is None else fold_name(image)

    def known(self) -> tuple[int, int] | None:
        """The span in which it is known to have lived; None where no time is known."""
        times = [self.row["start_ns"], self.row["end_ns"], self.first_ns, self.last_ns]
        some = [time for time in times if time is not None]
        return (min(some), max(some)) if some else None


def join_processes(
    lives: Sequence[Sequence[Life]], shared_rows: Sequence[tuple[int, int]] = ()
) -> tuple[pa.Table, list[NDArray[np.int32]]]:
    """Return the table `processes` of all captures, and for each the new process_id of each of its processes.

    Args:
        lives: the processes of each capture, in the order of their process_id.
        shared_rows: pairs of processes, numbered through all captures, that two sources name for one operation.
    """
    every = [life for member in lives for life in member]
    for number, member in enumerate(lives):
        for life in member:
            life.member = number
    group = _Groups(len(every))
    starts: dict[tuple[int, str, int], int] = {}
    by_pid: dict[int, list[int]] = {}
    for number, life in enumerate(every):
        pid, start_ns = life.row["pid"], life.row["start_ns"]
        if pid is None or life.image is None:
            continue
        by_pid.setdefault(pid, []).append(number)
        if start_ns is not None:
            group.join(number, starts.setdefault((pid, life.image, start_ns), number))
    for numbers in by_pid.values():
        if len({every[number].member for number in numbers}) > 1:
            _bound(every, numbers)
            for one, other in _twins(every, numbers, group):
                group.join(one, other)
    for one, other in _proved(every, shared_rows):
        group.join(one, other)
    return _table(every, group, [len(member) for member in lives])


class _Groups:
    """Which processes are one: each group is called by its lowest number."""

    def __init__(self, size: int) -> None:
        self.of = list(range(size))

    def join(self, one: int, other: int) -> None:
        one, other = self.find(one), self.find(other)
        self.of[max(one, other)] = min(one, other)

    def find(self, number: int) -> int:
        while self.of[number] != number:
            number = self.of[number]
        return number


def _bound(every: Sequence[Life], numbers: Iterable[int]) -> None:
    """Note between which times each of the processes of one id can have lived."""
    for number in numbers:
        life = every[number]
        start_ns, end_ns = life.row["start_ns"], life.row["end_ns"]
        own = [every[other] for other in numbers if every[other].member == life.member and other != number]
        known = life.known()
        before = [span[1] for other in own if (span := other.known()) and known and span[1] <= known[0]]
        after = [span[0] for other in own if (span := other.known()) and known and span[0] >= known[1]]
        life.earliest_ns = start_ns if start_ns is not None else max(before, default=-_ALWAYS)
        life.latest_ns = end_ns if end_ns is not None else min(after, default=_ALWAYS)


def _twins(every: Sequence[Life], numbers: Sequence[int], group: _Groups) -> list[tuple[int, int]]:
    """Return the pairs of which each is the only one that fits the other in its capture."""
    fitting: dict[int, dict[int, set[int]]] = {number: {} for number in numbers}
    for place, one in enumerate(numbers):
        for other in numbers[place + 1 :]:
            if every[one].member != every[other].member and _fit(every[one], every[other]):
                fitting[one].setdefault(every[other].member, set()).add(group.find(other))
                fitting[other].setdefault(every[one].member, set()).add(group.find(one))
    pairs = []
    for one in numbers:
        for others in fitting[one].values():
            other = next(iter(others))
            if len(others) == 1 and len(fitting[other].get(every[one].member, ())) == 1:
                pairs.append((one, other))
    return pairs


def _proved(every: Sequence[Life], shared_rows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return processes without an image, each with the one that rows prove it to be."""
    partners: dict[int, set[int]] = {}
    for one, other in shared_rows:
        partners.setdefault(one, set()).add(other)
        partners.setdefault(other, set()).add(one)
    alike = Counter((life.member, life.row["pid"]) for life in every)
    pairs = []
    for one, others in partners.items():
        other = next(iter(others))
        rival = every[other]
        is_only = len(others) == 1 and alike[rival.member, rival.row["pid"]] == 1
        if every[one].image is None and rival.image is not None and is_only:
            pairs.append((one, other))
    return pairs


def _fit(one: Life, other: Life) -> bool:
    short, long = sorted((one.image or "", other.image or ""), key=len)
    if short != long and not (len(short) == _KEPT_CHARACTERS and long.startswith(short)):
        return False
    for life, rival in ((one, other), (other, one)):
        span = life.known()
        if span is None or span[0] < rival.earliest_ns - SLACK_NS or span[1] > rival.latest_ns + SLACK_NS:
            return False
    return True


def _table(
    every: Sequence[Life], group: _Groups, sizes: Sequence[int]
) -> tuple[pa.Table, list[NDArray[np.int32]]]:
    heads = [group.find(number) for number in range(len(every))]
    numbers = {head: place for place, head in enumerate(dict.fromkeys(heads))}
    new = np.array([numbers[head] for head in heads], np.int32)
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    rows: list[dict[str, Any]] = [{} for _ in numbers]
    spellings: list[tuple[str, str]] = []
    for number, life in enumerate(every):
        row, parent = dict(life.row), life.row["parent_id"]
        row["process_id"] = int(new[number])
        row["parent_id"] = None if parent is None else int(new[begins[life.member] + parent])
        into = rows[row["process_id"]]
        if not into:
            into |= row
            continue
        if row["image_path"] and into["image_path"] and row["image_path"] != into["image_path"]:
            spellings.append((into["image_path"], row["image_path"]))
        if is_surer(row.get("dos_path_source"), into.get("dos_path_source")):
            into["dos_path"], into["dos_path_source"] = row["dos_path"], row["dos_path_source"]
        longer = row["image"] and len(row["image"]) > len(into["image"] or "")
        into |= {name: value for name, value in row.items() if into.get(name) is None}
        if longer:
            into["image"] = row["image"]
        if into["source"] == "none":
            into["source"] = row["source"]
    for row in rows:
        if row["parent_id"] == row["process_id"]:
            row["parent_id"] = None
    table = with_dos_paths(from_rows(rows, PROCESSES.arrow()), other_paths=spellings)
    return table, np.split(new, begins[1:-1])
