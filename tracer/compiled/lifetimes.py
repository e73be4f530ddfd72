"""Twin of `tracer.resolve.lifetimes`: one pass over the touches of each object."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.resolve.lifetimes import CARRIED, NEVER, OPENED, TAUGHT, UNSEEN, Lives
from tracer.resolve.object_ops import GRACE_NS, NO_NAME, Touches

__all__ = ["find_lives"]


def find_lives(
    touches: Touches,
    number: Callable[[NDArray[np.uint64]], NDArray[np.int64]],
    state: Callable[[], tuple[NDArray[np.bool_], NDArray[np.int64]]],
) -> Lives:
    """Return the lives of a batch; arguments as in `tracer.resolve.lifetimes.find_lives`."""
    codes, objects = _list(touches.address, touches.opened)
    slots = number(objects)
    alive, closed_ns = state()
    count = len(codes)
    slot, row, time, life, binding = (np.empty(count, np.int64) for _ in range(5))
    makes, first, closes, starts, unseen, after_close, ends = (np.empty(count, np.bool_) for _ in range(7))
    taught, kind = np.empty(count, np.int32), np.empty(count, np.int8)
    life_at, binding_at = np.empty(count, np.int64), np.empty(count, np.int64)
    _sort(codes, slots, len(alive), slot, row, makes)
    lives, bindings = _run(
        touches.closes, touches.taught, touches.time_ns, alive, closed_ns,
        slot, row, makes, first, closes, taught, time, starts, unseen, after_close, ends,
        life_at, life, binding_at, binding, kind,
    )  # fmt: skip
    return Lives(
        slot, row, makes, first, closes, taught, time, starts, unseen, after_close, ends,
        life_at[:lives], life, binding_at[:bindings], binding, kind[:bindings],
    )  # fmt: skip


@kernel
def _list(address, opened):
    """List the objects touched in row order, each with 2 * row, or 2 * row + 1 where the row made it."""
    count = 0
    for row in range(len(address)):
        count += (address[row] != 0) + (opened[row] != 0)
    codes, objects = np.empty(count, np.int64), np.empty(count, np.uint64)
    at = 0
    for row in range(len(address)):
        if address[row] != 0:
            codes[at], objects[at] = row << 1, address[row]
            at += 1
        if opened[row] != 0:
            codes[at], objects[at] = row << 1 | 1, opened[row]
            at += 1
    return codes, objects


@kernel
def _sort(codes, slots, most, slot, row, makes):
    """Order touches by slot, by counting; `slots` are numbers below `most`."""
    ends = np.zeros(most + 1, np.int64)
    for at in range(len(slots)):
        ends[slots[at] + 1] += 1
    for at in range(most):
        ends[at + 1] += ends[at]
    for at in range(len(slots)):
        place = ends[slots[at]]
        ends[slots[at]] += 1
        slot[place], row[place], makes[place] = slots[at], codes[at] >> 1, codes[at] & 1 == 1


@kernel
def _run(
    row_closes, row_taught, row_time, slot_alive, slot_closed_ns,
    slot, row, makes, first, closes, taught, time, starts, unseen, after_close, ends,
    life_at, life, binding_at, binding, kind,
):  # fmt: skip
    """Fill in what each touch is; return the numbers of lives and of bindings."""
    lives = bindings = 0
    closed_ns, expired_before, repeated = NEVER, False, False
    for at in range(len(slot)):
        first[at] = at == 0 or slot[at] != slot[at - 1]
        time[at] = row_time[row[at]]
        alive = slot_alive[slot[at]]
        if makes[at]:
            closes[at], taught[at] = False, NO_NAME
        else:
            closes[at], taught[at] = row_closes[row[at]], row_taught[row[at]]
        if first[at]:
            closed_ns = slot_closed_ns[slot[at]] if alive else NEVER
            repeated = False
        if makes[at]:
            closed_ns, repeated = NEVER, False
        expired = closed_ns != NEVER and time[at] - closed_ns > GRACE_NS
        again = repeated and expired_before
        unseen[at] = not makes[at] and ((first[at] and not alive) or (expired and not again))
        starts[at] = makes[at] or unseen[at]
        after_close[at] = closed_ns != NEVER and not expired
        ends[at] = closes[at] and not after_close[at]
        expired_before, repeated = expired, True
        if closes[at]:
            closed_ns, repeated = time[at], False  # `repeated`: the next touch has the same close before it

        begins = starts[at] or first[at]
        teaches = taught[at] != NO_NAME
        if begins:
            life_at[lives] = at
            lives += 1
        if begins or teaches:
            binding_at[bindings] = at
            if teaches:
                kind[bindings] = TAUGHT
            elif makes[at]:
                kind[bindings] = OPENED
            else:
                kind[bindings] = UNSEEN if unseen[at] else CARRIED
            bindings += 1
        life[at], binding[at] = lives - 1, bindings - 1
    return lives, bindings
