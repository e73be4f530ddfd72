r"""What the codes of the Windows Security log stand for: types of values, operations, rights, and data as text.

The log writes ``%%1876`` where the event viewer shows REG_DWORD. The numbers are those of its table of messages
(msobjs.dll), as Microsoft's documents of event 4657 and public exports of that table have them; collectors that resolve
them write the table's English text instead. Rights are bits: ``%%4432`` to ``%%4447`` are the sixteen of the object's type,
``%%1537`` to ``%%1541`` the standard ones, ``%%1542`` ACCESS_SYSTEM_SECURITY.
"""

import re
from functools import lru_cache

from tracer.registry.text import encode_name
from tracer.registry.values import ValueType, type_name

__all__ = [
    "NEW_VALUE",
    "OPERATIONS",
    "is_told",
    "name_rights",
    "read_data",
    "read_number",
    "read_rights",
    "read_type",
]

NEW_VALUE = ("%%1904", "NEW REGISTRY VALUE CREATED")
OPERATIONS = {
    **dict.fromkeys(NEW_VALUE, "SetValueKey"),
    "%%1905": "SetValueKey", "EXISTING REGISTRY VALUE MODIFIED": "SetValueKey",
    "%%1906": "DeleteValueKey", "REGISTRY VALUE DELETED": "DeleteValueKey",
}  # fmt: skip
_FIRST_TYPE = 1872  # REG_NONE; the others follow in the order of their numbers
_TYPES = {f"%%{_FIRST_TYPE + kind}": int(kind) for kind in ValueType} | {
    type_name(kind): int(kind) for kind in ValueType
}
_RIGHTS = {  # winnt.h
    0x1: "KEY_QUERY_VALUE", 0x2: "KEY_SET_VALUE", 0x4: "KEY_CREATE_SUB_KEY", 0x8: "KEY_ENUMERATE_SUB_KEYS",
    0x10: "KEY_NOTIFY", 0x20: "KEY_CREATE_LINK", 0x10000: "DELETE", 0x20000: "READ_CONTROL", 0x40000: "WRITE_DAC",
    0x80000: "WRITE_OWNER", 0x100000: "SYNCHRONIZE", 0x1000000: "ACCESS_SYSTEM_SECURITY",
}  # fmt: skip
_BITS = (
    {4432 + bit: 1 << bit for bit in range(16)}
    | {1537 + bit: 0x10000 << bit for bit in range(5)}
    | {1542: 0x1000000}
)
_NUMBER = re.compile(r"0[xX]([0-9A-Fa-f]{1,16})|([0-9]{1,20})")
_CODE = re.compile(r"%%([0-9]{1,5})")
_NUMBERS = {ValueType.DWORD: 4, ValueType.QWORD: 8}
_NOTHING = "-"


def read_number(text: str | None, octets: int = 8) -> int | None:
    """Return a number that is written in decimal, or in hex behind 0x; None for anything else, or one that does not fit.

    >>> read_number("0x1d4"), read_number("468"), read_number("-")
    (468, 468, None)
    """
    found = _NUMBER.fullmatch(text.strip()) if text else None
    if found is None:
        return None
    number = int(found[1], 16) if found[1] else int(found[2])
    return number if number < 1 << 8 * octets else None


def read_type(text: str | None) -> int | None:
    """Return the type of a value by its code or its name; None for "-" (there is no value) and for what is no type.

    >>> read_type("%%1876"), read_type("REG_SZ"), read_type("-")
    (4, 1, None)
    """
    return _TYPES.get(text.strip().upper().partition(" ")[0]) if text else None


def read_data(kind: int | None, text: str | None) -> tuple[int | None, bytes | None]:
    r"""Return size and bytes of a value's data; None for what the text does not say.

    Numbers are decimal or hex. Strings get their NUL, which the log does not show, so their size stays unknown. Of a
    REG_MULTI_SZ the log writes `*` for a new line and `**` for a `*`; where that allows two readings (three `*` in a row, or
    two at the end) there are no data.
    How it writes other types no document says, and no public record shows: there are no data either.

    Args:
        kind: the type; None where it is unknown, or there is no value.
        text: as the log has it, escaped (`tracer.registry.text`).

    >>> read_data(4, "537395200"), read_data(1, "a"), read_data(3, "00 01")
    ((4, b'\x00\x00\x08 '), (None, b'a\x00\x00\x00'), (None, None))
    """
    if kind is None or text is None:
        return None, None
    if octets := _NUMBERS.get(ValueType(kind)):
        number = read_number(text, octets)
        return (None, None) if number is None else (octets, number.to_bytes(octets, "little"))
    if kind in (ValueType.SZ, ValueType.EXPAND_SZ):
        return None, encode_name(text) + b"\0\0"
    if kind == ValueType.MULTI_SZ and "***" not in text and not text.endswith("**"):
        lines = re.sub(r"\*+", lambda run: "*" if len(run[0]) == 2 else "\n", text).rstrip("\n")
        return None, b"".join(encode_name(line) + b"\0\0" for line in lines.split("\n") if line) + b"\0\0"
    return None, None


def is_told(kind_text: str | None, text: str | None) -> bool:
    """Whether the record has a value there at all: "-" as its type and as its data stand for none."""
    return (kind_text or _NOTHING) != _NOTHING or (text or _NOTHING) != _NOTHING


@lru_cache(1024)
def read_rights(mask: str | None, codes: str | None) -> int | None:
    """Return rights as a mask: AccessMask, or where that is missing the codes of AccessList; None where neither can be read."""
    number = read_number(mask, 4)
    if number is not None:
        return number
    bits = [_BITS.get(int(code)) for code in _CODE.findall(codes or "")]
    known = [bit for bit in bits if bit is not None]
    return sum(set(known)) if bits and len(known) == len(bits) else None


@lru_cache(1024)
def name_rights(mask: int) -> tuple[str, ...]:
    """Return the names of the rights in a mask as winnt.h has them; a bit without a name in hex.

    >>> name_rights(0x20001)
    ('KEY_QUERY_VALUE', 'READ_CONTROL')
    """
    bits = (1 << bit for bit in range(32) if mask >> bit & 1)
    return tuple(_RIGHTS.get(bit, f"0x{bit:X}") for bit in bits)
