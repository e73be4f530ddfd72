"""Lives of handles that a source tells by their numbers: which record used which opening of which key.

A number is of one process, and is used again after it was closed. Rows are followed in the order of time, part by part;
in memory are the handles that are open.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import from_rows
from tracer.schema import HANDLES

__all__ = ["Followed", "HandleFollower"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Followed:
    """What the handles tell of the rows of a part.

    Attributes:
        kept: which rows stay: of the others nothing says that they are of a key.
        key: the key of each row; -1: unknown.
        by_handle: which rows have their key from the opening of their handle.
        handle_id: the life of the handle that each row opened or used; -1: none.
    """

    kept: Bools
    key: NDArray[np.int32]
    by_handle: Bools
    handle_id: NDArray[np.int64]


@dataclass(slots=True)
class _Life:
    """A handle that is open; None means unknown."""

    handle_id: int
    key: int
    process: int | None
    opened_sequence: int | None
    opened_ns: int | None
    first: int
    last: int
    began: str


class HandleFollower:
    """Follows the handles of all rows of a capture."""

    def __init__(self) -> None:
        self._open: dict[tuple[int, int], _Life] = {}  # by process and number
        self._ended: list[dict[str, Any]] = []
        self._count = 0

    def follow(self, rows: pa.Table, key: NDArray[np.int32], first: int) -> Followed:
        """Follow the handles of the next rows.

        Args:
            rows: of `tracer.named.rows.SCHEMA`.
            key: the key that each row names; -1: none.
            first: the sequence of the first of these rows that stays.
        """
        handles = pc.fill_null(rows["handle"], -1).combine_chunks().to_numpy()
        actors = pc.fill_null(rows["actor"], -1).combine_chunks().to_numpy()
        needs = rows["needs_handle"].combine_chunks().to_numpy(zero_copy_only=False)
        others = rows["other_object"].combine_chunks().to_numpy(zero_copy_only=False)
        has_handle = (handles >= 0) & (actors >= 0)
        kept = ~others & (has_handle | ~needs)
        handle_id = np.full(len(key), -1, np.int64)
        key, by_handle = key.copy(), np.zeros(len(key), bool)
        places = np.flatnonzero(has_handle)
        before = np.cumsum(kept) - kept
        some = rows.select(["operation", "status", "time_ns"]).take(pa.array(places))
        columns = (column.to_pylist() for column in some.columns)
        late = 0  # rows that were left out only because of their handles
        for place, operation, status, time_ns in zip(places.tolist(), *columns, strict=True):
            slot = (int(actors[place]), int(handles[place]))
            sequence = first + int(before[place]) - late
            life = self._open.get(slot)
            if others[place]:
                if life is not None:
                    self._end(slot, "reuse")
                continue
            if operation in ("OpenKey", "CreateKey"):
                if status == 0 and key[place] >= 0:
                    if life is not None:
                        self._end(slot, "reuse")
                    began = "open" if operation == "OpenKey" else "create"
                    life = self._begin(slot, int(key[place]), sequence, began, time_ns)
                    handle_id[place] = life.handle_id
                continue
            if key[place] < 0:
                if life is None:
                    if needs[place]:
                        kept[place] = False
                        late += 1
                    continue
                key[place], by_handle[place] = life.key, True
            elif life is None or life.key != key[place]:  # its opening was not recorded
                if life is not None:
                    self._end(slot, "reuse")
                life = self._begin(slot, int(key[place]), sequence, "unseen", None)
            life.last = sequence
            handle_id[place] = life.handle_id
            if operation == "CloseKey":
                self._end(slot, "close", sequence, time_ns)
        return Followed(kept, key, by_handle, handle_id)

    def ended(self, *, all_rows_seen: bool = False) -> Iterable[pa.Table]:
        """Yield the lives that ended since the last call as rows of `handles`; with `all_rows_seen` the open ones too."""
        if all_rows_seen:
            for slot in list(self._open):
                self._end(slot, "open")
        if self._ended:
            yield from_rows(self._ended, HANDLES.arrow())
            self._ended = []

    def _begin(
        self, slot: tuple[int, int], key: int, sequence: int, began: str, time_ns: int | None
    ) -> _Life:
        seen = time_ns is not None
        life = _Life(
            self._count, key, slot[0] if seen else None, sequence if seen else None, time_ns, sequence, sequence, began
        )  # fmt: skip
        self._count += 1
        self._open[slot] = life
        return life

    def _end(
        self, slot: tuple[int, int], ended: str, sequence: int | None = None, time_ns: int | None = None
    ) -> None:
        life = self._open.pop(slot)
        self._ended.append(
            {
                "handle_id": life.handle_id,
                "address": None,
                "key_id": life.key,
                "process_id": life.process,
                "opened_sequence": life.opened_sequence,
                "opened_ns": life.opened_ns,
                "closed_sequence": sequence,
                "closed_ns": time_ns,
                "first_sequence": life.first,
                "last_sequence": life.last,
                "began": life.began,
                "ended": ended,
            }
        )
