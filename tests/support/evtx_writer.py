"""A small writer of event logs: chunks, names, templates and BinXML, so that the reader is tested where no real log is.

Layouts are those of libevtx's "Windows XML Event Log (EVTX) format". Everything that the tests damage has a known place.
"""

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CHUNK, BLOCK, RECORDS_AT = 65536, 4096, 512
FILETIME_2026 = 134_116_992_000_000_000  # 2026-01-01 UTC
PROVIDER = "Microsoft-Windows-Sysmon"
_TEXT, _UINT16, _UINT64, _BINXML = 0x01, 0x06, 0x0A, 0x21
_TEMPLATE_ID = 0x6E626DFD


@dataclass(frozen=True)
class Record:
    """A record: `fields` become EventData."""

    record_id: int
    fields: Mapping[str, str]
    event_id: int = 13
    filetime: int | None = None

    @property
    def written(self) -> int:
        """When it was written: a millisecond for each identifier."""
        return FILETIME_2026 + self.record_id * 10_000 if self.filetime is None else self.filetime

    def json(self, *, template: bool = True) -> dict[str, object]:
        """Return the event as the library tells it; without a template, numbers are texts."""
        kind = int if template else str
        return {
            "Event": {
                "#attributes": {"xmlns": "urn:events"},
                "System": {
                    "Provider": {"#attributes": {"Name": PROVIDER}},
                    "EventID": kind(self.event_id),
                    "EventRecordID": kind(self.record_id),
                },
                "EventData": dict(self.fields),
            }
        }


class ChunkWriter:
    """One chunk that is being filled."""

    def __init__(self) -> None:
        self.content = bytearray(RECORDS_AT)
        self.names: dict[str, int] = {}
        self.records: list[tuple[int, Record]] = []
        self._buckets = [0] * 64
        self._last_of: dict[int, int] = {}
        self._template: int | None = None
        self._in_template = False

    # BinXML

    def _name(self, name: str) -> None:
        """Write the offset of a name, and at its first use the name."""
        if name in self.names:
            self.content += struct.pack("<I", self.names[name])
            return
        self.content += struct.pack("<I", len(self.content) + 4)
        at = self.names[name] = len(self.content)
        units = name.encode("utf-16-le")
        value = 0
        for unit in struct.unpack(f"<{len(units) // 2}H", units):
            value = (value * 65599 + unit) & 0xFFFFFFFF
        self.content += struct.pack("<IHH", 0, value & 0xFFFF, len(units) // 2) + units + b"\0\0"
        bucket = (value & 0xFFFF) % 64
        if bucket in self._last_of:
            struct.pack_into("<I", self.content, self._last_of[bucket], at)
        else:
            self._buckets[bucket] = at
        self._last_of[bucket] = at

    def _text(self, text: str) -> None:
        units = text.encode("utf-16-le", "surrogatepass")
        self.content += struct.pack("<BBH", 5, _TEXT, len(units) // 2) + units

    def _element(self, name: str, attributes: Mapping[str, str], inside: Sequence[object]) -> None:
        """Write an element; `inside` are texts, (index, type) of substitutions, and elements as tuples of three."""
        self.content.append(0x41 if attributes else 0x01)
        if self._in_template:  # a dependency identifier stands in templates only
            self.content += b"\xff\xff"
        size_at = len(self.content)
        self.content += bytes(4)
        self._name(name)
        if attributes:
            list_at = len(self.content)
            self.content += bytes(4)
            for left, (key, value) in zip(
                range(len(attributes) - 1, -1, -1), attributes.items(), strict=True
            ):
                self.content.append(0x46 if left else 0x06)
                self._name(key)
                self._text(value)
            struct.pack_into("<I", self.content, list_at, len(self.content) - list_at - 4)
        self.content.append(2)
        for part in inside:
            if isinstance(part, str):
                self._text(part)
            elif isinstance(part, tuple) and len(part) == 2:
                self.content += struct.pack("<BHB", 0x0D, *part)
            elif isinstance(part, tuple):
                self._element(*part)
        self.content.append(4)
        struct.pack_into("<I", self.content, size_at, len(self.content) - size_at - 4)

    def _event(self, event_id: object, record_id: object, data: Sequence[object]) -> None:
        self.content += b"\x0f\1\1\0"
        system = [
            ("Provider", {"Name": PROVIDER}, []),
            ("EventID", {}, [event_id]),
            ("EventRecordID", {}, [record_id]),
        ]
        self._element("Event", {"xmlns": "urn:events"}, [("System", {}, system), ("EventData", {}, data)])
        self.content.append(0)

    def _instance(self, record: Record) -> None:
        """Write the record as values of a template, which the first such record defines."""
        self.content += b"\x0f\1\1\0"
        if self._template is None:
            at = self._template = len(self.content) + 10
            self.content += struct.pack("<BBII", 0x0C, 1, _TEMPLATE_ID, at)
            self.content += struct.pack("<I16sI", 0, struct.pack("<I", _TEMPLATE_ID) + bytes(range(12)), 0)
            begin = len(self.content)
            data = [
                ("Data", {"Name": name}, [(index + 2, _TEXT)]) for index, name in enumerate(record.fields)
            ]
            self._in_template = True
            self._event((0, _UINT16), (1, _UINT64), data)
            self._in_template = False
            struct.pack_into("<I", self.content, begin - 4, len(self.content) - begin)
        else:
            self.content += struct.pack("<BBII", 0x0C, 1, _TEMPLATE_ID, self._template)
        values = [
            (_UINT16, struct.pack("<H", record.event_id)),
            (_UINT64, struct.pack("<Q", record.record_id)),
            *((_TEXT, text.encode("utf-16-le", "surrogatepass")) for text in record.fields.values()),
        ]
        self.content += struct.pack("<I", len(values))
        self.content += b"".join(struct.pack("<HBB", len(value), kind, 0) for kind, value in values)
        self.content += b"".join(value for _, value in values) + b"\0"

    # The container

    def add(self, record: Record, *, template: bool) -> bool:
        """Add a record; return False, and leave the chunk as it was, if it is full."""
        before = (
            bytes(self.content),
            dict(self.names),
            list(self._buckets),
            dict(self._last_of),
            self._template,
        )
        at = len(self.content)
        self.content += struct.pack("<4sIQQ", b"\x2a\x2a\0\0", 0, record.record_id, record.written)
        if template:
            self._instance(record)
        else:
            data = [("Data", {"Name": name}, [text]) for name, text in record.fields.items()]
            self._event(str(record.event_id), str(record.record_id), data)
        self.content += bytes(-(len(self.content) + 4) % 8)
        size = len(self.content) - at + 4
        struct.pack_into("<I", self.content, at + 4, size)
        self.content += struct.pack("<I", size)
        if len(self.content) > CHUNK:
            content, self.names, self._buckets, self._last_of, self._template = before
            self.content = bytearray(content)
            return False
        self.records.append((at, record))
        return True

    def chunk(self) -> bytes:
        """Return the chunk with its header and checksums."""
        ids = [record.record_id for _, record in self.records] or [0]
        head = struct.pack(
            "<8sQQQQIIII",
            b"ElfChnk\0",
            ids[0], ids[-1], ids[0], ids[-1], 128, self.records[-1][0] if self.records else 512,
            len(self.content), zlib.crc32(self.content[RECORDS_AT:]),
        )  # fmt: skip
        templates = [0] * 32
        if self._template is not None:
            templates[_TEMPLATE_ID % 32] = self._template
        self.content[:RECORDS_AT] = head.ljust(128, b"\0") + struct.pack(
            "<64I32I", *self._buckets, *templates
        )
        return with_checksums(bytes(self.content).ljust(CHUNK, b"\0"))


def with_checksums(chunk: bytes) -> bytes:
    """Return a chunk whose two checksums are right for what it holds."""
    made = bytearray(chunk)
    end = struct.unpack_from("<I", made, 0x30)[0]
    struct.pack_into("<I", made, 0x34, zlib.crc32(made[RECORDS_AT:end]))
    struct.pack_into("<I", made, 0x7C, zlib.crc32(made[128:RECORDS_AT], zlib.crc32(made[:120])))
    return bytes(made)


def header(chunks: int, *, next_record: int = 1, flags: int = 0, minor: int = 1) -> bytes:
    """Return the header block of a log."""
    head = struct.pack(
        "<8sQQQIHHHH",
        b"ElfFile\0",
        0,
        max(chunks - 1, 0),
        next_record,
        128,
        minor,
        3,
        BLOCK,
        min(chunks, 0xFFFF),
    ).ljust(120, b"\0")
    return (head + struct.pack("<II", flags, zlib.crc32(head))).ljust(BLOCK, b"\0")


@dataclass
class Log:
    """A whole log: chunks, and which records each holds at which offset."""

    chunks: list[bytes] = field(default_factory=list)
    records: list[list[tuple[int, Record]]] = field(default_factory=list)
    names: list[dict[str, int]] = field(default_factory=list)

    def content(self, **options: int) -> bytes:
        """Return the bytes of the file."""
        return header(len(self.chunks), **options) + b"".join(self.chunks)

    def all_records(self) -> list[Record]:
        """Return the records in their order."""
        return [record for chunk in self.records for _, record in chunk]


def write_log(records: Sequence[Record], *, template: bool = False, per_chunk: int | None = None) -> Log:
    """Return a log of these records, at most `per_chunk` of them in a chunk."""
    log, writer = Log(), ChunkWriter()

    def end() -> None:
        log.chunks.append(writer.chunk())
        log.records.append(writer.records)
        log.names.append(writer.names)

    for record in records:
        if (per_chunk and len(writer.records) >= per_chunk) or not writer.add(record, template=template):
            end()
            writer = ChunkWriter()
            assert writer.add(record, template=template), "a record is larger than a chunk"
    if writer.records:
        end()
    return log


def sysmon_like(record_id: int, detail: str = "DWORD (0x00000001)") -> Record:
    """Return a record with the fields of Sysmon's event 13."""
    return Record(
        record_id,
        {
            "RuleName": "-",
            "EventType": "SetValue",
            "UtcTime": "2026-01-01 00:00:00.000",
            "ProcessGuid": "{0197231E-7211-694F-D001-000000000C00}",
            "ProcessId": str(1000 + record_id % 7),
            "Image": "C:\\Windows\\System32\\reg.exe",
            "TargetObject": f"HKLM\\SOFTWARE\\Vendor\\Value{record_id}",
            "Details": detail,
            "User": "HOST\\ann",
        },
    )
