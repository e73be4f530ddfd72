"""Lifetimes of key objects as rows of the table `handles`: kept while they last, written when they end."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers, from_rows, from_texts
from tracer.resolve.object_ops import CLASSIC_SPACE, ObjectOps
from tracer.schema import HANDLES

__all__ = ["HandleLog"]

Column = NDArray[np.int64]
_UNKNOWN = -1
_BEGAN = ("open", "create", "seed", "rundown", "unseen")
_OPEN, _CREATE, _SEED, _RUNDOWN, _UNSEEN = range(5)
_WORTH_WRITING = 200_000
_ENDED = ("close", "reuse", "open")
_NUMBERS = ("handle", "address", "key", "process", "opened_sequence", "opened_ns", "closed_sequence", "closed_ns",
            "first_sequence", "last_sequence", "began")  # fmt: skip


class HandleLog:
    """Collects lives; `drain` hands over the finished ones, `finish` the rest."""

    def __init__(self) -> None:
        self._slots: dict[str, Column] = {name: np.zeros(0, np.int64) for name in _NUMBERS}
        self._alive = np.zeros(0, bool)
        self._done: list[pa.Table] = []

    def grow(self, size: int) -> None:
        """Make room for `size` addresses."""
        old = len(self._alive)
        if old < size:
            more = max(size, 2 * old) - old
            self._alive = np.concatenate([self._alive, np.zeros(more, bool)])
            self._slots = {
                name: np.concatenate([column, np.full(more, _UNKNOWN)])
                for name, column in self._slots.items()
            }

    def seed(self, slot: int, handle: int, address: int, key: int) -> None:
        """Note an object that was open before the first row."""
        values = dict.fromkeys(_NUMBERS, _UNKNOWN)
        pattern = address - (1 << 64) if address >> 63 else address
        values |= {"handle": handle, "address": pattern, "key": key, "began": _SEED}
        for name, value in values.items():
            self._slots[name][slot] = value
        self._alive[slot] = True

    def note(
        self,
        ops: ObjectOps,
        *,
        slot: Column,
        handle: Column,
        key: NDArray[np.int32],
        carried: NDArray[np.bool_],
        opened: NDArray[np.bool_],
        first_row: Column,
        last_row: Column,
        closed_row: Column,
        finished: NDArray[np.bool_],
    ) -> None:
        """Note the lives of one batch, ordered by slot and time; `closed_row` is -1 where not closed in it.

        `finished` lives had their address taken over by another life; the others are kept by slot.
        """
        if not len(slot):
            return
        sequence = ops.sequence
        time = ops.time_ns if ops.shown_ns is None else ops.shown_ns
        # An unseen life has no opening, so its address is that of the record which used it.
        address = np.where(opened, ops.opened_object.take(first_row), ops.address.take(first_row))
        began = np.where(
            ~opened,
            _UNSEEN,
            np.where(
                ops.rundown.take(first_row),
                _RUNDOWN,
                np.where(ops.created.take(first_row), _CREATE, _OPEN),
            ),
        )
        closed = closed_row >= 0
        lifetimes: dict[str, Column] = {
            "handle": handle,
            "address": (address & ~np.uint64(CLASSIC_SPACE)).view(np.int64),
            "key": key.astype(np.int64),
            "process": np.where(opened, ops.process.take(first_row), _UNKNOWN).astype(np.int64),
            "opened_sequence": np.where(opened, sequence.take(first_row), _UNKNOWN),
            "opened_ns": np.where(opened, time.take(first_row), _UNKNOWN),
            "closed_sequence": np.where(closed, sequence.take(closed_row), _UNKNOWN),
            "closed_ns": np.where(closed, time.take(closed_row), _UNKNOWN),
            "first_sequence": sequence.take(first_row),
            "last_sequence": sequence.take(last_row),
            "began": began,
        }
        old = np.flatnonzero(carried)
        if len(old):
            before = {name: column.take(slot[old]) for name, column in self._slots.items()}
            for name in ("address", "process", "opened_sequence", "opened_ns", "began"):
                lifetimes[name][old] = before[name]
            known = before["first_sequence"] >= 0
            lifetimes["first_sequence"][old[known]] = before["first_sequence"][known]
            known = before["closed_sequence"] != _UNKNOWN
            for name in ("closed_sequence", "closed_ns"):
                lifetimes[name][old[known]] = before[name][known]
        # Lifetimes whose address this batch took over at once were kept until now.
        first_of_slot = np.ones(len(slot), bool)
        first_of_slot[1:] = slot[1:] != slot[:-1]
        replaced = slot[first_of_slot & ~carried & self._alive[slot]]
        if len(replaced):
            self._emit({name: column.take(replaced) for name, column in self._slots.items()}, reused=True)
        done, kept = np.flatnonzero(finished), np.flatnonzero(~finished)
        if len(done):
            self._emit({name: column.take(done) for name, column in lifetimes.items()}, reused=True)
        slots = slot.take(kept)
        for name, column in lifetimes.items():
            self._slots[name][slots] = column.take(kept)
        self._alive[slots] = True

    def forget(self, kept: NDArray[np.bool_]) -> None:
        """Write the lives of the slots that are not `kept` (all closed) and move the others together."""
        count = len(kept)
        gone = np.flatnonzero(self._alive[:count] & ~kept)
        if len(gone):
            self._emit({name: column[gone] for name, column in self._slots.items()}, reused=False)
        self._alive = self._alive[:count][kept]
        self._slots = {name: column[:count][kept] for name, column in self._slots.items()}

    def drain(self) -> pa.Table | None:
        """Return finished lives where enough have gathered to be worth writing; else None."""
        if sum(table.num_rows for table in self._done) < _WORTH_WRITING:
            return None
        return self._all()

    def _all(self) -> pa.Table:
        done, self._done = self._done, []
        return pa.concat_tables(done) if done else from_rows([], HANDLES.arrow())

    def finish(self) -> pa.Table:
        """Return what is left, the lives still kept included."""
        alive = np.flatnonzero(self._alive)
        if len(alive):
            alive = alive[np.argsort(self._slots["handle"][alive], kind="stable")]
            self._emit({name: column[alive] for name, column in self._slots.items()}, reused=False)
            self._alive[:] = False
        return self._all()

    def _emit(self, lives: dict[str, Column], *, reused: bool) -> None:
        def known(name: str, kind: type[np.int32 | np.int64] = np.int64) -> pa.Array:
            return from_numbers(lives[name].astype(kind, copy=False), lives[name] != _UNKNOWN)

        closed = lives["closed_sequence"] != _UNKNOWN
        ended = np.where(closed, 0, 1 if reused else 2)
        columns = {
            "handle_id": from_numbers(lives["handle"]),
            "address": from_numbers(lives["address"]),
            "key_id": known("key", np.int32),
            "process_id": known("process", np.int32),
            "opened_sequence": known("opened_sequence"),
            "opened_ns": known("opened_ns"),
            "closed_sequence": known("closed_sequence"),
            "closed_ns": known("closed_ns"),
            "first_sequence": known("first_sequence"),
            "last_sequence": known("last_sequence"),
            "began": pa.DictionaryArray.from_arrays(
                from_numbers(lives["began"].astype(np.int8)), from_texts(_BEGAN)
            ),
            "ended": pa.DictionaryArray.from_arrays(from_numbers(ended.astype(np.int8)), from_texts(_ENDED)),
        }
        self._done.append(pa.table([columns[name] for name in HANDLES.names], names=HANDLES.names))
