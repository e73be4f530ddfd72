"""Payload bytes from the declarative layouts: the table that decodes a record also encodes it here.

A loop over fields would be half of the simulator's cost, so each layout is compiled once, into one
expression that packs the leading numbers together and joins the rest.
"""

import struct
from collections.abc import Callable, Mapping
from functools import cache
from uuid import UUID

from tracer.decode.layouts import Layout, find_layout
from tracer.registry.text import encode_name
from tracer.simulate.headers import encode_sid

__all__ = ["captured", "compile_layout", "encode_payload", "wide"]

_CODES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i64": "q", "filetime": "q", "guid": "16s"}
_BYTES = ("wz", "az", "captured", "sid", "ksid")  # handed over as finished bytes


@cache
def compile_layout(provider: str, id_: int, version: int, pointer_size: int) -> Callable[..., bytes]:
    """Return a function that makes the payload from the layout's fields, in order.

    Numbers are passed as numbers; a GUID as 16 bytes; every other kind as finished bytes: `wide` for wz,
    `captured` for captured.

    Raises:
        LookupError: there is no such layout.
    """
    layout, exact = find_layout(provider, id_, version)
    if layout is None or not exact:
        raise LookupError(f"no layout for {provider} {id_} version {version}")
    names = [f"f{place}" for place in range(len(layout.fields))]
    parts: list[str] = []
    packed: list[str] = []
    code = ""
    packers: dict[str, Callable[..., bytes]] = {}

    def close() -> None:
        nonlocal code
        if code:
            packer = f"pack{len(packers)}"
            packers[packer] = struct.Struct("<" + code).pack
            parts.append(f"{packer}({', '.join(packed)})")
        code = ""
        packed.clear()

    for name, field in zip(names, layout.fields, strict=True):
        if field.kind in _BYTES:
            close()
            parts.append(name)
        else:
            code += _codes(pointer_size).get(field.kind) or _CODES[field.kind]
            packed.append(name)
    close()
    source = f"lambda {', '.join(names)}: {' + '.join(parts) or repr(b'')}"
    function: Callable[..., bytes] = eval(source, dict(packers))
    return function


def encode_payload(layout: Layout, values: Mapping[str, object], *, pointer_size: int = 8) -> bytes:
    """Return the payload of `layout` from field values by name.

    Text (wz, az) is given escaped (tracer.registry.text), captured data as bytes, a GUID as text, a SID as text;
    what is missing is 0 or empty.
    """
    encode = compile_layout(layout.provider, layout.id, layout.version, pointer_size)
    return encode(*(_finished(field.kind, values.get(field.name), pointer_size) for field in layout.fields))


def wide(text: str) -> bytes:
    """Return escaped text as a counted UTF-16 string and one NUL."""
    return encode_name(text) + b"\0\0"


def captured(data: bytes) -> bytes:
    """Return the data after its 16-bit count."""
    return len(data).to_bytes(2, "little") + data


def _codes(pointer_size: int) -> dict[str, str]:
    pointer = "Q" if pointer_size == 8 else "I"
    return {"ptr": pointer, "psize": pointer}


def _finished(kind: str, value: object, pointer_size: int) -> object:
    if kind == "wz":
        return wide(str(value or ""))
    if kind == "az":
        return str(value or "").encode("latin-1", "replace") + b"\0"
    if kind == "captured":
        return captured(value if isinstance(value, bytes) else b"")
    if kind == "guid":
        return UUID(str(value)).bytes_le if value else bytes(16)
    if kind == "sid":
        return encode_sid(str(value)) if value else encode_sid("S-1-16-8192")
    if kind == "ksid":  # a TOKEN_USER, whose pointer means nothing in a file, and the SID
        token = struct.pack(
            "<QQ" if pointer_size == 8 else "<II", 0xFFFF8A0012345670 & (1 << 8 * pointer_size) - 1, 0
        )
        return token + encode_sid(str(value)) if value else bytes(4)
    return value or 0
