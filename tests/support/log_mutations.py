"""Damaged logs: small sound ones of every kind, seeded ways to damage them, and what must hold of what is read."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import security_records as security
from sysmon_records import SHAPES, as_lines, as_xml, event, event_data

from tracer.diagnostics import Diagnostics
from tracer.errors import RegtraceError
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.ingest import READERS
from tracer.named.rows import SCHEMA
from tracer.sources.inputs import SourceFile

__all__ = ["LOGS", "damage", "read_damaged"]

_KEY = r"HKLM\SOFTWARE\Vendor"
_NATIVE = r"\REGISTRY\MACHINE\SOFTWARE\Vendor"
_RECORDS = [
    event(kind, f"{_KEY}\\{number}", shape, Details=f"DWORD (0x{number:08x})", NewName=_KEY)
    for number, shape in enumerate(SHAPES)
    for kind in ("CreateKey", "SetValue", "DeleteValue", "RenameKey")
]
_XML = [
    as_xml(13, event_data("SetValue", f"{_KEY}\\{number}", Details="text & <more>")) for number in range(8)
]
_AUDITS = [
    security.audit(number, _NATIVE, shape)
    for shape in security.SHAPES
    for number in (4656, 4657, 4658, 4660, 4663)
]
LOGS: dict[str, tuple[str, bytes]] = {
    "json lines": ("json", as_lines(_RECORDS).encode()),
    "a json array": ("json", json.dumps(_RECORDS, indent=1).encode()),
    "utf-16": ("json", as_lines(_RECORDS[:8]).encode("utf-16")),
    "security log": ("json", as_lines(_AUDITS).encode()),
    "xml": ("xml", ("<Events>" + "\n".join(_XML) + "</Events>").encode()),
}  # fmt: skip
_BYTES = b'\0\x01"\\{}[]<>&;,:\n\r \xff\xfe\x80\xc3\xed'


def damage(content: bytes, random: Random) -> bytes:
    """Return the content with one to four changes: bytes changed, taken out, doubled, moved, or cut off."""
    out = bytearray(content)
    for _ in range(random.randint(1, 4)):
        if not out:
            break
        at, size = random.randrange(len(out)), random.choice((1, 1, 2, 9, 300))
        _CHANGES[random.randrange(len(_CHANGES))](out, at, size, random)
    return bytes(out)


def _change(out: bytearray, at: int, _size: int, random: Random) -> None:
    out[at] = random.choice(_BYTES)


def _take(out: bytearray, at: int, size: int, _random: Random) -> None:
    del out[at : at + size]


def _double(out: bytearray, at: int, size: int, _random: Random) -> None:
    out[at:at] = out[at : at + size]


def _put(out: bytearray, at: int, size: int, random: Random) -> None:
    out[at:at] = bytes(random.choices(_BYTES, k=size))


def _cut(out: bytearray, at: int, _size: int, _random: Random) -> None:
    del out[at:]


_CHANGES: list[Callable[[bytearray, int, int, Random], None]] = [_change, _change, _take, _double, _put, _cut]


def read_damaged(kind: str, content: bytes, folder: Path) -> tuple[int, Diagnostics]:
    """Read a damaged log; return the number of rows, and what was counted. Raises what should not be raised."""
    path = folder / "damaged.log"
    path.write_bytes(content)
    diagnostics, rows = Diagnostics(), 0
    context = NamedContext(NamedOptions())
    try:
        for batch in READERS[kind](SourceFile(path, "log", "log", kind), len(content), context, diagnostics):
            batch.validate(full=True)
            assert batch.schema == SCHEMA
            rows += batch.num_rows
    except RegtraceError:  # a sentence for the user
        pass
    return rows, diagnostics
