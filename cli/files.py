"""Output files that are either whole or not there: written beside the target, then renamed over it."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tracer.errors import TargetError

__all__ = ["binary_stdout", "check_target", "open_target"]


def check_target(path: Path, *, force: bool) -> None:
    """Raise TargetError where `path` cannot become an output file: said before any work is done."""
    if path.is_dir():
        raise TargetError(f"{path} is a folder; name a file")
    if path.is_file() and not force:
        raise TargetError(f"{path} exists; give --force to replace it, or another name")
    if not path.parent.is_dir():
        raise TargetError(
            f"{path.parent} is not a folder; make it first, or name another place for {path.name}"
        )


@contextmanager
def open_target(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears, whole, when the block ends without an error.

    Without `force` an existing file is never replaced. Devices and named pipes are written directly.

    Raises:
        TargetError: the target exists, its folder is missing, or the system refuses to write.
    """
    check_target(path, force=force)
    path = path.resolve()  # a link stays a link: its target is what is replaced
    special = path.exists() and not path.is_file()
    temporary = path if special else path.with_name(f".{path.name[:100]}.{os.getpid()}.part")
    try:
        with temporary.open("wb" if special else "xb") as stream:
            yield stream
            stream.flush()
            if not special:
                os.fsync(stream.fileno())
        if not special:
            check_target(path, force=force)  # somebody may have made it meanwhile
            temporary.replace(path)
    except OSError as problem:
        if problem.errno == errno.EPIPE:
            raise
        raise TargetError(f"cannot write {path}: {_reason(problem)}") from problem
    finally:
        if not special:
            with suppress(OSError):
                temporary.unlink()


def binary_stdout() -> BinaryIO:
    """Return standard output as bytes; text written before is flushed first, to keep the order."""
    sys.stdout.flush()
    return sys.stdout.buffer


def _reason(problem: OSError) -> str:
    if problem.errno == errno.ENOSPC:
        return "the disk is full; nothing half-written was left behind"
    text = problem.strerror or str(problem)
    return text[:1].lower() + text[1:]
