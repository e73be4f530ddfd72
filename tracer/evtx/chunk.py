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
So it gets neither. `find_records` finds the records, and `frame` makes a chunk for the library with headers of our own; the
bodies stay at their offsets, because BinXML refers to names and templates by offset, and defines each where it is first used.
"""

import struct
import zlib

__all__ = ["CHUNK_MAGIC", "CHUNK_SIZE", "Span", "find_records", "frame", "is_chunk_sound"]

CHUNK_SIZE = 65536
CHUNK_MAGIC = b"ElfChnk\0"
_RECORDS_AT = 512
_HEAD = struct.Struct("<8sQQQQIIII")
_FLAGS_AT, _CHAINS_AT = 0x78, 0x80
_NO_CHECKSUMS = 4
_RECORD = struct.Struct("<4sIQQ")
_SIZE = struct.Struct("<I")
_TRAILER_AND_RECORD = struct.Struct("<I4sIQQ")
_RECORD_MAGIC = b"\x2a\x2a\0\0"
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
        and zlib.crc32(chunk[_RECORDS_AT:end]) == checksum
        and zlib.crc32(chunk[_CHAINS_AT:_RECORDS_AT], zlib.crc32(chunk[:_FLAGS_AT])) == header_checksum
    )


def find_records(chunk: bytes, available: int) -> tuple[list[Span], int]:
    """Find the records of a chunk, and the stretches that should hold some.

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
    if _walk_sound(chunk, end, spans):
        at = end
    else:
        spans.clear()
        at = _walk(chunk, end, spans)
    if at < end and (is_stated or any(chunk[at:end])):
        spans.append((at, end - at, None, 0))
    within = len(spans)
    if is_stated:
        _walk_beyond(chunk, end, available, spans)
    return spans, len(spans) - within


def frame(chunk: bytes, spans: list[Span], *, number: bool) -> bytes:
    """Return a log of one chunk for the library, whose headers are true and say no more than it needs.

    Args:
        chunk: 65,536 bytes.
        spans: what `find_records` returned.
        number: whether to make the headers of the records too: the identifier of each is then the index of its span,
            and stretches without a record become records that the library refuses. Needed where some are damaged.
    """
    if spans and spans[-1][2] is None:  # nothing after it, so nothing has to lead over it
        spans = spans[:-1]
    end = spans[-1][0] + spans[-1][1] if spans else _RECORDS_AT
    head = _HEAD.pack(CHUNK_MAGIC, 1, 1, 1, _NO_IDENTIFIER, 128, 0, end, 0).ljust(_RECORDS_AT, b"\0")
    if not number:
        return b"".join((_FILE_HEADER, head, chunk[_RECORDS_AT:]))
    made = bytearray(chunk)
    made[:_RECORDS_AT] = head
    for index, (at, size, record_id, _) in enumerate(spans):
        _RECORD.pack_into(made, at, _RECORD_MAGIC, size, index, _ANY_TIME)
        if record_id is None:
            made[at + _RECORD.size] = _NO_TOKEN
    return _FILE_HEADER + made


def _walk_sound(chunk: bytes, end: int, spans: list[Span]) -> bool:
    """Do as `_walk`, in less time, where nothing but whole records leads to `end`; else return False."""
    unpack, add, magic, smallest = _TRAILER_AND_RECORD.unpack_from, spans.append, _RECORD_MAGIC, _SMALLEST
    at, last, size = _RECORDS_AT, end - _SMALLEST, 0
    while at <= last:
        trailer, begin, following, record_id, filetime = unpack(chunk, at - _SIZE.size)
        if begin != magic or following < smallest or (trailer != size and at != _RECORDS_AT):
            return False
        size = following
        add((at, size, record_id, filetime))
        at += size
    return at == end


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
