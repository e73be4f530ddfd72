"""A workspace: a hidden folder for the unfinished output of one run, removed however the run ends.

The run holds a lock on a marker in it for as long as it lives, and the system lets go of that lock however the run ends. So a
later run tells what was left behind from what is in use, and no process number that is used again can mislead it. A folder
without our marker is never touched.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Workspace", "remove_dead", "try_lock"]

_PREFIX = ".regtrace-"
_MARKER = "regtrace-run.json"
_EARLY = "unmarked"  # the marker until it is locked, on systems where an open file can be renamed
_NAME = re.compile(r"\.regtrace-[0-9a-f]{16}")
_TRIES = 5  # each is lost only to a run that cleans up in the very same microseconds
_MADE_BY = "regtrace"
_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LOCKED_BYTE = 1 << 30  # where Windows locks: beyond the text, which others may read


class Workspace:
    """A folder of this run beside its target; leaving the `with` block removes it with all it holds.

    Attributes:
        path: the folder; what is to be published is made in it and renamed out of it.
        replaced: where the old thing waits while the new one takes its place; should the run be killed then, the next
            one puts it back.
    """

    def __init__(self, parent: Path, *, target: str | None = None) -> None:
        """Make the folder, and remove those that killed runs left in the same parent.

        Args:
            parent: where it is made.
            target: the name in `parent` that its content will have.

        Raises:
            OSError: it cannot be made.
        """
        remove_dead(parent)
        self._marker: int | None = None
        for left in reversed(range(_TRIES)):
            run = secrets.token_hex(8)
            self.path = parent / f"{_PREFIX}{run}"
            self.replaced = self.path / "replaced"
            self.path.mkdir(0o700)
            try:
                self._mark({"made_by": _MADE_BY, "run": run, "target": target})
                return
            except FileNotFoundError:  # before it had its marker, another run took it for one of a killed run
                self.close()
                if not left:
                    raise
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Remove the folder."""
        if sys.platform == "win32":  # where no open file can be removed
            self._unlock()
        try:
            shutil.rmtree(self.path, ignore_errors=True)
        except KeyboardInterrupt:  # somebody who is impatient does not want it to stay either
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        finally:
            self._unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _mark(self, text: dict[str, Any]) -> None:
        # Locked before it has its name, so that nobody finds it without its lock; Windows renames no open file.
        early = self.path / (_MARKER if sys.platform == "win32" else _EARLY)
        self._marker = os.open(early, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if (
            try_lock(self._marker) is False
        ):  # where a file system has no locks (None), nothing is ever taken for dead
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(early))
        os.write(self._marker, json.dumps(text).encode("ascii"))
        if sys.platform != "win32":
            early.rename(self.path / _MARKER)

    def _unlock(self) -> None:
        if self._marker is not None:
            os.close(self._marker)
            self._marker = None


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder for this run alone, until it is closed.

    Returns:
        True: it is locked. False: another run has it. None: this file system has no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return False if problem.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK) else None
    return True


def remove_dead(parent: Path) -> None:
    """Remove the workspaces of killed runs; an old capture that one had put aside goes back to its name."""
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for path in [Path(entry.path) for entry in entries if entry.name.startswith(_PREFIX)]:
            with contextlib.suppress(OSError):
                _remove_if_dead(path)


def _remove_if_dead(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
        return
    inside = os.listdir(path)  # noqa: PTH208 - names alone
    if (
        inside in ([], [_EARLY], [_MARKER])
        and _NAME.fullmatch(path.name)
        and _remove_if_unmarked(path, inside)
    ):
        return
    descriptor = os.open(path / _MARKER, _OPEN)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        text = _parsed(os.read(descriptor, 4096))
        if (
            text.get("made_by") != _MADE_BY
            or path.name != f"{_PREFIX}{text.get('run')}"
            or not try_lock(descriptor)
        ):
            return
        _put_back(path, text.get("target"))
        if sys.platform == "win32":
            os.close(descriptor)
            descriptor = -1
        shutil.rmtree(path, ignore_errors=True)
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _remove_if_unmarked(path: Path, inside: list[str]) -> bool:
    """Remove the folder of a run that was killed before its marker was whole; tell whether it was one."""
    if not inside:
        path.rmdir()  # a run that makes its marker right now makes another folder
        return True
    descriptor = os.open(path / inside[0], _OPEN)
    try:
        status = os.fstat(descriptor)
        is_whole = inside == [_MARKER] and status.st_size > 0
        if not stat.S_ISREG(status.st_mode) or is_whole or not try_lock(descriptor):
            return False
        if sys.platform == "win32":
            os.close(descriptor)
            descriptor = -1
        (path / inside[0]).unlink()
        path.rmdir()
        return True
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _put_back(path: Path, target: object) -> None:
    if not isinstance(target, str) or Path(target).name != target:
        return
    old, place = path / "replaced", path.with_name(target)
    if old.exists() and not os.path.lexists(place):
        old.rename(place)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
