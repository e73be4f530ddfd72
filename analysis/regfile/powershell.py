r"""Lines of a PowerShell script that changes the registry; `analysis.regfile.files` decides on the content.

The script calls Microsoft.Win32.RegistryKey, whose types and errors are documented, and holds printable ASCII alone. Text
stands in single quotes, where PowerShell reads every letter but the quote as it is (about_Quoting_Rules); a text with any
other letter stands as the base64 of its UTF-16, so that no name or data can become code.
"""

import base64
import struct

from analysis.regfile.syntax import NotExpressible, Syntax
from tracer.registry.text import fold_name

__all__ = ["POWERSHELL"]

_NONE, _SZ, _EXPAND_SZ, _BINARY, _DWORD, _MULTI_SZ, _QWORD = 0, 1, 2, 3, 4, 7, 11
# Root of a .reg file -> property of Microsoft.Win32.Registry
_ROOTS = {"HKEY_LOCAL_MACHINE": "LocalMachine", "HKEY_USERS": "Users", "HKEY_CURRENT_USER": "CurrentUser"}
_HEADER = (
    "# PowerShell 5 or later. Run it from an elevated prompt where keys of the machine are changed.",
    "#Requires -Version 5",
    "$ErrorActionPreference = 'Stop'",
    "if ([Environment]::Is64BitOperatingSystem -and -not [Environment]::Is64BitProcess) {",
    "    throw 'A 32-bit PowerShell would write to Wow6432Node; start a 64-bit one.'",
    "}",
)


def _comment(text: str) -> str:
    r"""Return a comment line; what is not printable ASCII becomes ``\u{HEX}``, so that nothing ends the line early."""
    shown = "".join(letter if " " <= letter <= "~" else f"\\u{{{ord(letter):X}}}" for letter in text)
    # A line that begins with `#Requires` is a statement, `<#` begins a block.
    return f"# {shown.rstrip()}"


def _make_key(name: str) -> str:
    root, below = _place(name)
    return f"$key = {root}.CreateSubKey({_text(below)})" if below else f"$key = {root}"


def _delete_key(name: str) -> str:
    root, below = _place(name)
    if not below:
        raise NotExpressible("a root key cannot be deleted")
    return f"{root}.DeleteSubKeyTree({_text(below)}, $false)"


def _set_value(name: str, kind: int, data: bytes) -> str:
    if kind == 6 and fold_name(name) == fold_name("SymbolicLinkValue"):
        raise NotExpressible("the registry functions of .NET follow a symbolic link, they do not set it")
    content, word = _content(kind, data)
    return f"$key.SetValue({_text(name)}, {content}, '{word}')"


def _delete_value(name: str) -> str:
    return f"$key.DeleteValue({_text(name)}, $false)"


POWERSHELL = Syntax(_HEADER, _comment, _make_key, _delete_key, _set_value, _delete_value, adds_nul=False)


def _place(name: str) -> tuple[str, str]:
    root, _, below = name.partition("\\")
    if len(below) and max(map(len, below.split("\\"))) > 255:
        raise NotExpressible("a name of more than 255 letters, which .NET refuses")
    return f"[Microsoft.Win32.Registry]::{_ROOTS[root]}", below


def _content(kind: int, data: bytes) -> tuple[str, str]:
    """Return the data as an expression, and the word of RegistryValueKind."""
    if kind in (_SZ, _EXPAND_SZ):
        return _text(_whole_string(data)), "String" if kind == _SZ else "ExpandString"
    if kind == _DWORD and len(data) == 4:
        return f"([int]{struct.unpack('<i', data)[0]})", "DWord"
    if kind == _QWORD and len(data) == 8:
        # The literal of the smallest number would be read as a decimal without its sign first.
        return f"([BitConverter]::ToInt64({_bytes(data)}, 0))", "QWord"
    if kind == _MULTI_SZ:
        return _strings(data), "MultiString"
    if kind in (_BINARY, _NONE):
        return _bytes(data), "Binary" if kind == _BINARY else "None"
    raise NotExpressible(f"PowerShell cannot write type {kind} with {len(data)} bytes of data")


def _whole_string(data: bytes) -> str:
    """Return the text of a string that ends with its only NUL, which .NET writes."""
    if len(data) % 2 or data[-2:] != b"\0\0":
        raise NotExpressible("PowerShell writes strings with one NUL at their end, and this one has none")
    text = data[:-2].decode("utf-16-le", "surrogatepass")
    if "\0" in text:
        raise NotExpressible("PowerShell writes strings with one NUL at their end, and this one has several")
    return text


def _strings(data: bytes) -> str:
    """Return the texts of a REG_MULTI_SZ that .NET writes with just these bytes."""
    if len(data) % 2:
        raise NotExpressible("a REG_MULTI_SZ of half a letter, which PowerShell cannot write")
    text = data.decode("utf-16-le", "surrogatepass")
    texts = text[:-2].split("\0") if len(text) > 2 else []
    if "".join(f"{one}\0" for one in texts) + "\0" != text or "" in texts:
        raise NotExpressible("a REG_MULTI_SZ that does not end as PowerShell ends it")
    return f"([string[]]@({', '.join(map(_text, texts))}))"


def _bytes(data: bytes) -> str:
    return f"([byte[]]@({', '.join(map(str, data))}))"


def _text(text: str) -> str:
    r"""Return text as an expression.

    >>> _text("it's")
    "'it''s'"
    """
    if all(" " <= letter <= "~" for letter in text):
        return "'" + text.replace("'", "''") + "'"
    if "\0" in text:
        raise NotExpressible("a NUL, where the functions behind .NET end a name")
    try:
        wide = text.encode("utf-16-le")
    except UnicodeEncodeError:
        raise NotExpressible("a lone surrogate, which no text of .NET's encodings holds") from None
    return f"([Text.Encoding]::Unicode.GetString([Convert]::FromBase64String('{base64.b64encode(wide).decode()}')))"
