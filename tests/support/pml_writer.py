"""A small writer of Procmon logs, so that the importer is tested where no real log is at hand."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

FILETIME_2020 = 132_223_104_000_000_000  # 2020-01-01 UTC
HEADER_SIZE = 0x3A8
OPEN, CREATE, CLOSE, QUERY_KEY, SET, QUERY, ENUM_VALUE, ENUM_KEY = range(8)
(
    SET_INFO,
    DELETE_KEY,
    DELETE_VALUE,
    FLUSH,
    LOAD,
    UNLOAD,
    RENAME,
    QUERY_MULTIPLE,
    SET_SECURITY,
    GET_SECURITY,
) = range(8, 18)


@dataclass(frozen=True)
class Event:
    """One event; `fixed` stands between the path's length and the path, `tail` after the path."""

    operation: int
    path: str = "HKLM\\SOFTWARE\\Vendor"
    fixed: bytes = b""
    tail: bytes = b""
    extra: bytes | None = None
    process: int = 7
    thread: int = 11
    result: int = 0
    time: int = 0  # 100 ns after 2020 began
    duration: int = 5
    event_class: int = 2
    depth: int = 2
    detail: bytes | None = None  # instead of the path and what belongs to it


@dataclass(frozen=True)
class Process:
    index: int = 7
    pid: int = 1234
    parent_pid: int = 4
    start: int = FILETIME_2020 - 10_000_000
    end: int = 0
    texts: Sequence[str] = ("Medium", "HOST\\ann", "tool.exe", "C:\\bin\\tool.exe", '"C:\\bin\\tool.exe" /x')
    session: int = 1


def text(value: str) -> tuple[int, bytes]:
    """Return a text of a detail: its length field, and its bytes."""
    if value.isascii():
        return 0x8000 | len(value), value.encode()
    units = value.encode("utf-16-le", "surrogatepass")
    return len(units) // 2, units


def opened(path: str, *, result: int = 0, operation: int = OPEN, access: int = 0x20019, **more: Any) -> Event:
    extra = None if result else struct.pack("<II", access, 1 if operation == CREATE else 0)
    return Event(operation, path, struct.pack("<HI", 0xABCD, access), extra=extra, result=result, **more)


def queried(path: str, data: bytes | None, *, kind: int = 1, length: int = 144, **more: Any) -> Event:
    extra = None if data is None else struct.pack("<III", 0, kind, len(data)) + data
    extra = extra and extra + bytes(-len(extra) % 4)
    return Event(QUERY, path, struct.pack("<HII", 0xABCD, length, 2), extra=extra, **more)


def answered(path: str, name: str, **more: Any) -> Event:
    units = name.encode("utf-16-le")
    return Event(
        QUERY_KEY, path, struct.pack("<HII", 0, 384, 3), extra=struct.pack("<I", len(units)) + units, **more
    )


def value_set(path: str, data: bytes, *, kind: int = 3, copied: int | None = None, **more: Any) -> Event:
    part = data if copied is None else data[:copied]
    fixed = struct.pack("<HIIHH", 0xABCD, kind, len(data), len(part), 0xABCD)
    return Event(SET, path, fixed, tail=part, **more)


def created_process(index: int, pid: int, parent_pid: int, path: str, command: str, **more: Any) -> Event:
    path_info, path_bytes = text(path)
    command_info, command_bytes = text(command)
    start = FILETIME_2020
    fixed = struct.pack(
        "<IIIII4xQ8x4xBBHH2x", index, pid, 7, parent_pid, 3, start, 12, 4, path_info, command_info
    )
    return Event(1, event_class=1, detail=fixed + bytes(16) + path_bytes + command_bytes, **more)


@dataclass
class Log:
    """A log and where its parts are."""

    raw: bytes
    offsets: list[int] = field(default_factory=list)
    offsets_at: int = 0
    processes_at: int = 0
    strings_at: int = 0


def write_log(events: Sequence[Event], processes: Sequence[Process] = (Process(),), *, bits: int = 64) -> Log:
    pointer = bits // 8
    out, offsets = bytearray(HEADER_SIZE), []
    for event in events:
        offsets.append(len(out))
        out += _event(event, pointer)
    log = Log(b"", offsets, len(out))
    for offset in offsets:
        out += struct.pack("<IB", offset, 0)
    log.processes_at = len(out)
    strings: list[str] = []
    out += _processes(processes, strings, pointer)
    log.strings_at = len(out)
    units = [(value + "\0").encode("utf-16-le", "surrogatepass") for value in strings]
    at = 4 + 4 * len(units)
    out += struct.pack("<I", len(units))
    for unit in units:
        out += struct.pack("<I", at)
        at += 4 + len(unit)
    for unit in units:
        out += struct.pack("<I", len(unit)) + unit
    icons_at = len(out)
    out += struct.pack("<I", 0)
    hosts_at = len(out)
    out += struct.pack("<II", 0, 0)
    struct.pack_into("<4sII", out, 0, b"PML_", 9, int(bits == 64))
    out[0xC:0x2C] = "HOST".encode("utf-16-le").ljust(0x20, b"\0")
    out[0x2C:0x234] = "C:\\Windows".encode("utf-16-le").ljust(0x208, b"\0")
    struct.pack_into("<I", out, 0x234, len(events))
    tables = (HEADER_SIZE, log.offsets_at, log.processes_at, log.strings_at, icons_at)
    struct.pack_into("<5Q", out, 0x240, *tables)
    struct.pack_into("<4I", out, 0x274, 10, 0, 19045, 1)
    struct.pack_into("<IQQQ", out, 0x38C, 2, 1 << 32, HEADER_SIZE, hosts_at)
    log.raw = bytes(out)
    return log


def _event(event: Event, pointer: int) -> bytes:
    info, path = text(event.path)
    detail = event.detail
    if detail is None:
        detail = struct.pack("<H", info) + event.fixed + path + event.tail
    stack = bytes(range(1, 1 + event.depth * pointer))
    extra = b"" if event.extra is None else struct.pack("<H", len(event.extra)) + event.extra
    head = struct.pack(
        "<IIIHHIQQIHHII",
        event.process,
        event.thread,
        event.event_class,
        event.operation,
        0xEEEE,
        0,
        event.duration,
        FILETIME_2020 + event.time,
        event.result,
        event.depth,
        0xEEEE,
        len(detail),
        52 + len(stack) + len(detail) if extra else 0,
    )
    return head + stack + detail + extra


def _processes(processes: Sequence[Process], strings: list[str], pointer: int) -> bytes:
    bodies = []
    for process in processes:
        numbers = [len(strings) + i for i in range(len(process.texts))]
        strings += process.texts
        body = struct.pack(
            "<IIIIQIIQQII", process.index, process.pid, process.parent_pid, 0, 0x3E7, process.session, 0,
            process.start, process.end, 0, 1,
        )  # fmt: skip
        body += struct.pack("<8I", *numbers, 0, 0, 0) + struct.pack("<II", 0, 0) + bytes(pointer)
        bodies.append(body + struct.pack("<I", 0))
    table = struct.pack("<I", len(bodies)) + b"".join(struct.pack("<I", p.index) for p in processes)
    at = len(table) + 4 * len(bodies)
    for body in bodies:
        table += struct.pack("<I", at)
        at += len(body)
    return table + b"".join(bodies)
