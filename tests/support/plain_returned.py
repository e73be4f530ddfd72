"""What a read of a value returned, read with struct, one at a time: the reference of `tracer.registry.key_information`."""

import struct
from typing import Any

from tracer.registry.text import decode_name

__all__ = ["listed_name", "plain_parts"]


def plain_parts(class_: int, found: bytes) -> tuple[int | None, int | None, bytes, bytes | None]:
    """Read (type, size, data, name) of one structure with struct; None is what it does not say."""
    nothing = (None, None, b"", None)
    try:
        if class_ == 0:
            kind, size = struct.unpack_from("<4xII", found)
            return kind, None, b"", found[12 : 12 + size] if 12 + size <= len(found) else None
        if class_ in (2, 4):
            start = 12 if class_ == 2 else 8
            kind, size = struct.unpack_from("<II", found, start - 8)
            return kind, size, found[start : start + size], None
        if class_ in (1, 3):
            kind, at, size, named = struct.unpack_from("<4xIIII", found)
            if size and at < 20 + named:
                return nothing
            name = found[20 : 20 + named] if 20 + named <= len(found) else None
            return kind, size, found[at : at + size] if size else b"", name
    except struct.error:
        pass
    return nothing


def listed_name(truth: dict[str, Any], row: dict[str, Any]) -> str | None:
    """Return the value name that a row should have: the truth's, or the one that an enumeration brought."""
    if truth["operation"] != "EnumerateValueKey":
        return truth["value_name"]
    if not truth["option_word"] & 2 or truth["status"] >= 0x80000000 or truth["data"] is None:
        return None
    name = plain_parts(row["information_class"], truth["data"][:2048])[3]
    return None if name is None else decode_name(name)
