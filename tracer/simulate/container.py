"""The .etl container: buffers, processors, flags and the log file header, written as Windows writes them.

`EtlWriter` takes finished records (tracer.simulate.headers) and puts each into the open buffer of its
processor. It knows nothing of the registry. Everything that can be wrong with a real file is an option:
lost buffers and events, buffers out of order, a circular file, one never finalised, one cut short.
"""

import io
import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import BinaryIO

from tracer.schema import SIMULATED_NAME
from tracer.simulate.headers import ExtendedItem, build_record
from tracer.simulate.logfile import logfile_record
from tracer.simulate.xpress import compress

__all__ = ["BUFFER_HEADER_SIZE", "Clock", "EtlWriter", "Placement", "pack_buffer"]

BUFFER_HEADER_SIZE = 72
_BUFFER_HEADER = struct.Struct("<IIIiqqQHHIIHH16s")
_FLUSH_MARKER, _EVENTS_LOST, _BUFFER_LOST, _PROC_INDEX, _COMPRESSED = 0x01, 0x02, 0x04, 0x20, 0x40
_GENERIC, _HEADER = 0, 4
_PADDING = tuple(bytes(-size & 7) for size in range(8))  # by the last bits of a size
_FLUSHED = 3
_SMALL_HEADER_BUFFER = 0x400  # compressed files: the header buffer is plain and small
_MODE_SEQUENTIAL, _MODE_CIRCULAR, _MODE_PREALLOCATE, _MODE_COMPRESSED = 0x1, 0x2, 0x20, 0x04000000
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Clock:
    """The session clock.

    Attributes:
        type: 1 performance counter, 2 system time, 3 processor cycles.
        frequency: PerfFreq of the header, Hz.
        mhz: CpuSpeedInMHz of the header.
        start_filetime: StartTime of the header (100 ns since 1601).
        start_ticks: raw time stamp of the header record, which is the moment of start_filetime.
    """

    type: int = 1
    frequency: int = 10_000_000
    mhz: int = 2400
    start_filetime: int = 133_800_000_000_000_000
    start_ticks: int = 861_234_567_890

    @property
    def ticks_per_microsecond(self) -> float:
        """How many raw ticks a microsecond has."""
        return {2: 10.0, 3: float(self.mhz)}.get(self.type, self.frequency / 1_000_000)

    def filetime(self, ticks: int) -> int:
        """Return the FILETIME of a raw time stamp."""
        past = ticks - self.start_ticks
        if self.type == 3:
            return self.start_filetime + past * 10 // self.mhz
        return self.start_filetime + past * 10_000_000 // (10_000_000 if self.type == 2 else self.frequency)


@dataclass(slots=True)
class _Buffer:
    """The buffer a processor is filling."""

    number: int
    doomed: bool  # it will be lost, not written
    data: bytearray
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """The place of each buffer's records in the file, by buffer number (as `append` counted them).

    Attributes:
        offsets: file offset of the buffer's header, in a compressed file where it would be if no buffer
            were compressed; -1 if the buffer is not in the file.
        limits: a record survives when its end inside the buffer is not above this; 0 for a missing buffer.
        buffers_lost: buffers dropped before they were written.
        events_lost: events dropped before they reached a buffer.
        size: of the file, bytes.
    """

    offsets: "array[int]"
    limits: "array[int]"
    buffers_lost: int
    events_lost: int
    size: int


def pack_buffer(
    records: bytes,
    *,
    size: int,
    cpu: int = 0,
    flags: int = _PROC_INDEX,
    sequence: int = 0,
    ticks: int = 0,
    kind: int = _GENERIC,
    compressed: bool = False,
    saved_offset: int | None = None,
) -> bytes:
    """Return a whole buffer around `records` (each already padded to 8 bytes).

    `size` is the buffer's size in the file; compressed, the stored bytes decide it instead.
    """
    filled = BUFFER_HEADER_SIZE + len(records)
    body = records
    if compressed:
        body = compress(records)
        size = BUFFER_HEADER_SIZE + len(body)
        flags |= _COMPRESSED
    header = _BUFFER_HEADER.pack(
        size, filled if saved_offset is None else saved_offset, filled, 0, ticks, sequence, 0, cpu, 7,
        _FLUSHED, filled, flags, kind, bytes(16),
    )  # fmt: skip
    return (header + body).ljust(size, b"\0") if compressed else header + body + b"\xff" * (size - filled)


class EtlWriter:
    """Writes one .etl.

    Args:
        path: file to write; None keeps the bytes in memory until `finish`.
        cpus: processors, each with a stream of buffers of its own.
        buffer_size: bytes of a buffer.
        pointer_size: 4 or 8, of the header record.
        clock: the session clock.
        compressed: XPRESS-compress the buffers.
        disorder: how many full buffers are held back and written in random order.
        lost_buffers: share of buffers that are lost.
        circular_mib: size of a circular file in MiB; 0 is sequential.
        zeros_mib: MiB of preallocated, unused zeros at the end.
        unfinalised: leave EndTime 0 and BuffersWritten stale, as a crash does.
        cut: end the file inside its last buffer.
        seed: of what is random here.
        logger_name: session name in the header.
        build: Windows build in the header.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        cpus: int = 1,
        buffer_size: int = 65536,
        pointer_size: int = 8,
        clock: Clock | None = None,
        compressed: bool = False,
        disorder: int = 0,
        lost_buffers: float = 0.0,
        circular_mib: int = 0,
        zeros_mib: int = 0,
        unfinalised: bool = False,
        cut: bool = False,
        seed: int = 0,
        logger_name: str = SIMULATED_NAME,
        build: int = 19045,
    ) -> None:
        self.clock = clock or Clock()
        self.pointer_size = pointer_size
        self.buffer_size = buffer_size
        self.last_ticks = self.clock.start_ticks
        self.events_lost = 0
        self.buffers_lost = 0
        self._file: BinaryIO = path.open("w+b") if path else io.BytesIO()
        self._compressed, self._disorder, self._lost_share = compressed, disorder, lost_buffers
        self._zeros, self._unfinalised, self._cut = zeros_mib * _MIB, unfinalised, cut
        self._slots = max(2, circular_mib * _MIB // buffer_size) - 1 if circular_mib else 0
        self._random = Random(seed)
        self._names = (logger_name, path.name if path else "memory.etl")
        self._build, self.cpus = build, cpus
        self._offsets, self._limits = array("q"), array("q")
        self._owners: dict[int, int] = {}  # slot of a circular file -> number of the buffer in it
        self._held: list[tuple[int, bytes]] = []
        self._lost_before = [0] * cpus
        self._sequence = 0
        self._written = 1
        self._grown = 0  # by how much the buffers so far would be longer if none were compressed
        self._last: tuple[int, int, int] | None = None  # last buffer of the file: number, offset, filled
        self._file.write(self._header_buffer(final=False))
        self._end = self._file.tell()
        self._open: list[_Buffer] = [self._new_buffer() for _ in range(cpus)]

    def add_record(
        self, kind: str, *, cpu: int = 0, ticks: int, provider: str | int = 0, id_: int = 0, version: int = 0,
        opcode: int = 0, pid: int = 0, tid: int = 0, payload: bytes = b"", pointer_size: int | None = None,
        extended: tuple[ExtendedItem, ...] = (), **more: object,
    ) -> tuple[int, int]:  # fmt: skip
        """Build a record (see `tracer.simulate.headers.build_record`) and append it."""
        record = build_record(
            kind, provider=provider, id_=id_, version=version, opcode=opcode, pid=pid, tid=tid, ticks=ticks,
            payload=payload, pointer_size=pointer_size or self.pointer_size, extended=extended,
            **more,  # type: ignore[arg-type]
        )  # fmt: skip
        return self.append(cpu, record, ticks)

    def append(self, cpu: int, record: bytes, ticks: int) -> tuple[int, int]:
        """Put a record into the processor's buffer; return the buffer's number and the place inside it."""
        buffer = self._open[cpu]
        data = buffer.data
        place, size = len(data) + BUFFER_HEADER_SIZE, len(record)
        if place + size > self.buffer_size:
            if size + BUFFER_HEADER_SIZE > self.buffer_size:
                raise ValueError(f"a record of {size} bytes does not fit a buffer of {self.buffer_size}")
            self.flush(cpu)
            buffer = self._open[cpu]
            data = buffer.data
            place = BUFFER_HEADER_SIZE
        data += record
        if size & 7:
            data += _PADDING[size & 7]
        if ticks > self.last_ticks:  # not max(): one call a record
            self.last_ticks = ticks
        return buffer.number, place

    def lose_event(self, cpu: int) -> None:
        """Count an event that never reached a buffer."""
        self.events_lost += 1
        self._open[cpu].flags |= _EVENTS_LOST

    def flush(self, cpu: int) -> None:
        """Hand the processor's buffer over to the file, full or not."""
        buffer = self._open[cpu]
        if not buffer.data:
            return
        self._sequence += 1
        if buffer.doomed:
            self.buffers_lost += 1
            self._lost_before[cpu] += 1
        else:
            if self._lost_before[cpu]:
                buffer.flags |= _BUFFER_LOST
                self._lost_before[cpu] = 0
            # The reservation that did not fit leaves CurrentOffset beyond the end in real files; readers
            # must use Offset, so the two are kept equal only where etl-parser needs it (SavedOffset).
            whole = pack_buffer(
                bytes(buffer.data), size=self.buffer_size, cpu=cpu, flags=_PROC_INDEX | buffer.flags,
                sequence=self._sequence, ticks=self.last_ticks, compressed=self._compressed,
            )  # fmt: skip
            self._held.append((buffer.number, whole))
            if len(self._held) > self._disorder:
                self._write_one()
        self._open[cpu] = self._new_buffer()

    def flush_all(self) -> None:
        """Flush every processor's buffer, as the session's flush timer does."""
        for cpu in range(self.cpus):
            self.flush(cpu)

    def finish(self, path: Path | None = None) -> Placement:
        """Write remaining buffers, finalise the header and close; `path` receives a file kept in memory."""
        self.flush_all()
        while self._held:
            self._write_one()
        end = self._end
        if self._last and not self._unfinalised:  # the last buffer of a file that was stopped is marked
            self._or_flag(self._last[1], _FLUSH_MARKER)
        if self._last and self._cut:
            end = self._cut_last(end)
        if self._zeros and not self._cut:
            end += self._zeros
        self._file.truncate(end)
        self._file.seek(0)
        self._file.write(self._header_buffer(final=not self._unfinalised))
        if path is not None and isinstance(self._file, io.BytesIO):
            path.write_bytes(self._file.getvalue())
        self._file.close()
        return Placement(self._offsets, self._limits, self.buffers_lost, self.events_lost, end)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()

    def _new_buffer(self) -> _Buffer:
        number = len(self._offsets)
        self._offsets.append(-1)
        self._limits.append(0)
        return _Buffer(
            number, bool(self._lost_share) and self._random.random() < self._lost_share, bytearray()
        )

    def _write_one(self) -> None:
        place = int(self._random.random() * len(self._held)) if len(self._held) > 1 else 0
        number, whole = self._held.pop(place)
        if self._slots:
            slot = (self._written - 1) % self._slots
            overwritten = self._owners.get(slot)
            if overwritten is not None:
                self._offsets[overwritten], self._limits[overwritten] = -1, 0
            self._owners[slot] = number
            offset = (1 + slot) * self.buffer_size
        else:
            offset = self._end
        self._file.seek(offset)
        self._file.write(whole)
        self._offsets[number], self._limits[number] = offset + self._grown, 1 << 32
        self._written += 1
        (filled,) = struct.unpack_from("<I", whole, 0x30)
        self._grown += max(filled - len(whole), 0)
        if offset + len(whole) >= self._end:
            self._end = offset + len(whole)
            self._last = (number, offset, filled)

    def _or_flag(self, offset: int, flag: int) -> None:
        self._file.seek(offset + 0x34)
        (flags,) = struct.unpack("<H", self._file.read(2))
        self._file.seek(offset + 0x34)
        self._file.write(struct.pack("<H", flags | flag))

    def _cut_last(self, end: int) -> int:
        """Return where the file ends when it is cut in the middle of its last buffer's records."""
        assert self._last is not None
        number, offset, filled = self._last
        if self._compressed:
            self._limits[number] = 0  # half a compressed stream is of no use
            return (offset + BUFFER_HEADER_SIZE + end) // 2
        inside = BUFFER_HEADER_SIZE + (filled - BUFFER_HEADER_SIZE) // 2 + 5
        self._limits[number] = inside
        return offset + inside

    def _header_buffer(self, *, final: bool) -> bytes:
        mode = _MODE_CIRCULAR if self._slots else _MODE_SEQUENTIAL
        mode |= _MODE_COMPRESSED if self._compressed else 0
        mode |= _MODE_PREALLOCATE if self._zeros else 0
        record = logfile_record(
            pointer_size=self.pointer_size, buffer_size=self.buffer_size, mode=mode, cpus=self.cpus,
            build=self._build, compressed=self._compressed, clock_type=self.clock.type,
            frequency=self.clock.frequency, mhz=self.clock.mhz, start_filetime=self.clock.start_filetime,
            start_ticks=self.clock.start_ticks, names=self._names,
            maximum_mib=(self._slots + 1) * self.buffer_size // _MIB if self._slots else 0,
            end_filetime=self.clock.filetime(self.last_ticks) if final else 0,
            buffers_written=self._written if final and not self._slots else
            min(self._written, self._slots + 1) if final else 1,
            events_lost=self.events_lost if final else 0, buffers_lost=self.buffers_lost if final else 0,
        )  # fmt: skip
        size = _SMALL_HEADER_BUFFER if self._compressed else self.buffer_size
        return pack_buffer(record.ljust((len(record) + 7) & ~7, b"\0"), size=size,
                           flags=_FLUSH_MARKER | _PROC_INDEX, ticks=self.clock.start_ticks,
                           kind=_HEADER)  # fmt: skip
