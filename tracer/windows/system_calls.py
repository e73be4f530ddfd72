"""System calls for live capture other than tracing: handles, key names, privileges.

Each method is one call and says what came back as plain values; what it means is worked out elsewhere, so
that a stand-in can play the kernel on any system. Layouts and numbers: Windows SDK documentation, and
winternl/phnt as published for what the SDK leaves out.
"""

import ctypes
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, c_uint32, c_uint64, c_void_p, c_wchar_p
from typing import Any, Protocol

from tracer.errors import PlatformError

__all__ = [
    "BUFFER_OVERFLOW",
    "BUFFER_TOO_SMALL",
    "INFO_LENGTH_MISMATCH",
    "PROFILE",
    "SUCCESS",
    "Kernel",
    "WindowsKernel",
    "bind",
    "privilege",
    "real_kernel",
]

_IS_WINDOWS = sys.platform == "win32"

SUCCESS = 0
BUFFER_OVERFLOW = 0x8000_0005
BUFFER_TOO_SMALL = 0xC000_0023
INFO_LENGTH_MISMATCH = 0xC000_0004

PROFILE = "SeSystemProfilePrivilege"
_DEBUG = "SeDebugPrivilege"
_EXTENDED_HANDLES = 64  # SystemExtendedHandleInformation
_KEY_NAME = 3  # KeyNameInformation
_DUP_HANDLE = 0x0040  # PROCESS_DUP_HANDLE
_SAME_ACCESS = 0x2  # DUPLICATE_SAME_ACCESS
_ADJUST_AND_QUERY = 0x0020 | 0x0008  # TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY
_ENABLED = 0x2  # SE_PRIVILEGE_ENABLED
_NOT_ALL_ASSIGNED = 1300


class Kernel(Protocol):
    """The calls for reading the handle table; `WindowsKernel` makes them on Windows.

    Attributes:
        pid: this process.
        pointer_size: bytes of a pointer in what the kernel writes for this process.
    """

    pid: int
    pointer_size: int

    def debug_privilege(self) -> Any:  # noqa: ANN401
        """Return a context in which SeDebugPrivilege is enabled if allowed; its value says whether."""

    def own_key(self) -> Any:  # noqa: ANN401
        """Return a context in which a key of ours is open; its value is the handle."""

    def query_handles(self, size: int) -> tuple[int, bytes, int]:
        """Query with a buffer of `size`; return the status, the bytes, and the size needed."""

    def open_process(self, pid: int) -> int | None:
        """Return a handle of a process from which handles may be duplicated; None if refused."""

    def duplicate(self, process: int, value: int) -> int | None:
        """Return a duplicate of handle `value` of `process`; None if refused."""

    def query_key_name(self, key: int, size: int) -> tuple[int, bytes, int]:
        """Return the status, KEY_NAME_INFORMATION as bytes, and the size needed."""

    def close(self, handle: int) -> None:
        """Close a handle of ours."""


def real_kernel() -> "WindowsKernel":
    """Return the kernel of this machine.

    Raises:
        PlatformError: this is not Windows.
    """
    if not _IS_WINDOWS:
        raise PlatformError(
            "reading the handle table needs Windows; on other systems give `regtrace ingest` a --seed table"
        )
    return WindowsKernel()


@contextmanager
def privilege(name: str) -> Iterator[bool | None]:
    """Enable a privilege in the block if the user has it; the value says whether, None outside of Windows."""
    if not _IS_WINDOWS:
        yield None
        return
    with WindowsKernel().privilege(name) as is_on:
        yield is_on


def bind(library: str, **functions: tuple[Any, ...]) -> Any:  # noqa: ANN401
    """Load a system library of Windows and declare its functions.

    Args:
        library: its name, such as kernel32.
        functions: by name, the type of the result and of each argument.
    """
    loaded = vars(ctypes)["WinDLL"](library, use_last_error=True)  # no such name on other systems
    for name, (result, *arguments) in functions.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class WindowsKernel:
    """The calls, through ctypes."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.pointer_size = ctypes.sizeof(c_void_p)
        size, handle = POINTER(c_uint32), POINTER(c_void_p)
        self._ntdll = bind(
            "ntdll",
            NtQuerySystemInformation=(c_uint32, c_uint32, c_void_p, c_uint32, size),
            NtQueryKey=(c_uint32, c_void_p, c_uint32, c_void_p, c_uint32, size),
        )
        self._kernel32 = bind(
            "kernel32",
            GetCurrentProcess=(c_void_p,),
            OpenProcess=(c_void_p, c_uint32, c_uint32, c_uint32),
            DuplicateHandle=(c_uint32, c_void_p, c_void_p, c_void_p, handle, c_uint32, c_uint32, c_uint32),
            CloseHandle=(c_uint32, c_void_p),
        )
        self._advapi32 = bind(
            "advapi32",
            OpenProcessToken=(c_uint32, c_void_p, c_uint32, handle),
            LookupPrivilegeValueW=(c_uint32, c_wchar_p, c_wchar_p, POINTER(c_uint64)),
            AdjustTokenPrivileges=(c_uint32, c_void_p, c_uint32, c_void_p, c_uint32, c_void_p, size),
        )
        self._us = self._kernel32.GetCurrentProcess()

    def debug_privilege(self) -> Any:  # noqa: ANN401
        """Return a context in which SeDebugPrivilege is enabled if the token has it."""
        return self.privilege(_DEBUG)

    @contextmanager
    def privilege(self, name: str) -> Iterator[bool]:
        """Enable a privilege if the token has it, and restore it afterwards."""
        token, before = c_void_p(), ctypes.create_string_buffer(16)
        if not self._advapi32.OpenProcessToken(self._us, _ADJUST_AND_QUERY, ctypes.byref(token)):
            yield False
            return
        try:
            enabled = self._adjust(token, before, name)
            try:
                yield enabled
            finally:
                # TOKEN_PRIVILEGES as they were; a count of 0 says that nothing was changed.
                self._advapi32.AdjustTokenPrivileges(token, 0, before, 0, None, None)
        finally:
            self.close(token.value or 0)

    def _adjust(self, token: Any, before: Any, name: str) -> bool:  # noqa: ANN401
        luid = c_uint64()
        if not self._advapi32.LookupPrivilegeValueW(None, name, ctypes.byref(luid)):
            return False
        # TOKEN_PRIVILEGES of one: count u32, LUID (two u32, so no padding), attributes u32: 16 bytes.
        privileges = (
            (1).to_bytes(4, "little") + luid.value.to_bytes(8, "little") + _ENABLED.to_bytes(4, "little")
        )
        written = c_uint32()
        vars(ctypes)["set_last_error"](0)
        done = self._advapi32.AdjustTokenPrivileges(
            token, 0, ctypes.create_string_buffer(privileges, 16), 16, before, ctypes.byref(written)
        )
        return bool(done) and vars(ctypes)["get_last_error"]() != _NOT_ALL_ASSIGNED

    @contextmanager
    def own_key(self) -> Iterator[int]:
        """Hold a key open that every machine has."""
        winreg: Any = importlib.import_module("winreg")
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, "SOFTWARE") as key:
            yield int(key)

    def query_handles(self, size: int) -> tuple[int, bytes, int]:
        """Call NtQuerySystemInformation(SystemExtendedHandleInformation)."""
        buffer, needed = ctypes.create_string_buffer(size), c_uint32()
        status = self._ntdll.NtQuerySystemInformation(_EXTENDED_HANDLES, buffer, size, ctypes.byref(needed))
        return status, buffer.raw if status == SUCCESS else b"", needed.value

    def open_process(self, pid: int) -> int | None:
        """Call OpenProcess(PROCESS_DUP_HANDLE)."""
        handle: int | None = self._kernel32.OpenProcess(_DUP_HANDLE, 0, pid)
        return handle or None

    def duplicate(self, process: int, value: int) -> int | None:
        """Call DuplicateHandle into this process with the same access."""
        ours = c_void_p()
        done = self._kernel32.DuplicateHandle(
            process, value, self._us, ctypes.byref(ours), 0, 0, _SAME_ACCESS
        )
        return (ours.value or None) if done else None

    def query_key_name(self, key: int, size: int) -> tuple[int, bytes, int]:
        """Call NtQueryKey(KeyNameInformation)."""
        buffer, needed = ctypes.create_string_buffer(size), c_uint32()
        status = self._ntdll.NtQueryKey(key, _KEY_NAME, buffer, size, ctypes.byref(needed))
        return status, buffer.raw if status == SUCCESS else b"", needed.value

    def close(self, handle: int) -> None:
        """Call CloseHandle."""
        self._kernel32.CloseHandle(handle)
