"""What the double of the tracing service does with the records of an .etl: choose, deliver, write again."""

import struct
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tracer.etl.headers import TIME_AT
from tracer.simulate.container import Clock, EtlWriter

__all__ = [
    "HEADER_EVENT", "Enabled", "Item", "Running", "append_to_file", "file_writer", "header_item", "make_items",
    "neutral", "say_losses", "wanted",
]  # fmt: skip

HEADER_EVENT = "68fdd900-4a3e-11d1-84f4-0000f80464e3"
FILETIME_EPOCH = 116_444_736_000_000_000
_REGISTRY_CLASS, _PROCESS_CLASS = (
    "ae53722e-c863-11d2-8659-00c04fa321a1",
    "3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c",
)
_CLASS_FLAGS = {_REGISTRY_CLASS: 0x0002_0000, _PROCESS_CLASS: 0x0000_0001}
_CIRCULAR = 2


@dataclass(slots=True)
class Item:
    """A record as it is played: its bytes in the file, and what is delivered."""

    raw: bytes
    cpu: int
    ticks: int
    header: bytes  # EVENT_HEADER as delivered
    data: bytes
    extended: tuple[tuple[int, bytes], ...]


@dataclass(slots=True)
class Enabled:
    level: int
    any: int
    all: int
    ids: frozenset[int] | None = None
    ids_in: bool = True
    stacks: frozenset[int] = frozenset()
    property: int = 0


@dataclass(slots=True)
class Running:
    """A running session: the properties it was started with, and what it holds."""

    number: int
    name: str
    guid: bytes
    buffer_kib: int
    smallest: int
    largest: int
    largest_mib: int
    mode: int
    flush: int
    clock: int
    flags: int
    log_file: str
    providers: dict[str, Enabled] = field(default_factory=dict)
    events_lost: int = 0
    buffers_lost: int = 0
    real_time_lost: int = 0
    written: int = 1
    writer: EtlWriter | None = None
    file_bytes: int = 0  # of records in its file
    whole: bool = False  # its file is a copy of the file that was played
    kept: deque[Item] = field(default_factory=deque)  # of a buffering session
    kept_bytes: int = 0
    source: Any = None  # log file header of what was played last
    backlog: deque[Item] = field(default_factory=deque)  # for a consumer
    backlog_bytes: int = 0
    is_full: bool = False  # nobody consumes it, and its playback file has no room
    stopped: bool = False
    offered: int = 0
    delivered: int = 0


def neutral(records: Any, providers: list[str]) -> np.ndarray:
    """Return which records are the container's own (log file header, group masks, ...)."""
    return np.array([name == "hook-group-0x00" for name in providers])[records.provider]


def wanted(session: Running, records: Any, providers: list[str]) -> np.ndarray:
    """Return which records the session gets."""
    mask = np.zeros(len(records), bool)
    longs, raw = records.raw.view(np.uint64), records.raw
    event = np.isin(records.kind, (0x12, 0x13))
    for number, name in enumerate(providers):
        mine = records.provider == number
        if not mine.any():
            continue
        if session.flags & _CLASS_FLAGS.get(name, 0):
            mask |= mine & ~event
        enabled = session.providers.get(name)
        if enabled is None:
            continue
        start = np.where(event, records.start, 0)
        keyword = longs[start + 0x30 >> 3]
        keyword_fits = (keyword == 0) | (
            ((keyword & np.uint64(enabled.any)) != 0 if enabled.any else np.ones(len(mask), bool))
            & ((keyword & np.uint64(enabled.all)) == np.uint64(enabled.all))
        )
        level_fits = raw[start + 0x2C] <= (enabled.level or 0xFF)
        fits = mine & event & keyword_fits & level_fits
        if enabled.ids is not None:
            fits &= np.isin(records.id, list(enabled.ids)) == enabled.ids_in
        mask |= fits
    return mask


def make_items(records: Any, rows: np.ndarray, providers: list[str]) -> list[Item]:
    """Return the records of these rows as they are played, in the order of `rows`."""
    starts, ends, payloads = records.start[rows], records.end[rows], records.payload[rows]
    kinds, times = records.kind[rows], records.time_ns[rows] // 100 + FILETIME_EPOCH
    ticks = records.raw.view(np.int64)[starts + TIME_AT[kinds] >> 3].tolist()
    width = np.where(records.pointer_size[rows] == 8, 0x40, 0x20).astype(np.uint16)
    # All are read as EVENT_HEADERs; what are none get a header of their own below.
    heads = records.raw[np.minimum(starts[:, None] + np.arange(80), len(records.raw) - 1)]
    heads[:, 2:4] = 0  # HeaderType
    flags = heads[:, 4:6].copy().view(np.uint16)[:, 0] | width
    heads[:, 4:6] = flags[:, None].view(np.uint8)
    heads[:, 16:24] = np.ascontiguousarray(times)[:, None].view(np.uint8)
    whole, raw = heads.tobytes(), records.raw.data
    items = []
    columns = (starts, ends, payloads, kinds, records.cpu[rows], flags)
    for number, (start, end, payload, kind, cpu, flag) in enumerate(
        zip(*(c.tolist() for c in columns), strict=True)
    ):
        extended: tuple[tuple[int, bytes], ...] = ()
        if kind in (0x12, 0x13):
            header = whole[80 * number : 80 * number + 80]
            if flag & 1:
                extended = tuple(_items(bytes(raw[start + 80 : end])))
        else:
            header = _classic_header(
                records, int(rows[number]), providers, int(width[number]), int(times[number])
            )
        items.append(
            Item(bytes(raw[start:end]), cpu, ticks[number], header, bytes(raw[payload:end]), extended)
        )
    return items


def _classic_header(records: Any, row: int, providers: list[str], width: int, filetime: int) -> bytes:
    name = providers[int(records.provider[row])]
    guid = uuid.UUID(name).bytes_le if len(name) == 36 else bytes(16)
    size = 80 + int(records.end[row]) - int(records.payload[row])
    return struct.pack(
        "<HHHHIIq16sHBBBBHQQ16s", size, 0, 0x100 | width, 0, int(records.tid[row]) & 0xFFFFFFFF,
        int(records.pid[row]) & 0xFFFFFFFF, filetime, guid, 0, int(records.version[row]) & 0xFF, 0, 0,
        int(records.opcode[row]) & 0xFF, 0, 0, 0, bytes(16),
    )  # fmt: skip


def append_to_file(writer: EtlWriter, records: Any, rows: np.ndarray) -> None:
    """Put the records of these rows into a session's file."""
    starts = records.start[rows]
    ticks = records.raw.view(np.int64)[starts + TIME_AT[records.kind[rows]] >> 3]
    raw, append = records.raw.data, writer.append
    columns = (starts, records.end[rows], records.cpu[rows], ticks)
    for start, end, cpu, tick in zip(*(c.tolist() for c in columns), strict=True):
        append(cpu, bytes(raw[start:end]), tick)


def _items(chain: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 8 <= len(chain):
        _, kind, linked, size = struct.unpack_from("<HHHH", chain, at)
        yield kind, chain[at + 8 : at + 8 + size]
        if not linked & 1:
            return
        at += 8 + size + 7 & ~7


def header_item(session: Running) -> Item:
    filetime = time.time_ns() // 100 + FILETIME_EPOCH
    header = struct.pack(
        "<HHHHIIq16sHBBBBHQQ16s", 80 + 280, 0, 0x140, 0, 4, 4, filetime, uuid.UUID(HEADER_EVENT).bytes_le, 0, 2, 0, 0,
        0, 0, 0, 0, bytes(16),
    )  # fmt: skip
    return Item(b"", 0, 0, header, struct.pack("<I", session.buffer_kib << 10).ljust(280, b"\0"), ())


def file_writer(path: Path, session: Running, header: Any) -> EtlWriter:
    """Return the writer of a session's file, with the clock of the file that is played."""
    if header is None:
        return EtlWriter(path, buffer_size=session.buffer_kib << 10, logger_name=session.name)
    clock = Clock(
        {"qpc": 1, "system": 2, "cycles": 3}[header.clock], header.frequency, header.cpu_mhz,
        header.start_ns // 100 + FILETIME_EPOCH, header.first_stamp,
    )  # fmt: skip
    return EtlWriter(
        path, cpus=max(header.cpus, 1), buffer_size=session.buffer_kib << 10, pointer_size=header.pointer_size,
        clock=clock, logger_name=session.name, build=header.build,
        circular_mib=session.largest_mib if session.mode & _CIRCULAR else 0,
    )  # fmt: skip


def say_losses(path: Path, session: Running) -> None:
    """Put the counts of lost events and buffers into a copied file's header (64-bit layout)."""
    if not session.events_lost and not session.buffers_lost:
        return
    with path.open("r+b") as file:
        for offset, more in ((0x30, session.events_lost), (0x114, session.buffers_lost)):
            file.seek(72 + 0x20 + offset)
            (had,) = struct.unpack("<I", file.read(4))
            file.seek(72 + 0x20 + offset)
            file.write(struct.pack("<I", had + more))
