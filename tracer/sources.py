"""Sources: what kind a file is, told by its content, and what the manifest says of it."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tracer.errors import SourceError
from tracer.file_kinds import HEAD_BYTES, FileKind, file_kind

__all__ = ["Source", "kind_of_file", "sha256"]


@dataclass(frozen=True, slots=True)
class Source:
    """An entry of `sources` in capture.json; times are UTC nanoseconds, None where nothing was read.

    Size and SHA-256 are the trace's own. `wrapper` says what it was unpacked from: kind (zip, gz, bz2, xz, zst), name, size and
    sha256 of that file, and the member of a .zip; None where the trace was a file of its own.
    """

    source_id: int
    name: str
    kind: str
    size: int
    sha256: str
    first_ns: int | None
    last_ns: int | None
    simulated: bool
    facts: dict[str, Any]
    wrapper: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry as it is stored."""
        return asdict(self)


def kind_of_file(path: Path, shown: str) -> FileKind:
    """Return what a file is, told by its content; `shown` is what an error calls it.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file_kind(file.read(HEAD_BYTES))
    except OSError as error:
        raise SourceError(f"{shown}: cannot be opened: {error.strerror}") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
