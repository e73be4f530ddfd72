"""The chain of buffers in one .etl file: where each starts, what it holds, what damage there is.

A file may hold several traces, one behind the other (files that were joined, sessions that append): a further
buffer of the type "header" that begins with a log file header begins a trace with a clock of its own.

Only headers and first records are read here, so a file of any size costs little memory. The chain follows
each buffer's own BufferSize: the log file header's differs in relogged files, its BuffersWritten is stale
in files that were never finalised, and compressed buffers follow each other without alignment.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.etl.headers import EVENT_MARK, HEADERS, MESSAGE_MARK
from tracer.etl.logfile import LogfileHeader, parse_logfile_header
from tracer.etl.xpress import inflate, inflate_start

__all__ = ["BUFFER_HEADER", "BUFFER_LOST", "EVENTS_LOST", "Buffer", "BufferFile", "open_traces"]

BUFFER_HEADER = 72  # WMI_BUFFER_HEADER
EVENTS_LOST, BUFFER_LOST, PROC_INDEX, COMPRESSED = 0x02, 0x04, 0x20, 0x40
_HEADER_BUFFER = 4  # BufferType
_LARGEST = 16 << 20  # Windows 8 and later
_MODE_CIRCULAR = 2
_MOST_INFLATION = 4096  # a buffer of nothing but zeros inflates some hundred times
_ZEROS = bytes(1 << 20)
_FIRST = struct.Struct(
    "<I12xqq16xIHH"
)  # BufferSize, TimeStamp, SequenceNumber, Offset, BufferFlag, BufferType
_PEEK = BUFFER_HEADER + 0x50  # reaches the time stamp of the first record; of a compressed one, enough input


@dataclass(frozen=True, slots=True)
class Buffer:
    """One buffer.

    Attributes:
        at, size: where it stands in the file and how long it is there, header included.
        filled: bytes of header and records, after inflating.
        place: `at`, or in a file with compressed buffers where it would stand if none were.
        stamp: raw time of its first record; None where it has none.
        flushed: raw time at which it was written, no earlier than any record in it.
        sequence: number the session gave it; on real files 1, 2, 3, ... with none left out but lost ones.
        cut: the file ends before the buffer does.
    """

    at: int
    size: int
    filled: int
    place: int
    flags: int
    cpu: int
    stamp: int | None
    flushed: int
    sequence: int
    cut: bool

    @property
    def compressed(self) -> bool:
        """Whether what follows the header is XPRESS data."""
        return bool(self.flags & COMPRESSED)


@dataclass(slots=True)
class BufferFile:
    """A trace in an .etl file: the file's handle, the trace's header, and its buffers in file order.

    Attributes:
        at, size: where in the file the trace stands and how long it is; nearly always the whole file.
        gaps: the stretches (from, to) in which no buffer could be read; unused space is none.
        repeated: where the buffers stand that another trace holds too, and that are read there.
    """

    path: Path
    file: BinaryIO
    size: int
    header: LogfileHeader
    at: int = 0
    buffers: list[Buffer] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    repeated: set[int] = field(default_factory=set)

    @property
    def name(self) -> str:
        """How the trace is called in a sentence."""
        return f"{self.path} (the trace at offset {self.at})" if self.at else str(self.path)

    @property
    def circular(self) -> bool:
        """Whether the file wraps: its oldest buffers were overwritten."""
        return bool(self.header.mode & _MODE_CIRCULAR)


def first_stamp(start: bytes) -> int | None:
    """Return the raw time stamp of the record that `start` begins with; None where it has none."""
    if len(start) < 8:
        return None
    mark, kind = start[3], start[2]
    at: int | None = None
    if mark == MESSAGE_MARK:
        options = int.from_bytes(start[6:8], "little")
        at = 8 + 4 * (options & 1) + (4 if options & 4 else 16 if options & 2 else 0)
        if not options & 0x08 or int.from_bytes(start[:2], "little") < at + 8:
            return None
    elif mark == EVENT_MARK and kind in HEADERS:
        at = HEADERS[kind].time
    if at is None or len(start) < at + 8:
        return None
    return int.from_bytes(start[at : at + 8], "little", signed=True)


def open_traces(path: Path, diagnostics: Diagnostics) -> list[BufferFile]:
    """Open an .etl file and follow its chain of buffers; the caller closes `.file`, which its traces share.

    Raises:
        SourceError: the file is empty, or its first buffer does not hold a log file header.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        size = os.fstat(file.fileno()).st_size  # what is added later is not read
        traces = [BufferFile(path, file, size, _read_header(path, file, size))]
        while (more := _follow(traces[-1], diagnostics)) is not None:
            traces.append(more)
    except BaseException:
        file.close()
        raise
    return traces


def _read_header(path: Path, file: BinaryIO, size: int) -> LogfileHeader:
    head = file.read(BUFFER_HEADER)
    if not head:
        raise SourceError(f"{path}: the file is empty; record the trace again or name another file")
    wrong = f"{path}: not an .etl file (offset 0 holds no buffer header); regtrace reads .etl and Procmon .pml files"
    if len(head) < BUFFER_HEADER:
        raise SourceError(wrong)
    stride, _, _, filled, flags, _ = _FIRST.unpack_from(head)
    if not BUFFER_HEADER < stride <= _LARGEST or not BUFFER_HEADER < filled <= _LARGEST:
        raise SourceError(wrong)
    body = _inflated(file.read(min(stride, size) - BUFFER_HEADER), filled, flags)
    stamp = first_stamp(body)
    if stamp is None or not _is_logfile_record(body):
        raise SourceError(
            f"{path}: no log file header at offset {BUFFER_HEADER}; the file is damaged at its start or "
            "not an .etl file, and without that header no time in it can be told"
        )
    header = _parse_header(body, stamp)
    if header is None:
        raise SourceError(
            f"{path}: the log file header at offset {BUFFER_HEADER} is cut short ({len(body)} bytes are there); "
            "the file holds nothing that could be read"
        )
    return header


def _inflated(body: bytes, filled: int, flags: int) -> bytes:
    if flags & COMPRESSED:
        return inflate(body, filled - BUFFER_HEADER) or inflate_start(body, 0x600)
    return body


def _is_logfile_record(body: bytes) -> bool:
    return body[2] in (0x01, 0x02) and body[6:8] == b"\0\0"


def _parse_header(body: bytes, stamp: int) -> LogfileHeader | None:
    length = int.from_bytes(body[4:6], "little")
    return parse_logfile_header(body[0x20:length], 4 if body[2] == 0x01 else 8, stamp)


def _further_header(
    file: BinaryIO, at: int, buffer_length: int, filled: int, flags: int
) -> LogfileHeader | None:
    """Return the log file header that the buffer at `at`, of the type "header", begins with; None without one."""
    file.seek(at + BUFFER_HEADER)
    body = _inflated(file.read(buffer_length - BUFFER_HEADER), filled, flags)
    stamp = first_stamp(body)
    return None if stamp is None or not _is_logfile_record(body) else _parse_header(body, stamp)


def _zeros_from(file: BinaryIO, at: int) -> int:
    """Return how many zero bytes stand at `at`, as far as whole blocks tell."""
    file.seek(at)
    count = 0
    while (block := file.read(len(_ZEROS))) == _ZEROS:
        count += len(block)
    return count


def _follow(source: BufferFile, diagnostics: Diagnostics) -> BufferFile | None:
    """Fill `source.buffers`, counting damage; after a bad header go on at the next sound one.

    Returns the trace that begins where this one ends, if the file goes on with one.
    """
    at, stride, zeros, skipped_from = source.at, source.header.buffer_size, True, None
    grown = 0  # bytes that inflating the buffers so far would add
    file, size = source.file, source.at + source.size
    following: BufferFile | None = None
    unpack = _FIRST.unpack_from
    while at < size:
        file.seek(at)
        head = file.read(_PEEK)
        remaining = size - at
        if len(head) >= BUFFER_HEADER:
            length, flushed, sequence, filled, flags, kind = unpack(head)
            limit = min(_LARGEST, length * _MOST_INFLATION) if flags & COMPRESSED else length
            if BUFFER_HEADER <= length <= _LARGEST and BUFFER_HEADER <= filled <= limit:
                if kind == _HEADER_BUFFER and at > source.at:
                    header = _further_header(file, at, length, filled, flags)
                    if header is not None:
                        diagnostics.count("joined_trace", offset=at)
                        following = BufferFile(source.path, file, size - at, header, at)
                        source.size = at - source.at
                        size = at
                        break
                if skipped_from is not None:
                    diagnostics.count("bad_buffer", offset=skipped_from)
                    source.gaps.append((skipped_from, at))
                    skipped_from = None
                cut = length > remaining
                if cut:
                    diagnostics.count("cut_buffer", offset=at)
                    length = remaining
                    filled = filled if flags & COMPRESSED else min(filled, remaining)
                start = head[BUFFER_HEADER : min(length, filled) if not flags & COMPRESSED else length]
                if flags & COMPRESSED:
                    start = inflate_start(start, 0x30)
                cpu = (head[0x28] | head[0x29] << 8) & 0x7FF if flags & PROC_INDEX else head[0x28]
                place = at + grown
                source.buffers.append(
                    Buffer(at, length, filled, place, flags, cpu, first_stamp(start), flushed, sequence, cut)
                )
                if flags & COMPRESSED:
                    grown += filled - length
                at += length
                if not flags & COMPRESSED:
                    stride = length
                continue
        if skipped_from is None:
            skipped_from, zeros = at, True
        step = stride if BUFFER_HEADER < stride <= _LARGEST else _LARGEST
        if any(head):
            zeros = False
            at += step
        else:  # unused space may be long, and steps short
            at += max(_zeros_from(file, at) // step, 1) * step
    if skipped_from is None:
        return following
    cut = size - skipped_from < BUFFER_HEADER
    diagnostics.count("cut_buffer" if cut else "zero_tail" if zeros else "bad_buffer", offset=skipped_from)
    if cut or not zeros:
        source.gaps.append((skipped_from, size))
    return following
