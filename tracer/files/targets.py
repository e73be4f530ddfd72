"""Targets of outputs: an output appears complete or not at all, never over a source or in a capture."""

import contextlib
import errno
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tracer.errors import TargetError
from tracer.files.workspace import Workspace, try_lock

__all__ = ["Slot", "check_apart", "check_target", "is_capture", "open_target"]

_CAPTURE_SUFFIX = ".regtrace"
_MANIFEST_NAME = "capture.json"
_PATIENCE_SECONDS = 10.0  # a publication takes some milliseconds


def check_apart(target: Path, sources: Sequence[Path] = ()) -> None:
    """Raise TargetError if a target is a source, lies in one or holds one, or lies inside a capture.

    Links, hard links and different spellings of one path are seen through.

    Args:
        target: a file or a folder, which need not exist.
        sources: what the same run reads; of a folder the files must be given too, for a target may lie beside them.
    """
    place = _resolved(target)
    for folder in place.parents:
        if is_capture(folder):
            raise TargetError(
                f"{target} lies in the capture {folder}, and a capture holds only what its ingest wrote; name another place"
            )
    for source in sources:
        real = _resolved(source)
        if _is_same(place, real):
            raise TargetError(f"{target} is the source {source} itself; name another place for the output")
        if any(_is_same(place, folder) for folder in real.parents):
            raise TargetError(f"{source} lies in {target}, which would be replaced; move it elsewhere first")
        if not real.is_dir() and any(_is_same(folder, real) for folder in place.parents):
            raise TargetError(f"{target} lies in the source {source}; name another place for the output")


def is_capture(folder: Path) -> bool:
    """Tell whether a folder is a capture, whole or damaged."""
    try:
        with (folder / _MANIFEST_NAME).open("rb") as file:
            return folder.suffix == _CAPTURE_SUFFIX or b'"regtrace"' in file.read(256)
    except OSError:
        return folder.suffix == _CAPTURE_SUFFIX and (folder / "events").is_dir()


class Slot:
    """The place of a target as a run found it; if it changed when the run ends, nothing is replaced.

    Attributes:
        path: the target; where it was a link, what that leads to: the link stays.
    """

    def __init__(self, target: Path) -> None:
        """Remember what exists at `target` now."""
        self.path = _resolved(target)
        self._identity = _identity(self.path)

    def workspace(self) -> Workspace:
        """Make a folder beside the target, from which it can be renamed into place."""
        return Workspace(self.path.parent, target=self.path.name)

    @contextlib.contextmanager
    def publishing(self) -> Iterator[None]:
        """Keep other runs from publishing in the same folder, in the block.

        Raises:
            TargetError: another run published here meanwhile.
        """
        with _locked_folder(self.path.parent):
            if _identity(self.path) != self._identity:
                raise TargetError(
                    f"{self.path} was made or replaced by another run meanwhile; this run published nothing and left it as it is, run it again"
                )
            yield


def check_target(path: Path, *, force: bool, sources: Sequence[Path] = ()) -> None:
    """Raise TargetError if `path` cannot become an output file, before any work is done."""
    try:
        check_apart(path, sources)
        if path.is_dir():
            raise TargetError(f"{path} is a folder; name a file")
        if path.is_file() and not force:
            raise TargetError(f"{path} exists; give --force to replace it, or choose another name")
        if not path.parent.is_dir():
            raise TargetError(
                f"{path.parent} is not a folder; make it first, or name another place for {path.name}"
            )
    except OSError as problem:  # a link that leads to itself, a name that is too long
        raise TargetError(f"{path} cannot be written: {problem.strerror or problem}") from problem


@contextlib.contextmanager
def open_target(path: Path, *, force: bool, sources: Sequence[Path] = ()) -> Iterator[BinaryIO]:
    """Open `path` for writing; the complete file appears when the block ends without an error.

    Without `force` an existing file is never replaced. Devices and named pipes are written directly.

    Raises:
        TargetError: the target exists or is a source, its folder is missing, or the system refuses to write.
    """
    check_target(path, force=force, sources=sources)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                yield stream
            return
        slot = Slot(path)
        with slot.workspace() as workspace:
            temporary = workspace.path / "file"
            with temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            check_target(path, force=force, sources=sources)  # somebody may have made it meanwhile
            with slot.publishing():
                temporary.replace(slot.path)
    except OSError as problem:
        if problem.errno == errno.EPIPE:
            raise
        raise TargetError(f"cannot write {path}: {_reason(problem)}") from problem


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError) as problem:  # a loop of links; a NUL
        raise TargetError(
            f"{path} cannot be a path: {getattr(problem, 'strerror', None) or problem}"
        ) from problem


def _is_same(one: Path, other: Path) -> bool:
    if one == other:
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return the identity of a file or folder, independent of its name; None if it does not exist."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Keep other runs of regtrace from publishing in a folder, in the block, if the folder can be locked."""
    descriptor = _open_lock(folder)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_lock(folder: Path) -> int | None:
    """Wait for the lock of a folder and return its descriptor; None if there are no such locks."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return _locked(folder)
        except BlockingIOError:
            pass
        except OSError:
            return None
        if time.monotonic() > until:
            raise TargetError(
                f"{folder} is locked by another run for too long; nothing was published, try again"
            )
        time.sleep(0.01)


def _locked(folder: Path) -> int:
    """Lock a folder; BlockingIOError says that another run has it."""
    if sys.platform == "win32":
        # Folders have no locks there; this file goes away when it is closed, however that happens.
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_TEMPORARY
        try:
            return os.open(folder / ".regtrace-publishing", flags)
        except (FileExistsError, PermissionError) as problem:
            raise BlockingIOError from problem
    else:
        descriptor = os.open(folder, os.O_RDONLY)
        if try_lock(descriptor) is False:
            os.close(descriptor)
            raise BlockingIOError
        return descriptor


def _reason(problem: OSError) -> str:
    if problem.errno == errno.ENOSPC:
        return "the disk is full; nothing half-written was left behind"
    text = problem.strerror or str(problem)
    return text[:1].lower() + text[1:]
