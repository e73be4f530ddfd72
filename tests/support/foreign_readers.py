"""Two readers that nobody here wrote, with the work-arounds their faults need: oracles for our own.

dissect.etl reads an EVENT_HEADER's GUID big-endian, leaves extended items in the payload, stops after as
many buffers as the header claims, and joins type, level and version of FULL headers. etl-parser sizes
buffers by SavedOffset, cannot inflate, knows only 64-bit registry pointers, stops names at the first NUL,
and leaves out the first buffer.
"""

import re
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

from foreign_readings import reading_of

__all__ = [
    "ForeignRecord",
    "dissect_records",
    "dissect_registry_fields",
    "etl_parser_records",
    "etl_parser_registry_fields",
]

KERNEL_REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
_HOOKS = (0x01, 0x02, 0x03, 0x04, 0x10, 0x11)
_CLASSES = {0x09: "ae53722e-c863-11d2-8659-00c04fa321a1", 0x03: "3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c"}
_BUFFER_HEADER_SIZE = 72
_PROC_INDEX, _COMPRESSED = 0x20, 0x40


class ForeignRecord(NamedTuple):
    """One record as the foreign reader sees it.

    `provider` is GUID text in lower case; for hook headers the class GUID of the registry and process
    groups, else hook-group-0xNN; None where the header names none. `id` is None for classic records;
    pid, tid and ticks are None where the header has none. `offset` is the place in the file, in one
    with compressed buffers the place it would have if none were compressed (as tracer.schema counts).
    """

    header_type: int
    provider: str | None
    id: int | None
    version: int | None
    opcode: int | None
    pid: int | None
    tid: int | None
    ticks: int | None
    payload: bytes
    cpu: int
    offset: int


def dissect_records(path: Path) -> list[ForeignRecord]:
    """Return every record of the file in file order, the log file header first."""
    return reading_of(path, "dissect.etl", Path(__file__), _by_dissect)


def _by_dissect(path: Path) -> list[ForeignRecord]:
    return [ForeignRecord(*map(_plain, record)) for record in _each_by_dissect(path)]


def _plain(cell: Any) -> Any:
    """Return a number of a type of the reader's own as an int."""
    return int(cell) if isinstance(cell, int) else cell


def _each_by_dissect(path: Path) -> Iterator[ForeignRecord]:
    from dissect.etl.etl import ETL, Buffer

    size = path.stat().st_size
    with path.open("rb") as file:
        etl = ETL(file)
        offset = grown = 0
        while offset + _BUFFER_HEADER_SIZE <= size:
            buffer = Buffer(etl, offset)
            header = buffer.header
            if header.BufferSize < _BUFFER_HEADER_SIZE:
                return
            index = int(header.ProcessorIndex)
            cpu = index & 0x7FFF if int(header.BufferFlag) & _PROC_INDEX else index & 0xFF
            place = 0
            for record in buffer:
                yield _dissect_record(record.header, cpu, offset + grown + _BUFFER_HEADER_SIZE + place)
                place += record.aligned_size
            if int(header.BufferFlag) & _COMPRESSED:
                grown += max(header.FilledBytes - header.BufferSize, 0)
            offset = buffer.next_buffer


def _dissect_record(header: Any, cpu: int, offset: int) -> ForeignRecord:
    type_ = header._marker.header_type
    fields = header.header
    payload = bytes(header.payload)
    if type_ in (0x12, 0x13):
        provider: str | None = str(UUID(bytes_le=bytes(fields.ProviderId)))
        id_, version, opcode = fields.Id, fields.Version, fields.OpCode
        pid, tid, ticks = fields.ProcessId, fields.ThreadId, fields.TimeDelta
        if fields.Flags & 1:
            payload = _past_extended(payload)
        return ForeignRecord(type_, provider, id_, version, opcode, pid, tid, ticks, payload, cpu, offset)
    if type_ in _HOOKS:
        group = fields.Group
        provider = _CLASSES.get(group, f"hook-group-0x{group:02x}")
        known = type_ not in (0x10, 0x11)
        return ForeignRecord(type_, provider, None, fields.Version & 0xFF, fields.OpCode,
                             fields.ProcessId if known else None, fields.ThreadId if known else None,
                             fields.TimeDelta, payload, cpu, offset)  # fmt: skip
    if type_ == 0x0F:
        provider = str(header.provider_id) if header.provider_id else None
        return ForeignRecord(type_, provider, header.id, None, None, header.process_id, header.thread_id,
                             header.time_delta, _past_message_fields(header), cpu, offset)  # fmt: skip
    word = fields.Version  # u8 opcode, u8 level, u16 version
    return ForeignRecord(type_, str(UUID(bytes_le=bytes(fields.ProviderId))), None, word >> 16, word & 0xFF,
                         fields.ProcessId, fields.ThreadId, fields.TimeDelta, payload, cpu,
                         offset)  # fmt: skip


def _past_extended(payload: bytes) -> bytes:
    place = 0
    while place + 8 <= len(payload):
        _, _, linkage, size = struct.unpack_from("<HHHH", payload, place)
        place += (8 + size + 7) & ~7
        if not linkage & 1:
            break
    return payload[place:]


def _past_message_fields(header: Any) -> bytes:
    options = header.event_property
    skip = 4 * bool(options & 1) + (4 if options & 4 else 16 * bool(options & 2))
    skip += 8 * bool(options & 8) + 8 * bool(options & 0x20)
    return bytes(header.payload)[skip:]


def dissect_registry_fields(record: ForeignRecord) -> dict[str, object] | None:
    """Return the fields of a Kernel-Registry record by dissect's own manifest; None where it knows none."""
    module = _dissect_manifest()
    pointer = module.c_parser.EtwPointer
    pointer.as_32bit(pointer) if record.header_type == 0x12 else pointer.as_64bit()  # it forgot @classmethod
    event = module.EVENTS.get((record.id, record.version))  # it looks events up by opcode
    if event is None:
        return None
    return dict(event.template(record.payload).__values__)


@cache
def _dissect_manifest() -> ModuleType:
    """dissect's compiled manifest; it cannot compile counted binary fields or dotted names: respelled."""
    from dissect.etl import manifest

    text = manifest.get_resource_string(f"manifests/xml/{{{KERNEL_REGISTRY}}}.xml")
    manifest.FIELD_MAP.setdefault("Binary", "char {name}")
    manifest.FIELD_MAP.setdefault("HexInt32", "uint32 {name}")
    text = re.sub(r'(template|tid)="[^"]*"', lambda match: match[0].replace(".", "_"), text)
    return manifest.compile_xml(UUID(KERNEL_REGISTRY), text.replace(' length="', ' max="'))


class _Collector:
    """etl-parser's observer: turns each kind of record into a ForeignRecord (cpu and offset unknown: -1)."""

    def __init__(self) -> None:
        self.records: list[ForeignRecord] = []

    def on_event_record(self, event: Any) -> None:
        header, descriptor = event.source.event_header, event.source.event_header.event_descriptor
        self._add(int(header.marker.type.enum), _guid(header.provider_id), descriptor.Id, descriptor.Version,
                  descriptor.Opcode, header.process_id, header.thread_id, header.timestamp,
                  event.source.user_data)  # fmt: skip

    def on_trace_record(self, event: Any) -> None:
        header = event.source.event_header
        self._add(int(header.marker.type.enum), _guid(header.guid), None, header["class"].version,
                  header["class"].type, header.process_id, header.thread_id, header.timestamp,
                  event.source.user_data)  # fmt: skip

    def on_system_trace(self, event: Any) -> None:
        header = event.source.system_header
        group = int(header.header.group)
        self._add(int(header.marker.type.enum), _CLASSES.get(group, f"hook-group-0x{group:02x}"), None,
                  header.marker.version & 0xFF, header.header.type, header.process_id, header.thread_id,
                  header.system_time, event.source.mof_data)  # fmt: skip

    def on_perfinfo_trace(self, event: Any) -> None:
        source = event.source
        group = int(source.header.group)
        self._add(int(source.marker.type.enum), _CLASSES.get(group, f"hook-group-0x{group:02x}"), None,
                  source.marker.version & 0xFF, source.header.type, None, None, source.timestamp,
                  source.mof_data)  # fmt: skip

    def on_win_trace(self, event: Any) -> None:
        header = event.source.event_header
        self._add(0x0F, _guid(header.provider_id), header.event_id, None, None, header.process_id,
                  header.thread_id,
                  None, event.source.user_data)  # fmt: skip

    def _add(self, type_: int, provider: str, id_: int | None, version: int | None, opcode: int | None,
             pid: int | None, tid: int | None, ticks: int | None, payload: bytes) -> None:  # fmt: skip
        self.records.append(
            ForeignRecord(type_, provider, id_, version, opcode, pid, tid, ticks, bytes(payload), -1, -1)
        )


def etl_parser_records(path: Path) -> list[ForeignRecord]:
    """Return the records of an uncompressed file, those of its first buffer left out, in file order."""
    return reading_of(path, "etl-parser", Path(__file__), _by_etl_parser)


def _by_etl_parser(path: Path) -> list[ForeignRecord]:
    from etl.etl import IEtlFileObserver, build_from_stream

    class Observer(_Collector, IEtlFileObserver):  # type: ignore[misc]  # etl-parser has no types
        pass

    observer = Observer()
    build_from_stream(path.read_bytes()).parse(observer)
    return observer.records


def etl_parser_registry_fields(record: ForeignRecord) -> dict[str, object]:
    """Return the fields of a 64-bit Kernel-Registry record by etl-parser's own table.

    Its names end at the first NUL, so a record whose name holds one comes out wrong.
    """
    import etl.parsers.etw.Microsoft_Windows_Kernel_Registry  # noqa: F401
    from etl.parsers.etw.core import build_etw, guid

    # Its own Event.parse_etw looks for the GUID's parts in the wrong place.
    source = build_etw(guid(KERNEL_REGISTRY), record.id, record.version, record.payload).source
    return {
        name: bytes(value.string[:-2]).decode("utf-16-le", "surrogatepass")
        if hasattr(value, "string")
        else value
        for name, value in source.items()
        if not name.startswith("_")
    }


def _guid(guid: Any) -> str:
    inner = guid.inner
    raw = struct.pack("<IHH8B", inner.data1, inner.data2, inner.data3, *inner.data4)
    return str(UUID(bytes_le=raw))
