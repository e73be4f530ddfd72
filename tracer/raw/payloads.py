"""Fields as text to the payload that the provider logged, by its layout: many records at once.

A field that a record does not give ends its payload before it, so that the decoder sees what it sees in a record that was
cut: nothing is made up. Some fields may be missing without a doubt about the others: they say then what the provider
says where it has nothing to say (see `_MAY_MISS`).
"""

import base64
import binascii
import json
import re
import struct
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.decode.layouts import Field, Layout
from tracer.decode.payload import CAPTURE_LIMIT, COUNT_NAMES
from tracer.raw.columns import COLUMN
from tracer.raw.numbers import parse_filetimes, parse_numbers
from tracer.registry.text import unescape_name

__all__ = ["Payloads", "given", "pack"]

Column = NDArray[np.int64]
Known = NDArray[np.bool_]

_BITS = {"u8": 8, "u16": 16, "u32": 32, "u64": 64, "i64": 64}
# KeyName and BaseName are empty unless the session asked for them. No captured bytes, and a previous type and size of 0, are
# what the provider writes where it captured nothing. When a classic operation began is in a clock that no text explains. A user's
# SID may be written as a name.
_MAY_MISS = {
    "KeyName",
    "BaseName",
    "CapturedData",
    "PreviousData",
    "PreviousDataType",
    "PreviousDataSize",
    "InitialTime",
}
_SID = re.compile(r"S-1-(\d{1,15})((?:-\d{1,10}){0,15})", re.IGNORECASE)
_LARGEST = 0xFFFF  # of a record: what its field Size can say
_BETWEEN = re.compile(r"[\s:-]+")


@dataclass(frozen=True, slots=True)
class Payloads:
    """Payloads one after the other, each at a multiple of 8 bytes.

    Attributes:
        raw: the bytes.
        start: where each begins. size: its bytes.
        cut: which lack a field. odd_data: which had captured bytes in a form that is not known, and so have none.
        too_long: which would be longer than a record can be; they are empty.
    """

    raw: NDArray[np.uint8]
    start: Column
    size: Column
    cut: Known
    odd_data: Known
    too_long: Known


@dataclass(frozen=True, slots=True)
class _Pieces:
    """One field of every record: bytes `flat[start : start + size]`."""

    flat: NDArray[np.uint8]
    start: Column
    size: Column
    known: Known


def given(layout: Layout, fields: pa.Table) -> Known:
    """Return which records give every field of a layout, those that may be missing included where no other is like them."""
    whole = np.ones(fields.num_rows, bool)
    for field in layout.fields:
        if field.kind not in ("captured", "ksid") and (
            field.name not in _MAY_MISS or field.name == "InitialTime"
        ):
            whole &= fields[COLUMN[field.name]].is_valid().to_numpy()
        if field.kind == "sid":
            whole &= _sids(fields[COLUMN[field.name]].combine_chunks(), 8).known
    return whole


def pack(layout: Layout | None, pointer_size: int, fields: pa.Table) -> Payloads:
    """Return the payloads of records of one layout.

    Args:
        layout: None for records that are only counted: their payloads are empty.
        pointer_size: 4 or 8.
        fields: their fields as text (escaped), NULL where they are not given.
    """
    count = fields.num_rows
    alive, odd_data = np.ones(count, bool), np.zeros(count, bool)
    pieces: list[_Pieces] = []
    size = np.zeros(count, np.int64)
    for field in layout.fields if layout is not None else ():
        if field.kind == "captured":
            piece, odd = _captured(fields, field)
            odd_data |= odd
        else:
            piece = _piece(field, fields[COLUMN[field.name]].combine_chunks(), pointer_size)
        alive &= piece.known
        piece = _Pieces(piece.flat, piece.start, np.where(alive, piece.size, 0), alive)
        size += piece.size
        pieces.append(piece)
    too_long = size > _LARGEST
    size = np.where(too_long, 0, size)
    room = size + 7 & ~7
    start = np.cumsum(room) - room
    raw = np.zeros(int(room.sum()), np.uint8)
    cursor = start.copy()
    for piece in pieces:
        wanted = np.where(too_long, 0, piece.size)
        _copy(raw, cursor, piece.flat, piece.start, wanted)
        cursor += wanted
    return Payloads(raw, start, size, ~alive, odd_data, too_long)


def _copy(out: NDArray[np.uint8], at: Column, flat: NDArray[np.uint8], start: Column, size: Column) -> None:
    """Copy stretches of `flat` to places of `out`."""
    rows = np.flatnonzero(size)
    if not len(rows):
        return
    at, start, size = at[rows], start[rows], size[rows]
    begins = np.cumsum(size) - size
    within = np.arange(int(size.sum())) - np.repeat(begins, size)
    out[np.repeat(at, size) + within] = flat[np.repeat(start, size) + within]


def _piece(field: Field, texts: pa.Array, pointer_size: int) -> _Pieces:
    lenient = field.name in _MAY_MISS
    if field.kind in _BITS:
        return _numbers(*parse_numbers(texts, _BITS[field.kind]), _BITS[field.kind] // 8, lenient)
    if field.kind == "ptr":
        return _numbers(*parse_numbers(texts, 8 * pointer_size), pointer_size, lenient)
    if field.kind == "psize":  # a status: as 32 bits, whatever the slot holds
        values, known = parse_numbers(texts, 64)
        return _numbers(values & np.uint64(0xFFFFFFFF), known, pointer_size, lenient)
    if field.kind == "filetime":  # 0 is a time that was not set
        return _numbers(*parse_filetimes(texts), 8, lenient=True)
    if field.kind == "wz":
        return _by_text(texts, _wide, b"\0\0" if lenient else None)
    if field.kind == "az":
        return _by_text(texts, _narrow, None)
    if field.kind == "guid":
        return _by_text(texts, _guid, None)
    return _sids(texts, pointer_size, is_kernel=field.kind == "ksid")


def _numbers(values: NDArray[np.uint64], known: Known, width: int, lenient: bool) -> _Pieces:
    """Return little-endian numbers; unknown ones are 0 where that is what the provider would say."""
    flat = np.where(known, values, np.uint64(0)).astype("<u8").view(np.uint8)
    start = np.arange(len(values), dtype=np.int64) * 8
    known = np.ones(len(values), bool) if lenient else known
    return _Pieces(flat, start, np.full(len(values), width, np.int64), known)


def _by_text(texts: pa.Array, make: Callable[[str], bytes | None], missing: bytes | None) -> _Pieces:
    """Return what `make` makes of each text, `missing` where there is none; None is not known."""
    encoded = texts.dictionary_encode()
    made = [make(text) for text in encoded.dictionary.to_pylist()] + [missing]
    size = np.array([len(one or b"") for one in made], np.int64)
    known = np.array([one is not None for one in made])
    flat = np.frombuffer(b"".join(one or b"" for one in made) or b"\0", np.uint8)
    place = pc.fill_null(encoded.indices, len(made) - 1).to_numpy(zero_copy_only=False)
    return _Pieces(flat, (np.cumsum(size) - size)[place], size[place], known[place])


def _wide(text: str) -> bytes:
    if "<U+" in text:
        text = unescape_name(text)
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def _narrow(text: str) -> bytes:
    if "<U+" in text:
        text = unescape_name(text)
    return text.encode("latin-1", "replace") + b"\0"


def _guid(text: str) -> bytes | None:
    try:
        return uuid.UUID(text.strip()).bytes_le
    except ValueError:
        return None


def _sids(texts: pa.Array, pointer_size: int, *, is_kernel: bool = False) -> _Pieces:
    """Return SIDs; the kernel logger's stand behind a TOKEN_USER, and are a zero dword where there is none."""

    def make(text: str) -> bytes | None:
        found = _SID.fullmatch(text.strip())
        parts = [int(part) for part in found[2].split("-")[1:]] if found else []
        if found is None or int(found[1]) >= 1 << 48 or any(part >= 1 << 32 for part in parts):
            return bytes(4) if is_kernel else None
        sid = struct.pack("<BB", 1, len(parts)) + int(found[1]).to_bytes(6, "big")
        sid += struct.pack(f"<{len(parts)}I", *parts)
        return bytes(2 * pointer_size) + sid if is_kernel else sid

    return _by_text(texts, make, bytes(4) if is_kernel else None)


def _captured(fields: pa.Table, field: Field) -> tuple[_Pieces, Known]:
    """Return captured bytes with their count before them, and which records have some that cannot be read."""
    count = fields.num_rows
    texts = fields[COLUMN[field.name]].combine_chunks()
    sizes, has_size = parse_numbers(fields[COLUMN[COUNT_NAMES[field.name]]], 16)
    rows = pc.indices_nonzero(pc.fill_null(pc.not_equal(texts, ""), False)).to_numpy()
    full = _expected(fields, field) if len(rows) else []
    made: dict[int, bytes] = {}
    odd = np.zeros(count, bool)
    for row, text in zip(rows.tolist(), texts.take(pa.array(rows)).to_pylist(), strict=True):
        wanted = int(sizes[row]) if has_size[row] else full[row]
        data = _bytes(text, wanted)
        if data is None:
            odd[row] = True
        else:
            made[row] = struct.pack("<H", len(data)) + data
    none = np.ones(count, bool)
    none[rows] = False
    odd |= none & has_size & (sizes > 0)  # the tool says that there are bytes, and does not give them
    size = np.full(count, 2, np.int64)
    start = np.zeros(count, np.int64)
    at = 2  # the first two bytes are the count of those that have none
    for row, data in made.items():
        size[row], start[row] = len(data), at
        at += len(data)
    flat = np.frombuffer(b"\0\0" + b"".join(made.values()), np.uint8)
    return _Pieces(flat, start, size, np.ones(count, bool)), odd


def _expected(fields: pa.Table, field: Field) -> Sequence[int | None]:
    """Return how many bytes the provider captured, as far as the size of the data says it."""
    sizes, known = parse_numbers(
        fields["DataSize" if field.name == "CapturedData" else "PreviousDataSize"], 32
    )
    return [
        min(size, CAPTURE_LIMIT) if is_known else None
        for size, is_known in zip(sizes.tolist(), known.tolist(), strict=True)
    ]


def _bytes(text: str, wanted: int | None) -> bytes | None:
    """Read bytes as hex, as a JSON array or as base64; `wanted` is how many there are, where that is known."""
    for read in (_hex, _array, _base64):
        data = read(text)
        if data is not None and len(data) <= CAPTURE_LIMIT and wanted in (None, len(data)):
            return data
    return None


def _hex(text: str) -> bytes | None:
    if not text.isalnum():
        text = _BETWEEN.sub("", text)
    try:
        return bytes.fromhex(text[2:] if text[:2] in ("0x", "0X") else text)
    except ValueError:
        return None


def _array(text: str) -> bytes | None:
    if text[:1] != "[":
        return None
    try:
        return bytes(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
