"""The processes that run right now, as records that `tracer.rows.processes` understands.

The kernel's process records say little of processes that began before the trace; psutil says more. What it
may not see stays None. Works on every system, since psutil does.
"""

import ctypes
import sys
import time
from collections.abc import Callable
from ctypes import POINTER, c_uint32, c_void_p
from functools import cache
from typing import Any

from tracer.rows.processes import ProcessRecord
from tracer.windows.system_calls import bind

__all__ = ["SNAPSHOT", "snapshot_processes"]

SNAPSHOT = "snapshot"  # stands where a record has its provider's GUID

_IS_WINDOWS = sys.platform == "win32"
_KERNEL_PIDS = (0, 4)  # the idle process and System
_QUERY_LIMITED = 0x1000  # PROCESS_QUERY_LIMITED_INFORMATION
_TOKEN_QUERY, _TOKEN_USER = 0x0008, 1


def snapshot_processes() -> list[ProcessRecord]:
    """Return one record of kind "rundown" for each running process, by pid; unknown fields are None.

    A process that ends while it is looked at is left out, or keeps what was read until then. Command lines
    are put together again from the arguments that psutil splits them into: quotes may differ.
    """
    import psutil

    records = []
    for process in psutil.process_iter():
        started = _ask(process.create_time)
        if started is None and not psutil.pid_exists(process.pid):
            continue
        # psutil gives the kernel's own processes the time of the boot, which is nobody's start.
        is_told = started is not None and not (_IS_WINDOWS and process.pid in _KERNEL_PIDS)
        image = _ask(process.exe) or _ask(process.name)
        arguments = _ask(process.cmdline)
        records.append(
            ProcessRecord(
                kind="rundown",
                provider=SNAPSHOT,
                time_ns=time.time_ns(),
                pid=process.pid,
                parent_pid=_ask(process.ppid),
                image=image,
                command_line=_command_line(arguments) if arguments else None,
                user=_user_sid(process.pid),
                session_id=_session_id(process.pid),
                start_ns=round(started * 1_000_000) * 1000 if is_told else None,
            )
        )
    return sorted(records, key=lambda record: record.pid)


def _ask(question: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return the answer; None if access is denied or the process ended."""
    import psutil

    try:
        return question()
    except (psutil.Error, OSError):
        return None


def _command_line(arguments: list[str]) -> str:
    """Return arguments as one command line, quoted by the rules by which Windows programs split it."""
    from subprocess import list2cmdline

    return list2cmdline(arguments)


def _session_id(pid: int) -> int | None:
    """Return the terminal session of a process; None if unknown, and outside of Windows."""
    if not _IS_WINDOWS:
        return None
    session_id = c_uint32()
    kernel32, _ = _libraries()
    return session_id.value if kernel32.ProcessIdToSessionId(pid, ctypes.byref(session_id)) else None


def _user_sid(pid: int) -> str | None:
    """Return the SID of a process's user; None if unknown, and outside of Windows."""
    if not _IS_WINDOWS:
        return None
    kernel32, advapi32 = _libraries()
    process = kernel32.OpenProcess(_QUERY_LIMITED, 0, pid)
    if not process:
        return None
    token, text = c_void_p(), c_void_p()
    try:
        if not advapi32.OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)):
            return None
        buffer, written = ctypes.create_string_buffer(256), c_uint32()
        # SID_AND_ATTRIBUTES: its first member points to the SID, inside the buffer.
        if not advapi32.GetTokenInformation(token, _TOKEN_USER, buffer, 256, ctypes.byref(written)):
            return None
        if not advapi32.ConvertSidToStringSidW(c_void_p.from_buffer(buffer), ctypes.byref(text)):
            return None
        return ctypes.wstring_at(text.value or 0)
    finally:
        for handle in (token.value, process):
            if handle:
                kernel32.CloseHandle(handle)
        if text.value:
            kernel32.LocalFree(text)


@cache
def _libraries() -> tuple[Any, Any]:
    """Return kernel32 and advapi32 with the used functions declared."""
    kernel32 = bind(
        "kernel32",
        OpenProcess=(c_void_p, c_uint32, c_uint32, c_uint32),
        CloseHandle=(c_uint32, c_void_p),
        LocalFree=(c_void_p, c_void_p),
        ProcessIdToSessionId=(c_uint32, c_uint32, POINTER(c_uint32)),
    )
    advapi32 = bind(
        "advapi32",
        OpenProcessToken=(c_uint32, c_void_p, c_uint32, POINTER(c_void_p)),
        GetTokenInformation=(c_uint32, c_void_p, c_uint32, c_void_p, c_uint32, POINTER(c_uint32)),
        ConvertSidToStringSidW=(c_uint32, c_void_p, POINTER(c_void_p)),
    )
    return kernel32, advapi32
