"""The workload of the self-test: operations on a scratch key, and what a trace of them must contain."""

import importlib
from dataclasses import dataclass
from typing import Any, Protocol

from tracer.windows.machine_registry import WindowsRegistry, real_registry

__all__ = ["RegistryWork", "Step", "Work"]

_STRING, _BINARY, _DWORD = 1, 3, 4


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, and what its row should contain; None if the row has no such value.

    Attributes:
        operation: as the provider names it.
        key: path of the key below HKCU.
        value_name: of the value.
        data: bytes written, whole.
        previous: bytes that were there before.
    """

    operation: str
    key: str
    value_name: str | None = None
    data: bytes | None = None
    previous: bytes | None = None


class Work(Protocol):
    """Operations that can be done and undone."""

    def do(self, key: str) -> list[Step]:
        """Do the operations on `key`, a path below HKCU, and return them in order."""

    def clean(self, key: str) -> None:
        """Remove what is left of `key`; does nothing if it does not exist."""


class RegistryWork:
    """The operations, through winreg."""

    def __init__(self, registry: WindowsRegistry | None = None) -> None:
        self._registry = registry or real_registry("the self-test")
        self._winreg: Any = importlib.import_module("winreg")

    def do(self, key: str) -> list[Step]:
        """Do them."""
        reg, token = self._winreg, key.rpartition("-")[2]
        text, number, blob = (f"{token}-{what}" for what in ("text", "number", "blob"))
        first, second = "before\0".encode("utf-16-le"), "after it\0".encode("utf-16-le")
        bytes_ = bytes(range(256)) * 16
        with reg.CreateKeyEx(reg.HKEY_CURRENT_USER, key, 0, reg.KEY_ALL_ACCESS) as opened:
            reg.SetValueEx(opened, text, 0, _STRING, "before")
            reg.SetValueEx(opened, text, 0, _STRING, "after it")
            reg.SetValueEx(opened, number, 0, _DWORD, 1)
            reg.SetValueEx(opened, number, 0, _DWORD, 0xFFFF_FFFE)
            reg.SetValueEx(opened, blob, 0, _BINARY, bytes_)
            reg.SetValueEx(opened, "", 0, _STRING, "after it")
            reg.QueryValueEx(opened, text)
            reg.EnumValue(opened, 0)
            reg.QueryInfoKey(opened)
            reg.FlushKey(opened)
            reg.DeleteValue(opened, text)
        with reg.OpenKey(reg.HKEY_CURRENT_USER, key):
            pass
        reg.DeleteKey(reg.HKEY_CURRENT_USER, key)
        return [
            Step("CreateKey", key),
            Step("SetValueKey", key, text, first),
            Step("SetValueKey", key, text, second, first),
            Step("SetValueKey", key, number, (1).to_bytes(4, "little")),
            Step("SetValueKey", key, number, (0xFFFF_FFFE).to_bytes(4, "little"), (1).to_bytes(4, "little")),
            Step("SetValueKey", key, blob, bytes_),
            Step("SetValueKey", key, "", second),
            Step("QueryValueKey", key, text),
            Step("EnumerateValueKey", key),
            Step("QueryKey", key),
            Step("FlushKey", key),
            Step("DeleteValueKey", key, text),
            Step("CloseKey", key),
            Step("OpenKey", key),
            Step("CloseKey", key),
            Step("DeleteKey", key),
        ]

    def clean(self, key: str) -> None:
        """Remove the key."""
        self._registry.remove(f"HKCU\\{key}")
