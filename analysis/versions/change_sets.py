"""Change sets: the changes of one capture, grouped by process tree and pause.

The rule: changes of one tree of processes (`analysis.versions.trees`), in order, with no pause between one and the next that
is longer than `pause_ns`. Changes of which nobody knows who made them are a tree of their own. Every change is in
one change set, whatever is asked for later.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.questions.context import QueryContext
from analysis.versions.change_rows import ChangeRows, Numbers, change_rows
from analysis.versions.trees import roots_of
from tracer.errors import UsageError

__all__ = ["ChangeSets", "Grouping", "change_sets"]

PAUSE_NS = 2_000_000_000
_LONGEST_S = 366 * 86_400
BY = ("tree", "process")


@dataclass(frozen=True, slots=True)
class Grouping:
    """How changes are grouped.

    Attributes:
        pause_ns: the longest pause within a change set, nanoseconds.
        by: "tree", or "process": each process by itself.
    """

    pause_ns: int = PAUSE_NS
    by: str = BY[0]

    @classmethod
    def of(cls, pause_s: float, by: str) -> "Grouping":
        """Return the grouping of a pause in seconds.

        Raises:
            UsageError: the pause is no length of time, or there is no such word.
        """
        if not 0 <= pause_s <= _LONGEST_S:
            raise UsageError(f"a pause of {pause_s} s is out of range; give seconds, from 0 to a year")
        return cls(round(pause_s * 1_000_000_000), by)

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise UsageError(f"{self.by!r} is no grouping of changes; use {' or '.join(BY)}")


@dataclass(frozen=True, slots=True)
class ChangeSets:
    """The change sets of a capture, in the order of their first changes.

    Attributes:
        rows: the changes, ordered by change set and sequence.
        starts: where in `rows` each change set begins; one number more than there are sets, the last the number of rows.
        roots: process_id of the root of each; -1 where nobody knows who it was.
        processes: the processes of the capture, by process_id.
    """

    rows: ChangeRows
    starts: Numbers
    roots: Numbers
    processes: Mapping[int, Mapping[str, Any]]

    def __len__(self) -> int:
        return len(self.roots)

    def places(self, number: int) -> slice:
        """Return the places in `rows` of the changes of one set."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    def numbers(self) -> Numbers:
        """Return the number of the set of each row."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def process_ids(self, number: int) -> list[int]:
        """Return who made changes of one set, in the order of their first; -1 for nobody knows who."""
        found: list[int] = self.rows.process_id[self.places(number)].tolist()
        return list(dict.fromkeys(found))


def change_sets(context: QueryContext, grouping: Grouping) -> ChangeSets:
    """Return the change sets of one capture."""
    rows = change_rows(context)
    names = ("process_id", "parent_id", "start_ns", "image", "pid", "user", "command_line")
    listed = context.engine.fetch(context.relation("processes").select(*names)).to_pylist()
    processes = {row["process_id"]: row for row in listed}
    people, place = np.unique(rows.process_id, return_inverse=True)
    if grouping.by == "tree":
        changers = {int(one) for one in people if one >= 0}
        # Of the capture itself: beside others of a dataset the span of a context is that of all.
        first_ns = min((part["first_ns"] for part in context.manifest.parts), default=0)
        found = roots_of(processes.values(), changers, first_ns)
        people = np.array([found.get(int(one), int(one)) for one in people], np.int64)
    root = people[place]
    order = np.lexsort((rows.sequence, root))
    ordered = rows.taken(order)
    root = root[order]
    is_first = np.ones(len(root), bool)
    is_first[1:] = (root[1:] != root[:-1]) | (np.diff(ordered.time_ns) > grouping.pause_ns)
    starts = np.flatnonzero(is_first)
    return _by_first_change(ordered, starts, root[starts], processes)


def _by_first_change(
    rows: ChangeRows, starts: Numbers, roots: Numbers, processes: Mapping[int, Mapping[str, Any]]
) -> ChangeSets:
    """Return change sets in the order of their first changes."""
    lengths = np.diff(np.append(starts, len(rows.sequence)))
    order = np.argsort(rows.sequence[starts], kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    by_set = np.argsort(np.repeat(rank, lengths), kind="stable")
    ends = np.cumsum(lengths[order])
    return ChangeSets(
        rows.taken(by_set), np.concatenate([np.zeros(1, np.int64), ends]), roots[order], processes
    )
