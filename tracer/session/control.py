"""Control of sessions by name: ControlTrace and QueryAllTraces, with every status checked.

pywintrace itself comes as an argument, for only tracer.session.session imports it.
"""

import ctypes
import uuid
from pathlib import Path
from typing import Any

from tracer.errors import SessionGone
from tracer.session.answer import NAME_UNITS, WHOLE_SIZE, Answer, empty_properties
from tracer.session.errors import INVALID_PARAMETER, error_for
from tracer.session.options import SessionStatus
from tracer.session.request import put_file_name
from tracer.windows import rights

__all__ = ["FLUSH", "QUERY", "STOP", "all_sessions", "check_same", "control"]

QUERY, STOP, FLUSH = 0, 1, 3  # ControlTrace
_MOST_SESSIONS, _FEW_SESSIONS = 256, 64  # EtwMaxLoggers goes no further; older systems take no more than 64
_MORE_DATA = 234


def control(etw: Any, name: str, code: int, doing: str, path: Path | None = None) -> Answer:  # noqa: ANN401
    """Call ControlTrace by name and return what it says.

    Args:
        etw: pywintrace, as tracer.session.session has it.
        name: of the session.
        code: QUERY, STOP or FLUSH.
        doing: what that is for, in words.
        path: the file to save a BUFFERING session to.

    Raises:
        SessionGone: it does not run.
        NotElevated: this process may not ask, so this is unknown.
        SessionError: Windows refuses.
    """
    properties = etw.TraceProperties(max_str_len=NAME_UNITS)
    # A flush writes to the file that is named, so without one there must be no name at all.
    ctypes.memmove(properties._buf, empty_properties(with_file_name=code != FLUSH), WHOLE_SIZE)
    if path is not None:
        put_file_name(properties, path)
    status = int(etw.ControlTraceW(etw.TRACEHANDLE(0), name, properties.get(), code))
    if status and not (status == _MORE_DATA and code != FLUSH):
        raise error_for(
            status, doing, name, elevated=rights.is_elevated(), forbidden_folder=rights.forbidden_folder(path)
        )
    return Answer(bytes(properties._buf))


def all_sessions(etw: Any) -> list[SessionStatus]:  # noqa: ANN401
    """Return the running sessions that this process may see; Windows silently leaves out the others.

    Raises:
        SessionError: Windows refuses.
    """
    code = INVALID_PARAMETER
    for most in (_MOST_SESSIONS, _FEW_SESSIONS):
        empty = empty_properties()
        buffers = [ctypes.create_string_buffer(empty, WHOLE_SIZE) for _ in range(most)]
        array = (ctypes.c_uint64 * most)(*(ctypes.addressof(buffer) for buffer in buffers))
        count = ctypes.c_uint32()
        code = etw.library.QueryAllTracesW(ctypes.byref(array), ctypes.c_uint32(most), ctypes.byref(count))
        if code in (0, _MORE_DATA):
            return [Answer(buffer.raw).status() for buffer in buffers[: count.value]]
        if code != INVALID_PARAMETER:  # else there are more places than the system can have sessions
            break
    raise error_for(code, "list", "*", elevated=rights.is_elevated())


def check_same(name: str, ours: uuid.UUID, actual: uuid.UUID, doing: str) -> None:
    """Raise SessionGone if the session of that name is not ours."""
    # UNCONFIRMED that a query always says the session's GUID; without one there is nothing to compare.
    if actual.int and actual != ours:
        raise SessionGone(f"cannot {doing} session '{name}': it ended, and another one has its name")
