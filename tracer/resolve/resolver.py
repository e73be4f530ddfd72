"""The fast resolver: objects to keys for a whole batch, by sorting instead of stepping.

The lives and bindings of a batch (`tracer.resolve.lifetimes`) get their names here, and rows get those of their
binding. The state between batches is one slot an address. `tracer.resolve.sequential` says the same row by row.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import stable_argsort
from tracer.resolve.handles import HandleLog
from tracer.resolve.int_map import IntMap
from tracer.resolve.lifetimes import (
    CARRIED,
    GIVEN,
    NEVER,
    OPENED,
    UNSEEN,
    FindLifetimes,
    find_lifetimes,
    list_touches,
)
from tracer.resolve.losses import LossTimes
from tracer.resolve.names import ACROSS_LOSS, DOUBTFUL, Bindings, KeyNumbers, NameRequests
from tracer.resolve.object_ops import (
    DEFERRED,
    EVENT,
    GRACE_NS,
    NO_NAME,
    OPEN,
    RUNDOWN,
    SEED,
    ObjectOps,
    Resolved,
)
from tracer.resolve.tree import KeyTree
from tracer.resolve.tree_copy import copy_node

__all__ = ["NUMPY", "ResolveKernels", "Resolver"]

Column = NDArray[np.int64]
_ROOMY = 50_000  # addresses below which none is forgotten


@dataclass(slots=True)
class _Slots:
    """What is known of every address at the end of a batch; one slot an address met so far."""

    alive: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    key: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    handle: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    source: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    closed_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    evidence_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    tainted: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def grow(self, size: int) -> None:
        for name in self.__dataclass_fields__:
            old = getattr(self, name)
            if len(old) < size:
                new = np.zeros(max(size, 2 * len(old)), old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Drop the other slots; those kept move together."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name)[: len(kept)][kept])


@dataclass(frozen=True, slots=True)
class ResolveKernels:
    """The loops that resolving consists of, in one form.

    Attributes:
        key_tree: the tree of keys.
        key_numbers: what names rows; it has to suit the tree.
        int_map: what looks addresses up.
        find_lifetimes: sorts touches into lives (`tracer.resolve.lifetimes.find_lifetimes`).
    """

    key_tree: type[KeyTree]
    key_numbers: type[KeyNumbers]
    int_map: type[IntMap]
    find_lifetimes: FindLifetimes


NUMPY = ResolveKernels(KeyTree, KeyNumbers, IntMap, find_lifetimes)


class Resolver:
    """Resolves batches in time order.

    Args:
        tree: where keys are made.
        texts: escaped names by number; it may grow between batches.
        losses: times at which events were lost, for the flag across_loss.
        kernels: the loops to use; `tree` is made by its `key_tree`.
    """

    def __init__(
        self,
        tree: KeyTree,
        texts: list[str],
        losses: LossTimes | None = None,
        kernels: ResolveKernels = NUMPY,
    ) -> None:
        self.tree = tree
        self._kernels = kernels
        self._keys = kernels.key_numbers(tree, texts)
        self._losses = losses if losses is not None else LossTimes([])
        self._slot_of = kernels.int_map()
        self._slots = _Slots()
        self._next_handle = 0
        self.handles = HandleLog()
        self.seed_conflicts = 0
        self._roomy = _ROOMY
        self._doubts = False  # whether any name so far could be read in another way
        self.rows_done = 0

    def seed(self, addresses: list[int], paths: list[str], time_ns: int) -> None:
        """Name objects that were open before the first batch; `paths` are native and escaped."""
        slots = self._number(np.array(addresses, np.uint64))
        state = self._slots
        for slot, address, path in zip(slots.tolist(), addresses, paths, strict=True):
            state.alive[slot], state.key[slot], state.source[slot] = True, self.tree.rooted(path, -1), SEED
            state.handle[slot], state.closed_ns[slot] = self._next_handle, NEVER
            state.evidence_ns[slot] = time_ns
            self.handles.seed(slot, self._next_handle, address, int(state.key[slot]))
            self._next_handle += 1

    def resolve(self, ops: ObjectOps) -> Resolved:
        """Return keys, handles and name sources of a batch in time order."""
        self._keys.settle()
        self._doubts = self._doubts or bool(ops.doubtful.any())
        resolved = _Batch(self, ops).resolve()
        self.rows_done += len(ops)
        if len(self._slot_of) > self._roomy and len(ops):
            self._forget(int(ops.time_ns[-1]))
        return resolved

    def path_of(self, address: int, time_ns: int) -> str | None:
        """Return the path that a use of the object at `time_ns`, after all rows so far, would find it to have.

        None where nothing proves one: no life, or one closed too long ago; no root; a doubtful record or a loss.
        """
        state = self._slots
        slot = int(self._slot_of.get(np.array([address], np.uint64).view(np.int64))[0])
        if slot < 0 or not state.alive[slot] or state.tainted[slot]:
            return None
        if state.closed_ns[slot] != NEVER and time_ns - state.closed_ns[slot] > GRACE_NS:
            return None
        if self._losses and self._losses.between(state.evidence_ns[[slot]], np.array([time_ns]))[0]:
            return None
        return self.tree.path(int(state.key[slot]))

    def compact(self, tree: KeyTree, texts: list[str], now_ns: int) -> None:
        """Forget everything but the objects that are open, with their names and their evidence.

        What was seen of keys and names only grows, so a reader that goes on for hours compacts from time to time.

        Args:
            tree: an empty tree, where keys are made from now on.
            texts: escaped names by number from now on.
            now_ns: time of the last row; objects closed long before it are forgotten as well.
        """
        self._forget(now_ns)
        state, addresses = self._slots, self._slot_of.keys()
        copied: dict[int, int] = {}
        for slot in np.flatnonzero(state.alive[: len(addresses)]).tolist():
            address = int(addresses[slot]) & (1 << 64) - 1
            state.key[slot] = copy_node(self.tree, tree, int(state.key[slot]), address, copied)
        self.tree, self._keys, self.rows_done = tree, self._kernels.key_numbers(tree, texts), 0

    def _forget(self, now_ns: int) -> None:
        """Let go of addresses whose object was closed too long ago to matter; memory follows what is open."""
        state, count = self._slots, len(self._slot_of)
        closed = state.closed_ns[:count]
        kept = (closed == NEVER) | (now_ns - closed <= GRACE_NS)
        self.handles.forget(kept)
        state.keep(kept)
        addresses = self._slot_of.keys()[kept]
        self._slot_of.clear()
        self._slot_of.number(addresses)
        self._roomy = max(2 * len(self._slot_of), _ROOMY)

    def _number(self, addresses: NDArray[np.uint64]) -> Column:
        """Return the slot of each address, made if new."""
        slots = self._slot_of.number(addresses.view(np.int64))
        self._slots.grow(len(self._slot_of))
        self.handles.grow(len(self._slot_of))
        return slots

    def _new_handles(self, count: int) -> int:
        first = self._next_handle
        self._next_handle += count
        return first


class _Batch:
    """One batch on its way."""

    def __init__(self, resolver: Resolver, ops: ObjectOps) -> None:
        self.resolver, self.t, self.state = resolver, ops, resolver._slots
        self.size = len(ops)
        code, objects = list_touches(ops)
        slot = resolver._number(objects)
        find_lifetimes = resolver._kernels.find_lifetimes
        self.lifetimes = find_lifetimes(ops, code, slot, self.state.alive, self.state.closed_ns)
        self.uses = np.flatnonzero(~self.lifetimes.makes)

    def resolve(self) -> Resolved:
        self._number_handles()
        row_key, row_source, row_tainted = self._name()
        out = self._result(row_key, row_source, row_tainted)
        self._keep()
        return out

    def _number_handles(self) -> None:
        at = self.lifetimes.life_at
        new = np.flatnonzero(self.lifetimes.starts[at])
        begins = at.take(new)
        order = stable_argsort(self.lifetimes.row.take(begins) * 2 + self.lifetimes.makes.take(begins))
        handle = np.empty(len(at), np.int64)
        handle[new[order]] = self.resolver._new_handles(len(new)) + np.arange(len(new))
        old = np.flatnonzero(~self.lifetimes.starts[at])
        handle[old] = self.state.handle[self.lifetimes.slot[at[old]]]
        self.life_handle = handle

    def _name(self) -> tuple[NDArray[np.int32], NDArray[np.int8], NDArray[np.uint8]]:
        """Give every binding its key, then every row; openings that rest on openings take several rounds."""
        t, state, keys = self.t, self.state, self.resolver._keys
        at, kind = self.lifetimes.binding_at, self.lifetimes.kind
        count = len(at)
        self.bindings = Bindings(
            np.full(count, -1, np.int32), np.full(count, DEFERRED, np.int8), np.zeros(count, np.uint8)
        )
        self.evidence_ns = self.lifetimes.time[at]  # when what names each binding was recorded
        carried = np.flatnonzero(kind == CARRIED)
        slot = self.lifetimes.slot[at[carried]]
        self._know(carried, state.key[slot], state.source[slot], state.tainted[slot])
        self.evidence_ns[carried] = state.evidence_ns[slot]
        given = np.flatnonzero(kind == GIVEN)
        if len(given):
            teachers = self.lifetimes.row[at[given]]
            self._know(
                given,
                keys.rooted(self.lifetimes.given_path[at[given]], self._mentions(teachers, 0)),
                np.where(t.rundown[teachers], RUNDOWN, OPEN),
                t.doubtful[teachers] * DOUBTFUL,
            )
        self._name_unseen()

        # Which binding each row's own object has, at the row, and which one it made.
        self.row_binding, made_binding = np.full(self.size, -1), np.full(self.size, -1)
        uses = self.uses
        self.row_binding[self.lifetimes.row.take(uses)] = self.lifetimes.binding.take(uses)
        opened = np.flatnonzero(kind == OPENED)
        made_binding[self.lifetimes.row[at[opened]]] = opened
        row_key = np.full(self.size, -1, np.int32)
        row_source = np.full(self.size, DEFERRED, np.int8)
        row_tainted = t.doubtful * DOUBTFUL
        asking = t.requested_path != NO_NAME
        rows = np.flatnonzero(asking)
        absolute = rows[keys.is_absolute(t.requested_path.take(rows))]
        if len(absolute):
            row_key[absolute] = keys.rooted(t.requested_path[absolute], self._mentions(absolute, 1))
        base = self.row_binding[rows]
        requests = NameRequests(
            t.requested_path[rows], base, made_binding[rows], self._is_own(rows), self._is_across(rows, base),
            self._mentions(rows, 1), row_key[rows], row_source[rows], row_tainted[rows],
        )  # fmt: skip
        keys.name(requests, self.bindings)
        row_key[rows], row_source[rows], row_tainted[rows] = requests.key, requests.source, requests.tainted
        rows = np.flatnonzero(~asking & (self.row_binding >= 0))
        self._name_as_base(rows, row_key, row_source, row_tainted)
        self._name_later()
        return row_key, row_source, row_tainted

    def _know(
        self,
        which: Column,
        key: NDArray[np.int32],
        source: NDArray[np.int8],
        tainted: NDArray[np.uint8],
    ) -> None:
        bindings = self.bindings
        bindings.key[which], bindings.source[which], bindings.tainted[which] = key, source, tainted

    def _is_own(self, rows: Column) -> NDArray[np.bool_]:
        """Return whether each record carried the path of its own object."""
        return (self.t.given_path[rows] != NO_NAME) & ~self.t.rundown[rows]

    def _is_across(self, rows: Column, binding: Column) -> NDArray[np.bool_]:
        """Return whether a loss lies between each row and what names its binding."""
        if not self.resolver._losses or not len(self.evidence_ns):
            return np.zeros(len(rows), bool)
        return self.resolver._losses.between(self.evidence_ns[binding], self.t.time_ns[rows])

    def _mentions(self, rows: Column, which: int) -> Column:
        """Number the places of names, so that the first spelling in time order is the one shown."""
        return (self.resolver.rows_done + rows) * 2 + which

    def _name_unseen(self) -> None:
        """Give lives that nothing explains an unnamed node."""
        tree, at, kind = self.resolver.tree, self.lifetimes.binding_at, self.lifetimes.kind
        unseen = np.flatnonzero(kind == UNSEEN)
        if len(unseen):
            rank = np.argsort(self.lifetimes.row[at[unseen]], kind="stable")
            unseen = unseen[rank]
            addresses = self.t.address[self.lifetimes.row[at[unseen]]].tolist()
            self.bindings.key[unseen] = [tree.unnamed(address) for address in addresses]
        given = np.flatnonzero(kind == GIVEN)
        seeded = given[self.lifetimes.carried[self.lifetimes.life_at[self.lifetimes.life[at[given]]]]]
        slots = self.lifetimes.slot[at[seeded]]
        conflict = (self.state.source[slots] == SEED) & (self.state.key[slots] != self.bindings.key[seeded])
        self.resolver.seed_conflicts += int(conflict.sum())

    def _name_later(self) -> None:
        """Bind the unrooted key that an object had until a record carried its path."""
        tree, at, key = self.resolver.tree, self.lifetimes.binding_at, self.bindings.key
        given = np.flatnonzero(self.lifetimes.kind == GIVEN)
        given = given[~self.lifetimes.starts[at[given]]]  # else nothing used the object before
        given = given[
            ~self.t.doubtful[self.lifetimes.row[at[given]]]
        ]  # earlier rows could not be told of the doubt
        before = np.where(
            self.lifetimes.carried[at[given]], self.state.key[self.lifetimes.slot[at[given]]], key[given - 1]
        )
        known = before >= 0
        given, before = given[known], before[known]
        if len(given):
            unrooted = np.frombuffer(tree.unrooted, np.uint8)[before] != 0
            given, before = given[unrooted], before[unrooted]
            for place in np.argsort(self.lifetimes.row[at[given]], kind="stable").tolist():
                source = "rundown" if self.t.rundown[self.lifetimes.row[at[given[place]]]] else "later"
                tree.bind(int(before[place]), int(key[given[place]]), source)

    def _name_as_base(
        self, rows: Column, key: NDArray[np.int32], source: NDArray[np.int8], tainted: NDArray[np.uint8]
    ) -> None:
        """Name rows that ask for nothing as their own object is named."""
        binding, bindings = self.row_binding[rows], self.bindings
        own = self._is_own(rows)
        key[rows] = bindings.key.take(binding)
        source[rows] = np.where(own, EVENT, bindings.source.take(binding))
        if self.resolver._doubts:
            tainted[rows] |= bindings.tainted[binding] & DOUBTFUL
        if self.resolver._losses:
            across = self._is_across(rows, binding)
            tainted[rows] |= (bindings.tainted[binding] | across) & ~own & ACROSS_LOSS

    def _result(
        self, key: NDArray[np.int32], source: NDArray[np.int8], tainted: NDArray[np.uint8]
    ) -> Resolved:
        handle = np.full(self.size, -1, np.int64)
        after_close = np.zeros(self.size, bool)
        rows = self.lifetimes.row.take(self.uses)
        handle[rows] = self.life_handle.take(self.lifetimes.life.take(self.uses))
        after_close[rows] = self.lifetimes.after_close.take(self.uses)
        made = np.flatnonzero(self.lifetimes.makes)
        handle[self.lifetimes.row[made]] = self.life_handle[self.lifetimes.life[made]]
        unrooted = np.zeros(self.size, bool)
        named = np.flatnonzero(key >= 0)
        if len(named):
            unrooted[named] = np.frombuffer(self.resolver.tree.unrooted, np.uint8).take(key.take(named))
        source = np.where((key < 0) | unrooted, DEFERRED, source).astype(np.int8)
        across_loss = (tainted & ACROSS_LOSS != 0) & (source != DEFERRED)
        return Resolved(key, handle, source, after_close, across_loss, tainted & DOUBTFUL != 0)

    def _keep(self) -> None:
        """Write the finished lives to the log and keep each slot's last one."""
        if not len(self.lifetimes):  # rows there may be, but none that touches an object
            return
        last = np.ones(len(self.lifetimes), bool)
        last[:-1] = self.lifetimes.first[1:]
        at = np.flatnonzero(last)
        slot, life, binding = self.lifetimes.slot[at], self.lifetimes.life[at], self.lifetimes.binding[at]
        life_end = np.append(self.lifetimes.life_at[1:], len(self.lifetimes)) - 1
        ended = np.full(len(self.lifetimes.life_at), -1)
        closing = np.flatnonzero(self.lifetimes.ends)
        ended[self.lifetimes.life[closing[::-1]]] = closing[::-1]
        closed_row = np.where(ended >= 0, self.lifetimes.row[ended], -1)
        self.resolver.handles.note(
            self.t,
            slot=self.lifetimes.slot[self.lifetimes.life_at],
            handle=self.life_handle,
            key=self.bindings.key[self.lifetimes.binding[life_end]],
            carried=~self.lifetimes.starts[self.lifetimes.life_at],
            opened=self.lifetimes.makes[self.lifetimes.life_at],
            first_row=self.lifetimes.row[self.lifetimes.life_at],
            last_row=self.lifetimes.row[life_end],
            closed_row=closed_row,
            finished=~last[life_end],
        )
        state = self.state
        was_closed = np.where(
            ~self.lifetimes.starts[self.lifetimes.life_at[life]], state.closed_ns[slot], NEVER
        )
        closing = np.flatnonzero(self.lifetimes.closes)
        closed = np.full(len(self.lifetimes.life_at), -1)
        closed[self.lifetimes.life[closing]] = closing
        state.closed_ns[slot] = np.where(closed[life] >= 0, self.lifetimes.time[closed[life]], was_closed)
        state.alive[slot] = True
        bindings = self.bindings
        state.key[slot], state.source[slot] = bindings.key[binding], bindings.source[binding]
        state.handle[slot], state.tainted[slot] = self.life_handle[life], bindings.tainted[binding]
        state.evidence_ns[slot] = self.evidence_ns[binding]
