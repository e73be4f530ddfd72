"""Record headers of the .etl container, as a table: sizes, and where each field stands.

Facts: WMI trace headers as published in phnt (ntwmi.h) and in the EVENT_HEADER and EVENT_TRACE_HEADER
pages; types 0x01-0x0B and 0x10-0x15 were checked on real files except COMPACT, INSTANCE, ERROR and
MESSAGE, which no public file holds and which are built from the published layouts.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EVENT_MARK",
    "GUID_AT",
    "HEADERS",
    "HOOK",
    "MESSAGE",
    "MESSAGE_MARK",
    "PAYLOAD_AT",
    "POINTER_SIZES",
    "SIZE_AT_4",
    "SMALLEST",
    "THREAD_AT",
    "TIME_AT",
    "Header",
    "header_name",
]

EVENT_MARK = 0xC0  # TRACE_HEADER_FLAG | TRACE_HEADER_EVENT_TRACE
MESSAGE_MARK = 0x90  # TRACE_HEADER_FLAG | TRACE_MESSAGE


@dataclass(frozen=True, slots=True)
class Header:
    """One header type.

    Attributes:
        name: as in the documentation, with the pointer width of the logging context.
        smallest: bytes a record of this type has at least.
        payload: where the payload starts (before extended items and performance counters).
        time: offset of the time stamp; None where options decide.
        thread: offset of thread id, followed by the process id; None where the header has neither.
        guid: offset of the provider or class GUID; None for hooks.
        pointer_size: 4 or 8.
    """

    name: str
    smallest: int
    payload: int
    time: int | None
    thread: int | None
    guid: int | None
    pointer_size: int


def _pair(
    name: str, smallest: int, payload: int, time: int, thread: int | None, guid: int | None
) -> tuple[Header, Header]:
    return (
        Header(f"{name}32", smallest, payload, time, thread, guid, 4),
        Header(f"{name}64", smallest, payload, time, thread, guid, 8),
    )


_SYSTEM = _pair("SYSTEM", 0x20, 0x20, 0x10, 0x08, None)
_COMPACT = _pair("COMPACT", 0x18, 0x18, 0x10, 0x08, None)
_PERFINFO = _pair("PERFINFO", 0x10, 0x10, 0x08, None, None)
_FULL = _pair("FULL", 0x30, 0x30, 0x10, 0x08, 0x18)
_INSTANCE = _pair("INSTANCE", 0x38, 0x48, 0x10, 0x08, 0x18)  # 0x38 bytes before Windows 2003
_EVENT = _pair("EVENT_HEADER", 0x50, 0x50, 0x10, 0x08, 0x18)

MESSAGE = 0x0F  # its own second byte is reserved, so the walk stores this number
HEADERS: dict[int, Header] = {
    0x01: _SYSTEM[0],
    0x02: _SYSTEM[1],
    0x03: _COMPACT[0],
    0x04: _COMPACT[1],
    0x0A: _FULL[0],
    0x0B: _INSTANCE[0],
    # ERROR's layout is UNCONFIRMED beyond its size field; it is kept as a record without a reading.
    0x0D: Header("ERROR", 0x50, 0x50, 0x10, None, None, 8),
    MESSAGE: Header("MESSAGE", 0x08, 0x08, None, None, None, 8),
    0x10: _PERFINFO[0],
    0x11: _PERFINFO[1],
    0x12: _EVENT[0],
    0x13: _EVENT[1],
    0x14: _FULL[1],
    0x15: _INSTANCE[1],
}
HOOK = frozenset({0x01, 0x02, 0x03, 0x04, 0x10, 0x11})  # identified by group and type; size at offset 4

# Indexed by the upper half of a record's first dword (mark << 8 | type).
SMALLEST = np.full(0x10000, 0x10000, np.int64)  # larger than any size: not a record
SIZE_AT_4 = np.zeros(0x10000, bool)
for _type, _header in HEADERS.items():
    if _type != MESSAGE:
        SMALLEST[EVENT_MARK << 8 | _type] = _header.smallest
        SIZE_AT_4[EVENT_MARK << 8 | _type] = _type in HOOK
SMALLEST[MESSAGE_MARK << 8 : (MESSAGE_MARK << 8) + 0x100] = HEADERS[MESSAGE].smallest


def _by_type(attribute: str, absent: int = 0) -> NDArray[np.int64]:
    table = np.full(256, absent, np.int64)
    for number, header in HEADERS.items():
        value = getattr(header, attribute)
        table[number] = absent if value is None else value
    return table


# Indexed by header type; -1 where a header has no such field.
PAYLOAD_AT, TIME_AT = _by_type("payload"), _by_type("time")
THREAD_AT, GUID_AT = _by_type("thread", -1), _by_type("guid", -1)
POINTER_SIZES = _by_type("pointer_size").astype(np.uint8)


def header_name(kind: int) -> str:
    """Return the name of a header type."""
    return HEADERS[kind].name if kind in HEADERS else f"type 0x{kind:02X}"
