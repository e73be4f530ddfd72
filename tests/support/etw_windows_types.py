"""ctypes as it is on Windows, for importing pywintrace on Linux: 4-byte longs, 2-byte characters, windll.

Only the modules of pywintrace see it: a finder puts it in place of ctypes while one of them is executed,
and nothing else in the process changes. On Windows none of it is used.
"""

import ctypes
import importlib.abc
import importlib.machinery
import os
import sys
import types
import uuid
from collections.abc import Sequence
from typing import Any

__all__ = ["MODULES", "EtwFinder", "read_wide", "windows_ctypes"]

MODULES = (
    "etw", "etw.GUID", "etw.common", "etw.etw", "etw.evntcons", "etw.evntprov", "etw.evntrace", "etw.in6addr",
    "etw.tdh", "etw.wmistr",
)  # fmt: skip
_ERRNO = {
    2: 2,
    3: 2,
    5: 13,
    6: 9,
    32: 13,
    87: 22,
    112: 28,
    183: 17,
}  # Windows error -> errno, as CPython maps


def read_wide(address: int | None) -> str:
    """Return the NUL-terminated UTF-16 text at an address; nothing for a null pointer."""
    if not address:
        return ""
    units = bytearray()
    while (unit := ctypes.string_at(address + len(units), 2)) != b"\0\0":
        units += unit
    return units.decode("utf-16-le", "surrogatepass")


def wide(text: str) -> "ctypes.Array[ctypes.c_char]":
    """Return a buffer holding the text in UTF-16 with a NUL."""
    return ctypes.create_string_buffer(text.encode("utf-16-le", "surrogatepass") + b"\0\0")


class WideString(ctypes.c_void_p):
    """c_wchar_p with characters of 2 bytes."""

    @classmethod
    def from_param(cls, value: Any) -> Any:
        return wide(value) if isinstance(value, str) else value

    @property
    def value(self) -> str | None:  # type: ignore[override]
        address = ctypes.c_void_p.from_buffer(self).value
        return read_wide(address) if address else None


class Structure(ctypes.Structure):
    """A structure whose WideString fields take text."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, str):
            buffer = wide(value)
            self.__dict__.setdefault("_texts", {})[name] = buffer
            value = ctypes.addressof(buffer)
        super().__setattr__(name, value)


def windows_error(code: int | None = None, text: str | None = None) -> OSError:
    """Return what ctypes.WinError returns: an OSError of the fitting subclass, with `winerror`."""
    code = code or 0
    error: Any = OSError(_ERRNO.get(code, 22), text or f"Windows error {code}")
    error.winerror = code
    return error


def windows_ctypes(libraries: object, last_error: object) -> types.ModuleType:
    """Return a module that looks like ctypes on Windows; `libraries` is its windll."""
    shim = types.ModuleType("ctypes")
    shim.__dict__.update({name: value for name, value in vars(ctypes).items() if not name.startswith("__")})
    wintypes = types.ModuleType("ctypes.wintypes")

    class FileTime(Structure):
        _fields_ = (("dwLowDateTime", ctypes.c_uint32), ("dwHighDateTime", ctypes.c_uint32))

    wintypes.__dict__.update(
        BOOL=ctypes.c_int, BOOLEAN=ctypes.c_byte, BYTE=ctypes.c_byte, CHAR=ctypes.c_char, DWORD=ctypes.c_uint32,
        FILETIME=FileTime, HANDLE=ctypes.c_void_p, LARGE_INTEGER=ctypes.c_int64, LONG=ctypes.c_int32,
        LPWSTR=WideString, PBYTE=ctypes.POINTER(ctypes.c_byte), ULONG=ctypes.c_uint32, USHORT=ctypes.c_uint16,
        WCHAR=ctypes.c_uint16, WORD=ctypes.c_uint16,
    )  # fmt: skip
    shim.__dict__.update(
        c_long=ctypes.c_int32, c_ulong=ctypes.c_uint32, c_wchar=ctypes.c_uint16, c_wchar_p=WideString,
        Structure=Structure, WINFUNCTYPE=ctypes.CFUNCTYPE, WinError=windows_error, GetLastError=last_error,
        windll=libraries, oledll=libraries, wintypes=wintypes, c_voidp=ctypes.c_void_p,
    )  # fmt: skip
    return shim


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.abc.Loader, shim: types.ModuleType) -> None:
        self._inner, self._shim = inner, shim

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        names = {"ctypes": self._shim, "ctypes.wintypes": self._shim.wintypes}
        before = {name: sys.modules.get(name) for name in names}
        sys.modules.update(names)
        try:
            self._inner.exec_module(module)
        finally:
            for name, old in before.items():
                if old is None:
                    sys.modules.pop(name, None)
                else:
                    sys.modules[name] = old
        if module.__name__ == "etw.etw":
            vars(module)["WindowsError"] = OSError  # a built-in name there


class EtwFinder(importlib.abc.MetaPathFinder):
    """Finds pywintrace's modules, and has them executed with the other ctypes."""

    def __init__(self, shim: types.ModuleType) -> None:
        self._shim = shim

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in MODULES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self._shim)
        return spec


class Ole32:
    """The six functions of ole32 that pywintrace's GUID binds; two of them do something."""

    def __init__(self) -> None:
        self._kept: list[object] = []

    @staticmethod
    def CLSIDFromString(text: str, out: object) -> int:  # noqa: N802
        ctypes.memmove(ctypes.addressof(out._obj), uuid.UUID(text).bytes_le, 16)  # type: ignore[attr-defined]
        return 0

    def StringFromCLSID(self, guid: object, out: object) -> int:  # noqa: N802
        raw = ctypes.string_at(ctypes.addressof(guid._obj), 16)  # type: ignore[attr-defined]
        text = wide("{" + str(uuid.UUID(bytes_le=raw)).upper() + "}")
        self._kept.append(text)
        ctypes.c_void_p.from_address(ctypes.addressof(out._obj)).value = ctypes.addressof(text)  # type: ignore[attr-defined]
        return 0

    @staticmethod
    def CoCreateGuid(out: object) -> int:  # noqa: N802
        ctypes.memmove(ctypes.addressof(out._obj), os.urandom(16), 16)  # type: ignore[attr-defined]
        return 0

    @staticmethod
    def CoTaskMemFree(_text: object) -> None:  # noqa: N802
        return None

    @staticmethod
    def _nothing(*_arguments: object) -> int:
        return -1

    ProgIDFromCLSID = CLSIDFromProgID = _nothing
