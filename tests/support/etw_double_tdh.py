"""TDH for the events of Kernel-Registry, as far as pywintrace asks: to show what its decoding costs and says.

Far cheaper than Windows' own, which looks up manifests. One entry a field, a captured field as its size and its
bytes. Nobody in the program uses it.
"""

import ctypes
import struct
import uuid
from collections.abc import Callable
from functools import cache
from typing import Any

from etw_windows_types import read_wide

from tracer.decode.layouts import LAYOUTS
from tracer.etl.providers import KERNEL_REGISTRY, PROVIDER_NAMES

__all__ = ["tdh_functions"]

_OK, _INSUFFICIENT, _NOT_FOUND = 0, 122, 1168
_STRING, _UINT16, _UINT32, _BINARY, _POINTER = 1, 6, 8, 14, 16
_KINDS = {"ptr": _POINTER, "u32": _UINT32, "u16": _UINT16, "wz": _STRING}
_FIXED = {"ptr": 8, "u32": 4, "u16": 2}
_PARAM_LENGTH = 2
_INFO_SIZE, _PROPERTY = 112, struct.Struct("<IIHHIHHI")
_U, _H, _P = ctypes.c_uint32, ctypes.c_uint16, ctypes.c_void_p


@cache
def _properties(event: int) -> list[tuple[str, str]]:
    """Return (name, kind) of an event's properties; a captured field is two."""
    found = []
    for field in LAYOUTS[KERNEL_REGISTRY, event, 0].fields:
        if field.kind == "captured":
            found += [(f"{field.name}Size", "u16"), (field.name, "bytes")]
        else:
            found.append((field.name, field.kind))
    return found


@cache
def _event_info(event: int, guid: bytes) -> bytes:
    """Return TRACE_EVENT_INFO with the properties of an event, names behind it."""
    properties = _properties(event)
    texts = bytearray()
    names_at = _INFO_SIZE + _PROPERTY.size * len(properties)

    def put(text: str) -> int:
        at = names_at + len(texts)
        texts.extend(text.encode("utf-16-le") + b"\0\0")
        return at

    provider_at = put(PROVIDER_NAMES[KERNEL_REGISTRY])
    array = b""
    for number, (name, kind) in enumerate(properties):
        binary = kind == "bytes"
        array += _PROPERTY.pack(
            _PARAM_LENGTH if binary else 0, put(name), _BINARY if binary else _KINDS[kind], 0, 0, 1,
            number - 1 if binary else _FIXED.get(kind, 0), 0,
        )  # fmt: skip
    descriptor = struct.pack("<HBBBBHQ", event, 0, 0, 0, 0, 0, 0)
    offsets = [provider_at, *[0] * 11]
    counts = (len(properties), len(properties), 0)
    fixed = guid + bytes(16) + descriptor + struct.pack("<I12I3I", 0, *offsets, *counts)
    assert len(fixed) == _INFO_SIZE
    return fixed + array + bytes(texts)


def _find(record: int, name: str) -> bytes | None:
    """Return the bytes of a record's property."""
    (event,) = struct.unpack("<H", ctypes.string_at(record + 40, 2))
    length, data_at = struct.unpack("<H8xQ", ctypes.string_at(record + 86, 18))
    data, at, size = ctypes.string_at(data_at, length), 0, 0
    for each, kind in _properties(event):
        if kind == "wz":
            size = (
                next((n for n in range(0, length - at - 1, 2) if data[at + n : at + n + 2] == b"\0\0"), 0) + 2
            )
        elif kind != "bytes":
            size = _FIXED[kind]
        else:
            size = int.from_bytes(data[at - 2 : at], "little")
        if each == name:
            return data[at : at + size]
        at += size
    return None


def _get_event_information(record: int, _count: int, _context: int, out: int | None, size_at: int) -> int:
    (event,) = struct.unpack("<H", ctypes.string_at(record + 40, 2))
    guid = ctypes.string_at(record + 24, 16)
    if guid != uuid.UUID(KERNEL_REGISTRY).bytes_le or (KERNEL_REGISTRY, event, 0) not in LAYOUTS:
        return _NOT_FOUND
    info = _event_info(event, guid)
    size = _U.from_address(size_at)
    if not out or size.value < len(info):
        size.value = len(info)
        return _INSUFFICIENT
    ctypes.memmove(out, info, len(info))
    return _OK


def _get_property_size(record: int, _c: int, _x: int, _n: int, descriptor: int, size_at: int) -> int:
    found = _find(record, read_wide(ctypes.c_uint64.from_address(descriptor).value))
    if found is None:
        return _NOT_FOUND
    _U.from_address(size_at).value = len(found)
    return _OK


def _get_property(record: int, _c: int, _x: int, _n: int, descriptor: int, size: int, out: int) -> int:
    found = _find(record, read_wide(ctypes.c_uint64.from_address(descriptor).value))
    if found is None:
        return _NOT_FOUND
    ctypes.memmove(out, found, min(len(found), size))
    return _OK


def _format_property(
    _info: int, _map: int, pointer: int, kind: int, _out_type: int, length: int, left: int, data: int,
    size_at: int, out: int | None, used_at: int,
) -> int:  # fmt: skip
    if kind == _STRING:
        text = read_wide(data)
        used = 2 * len(text.encode("utf-16-le", "surrogatepass")) // 2 + 2
    else:
        used = {_POINTER: pointer, _UINT32: 4, _UINT16: 2}.get(kind, length)
        raw = ctypes.string_at(data, min(used, left))
        number = int.from_bytes(raw, "little")
        text = (
            "0x" + raw.hex().upper()
            if kind == _BINARY
            else f"0x{number:X}"
            if kind == _POINTER
            else str(number)
        )
    encoded = text.encode("utf-16-le", "surrogatepass") + b"\0\0"
    size = _U.from_address(size_at)
    if not out or size.value < len(encoded):
        size.value = len(encoded)
        return _INSUFFICIENT
    ctypes.memmove(out, encoded, len(encoded))
    _H.from_address(used_at).value = used
    return _OK


def _not_found(*_arguments: Any) -> int:
    return _NOT_FOUND


_FUNCTIONS: dict[str, tuple[tuple[Any, ...], Callable[..., int]]] = {
    "TdhGetEventInformation": ((_P, _U, _P, _P, _P), _get_event_information),
    "TdhGetPropertySize": ((_P, _U, _P, _U, _P, _P), _get_property_size),
    "TdhGetProperty": ((_P, _U, _P, _U, _P, _U, _P), _get_property),
    "TdhGetEventMapInformation": ((_P, _P, _P, _P), _not_found),
    "TdhFormatProperty": ((_P, _P, _U, _H, _H, _H, _H, _P, _P, _P, _P), _format_property),
    "TdhEnumerateProviderFieldInformation": ((_P, _U, _P, _P), _not_found),
}


def tdh_functions() -> dict[str, Any]:
    """Return the functions by name, callable as those of tdh.dll."""
    make = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)
    return {name: make(_U, *arguments)(function) for name, (arguments, function) in _FUNCTIONS.items()}
