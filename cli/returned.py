"""What reads and enumerations returned, as people read it: the KEY_*_INFORMATION structures of wdm.h.

ETW carries the structure that the caller got, cut to what was captured. Anything that does not fit its layout
is left to be shown as bytes: nothing here guesses.
"""

import struct
from struct import unpack_from

from tracer.text import decode_name
from tracer.values import show_value, type_name

__all__ = ["returned_text"]

# KEY_VALUE_INFORMATION_CLASS and KEY_INFORMATION_CLASS of wdm.h
_VALUE_BASIC, _VALUE_FULL, _VALUE_PARTIAL, _VALUE_FULL_64, _VALUE_PARTIAL_64 = range(5)
_KEY_BASIC, _KEY_NODE, _KEY_FULL, _KEY_NAME, _KEY_CACHED = range(5)


def returned_text(operation: str | None, information_class: int | None, data: bytes) -> str | None:
    r"""Return what an operation's returned structure says; None where it is not one this module knows.

    >>> returned_text("QueryValueKey", 2, b"\0\0\0\0" b"\4\0\0\0" b"\4\0\0\0" b"\1\0\0\0")
    '1 (0x1)'
    """
    if information_class is None:
        return None
    try:
        if operation in ("QueryValueKey", "EnumerateValueKey"):
            return _value(operation, information_class, data)
        if operation in ("QueryKey", "EnumerateKey"):
            return _key(information_class, data)
    except struct.error:  # cut before the fixed part ends
        return None
    return None


def _value(operation: str, information_class: int, data: bytes) -> str | None:
    if information_class == _VALUE_PARTIAL:
        kind, size = unpack_from("<4xII", data)
        return show_value(kind, data[12 : 12 + size], size)
    if information_class == _VALUE_PARTIAL_64:
        kind, size = unpack_from("<II", data)
        return show_value(kind, data[8 : 8 + size], size)
    if information_class in (_VALUE_FULL, _VALUE_FULL_64):
        kind, at, size, name_size = unpack_from("<4xIIII", data)
        if at < 20 + name_size:
            return None
        shown = show_value(kind, data[at : at + size], size)
        return f"{_name(data, 20, name_size)} = {shown}" if operation == "EnumerateValueKey" else shown
    if information_class == _VALUE_BASIC:
        kind, name_size = unpack_from("<4xII", data)
        return f"{_name(data, 12, name_size) or '(default)'}: {type_name(kind)}"
    return None


def _key(information_class: int, data: bytes) -> str | None:
    if information_class == _KEY_BASIC:
        (size,) = unpack_from("<12xI", data)
        return _name(data, 16, size)
    if information_class == _KEY_NODE:
        (size,) = unpack_from("<20xI", data)
        return _name(data, 24, size)
    if information_class == _KEY_NAME:
        (size,) = unpack_from("<I", data)
        return _name(data, 4, size)
    if information_class == _KEY_FULL:
        subkeys, values = unpack_from("<20xI8xI", data)
    elif information_class == _KEY_CACHED:
        subkeys, values = unpack_from("<12xI4xI", data)
    else:
        return None
    return f"{subkeys} subkeys, {values} values"


def _name(data: bytes, start: int, size: int) -> str:
    return decode_name(data[start : start + size])
