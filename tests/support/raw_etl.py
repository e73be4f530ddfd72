"""An .etl file made byte by byte with struct, and the plain reading of ours that tests compare with.

Nothing here comes from tracer.simulate, so the simulator and the reader cannot share a mistake. Offsets are
those of the published structures: WMI_BUFFER_HEADER, TRACE_LOGFILE_HEADER, and the record headers.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tracer.diagnostics import Diagnostics
from tracer.etl.losses import Loss
from tracer.etl.reader import CHUNK_BYTES, EtlReader

GUID = "12345678-9abc-def0-1122-334455667788"
START_FILETIME = 133_800_000_000_000_000
FILETIME_OF_1970 = 116_444_736_000_000_000
START_NS = (START_FILETIME - FILETIME_OF_1970) * 100
FIRST_STAMP = 5_000_000_000
EVENTS_LOST, BUFFER_LOST, PROC_INDEX, COMPRESSED = 0x02, 0x04, 0x20, 0x40
CIRCULAR = 2


def pad(record: bytes) -> bytes:
    """Return the record with the zeros that bring the next one to an 8-byte boundary."""
    return record + bytes(-len(record) % 8)


def buffer(
    *records: bytes,
    size: int = 1024,
    cpu: int = 0,
    flags: int = PROC_INDEX,
    flushed: int = 1 << 40,
    sequence: int = 1,
    stored: bytes | None = None,
    filler: bytes = b"\xff",
) -> bytes:
    """Return a buffer around whole records; `stored` is what compression made of them."""
    body = b"".join(pad(record) for record in records)
    filled = 72 + len(body)
    if stored is not None:
        size, body, flags = 72 + len(stored), stored, flags | COMPRESSED
    assert size >= 72 + len(body)
    header = struct.pack("<IIIiqqQ", size, filled, filled, 0, flushed, sequence, 0xDEAD)
    header += struct.pack("<BBHIIHH16s", cpu & 0xFF, cpu >> 8, 3, 1, filled, flags, 0, bytes(16))
    return (header + body).ljust(size, filler)


def logfile_record(
    *,
    wide: bool = True,
    clock: int = 1,
    frequency: int = 10_000_000,
    mhz: int = 2000,
    stamp: int = FIRST_STAMP,
    start: int = START_FILETIME,
    end: int = START_FILETIME + 10**10,
    buffer_size: int = 1024,
    mode: int = 1,
    largest_mib: int = 0,
    cpus: int = 4,
    build: int = 19045,
    boot: int = START_FILETIME - 999,
    written: int = 1,
    events_lost: int = 0,
    buffers_lost: int = 0,
    names: str = "session\0file.etl\0",
) -> bytes:
    """Return hook 0: a SYSTEM header and TRACE_LOGFILE_HEADER."""
    body = struct.pack("<I4BII", buffer_size, 1, 5, 1, 5, build, cpus)
    body += struct.pack("<qIII", end, 156250, largest_mib, mode)
    body += struct.pack("<IIIII", written, 1, 8 if wide else 4, events_lost, mhz)
    body += bytes(16 if wide else 8) + bytes(176)
    body += struct.pack("<qqqII", boot, frequency, start, clock, buffers_lost)
    assert len(body) == (0x118 if wide else 0x110)
    return system(0, 0, stamp, body + names.encode("utf-16-le"), wide=wide)


def etl(*buffers: bytes, header: bytes | None = None, header_size: int = 1024) -> bytes:
    """Return a file: a buffer with the log file header, and the others."""
    first = buffer(header or logfile_record(), size=header_size, flushed=FIRST_STAMP, sequence=0)
    return first + b"".join(buffers)


def system(
    group: int, opcode: int, stamp: int, payload: bytes = b"", *, wide: bool = True, word: int = 2
) -> bytes:
    """SYSTEM_TRACE_HEADER; `word` holds the version, and in its high byte what stands before the payload."""
    head = struct.pack(
        "<HBBHBBIIqII", word, 1 + wide, 0xC0, 32 + len(payload), opcode, group, 22, 11, stamp, 7, 8
    )
    return head + payload


def compact(
    group: int, opcode: int, stamp: int, payload: bytes = b"", *, wide: bool = True, word: int = 2
) -> bytes:
    head = struct.pack("<HBBHBBIIq", word, 3 + wide, 0xC0, 24 + len(payload), opcode, group, 22, 11, stamp)
    return head + payload


def perfinfo(
    group: int, opcode: int, stamp: int, payload: bytes = b"", *, wide: bool = True, word: int = 2
) -> bytes:
    return struct.pack("<HBBHBBq", word, 0x10 + wide, 0xC0, 16 + len(payload), opcode, group, stamp) + payload


def _classic(type_: int, opcode: int, stamp: int, rest: bytes, guid: str) -> bytes:
    head = struct.pack("<HBBBBHIIq", 48 + len(rest), type_, 0xC0, opcode, 4, 2, 22, 11, stamp)
    return head + UUID(guid).bytes_le + struct.pack("<II", 7, 8) + rest


def full(opcode: int, stamp: int, payload: bytes = b"", *, wide: bool = True, guid: str = GUID) -> bytes:
    return _classic(0x14 if wide else 0x0A, opcode, stamp, payload, guid)


def instance(opcode: int, stamp: int, payload: bytes = b"", *, wide: bool = True, old: bool = False) -> bytes:
    ids = struct.pack("<II", 1, 2) + (b"" if old else bytes(range(16)))
    return _classic(0x15 if wide else 0x0B, opcode, stamp, ids + payload, GUID)


def event(
    id_: int,
    stamp: int,
    payload: bytes = b"",
    *,
    wide: bool = True,
    items: bytes = b"",
    guid: str = GUID,
    version: int = 2,
) -> bytes:
    """EVENT_HEADER with the extended items given as bytes."""
    size = 80 + len(items) + len(payload)
    head = struct.pack("<HBBHHIIq", size, 0x12 + wide, 0xC0, bool(items), 0, 22, 11, stamp)
    head += (
        UUID(guid).bytes_le + struct.pack("<HBBBBHQII", id_, version, 16, 4, 46, 0, 1 << 60, 7, 8) + bytes(16)
    )
    return head + items + payload


def error(stamp: int, payload: bytes = b"") -> bytes:
    return struct.pack("<HBBIQq", 80 + len(payload), 0x0D, 0xC0, 0, 0, stamp) + bytes(56) + payload


def message(options: int, stamp: int, payload: bytes = b"") -> bytes:
    """MESSAGE_TRACE_HEADER and the fields that its options name, in their order."""
    body = struct.pack("<I", 99) if options & 0x01 else b""
    if options & 0x04:
        body += struct.pack("<I", 7)
    elif options & 0x02:
        body += UUID(GUID).bytes_le
    if options & 0x08:
        body += struct.pack("<q", stamp)
    if options & 0x20:
        body += struct.pack("<II", 22, 11)
    body += payload
    return struct.pack("<HBBHH", 8 + len(body), 0, 0x90, 12, options) + body


def item(kind: int, data: bytes, *, more: bool) -> bytes:
    """One extended item, padded to 8 bytes."""
    return pad(struct.pack("<HHHH", len(pad(data)) + 8, kind, more, len(data)) + data)


@dataclass(frozen=True, slots=True)
class Row:
    """One record as EtlReader gives it, as plain Python values."""

    source: int
    offset: int
    kind: int
    time_ns: int
    cpu: int
    pid: int
    tid: int
    provider: str
    id: int
    opcode: int
    version: int
    pointer_size: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything a file (or several) gave: rows in order, sizes of the batches, counters, losses."""

    rows: list[Row]
    batches: list[int]
    counts: list[dict[str, int]]
    losses: list[Loss]

    def __getitem__(self, offset: int) -> Row:
        return next(row for row in self.rows if row.offset == offset)


_NUMBERS = (
    "source",
    "offset",
    "kind",
    "time_ns",
    "cpu",
    "pid",
    "tid",
    "id",
    "opcode",
    "version",
    "pointer_size",
)


def read(*paths: Path, chunk_bytes: int = CHUNK_BYTES) -> Reading:
    """Read files through EtlReader, row by row."""
    found = [Diagnostics() for _ in paths]
    rows: list[Row] = []
    batches = []
    with EtlReader(paths, found, chunk_bytes=chunk_bytes) as reader:
        for records in reader:
            batches.append(len(records))
            assert sorted(records.order.tolist()) == list(range(len(records)))
            for at in records.order.tolist():
                numbers = {name: int(getattr(records, name)[at]) for name in _NUMBERS}
                payload = records.raw[records.payload[at] : records.end[at]].tobytes()
                provider = reader.providers[records.provider[at]]
                rows.append(Row(**numbers, provider=provider, payload=payload))
        losses = list(reader.losses)
    return Reading(rows, batches, [{name: count for name, count, _ in one} for one in found], losses)


def read_bytes(folder: Path, *files: bytes, chunk_bytes: int = CHUNK_BYTES) -> Reading:
    """Write files into `folder` and read them."""
    paths: Sequence[Path] = [folder / f"{number}.etl" for number in range(len(files))]
    for path, content in zip(paths, files, strict=True):
        path.write_bytes(content)
    return read(*paths, chunk_bytes=chunk_bytes)
