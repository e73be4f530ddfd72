"""The header of a Procmon log: the offsets of its parts, and the machine it describes.

There is no official description of the format. The offsets are those the procmon-parser project worked out
("PML Format.md", version 9) and hold for real files; all numbers are little-endian.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import SourceError
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.pml.contents import Contents
from tracer.registry.text import decode_name

__all__ = [
    "FIRST_DATE",
    "HEADER_SIZE",
    "LAST_DATE",
    "LOG_START",
    "Bytes",
    "Header",
    "filetime_ns",
    "read_header",
]

HEADER_SIZE = 0x3A8
_VERSION = 9
FIRST_DATE = FILETIME_EPOCH  # earlier stamps are damage
LAST_DATE = FIRST_DATE + (2**63 - 1) // 100  # the last FILETIME whose nanoseconds fit
LOG_START = b"PML_" + struct.pack("<I", _VERSION)
_ADVICE = "open it in Procmon and save it again in the native format (PML)"

Bytes = Contents  # the whole file; a slice of it is bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of the header; offsets are unchecked and may be wrong.

    Attributes:
        pointer_size: 4 or 8 bytes, of the machine that recorded.
        events: how many events the file claims to hold.
        events_at: offset of the first event.
        offsets_at: offset of the array of event offsets; 0 in a file that was never closed.
        processes_at: offset of the process table.
        strings_at: offset of the string table.
        windows: major, minor, build, revision.
    """

    pointer_size: int
    computer_name: str
    system_root: str
    events: int
    events_at: int
    offsets_at: int
    processes_at: int
    strings_at: int
    windows: tuple[int, int, int, int]
    service_pack: str
    processors: int
    memory_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether all fields of the file say that it holds no event."""
        return self.events == 0 and self.events_at == self.offsets_at == self.processes_at

    def facts(self) -> dict[str, object]:
        """Return facts about the machine and the file for users; None if the header says nothing."""
        major, minor, build, revision = self.windows
        return {
            "computer_name": self.computer_name or None,
            "system_root": self.system_root or None,
            "windows_version": f"{major}.{minor}.{build}.{revision}",
            "windows_build": build or None,
            "service_pack": self.service_pack or None,
            "bits": 8 * self.pointer_size,
            "processors": self.processors or None,
            "memory_bytes": self.memory_bytes or None,
            "events": self.events,
        }


def read_header(raw: Bytes, path: Path) -> Header:
    """Read the header of the Procmon log `path`, whose bytes are `raw`.

    Raises:
        SourceError: it is no Procmon log, of another version, or shorter than its header.
    """
    if raw[:4] != b"PML_":
        raise SourceError(f"{path} is not a Procmon log: it does not start with PML_ at offset 0; {_ADVICE}.")
    if len(raw) < HEADER_SIZE:
        raise SourceError(
            f"{path} is cut inside its header, at offset 0x{len(raw):X} of 0x{HEADER_SIZE:X}; "
            "copy it again from where it was recorded."
        )
    head = raw[:HEADER_SIZE]
    version, is_64bit = struct.unpack_from("<II", head, 4)
    if version != _VERSION:
        raise SourceError(
            f"{path} says at offset 0x4 that it is a Procmon log of version {version}, "
            f"and only version {_VERSION} is known; {_ADVICE}."
        )
    events_at, offsets_at, processes_at, strings_at = struct.unpack_from("<4Q", head, 0x240)
    processors, memory_bytes = struct.unpack_from("<IQ", head, 0x38C)
    return Header(
        pointer_size=8 if is_64bit else 4,
        computer_name=_fixed_text(head, 0xC, 0x20),
        system_root=_fixed_text(head, 0x2C, 0x208),
        events=struct.unpack_from("<I", head, 0x234)[0],
        events_at=events_at if HEADER_SIZE <= events_at <= len(raw) else HEADER_SIZE,
        offsets_at=offsets_at,
        processes_at=processes_at,
        strings_at=strings_at,
        windows=struct.unpack_from("<4I", head, 0x274),
        service_pack=_fixed_text(head, 0x284, 0x32),
        processors=processors,
        memory_bytes=memory_bytes,
    )


def filetime_ns(filetime: int) -> int | None:
    """Return a FILETIME as UTC nanoseconds since 1970; None for 0 and for values beyond 64 bits."""
    return (filetime - FIRST_DATE) * 100 if FIRST_DATE <= filetime <= LAST_DATE else None


def _fixed_text(raw: bytes, start: int, size: int) -> str:
    """Decode a NUL-terminated text in a field of `size` bytes."""
    units = raw[start : start + size]
    end = next((i for i in range(0, size - 1, 2) if units[i : i + 2] == b"\0\0"), size)
    return decode_name(units[:end])
