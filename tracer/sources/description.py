"""Descriptions of sources: the kind of a file, detected by content, and its entry in the manifest."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tracer.errors import SourceError
from tracer.sources.kinds import HEAD_BYTES, FileKind, file_kind

__all__ = ["FileState", "Source", "kind_of_file", "sha256", "sha256_of_first"]

_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """An entry of `sources` in capture.json; times are UTC nanoseconds, None if nothing was read.

    Size and SHA-256 are the trace's own. `wrapper` says what it was unpacked from: kind (zip, gz, bz2, xz, zst), name, size and
    sha256 of that file, and the member of a .zip; None if the trace was a file of its own.
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
    """Return the kind of a file, detected by content; `shown` is its name in messages.

    Raises:
        SourceError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return file_kind(file.read(HEAD_BYTES))
    except OSError as error:
        raise SourceError(f"{shown}: cannot be opened: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class FileState:
    """State of an open file: its size, and when it last changed (UTC nanoseconds)."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, file: IO[bytes]) -> "FileState":
        """Return the state of the open file now, even if its name belongs to another file meanwhile."""
        status = os.fstat(file.fileno())
        return cls(status.st_size, status.st_mtime_ns)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_first(file: IO[bytes], size: int) -> str:
    """Return the SHA-256 of the first `size` bytes of an open file, in hex; its position stays.

    A file that was cut since has fewer.
    """
    digest = hashlib.sha256()
    with _second_reader(file) as read:
        at = 0
        while at < size and (piece := read(min(_PIECE, size - at), at)):
            digest.update(piece)
            at += len(piece)
    return digest.hexdigest()


@contextmanager
def _second_reader(file: IO[bytes]) -> Iterator[Callable[[int, int], bytes]]:
    """Return a function (size, offset) -> bytes that does not move the position of an open file."""
    if sys.platform == "win32":
        with Path(file.name).open("rb") as again:

            def read(count: int, at: int) -> bytes:
                again.seek(at)
                return again.read(count)

            yield read
    else:
        yield lambda count, at: os.pread(file.fileno(), count, at)
