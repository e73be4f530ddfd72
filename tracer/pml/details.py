"""The details of registry events beside the path: captured bytes, names, accesses, facts of keys."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.pml.events import Details
from tracer.pml.header import Bytes
from tracer.registry.key_information import KEY, SET, VALUE, ValueParts, described, take_values_apart
from tracer.registry.text import decode_name

__all__ = ["Captured", "detail_texts", "find_captured", "second_text", "value_names_carried"]

_OPEN_KEY, _CREATE_KEY, _QUERY_KEY, _SET_VALUE, _QUERY_VALUE, _ENUM_VALUE, _ENUM_KEY = 0, 1, 3, 4, 5, 6, 7
_SET_INFO, _LOAD_KEY, _RENAME_KEY = 8, 12, 14
_READS = (_QUERY_KEY, _QUERY_VALUE, _ENUM_VALUE, _ENUM_KEY)
_VALUE_READS = (_QUERY_VALUE, _ENUM_VALUE)
_WITH_NAME = (0, 1, 3)  # KEY_VALUE_INFORMATION_CLASS: basic, full, full aligned

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Captured:
    """The values of n events: what was written, or what a read returned, without its structure.

    Attributes:
        start: position of the value's data.
        size: bytes of it that were captured; 0 where there are none.
        full_size: the value's own size; -1 if the event does not say.
        type: registry value type, where has_type.
        truncated: fewer bytes were captured than the value has, though something was.
        parts: the structures of the reads of values among the events, and `reads` the events' numbers.
    """

    start: Int64s
    size: Int64s
    full_size: Int64s
    type: NDArray[np.uint32]
    has_type: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    reads: Int64s
    parts: ValueParts

    def read(self, raw: Bytes) -> pa.Array:
        """Return the bytes; NULL where nothing was captured."""
        values: list[bytes | None] = [None] * len(self.size)
        rows = np.flatnonzero(self.size > 0)
        pieces = raw.pieces(self.start[rows], (self.start + self.size)[rows])
        for row, piece in zip(rows.tolist(), pieces, strict=True):
            values[row] = piece
        return pa.array(values, pa.binary())


def find_captured(raw: Bytes, details: Details, diagnostics: Diagnostics) -> Captured:
    """Find the values that events carry."""
    operation, fixed = details.head["operation"], details.fixed
    readable = details.path_size >= 0
    written = (operation == _SET_VALUE) & readable
    start, size, claimed = _behind_path(details)
    short = np.isin(operation, (_SET_VALUE, _SET_INFO)) & readable & (size < claimed)
    if short.any():
        diagnostics.count("pml_bad_detail", int(short.sum()), offset=int(start[np.argmax(short)]))
    full_size = np.where(written, fixed[:, 2].astype(np.int64), -1)
    size = np.where(written, np.minimum(size, full_size), 0)
    kind, has_type = np.where(written, fixed[:, 1], 0).astype(np.uint32), written
    truncated = written & (size > 0) & (size < full_size)

    reads = np.flatnonzero(np.isin(operation, _VALUE_READS) & (details.extra_size > 0))
    parts = _value_parts(
        raw, details.extra_at[reads], details.extra_size[reads], _information_class(details)[reads]
    )
    start[reads], size[reads], full_size[reads] = parts.data_start, parts.data_size, parts.size
    kind[reads], has_type[reads] = parts.type, parts.fits
    truncated[reads] = parts.data_size < parts.size
    return Captured(start, size, full_size, kind, has_type, truncated, reads, parts)


def _value_parts(raw: Bytes, start: Int64s, size: Int64s, classes: NDArray[np.uint32]) -> ValueParts:
    """Return the parts of structures, with offsets in the file."""
    joined = np.frombuffer(b"".join(raw.pieces(start, start + size)), np.uint8)
    places = np.cumsum(size) - size
    parts = take_values_apart(joined, places, size, classes)
    moved = start - places
    return replace(parts, data_start=parts.data_start + moved, name_start=parts.name_start + moved)


def value_names_carried(raw: Bytes, captured: Captured) -> dict[int, str]:
    """Return the value names in the information that reads returned, escaped, by row."""
    parts = captured.parts
    return {
        int(captured.reads[place]): decode_name(raw[start : start + size])
        for place, start, size in zip(
            range(len(captured.reads)), parts.name_start.tolist(), parts.name_size.tolist(), strict=True
        )
        if size >= 0
    }


def detail_texts(raw: Bytes, details: Details, captured: Captured) -> tuple[pa.Array, pa.Array]:
    """Return the columns `detail` (JSON of the fields that have no column) and `requested_name`.

    The JSON names fields as the REG_*_INFORMATION structures do: DesiredAccess and GrantedAccess of opens
    and creates, Length (of the caller's buffer) of reads, FileName of RegLoadKey. Of reads it has what the
    returned structure says beside the value (`tracer.registry.key_information`), and of RegSetInfoKey what was set.
    """
    operation = details.head["operation"]
    readable = details.path_size >= 0
    opens = (operation <= _CREATE_KEY) & readable
    granted = opens & (details.extra_size >= 4)
    reads = np.isin(operation, _READS) & readable
    # Equal details are written once: the number of distinct accesses and lengths is small.
    keys = np.full((len(operation), 2), -1, np.int64)
    keys[opens | reads, 0] = details.fixed[opens | reads, 1]
    keys[granted, 1] = details.lead[granted, 0]
    keys[reads, 1] = -2
    packed = (keys[:, 0] << 32) ^ (keys[:, 1] + 2)
    distinct, first, inverse = np.unique(packed, return_index=True, return_inverse=True)
    del distinct
    distinct_texts = [_json(*keys[row].tolist()) for row in first]
    texts: list[str | None] = [distinct_texts[place] for place in inverse.ravel().tolist()]
    for row, text in _structures(raw, details, captured):
        texts[row] = _both(texts[row], text)
    requested: pa.Array = pa.nulls(len(operation), pa.string())
    renamed = np.flatnonzero(np.isin(operation, (_LOAD_KEY, _RENAME_KEY)) & readable).tolist()
    if renamed:
        names = requested.to_pylist()
        for row in renamed:
            name = second_text(raw, details, row)
            if operation[row] == _RENAME_KEY:
                names[row] = name
            elif name is not None:
                texts[row] = json.dumps({"FileName": name}, ensure_ascii=False)
        requested = pa.array(names, pa.string())
    return pa.array(texts, pa.string()), requested


def _structures(raw: Bytes, details: Details, captured: Captured) -> Iterator[tuple[int, str]]:
    """Yield (row, JSON) with the fields of structures other than the value."""
    operation, classes = details.head["operation"], _information_class(details)
    of_keys = np.flatnonzero(np.isin(operation, (_QUERY_KEY, _ENUM_KEY)) & (details.extra_size > 0))
    yield from _described(raw, KEY, of_keys, classes, details.extra_at, details.extra_size)
    parts, reads = captured.parts, captured.reads
    is_enumeration = operation[reads] == _ENUM_VALUE
    has_name = parts.name_size >= 0
    plain = (
        parts.fits
        & (parts.title == 0)
        & (has_name & is_enumeration | ~has_name & ~np.isin(classes[reads], _WITH_NAME))
    )
    yield from _described(raw, VALUE, reads[~plain], classes, details.extra_at, details.extra_size)
    sets = np.flatnonzero((operation == _SET_INFO) & (details.path_size >= 0))
    start, size, _ = _behind_path(details)
    for row in sets.tolist():
        yield row, f'{{"Length": {details.fixed[row, 2]}}}'
    yield from _described(raw, SET, sets[size[sets] > 0], details.fixed[:, 1], start, size)


def _described(
    raw: Bytes, structure: str, rows: Int64s, classes: NDArray[np.uint32], start: Int64s, size: Int64s
) -> Iterator[tuple[int, str]]:
    pieces = raw.pieces(start[rows], (start + size)[rows])
    for row, class_, piece in zip(rows.tolist(), classes[rows].tolist(), pieces, strict=True):
        yield row, _remembered(structure, class_, piece)


_remembered = lru_cache(maxsize=1 << 14)(described)


def _both(first: str | None, second: str) -> str | None:
    """Return two JSON objects merged into one; "" and None are empty."""
    if first and second:
        return f"{first[:-1]}, {second[1:]}"
    return first or second or None


def _behind_path(details: Details) -> tuple[Int64s, Int64s, Int64s]:
    """Return where the bytes behind the path of a set begin, how many there are, and how many it claims."""
    start = details.path_at + details.path_size
    claimed = (details.fixed[:, 3] & 0xFFFF).astype(np.int64)
    return start, np.clip(details.end - start, 0, claimed), claimed


def _json(first: int, second: int) -> str | None:
    if first < 0:
        return None
    if second == -2:
        return json.dumps({"Length": first})
    fields = {"DesiredAccess": first}
    if second >= 0:
        fields["GrantedAccess"] = second
    return json.dumps(fields)


def second_text(raw: Bytes, details: Details, row: int) -> str | None:
    """Return the text after the path: the hive file of RegLoadKey, the new name of RegRenameKey."""
    info = int(details.fixed[row, 0] >> 16)
    size = (info & 0x7FFF) << (info < 0x8000)
    start = int(details.path_at[row] + details.path_size[row])
    if start + size > details.end[row]:
        return None
    text = raw[start : start + size]
    return decode_name(text if info < 0x8000 else text.decode("latin-1").encode("utf-16-le"))


def _information_class(details: Details) -> NDArray[np.uint32]:
    """Return the information class of reads (meaningless for other operations)."""
    enumerations = np.isin(details.head["operation"], (_ENUM_VALUE, _ENUM_KEY))
    return np.where(enumerations, details.fixed[:, 3], details.fixed[:, 2])
