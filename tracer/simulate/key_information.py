"""The KEY_*_INFORMATION structures that queries and enumerations return."""

import struct

from tracer.simulate.registry import Key, Value, encode_text

__all__ = ["key_information", "value_information"]

_LAST_WRITE = 133_700_000_000_000_000
_BASIC, _NODE, _FULL, _NAME, _CACHED = 0, 1, 2, 3, 4


def key_information(class_: int, key: Key, *, build: bool) -> tuple[int, bytes]:
    """Return the size and, if `build`, the bytes of the structure (a dword for any unknown class)."""
    if class_ == _FULL:
        if not build:
            return 44, b""
        data = struct.pack("<qIIIIIIIIII", _LAST_WRITE, 0, 0xFFFFFFFF, 0, len(key.children), 0, 0,
                           len(key.values),
                           0, 0, 0)[:44]  # fmt: skip
    elif class_ == _CACHED:
        data = struct.pack("<qIIIIIII", _LAST_WRITE, 0, len(key.children), 0, len(key.values), 0, 0, 0)[:36]
    elif class_ in (_BASIC, _NODE, _NAME):
        name = encode_text(key.path if class_ == _NAME else key.name)
        if class_ == _BASIC:
            data = struct.pack("<qII", _LAST_WRITE, 0, len(name)) + name
        elif class_ == _NODE:
            data = struct.pack("<qIIII", _LAST_WRITE, 0, 0xFFFFFFFF, 0, len(name)) + name
        else:
            data = struct.pack("<I", len(name)) + name
    else:
        data = bytes(4)
    return len(data), data


def value_information(class_: int, value: Value, *, build: bool) -> tuple[int, bytes]:
    """Return the size and, if `build`, the bytes: 0 basic, 1 full, otherwise partial."""
    name, data = value.wire, value.data
    if class_ == 0:
        return 12 + len(name), struct.pack("<III", 0, value.type, len(name)) + name if build else b""
    if class_ == 1:
        offset = (20 + len(name) + 7) & ~7
        if not build:
            return offset + len(data), b""
        head = struct.pack("<IIIII", 0, value.type, offset, len(data), len(name)) + name
        return offset + len(data), head.ljust(offset, b"\0") + data
    if not build:
        return 12 + len(data), b""
    return 12 + len(data), struct.pack("<III", 0, value.type, len(data)) + data
