"""Reading .etl files: records of one or several files in time order, in chunks of bounded memory.

Order holds per processor only, so buffers are taken in order of their first record's time. Records older
than the first record of the next unread buffer are released; the rest is carried into the next chunk. The
result equals one stable sort of everything by (time, file, position). Where a system clock was set back the time
to order by is not the time shown (`tracer.etl.clock_steps`); below, `time_ns` is the one to order by until records are made.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import stable_argsort
from tracer.diagnostics import Diagnostics
from tracer.etl.buffers import BUFFER_HEADER, BufferFile, open_traces
from tracer.etl.chunks import Piece, Raw, carry, lay_out, take
from tracer.etl.clock_steps import ClockSteps, find_clock_steps
from tracer.etl.extended import BAD, NO_ITEMS, read_items
from tracer.etl.headers import MESSAGE, MESSAGE_MARK, TIME_AT
from tracer.etl.logfile import LogfileHeader
from tracer.etl.losses import Loss, find_losses
from tracer.etl.overlap import find_repeated
from tracer.etl.providers import ProviderTable
from tracer.etl.records import ReadHeaders, Records, message_time_at, read_header_columns, read_headers
from tracer.etl.shared_clock import share_clocks
from tracer.etl.walk import Walk, walk
from tracer.etl.xpress import inflate

__all__ = ["CHUNK_BYTES", "NUMPY", "EtlReader", "ReadKernels"]

CHUNK_BYTES = 8 << 20  # inflated bytes read at once; memory follows this, not the file
_LOGFILE_GROUP, _SYSTEM64 = "hook-group-0x00", 0x02  # a log file header is hook 0 in a SYSTEM header
_SPARE = 128  # readable bytes behind the last record, so that header gathers stay inside
_TIMELESS = np.iinfo(np.int64).min
_END = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class ReadKernels:
    """The loops that reading consists of, in one form.

    Attributes:
        walk: finds all records of a chunk (`tracer.etl.walk.walk`).
        sort: sorts whole numbers, none negative (`tracer.columns.sorting.stable_argsort`).
        read_headers: reads record headers (`tracer.etl.records.read_headers`).
        in_time_order: whether the records of a chunk are put in time order, or left where they stand, with the
            permutation beside them: decoding by columns wants positions that rise.
    """

    walk: Callable[[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]], Walk]
    sort: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    read_headers: ReadHeaders
    in_time_order: bool


NUMPY = ReadKernels(walk, stable_argsort, read_headers, in_time_order=False)


class EtlReader:
    """One or several .etl files, merged by time.

    A source is a trace: nearly always a file, but files may hold several (`tracer.etl.buffers`).

    Attributes:
        sources: the traces, file by file; `Records.source` points into it.
        diagnostics: the counters of each.
        headers: the log file header of each.
        clock_steps: where the clock of each was set back; None where it was not.
        providers: names of the providers met so far; `Records.provider` points into it.
        losses: what the headers and buffers say is missing; complete once the reader is exhausted.
        bytes_done, bytes_total: progress, in bytes of the files.

    With `reuse` the bytes of a chunk are overwritten by the next one: fresh memory costs as much as reading.
    The loops are those of `kernels`.

    Raises:
        SourceError: a file is empty or no .etl file.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        diagnostics: Sequence[Diagnostics],
        *,
        chunk_bytes: int = CHUNK_BYTES,
        reuse: bool = False,
        kernels: ReadKernels = NUMPY,
    ) -> None:
        self._kernels = kernels
        self.sources: list[BufferFile] = []
        self.diagnostics: list[Diagnostics] = []
        self._chunk_bytes = chunk_bytes
        self._room = np.empty(0, np.uint8) if reuse else None
        self._providers = ProviderTable()
        self.losses: list[Loss] = []
        self.bytes_done = 0
        try:
            for path, found in zip(paths, diagnostics, strict=True):
                traces = open_traces(Path(path), found)
                self.sources += traces
                self.diagnostics += [found, *(Diagnostics() for _ in traces[1:])]
            share_clocks(self.sources)
            find_repeated(self.sources, self.diagnostics)
        except BaseException:
            self.close()
            raise
        self.clock_steps: list[ClockSteps | None] = [find_clock_steps(file) for file in self.sources]
        for found, steps in zip(self.diagnostics, self.clock_steps, strict=True):
            for step in steps.steps if steps else ():
                found.count("clock_set_back", offset=step.offset)
        self.bytes_total = sum(file.size for file in self.sources)
        for number, file in enumerate(self.sources):
            self.losses += find_losses(number, file, self.diagnostics[number])

    @property
    def headers(self) -> list[LogfileHeader]:
        """The log file header of each source, in the order given."""
        return [file.header for file in self.sources]

    @property
    def providers(self) -> list[str]:
        """Provider names, by number."""
        return self._providers.names

    def latest(self, loss: Loss) -> int | None:
        """Return the end of a loss in the time that records are ordered by, or later."""
        steps = self.clock_steps[loss.source]
        return loss.to_ns if steps is None or loss.to_ns is None else loss.to_ns + int(steps.shifts.max())

    def set_backs(self) -> list[Loss]:
        """Return, as rows of the table `losses`, the times that came twice because the clock was set back."""
        return [
            Loss(number, "clock", step.by_ns, step.after_ns, step.before_ns, None,
                 f"the system clock was set back by {step.by_ns / 1e9:,.3f} s or more: times between come twice")
            for number, steps in enumerate(self.clock_steps)
            for step in (steps.steps if steps else ())
        ]  # fmt: skip

    def close(self) -> None:
        """Close the files."""
        for file in self.sources:
            file.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Records]:
        """Yield Records; each begins no earlier than the one before it ended."""
        pieces = self._in_time_order()
        carried: tuple[NDArray[np.uint8], Raw] | None = None
        released = _TIMELESS
        at = 0
        while at < len(pieces) or carried is not None:
            until, total = at, 0
            while until < len(pieces) and (until == at or total < self._chunk_bytes):
                total += pieces[until].buffer.filled
                until += 1
            horizon = pieces[until].time_ns if until < len(pieces) else _END
            raw, found = self._read(pieces[at:until], carried)
            self.bytes_done += sum(piece.buffer.size for piece in pieces[at:until])
            at = until
            ready = found.time_ns < horizon if horizon != _END else np.ones(len(found.start), bool)
            carried = None
            if not ready.all():
                carried = carry(raw, found, ~ready)
                found = take(found, ready)
            if len(found.start):
                late = found.time_ns < released
                if late.any():
                    self._count("late_record", found, late)
                released = max(released, int(found.time_ns.max()))
                yield self._records(raw, found)

    def _in_time_order(self) -> list[Piece]:
        pieces = []
        for number, file in enumerate(self.sources):
            buffers = [b for b in file.buffers if b.filled > BUFFER_HEADER and b.at not in file.repeated]
            stamps = np.array([b.stamp if b.stamp is not None else 0 for b in buffers], np.int64)
            times = file.header.to_ns(stamps)
            if steps := self.clock_steps[number]:
                times += steps.shift(np.array([b.place + BUFFER_HEADER for b in buffers], np.int64))
            # A buffer whose first record has no time is read first: early is safe, late is not.
            pieces += [
                Piece(number, b, _TIMELESS if b.stamp is None else time)
                for b, time in zip(buffers, times.tolist(), strict=True)
            ]
        pieces.sort(key=lambda piece: (piece.time_ns, piece.source, piece.buffer.at))
        return pieces

    def _read(
        self, pieces: Sequence[Piece], carried: tuple[NDArray[np.uint8], Raw] | None
    ) -> tuple[NDArray[np.uint8], Raw]:
        """Load the buffers behind the carried records, walk them, and give every record its time."""
        pieces = sorted(pieces, key=lambda piece: (piece.source, piece.buffer.at))
        kept = len(carried[0]) if carried else 0
        starts, runs = lay_out(pieces, kept)
        raw = self._memory(starts[-1] + _SPARE)
        raw[starts[-1] :] = 0
        if carried:
            raw[:kept] = carried[0]
        filled: list[int] = []
        for run in runs:
            filled += self._load(pieces[run], starts[run], raw)
        begins = np.array(starts[:-1], np.int64)
        found = self._kernels.walk(raw, begins, np.array(filled, np.int64))
        lane = np.repeat(np.arange(len(pieces)), np.diff(np.searchsorted(found.start, starts)))
        sources = np.array([piece.source for piece in pieces], np.int16)
        places = np.array([piece.buffer.place + BUFFER_HEADER for piece in pieces], np.int64) - begins
        kind = np.where(found.mark >> 8 == MESSAGE_MARK, MESSAGE, found.mark & 0xFF).astype(np.uint8)
        chunk = Raw(
            start=found.start,
            size=found.size,
            kind=kind,
            time_ns=self._times(raw, found, kind, lane, sources, places, pieces),
            cpu=np.array([piece.buffer.cpu for piece in pieces], np.int16)[lane],
            source=sources[lane],
            offset=found.start + places[lane],
        )
        broken = np.searchsorted(begins, found.bad, side="right") - 1
        for position, at_lane in zip(found.bad.tolist(), broken.tolist(), strict=True):
            offset = position + int(places[at_lane])
            self._damage(pieces[at_lane], "bad_record", offset, filled[at_lane] - position)
        if carried:
            chunk = Raw(
                *(np.concatenate([getattr(carried[1], name), getattr(chunk, name)]) for name in Raw.__slots__)
            )
        return raw, chunk

    def _memory(self, size: int) -> NDArray[np.uint8]:
        size = size + 7 & ~7
        if self._room is None:
            return np.empty(size, np.uint8)
        if len(self._room) < size:
            self._room = np.empty(size + size // 8 & ~7, np.uint8)
        return self._room[:size]

    def _load(self, pieces: Sequence[Piece], starts: Sequence[int], raw: NDArray[np.uint8]) -> list[int]:
        """Put the records of one run at their places in `raw`; return where the good bytes of each end."""
        first, last = pieces[0], pieces[-1]
        file = self.sources[first.source].file
        file.seek(first.buffer.at + BUFFER_HEADER)
        ends = [
            start + piece.buffer.filled - BUFFER_HEADER for piece, start in zip(pieces, starts, strict=True)
        ]
        if not last.buffer.compressed:
            read: int = file.readinto(raw[starts[0] : ends[-1]].data)  # type: ignore[attr-defined]
            return [min(end, starts[0] + read) for end in ends]
        data = file.read(last.buffer.size - BUFFER_HEADER)
        out = inflate(data, ends[0] - starts[0])
        if out is None:
            self._damage(last, "bad_compression", last.buffer.at, last.buffer.size)
            return [starts[0]]
        raw[starts[0] : ends[0]] = np.frombuffer(out, np.uint8)
        return ends

    def _times(
        self,
        raw: NDArray[np.uint8],
        found: Walk,
        kind: NDArray[np.uint8],
        lane: NDArray[np.int64],
        sources: NDArray[np.int16],
        places: NDArray[np.int64],
        pieces: Sequence[Piece],
    ) -> NDArray[np.int64]:
        start = found.start
        stamps = raw.view(np.int64).take(start + TIME_AT.take(kind) >> 3)
        messages = np.flatnonzero(kind == MESSAGE)
        if len(messages):
            self._stamp_messages(raw, start, found.size, messages, lane, stamps, pieces)
        times = np.empty(len(start), np.int64)
        for number in np.flatnonzero(np.bincount(sources)).tolist():
            mine = slice(None) if len(self.sources) == 1 else sources[lane] == number
            times[mine] = self.sources[number].header.to_ns(stamps[mine])
            if steps := self.clock_steps[number]:
                times[mine] += steps.shift((start + places[lane])[mine])
        back = (times[1:] < times[:-1]) & (np.diff(lane) == 0)  # a difference may not fit in 64 bits
        if back.any():
            row = int(np.argmax(back)) + 1
            piece = pieces[int(lane[row])]
            self.diagnostics[piece.source].count("time_backwards", int(back.sum()), offset=piece.buffer.at)
        return times

    def _stamp_messages(
        self,
        raw: NDArray[np.uint8],
        start: NDArray[np.int64],
        size: NDArray[np.int64],
        rows: NDArray[np.int64],
        lane: NDArray[np.int64],
        stamps: NDArray[np.int64],
        pieces: Sequence[Piece],
    ) -> None:
        """Give WPP messages their time; one without a stamp has that of the record before it in its buffer."""
        halves, words = raw.view(np.uint16), raw.view(np.uint32)
        at = start[rows]
        options = halves[(at >> 1) + 3].astype(np.int64)
        place = message_time_at(options)
        stamped = (options & 8 != 0) & (place + 8 <= size[rows])
        place = np.where(stamped, at + place >> 2, 0)
        stamps[rows] = (words[place] | words[place + 1].astype(np.uint64) << np.uint64(32)).astype(np.int64)
        for row in rows[~stamped].tolist():
            if row and lane[row - 1] == lane[row]:
                stamps[row] = stamps[row - 1]
            else:
                stamps[row] = self.sources[pieces[int(lane[row])].source].header.first_stamp

    def _records(self, raw: NDArray[np.uint8], found: Raw) -> Records:
        order = self._time_order(found)
        if self._kernels.in_time_order:
            found, order = take(found, order), np.arange(len(order))
        end = found.start + found.size
        shown = self._shown_times(found)
        facts = read_header_columns(
            raw, found.start, found.kind, end, self._providers, self._kernels.read_headers
        )
        self._count_headers(found, facts["provider"], facts["opcode"])
        items = NO_ITEMS
        if (facts["items"] >= 0).any():
            items, payload, bad = read_items(raw, facts["items"], end)
            facts["payload"] = np.where(payload >= 0, payload, facts["payload"])
            if len(bad):
                facts["items"][bad], facts["payload"][bad] = BAD, end[bad]
                self._count("odd_extended_items", found, np.isin(np.arange(len(end)), bad))
        return Records(
            raw=raw,
            order=order,
            ordered=self._kernels.in_time_order,
            start=found.start,
            end=end,
            kind=found.kind,
            time_ns=found.time_ns if shown is None else shown,
            order_ns=None if shown is None else found.time_ns,
            cpu=found.cpu,
            source=found.source,
            offset=found.offset,
            extended=items,
            **facts,
        )

    def _shown_times(self, found: Raw) -> NDArray[np.int64] | None:
        """Return the times as recorded; None where these are the ones that records are ordered by."""
        if not any(self.clock_steps):
            return None
        shown = found.time_ns.copy()
        for number, steps in enumerate(self.clock_steps):
            if steps:
                mine = found.source == number
                shown[mine] -= steps.shift(found.offset[mine])
        return shown

    def _time_order(self, found: Raw) -> NDArray[np.int64]:
        """Return the order by (time, source, offset)."""
        since = found.time_ns - found.time_ns.min()
        # Times of damaged records may be further apart than a signed number can tell: as unsigned ones they are right.
        sort = self._kernels.sort if since.min() >= 0 else stable_argsort
        order = sort(since)
        same = np.diff(found.time_ns.take(order)) == 0
        if same.any():  # rows of one time: by source and offset
            tied = np.zeros(len(order), bool)
            tied[1:] |= same
            tied[:-1] |= same
            rows = order[tied]
            order[tied] = rows[np.lexsort((found.offset[rows], found.source[rows], found.time_ns[rows]))]
        return order

    def _count_headers(self, found: Raw, provider: NDArray[np.int32], opcode: NDArray[np.int16]) -> None:
        """Count log file headers (hook 0) other than each source's first record."""
        if _LOGFILE_GROUP in self.providers:
            rows = (provider == self.providers.index(_LOGFILE_GROUP)) & (opcode == 0)
            first = np.array([file.at + BUFFER_HEADER for file in self.sources])
            rows &= (found.kind <= _SYSTEM64) & (found.offset != first[found.source])
            if rows.any():
                self._count("merged_header", found, rows)

    def _damage(self, piece: Piece, name: str, offset: int, size: int) -> None:
        self.diagnostics[piece.source].count(name, offset=offset)
        time = None if piece.time_ns == _TIMELESS else piece.time_ns
        until = self.sources[piece.source].header.one_to_ns(piece.buffer.flushed)
        self.losses.append(
            Loss(piece.source, "damage", size, time, until, piece.buffer.cpu, f"{name} at offset {offset}")
        )

    def _count(self, name: str, found: Raw, rows: NDArray[np.bool_]) -> None:
        for number in np.flatnonzero(np.bincount(found.source[rows])).tolist():
            mine = rows & (found.source == number)
            self.diagnostics[number].count(name, int(mine.sum()), offset=int(found.offset[mine].min()))
