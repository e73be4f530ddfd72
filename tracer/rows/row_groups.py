"""Event rows of several batches to the row groups of a part, sorted by (key_id, sequence)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers, from_texts, to_numbers
from tracer.columns.sorting import stable_argsort
from tracer.decode.batch import NONE, Blobs
from tracer.decode.plans import OPERATION_NUMBERS, PLANS, PlanTables
from tracer.decode.reads import SIZE_KNOWN, TYPE_KNOWN
from tracer.decode.strings import EMPTY
from tracer.registry.operations import OPERATIONS
from tracer.resolve.object_ops import SOURCES
from tracer.schema import EVENTS

__all__ = ["NO_DURATION", "SOURCE_TEXTS", "Batch", "row_groups", "rows_in_order"]

Column = NDArray[np.int64]
SOURCE_TEXTS = ("Microsoft-Windows-Kernel-Registry", "NT Kernel Logger")
NO_DURATION = np.iinfo(np.int64).min
_ALWAYS_KNOWN = frozenset(
    {
        "sequence",
        "time",
        "time_ns",
        "operation",
        "source",
        "source_id",
        "event_id",
        "record_offset",
        "flags",
    }
)
_BLOBS = {"data": pa.binary(), "previous": pa.binary(), "detail": pa.string()}


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch's event rows, in the order in which they were decoded (rundown records are left out).

    Attributes:
        columns: one array each; `duration` may be None.
        fields: fixed fields of which not all are 0.
        blobs: captured bytes and the texts of `detail`, by _BLOBS; None where no row has any.
    """

    columns: dict[str, NDArray | None]  # type: ignore[type-arg]
    fields: dict[str, NDArray[np.uint32]]
    blobs: dict[str, Blobs | None]
    rows: int


def row_groups(batches: list[Batch], texts: list[str], most: int) -> Iterator[pa.Table]:
    """Yield the rows as tables `events` of about as many rows, at most `most`; `texts` are names by number.

    The batches are used up on the way, so that the rows are in memory once. Text columns are dictionaries
    of just their table.
    """
    joined = _join(batches)
    order = _part_order(joined.columns["key"], joined.columns["sequence"])
    for some in np.array_split(order, -(-len(order) // most)):
        yield _table(joined, some, texts)


def rows_in_order(batches: list[Batch], texts: list[str]) -> pa.Table:
    """Return the rows as one table `events` by sequence; `texts` are names by number. Uses the batches up."""
    joined = _join(batches)
    sequence = joined.columns["sequence"]
    order = np.empty(len(sequence), np.int64)
    order[sequence - sequence.min()] = np.arange(len(sequence))
    return _table(joined, order, texts)


@dataclass(frozen=True, slots=True)
class _Joined:
    """Batches one after the other: plain columns, numbers (an absent one was 0 throughout), and the rest."""

    columns: dict[str, NDArray]  # type: ignore[type-arg]
    numbers: dict[str, NDArray[np.uint32]]
    blobs: dict[str, Blobs | None]


def _join(batches: list[Batch]) -> _Joined:
    """Join batches column by column, and let go of what was joined."""
    sizes = [batch.rows for batch in batches]
    if all(batch.columns["duration"] is None for batch in batches):
        for batch in batches:
            del batch.columns["duration"]
    columns = {
        name: np.concatenate(
            [
                np.full(size, NO_DURATION) if (column := batch.columns.pop(name)) is None else column
                for batch, size in zip(batches, sizes, strict=True)
            ]
        )
        for name in list(batches[0].columns)
    }
    numbers = {}
    for name in sorted({name for batch in batches for name in batch.fields}):
        numbers[name] = np.concatenate(
            [
                np.zeros(size, np.uint32) if (field := batch.fields.pop(name, None)) is None else field
                for batch, size in zip(batches, sizes, strict=True)
            ]
        )
    blobs = {name: _join_blobs([batch.blobs.pop(name) for batch in batches], sizes) for name in _BLOBS}
    return _Joined(columns, numbers, blobs)


def _join_blobs(blobs: list[Blobs | None], sizes: list[int]) -> Blobs | None:
    values = [each.values for each in blobs if each is not None]
    if not values:
        return None
    places, count = [], 0
    for each, size in zip(blobs, sizes, strict=True):
        if each is None:
            places.append(np.full(size, NONE, np.int32))
            continue
        places.append(np.where(each.place == NONE, NONE, each.place + np.int32(count)))
        count += len(each.values)
    return Blobs(pa.concat_arrays(values), np.concatenate(places))


def _table(joined: _Joined, order: Column, texts: list[str]) -> pa.Table:
    """Return the rows that `order` names as a table `events`; `texts` are names by number."""
    rows, lookup = len(order), _Lookup

    def column(name: str) -> NDArray:  # type: ignore[type-arg]
        return joined.columns[name].take(order)

    def number(name: str) -> NDArray[np.uint32]:
        return joined.numbers[name].take(order) if name in joined.numbers else np.zeros(rows, np.uint32)

    def names(known: NDArray[np.bool_]) -> pa.DictionaryArray:
        """Return the last names of the rows that have one, as a dictionary of just these, by first row."""
        codes, distinct = _by_first_row(last_name, known)
        few = from_texts([texts[number] for number in distinct.tolist()])
        return pa.DictionaryArray.from_arrays(from_numbers(codes, known), few)

    def bytes_of(name: str) -> pa.Array:
        blobs = joined.blobs[name]
        if blobs is None:
            return pa.nulls(rows, _BLOBS[name])
        place = blobs.place.take(order)
        known = place != NONE
        return _spread(blobs.values.take(from_numbers(place[known])), known)

    def details() -> pa.Array:
        """Return the column `detail` as a dictionary, for its texts are few."""
        blobs = joined.blobs["detail"]
        if blobs is None:
            return pa.nulls(rows, pa.string())
        place = blobs.place.take(order)
        known = place != NONE
        used = np.flatnonzero(np.bincount(place[known]))
        texts = blobs.values.take(from_numbers(used)).dictionary_encode()  # batches have some in common
        number = np.zeros(len(blobs.values), np.int32)
        number[used] = to_numbers(texts.indices)
        # In the order of the rows, which no form of decoding changes.
        codes, distinct = _by_first_row(number.take(place), known)
        return pa.DictionaryArray.from_arrays(
            from_numbers(codes, known), texts.dictionary.take(from_numbers(distinct))
        )

    plan = column("plan").astype(np.intp)
    time_ns, tid, process = column("time_ns"), column("tid"), column("process")
    key, handle, last_name = column("key"), column("handle"), column("last_name")
    status, disposition, index = number("Status"), number("Disposition"), number("Index")
    information, entries = number("InfoClass"), number("EntryCount")
    previous_type, previous_size = number("PreviousDataType"), number("PreviousDataSize")
    no_previous = ~lookup.previous.take(plan) | ((previous_type == 0) & (previous_size == 0))
    no_value = ~lookup.value.take(plan) | (lookup.nameless_if_empty.take(plan) & (last_name == EMPTY))
    contents = column("known")
    duration = column("duration") if "duration" in joined.columns else np.full(rows, NO_DURATION)
    columns = {
        "sequence": from_numbers(column("sequence")),
        "time": from_numbers(time_ns // 1000, kind=pa.timestamp("us", tz="UTC")),
        "time_ns": from_numbers(time_ns),
        "cpu": from_numbers(column("cpu"), column("cpu") >= 0),
        "thread_id": from_numbers(tid.astype(np.uint32), tid >= 0),
        "process_id": from_numbers(process, process >= 0),
        "operation": _fixed(lookup.operation.take(plan), [o.name for o in OPERATIONS]),
        "notify_class": from_numbers(lookup.notify_class.take(plan), lookup.notify_class.take(plan) >= 0),
        "phase": _fixed(lookup.phase.take(plan), ["post", "pre"]),
        "status": from_numbers(status, lookup.status.take(plan)),
        "key_id": from_numbers(key, key >= 0),
        "handle_id": from_numbers(handle, handle >= 0),
        "requested_name": names(lookup.requested.take(plan) & (last_name != NONE)),
        "value_name": names(~no_value & (last_name != NONE)),
        "disposition": from_numbers(
            disposition, lookup.creates.take(plan) & (disposition != 0) & (status == 0)
        ),
        "information_class": from_numbers(
            np.where(lookup.classic_class.take(plan), index, information), lookup.information.take(plan)
        ),
        "index": from_numbers(index, lookup.index.take(plan)),
        "entry_count": from_numbers(entries, lookup.entries.take(plan)),
        "data_type": from_numbers(number("Type"), contents & TYPE_KNOWN != 0),
        "data_size": from_numbers(number("DataSize"), contents & SIZE_KNOWN != 0),
        "data": bytes_of("data"),
        "previous_type": from_numbers(previous_type, ~no_previous),
        "previous_size": from_numbers(previous_size, ~no_previous),
        "previous_data": bytes_of("previous"),
        "duration_ns": from_numbers(duration, duration != NO_DURATION),
        "name_source": _fixed(column("name_source"), list(SOURCES)),
        "source": _fixed(lookup.source.take(plan), list(SOURCE_TEXTS)),
        "source_id": from_numbers(column("source")),
        "event_id": from_numbers(lookup.id.take(plan)),
        "record_offset": from_numbers(column("offset")),
        "flags": from_numbers(column("flags")),
        "detail": details(),
    }
    # Columns that are always known are declared so: the writer then spends nothing on their NULLs.
    fields = [pa.field(name, columns[name].type, nullable=name not in _ALWAYS_KNOWN) for name in EVENTS.names]
    return pa.table([columns[name] for name in EVENTS.names], schema=pa.schema(fields))


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
    # The manifest provider's enumerations of values have the name that came back, where one was captured.
    listed = PlanTables.operation == OPERATION_NUMBERS["EnumerateValueKey"]
    value = np.where(classic, PlanTables.value_only, ((PlanTables.names == 2) & ~creates) | listed)
    nameless_if_empty = classic & np.isin(PlanTables.event_id, (13, 18, 19))
    classic_class = classic & np.isin(PlanTables.event_id, (13, 16, 20)) & _has("Index")
    information = _has("InfoClass") | classic_class
    index = _has("Index") & (~classic | PlanTables.index_only)
    entries = _has("EntryCount")
    previous = PlanTables.tail == 2


def _by_first_row(
    numbers: NDArray[np.int32], known: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Return codes of the known numbers, which are small, from 0 on in the order of their first rows, and the distinct numbers."""
    rows = np.flatnonzero(known)
    of_rows = numbers.take(rows).astype(np.intp)
    place = np.arange(len(of_rows), dtype=np.int32)
    code = np.empty(int(of_rows.max(initial=NONE)) + 1, np.int32)  # only what the rows name is ever read
    code[of_rows[::-1]] = place[::-1]  # the first row of each
    distinct = of_rows[code.take(of_rows) == place]
    code[distinct] = place[: len(distinct)]
    codes = np.zeros(len(numbers), np.int32)
    codes[rows] = code.take(of_rows)
    return codes, distinct


def _spread(values: pa.Array, known: NDArray[np.bool_]) -> pa.Array:
    """Return the binary array whose known rows are `values`, none NULL, one after the other; the others are NULL.

    Taking only what is there and spreading the offsets costs half of what taking with NULLs does.
    """
    if values.type != pa.binary() or values.offset:
        place = np.cumsum(known) - 1
        return values.take(from_numbers(place, known))
    _, offsets, held = values.buffers()
    before = np.zeros(len(known) + 1, np.int64)
    np.cumsum(known, out=before[1:])
    spread = np.frombuffer(offsets, np.int32)[: len(values) + 1].take(before)
    valid = pa.py_buffer(np.packbits(known, bitorder="little"))
    return pa.BinaryArray.from_buffers(pa.binary(), len(known), [valid, pa.py_buffer(spread), held])


def _fixed(codes: NDArray[np.int8], texts: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(from_numbers(codes, codes >= 0), from_texts(texts))


def _part_order(key: NDArray[np.int32], sequence: Column) -> Column:
    """Return the permutation into (key, sequence) order."""
    row = np.empty(len(sequence), np.int64)
    row[sequence - sequence.min()] = np.arange(len(sequence))
    return row.take(stable_argsort(key.take(row).astype(np.int64) + 1))
