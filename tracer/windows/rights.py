"""Rights of this process on Windows: whether it is elevated, sees all sessions, can write to a folder.

Each answer is yes, no or None: nobody can say (other systems, a call that failed).
"""

import ctypes
import sys
import tempfile
from ctypes import POINTER, c_uint32, c_void_p
from pathlib import Path

from tracer.windows.system_calls import bind

__all__ = ["forbidden_folder", "is_elevated", "may_write", "sees_all_sessions"]

_IS_WINDOWS = sys.platform == "win32"
_PERFORMANCE_LOG_USERS = 58  # WinBuiltinPerfLoggingUsersSid of WELL_KNOWN_SID_TYPE (winnt.h)
_MOST_SID_BYTES = 68  # SECURITY_MAX_SID_SIZE


def is_elevated() -> bool | None:
    """Return whether this process has the rights of an administrator."""
    if not _IS_WINDOWS:
        return None
    return bool(bind("shell32", IsUserAnAdmin=(c_uint32,)).IsUserAnAdmin())


def sees_all_sessions() -> bool | None:
    """Return whether Windows lists all tracing sessions for this process, or silently leaves some out.

    Elevated administrators and Performance Log Users see all of them (Microsoft Learn, QueryAllTracesW, Remarks).
    """
    elevated = is_elevated()
    return elevated if elevated is not False else _is_performance_log_user()


def may_write(folder: Path) -> bool | None:
    """Return whether this process may create a file in the folder; None if not only rights prevent it."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix="regtrace-"):
            return True
    except PermissionError:
        return False
    except OSError:
        return None


def forbidden_folder(file: Path | None) -> Path | None:
    """Return the folder of a file if this process may not write there; otherwise None."""
    return file.parent if file is not None and may_write(file.parent) is False else None


def _is_performance_log_user() -> bool | None:
    advapi = bind(
        "advapi32",
        CreateWellKnownSid=(c_uint32, c_uint32, c_void_p, c_void_p, POINTER(c_uint32)),
        CheckTokenMembership=(c_uint32, c_void_p, c_void_p, POINTER(c_uint32)),
    )
    sid, size, member = ctypes.create_string_buffer(_MOST_SID_BYTES), c_uint32(_MOST_SID_BYTES), c_uint32()
    is_made = advapi.CreateWellKnownSid(_PERFORMANCE_LOG_USERS, None, sid, ctypes.byref(size))
    if not is_made or not advapi.CheckTokenMembership(None, sid, ctypes.byref(member)):
        return None
    return bool(member.value)
