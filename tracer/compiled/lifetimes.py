"""Twin of `tracer.resolve.lifetimes`: one pass over the touches of each object."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.resolve.lifetimes import CARRIED, GIVEN, NEVER, OPENED, UNSEEN, Lifetimes
from tracer.resolve.object_ops import GRACE_NS, NO_NAME, ObjectOps

__all__ = ["find_lifetimes"]

Column = NDArray[np.int64]
Marks = NDArray[np.bool_]


class _Before(NamedTuple):
    """What is given: of each row whether it closes, the path it carries and its time; of each slot its life before."""

    closes: Marks
    given_path: NDArray[np.int32]
    time_ns: Column
    alive: Marks
    closed_ns: Column


class _Columns(NamedTuple):
    """The columns of Lifetimes, with room for as many lives and bindings as there are touches."""

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


_LONG, _MARK = np.int64, np.bool_
_KINDS = (
    _LONG, _LONG, _MARK, _MARK, _MARK, np.int32, _LONG, _MARK, _MARK, _MARK, _MARK, _LONG, _LONG, _LONG, _LONG, np.int8,
)  # fmt: skip


def find_lifetimes(
    ops: ObjectOps,
    code: NDArray[np.int64],
    slots: NDArray[np.int64],
    alive: NDArray[np.bool_],
    closed_ns: NDArray[np.int64],
) -> Lifetimes:
    """Return the lives of a batch; arguments as in `tracer.resolve.lifetimes.find_lifetimes`."""
    count = len(code)
    out = _Columns._make(np.empty(count, kind) for kind in _KINDS)
    _sort(code, slots, len(alive), out)
    before = _Before(ops.closes, ops.given_path, ops.time_ns, alive, closed_ns)
    lives, bindings = _run(before, out)
    return Lifetimes(
        **out._asdict()
        | {
            "life_at": out.life_at[:lives],
            "binding_at": out.binding_at[:bindings],
            "kind": out.kind[:bindings],
        }
    )


@kernel
def _sort(codes, slots, most, out):
    """Order touches by slot, by counting; `slots` are numbers below `most`."""
    ends = np.zeros(most + 1, np.int64)
    for at in range(len(slots)):
        ends[slots[at] + 1] += 1
    for at in range(most):
        ends[at + 1] += ends[at]
    for at in range(len(slots)):
        place = ends[slots[at]]
        ends[slots[at]] += 1
        out.slot[place], out.row[place], out.makes[place] = slots[at], codes[at] >> 1, codes[at] & 1 == 1


@kernel
def _run(before, out):
    """Fill in what each touch is; return the numbers of lives and of bindings."""
    slot, row, makes, first, closes, given_path = (
        out.slot,
        out.row,
        out.makes,
        out.first,
        out.closes,
        out.given_path,
    )
    time, starts, unseen, after_close = out.time, out.starts, out.unseen, out.after_close
    lives = bindings = 0
    closed_ns, expired_before, repeated = NEVER, False, False
    for at in range(len(slot)):
        first[at] = at == 0 or slot[at] != slot[at - 1]
        time[at] = before.time_ns[row[at]]
        alive = before.alive[slot[at]]
        if makes[at]:
            closes[at], given_path[at] = False, NO_NAME
        else:
            closes[at], given_path[at] = before.closes[row[at]], before.given_path[row[at]]
        if first[at]:
            closed_ns = before.closed_ns[slot[at]] if alive else NEVER
            repeated = False
        if makes[at]:
            closed_ns, repeated = NEVER, False
        expired = closed_ns != NEVER and time[at] - closed_ns > GRACE_NS
        again = repeated and expired_before
        unseen[at] = not makes[at] and ((first[at] and not alive) or (expired and not again))
        starts[at] = makes[at] or unseen[at]
        after_close[at] = closed_ns != NEVER and not expired
        out.ends[at] = closes[at] and not after_close[at]
        expired_before, repeated = expired, True
        if closes[at]:
            closed_ns, repeated = time[at], False  # `repeated`: the next touch has the same close before it

        begins = starts[at] or first[at]
        gives_path = given_path[at] != NO_NAME
        if begins:
            out.life_at[lives] = at
            lives += 1
        if begins or gives_path:
            out.binding_at[bindings] = at
            if gives_path:
                out.kind[bindings] = GIVEN
            elif makes[at]:
                out.kind[bindings] = OPENED
            else:
                out.kind[bindings] = UNSEEN if unseen[at] else CARRIED
            bindings += 1
        out.life[at], out.binding[at] = lives - 1, bindings - 1
    return lives, bindings
