"""What parent and child say to each other: chunks one way, records the other. All numbers are little-endian.

The child begins with a greeting: one byte (1: the library is loaded), uint16 size, and that many bytes of UTF-8 (the
reason, if it is not). Then the parent sends groups: uint32 number of chunks, and for each uint32 how many of its bytes
the file holds, and 65,536 bytes. The child answers each chunk of a group at once, in their order:

    uint8   1 if it broke off: the library failed in a way that leaves nothing to go on with, or made too much
    uint32  records that follow on the end that the chunk's header states
    uint32  n, number of records
    uint32  m, number of lost stretches
    uint32  bytes of JSON
    n * uint32    offsets in the chunk
    n * uint64    identifiers
    n * uint64    FILETIMEs when they were written
    n * uint32    where the JSON of each ends
    m * 3 uint32  offset in the chunk, size, 1 if it is one record, else 0
    bytes         the JSON of all records, UTF-8

The parent believes no number of an answer: sizes are checked against what a chunk can hold before anything is read.
"""

import struct
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from tracer.evtx.chunk import CHUNK_SIZE

__all__ = [
    "JSON_LIMIT",
    "Answer",
    "ProtocolError",
    "read_answer",
    "read_greeting",
    "read_group",
    "write_answer",
    "write_greeting",
    "write_group",
]

JSON_LIMIT = 16 << 20  # bytes of a chunk: real ones make some 300 KB
_GROUP_LIMIT = 64
_ITEMS_LIMIT = CHUNK_SIZE // 24  # a record is larger than its header
_U32 = struct.Struct("<I")
_GREETING = struct.Struct("<BH")
_ANSWER = struct.Struct("<BIIII")


class ProtocolError(Exception):
    """The other side ended, or said something that makes no sense."""


class Answer(NamedTuple):  # dataclasses would be a fifth of a child's start
    """The records of one chunk, as columns of little-endian numbers (the types are those of the protocol)."""

    broke_off: bool
    beyond: int
    records: int
    offsets: bytes
    identifiers: bytes
    filetimes: bytes
    ends: bytes
    lost: Sequence[tuple[int, int, bool]]
    json: bytes


def write_greeting(sink: BinaryIO, failure: str | None) -> None:
    """Say that the library is loaded, or with which `failure` it is not."""
    text = (failure or "").encode("utf-8", "replace")[:0xFFFF]
    sink.write(_GREETING.pack(failure is None, len(text)) + text)
    sink.flush()


def read_greeting(source: BinaryIO) -> str | None:
    """Return with which failure the library is not loaded; None if it is.

    Raises:
        ProtocolError: the child ended before it said so.
    """
    is_loaded, size = _GREETING.unpack(_exactly(source, _GREETING.size))
    text = _exactly(source, size).decode("utf-8", "replace")
    return None if is_loaded else text


def write_group(sink: BinaryIO, chunks: Sequence[tuple[int, bytes]]) -> None:
    """Send chunks: of each, how many of its bytes the file holds, and 65,536 bytes."""
    parts = [_U32.pack(len(chunks))]
    for available, content in chunks:
        parts += [_U32.pack(available), content]
    sink.write(b"".join(parts))
    sink.flush()


def read_group(source: BinaryIO) -> list[tuple[int, bytes]]:
    """Return the next group of chunks; an empty list if the parent ended or wants no more."""
    try:
        count = _U32.unpack(_exactly(source, _U32.size))[0]
        if count > _GROUP_LIMIT:
            return []
        return [
            (_U32.unpack(_exactly(source, _U32.size))[0], _exactly(source, CHUNK_SIZE)) for _ in range(count)
        ]
    except ProtocolError:
        return []


def write_answer(sink: BinaryIO, answer: Answer) -> None:
    """Send the records of a chunk."""
    head = _ANSWER.pack(answer.broke_off, answer.beyond, answer.records, len(answer.lost), len(answer.json))
    lost = b"".join(struct.pack("<III", *stretch) for stretch in answer.lost)
    sink.write(
        b"".join((head, answer.offsets, answer.identifiers, answer.filetimes, answer.ends, lost, answer.json))
    )
    sink.flush()


def read_answer(source: BinaryIO) -> Answer:
    """Return the records of the next chunk.

    Raises:
        ProtocolError: the child ended, or a size makes no sense.
    """
    broke_off, beyond, count, losses, size = _ANSWER.unpack(_exactly(source, _ANSWER.size))
    if max(beyond, count, losses) > _ITEMS_LIMIT or size > JSON_LIMIT:
        raise ProtocolError(f"{count} records, {losses} lost stretches and {size} bytes of one chunk")
    offsets, identifiers, filetimes, ends = (_exactly(source, count * width) for width in (4, 8, 8, 4))
    lost = [
        (at, length, bool(is_record))
        for at, length, is_record in struct.iter_unpack("<III", _exactly(source, 12 * losses))
    ]
    json = _exactly(source, size)
    return Answer(bool(broke_off), beyond, count, offsets, identifiers, filetimes, ends, lost, json)


def _exactly(source: BinaryIO, size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise ProtocolError("the other side ended")
    return content
