"""A chunk of an event log: its checksums, where its records are, and the same records in a frame of our own.

A chunk is 64 KiB: a header of 512 bytes, then records one after the other. Offsets in the chunk are those of libevtx's
"Windows XML Event Log (EVTX) format" and hold for real files:

    0x00  8 bytes  "ElfChnk", NUL                   0x30  uint32  end of the records (free space begins)
    0x18  uint64   identifier of the first record   0x34  uint32  CRC32 of the records, from 512 to their end
    0x20  uint64   identifier of the last record    0x78  uint32  flags: 4 no checksums
    0x28  uint32   size of the header, 128          0x7C  uint32  CRC32 of bytes 0 to 120 and 128 to 512
    0x2C  uint32   offset of the last record        0x80  uint32[64], uint32[32]  chains of names and of templates

A record is "**" NUL NUL, uint32 size, uint64 identifier, uint64 FILETIME when it was written, BinXML, and its size again.

The library that decodes BinXML follows the chains and believes the headers: one changed byte makes it turn in a circle.
So it gets neither. `whole_records` finds the records of a sound chunk, `find_records` those of any, and frames are chunks for
the library with headers of our own; the bodies stay at their offsets, because BinXML refers to names and templates by
offset, and defines each where it is first used.
"""

from __future__ import annotations

import struct
import zlib

TYPE_CHECKING = False  # see tracer.evtx.protocol
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = [
    "CHUNK_MAGIC",
    "CHUNK_SIZE",
    "Span",
    "find_records",
    "frame",
    "is_chunk_sound",
    "is_unused",
    "numbered_frame",
    "read_chunk",
    "whole_records",
]

CHUNK_SIZE = 65536
CHUNK_MAGIC = b"ElfChnk\0"
_ZEROS = bytes(CHUNK_SIZE)
_RECORDS_AT = 512
_HEAD = struct.Struct("<8sQQQQIIII")
_FLAGS_AT, _CHAINS_AT = 0x78, 0x80
_NO_CHECKSUMS = 4
_RECORD = struct.Struct("<4sIQQ")
_SIZE = struct.Struct("<I")
_RECORD_MAGIC = b"\x2a\x2a\0\0"
_MAGIC_SIZE_STAMP = struct.Struct("<II16s")
_MAGIC_NUMBER = int.from_bytes(_RECORD_MAGIC, "little")
_SMALLEST = _RECORD.size + _SIZE.size
_ANY_TIME = 132_223_104_000_000_000  # the library reads the time of a record; ours is read here
_NO_TOKEN = 0xFF  # no token of BinXML begins so: the library refuses such a record and goes on
_NO_IDENTIFIER = 2**64 - 1  # the library stops after the record that the header calls the last


def _file_header() -> bytes:
    """Return the header of a log with one chunk."""
    head = struct.pack("<8sQQQIHHHH", b"ElfFile\0", 0, 0, 1, 128, 1, 3, 4096, 1).ljust(120, b"\0")
    return (head + struct.pack("<II", 0, zlib.crc32(head))).ljust(4096, b"\0")


_FILE_HEADER = _file_header()


# A stretch of a chunk, a record or bytes in which no record could be recognised: its offset in the chunk, its size, what
# its header says of its identifier (None of bytes that are no record), and its FILETIME (0 of those).
Span = tuple[int, int, int | None, int]


def read_chunk(file: BinaryIO, offset: int, end: int) -> tuple[bytes, int]:
    """Return a chunk, filled up with zeros, and how many of its bytes the file holds.

    Args:
        file: the log, which may have become shorter.
        offset: where the chunk begins.
        end: where reading ends.
    """
    file.seek(offset)
    content = file.read(min(CHUNK_SIZE, end - offset))
    return content.ljust(CHUNK_SIZE, b"\0"), len(content)


def is_unused(chunk: bytes) -> bool:
    """Return whether a chunk holds nothing but zeros."""
    return chunk == _ZEROS


def is_chunk_sound(chunk: bytes) -> bool:
    """Return whether a chunk begins as one and passes both of its checksums, where it has them."""
    if len(chunk) != CHUNK_SIZE or not chunk.startswith(CHUNK_MAGIC):
        return False
    end, checksum = _HEAD.unpack_from(chunk)[-2:]
    flags, header_checksum = struct.unpack_from("<II", chunk, _FLAGS_AT)
    if flags & _NO_CHECKSUMS:
        return True
    return (
        _RECORDS_AT <= end <= CHUNK_SIZE
        and zlib.crc32(memoryview(chunk)[_RECORDS_AT:end]) == checksum
        and zlib.crc32(chunk[_CHAINS_AT:_RECORDS_AT], zlib.crc32(chunk[:_FLAGS_AT])) == header_checksum
    )


def whole_records(chunk: bytes, available: int) -> tuple[list[int], list[bytes], int] | None:
    """Find the records of a chunk in which nothing but whole records leads to the end that its header states.

    Returns:
        The offset of each; identifier and FILETIME of each as they stand there (two uint64); and where they end. None
        where the chunk is not so, or may hold records after that end: `find_records` has the answer then.
    """
    end: int = _HEAD.unpack_from(chunk)[-2]
    if not _RECORDS_AT <= end <= available or chunk.startswith(_RECORD_MAGIC, end):
        return None
    unpack, magic, smallest = _MAGIC_SIZE_STAMP.unpack_from, _MAGIC_NUMBER, _SMALLEST
    offsets: list[int] = []
    stamps: list[bytes] = []
    add, add_stamp = offsets.append, stamps.append
    at, last = _RECORDS_AT, end - smallest
    while at <= last:
        begin, size, stamp = unpack(chunk, at)
        if begin != magic or size < smallest:
            return None
        add(at)
        add_stamp(stamp)
        at += size
    return (offsets, stamps, end) if at == end else None


def find_records(chunk: bytes, available: int) -> tuple[list[Span], int]:
    """Find the records of any chunk, and the stretches that should hold some.

    Where a record's header makes no sense, the search goes on at the next bytes that do. Records after the end that the
    header states (it is older than they are, in a log that was open) are taken as long as their identifiers go on by one.

    Args:
        chunk: 65,536 bytes.
        available: how many of them the file holds; the rest is zeros.

    Returns:
        The stretches in the order of their offsets, and how many of the records are after the stated end.
    """
    stated = _HEAD.unpack_from(chunk)[-2]
    is_stated = _RECORDS_AT <= stated <= CHUNK_SIZE
    end = min(stated, available) if is_stated else available
    spans: list[Span] = []
    at = _walk(chunk, end, spans)
    if at < end and (is_stated or any(chunk[at:end])):
        spans.append((at, end - at, None, 0))
    within = len(spans)
    if is_stated:
        _walk_beyond(chunk, end, available, spans)
    return spans, len(spans) - within


def frame(chunk: bytes, end: int) -> bytes:
    """Return a log of one chunk for the library, whose header is true and says no more than it needs.

    Args:
        chunk: 65,536 bytes, of which `whole_records` found the records.
        end: where they end.
    """
    return b"".join((_FILE_HEADER, _chunk_header(end), memoryview(chunk)[_RECORDS_AT:]))


def numbered_frame(chunk: bytes, spans: list[Span]) -> bytes:
    """Return a log as `frame` does, of any chunk: the headers of the records are made, too.

    The identifier of each is the index of its span, and stretches without a record become records that the library refuses.

    Args:
        chunk: 65,536 bytes.
        spans: what `find_records` returned.
    """
    if spans and spans[-1][2] is None:  # nothing after it, so nothing has to lead over it
        spans = spans[:-1]
    made = bytearray(chunk)
    made[:_RECORDS_AT] = _chunk_header(spans[-1][0] + spans[-1][1] if spans else _RECORDS_AT)
    for index, (at, size, record_id, _) in enumerate(spans):
        _RECORD.pack_into(made, at, _RECORD_MAGIC, size, index, _ANY_TIME)
        if record_id is None:
            made[at + _RECORD.size] = _NO_TOKEN
    return _FILE_HEADER + made


def _chunk_header(end: int) -> bytes:
    return _HEAD.pack(CHUNK_MAGIC, 1, 1, 1, _NO_IDENTIFIER, 128, 0, end, 0).ljust(_RECORDS_AT, b"\0")


def _walk(chunk: bytes, end: int, spans: list[Span]) -> int:
    """Add the records before `end` to `spans`; return the offset after the last one."""
    unpack, trailer = _RECORD.unpack_from, _SIZE.unpack_from
    at, last = _RECORDS_AT, end - _SMALLEST
    while at <= last:
        magic, size, record_id, filetime = unpack(chunk, at)
        after = at + size
        if (
            magic == _RECORD_MAGIC
            and _SMALLEST <= size <= end - at
            and (
                trailer(chunk, after - 4)[0] == size or after == end or chunk.startswith(_RECORD_MAGIC, after)
            )
        ):
            spans.append((at, size, record_id, filetime))
            at = after
            continue
        following = _next_record(chunk, at + _SMALLEST, end)
        if following is None:
            break
        spans.append((at, following - at, None, 0))
        at = following
    return at


def _next_record(chunk: bytes, at: int, end: int) -> int | None:
    """Return the offset of the next whole record at or after `at`; None if there is none."""
    while (at := chunk.find(_RECORD_MAGIC, at, end)) >= 0:
        if at + _SMALLEST <= end:
            size = _SIZE.unpack_from(chunk, at + len(_RECORD_MAGIC))[0]
            if _SMALLEST <= size <= end - at and _SIZE.unpack_from(chunk, at + size - _SIZE.size)[0] == size:
                return at
        at += 1
    return None


def _walk_beyond(chunk: bytes, at: int, end: int, spans: list[Span]) -> None:
    """Add whole records that follow on the last one, by offset and by identifier."""
    last = spans[-1][2] if spans else None
    if spans and last is None:
        return
    while at + _SMALLEST <= end:
        magic, size, record_id, filetime = _RECORD.unpack_from(chunk, at)
        if (
            magic != _RECORD_MAGIC
            or not _SMALLEST <= size <= end - at
            or _SIZE.unpack_from(chunk, at + size - _SIZE.size)[0] != size
            or (last is not None and record_id != last + 1)
        ):
            return
        spans.append((at, size, record_id, filetime))
        at, last = at + size, record_id
