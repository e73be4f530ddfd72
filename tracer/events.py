"""Decoded registry records to event rows: the callback each record is equivalent to.

Rows of a batch stay in position order, which is how they were decoded; only what the resolver needs is put
in time order. One permutation, into the order of the stored part, is applied when a part is made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.decode.columns import NONE, Blobs, Operations
from tracer.decode.plans import ABSENT, PLANS, PlanTables
from tracer.decode.strings import EMPTY, NameTable
from tracer.etl.logfile import LogfileHeader
from tracer.etl.records import Records
from tracer.operations import OPERATIONS
from tracer.radix import stable_order
from tracer.resolve.touches import CLASSIC_SPACE, NO_NAME, SOURCES, Resolved, Touches
from tracer.schema import EVENTS, FLAGS

__all__ = ["SOURCE_TEXTS", "EventRows", "make_touches", "time_order"]

Column = NDArray[np.int64]
SOURCE_TEXTS = ("Microsoft-Windows-Kernel-Registry", "NT Kernel Logger")
_PATH_FIELDS = ("HiveMountPoint", "SourceKeyPath", "LinkPath", "Path")


def time_order(records: Records, operations: Operations) -> Column:
    """Return the permutation that puts the operations' rows in time order."""
    place = np.full(len(records), -1)
    place[operations.rows] = np.arange(len(operations))
    place = place[records.order]
    return place[place >= 0]


def make_touches(
    records: Records,
    operations: Operations,
    order: Column,
    process: NDArray[np.int32],
    sequence: Column,
    names: NameTable,
) -> Touches:
    """Return what the rows do to key objects, in time order; `process` and `sequence` are in time order too."""
    t = PlanTables
    plan = operations.plan.take(order).astype(np.intp)
    fields = operations.fields
    creates, classic = t.creates.take(plan), t.classic.take(plan)
    last, first = operations.last_name.take(order), operations.first_name.take(order)
    status = fields["Status"].take(order)
    key_object = fields["KeyObject"].take(order)
    address = np.where(creates, fields["BaseObject"].take(order), key_object)
    made = np.where(creates & (status == 0), key_object, np.uint64(0))
    asked = np.where(creates, last, NO_NAME)
    taught = np.where(t.names.take(plan) == 2, first, last)
    if classic.any():
        handle = fields["KeyHandle"].take(order)
        kcb = np.where(classic & (handle != 0), handle | np.uint64(CLASSIC_SPACE), np.uint64(0))
        makes, rundown = t.kcb_create.take(plan), t.kcb_rundown.take(plan)
        address = np.where(classic, np.where(makes, np.uint64(0), kcb), address)
        made = np.where(makes, kcb, made)
        asked = np.where(classic & ~t.value_only.take(plan) & ~rundown & (last > EMPTY), last, asked)
        taught = np.where(~classic | rundown, taught, NO_NAME)
    for row, payload in operations.payloads.items():
        path = next((v for name in _PATH_FIELDS if isinstance(v := payload.fields.get(name), str)), "")
        if path.startswith("\\"):
            asked[np.flatnonzero(order == row)] = names.number_of_text(path)
    return Touches(
        address=address,
        taught=np.where((taught > EMPTY) & (address != 0), taught, NO_NAME).astype(np.int32),
        asked=asked.astype(np.int32),
        opened=made,
        created=creates & (t.event_id.take(plan) == 1),
        closes=t.closes.take(plan) | t.kcb_delete.take(plan),
        rundown=t.operation.take(plan) == ABSENT,
        doubtful=operations.flags.take(order) & np.uint32(FLAGS["name_ambiguous"]) != 0,
        time_ns=records.time_ns.take(operations.rows.take(order)),
        sequence=sequence,
        process=process,
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Columns of one batch's event rows, position order (rundown records are left out)."""

    plan: NDArray[np.int16]
    sequence: Column
    time_ns: Column
    cpu: NDArray[np.int16]
    tid: NDArray[np.int64]
    process: NDArray[np.int32]
    key: NDArray[np.int32]
    handle: Column
    name_source: NDArray[np.int8]
    flags: NDArray[np.uint32]
    last_name: NDArray[np.int32]
    source: NDArray[np.int16]
    offset: Column
    duration: Column | None
    fields: dict[str, NDArray[np.uint32]]
    data: Blobs | None
    previous: Blobs | None
    details: dict[int, str]

    def __len__(self) -> int:
        return len(self.plan)


_NUMBERS = ("Status", "Disposition", "InfoClass", "Index", "DataSize", "Type", "EntryCount",
            "PreviousDataType", "PreviousDataSize")  # fmt: skip
_ALWAYS_KNOWN = frozenset(
    {
        "sequence",
        "time",
        "time_ns",
        "cpu",
        "operation",
        "source",
        "source_id",
        "event_id",
        "record_offset",
        "flags",
    }
)
NO_DURATION = np.iinfo(np.int64).min


class EventRows:
    """Collects batches of event rows until they make a part."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts
        self._batches: list[_Batch] = []
        self.rows = 0

    def add(
        self,
        records: Records,
        operations: Operations,
        order: Column,
        touches: Touches,
        resolved: Resolved,
        headers: list[LogfileHeader],
    ) -> None:
        """Add a batch; `touches` and `resolved` are in time order, as `order` says."""

        def at_place(column: NDArray) -> NDArray:  # type: ignore[type-arg]
            out = np.empty_like(column)
            out[order] = column
            return out

        keep: slice | Column = slice(None)
        is_row = PlanTables.operation[operations.plan] != ABSENT
        if not is_row.all():
            keep = np.flatnonzero(is_row)
        rows = operations.rows[keep]
        flags = operations.flags | at_place(
            resolved.after_close * np.uint32(FLAGS["after_close"])
            | resolved.across_loss * np.uint32(FLAGS["across_loss"])
            | resolved.doubtful * np.uint32(FLAGS["name_ambiguous"])
        )
        place = np.cumsum(is_row) - 1
        batch = _Batch(
            plan=operations.plan[keep],
            sequence=at_place(touches.sequence)[keep],
            time_ns=records.time_ns[rows],
            cpu=records.cpu[rows],
            tid=records.tid[rows],
            process=at_place(touches.process)[keep],
            key=at_place(resolved.key)[keep],
            handle=at_place(resolved.handle)[keep],
            name_source=at_place(resolved.source)[keep],
            flags=flags[keep],
            last_name=operations.last_name[keep],
            source=records.source[rows],
            offset=records.offset[rows],
            duration=_durations(records, operations, headers, keep),
            fields={
                name: column.astype(np.uint32)[keep]
                for name in _NUMBERS
                if name in operations.fields and (column := operations.fields[name]).any()
            },
            data=_kept(operations.data, keep),
            previous=_kept(operations.previous, keep),
            details={
                int(place[row]): json.dumps(
                    {"event": PLANS[operations.plan[row]].layout.name, **_plain(payload.fields)},
                    sort_keys=False,
                )
                for row, payload in operations.payloads.items()
            },
        )
        self._batches.append(batch)
        self.rows += len(batch)

    def take(self) -> "EventRows":
        """Return the collected rows and start anew."""
        taken = EventRows(self._texts)
        taken._batches, taken.rows = self._batches, self.rows
        self._batches, self.rows = [], 0
        return taken

    def table(self) -> pa.Table:
        """Return the rows as the table `events`, sorted by (key_id, sequence), text columns as dictionaries."""
        batches = self._batches
        joined = {
            name: np.concatenate([getattr(batch, name) for batch in batches])
            for name in ("plan", "sequence", "key")
        }
        order = _part_order(joined["key"], joined["sequence"])

        def sorted_column(name: str) -> NDArray:  # type: ignore[type-arg]
            column = joined.pop(name, None)
            if column is None:
                column = np.concatenate([getattr(batch, name) for batch in batches])
            return column.take(order)

        def number(name: str) -> NDArray[np.uint32]:
            missing = [name not in batch.fields for batch in batches]
            if all(missing):
                return np.zeros(self.rows, np.uint32)
            return np.concatenate(
                [batch.fields.get(name, np.zeros(len(batch), np.uint32)) for batch in batches]
            ).take(order)

        plan = sorted_column("plan").astype(np.intp)
        lookup = _Lookup
        time_ns = sorted_column("time_ns")
        tid = sorted_column("tid")
        process = sorted_column("process")
        cpu = sorted_column("cpu")
        key, handle = sorted_column("key"), sorted_column("handle")
        name_source = sorted_column("name_source")
        last_name = sorted_column("last_name")
        duration = self._durations(order)
        status, disposition, index = number("Status"), number("Disposition"), number("Index")
        information, entries = number("InfoClass"), number("EntryCount")
        previous_type, previous_size = number("PreviousDataType"), number("PreviousDataSize")
        no_previous = ~lookup.previous[plan] | ((previous_type == 0) & (previous_size == 0))
        value_name = np.where(
            lookup.value[plan] & ~(lookup.nameless_if_empty[plan] & (last_name == EMPTY)), last_name, NONE
        )
        columns = {
            "sequence": pa.array(sorted_column("sequence")),
            "time": pa.array(time_ns // 1000, pa.timestamp("us", tz="UTC")),
            "time_ns": pa.array(time_ns),
            "cpu": pa.array(cpu),
            "thread_id": _known(tid.astype(np.uint32), tid >= 0),
            "process_id": _known(process, process >= 0),
            "operation": _fixed(lookup.operation[plan], [o.name for o in OPERATIONS]),
            "notify_class": _known(lookup.notify_class[plan], lookup.notify_class[plan] >= 0),
            "phase": _fixed(lookup.phase[plan], ["post", "pre"]),
            "status": _known(status, lookup.status[plan]),
            "key_id": _known(key, key >= 0),
            "handle_id": _known(handle, handle >= 0),
            "requested_name": self._names(np.where(lookup.requested[plan], last_name, NONE)),
            "value_name": self._names(value_name),
            "disposition": _known(disposition, lookup.creates[plan] & (disposition != 0) & (status == 0)),
            "information_class": _known(
                np.where(lookup.classic_class[plan], index, information), lookup.information[plan]
            ),
            "index": _known(index, lookup.index[plan]),
            "entry_count": _known(entries, lookup.entries[plan]),
            "data_type": _known(number("Type"), lookup.type[plan]),
            "data_size": _known(number("DataSize"), lookup.size[plan]),
            "data": self._blobs("data", order),
            "previous_type": _known(previous_type, ~no_previous),
            "previous_size": _known(previous_size, ~no_previous),
            "previous_data": self._blobs("previous", order),
            "duration_ns": duration,
            "name_source": _fixed(name_source, list(SOURCES)),
            "source": _fixed(lookup.source[plan], list(SOURCE_TEXTS)),
            "source_id": pa.array(sorted_column("source")),
            "event_id": pa.array(lookup.id[plan]),
            "record_offset": pa.array(sorted_column("offset")),
            "flags": pa.array(sorted_column("flags")),
            "detail": self._details(order),
        }
        # Columns that are always known are declared so: the writer then spends nothing on their NULLs.
        fields = [
            pa.field(name, columns[name].type, nullable=name not in _ALWAYS_KNOWN) for name in EVENTS.names
        ]
        return pa.table([columns[name] for name in EVENTS.names], schema=pa.schema(fields))

    def _names(self, numbers: NDArray[np.int32]) -> pa.DictionaryArray:
        codes = pa.array(numbers, mask=numbers == NONE).dictionary_encode()
        texts = self._texts
        values = pa.array([texts[number] for number in codes.dictionary.to_pylist()], pa.string())
        return pa.DictionaryArray.from_arrays(codes.indices, values)

    def _blobs(self, name: str, order: Column) -> pa.Array:
        blobs: list[Blobs | None] = [getattr(batch, name) for batch in self._batches]
        if all(each is None for each in blobs):
            return pa.nulls(self.rows, pa.binary())
        places, values, count = [], [], 0
        for each, batch in zip(blobs, self._batches, strict=True):
            if each is None:
                places.append(np.full(len(batch), NONE, np.int32))
                continue
            places.append(np.where(each.place == NONE, NONE, each.place + np.int32(count)))
            values.append(each.values)
            count += len(each.values)
        place = np.concatenate(places).take(order)
        return pa.concat_arrays(values).take(pa.array(place, mask=place == NONE))

    def _durations(self, order: Column) -> pa.Array:
        if all(batch.duration is None for batch in self._batches):
            return pa.nulls(self.rows, pa.int64())
        whole = [
            np.full(len(batch), NO_DURATION) if batch.duration is None else batch.duration
            for batch in self._batches
        ]
        duration = np.concatenate(whole).take(order)
        return _known(duration, duration != NO_DURATION)

    def _details(self, order: Column) -> pa.Array:
        found: dict[int, str] = {}
        start = 0
        for batch in self._batches:
            found.update({start + row: text for row, text in batch.details.items()})
            start += len(batch)
        if not found:
            return pa.nulls(self.rows, pa.string())
        texts = [None] * self.rows
        for row, text in found.items():
            texts[row] = text  # type: ignore[call-overload]
        return pa.array(texts, pa.string()).take(pa.array(order))


def _has(field: str) -> NDArray[np.bool_]:
    return PlanTables.offsets[field] >= 0 if field in PlanTables.offsets else np.zeros(len(PLANS), bool)


class _Lookup:
    """What a plan's rows have, column by column; one row a plan."""

    _operation = tuple(OPERATIONS[number] for number in PlanTables.operation.tolist())
    operation = PlanTables.operation.astype(np.int8)
    notify_class = np.array([-1 if o.notify_class is None else o.notify_class for o in _operation], np.int16)
    phase = np.array([{"post": 0, "pre": 1, None: -1}[o.phase] for o in _operation], np.int8)
    id = PlanTables.event_id.astype(np.uint16)
    source = PlanTables.classic.astype(np.int8)
    classic = PlanTables.classic
    creates = PlanTables.creates
    # The status of the manifest provider's close is nominal: it is sent before the close happens.
    status = _has("Status") & ~(PlanTables.closes & ~classic)
    requested = creates | (classic & np.isin(PlanTables.event_id, (10, 11)))
    value = np.where(classic, PlanTables.value_only, (PlanTables.names == 2) & ~creates)
    nameless_if_empty = classic & np.isin(PlanTables.event_id, (13, 18, 19))
    classic_class = classic & np.isin(PlanTables.event_id, (13, 16, 20)) & _has("Index")
    information = _has("InfoClass") | classic_class
    index = _has("Index") & (~classic | PlanTables.index_only)
    entries = _has("EntryCount")
    type = _has("Type")
    size = _has("DataSize")
    previous = PlanTables.tail == 2


def _known(values: NDArray, known: NDArray[np.bool_]) -> pa.Array:  # type: ignore[type-arg]
    return pa.array(values, mask=~known)


def _fixed(codes: NDArray[np.int8], texts: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), pa.array(texts, pa.string()))


def _part_order(key: NDArray[np.int32], sequence: Column) -> Column:
    """Return the permutation into (key, sequence) order."""
    row = np.empty(len(sequence), np.int64)
    row[sequence - sequence.min()] = np.arange(len(sequence))
    return row.take(stable_order(key.take(row).astype(np.int64) + 1))


def _kept(blobs: Blobs | None, keep: slice | Column) -> Blobs | None:
    return blobs if blobs is None or isinstance(keep, slice) else Blobs(blobs.values, blobs.place[keep])


def _plain(fields: Mapping[str, object]) -> dict[str, object]:
    return {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in fields.items()
        if value is not None
    }


def _durations(
    records: Records, operations: Operations, headers: list[LogfileHeader], keep: slice | Column
) -> Column | None:
    """Return how long classic operations took (they carry the time at which they began); None without any."""
    timed = PlanTables.offsets["InitialTime"][operations.plan] >= 0
    if not timed.any():
        return None
    out = np.full(len(operations), NO_DURATION)
    source = records.source[operations.rows]
    for number, header in enumerate(headers):
        mine = timed & (source == number)
        began = header.to_ns(operations.fields["InitialTime"][mine].view(np.int64))
        out[mine] = records.time_ns[operations.rows[mine]] - began
    return out[keep]
