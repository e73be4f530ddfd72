"""What parent and child say to each other: which chunks, one way; what they hold, the other. All numbers are little-endian.

The child begins with a greeting: one byte (1: the library is loaded), uint16 size, and that many bytes of UTF-8 (the
reason, if it is not). Then the parent asks for stretches of a file: uint64 where the first chunk begins, uint64 where the
stretch ends, uint32 size of the path, and the path. The child reads the file, decodes all chunks of the stretch, and
answers once:

    uint32  number of chunks
    uint32  the system's number of the error, if the file cannot be read: nothing follows; else 0
    of each chunk:
        uint8   1 nothing but zeros, 2 sound (`is_chunk_sound`), 4 broke off (see `Chunk`), 8 its JSON is in the window
        uint32  bytes of the chunk that the file holds
        uint32  records that follow on the end that the chunk's header states
        uint32  n, number of records
        uint32  m, number of lost stretches
        uint32  bytes of JSON
    of the records of all chunks:
        n * uint32      offset in the chunk
        n * 2 uint64    identifier, and the FILETIME when it was written
        n * uint32      bytes of its JSON
    m * 3 uint32  offset in the chunk, size, 1 if it is one record, else 0
    bytes         JSON that is not in the window, UTF-8, of one chunk after the other

The window (`tracer.evtx.window`) belongs to the child from a question to its answer. The JSON of a stretch stands there from
its beginning, that of one chunk after the other. What finds no room goes through the pipe.

The parent believes no number of an answer: sizes are checked against what a chunk can hold before anything is read.
"""

from __future__ import annotations

import errno
import io
import os
import struct
from itertools import islice

from tracer.evtx.chunk import CHUNK_SIZE

TYPE_CHECKING = False  # a child starts in half the time without the module typing, and all that it imports
if TYPE_CHECKING:
    from collections.abc import Sequence
    from mmap import mmap
    from typing import BinaryIO

__all__ = [
    "JSON_LIMIT",
    "Answer",
    "Chunk",
    "Decoded",
    "ProtocolError",
    "StretchWriter",
    "read_answer",
    "read_greeting",
    "read_stretch",
    "write_greeting",
    "write_stretch",
]

JSON_LIMIT = 16 << 20  # bytes of a chunk: real ones make some 300 KB
_ITEMS_LIMIT = CHUNK_SIZE // 24  # a record is larger than its header
_PATH_LIMIT = 1 << 20
_GREETING = struct.Struct("<BH")
_STRETCH = struct.Struct("<QQI")
_HEAD = struct.Struct("<II")
_CHUNK = struct.Struct("<BIIIII")
_LOST = struct.Struct("<III")
_UNUSED, _SOUND, _BROKE_OFF, _IN_WINDOW = 1, 2, 4, 8


class ProtocolError(Exception):
    """The other side ended, or said something that makes no sense."""


class Chunk:
    """What is known of a chunk beside its records.

    Attributes:
        available: how many of its bytes the file holds.
        is_unused: it holds nothing but zeros.
        is_sound: it begins as a chunk does and passes its checksums.
        broke_off: the library failed in a way that leaves nothing to go on with, or made too much text.
        beyond: how many records follow on the end that the header states.
        records: how many there are.
        lost: stretches without a record that can be read: offset in the chunk, size, whether it is one record.
    """

    __slots__ = ("available", "beyond", "broke_off", "is_sound", "is_unused", "lost", "records")

    def __init__(
        self,
        available: int,
        *,
        is_unused: bool,
        is_sound: bool,
        broke_off: bool = False,
        beyond: int = 0,
        records: int = 0,
        lost: Sequence[tuple[int, int, bool]] = (),
    ) -> None:
        """Take what is known."""
        self.available, self.is_unused, self.is_sound = available, is_unused, is_sound
        self.broke_off, self.beyond, self.records, self.lost = broke_off, beyond, records, lost


class Decoded:
    """Records as columns; the types are those of the protocol, `json` is that of all."""

    __slots__ = ("json", "offsets", "sizes", "stamps")

    def __init__(
        self, offsets: bytes = b"", stamps: bytes = b"", sizes: bytes = b"", json: bytes = b""
    ) -> None:
        """Take the columns."""
        self.offsets, self.stamps, self.sizes, self.json = offsets, stamps, sizes, json


class Answer:
    """What a stretch holds: its chunks, and the records of all of them."""

    __slots__ = ("chunks", "records")

    def __init__(self, chunks: list[Chunk], records: Decoded) -> None:
        """Take both."""
        self.chunks, self.records = chunks, records


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


def write_stretch(sink: BinaryIO, path: str, begin: int, end: int) -> None:
    """Ask for the chunks of a file from offset `begin` up to `end`."""
    name = os.fsencode(path)
    sink.write(_STRETCH.pack(begin, end, len(name)) + name)
    sink.flush()


def read_stretch(source: BinaryIO) -> tuple[str, int, int] | None:
    """Return what the parent asks for next, as given to `write_stretch`; None if it ended or wants no more."""
    try:
        begin, end, size = _STRETCH.unpack(_exactly(source, _STRETCH.size))
        return (os.fsdecode(_exactly(source, size)), begin, end) if size <= _PATH_LIMIT else None
    except ProtocolError:
        return None


class StretchWriter:
    """The child's answer to one question, chunk by chunk."""

    def __init__(self, window: mmap | None) -> None:
        """Take the window; None: there is none."""
        self._window, self._filled = window, 0
        self._heads: list[bytes] = []
        self._columns: tuple[list[bytes], ...] = ([], [], [], [], [])

    def add(self, chunk: Chunk, records: Decoded) -> None:
        """Add the next chunk."""
        json, begin = records.json, self._filled
        end = begin + len(json)
        state = _UNUSED * chunk.is_unused | _SOUND * chunk.is_sound | _BROKE_OFF * chunk.broke_off
        if self._window is not None and end <= len(self._window):
            self._window[begin:end] = json
            self._filled, json = end, b""
            state |= _IN_WINDOW
        counts = chunk.available, chunk.beyond, chunk.records, len(chunk.lost), len(records.json)
        self._heads.append(_CHUNK.pack(state, *counts))
        lost = b"".join(_LOST.pack(*one) for one in chunk.lost)
        for column, content in zip(
            self._columns, (records.offsets, records.stamps, records.sizes, lost, json), strict=True
        ):
            column.append(content)

    def write(self, sink: BinaryIO, failure: OSError | None = None) -> None:
        """Send the answer, or that the file cannot be read."""
        if failure is None:
            columns = (b"".join(column) for column in self._columns)
            sink.write(b"".join((_HEAD.pack(len(self._heads), 0), *self._heads, *columns)))
        else:
            sink.write(_HEAD.pack(0, failure.errno or errno.EIO))
        sink.flush()


def read_answer(source: BinaryIO, count: int, window: mmap | None) -> Answer:
    """Return the answer about a stretch of so many chunks.

    Args:
        source: where it comes from.
        count: number of chunks.
        window: memory that the child shares; None: there is none.

    Raises:
        ProtocolError: the child ended, or a size makes no sense.
        OSError: the child cannot read the file.
    """
    answered, error = _HEAD.unpack(_exactly(source, _HEAD.size))
    if error:
        raise OSError(error, os.strerror(error))
    if answered != count:
        raise ProtocolError(f"{answered} chunks instead of {count}")
    heads = list(_CHUNK.iter_unpack(_exactly(source, count * _CHUNK.size)))
    for _, *counts, size in heads:
        if max(counts) > CHUNK_SIZE or max(counts[1:]) > _ITEMS_LIMIT or size > JSON_LIMIT:
            raise ProtocolError(f"{counts} and {size} bytes of one chunk")
    records = sum(head[3] for head in heads)
    offsets, stamps, sizes = (_exactly(source, records * width) for width in (4, 16, 4))
    lost = _LOST.iter_unpack(_exactly(source, _LOST.size * sum(head[4] for head in heads)))
    chunks = [
        Chunk(
            available,
            is_unused=bool(state & _UNUSED), is_sound=bool(state & _SOUND), broke_off=bool(state & _BROKE_OFF),
            beyond=beyond, records=number,
            lost=[(at, length, bool(is_record)) for at, length, is_record in islice(lost, losses)],
        )
        for state, available, beyond, number, losses, _ in heads
    ]  # fmt: skip
    in_window = sum(head[5] for head in heads if head[0] & _IN_WINDOW)
    if in_window > (0 if window is None else len(window)):
        raise ProtocolError(f"{in_window} bytes in the window")
    if sum(struct.unpack(f"<{records}I", sizes)) != sum(head[5] for head in heads):
        raise ProtocolError("bytes of JSON that belong to no record")
    json = b"" if window is None else window[:in_window]
    if any(head[5] and not head[0] & _IN_WINDOW for head in heads):
        shared = io.BytesIO(json)
        json = b"".join(
            shared.read(head[5]) if head[0] & _IN_WINDOW else _exactly(source, head[5]) for head in heads
        )
    return Answer(chunks, Decoded(offsets, stamps, sizes, json))


def _exactly(source: BinaryIO, size: int) -> bytes:
    content = source.read(size)
    if len(content) < size:
        raise ProtocolError("the other side ended")
    return content
