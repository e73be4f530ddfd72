"""Data: values of registry types as programs write them, and from the short form of the machine's table."""

import codecs
import struct

__all__ = [
    "Data",
    "binary",
    "dword",
    "expand_text",
    "filetime",
    "multi_text",
    "parse_data",
    "rot13",
    "text",
    "user_assist",
]

Data = tuple[int, bytes]  # registry value type, bytes
_SZ, _EXPAND_SZ, _BINARY, _DWORD, _MULTI_SZ = 1, 2, 3, 4, 7


def text(words: str) -> Data:
    """Return a REG_SZ."""
    return _SZ, words.encode("utf-16-le") + b"\0\0"


def expand_text(words: str) -> Data:
    """Return a REG_EXPAND_SZ."""
    return _EXPAND_SZ, words.encode("utf-16-le") + b"\0\0"


def multi_text(*words: str) -> Data:
    """Return a REG_MULTI_SZ."""
    return _MULTI_SZ, "".join(f"{one}\0" for one in words).encode("utf-16-le") + b"\0\0"


def dword(number: int) -> Data:
    """Return a REG_DWORD."""
    return _DWORD, number.to_bytes(4, "little")


def binary(data: bytes) -> Data:
    """Return a REG_BINARY."""
    return _BINARY, data


def filetime(moment: int) -> bytes:
    """Return the 8 bytes of a FILETIME (100 ns since 1601)."""
    return struct.pack("<q", moment)


def rot13(words: str) -> str:
    """Return text as UserAssist writes the names of its values."""
    return codecs.encode(words, "rot13")


def user_assist(runs: int, focus_ms: int, moment: int) -> Data:
    """Return a UserAssist entry of Windows 7 and later: 72 bytes, with the runs at 4, the focus time at 12, the last run at 60.

    Source: the description of the format in the documentation of libyal's winreg-kb, "User Assist keys", version 5.
    """
    head = struct.pack("<IIII", 0, runs, runs + 1, focus_ms)
    return _BINARY, head + bytes(44) + filetime(moment) + bytes(4)


def parse_data(words: str) -> Data:
    """Return the data of a line of a table.

    `#5` is a DWORD, `%text` a REG_EXPAND_SZ, `*a|b` a REG_MULTI_SZ, `x01ff` a REG_BINARY; anything else a REG_SZ.
    """
    kind, rest = words[:1], words[1:]
    if kind == "#":
        return dword(int(rest, 0))
    if kind == "%":
        return expand_text(rest)
    if kind == "*":
        return multi_text(*rest.split("|"))
    if kind == "x":
        return binary(bytes.fromhex(rest))
    return text(words)
