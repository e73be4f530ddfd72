"""Test oracle for `tracer.resolve.resolver`: one dict, one row after the other.

It states the rules; the fast one must give the same. Rules, in the order they are applied to a row:

1. A use of an object without a life, or more than GRACE_NS after its close, begins an unseen life, which
   nobody has named: an unnamed node of the key tree.
2. A path the record carries for the object names it from here on. Where the object's key was an unnamed node
   or stood below one, that key is bound to the path, which names the earlier rows too (unless the path is
   doubtful, for nothing would tell them).
3. The row's key is what it asks for, absolute or below the object's key; without a request it is the
   object's key.
4. A close ends the life; calls in flight still use it (flag after_close).
5. A successful open begins a life of the object it made, named as the row is.
"""

from dataclasses import dataclass

import numpy as np

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

__all__ = ["SequentialResolver"]


@dataclass(slots=True)
class _Life:
    key: int
    source: int  # how sure its name is; that of the weakest evidence it rests on
    handle: int
    closed_ns: int | None = None
    doubtful: bool = False


class SequentialResolver:
    """Resolves batches one row at a time; slow and plain. Losses are not looked at."""

    def __init__(self, tree: KeyTree, texts: list[str]) -> None:
        self._tree, self._texts = tree, texts
        self._lives: dict[int, _Life] = {}
        self._handles = 0

    def seed(self, address: int, path: str) -> None:
        """Name an object that was open before the first row."""
        self._lives[address] = _Life(self._tree.rooted(path), SEED, self._next())

    def resolve(self, ops: ObjectOps) -> Resolved:
        """Return keys, handles and sources of a batch; state goes on into the next."""
        size = len(ops)
        out = Resolved(
            np.full(size, -1, np.int32), np.full(size, -1, np.int64), np.full(size, DEFERRED, np.int8),
            np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, bool),
        )  # fmt: skip
        for row in range(size):
            self._row(ops, row, out)
        return out

    def _row(self, ops: ObjectOps, row: int, out: Resolved) -> None:
        address, now = int(ops.address[row]), int(ops.time_ns[row])
        given_path, requested_path, opened = (
            int(ops.given_path[row]),
            int(ops.requested_path[row]),
            int(ops.opened_object[row]),
        )
        life = self._use(address, now, named=given_path != NO_NAME) if address else None
        source, doubtful = DEFERRED, bool(ops.doubtful[row])
        if life is not None:
            out.after_close[row] = life.closed_ns is not None
            out.handle[row] = life.handle
            if given_path != NO_NAME:
                node = self._tree.rooted(self._texts[given_path])
                self._teach(life, node, rundown=bool(ops.rundown[row]), doubtful=doubtful)
            source = EVENT if given_path != NO_NAME and not ops.rundown[row] else life.source
        key = life.key if life is not None else -1
        absolute = requested_path != NO_NAME and self._texts[requested_path].startswith("\\")
        if life is not None and not absolute:
            doubtful = doubtful or life.doubtful
        if requested_path != NO_NAME:
            text = self._texts[requested_path]
            if absolute:
                key, source = self._tree.rooted(text), EVENT
            else:
                key = self._tree.below(life.key if life is not None else self._tree.no_base(), text)
        out.key[row] = key
        out.source[row] = source if key >= 0 and not self._tree.is_unrooted(key) else DEFERRED
        out.doubtful[row] = doubtful
        if life is not None and ops.closes[row]:
            life.closed_ns = now
        if opened:
            rests_on = OPEN if source in (EVENT, DEFERRED) else max(OPEN, source)
            self._lives[opened] = _Life(key, rests_on, self._next(), doubtful=doubtful)
            out.handle[row] = self._lives[opened].handle

    def _use(self, address: int, now: int, *, named: bool) -> _Life:
        life = self._lives.get(address)
        if life is None or (life.closed_ns is not None and now - life.closed_ns > GRACE_NS):
            node = None if named else self._tree.unnamed(address)
            key = -1 if node is None else node
            life = self._lives[address] = _Life(key, DEFERRED, self._next())
        return life

    def _teach(self, life: _Life, node: int, *, rundown: bool, doubtful: bool) -> None:
        if life.key >= 0 and self._tree.is_unrooted(life.key) and not doubtful:
            self._tree.bind(life.key, node, "rundown" if rundown else "later")
        life.key, life.source, life.doubtful = node, RUNDOWN if rundown else OPEN, doubtful

    def _next(self) -> int:
        self._handles += 1
        return self._handles - 1
