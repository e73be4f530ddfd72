"""Structures and rules of the tracing functions, for the double: offsets, modes, error numbers, filters' bytes."""

import ctypes
import struct
from enum import IntEnum
from typing import Any

__all__ = [
    "FILE_MODES", "INVALID_HANDLE", "PROPERTIES", "Code", "Mode", "check_mode", "extended_table", "file_limit",
    "read_ids", "read_properties", "with_file_mode",
]  # fmt: skip


class Code(IntEnum):
    """Windows error numbers."""

    OK = 0
    NO_PATH = 3
    DENIED = 5
    HANDLE = 6
    BAD_LENGTH = 24
    SHARING = 32
    INVALID = 87
    BAD_PATH = 161
    EXISTS = 183
    DISK_FULL = 112
    MORE = 234
    NOT_FOUND = 1168
    NO_PRIVILEGE = 1314
    NO_ROOM = 1450
    NO_INSTANCE = 4201
    CLOSE_PENDING = 7007


class Mode(IntEnum):
    """Bits of LogFileMode."""

    SEQUENTIAL = 0x1
    CIRCULAR = 0x2
    APPEND = 0x4
    NEWFILE = 0x8
    REAL_TIME = 0x100
    BUFFERING = 0x400
    PRIVATE = 0x800
    KILOBYTES = 0x2000
    PAGED = 0x0100_0000
    SYSTEM = 0x0200_0000


FILE_MODES = Mode.SEQUENTIAL | Mode.CIRCULAR | Mode.APPEND | Mode.NEWFILE
INVALID_HANDLE = 2**64 - 1
PROPERTIES = struct.Struct("<IIQq16sII" + "I" * 14 + "QII")
assert PROPERTIES.size == 120
_FIELDS = (
    "size", "ProviderId", "Handle", "TimeStamp", "Guid", "ClientContext", "Flags", "BufferSize", "MinimumBuffers",
    "MaximumBuffers", "MaximumFileSize", "LogFileMode", "FlushTimer", "EnableFlags", "AgeLimit",
    "NumberOfBuffers", "FreeBuffers", "EventsLost", "BuffersWritten", "LogBuffersLost", "RealTimeBuffersLost",
    "LoggerThreadId", "LogFileNameOffset", "LoggerNameOffset",
)  # fmt: skip


def read_properties(at: int | None) -> dict[str, Any] | None:
    """Return EVENT_TRACE_PROPERTIES by field; None where Wnode.BufferSize does not reach over it."""
    if not at or struct.unpack("<I", ctypes.string_at(at, 4))[0] < 120:
        return None
    return dict(zip(_FIELDS, PROPERTIES.unpack(ctypes.string_at(at, 120)), strict=True))


def with_file_mode(mode: int, log_file: str) -> int:
    """Return the mode as it works: a file without a file mode is written sequentially."""
    return mode | Mode.SEQUENTIAL if log_file and not mode & (FILE_MODES | Mode.BUFFERING) else mode


def file_limit(largest: int, mode: int) -> int | None:
    """Return the bytes after which a file that is not circular ends its session; None for no limit."""
    if not largest or mode & Mode.CIRCULAR:
        return None
    return largest << (10 if mode & Mode.KILOBYTES else 20)


def check_mode(mode: int, log_file: str, given: dict[str, Any]) -> int:
    """Return 0, or the error that StartTrace has for such properties."""
    if not given["Flags"] & 0x20000 or given["ClientContext"] > 3 or given["BufferSize"] > 16384:
        return Code.INVALID
    if (mode & FILE_MODES).bit_count() > 1 and mode & FILE_MODES != Mode.SEQUENTIAL | Mode.APPEND:
        return Code.INVALID
    if mode & Mode.REAL_TIME and mode & (Mode.APPEND | Mode.PRIVATE):
        return Code.INVALID
    if mode & Mode.SYSTEM and mode & Mode.PAGED:
        return Code.INVALID
    if mode & Mode.BUFFERING and (mode & (FILE_MODES | Mode.REAL_TIME) or log_file):
        return Code.INVALID
    if mode & Mode.CIRCULAR and not given["MaximumFileSize"]:
        return Code.INVALID
    if mode & Mode.NEWFILE and (not given["MaximumFileSize"] or "%d" not in log_file):
        return Code.INVALID
    if given["EnableFlags"] and not mode & Mode.SYSTEM:
        return Code.INVALID
    if not log_file and (mode & FILE_MODES or not mode & (Mode.REAL_TIME | Mode.BUFFERING)):
        return Code.BAD_PATH
    return Code.OK


def read_ids(data: bytes) -> frozenset[int] | None:
    """Return the ids of an EVENT_FILTER_EVENT_ID; None where its bytes are wrong."""
    if len(data) < 4:
        return None
    (count,) = struct.unpack_from("<H", data, 2)
    if not 1 <= count <= 64 or len(data) != 4 + 2 * count or data[1]:
        return None
    return frozenset(struct.unpack_from(f"<{count}H", data, 4))


def extended_table(items: tuple[tuple[int, bytes], ...], at: int) -> bytes:
    """Return an EVENT_HEADER_EXTENDED_DATA_ITEM array that will stand at an address, and its data behind it."""
    table, blob = bytearray(), bytearray()
    after = at + 16 * len(items)
    for number, (kind, value) in enumerate(items, 1):
        table += struct.pack("<HHHHQ", 0, kind, int(number < len(items)), len(value), after + len(blob))
        blob += value + bytes(-len(value) % 8)
    return bytes(table + blob)
