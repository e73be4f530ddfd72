"""Registry values as people read them.

Data need not match its type: a string may lack its NUL, a DWORD may be three bytes long, a capture may hold
fewer bytes than the value. All of that is shown, and nothing raises. Text keeps its control characters; what
a terminal must not see is dealt with where it is shown.
"""

import json
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import NamedTuple

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


class _Style(NamedTuple):
    """How contents are written.

    Attributes:
        text: a string.
        texts: the strings of a list.
        number: a number.
        octets: bytes.
    """

    text: Callable[[str], str]
    texts: Callable[[Sequence[str]], str]
    number: Callable[[int], str]
    octets: Callable[[bytes], str]


def decode_value(kind: int | None, data: bytes | None, size: int | None = None, *, limit: int = 64) -> str:
    r"""Return a value as text, written as Procmon writes it, with anything unusual in square brackets after it.

    Numbers are decimal, bytes are upper-case hex, and the strings of a REG_MULTI_SZ stand between commas: one that
    holds a comma and a space, that begins with a quote, or that has a space at its edge, stands in double quotes, its own
    doubled. The text ends before the NUL that ends the data; an earlier NUL is written as names are
    (`tracer.registry.text`).

    Args:
        kind: registry value type; None if the source showed text and not its type (Sysmon: REG_SZ or REG_EXPAND_SZ).
            Data that is no text is shown as bytes then.
        data: the captured bytes; None if none were captured.
        size: full size of the value in bytes; None if unknown.
        limit: bytes shown of a value that is shown as hex.

    >>> decode_value(1, "notepad.exe\0".encode("utf-16-le"), 24)
    'notepad.exe'
    >>> decode_value(4, b"\x10\0\0\0"), decode_value(3, b"\x0a\xff"), decode_value(3, b"\x0a", 2)
    ('16', '0A FF', '0A [truncated: 1 of 2 bytes]')
    >>> decode_value(7, "a\0b\0\0".encode("utf-16-le"))
    'a, b'
    >>> decode_value(None, "notepad.exe\0".encode("utf-16-le")), decode_value(None, b"\x0a")
    ('notepad.exe', '0A')
    """
    return _decode(kind, data, size, limit, _PLAIN)


def show_value(kind: int | None, data: bytes | None, size: int | None = None, *, limit: int = 64) -> str:
    r"""Return a value for a table without a type column: text that looks like our words is in quotes.

    Arguments as for `decode_value`; a value of no bytes is ``[empty]``.

    >>> show_value(1, "10\0".encode("utf-16-le")), show_value(3, b"\x10"), show_value(1, b"")
    ('"10"', '10', '[empty]')
    >>> show_value(4, b"\x10\0\0\0"), show_value(7, "a\0b\0\0".encode("utf-16-le"))
    ('16 (0x10)', '["a", "b"]')
    """
    if not size and (data == b"" or size == 0):
        return "[empty]"
    return _decode(kind, data, size, limit, _UNAMBIGUOUS)


def _decode(kind: int | None, data: bytes | None, size: int | None, limit: int, style: _Style) -> str:
    if data is None and size == 0:
        data = b""  # there was nothing to capture
    if data is None:
        return "" if size is None else f"[{size} bytes, not captured]"
    cut = size is not None and len(data) < size
    notes = [f"truncated: {len(data)} of {size} bytes"] if cut else []
    if kind in _TEXTS or (kind is None and _is_text(data)):
        content = _text(data, notes, style, cut=cut)
    elif kind == ValueType.MULTI_SZ:
        content = _texts(data, notes, style, cut=cut)
    elif kind in _NUMBERS and len(data) == _NUMBERS[ValueType(kind)]:
        content = style.number(
            int.from_bytes(data, "big" if kind == ValueType.DWORD_BIG_ENDIAN else "little")
        )
    else:
        content = style.octets(data[:limit])
        if len(data) > limit:
            notes.append(f"{limit} of {len(data)} bytes shown")
        if kind in _NUMBERS and not cut:
            notes.append(f"{len(data)} bytes where {type_name(kind)} has {_NUMBERS[ValueType(kind)]}")
    return " ".join([*([content] if content else []), *(f"[{note}]" for note in notes)])


def _is_text(data: bytes) -> bool:
    """Whether data whose type is unknown is a string: UTF-16 that ends with its only NUL."""
    text = decode_name(data)
    return len(data) % 2 == 0 and text.endswith("<U+0000>") and text.count("<U+0000>") == 1


def _text(data: bytes, notes: list[str], style: _Style, *, cut: bool) -> str:
    """Return the text of a string value, and note anything unusual."""
    _note_odd(data, notes)
    text = decode_name(data)
    if text.endswith("<U+0000>"):  # decode_name writes a NUL so, and never writes a name's own text so
        return style.text(text.removesuffix("<U+0000>"))
    if data and not cut:
        notes.append("unterminated")
    return style.text(text) if data else ""


def _texts(data: bytes, notes: list[str], style: _Style, *, cut: bool) -> str:
    """Return a list of strings, and note anything unusual."""
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
    return style.texts(items if any(items) else [])


def _comma_separated(texts: Sequence[str]) -> str:
    return ", ".join(map(_item, texts))


def _item(text: str) -> str:
    is_clear = text and text.strip() == text and text[0] != '"' and text[-1] != "," and ", " not in text
    return text if is_clear else '"' + text.replace('"', '""') + '"'


def _note_odd(data: bytes, notes: list[str]) -> None:
    if len(data) % 2:
        notes.append(f"odd last byte 0x{data[-1]:02x}")


_PLAIN = _Style(text=str, texts=_comma_separated, number=str, octets=lambda data: data.hex(" ").upper())
_UNAMBIGUOUS = _Style(
    text=quote_text,
    texts=lambda texts: json.dumps(texts, ensure_ascii=False),
    number=lambda number: f"{number} (0x{number:X})",
    octets=lambda data: data.hex(" "),
)
