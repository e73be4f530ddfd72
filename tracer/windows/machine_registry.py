"""The registry of this machine, where regtrace writes settings of the boot trace and scratch keys.

Small enough that a dictionary can stand in for it. It is not the registry that traces tell about.
"""

import importlib
import sys
from contextlib import suppress
from typing import Any, Protocol

from tracer.errors import NotElevated, PlatformError, RegtraceError

__all__ = ["KINDS", "Data", "Registry", "WindowsRegistry", "current_control_set", "real_registry"]

Data = int | str | bytes
KINDS = {"REG_SZ": 1, "REG_BINARY": 3, "REG_DWORD": 4, "REG_QWORD": 11}
_ROOTS = {"HKLM": "HKEY_LOCAL_MACHINE", "HKCU": "HKEY_CURRENT_USER"}
_IS_WINDOWS = sys.platform == "win32"


class Registry(Protocol):
    r"""The registry calls that regtrace needs; paths are such as ``HKLM\SOFTWARE\Vendor``."""

    def write(self, path: str, name: str, kind: str, data: Data) -> None:
        """Write a value; the key is made if it is missing."""

    def read(self, path: str) -> dict[str, Data] | None:
        """Return the values of a key by name; None if there is no such key."""

    def subkeys(self, path: str) -> list[str]:
        """Return the names of the keys below; none where there is no such key."""

    def remove(self, path: str) -> bool:
        """Remove a key with everything below it; False if there is none."""


def real_registry(what: str) -> "WindowsRegistry":
    """Return the registry of this machine.

    Args:
        what: what it is needed for, the beginning of a sentence.

    Raises:
        PlatformError: this is not Windows.
    """
    if not _IS_WINDOWS:
        raise PlatformError(f"{what} needs Windows")
    return WindowsRegistry()


class WindowsRegistry:
    """The registry, through winreg; always the 64-bit view.

    Every method raises NotElevated where the user may not do that, and RegtraceError for other failures.
    """

    def __init__(self) -> None:
        self._winreg: Any = importlib.import_module("winreg")

    def write(self, path: str, name: str, kind: str, data: Data) -> None:
        """Write a value; the key is made if it is missing."""
        root, subkey = self._split(path)
        access = self._winreg.KEY_SET_VALUE | self._winreg.KEY_WOW64_64KEY
        try:
            with self._winreg.CreateKeyEx(root, subkey, 0, access) as key:
                self._winreg.SetValueEx(key, name, 0, KINDS[kind], data)
        except OSError as problem:
            raise _refusal(path, "written", problem) from problem

    def read(self, path: str) -> dict[str, Data] | None:
        """Return the values of a key by name; None if there is no such key."""
        try:
            with self._open(path) as key:
                count = self._winreg.QueryInfoKey(key)[1]
                return {
                    name: data for name, data, _ in (self._winreg.EnumValue(key, n) for n in range(count))
                }
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise _refusal(path, "read", problem) from problem

    def subkeys(self, path: str) -> list[str]:
        """Return the names of the keys below; none where there is no such key."""
        try:
            with self._open(path) as key:
                return [
                    self._winreg.EnumKey(key, number) for number in range(self._winreg.QueryInfoKey(key)[0])
                ]
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise _refusal(path, "read", problem) from problem

    def remove(self, path: str) -> bool:
        """Remove a key with everything below it; False if there is none."""
        for name in self.subkeys(path):
            self.remove(f"{path}\\{name}")
        root, subkey = self._split(path)
        try:
            self._winreg.DeleteKeyEx(root, subkey, self._winreg.KEY_WOW64_64KEY, 0)
        except FileNotFoundError:
            return False
        except OSError as problem:
            raise _refusal(path, "removed", problem) from problem
        return True

    def _open(self, path: str) -> Any:  # noqa: ANN401
        root, subkey = self._split(path)
        return self._winreg.OpenKey(root, subkey, 0, self._winreg.KEY_READ | self._winreg.KEY_WOW64_64KEY)

    def _split(self, path: str) -> tuple[Any, str]:
        root, _, subkey = path.partition("\\")
        return getattr(self._winreg, _ROOTS[root]), subkey


def _refusal(path: str, done: str, problem: OSError) -> RegtraceError:
    if isinstance(problem, PermissionError):
        return NotElevated(
            f"{path} cannot be {done} without elevated rights; start the terminal as administrator"
        )
    return RegtraceError(f"{path} cannot be {done}: {problem.strerror or problem}")


def current_control_set() -> int | None:
    r"""Return the value Current of HKLM\SYSTEM\Select; None if it cannot be read or this is not Windows."""
    value: object = None
    if sys.platform == "win32":
        import winreg

        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\Select") as key:
            value, _ = winreg.QueryValueEx(key, "Current")
    return value if isinstance(value, int) and value > 0 else None
