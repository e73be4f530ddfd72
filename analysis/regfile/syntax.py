r"""Lines of a .reg file (version 5.00) as regedit reads them; `analysis.regfile.files` decides on the content.

Names and data are raw here, not escaped: they may hold NULs, newlines and lone surrogates, and none of them
may become a line of its own. What cannot be written exactly raises `NotExpressible` with the reason.

Every importer must read the same, so the narrowest is obeyed: a comment ends a key's values for hivexregedit,
and a backslash before a line's end joins the next line even to a comment. Comments therefore stand above the
line of a key, and never end with a backslash.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tracer.registry.text import fold_name, unescape_name

__all__ = [
    "HEADER",
    "REG",
    "NotExpressible",
    "Syntax",
    "comment",
    "encode_file",
    "key_line",
    "key_name",
    "printable",
    "shown_data",
    "value_gone",
    "value_line",
]

HEADER = "Windows Registry Editor Version 5.00"
_SZ, _BINARY, _DWORD, _LINK = 1, 3, 4, 6
_LINE = 77  # letters of a line of hex digits before the backslash that continues it, as regedit wraps them
# HKCU: keys of a Procmon log that does not say whose they are; they are shown so
_ROOTS = {"HKLM": "HKEY_LOCAL_MACHINE", "HKU": "HKEY_USERS", "HKCU": "HKEY_CURRENT_USER"}
_UNREACHABLE = {
    "\\REGISTRY\\A": "an application hive: only who loaded it can reach it",
    "\\REGISTRY\\WC": "a container's hive: it has no name outside",
}
_BREAKS = re.compile("[\0\r\n]")
_BREAK_NAMES = {"\0": "a NUL", "\r": "a line break", "\n": "a line break"}
_SYMBOLIC_LINK = fold_name("SymbolicLinkValue")


class NotExpressible(ValueError):
    """A .reg file cannot say this; the message is the reason."""


def key_name(display_key: str, user_sid: str | None = None) -> str:
    r"""Return a key as a .reg file names it.

    Args:
        display_key: its display path, escaped (`tracer.registry.paths.display_path`).
        user_sid: SID whose key HKEY_CURRENT_USER is; None: every user's key stays below HKEY_USERS.

    Raises:
        NotExpressible: regedit has no name for the key, or would read another one.

    >>> key_name(r"HKLM\SOFTWARE\Vendor")
    'HKEY_LOCAL_MACHINE\\SOFTWARE\\Vendor'
    """
    root, _, rest = display_key.partition("\\")
    if root not in _ROOTS:
        for native, reason in _UNREACHABLE.items():
            if fold_name(display_key + "\\").startswith(native + "\\"):
                raise NotExpressible(reason)
        reason = "nothing names the key" if display_key.startswith("<") else "Win32 programs cannot reach it"
        raise NotExpressible(reason)
    name = unescape_name(rest)
    _check_breaks(name, "the key's name")
    if root == "HKU" and user_sid is not None:
        user, _, below = name.partition("\\")
        if fold_name(user) == fold_name(user_sid):
            return "\\".join(["HKEY_CURRENT_USER", *([below] if below else [])])
        if fold_name(user) == fold_name(user_sid + "_Classes"):
            return "\\".join(["HKEY_CURRENT_USER\\Software\\Classes", *([below] if below else [])])
    return "\\".join([_ROOTS[root], *([name] if name else [])])


def key_line(name: str, *, delete: bool = False) -> str:
    """Return the line that makes a key, if need be, and begins its values; or the line that deletes it.

    Raises:
        NotExpressible: it is a root, which nothing deletes.
    """
    if delete and "\\" not in name:
        raise NotExpressible("a root key cannot be deleted")
    return f"[-{name}]" if delete else f"[{name}]"


def value_line(name: str, kind: int, data: bytes) -> str:
    r"""Return the line (with breaks inside where it is long) that sets a value to exactly this type and data.

    Args:
        name: its name, raw; "" is the default value.
        kind: registry value type, any 32-bit number.
        data: all of its bytes.

    Raises:
        NotExpressible: the name cannot be written, or the value is one that importers do not set.

    >>> value_line("Path", 1, "C:\\x\0".encode("utf-16-le"))
    '"Path"="C:\\\\x"'
    """
    if kind == _LINK and fold_name(name) == _SYMBOLIC_LINK:
        raise NotExpressible("importers follow a symbolic link, they do not set it")
    start = _value_name(name) + "="
    text = _plain_text(data) if kind == _SZ else None
    if text is not None:
        return f'{start}"{_quoted(text)}"'
    if kind == _DWORD and len(data) == 4:
        return f"{start}dword:{int.from_bytes(data, 'little'):08x}"
    return _wrapped(start + ("hex:" if kind == _BINARY else f"hex({kind:x}):"), data)


def value_gone(name: str) -> str:
    """Return the line that deletes a value.

    Raises:
        NotExpressible: the name cannot be written.
    """
    return _value_name(name) + "=-"


def comment(text: str) -> str:
    r"""Return a comment line, which importers skip; `text` may hold any character.

    Everything that Unicode does not call printable becomes ``\u{HEX}``: nothing ends the line early or
    shows it in another order.

    >>> comment("a\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE]")
    '; a\\u{D}\\u{A}[-HKEY_LOCAL_MACHINE\\SOFTWARE]'
    """
    text = printable(text).rstrip()
    return f"; {text}." if text.endswith("\\") else f"; {text}"


def printable(text: str) -> str:
    r"""Return text with everything that Unicode does not call printable as ``\u{HEX}``.

    >>> printable("a\0")
    'a\\u{0}'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else f"\\u{{{ord(letter):X}}}" for letter in text)


def shown_data(kind: int | None, data: bytes) -> str:
    """Return type and data in a few letters, for a comment."""
    text = _plain_text(data) if kind == _SZ else None
    if text is None:
        return f"type {kind}, {len(data)} bytes"
    return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'


@dataclass(frozen=True, slots=True)
class Syntax:
    """How a file says a change; the functions raise `NotExpressible` where it cannot.

    Attributes:
        header: the first lines.
        comment: a line that does nothing, from any text.
        make_key: the line that makes a key, from its name (`key_name`); values that follow are its own.
        delete_key: the line that deletes a key and all below it.
        set_value: the line that sets a value, from name, type and data.
        delete_value: the line that deletes a value, from its name.
        adds_nul: whether a string that does not end with a NUL may get one.
    """

    header: tuple[str, ...]
    comment: Callable[[str], str]
    make_key: Callable[[str], str]
    delete_key: Callable[[str], str]
    set_value: Callable[[str, int, bytes], str]
    delete_value: Callable[[str], str]
    adds_nul: bool


def _delete_key(name: str) -> str:
    return key_line(name, delete=True)


REG = Syntax((HEADER,), comment, key_line, _delete_key, value_line, value_gone, adds_nul=True)


def encode_file(text: str) -> bytes:
    """Return the bytes of a file: UTF-16, little-endian, with a mark at its start; lone surrogates stay.

    Importers copy code units, so a name that is no text arrives as it is.
    """
    return b"\xff\xfe" + text.encode("utf-16-le", "surrogatepass")


def _check_breaks(name: str, what: str) -> None:
    match = _BREAKS.search(name)
    if match:
        raise NotExpressible(f"{what} holds {_BREAK_NAMES[match[0]]}")


def _value_name(name: str) -> str:
    if not name:
        return "@"
    _check_breaks(name, "the value's name")
    return f'"{_quoted(name)}"'


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _plain_text(data: bytes) -> str | None:
    """Return the text of a string that can be quoted exactly: one NUL, at its end, and no invisible character."""
    if len(data) % 2 or data[-2:] != b"\0\0":
        return None
    try:
        text = data[:-2].decode("utf-16-le")
    except UnicodeDecodeError:  # lone surrogates
        return None
    return text if text.isprintable() else None


def _wrapped(start: str, data: bytes) -> str:
    """Return `start` and the bytes in hex, in lines as long as regedit's."""
    digits = [f"{byte:02x}" for byte in data]
    first = max(1, -(-(_LINE - len(start)) // 3)) if len(start) < _LINE else 1
    lines = [start + ",".join(digits[:first])]
    step = (_LINE - 2) // 3
    for place in range(first, len(digits), step):
        lines.append("  " + ",".join(digits[place : place + step]))
    return ",\\\r\n".join(lines)
