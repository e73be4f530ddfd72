"""The events of a Procmon log, many at a time: offsets of each event and of its parts.

An event is a fixed head, its stack (addresses), a detail whose form depends on the operation, and often an
extra detail with what the operation returned. The detail of a registry operation starts with the length of
the path, which follows the fixed part. Detail layouts: procmon-parser, and for the captured lengths of
RegSetValue and RegSetInfoKey the driver structures in openprocmon's issue 4.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.pml.header import FIRST_DATE, LAST_DATE, Bytes, Header, filetime_ns

__all__ = [
    "HEAD",
    "PROCESS",
    "REGISTRY",
    "Details",
    "locate_events",
    "read_details",
    "read_heads",
    "sound_events",
]

Int64s = NDArray[np.int64]
Uint32s = NDArray[np.uint32]
Bools = NDArray[np.bool_]

PROCESS, REGISTRY = 1, 2  # event classes
_CLASSES = range(1, 7)

HEAD = np.dtype(
    [
        ("process", "<u4"),
        ("thread", "<u4"),
        ("class", "<u4"),
        ("operation", "<u2"),
        ("unknown_1", "<u2"),
        ("unknown_2", "<u4"),
        ("duration", "<u8"),  # 100 ns
        ("date", "<u8"),  # FILETIME
        ("result", "<u4"),
        ("depth", "<u2"),
        ("unknown_3", "<u2"),
        ("detail_size", "<u4"),
        ("extra_offset", "<u4"),  # from the start of the event; 0 where there is none
    ]
)
_HEAD = struct.Struct("<8xI16xQ4xH2xII")  # class, date, depth, detail size, extra offset

# Bytes of the detail before the path, by operation (RegOpenKey is 0).
_FIXED = np.array([8, 8, 2, 12, 16, 12, 16, 16, 16, 2, 2, 2, 4, 2, 4, 2, 2, 2], np.int64)
_LEAD = 24  # the most bytes of a detail or an extra detail whose meaning does not depend on a length
_LARGEST_DETAIL = 1 << 18  # two texts of 32,767 UTF-16 units and 65,535 captured bytes do not reach it


@dataclass(frozen=True, slots=True)
class Details:
    """The parts of n registry events, as file positions; every position lies inside the file.

    Attributes:
        head: the fixed heads (HEAD).
        fixed: the first six uint32 of each detail, shape (n, 6); zeros past the end of the file.
        path_at: start of the path.
        path_size: bytes of the path; -1 if the detail is too short for what it claims.
        wide: whether the path is UTF-16 (else one byte a character).
        end: end of the detail.
        extra_at: start of the extra detail's contents.
        extra_size: their bytes; -1 if there is none.
        bad_extra: whether the event claims an extra detail that cannot be.
        lead: the first six uint32 of each extra detail; zeros where there is none or it is shorter.
    """

    head: NDArray[Any]
    fixed: Uint32s
    path_at: Int64s
    path_size: Int64s
    wide: Bools
    end: Int64s
    extra_at: Int64s
    extra_size: Int64s
    bad_extra: Bools
    lead: Uint32s


def locate_events(raw: Bytes, header: Header, diagnostics: Diagnostics) -> Int64s:
    """Return the offset of every event, in file order of the array that lists them.

    Where that array is missing, as in a file that was cut or never closed, the events are walked one after
    the other instead, as far as they make sense; what the header promised beyond is counted.
    """
    size = len(raw)
    listed = _listed_offsets(raw, header)
    if listed is None:
        offsets, stop = _walk(raw, header)
        missing = header.events - len(offsets)
        if missing or not header.offsets_at:
            diagnostics.count("pml_cut", max(missing, 1), offset=stop)
        return offsets
    if len(listed) != header.events:
        diagnostics.count("pml_bad_table", offset=0x234)
    inside = (listed >= header.events_at) & (listed <= size - HEAD.itemsize)
    if not inside.all():
        first = header.offsets_at + 5 * int(np.argmin(inside))
        diagnostics.count("pml_bad_event", int((~inside).sum()), offset=first)
    return listed[inside]


def read_heads(raw: Bytes, offsets: Int64s) -> NDArray[Any]:
    """Return the fixed heads of the events at `offsets`."""
    return raw.gather(offsets, HEAD.itemsize).view(HEAD).ravel()


def read_details(raw: Bytes, offsets: Int64s, head: NDArray[Any], pointer_size: int) -> Details:
    """Find the parts of registry events whose operation is one of the known ones."""
    stack = pointer_size * head["depth"].astype(np.int64)
    start = offsets + HEAD.itemsize + stack
    end = start + head["detail_size"].astype(np.int64)
    fixed = raw.gather(start, _LEAD).view("<u4")
    length = fixed[:, 0] & 0xFFFF
    wide = length < 0x8000
    path_size = (length & 0x7FFF).astype(np.int64) << wide
    path_at = start + _FIXED[head["operation"]]
    path_size[(path_at + path_size > end) | (end > len(raw))] = -1

    relative = head["extra_offset"].astype(np.int64)
    claimed = relative > 0
    # The extra detail may stand apart from the event, but never inside it.
    possible = claimed & (offsets + relative >= end) & (offsets + relative + 2 <= len(raw))
    extra_at = offsets + relative + 2
    extra_size = np.full(len(offsets), -1, np.int64)
    lengths = raw.gather(extra_at[possible] - 2, 2).view("<u2").ravel().astype(np.int64)
    extra_size[possible] = np.where(extra_at[possible] + lengths <= len(raw), lengths, -1)
    lead = np.zeros((len(offsets), _LEAD), np.uint8)
    there = extra_size > 0
    lead[there] = raw.gather(extra_at[there], _LEAD)
    lead[np.arange(_LEAD) >= extra_size[:, None]] = 0
    return Details(
        head=head,
        fixed=fixed,
        path_at=path_at,
        path_size=path_size,
        wide=wide,
        end=end,
        extra_at=extra_at,
        extra_size=extra_size,
        bad_extra=claimed & (extra_size < 0),
        lead=lead.view("<u4"),
    )


def sound_events(head: NDArray[Any]) -> Bools:
    """Return which heads of registry events are plausible: a real time, a detail of a possible size."""
    date = head["date"]
    timely = (date >= FIRST_DATE) & (date <= LAST_DATE)
    return np.asarray(timely & (head["detail_size"] >= 2) & (head["detail_size"] <= _LARGEST_DETAIL))


def _listed_offsets(raw: Bytes, header: Header) -> Int64s | None:
    """Return the offsets in the file's array; None if the array is missing or incomplete."""
    start, size = header.offsets_at, len(raw)
    if not header.events_at <= start <= size:
        return None
    space = header.processes_at - start  # the array fills it, so it counts the events as well
    if 0 <= space <= size - start and space % 5 == 0:
        count = space // 5
    else:
        count = min(header.events, (size - start) // 5)
    if count == 0 and not header.is_empty:
        return None
    if count < header.events and header.processes_at > size:
        return None  # the file is cut inside the array; every event stands before it
    rows = np.frombuffer(raw[start : start + 5 * count], np.uint8).reshape(count, 5)
    offsets = np.ascontiguousarray(rows[:, :4]).view("<u4").ravel().astype(np.int64)
    # The fifth byte is 0 in every file seen. UNCONFIRMED: above 4 GiB it is the rest of the offset.
    if size > 1 << 32:
        offsets |= rows[:, 4].astype(np.int64) << 32
    # The first entry of a true array is the first event; a header that lies points at something else.
    return offsets if count == 0 or offsets[0] == header.events_at else None


def _walk(raw: Bytes, header: Header) -> tuple[Int64s, int]:
    """Follow the events from the first one; return their offsets, and where the chain ended."""
    size = len(raw)
    limit = header.offsets_at if header.events_at < header.offsets_at <= size else size
    position, offsets = header.events_at, []
    while position + _HEAD.size <= limit:
        if position + _HEAD.size > raw.end:
            raw.load_from(position)
        event_class, date, depth, detail_size, extra = raw.unpack(_HEAD, position)
        own = _HEAD.size + header.pointer_size * depth + detail_size
        if event_class not in _CLASSES or filetime_ns(date) is None or position + own > limit:
            break
        following = position + own
        if extra == own:
            if following + 2 > limit:
                break
            following += 2 + int.from_bytes(raw[following : following + 2], "little")
            if following > limit:
                break
        offsets.append(position)
        position = following
    return np.array(offsets, np.int64), position
