"""A reader of the PowerShell scripts, which knows just the statements that may stand in them, by PowerShell's own rules of quoting.

PowerShell itself is not at hand where tests run. Whatever is not one of these statements is an error, so that no name and no
data can have become code.
"""

import base64
import re
import struct
from typing import Any

__all__ = ["read_ps1"]

_ROOTS = {"LocalMachine": "HKEY_LOCAL_MACHINE", "Users": "HKEY_USERS", "CurrentUser": "HKEY_CURRENT_USER"}
_KINDS = {"String": 1, "ExpandString": 2, "Binary": 3, "DWord": 4, "MultiString": 7, "QWord": 11, "None": 0}
_PREAMBLE = (
    "#Requires -Version 5",
    "$ErrorActionPreference = 'Stop'",
    "if ([Environment]::Is64BitOperatingSystem -and -not [Environment]::Is64BitProcess) {",
    "    throw 'A 32-bit PowerShell would write to Wow6432Node; start a 64-bit one.'",
    "}",
)
_QUOTED = r"'(?:[^']|'')*'"
_BASE64 = rf"\(\[Text\.Encoding\]::Unicode\.GetString\(\[Convert\]::FromBase64String\({_QUOTED}\)\)\)"
_TEXT = rf"(?:{_QUOTED}|{_BASE64})"
_BYTES = r"\(\[byte\[\]\]@\([0-9, ]*\)\)"
_DATA = rf"(?:{_TEXT}|{_BYTES}|\(\[int\]-?[0-9]+\)|\(\[BitConverter\]::ToInt64\({_BYTES}, 0\)\)|\(\[string\[\]\]@\((?:{_TEXT}(?:, )?)*\)\))"
_ROOT = r"\[Microsoft\.Win32\.Registry\]::(LocalMachine|Users|CurrentUser)"
_STATEMENTS = {
    "key": re.compile(rf"\$key = {_ROOT}(?:\.CreateSubKey\(({_TEXT})\))?"),
    "delete": re.compile(rf"{_ROOT}\.DeleteSubKeyTree\(({_TEXT}), \$false\)"),
    "set": re.compile(rf"\$key\.SetValue\(({_TEXT}), ({_DATA}), '(\w+)'\)"),
    "unset": re.compile(rf"\$key\.DeleteValue\(({_TEXT}), \$false\)"),
}


def read_ps1(content: bytes) -> list[tuple[Any, ...]]:
    """Return what a script does, in the words of `reg_reader.read_reg`."""
    text = content.decode("ascii")
    assert all(" " <= letter <= "~" or letter in "\r\n" for letter in text)
    lines = text.split("\r\n")
    assert "\n" not in "".join(lines)
    assert lines[0].startswith("# PowerShell")
    assert tuple(lines[1 : 1 + len(_PREAMBLE)]) == _PREAMBLE
    steps: list[tuple[Any, ...]] = []
    key = None
    for line in lines[1 + len(_PREAMBLE) :]:
        if not line or line.startswith("# "):
            continue
        what, match = next(
            (name, match) for name, pattern in _STATEMENTS.items() if (match := pattern.fullmatch(line))
        )
        if what in ("key", "delete"):
            named = "\\".join((_ROOTS[match[1]], *([_text(match[2])] if match[2] else [])))
            key = named if what == "key" else key
            steps.append((what, named))
        elif what == "unset":
            steps.append((what, key, _text(match[1])))
        else:
            kind = _KINDS[match[3]]
            steps.append((what, key, _text(match[1]), kind, _data(kind, match[2])))
    return steps


def _text(expression: str) -> str:
    if expression[0] == "'":
        return expression[1:-1].replace("''", "'")
    (inner,) = re.findall(_QUOTED, expression)
    return base64.b64decode(inner[1:-1]).decode("utf-16-le")


def _data(kind: int, expression: str) -> bytes:
    """Return the bytes that RegSetValueEx gets for an expression."""
    if kind in (1, 2):
        return _text(expression).encode("utf-16-le") + b"\0\0"
    if kind == 7:
        texts = [_text(one) for one in re.findall(_TEXT, expression)]
        return "".join(f"{one}\0" for one in texts).encode("utf-16-le") + b"\0\0"
    if kind == 4:
        return struct.pack("<i", int(expression.removeprefix("([int]").removesuffix(")")))
    (listed,) = re.findall(r"@\(([0-9, ]*)\)", expression)
    return bytes(int(one) for one in listed.split(", ")) if listed else b""
