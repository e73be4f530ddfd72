"""Record headers: the bytes in front of a payload, for every header kind an .etl can hold.

Offsets are those of the kernel's own structures (WMI trace headers, EVENT_TRACE_HEADER, EVENT_HEADER,
MESSAGE_TRACE_HEADER). A kind is named without its width; the width comes from `pointer_size`.
"""

import struct
from dataclasses import dataclass
from uuid import UUID

__all__ = [
    "EVENT_HEADER",
    "EXTENDED_TYPES",
    "HEADER_KINDS",
    "ExtendedItem",
    "build_record",
    "encode_sid",
    "event_tail",
    "extended_bytes",
]

# header kind -> (type byte for 32 bit, for 64 bit)
HEADER_KINDS = {
    "system": (0x01, 0x02),
    "compact": (0x03, 0x04),
    "perfinfo": (0x10, 0x11),
    "full": (0x0A, 0x14),
    "instance": (0x0B, 0x15),
    "event": (0x12, 0x13),
    "message": (0x0F, 0x0F),
}
EXTENDED_TYPES = {
    "related_activity": 1,
    "sid": 2,
    "session_id": 3,
    "instance": 4,
    "stack32": 5,
    "stack64": 6,
    "pebs_index": 7,
    "pmc_counters": 8,
    "psm_key": 9,
    "event_key": 10,
    "schema": 11,
    "traits": 12,
    "process_start_key": 13,
}
_MESSAGE_SEQUENCE, _MESSAGE_GUID, _MESSAGE_COMPONENT, _MESSAGE_TIME, _MESSAGE_IDS = (
    0x01,
    0x02,
    0x04,
    0x08,
    0x20,
)
_MAXIMUM = 0xFFFF  # a record's size field has 16 bits

# Size, type, flags byte, flags, property, tid, pid, time; then GUID to the end.
EVENT_HEADER = struct.Struct("<HBBHHIIq")
_EVENT_TAIL = struct.Struct("<16sHBBBBHQII16s")
_HOOK = struct.Struct("<HBBHBB")
_TRACE = struct.Struct("<HBBBBHIIq16sII")


@dataclass(frozen=True, slots=True)
class ExtendedItem:
    """One extended item of an EVENT_HEADER record: its type number (EXTENDED_TYPES) and its bytes."""

    type: int
    data: bytes


def encode_sid(text: str) -> bytes:
    """Return the binary form of a SID written S-1-authority-sub-sub...."""
    authority, *subs = (int(part) for part in text.split("-")[2:])
    return struct.pack(f"<BB6s{len(subs)}I", 1, len(subs), authority.to_bytes(6, "big"), *subs)


def extended_bytes(items: tuple[ExtendedItem, ...]) -> bytes:
    """Return the items as they stand before a payload: each padded to 8 bytes, linked to the next."""
    out = bytearray()
    for place, item in enumerate(items, 1):
        total = (8 + len(item.data) + 7) & ~7
        out += struct.pack("<HHHH", total, item.type, int(place < len(items)), len(item.data))
        out += item.data.ljust(total - 8, b"\0")
    return bytes(out)


def event_tail(
    provider: str, id_: int, *, version: int, channel: int, level: int, opcode: int, task: int, keyword: int,
    kernel_time: int = 0, user_time: int = 0, activity: str | None = None,
) -> bytes:  # fmt: skip
    """Return the part of an EVENT_HEADER from the GUID on (56 bytes): the same for every record of a kind."""
    return _EVENT_TAIL.pack(
        UUID(provider).bytes_le, id_, version, channel, level, opcode, task, keyword, kernel_time, user_time,
        UUID(activity).bytes_le if activity else bytes(16),
    )  # fmt: skip


def build_record(
    kind: str,
    *,
    provider: str | int = 0,
    id_: int = 0,
    version: int = 0,
    opcode: int = 0,
    pid: int = 0,
    tid: int = 0,
    ticks: int = 0,
    payload: bytes = b"",
    pointer_size: int = 8,
    extended: tuple[ExtendedItem, ...] = (),
    level: int = 0,
    channel: int = 0,
    task: int = 0,
    keyword: int = 0,
    counters: tuple[int, ...] = (),
    pebs_index: int | None = None,
    instance: tuple[int, int] = (0, 0),
    message_options: int = _MESSAGE_SEQUENCE | _MESSAGE_GUID | _MESSAGE_TIME | _MESSAGE_IDS,
    activity: str | None = None,
    header_type: int | None = None,
) -> bytes:
    """Return one record, header and payload, not padded.

    Args:
        kind: a key of HEADER_KINDS.
        provider: GUID text; for system, compact and perfinfo the hook group number.
        id_: event id (event) or message number (message).
        version: event version.
        opcode: opcode (hook type).
        pid: process id, left out where the header has none.
        tid: thread id, in the same way.
        ticks: raw time stamp.
        payload: the payload's bytes.
        pointer_size: 4 or 8, which chooses the header type.
        extended: extended items (event only).
        level: event, full and instance only.
        channel: event only.
        task: event only.
        keyword: event only.
        counters: PMC counters between header and payload (hook kinds only, at most 7).
        pebs_index: PEBS index, in the same way; None for none.
        instance: instance id and parent instance id (instance only).
        message_options: option bits of a message; they say which of its fields exist.
        activity: activity GUID (event only); None for none.
        header_type: header type byte to write instead of the kind's own.

    Raises:
        ValueError: the record is longer than 65,535 bytes.
    """
    type_ = HEADER_KINDS[kind][pointer_size == 8] if header_type is None else header_type
    if kind in ("system", "compact", "perfinfo"):
        body = _hook_body(kind, pid, tid, ticks, counters, pebs_index) + payload
        word = (version & 0xFF) | (len(counters) & 7) << 8 | (0x8000 if pebs_index is not None else 0)
        record = _HOOK.pack(word, type_, 0xC0, _checked(8 + len(body)), opcode, int(provider)) + body
    elif kind == "message":
        body = _message_body(str(provider), pid, tid, ticks, message_options) + payload
        record = struct.pack("<HBBHH", _checked(8 + len(body)), 0, 0x90, id_, message_options) + body
    elif kind == "event":
        items = extended_bytes(extended)
        tail = event_tail(str(provider), id_, version=version, channel=channel, level=level, opcode=opcode,
                          task=task, keyword=keyword, activity=activity)  # fmt: skip
        size = _checked(80 + len(items) + len(payload))
        record = (
            EVENT_HEADER.pack(size, type_, 0xC0, bool(items), 0, tid, pid, ticks) + tail + items + payload
        )
    else:
        more = struct.pack("<II16s", *instance, bytes(16)) if kind == "instance" else b""
        size = _checked(48 + len(more) + len(payload))
        guid = UUID(str(provider)).bytes_le
        record = (
            _TRACE.pack(size, type_, 0xC0, opcode, level, version, tid, pid, ticks, guid, 0, 0)
            + more
            + payload
        )
    return record


def _checked(size: int) -> int:
    if size > _MAXIMUM:
        raise ValueError(f"a record of {size} bytes is longer than ETW's {_MAXIMUM}")
    return size


def _hook_body(
    kind: str, pid: int, tid: int, ticks: int, counters: tuple[int, ...], pebs_index: int | None
) -> bytes:
    ids = struct.pack("<II", tid, pid) if kind != "perfinfo" else b""
    times = struct.pack("<II", 0, 0) if kind == "system" else b""
    pebs = struct.pack("<Q", pebs_index) if pebs_index is not None else b""
    return ids + struct.pack("<q", ticks) + times + pebs + struct.pack(f"<{len(counters)}Q", *counters)


def _message_body(provider: str, pid: int, tid: int, ticks: int, options: int) -> bytes:
    body = struct.pack("<I", 1) if options & _MESSAGE_SEQUENCE else b""
    if options & _MESSAGE_COMPONENT:
        body += struct.pack("<I", 7)
    elif options & _MESSAGE_GUID:
        body += UUID(provider).bytes_le
    if options & _MESSAGE_TIME:
        body += struct.pack("<q", ticks)
    if options & _MESSAGE_IDS:
        body += struct.pack("<II", tid, pid)
    return body
