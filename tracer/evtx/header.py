"""The header of an event log: what it says of the file, and which files are none.

Offsets are those of libevtx's "Windows XML Event Log (EVTX) format" and hold for real files; the records themselves are
those of [MS-EVEN6], section 2.2. All numbers are little-endian.

    0x00  8 bytes  "ElfFile", NUL           0x26  uint16  major version
    0x08  uint64   first chunk (the oldest)  0x28  uint16  size of the header block, 4096
    0x10  uint64   last chunk                0x2A  uint16  number of chunks
    0x18  uint64   next record identifier    0x78  uint32  flags: 1 dirty, 2 full
    0x20  uint32   size of the header, 128   0x7C  uint32  CRC32 of the first 120 bytes
    0x24  uint16   minor version
"""

import struct
import zlib
from dataclasses import dataclass

from tracer.errors import SourceError

__all__ = ["HEADER_BLOCK", "MAGIC", "FileHeader", "read_header"]

MAGIC = b"ElfFile\0"
HEADER_BLOCK = 4096
_FIELDS = struct.Struct("<QQQIHHHH")
_FIELDS_AT, _FLAGS_AT = 8, 0x78
_DIRTY, _FULL = 1, 2
_OLD_MAGIC_AT, _OLD_MAGIC = 4, b"LfLe"  # of the logs of Windows XP and Server 2003


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the header says; nothing of it is believed where the file itself can be asked.

    Attributes:
        version: major and minor format version, such as (3, 1).
        chunks: how many chunks it counts; a log that is open has more.
        first_chunk: number of the chunk with the oldest records.
        last_chunk: number of the chunk that is written to.
        next_record_id: identifier that the next record would get.
        is_dirty: Windows had the log open, so that the header may be older than the chunks.
        is_full: the log reached its largest size, and Windows keeps the old records.
        is_sound: the header passes its checksum, and its sizes are those of the format.
    """

    version: tuple[int, int]
    chunks: int
    first_chunk: int
    last_chunk: int
    next_record_id: int
    is_dirty: bool
    is_full: bool
    is_sound: bool

    def facts(self) -> dict[str, object]:
        """Return what it says, by name, for users."""
        return {
            "format_version": ".".join(map(str, self.version)),
            "header_chunks": self.chunks,
            "first_chunk": self.first_chunk,
            "last_chunk": self.last_chunk,
            "next_record_id": self.next_record_id,
            "is_dirty": self.is_dirty,
            "is_full": self.is_full,
        }


def read_header(raw: bytes, shown: str) -> FileHeader:
    """Read the header of an event log.

    Args:
        raw: the first bytes of the file, a header block of them if it has so many.
        shown: the file's name in messages.

    Raises:
        SourceError: it is no event log of this format, or ends inside its header.
    """
    if raw[_OLD_MAGIC_AT : _OLD_MAGIC_AT + len(_OLD_MAGIC)] == _OLD_MAGIC:
        raise SourceError(
            f"{shown} is an event log of Windows XP or Server 2003 (.evt), which is not read; "
            "convert it on Windows with: wevtutil export-log OLD.evt NEW.evtx /lf:true"
        )
    if not raw.startswith(MAGIC):
        raise SourceError(
            f"{shown} is not a Windows event log: it does not start with ElfFile at offset 0; export the log again "
            "with: wevtutil export-log LOG FILE.evtx"
        )
    if len(raw) < HEADER_BLOCK:
        raise SourceError(
            f"{shown} is cut inside its header, at offset 0x{len(raw):X} of 0x{HEADER_BLOCK:X}; "
            "copy it again from where it was recorded."
        )
    first, last, next_record, size, minor, major, block, chunks = _FIELDS.unpack_from(raw, _FIELDS_AT)
    flags, checksum = struct.unpack_from("<II", raw, _FLAGS_AT)
    is_sound = size == 128 and block == HEADER_BLOCK and checksum == zlib.crc32(raw[:_FLAGS_AT])
    return FileHeader(
        (major, minor), chunks, first, last, next_record, bool(flags & _DIRTY), bool(flags & _FULL), is_sound
    )
