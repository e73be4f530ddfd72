"""Registry values as people read them.

Data need not match its type: a string may lack its NUL, a DWORD may be three bytes long, a capture may hold
fewer bytes than the value. All of that is shown, and nothing raises. Text keeps its control characters; what
a terminal must not see is dealt with where it is shown.
"""

import json
from collections.abc import Callable
from enum import IntEnum

from tracer.registry.quoting import quote_text
from tracer.registry.text import decode_name

__all__ = ["ValueType", "decode_value", "show_value", "type_name"]


class ValueType(IntEnum):
    """Registry value types, as winnt.h numbers them; any other number is legal too."""

    NONE = 0
    SZ = 1
    EXPAND_SZ = 2
    BINARY = 3
    DWORD = 4
    DWORD_BIG_ENDIAN = 5
    LINK = 6
    MULTI_SZ = 7
    RESOURCE_LIST = 8
    FULL_RESOURCE_DESCRIPTOR = 9
    RESOURCE_REQUIREMENTS_LIST = 10
    QWORD = 11


_NUMBERS = {ValueType.DWORD: 4, ValueType.DWORD_BIG_ENDIAN: 4, ValueType.QWORD: 8}
_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ, ValueType.LINK)


def type_name(kind: int) -> str:
    """Return REG_SZ and so on, or the number in hex where winnt.h has no name for it."""
    return f"REG_{ValueType(kind).name}" if kind in ValueType.__members__.values() else f"0x{kind:X}"


def decode_value(kind: int | None, data: bytes | None, size: int | None = None, *, limit: int = 64) -> str:
    r"""Return a value as text for people, with anything unusual in square brackets after it.

    Args:
        kind: registry value type; None if unknown, which shows bytes.
        data: the captured bytes; None if none were captured.
        size: full size of the value in bytes; None if unknown.
        limit: bytes shown of a value that is shown as hex.

    >>> decode_value(1, "notepad.exe\0".encode("utf-16-le"), 24)
    'notepad.exe'
    >>> decode_value(4, b"\x01\0\0\0")
    '1 (0x1)'
    """
    return _decode(kind, data, size, limit, str)


def show_value(kind: int | None, data: bytes | None, size: int | None = None, *, limit: int = 64) -> str:
    r"""Return a value for a table without a type column: text that looks like our words is in quotes.

    Arguments as for `decode_value`; a value of no bytes is ``[empty]``.

    >>> show_value(1, "10\0".encode("utf-16-le")), show_value(3, b"\x10"), show_value(1, b"")
    ('"10"', '10', '[empty]')
    """
    if not size and (data == b"" or size == 0):
        return "[empty]"
    return _decode(kind, data, size, limit, quote_text)


def _decode(
    kind: int | None, data: bytes | None, size: int | None, limit: int, quote: Callable[[str], str]
) -> str:
    if data is None and size == 0:
        data = b""  # there was nothing to capture
    if data is None:
        return "" if size is None else f"[{size} bytes, not captured]"
    cut = size is not None and len(data) < size
    notes = [f"truncated: {len(data)} of {size} bytes"] if cut else []
    if kind in _TEXTS:
        content = _text(data, notes, quote, cut=cut)
    elif kind == ValueType.MULTI_SZ:
        content = _texts(data, notes, cut=cut)
    elif kind in _NUMBERS and len(data) == _NUMBERS[ValueType(kind)]:
        number = int.from_bytes(data, "big" if kind == ValueType.DWORD_BIG_ENDIAN else "little")
        content = f"{number} (0x{number:X})"
    else:
        content = data[:limit].hex(" ")
        if len(data) > limit:
            notes.append(f"{limit} of {len(data)} bytes shown")
        if kind in _NUMBERS and not cut:
            notes.append(f"{len(data)} bytes where {type_name(kind)} has {_NUMBERS[ValueType(kind)]}")
    return " ".join([*([content] if content else []), *(f"[{note}]" for note in notes)])


def _text(data: bytes, notes: list[str], quote: Callable[[str], str], *, cut: bool) -> str:
    """Return the text of a string value, and note anything unusual."""
    _note_odd(data, notes)
    text = decode_name(data)
    if text.endswith("<U+0000>"):  # decode_name writes a NUL so, and never writes a name's own text so
        return quote(text.removesuffix("<U+0000>"))
    if data and not cut:
        notes.append("unterminated")
    return quote(text) if data else ""


def _texts(data: bytes, notes: list[str], *, cut: bool) -> str:
    """Return a list of strings as JSON, and note anything unusual."""
    _note_odd(data, notes)
    items = decode_name(data).split("<U+0000>")
    # Whole: every item ends with a NUL and one more NUL ends the list.
    ended = len(items) >= 2 and items[-1] == "" and (items[-2] == "" or len(items) == 2)
    if items[-1] == "":
        items.pop()
    if ended and items and items[-1] == "":
        items.pop()
    elif data and not cut:
        notes.append("unterminated")
    return json.dumps(items if any(items) else [], ensure_ascii=False)


def _note_odd(data: bytes, notes: list[str]) -> None:
    if len(data) % 2:
        notes.append(f"odd last byte 0x{data[-1]:02x}")
