"""Sources: what kind a file is, told by its content, and what the manifest says of it."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tracer.errors import SourceError

__all__ = ["Source", "sha256", "source_kind", "without_copies"]

_FOREIGN = (
    (b"ElfFile\0", "a Windows event log (.evtx)"),
    (b"PAR1", "a Parquet file"),
    (b"regf", "a registry hive"),
)
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """An entry of `sources` in capture.json; times are UTC nanoseconds, None where nothing was read."""

    source_id: int
    name: str
    kind: str
    size: int
    sha256: str
    first_ns: int | None
    last_ns: int | None
    simulated: bool
    facts: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as it is stored."""
        return asdict(self)


def source_kind(path: Path) -> str:
    """Return "etl" or "pml", told by content.

    Raises:
        SourceError: the file cannot be opened, or is a known kind that regtrace does not read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror}") from error
    if head.startswith(b"PML_"):
        return "pml"
    for magic, name in _FOREIGN:
        if head.startswith(magic):
            raise SourceError(f"{path}: this is {name}; regtrace reads .etl and Procmon .pml files")
    return "etl"


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def without_copies(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, list[str]]]:
    """Return the files without those that hold the same bytes as an earlier one, and the names of these by it.

    Only files of one size are read for that, and only as far as they are equal.
    """
    kept: list[Path] = []
    copies: dict[Path, list[str]] = {}
    sizes: dict[int, list[Path]] = {}
    for path in paths:
        rivals = sizes.setdefault(path.stat().st_size, [])
        original = next((one for one in rivals if _same_bytes(one, path)), None)
        if original is None:
            rivals.append(path)
            kept.append(path)
        else:
            copies.setdefault(original, []).append(path.name)
    return kept, copies


def _same_bytes(one: Path, other: Path) -> bool:
    if one.samefile(other):
        return True
    with one.open("rb") as first, other.open("rb") as second:
        while (block := first.read(_BLOCK)) == second.read(_BLOCK):
            if not block:
                return True
    return False
