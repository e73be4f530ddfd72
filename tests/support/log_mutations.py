"""Damaged logs: seeded ways to damage one, and what must hold of what is read."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random

from tracer.decode.columns import decode_operations
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.errors import RegtraceError
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.ingest import READERS
from tracer.named.rows import SCHEMA
from tracer.raw.reader import RawReader
from tracer.sources.inputs import SourceFile
from tracer.sources.kinds import RAW_ETW

__all__ = ["damage", "read_damaged"]

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


def read_damaged(kind: str, content: bytes, folder: Path) -> tuple[int, int]:
    """Read a damaged log; return the number of rows, and of records that cannot be read. Raises what should not be raised."""
    path = folder / "damaged.log"
    path.write_bytes(content)
    file = SourceFile(path, "log", "log", kind)
    try:
        return _raw(file, folder) if kind in RAW_ETW else _named(file, len(content))
    except RegtraceError:  # a sentence for the user
        return 0, 0


def _named(file: SourceFile, size: int) -> tuple[int, int]:
    diagnostics, rows = Diagnostics(), 0
    context = NamedContext(NamedOptions())
    try:
        for batch in READERS[file.kind](file, size, context, diagnostics):
            batch.validate(full=True)
            assert batch.schema == SCHEMA
            rows += batch.num_rows
    except RegtraceError:
        pass
    context.actors.table().validate(full=True)
    return rows, diagnostics["log_bad_record"]


def _raw(file: SourceFile, folder: Path) -> tuple[int, int]:
    rows, names = 0, NameTable()
    with closing(RawReader([file], folder, NamedOptions(), lambda *_: None)) as reader:
        for records in reader:
            operations = decode_operations(records, reader.providers, names, reader.diagnostics)
            assert len(operations.rows) <= len(records)
            rows += len(records)
        return rows, reader.diagnostics[0]["log_bad_record"]
