"""Lifetimes of a batch's objects: each use or opening of an object is a touch, each lifetime a run of sorted touches.

Sorted by (object, row), the touches of one object stand together in time order:

    life     from an opening (or a first use that nothing explains) to the next
    binding  a stretch of a life with one name: from the opening, or from a record that carried a path
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import stable_argsort
from tracer.resolve.object_ops import GRACE_NS, NO_NAME, ObjectOps

__all__ = [
    "CARRIED",
    "GIVEN",
    "NEVER",
    "OPENED",
    "UNSEEN",
    "FindLifetimes",
    "Lifetimes",
    "find_lifetimes",
    "list_touches",
]

Column = NDArray[np.int64]
Marks = NDArray[np.bool_]
OPENED, GIVEN, UNSEEN, CARRIED = range(4)  # kinds of binding
NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """The touches of a batch by (slot, row), and the runs they form.

    Attributes:
        slot: of the object touched.
        row: that touches it.
        makes: whether the row's opening made the object; else the row uses it.
        first: whether it is the first touch of its slot.
        closes: whether the use closes the object.
        given_path: number of the path that the use carries; NO_NAME where none.
        time: of the row, UTC nanoseconds.
        starts: whether a life begins here.
        unseen: whether that life's opening was not seen.
        after_close: whether a close of this life came before.
        ends: whether this is the life's first close.
        life_at: where each life begins, those carried over from the batch before included.
        life: which life each touch belongs to.
        binding_at: where each binding begins.
        binding: which binding each touch belongs to.
        kind: of each binding.
    """

    slot: Column
    row: Column
    makes: Marks
    first: Marks
    closes: Marks
    given_path: NDArray[np.int32]
    time: Column
    starts: Marks
    unseen: Marks
    after_close: Marks
    ends: Marks
    life_at: Column
    life: Column
    binding_at: Column
    binding: Column
    kind: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.slot)

    @property
    def carried(self) -> Marks:
        """Whether each touch is the first of a life that the batch before began."""
        return self.first & ~self.starts


# The batch, its touches in row order (`list_touches`), their slots, which slots are alive, when each was closed.
FindLifetimes = Callable[[ObjectOps, Column, Column, Marks, Column], Lifetimes]


def list_touches(ops: ObjectOps) -> tuple[Column, NDArray[np.uint64]]:
    """Return the touches of a batch in row order, a row's use before what it makes, and the object of each.

    A touch is 2 * row, or 2 * row + 1 where the row made the object.
    """
    objects = np.empty(2 * len(ops), np.uint64)
    objects[0::2], objects[1::2] = ops.address, ops.opened_object
    code = np.flatnonzero(objects != 0)
    return code, objects.take(code)


def find_lifetimes(ops: ObjectOps, code: Column, slot: Column, alive: Marks, closed_ns: Column) -> Lifetimes:
    """Return the lives of a batch.

    Args:
        ops: the batch in time order.
        code: its touches, as `list_touches` lists them.
        slot: the slot of each one's object.
        alive: by slot, whether the object had a life when the batch began.
        closed_ns: by slot, when that was closed; NEVER where it was not.
    """
    order = stable_argsort(slot)
    slot, code = slot.take(order), code.take(order)
    row, makes = code >> 1, (code & 1).astype(bool)
    count = len(code)
    first = np.ones(count, bool)
    first[1:] = slot[1:] != slot[:-1]
    closes = ops.closes[row] & ~makes
    given_path = np.where(makes, np.int32(NO_NAME), ops.given_path[row])
    time = ops.time_ns[row]

    place = np.arange(count)
    group = np.maximum.accumulate(np.where(first, place, 0))
    alive, closed_before = alive[slot], closed_ns[slot]
    opening = np.maximum.accumulate(np.where(makes, place, -1))
    # The last close strictly before each touch.
    closing = np.full(count, -1)
    closing[1:] = np.maximum.accumulate(np.where(closes, place, -1))[:-1]
    here = closing >= np.maximum(group, opening)
    over = (closing < group) & (opening < group) & alive
    last_ns = np.where(here, time[closing], np.where(over, closed_before, NEVER))
    closed = (last_ns != NEVER) & ~makes
    expired = closed & (time - np.where(closed, last_ns, time) > GRACE_NS)
    marker = np.where(here, closing, -1)
    # Once a use began a new life, the close before it no longer concerns the uses after it.
    again = np.zeros(count, bool)
    again[1:] = expired[:-1] & (marker[1:] == marker[:-1]) & ~first[1:]
    unseen = (first & ~alive & ~makes) | (expired & ~again)
    starts = makes | unseen
    after_close = closed & ~expired

    gives_path = given_path != NO_NAME
    begins = starts | first
    binds = begins | gives_path
    at = np.flatnonzero(binds)
    kind = np.where(makes[at], OPENED, np.where(unseen[at], UNSEEN, CARRIED))
    return Lifetimes(
        slot, row, makes, first, closes, given_path, time, starts, unseen, after_close,
        # A life ends with its first close; a repeated one only moves the time from which uses are late.
        closes & ~after_close,
        np.flatnonzero(begins), np.cumsum(begins) - 1,
        at, np.cumsum(binds) - 1, np.where(gives_path[at], GIVEN, kind).astype(np.int8),
    )  # fmt: skip
