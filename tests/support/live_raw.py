"""Records of an .etl as a consumer's callback would copy them: (EVENT_RECORD, user data, extended items)."""

import struct
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tracer.diagnostics import Diagnostics
from tracer.etl.headers import GUID_AT, HEADERS, HOOK
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.etl.reader import EtlReader
from tracer.live.records import RawRecord

__all__ = ["event_record", "raw_records"]

_HEADER = struct.Struct("<HHHHIIq16sHBBBBHQQ16s")
_REST = struct.Struct("<HHHHQQQ")


def event_record(
    *,
    provider: str,
    id: int = 0,  # noqa: A002
    version: int = 0,
    opcode: int = 0,
    level: int = 4,
    pid: int = 4,
    tid: int = 8,
    filetime: int = FILETIME_EPOCH,
    flags: int = 0x40,
    cpu: int = 0,
    data: bytes = b"",
    items: tuple[tuple[int, bytes], ...] = (),
) -> RawRecord:
    """Return one record as the callback sees it: EVENT_HEADER, ETW_BUFFER_CONTEXT, counts, and pointers."""
    flags |= bool(items)
    header = _HEADER.pack(
        0, 0, flags, 0, tid & 0xFFFFFFFF, pid & 0xFFFFFFFF, filetime, _packed(provider),
        id & 0xFFFF, version & 0xFF, 0, level, opcode & 0xFF, 0, 0, 0, bytes(16),
    )  # fmt: skip
    rest = _REST.pack(cpu, 1, len(items), len(data) & 0xFFFF, 0xDEAD0000, 0xDEAD1000, 0)
    return header + rest, data, items


@cache
def _packed(provider: str) -> bytes:
    return uuid.UUID(provider).bytes_le


def raw_records(path: Path) -> Iterator[RawRecord]:
    """Yield the records of `path` in time order; what names no provider (but the kernel's hooks) is left out."""
    with EtlReader([path], [Diagnostics()]) as reader:
        for records in reader:
            items: dict[int, list[tuple[int, bytes]]] = {}
            for row, kind, start, size in zip(
                *(getattr(records.extended, name).tolist() for name in ("row", "kind", "start", "size")),
                strict=True,
            ):
                items.setdefault(row, []).append((kind, records.raw[start : start + size].tobytes()))
            for row in records.order.tolist():
                provider = reader.providers[records.provider[row]]
                kind = int(records.kind[row])
                if provider.count("-") != 4:
                    continue
                classic = kind in HOOK or HEADERS[kind].name[:4] in ("FULL", "INST") or GUID_AT[kind] < 0
                yield event_record(
                    provider=provider,
                    id=0 if classic else int(records.id[row]),
                    version=int(records.version[row]),
                    opcode=int(records.opcode[row]),
                    pid=int(records.pid[row]),
                    tid=int(records.tid[row]),
                    filetime=int(records.time_ns[row]) // 100 + FILETIME_EPOCH,
                    flags=(0x20 if records.pointer_size[row] == 4 else 0x40)
                    | 0x200
                    | (0x100 if classic else 0),
                    cpu=int(records.cpu[row]),
                    data=records.raw[records.payload[row] : records.end[row]].tobytes(),
                    items=tuple(items.get(row, ())),
                )
