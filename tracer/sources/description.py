"""Sources: what kind a file is, told by its content, and what the manifest says of it."""

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


@dataclass(frozen=True, slots=True)
class FileState:
    """How an open file stands: its bytes, and when they last changed (UTC nanoseconds)."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, file: IO[bytes]) -> "FileState":
        """Return how it stands now; what stands under its name meanwhile is another matter."""
        status = os.fstat(file.fileno())
        return cls(status.st_size, status.st_mtime_ns)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_first(file: IO[bytes], size: int) -> str:
    """Return the SHA-256 of the first `size` bytes of an open file, in hex; others may read it meanwhile.

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
    """Give a function (bytes, offset) -> bytes that leaves the place of an open file as it is."""
    if sys.platform == "win32":
        with Path(file.name).open("rb") as again:

            def read(count: int, at: int) -> bytes:
                again.seek(at)
                return again.read(count)

            yield read
    else:
        yield lambda count, at: os.pread(file.fileno(), count, at)
