"""Decoded registry records to event rows: the callback each record is equivalent to.

Rows of a batch stay in the order in which they were decoded; only what the resolver needs is put in time
order. One permutation, into the order of the stored part, is applied when a part is made.
"""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_texts
from tracer.decode.batch import NONE, Blobs, Field, Operations
from tracer.decode.plans import ABSENT, PLANS, PlanTables
from tracer.decode.reads import StructureTexts, read_contents
from tracer.decode.strings import EMPTY, NameTable
from tracer.etl.logfile import LogfileHeader
from tracer.etl.records import Records
from tracer.resolve.object_ops import CLASSIC_SPACE, NO_NAME, ObjectOps, Resolved
from tracer.rows.row_groups import NO_DURATION, Batch, row_groups, rows_in_order
from tracer.schema import FLAGS

__all__ = ["EventRows", "Order", "durations", "make_object_ops", "time_order"]

Column = NDArray[np.int64]
Order = Column | slice
_PATH_FIELDS = ("HiveMountPoint", "SourceKeyPath", "LinkPath", "Path")


def time_order(records: Records, operations: Operations) -> Order:
    """Return the permutation that puts the operations' rows in time order; a whole slice where they are."""
    if records.ordered:
        return slice(None)
    place = np.full(len(records), -1)
    place[operations.rows] = np.arange(len(operations))
    place = place[records.order]
    return place[place >= 0]


def make_object_ops(
    records: Records,
    operations: Operations,
    order: Order,
    process: NDArray[np.int32],
    sequence: Column,
    names: NameTable,
) -> ObjectOps:
    """Return what the rows do to key objects, in time order; `process` and `sequence` are in time order too."""
    t = PlanTables
    plan = operations.plan[order].astype(np.intp)
    fields = operations.fields
    creates, classic = t.creates.take(plan), t.classic.take(plan)
    last, first = operations.last_name[order], operations.first_name[order]
    status = fields["Status"][order]
    key_object = fields["KeyObject"][order]
    address = np.where(creates, fields["BaseObject"][order], key_object)
    made = np.where(creates & (status == 0), key_object, np.uint64(0))
    requested_path = np.where(creates, last, NO_NAME)
    given_path = np.where(t.names.take(plan) == 2, first, last)
    if classic.any():
        handle = fields["KeyHandle"][order]
        kcb = np.where(classic & (handle != 0), handle | np.uint64(CLASSIC_SPACE), np.uint64(0))
        makes, rundown = t.kcb_create.take(plan), t.kcb_rundown.take(plan)
        address = np.where(classic, np.where(makes, np.uint64(0), kcb), address)
        made = np.where(makes, kcb, made)
        requested_path = np.where(
            classic & ~t.value_only.take(plan) & ~rundown & (last > EMPTY), last, requested_path
        )
        given_path = np.where(~classic | rundown, given_path, NO_NAME)
    for row, payload in operations.payloads.items():
        path = next((v for name in _PATH_FIELDS if isinstance(v := payload.fields.get(name), str)), "")
        if path.startswith("\\"):
            requested_path[np.flatnonzero(np.arange(len(operations))[order] == row)] = names.number_of_text(
                path
            )
    return ObjectOps(
        address=address,
        given_path=np.where((given_path > EMPTY) & (address != 0), given_path, NO_NAME).astype(np.int32),
        requested_path=requested_path.astype(np.int32),
        opened_object=made,
        created=creates & (t.event_id.take(plan) == 1),
        closes=t.closes.take(plan) | t.kcb_delete.take(plan),
        rundown=t.operation.take(plan) == ABSENT,
        doubtful=operations.flags[order] & np.uint32(FLAGS["name_ambiguous"]) != 0,
        time_ns=_taken(records.time_ns if records.order_ns is None else records.order_ns, operations, order),
        sequence=sequence,
        process=process,
        shown_ns=None if records.order_ns is None else _taken(records.time_ns, operations, order),
    )


def _taken(column: Column, operations: Operations, order: Order) -> Column:
    return column.take(operations.rows[order])


_NUMBERS = ("Status", "Disposition", "InfoClass", "Index", "EntryCount", "PreviousDataType",
            "PreviousDataSize")  # fmt: skip


class EventRows:
    """Collects batches of event rows until they make a part."""

    def __init__(self, names: NameTable) -> None:
        self._names = names
        self._structures = StructureTexts(names)
        self._batches: list[Batch] = []
        self.rows = 0

    def add(
        self,
        records: Records,
        operations: Operations,
        order: Order,
        ops: ObjectOps,
        resolved: Resolved,
        duration: Column | None,
        repeated: NDArray[np.bool_] | None = None,
    ) -> None:
        """Add a batch; `ops` and `resolved` are in time order, as `order` says.

        `duration` is as `durations` returns it; `repeated` marks rows that are left out because another says what they
        say. Both are in the order of `operations`.
        """

        def at_place(column: NDArray) -> NDArray:  # type: ignore[type-arg]
            if isinstance(order, slice):
                return column
            out = np.empty_like(column)
            out[order] = column
            return out

        keep: slice | Column = slice(None)
        is_row = PlanTables.operation[operations.plan] != ABSENT
        if repeated is not None:
            is_row &= ~repeated
        if not is_row.all():
            keep = np.flatnonzero(is_row)
        rows = operations.rows[keep]
        contents = read_contents(operations, self._names, self._structures)
        flags = (
            operations.flags
            | contents.flags
            | at_place(
                resolved.after_close * np.uint32(FLAGS["after_close"])
                | resolved.across_loss * np.uint32(FLAGS["across_loss"])
                | resolved.doubtful * np.uint32(FLAGS["name_ambiguous"])
            )
        )
        numbers: dict[str, Field] = {"DataSize": contents.size, "Type": contents.type}
        numbers |= {name: operations.fields[name] for name in _NUMBERS if name in operations.fields}
        detail = _with_payloads(contents.detail, operations)
        batch = Batch(
            columns={
                "plan": operations.plan[keep],
                "sequence": at_place(ops.sequence)[keep],
                "time_ns": records.time_ns[rows],
                "cpu": records.cpu[rows],
                "tid": records.tid[rows],
                "process": at_place(ops.process)[keep],
                "key": at_place(resolved.key)[keep],
                "handle": at_place(resolved.handle)[keep],
                "name_source": at_place(resolved.source)[keep],
                "flags": flags[keep],
                "last_name": contents.last_name[keep],
                "known": contents.known[keep],
                "source": records.source[rows],
                "offset": records.offset[rows],
                "duration": None if duration is None else duration[keep],
            },
            fields={
                name: column.astype(np.uint32, copy=False)[keep]
                for name, column in numbers.items()
                if column.any()
            },
            blobs={
                "data": _kept(contents.data, keep),
                "previous": _kept(operations.previous, keep),
                "detail": _kept(detail, keep),
            },
            rows=len(rows),
        )
        self._batches.append(batch)
        self.rows += batch.rows

    def take(self) -> "EventRows":
        """Return the collected rows and start anew."""
        taken = EventRows(self._names)
        taken._batches, taken.rows = self._batches, self.rows
        self._batches, self.rows = [], 0
        return taken

    def row_groups(self, most: int) -> Iterator[pa.Table]:
        """Return the rows as tables `events` of at most `most` rows, sorted by (key_id, sequence); once."""
        batches, self._batches = self._batches, []
        return row_groups(batches, self._names.texts, most)

    def in_order(self) -> pa.Table:
        """Return the rows as one table `events` by sequence, once; there is at least one row."""
        batches, self._batches, self.rows = self._batches, [], 0
        return rows_in_order(batches, self._names.texts)


def _kept(blobs: Blobs | None, keep: slice | Column) -> Blobs | None:
    return blobs if blobs is None or isinstance(keep, slice) else Blobs(blobs.values, blobs.place[keep])


def _with_payloads(detail: Blobs | None, operations: Operations) -> Blobs | None:
    """Add the whole payloads of the records that were read one by one to the texts of `detail`."""
    if not operations.payloads:
        return detail
    texts = [
        json.dumps({"event": PLANS[operations.plan[row]].layout.name, **_plain(payload.fields)})
        for row, payload in operations.payloads.items()
    ]
    values = from_texts(texts)
    place = np.full(len(operations), NONE, np.int32)
    if detail is not None:
        values, place = pa.concat_arrays([detail.values, values]), detail.place.copy()
    place[list(operations.payloads)] = np.arange(len(values) - len(texts), len(values))
    return Blobs(values, place)


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in fields.items()
        if value is not None
    }


def durations(records: Records, operations: Operations, headers: list[LogfileHeader]) -> Column | None:
    """Return how long classic operations took (they carry the time at which they began); None without any.

    One row an operation, in nanoseconds, NO_DURATION where the record does not say.
    """
    timed = PlanTables.offsets["InitialTime"][operations.plan] >= 0
    if not timed.any():
        return None
    out = np.full(len(operations), NO_DURATION)
    source = records.source[operations.rows]
    for number, header in enumerate(headers):
        mine = timed & (source == number)
        began = header.to_ns(operations.fields["InitialTime"][mine].view(np.int64))
        took = records.time_ns[operations.rows[mine]] - began
        out[mine] = np.where(took < 0, NO_DURATION, took)  # the clock was set back meanwhile
    return out
