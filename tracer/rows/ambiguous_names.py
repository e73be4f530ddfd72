"""Ambiguous names of a batch: records with embedded NULs are read again with the path known for their object.

How a payload is read with a known path is stated in `tracer.decode.payload` (rule 6), what a path does to an
object in `tracer.resolve.sequential`. The known path is the one that was asked for when the object was opened,
or that a sure record carried. Assumed: no symbolic link leads from the known path to the same path followed by a NUL
and more text. Records that are ambiguous for captured zeros alone, which no path settles, stay as they are.
"""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from tracer.decode.batch import NONE, Operations
from tracer.decode.payload import decode_payload, split_layout
from tracer.decode.plans import PLANS
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.etl.records import Records
from tracer.registry.text import escape_name, fold_name
from tracer.resolve.object_ops import NO_NAME, ObjectOps, Resolved
from tracer.resolve.resolver import Resolver
from tracer.rows.events import Order
from tracer.schema import FLAGS

__all__ = ["AmbiguousNames"]

_AMBIGUOUS, _HAS_NUL = np.uint32(FLAGS["name_ambiguous"]), np.uint32(FLAGS["name_has_nul"])
_NUL = escape_name("\0")
_MOST_RUNS = 500  # of a batch are looked at, a millisecond each, so that no trace can make an ingest slow


class AmbiguousNames:
    """What it takes to read records of one batch again; rows that are settled are corrected in place."""

    def __init__(
        self,
        records: Records,
        operations: Operations,
        order: Order,
        names: NameTable,
        diagnostics: list[Diagnostics],
    ) -> None:
        self._records, self._operations, self._order = records, operations, order
        self._names, self._diagnostics = names, diagnostics

    def resolve(self, resolver: Resolver, ops: ObjectOps) -> Resolved:
        """Resolve the batch; where it has doubts in steps, each up to a doubtful row that is then read again."""
        has_nul = self._operations.flags[self._order] & _HAS_NUL != 0
        doubts = ops.doubtful & has_nul & (ops.given_path != NO_NAME)
        if not doubts.any():
            return resolver.resolve(ops)
        pieces, done = [], 0
        waiting = _runs(ops, doubts)
        while waiting:
            start = waiting[0][1][0]
            if start > done:
                pieces.append(resolver.resolve(ops.piece(done, start)))
                done = start
            for since, run in waiting:
                if since < done:
                    self._settle_run(resolver, ops, run)
            waiting = [(since, run) for since, run in waiting if since >= done]
        pieces.append(resolver.resolve(ops.piece(done, len(ops))))
        columns = ([getattr(piece, field.name) for piece in pieces] for field in fields(Resolved))
        return Resolved(*map(np.concatenate, columns))

    def _settle_run(self, resolver: Resolver, ops: ObjectOps, run: list[int]) -> None:
        for place in run:
            path = resolver.path_of(int(ops.address[place]), int(ops.time_ns[place]))
            if path is None or not self._settle(ops, place, path):
                return  # from here on the object has a doubtful name

    def _settle(self, ops: ObjectOps, place: int, path: str) -> bool:
        """Read a row again; return whether its first name is its object's path and its data are what they were."""
        operations, table = self._operations, self._names
        row = place if isinstance(self._order, slice) else int(self._order[place])
        record, plan = operations.rows[row], PLANS[operations.plan[row]]
        raw = self._records.raw[self._records.payload[record] : self._records.end[record]].tobytes()
        read = decode_payload(plan.layout, raw, plan.pointer_size, known_path=path)
        texts = [str(read.fields[field.name]) for field in split_layout(plan.layout)[1]]
        numbers = (operations.first_name[row], operations.last_name[row])
        before = [table.texts[number] for number in numbers if number != NONE]
        # The same units, parted elsewhere: else the data behind them would begin elsewhere too.
        if fold_name(texts[0]) != fold_name(path) or _NUL.join(texts) != _NUL.join(before):
            return False
        ops.doubtful[place] = False
        ops.given_path[place] = table.number_of_text(texts[0])
        operations.last_name[row] = table.number_of_text(texts[-1])
        if len(texts) == 2:
            operations.first_name[row] = ops.given_path[place]
        if ops.requested_path[place] != NO_NAME:
            ops.requested_path[place] = operations.last_name[row]
        if not read.ambiguous:  # else the key is sure, and where the value's name ends is not
            operations.flags[row] &= ~_AMBIGUOUS
            self._diagnostics[self._records.source[record]].withdraw("name_ambiguous")
        return True


def _runs(ops: ObjectOps, doubts: NDArray[np.bool_]) -> list[tuple[int, list[int]]]:
    """Return the runs of doubtful rows between which nothing happens to their object's name, by first row.

    With each stands the last row before it that opened, closed or otherwise named the object (-1: none in
    this batch): once that is resolved, all of the run can be read again.
    """
    rows = np.flatnonzero(doubts)
    objects = ops.address[rows]
    changes = ops.closes | (ops.given_path != NO_NAME) & ~doubts
    changed = np.flatnonzero(changes & np.isin(ops.address, objects))
    opened = np.flatnonzero(np.isin(ops.opened_object, objects))
    places = np.concatenate([rows, changed, opened]).tolist()
    is_change = (np.arange(len(places)) >= len(rows)).tolist()
    addresses = np.concatenate([objects, ops.address[changed], ops.opened_object[opened]]).tolist()
    since: dict[int, int] = {}
    runs: dict[tuple[int, int], list[int]] = {}
    for place, changes_it, address in sorted(zip(places, is_change, addresses, strict=True)):
        if changes_it:
            since[address] = place
        else:
            runs.setdefault((since.get(address, -1), address), []).append(place)
    return [(last, run) for (last, _), run in runs.items()][:_MOST_RUNS]
