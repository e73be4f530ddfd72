"""Perfetto: a trace for ui.perfetto.dev, with processes and threads, operations, lives of handles, and what is missing.

An operation with a duration is a slice, any other an instant. A write of a value has an arrow to the next read of it by
another process. Times are UTC; the trace says so by a snapshot of the clocks.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.export.flat import flag_names
from analysis.export.messages import cut_text
from analysis.export.perfetto_events import (
    Ints,
    begins,
    ends,
    flow_pieces,
    named_pieces,
    number_pieces,
    packets,
    text_pieces,
)
from analysis.export.perfetto_extra import protos
from analysis.export.perfetto_flows import Flows
from analysis.export.perfetto_lives import Counts, HandleLives, counter_packets, missing_packets
from analysis.export.perfetto_strings import CATEGORIES, Strings
from analysis.export.perfetto_tracks import Tracks
from analysis.export.records import Records
from analysis.export.rows import Rows, text_bytes
from analysis.export.wire import joined
from tracer.registry.ntstatus import is_failure
from tracer.registry.operations import GROUPS

__all__ = ["ANNOTATIONS", "STARTS", "Perfetto"]

ANNOTATIONS = {  # annotation -> the column that it is
    "key": "display_key",
    "value": "value_name",
    "status": "status_name",
    "type": "data_type_name",
    "data": "data_text",
    "type_before": "previous_type_name",
    "data_before": "previous_text",
    "requested_name": "requested_name",
    "name_source": "name_source",
    "meaning": "data_meaning",
    "detail": "detail",
    "flags": "flags",
    "sequence": "sequence",
    "handle_id": "handle_id",
    "duration_ns": "duration_ns",
}
STARTS = (
    "pml",
    "procmon-csv",
    "procmon-xml",
)  # sources whose time is the start of an operation; of others it is the end
_TEXT_BYTES = 4_000
_NUMBERS = ("sequence", "handle_id", "duration_ns")
_READS = {name for case in GROUPS["reads"].cases for name in case.operations}
_WRITES = {name for case in GROUPS["writes"].cases for name in case.operations} - {"CreateKey"}
_OPENS = {name for case in GROUPS["opens"].cases for name in case.operations}


class Perfetto:
    """A timeline as a Perfetto trace."""

    def __init__(self, records: Records) -> None:
        """Write `records`."""
        self._records = records
        self._waiting: list[Any] = []  # packets that the next piece begins with
        self._strings = Strings(self._waiting.append)
        self._tracks = Tracks(records.processes, self._waiting.append, is_dataset=records.is_dataset)
        self._span = records.context.span() or (0, 0)
        self._busy: dict[int, int] = {}  # track -> until when its slices last
        self._overlapping = 0
        self._rates = Counts(*self._span)
        self._flows = Flows(records.context, records.filters)

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield the clocks and what is missing."""
        first = max(self._span[0], 0)
        clocks = protos.TracePacket(timestamp=first)
        for number in (protos.BUILTIN_CLOCK_BOOTTIME, protos.BUILTIN_CLOCK_REALTIME):
            clocks.clock_snapshot.clocks.add(clock_id=number, timestamp=first)
        yield packets([clocks])
        for made in missing_packets(self._records.notices(), self._tracks, self._strings, self._span):
            yield self._before() + made

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield the events of rows."""
        self._strings.make_room()
        hosts = rows["host"].to_pylist() if self._records.is_dataset else None
        times = rows["time_ns"].to_numpy().astype(np.int64)
        tracks = self._tracks_of(rows, hosts)
        starts, lasts = _intervals(rows, times)
        is_slice = lasts >= 0
        is_slice[is_slice] = self._free(tracks[is_slice], starts[is_slice], lasts[is_slice])
        self._overlapping += int((lasts >= 0).sum() - is_slice.sum())
        moments = np.where(is_slice, starts, np.where(lasts >= 0, starts, times))
        made = begins(moments, tracks, is_slice, self._pieces(rows))
        if is_slice.any():
            made = joined([made, ends(starts + np.maximum(lasts, 0), tracks, is_slice)])
        self._count(hosts, times)
        yield self._before()
        yield text_bytes(made)

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield the lives of handles and the counters."""
        tally = self._records.tally
        if self._records.is_limited:
            tally.notes.append("lives of handles are left out, for --limit cuts the rows that they belong to")
        elif tally.rows:
            lives = HandleLives(self._records.context, self._records.filters, self._span)
            for made in lives.packets(self._tracks, self._strings):
                yield self._before()
                yield text_bytes(made)
            points = list(counter_packets(self._tracks, "Open handles", "handles", lives.open.levels()))
            yield self._before() + packets(points)
            if lives.left_out:
                tally.notes.append(
                    f"{lives.left_out:,} lives of handles are left out: neither end of them was seen"
                )
        points = list(counter_packets(self._tracks, "Operations", "operations/s", self._rates.rates()))
        yield self._before() + packets(points)
        if self._overlapping:
            said = "operation overlaps others" if self._overlapping == 1 else "operations overlap others"
            tally.notes.append(
                f"{self._overlapping:,} {said} of the same thread: without a slice, as a mark where it began"
            )

    def _before(self) -> bytes:
        made = packets(self._waiting)
        self._waiting.clear()
        return made

    def _tracks_of(self, rows: Rows, hosts: list[str | None] | None) -> Ints:
        names = ("process_id", "tid") if hosts is None else ("process_id", "tid", "host")

        def uuid(process_id: int | None, tid: int | None, host: str | None = None) -> str:
            return str(self._tracks.thread(process_id, tid, host))

        coded = rows.told(names, uuid)
        uuids = np.array([int(one) for one in coded.dictionary.to_pylist()], np.int64)
        found: Ints = uuids[coded.indices.to_numpy()]
        return found

    def _pieces(self, rows: Rows) -> list[pa.Array]:
        pieces = [named_pieces(rows, ("operation", "status"), self._named)]
        cut = np.zeros(len(rows), np.int64)
        for name, column in ANNOTATIONS.items():
            if column in _NUMBERS:
                if rows[column].null_count < len(rows):
                    pieces.append(number_pieces(self._strings, name, rows[column]))
                continue
            make = flag_names if column == "flags" else _shortened
            texts = rows.told(column, make)
            if texts.null_count < len(rows):
                pieces.append(text_pieces(self._strings, name, texts))
            if column != "flags":
                lengths = pc.binary_length(rows.coded(column).dictionary)
                longer = pc.greater(lengths, _TEXT_BYTES).fill_null(False)
                if pc.any(longer).as_py():
                    cut += (
                        longer.take(rows.coded(column).indices)
                        .fill_null(False)
                        .to_numpy(zero_copy_only=False)
                    )
        self._records.tally.cut += int(cut.sum())
        sequences = rows["sequence"].to_numpy().astype(np.int64)
        for numbers, is_end in (
            (self._flows.of_writes(sequences), False),
            (self._flows.of_reads(sequences), True),
        ):
            if numbers.any():
                pieces.append(flow_pieces(numbers, is_end=is_end))
        return pieces

    def _named(self, operation: str, status: int | None) -> bytes:
        kind = (
            "read"
            if operation in _READS
            else "write"
            if operation in _WRITES
            else "open"
            if operation in _OPENS
            else "other"
        )
        kinds = [kind, "failure"] if status is not None and is_failure(status) else [kind]
        event = protos.TrackEvent(name_iid=self._strings.name(operation))
        event.category_iids.extend(CATEGORIES.index(one) + 1 for one in kinds)
        made: bytes = event.SerializeToString()
        return made

    def _free(self, tracks: Ints, starts: Ints, lasts: Ints) -> NDArray[np.bool_]:
        """Return which of some slices begin when their track is free: slices of one track must not overlap."""
        free = np.zeros(len(tracks), np.bool_)
        if not len(tracks):
            return free
        order = np.lexsort((starts, tracks))
        uuids, first = np.unique(tracks[order], return_index=True)
        for uuid, own in zip(uuids.tolist(), np.split(order, first[1:]), strict=True):
            until = np.maximum.accumulate(
                np.concatenate([[self._busy.get(uuid, 0)], starts[own] + lasts[own]])
            )
            free[own] = starts[own] >= until[:-1]
            self._busy[uuid] = int(until[-1])
        return free

    def _count(self, hosts: list[str | None] | None, times: Ints) -> None:
        if hosts is None:
            self._rates.add(None, times)
            return
        for host in dict.fromkeys(hosts):
            self._rates.add(host, times[np.array([one == host for one in hosts])])


def _shortened(text: str) -> str:
    return cut_text(text, _TEXT_BYTES)


def _intervals(rows: Rows, times: Ints) -> tuple[Ints, Ints]:
    """Return when each operation began and how long it took; -1 where the source does not say."""
    lasts = rows["duration_ns"].fill_null(-1).to_numpy().astype(np.int64)
    is_start = pc.is_in(rows["source"], pa.array(STARTS)).to_numpy(zero_copy_only=False)
    return np.where(is_start, times, times - np.maximum(lasts, 0)), lasts
