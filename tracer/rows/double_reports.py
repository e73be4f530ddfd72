"""Double reports: operations that both registry providers reported, so that each is counted once.

Microsoft-Windows-Kernel-Registry reports an operation by a registry callback, the NT Kernel Logger from inside the
system call, so on one thread both reports lie within the call. The classic one says when the call began. The rule,
on the rows of one thread, one operation and one status, in the order of time:

1. A classic report belongs to the last report of the other provider that none belongs to yet, as a closing
   bracket to an opening one (calls made by others from inside the call come between). Its call began before that
   one, or no more than SLACK_NS after it (clocks of two sessions of one boot were seen 36 and 55 us apart).
2. Of what is left the same with the roles changed, for a classic report that came first: the other follows within
   AFTERWARDS_NS. Which of the two Windows writes first is UNCONFIRMED (a close is reported before it happens).

The status of a close is left out: the callback comes before it is known. Only classic records of version 2 say
when the call began, and only such are looked at; so are only records that name their thread. What has no
partner stays a row of its own. `tests/test_double_reports.py` states the rule as a plain loop.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.decode.batch import Operations
from tracer.decode.plans import ABSENT, OPERATION_NUMBERS, PlanTables
from tracer.etl.records import Records
from tracer.resolve.object_ops import NO_NAME, ObjectOps, Resolved
from tracer.resolve.tree import KeyTree
from tracer.rows.events import Order
from tracer.rows.row_groups import NO_DURATION

__all__ = ["AFTERWARDS_NS", "SLACK_NS", "Calls", "DoubleReports", "Pairs", "merge_reports", "reports_of"]

Column = NDArray[np.int64]
AFTERWARDS_NS = 1_000_000
SLACK_NS = 100_000
_KEPT_NS = 1_000_000_000  # how long a report waits for its partner across the border of a batch
_BY_CALLBACK, _CLASSIC = 1, 2
_REPARSE = 0x104  # STATUS_REPARSE: the callback reports each part of a path that leads through a link


@dataclass(frozen=True, slots=True)
class Calls:
    """Reports in time order, one row each.

    Attributes:
        provider: 1 by callback, 2 classic, 0 neither.
        call: operation and status as one number.
        tid: thread, -1 where unknown.
        time_ns: of the report.
        began_ns: when the call began; of classic reports only.
    """

    provider: NDArray[np.uint8]
    call: Column
    tid: Column
    time_ns: Column
    began_ns: Column

    def take(self, rows: Column | NDArray[np.bool_]) -> "Calls":
        """Return some of the rows."""
        return Calls(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows that report one operation: `by_callback` (-1: a row of an earlier batch) and `classic`.

    `alone` are the rows that have no partner so far though their kind has.
    """

    by_callback: Column
    classic: Column
    alone: int


def _kinds() -> NDArray[np.uint8]:
    """Return, by plan, which of the two providers reports a call by it."""
    t = PlanTables
    both = set(t.operation[~t.classic].tolist()) & set(t.operation[t.classic].tolist())
    both -= {ABSENT, OPERATION_NUMBERS["HiveWork"]}
    shared = np.isin(t.operation, list(both))
    timed = t.offsets["InitialTime"] >= 0
    return np.where(shared & ~t.classic, _BY_CALLBACK, np.where(shared & timed, _CLASSIC, 0)).astype(np.uint8)


_KINDS = _kinds()
_CLOSE = OPERATION_NUMBERS["CloseKey"]


def reports_of(records: Records, operations: Operations, order: Order, duration_ns: Column | None) -> Calls:
    """Return the columns that the rule looks at, in time order; `duration_ns` is of classic rows, as decoded."""
    rows, plan = operations.rows[order], operations.plan[order]
    operation = PlanTables.operation[plan].astype(np.int64)
    status = np.where(operation == _CLOSE, 0, operations.fields["Status"][order].astype(np.int64))
    tid, time_ns = records.tid[rows], records.time_ns[rows]
    provider = np.where(tid >= 0, _KINDS[plan], 0).astype(np.uint8)
    took = np.zeros(len(rows), np.int64)
    if duration_ns is not None:
        took = np.where(duration_ns[order] == NO_DURATION, 0, duration_ns[order])
    return Calls(provider, operation << 32 | status, tid, time_ns, time_ns - took)


def merge_reports(
    pairs: Pairs,
    operations: Operations,
    order: Order,
    duration_ns: Column | None,
    ops: ObjectOps,
    resolved: Resolved,
    tree: KeyTree,
) -> NDArray[np.bool_]:
    """Give the rows that stay what only their partners say; return which rows go, in decoded order."""
    place = np.arange(len(operations))[order]
    repeated = np.zeros(len(operations), bool)
    repeated[place[pairs.classic]] = True
    here = pairs.by_callback >= 0
    callback, classic = pairs.by_callback[here], pairs.classic[here]
    if duration_ns is not None:
        duration_ns[place[callback]] = duration_ns[place[classic]]
    # Where neither asks for a name, the key of both is that of the object they use.
    same = (ops.requested_path[callback] == NO_NAME) & (ops.requested_path[classic] == NO_NAME)
    same &= ~resolved.across_loss[callback] & ~resolved.across_loss[classic]
    keys = np.stack([resolved.key[callback[same]], resolved.key[classic[same]]], axis=1)
    for one, other in np.unique(keys[(keys >= 0).all(axis=1)], axis=0).tolist():
        tree.same_key(one, other)
    return repeated


class DoubleReports:
    """Finds double reports batch by batch; a report may find its partner in the batch before."""

    def __init__(self) -> None:
        self._waiting: Calls | None = None

    def find(self, calls: Calls) -> Pairs:
        """Return the pairs of a batch in time order."""
        rows = np.flatnonzero(calls.provider)
        mine = calls.take(rows)
        waiting = self._waiting if self._waiting is not None else mine.take(rows[:0])
        rows = np.concatenate([np.full(len(waiting.tid), -1), rows])
        both = Calls(
            *(np.concatenate([getattr(waiting, name), getattr(mine, name)]) for name in mine.__slots__)
        )
        classic = both.provider == _CLASSIC
        group = _groups(both)
        first, second = _brackets(group, ~classic)
        right = both.time_ns[first] >= both.began_ns[second] - SLACK_NS
        callback, system = [first[right]], [second[right]]
        free = np.ones(len(rows), bool)
        free[np.concatenate([first[right], second[right]])] = False
        left = np.flatnonzero(free & (rows >= 0))
        first, second = (left[side] for side in _brackets(group[left], classic[left]))
        right = both.time_ns[second] - both.time_ns[first] <= AFTERWARDS_NS
        callback.append(second[right])
        system.append(first[right])
        free[np.concatenate([first[right], second[right]])] = False
        self._wait(both, free & ~classic)
        alone = free & (rows >= 0) & (both.call & 0xFFFFFFFF != _REPARSE)
        return Pairs(rows[np.concatenate(callback)], rows[np.concatenate(system)], int(alone.sum()))

    def _wait(self, calls: Calls, free: NDArray[np.bool_]) -> None:
        last = int(calls.time_ns.max(initial=0))
        self._waiting = calls.take(free & (calls.time_ns >= last - _KEPT_NS))


def _groups(calls: Calls) -> Column:
    """Return a number for each thread and call."""
    kinds, call = np.unique(calls.call, return_inverse=True)
    groups: Column = calls.tid * max(len(kinds), 1) + call
    return groups


def _brackets(group: Column, opens: NDArray[np.bool_]) -> tuple[Column, Column]:
    """Return which closing row ends which opening one, as brackets do, each group for itself.

    A closing row without an open one before it closes nothing. Rows of a group stand in their order.
    """
    size = len(group)
    order = np.argsort(group, kind="stable")
    ordered, opening = group[order], opens[order]
    begins = np.ones(size, bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    number = np.cumsum(begins) - 1
    step = np.where(opening, 1, -1)
    total = np.cumsum(step)
    total -= (total - step)[begins][number]
    # How far the sum went below 0 is how many closing rows had nothing to close. Groups lie far below each other.
    far = (size + 1) * number
    lowest = np.minimum.accumulate(np.minimum(total - far, -far)) + far
    depth = total - lowest
    before = np.where(begins, 0, np.roll(depth, 1))
    matters = np.flatnonzero(opening | (before > 0))
    level = far[matters] + np.where(opening, depth, before)[matters]
    by_level = matters[np.argsort(level, kind="stable")]
    level = np.sort(level, kind="stable")
    pair = np.flatnonzero((level[1:] == level[:-1]) & opening[by_level[:-1]] & ~opening[by_level[1:]])
    return order[by_level[pair]], order[by_level[pair + 1]]
