"""Records of one event log, as batches of JSON text, with an account of everything that is damaged."""

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.evtx.chunk import CHUNK_SIZE
from tracer.evtx.header import HEADER_BLOCK, read_header
from tracer.evtx.losses import EvtxLoss, LossList
from tracer.evtx.pool import ChunkPool, Group
from tracer.evtx.process import CHILD
from tracer.evtx.protocol import Chunk, Decoded

__all__ = ["BATCH_SCHEMA", "EvtxReader"]

BATCH_SCHEMA = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("record_id", pa.int64()),
        pa.field("written_ns", pa.int64()),
        pa.field("json", pa.large_string(), nullable=False),
    ]
)
_BATCH_RECORDS, _BATCH_BYTES = 8192, 16 << 20
_LAST_FILETIME = FILETIME_EPOCH + (2**63 - 1) // 100  # the last whose nanoseconds fit


class EvtxReader:
    """Records of one .evtx file, chunk by chunk, decoded in child processes.

    A chunk whose checksum is wrong is read all the same, and counted: the last chunk of a log that was copied while it
    was open has a wrong one, and its records are whole. What cannot be read is in `losses`; nothing raises for damage.

    The library cuts a text at a NUL and drops half of a surrogate pair, and says neither: a name with one of them is not
    the name that was logged.

    Attributes:
        facts: what the header says (`tracer.evtx.header.FileHeader.facts`), and what `batches` saw so far: chunks (in
            use), records, and first_written_ns and last_written_ns, the earliest and latest time at which a record
            was written (None without records).
        losses: stretches that gave no records, in the order of the file; whole once `batches` ended.
    """

    def __init__(
        self,
        path: Path,
        shown: str,
        diagnostics: Diagnostics,
        *,
        size: int | None = None,
        deadline_s: float = 2.0,
        children: int | None = None,
        program: Sequence[str] = CHILD,
    ) -> None:
        """Read the header.

        Args:
            path: the log.
            shown: its name in messages.
            diagnostics: where everything odd is counted.
            size: how many bytes of the file are the log; None for all it holds now.
            deadline_s: processor time that a child has for one chunk (a sound one takes some milliseconds). A busy
                machine does not shorten it, except on Windows, where ten times as much on the clock is the limit.
            children: how many processes decode; None for one per processor, at most two.
            program: what a child runs, for tests.

        Raises:
            SourceError: it cannot be opened, is no event log, is one of Windows XP (.evt), or ends in its header.
        """
        self._path, self._shown, self._diagnostics = path, shown, diagnostics
        try:
            with path.open("rb") as file:
                raw = file.read(HEADER_BLOCK if size is None else min(size, HEADER_BLOCK))
                self._size = os.fstat(file.fileno()).st_size if size is None else size
        except OSError as error:
            raise SourceError(f"{shown} cannot be read: {error.strerror or error}") from error
        self._header = read_header(raw, shown)
        self._deadline_s, self._program = deadline_s, program
        self._children = min(2, os.cpu_count() or 1) if children is None else children
        self._losses = LossList()
        self._ends_unused = False
        self.facts: dict[str, Any] = {
            **self._header.facts(),
            "chunks": 0,
            "records": 0,
            "first_written_ns": None,
            "last_written_ns": None,
        }

    @property
    def losses(self) -> list[EvtxLoss]:
        """Stretches of the file that gave no records, in its order."""
        return self._losses.losses

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Yield the records in the order of the file, some thousands at once; call it once.

        Columns: offset (of the record in the file), record_id (of its header; exports number anew, and the
        identifier that the log had is in the JSON; NULL beyond int64), written_ns (its header's time, UTC, nanoseconds since
        1970; NULL where that is no time in int64), json (the library's form: Event.System, Event.EventData, attributes
        below #attributes; it does not escape names of elements, so that of a damaged or hostile record may be no JSON).

        Raises:
            SourceError: the file cannot be read any more, no child can be started, or the library is missing.
        """
        if not self._header.is_sound:
            self._diagnostics.count("evtx_odd_header", offset=0)
        if self._header.is_dirty:
            self._diagnostics.count("evtx_dirty", offset=0)
        pool = ChunkPool(
            self._path,
            HEADER_BLOCK,
            self._size,
            children=self._children,
            deadline_s=self._deadline_s,
            program=self._program,
        )
        waiting = _Waiting()
        try:
            for group in pool:
                records = _Records(group)
                self._account(group, records)
                if records.count:
                    waiting.add(records)
                    if waiting.is_full:
                        yield waiting.batch()
        except OSError as error:
            raise SourceError(f"{self._shown} cannot be read any more: {error.strerror or error}") from error
        finally:
            pool.close()
        self._account_for_end()
        if waiting.records:
            yield waiting.batch()

    def _account(self, group: Group, records: "_Records") -> None:
        """Count what became of some chunks."""
        done = 0
        for index, chunk in enumerate(group.answer.chunks):
            number, offset = group.number + index, group.offset + index * CHUNK_SIZE
            self._ends_unused = chunk.is_unused
            if chunk.is_unused:
                self._diagnostics.count("zero_tail", offset=offset)
                continue
            self.facts["chunks"] += 1
            if group.is_lost or chunk.beyond or chunk.broke_off or not chunk.is_sound:
                self._count_odd(chunk, offset, is_lost=group.is_lost)
            if (
                self._header.is_sound and self._header.chunks <= number <= 0xFFFF
            ):  # the header counts in 16 bits
                self._diagnostics.count("evtx_chunks_beyond_header", offset=offset)
            self._note_losses(chunk, offset, records, done)
            done += chunk.records
        self.facts["records"] += records.count
        times = records.times[records.is_time]
        if len(times):
            first, last = self.facts["first_written_ns"], self.facts["last_written_ns"]
            low, high = int(times.min()), int(times.max())
            self.facts["first_written_ns"] = low if first is None else min(first, low)
            self.facts["last_written_ns"] = high if last is None else max(last, high)

    def _count_odd(self, chunk: Chunk, offset: int, *, is_lost: bool) -> None:
        count = self._diagnostics.count
        if not chunk.is_sound:
            count("evtx_chunk_damaged", offset=offset)
        if is_lost:
            count("evtx_chunk_hangs", offset=offset)
            self._losses.add(offset, chunk.available, None, "a chunk that the decoder did not survive")
        if chunk.broke_off:
            count("evtx_chunk_broken_off", offset=offset)
        count("evtx_records_beyond_header", chunk.beyond, offset=offset)

    def _note_losses(self, chunk: Chunk, chunk_offset: int, records: "_Records", first: int) -> None:
        """Note the times of a chunk's records, of which the first has this number, and the stretches between them that are lost."""
        mine = slice(first, first + chunk.records)
        times, is_time = records.times[mine], records.is_time[mine]
        if not is_time.all():
            times = times[is_time]
        done = 0
        if chunk.lost:
            offsets = records.offsets[mine][is_time]
            for at, size, is_record in chunk.lost:
                before = int(np.searchsorted(offsets, at))
                if before > done:
                    self._losses.pass_records(int(times[done]), int(times[before - 1]))
                    done = before
                self._diagnostics.count("evtx_record_damaged", offset=chunk_offset + at)
                self._losses.add(chunk_offset + at, size, 1 if is_record else None, "damaged records")
        if done < len(times):
            self._losses.pass_records(int(times[done]), int(times[-1]))

    def _account_for_end(self) -> None:
        """Count a file that ends before its header and its last chunk say so."""
        held = self._size - HEADER_BLOCK
        missing = 0 if self._ends_unused else -held % CHUNK_SIZE
        chunks = -(-held // CHUNK_SIZE)
        if self._header.is_sound and chunks < self._header.chunks:
            missing += (self._header.chunks - chunks) * CHUNK_SIZE
        if missing:
            self._diagnostics.count("evtx_cut", offset=self._size)
            self._losses.add(self._size, missing, None, "the file ends before its last chunk does")


class _Records:
    """The records of a group of chunks as columns: offset in the chunk, and in the file; times and which are some."""

    def __init__(self, group: Group) -> None:
        decoded: Decoded = group.answer.records
        self.offsets = np.frombuffer(decoded.offsets, "<u4")
        self.count = len(self.offsets)
        stamps = np.frombuffer(decoded.stamps, "<u8").reshape(-1, 2)
        self.identifiers = stamps[:, 0]
        self.times, self.is_time = _nanoseconds(stamps[:, 1])
        self.sizes = np.frombuffer(decoded.sizes, "<u4")
        chunks = group.offset + CHUNK_SIZE * np.arange(len(group.answer.chunks))
        self.places = self.offsets + np.repeat(chunks, [chunk.records for chunk in group.answer.chunks])
        self.json = decoded.json


class _Waiting:
    """Records that wait to become one batch."""

    def __init__(self) -> None:
        self._groups: list[_Records] = []
        self.records = self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self.records >= _BATCH_RECORDS or self._bytes >= _BATCH_BYTES

    def add(self, group: _Records) -> None:
        self._groups.append(group)
        self.records += group.count
        self._bytes += len(group.json)

    def batch(self) -> pa.RecordBatch:
        """Return what waits as one batch, and wait for more."""
        groups = self._groups
        ends = np.zeros(self.records + 1, np.int64)
        np.cumsum(np.concatenate([group.sizes for group in groups]), out=ends[1:])
        text = pa.py_buffer(b"".join([group.json for group in groups]))
        json = pa.Array.from_buffers(pa.large_string(), self.records, [None, pa.py_buffer(ends), text])
        json.validate(full=True)
        identifiers = np.concatenate([group.identifiers for group in groups])
        is_time = np.concatenate([group.is_time for group in groups])
        columns = [
            from_numbers(np.concatenate([group.places for group in groups])),
            from_numbers(identifiers.astype(np.int64), identifiers <= np.uint64(2**63 - 1)),
            from_numbers(np.concatenate([group.times for group in groups]), is_time),
            json,
        ]
        self._groups, self.records, self._bytes = [], 0, 0
        return pa.record_batch(columns, schema=BATCH_SCHEMA)


def _nanoseconds(units: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return FILETIMEs as UTC nanoseconds since 1970, and which of them are times in int64."""
    is_time = (units >= np.uint64(FILETIME_EPOCH)) & (units <= np.uint64(_LAST_FILETIME))
    since = np.where(is_time, units, np.uint64(FILETIME_EPOCH)) - np.uint64(FILETIME_EPOCH)
    return since.astype(np.int64) * 100, is_time
