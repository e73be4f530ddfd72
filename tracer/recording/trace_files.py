"""Trace files beside a capture: earlier ones wait under another name until the new capture is complete.

Only what regtrace made is ever replaced. It is renamed to NAME.etl.replaced when a recording starts. It is removed when the
new capture is published, and gets its name back where the recording is discarded or never starts.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from tracer.diagnostics import Diagnostics
from tracer.errors import RegtraceError, TargetError
from tracer.etl.buffers import open_traces
from tracer.schema import SEED, SIMULATED_NAME
from tracer.session.options import SESSION_PREFIX

__all__ = ["put_back", "remove_replaced", "replaced_path", "set_aside"]

_OUR_NAMES = (SESSION_PREFIX, SIMULATED_NAME)  # how the session's name in the header of our own traces begins


def replaced_path(path: Path) -> Path:
    """Return where a file waits that a new one is to replace: NAME.etl.replaced."""
    return path.with_name(f"{path.name}.replaced")


def set_aside(paths: Iterable[Path], *, force: bool) -> None:
    """Rename existing files, so that new ones can have their names.

    Raises:
        TargetError: a file exists and `force` is not given, or it was not made by regtrace, or it cannot be renamed.
    """
    listed = list(paths)
    for path in map(replaced_path, listed):
        if os.path.lexists(path):
            raise TargetError(
                f"{path} exists: a recording that did not end set it aside; move or delete it, or choose another name with -o"
            )
    existing = [path for path in listed if os.path.lexists(path)]
    for path in existing:
        if not force:
            raise TargetError(f"{path} exists; choose another name with -o, or give --force to replace it")
        if not _is_ours(path):
            raise TargetError(
                f"{path} was not made by regtrace, so --force does not replace it; move it elsewhere, or choose another "
                "name with -o"
            )
    for path in existing:
        try:
            path.rename(replaced_path(path))
        except OSError as error:
            put_back(existing)
            raise TargetError(f"{path} cannot be replaced: {error.strerror or error}") from error


def put_back(paths: Iterable[Path]) -> None:
    """Give set-aside files their names back, unless a new file has the name."""
    for path in paths:
        if not os.path.lexists(path):
            with contextlib.suppress(OSError):
                replaced_path(path).rename(path)


def remove_replaced(paths: Iterable[Path]) -> None:
    """Remove the set-aside files, once the new ones are complete."""
    for path in map(replaced_path, paths):
        if _is_ours(path):
            with contextlib.suppress(OSError):
                path.unlink()


def _is_ours(path: Path) -> bool:
    """Tell whether regtrace made a file: a trace of its sessions, a seed, or an empty file; never a link."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        if not path.stat().st_size:
            return True
        return _is_seed(path) or _is_trace(path)
    except (OSError, RegtraceError):
        return False


def _is_trace(path: Path) -> bool:
    trace = open_traces(path, Diagnostics())[0]
    trace.file.close()
    return trace.header.logger_name.lower().startswith(_OUR_NAMES)


def _is_seed(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names) == list(SEED.names)
    except (pa.ArrowException, UnicodeDecodeError):  # a column's name need not be text
        return False
