"""What the details of registry events hold beside the path: captured bytes, names, accesses."""

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.pml.events import Details
from tracer.pml.header import Bytes
from tracer.text import decode_name

__all__ = ["Captured", "detail_texts", "find_captured", "value_names_carried"]

_OPEN_KEY, _CREATE_KEY, _QUERY_KEY, _SET_VALUE, _QUERY_VALUE, _ENUM_VALUE, _ENUM_KEY = 0, 1, 3, 4, 5, 6, 7
_SET_INFO, _LOAD_KEY, _RENAME_KEY = 8, 12, 14
_READS = (_QUERY_KEY, _QUERY_VALUE, _ENUM_VALUE, _ENUM_KEY)
_KEY_BASIC, _KEY_NAME = 0, 3
_VALUE_BASIC, _VALUE_FULL, _VALUE_PARTIAL, _VALUE_FULL_64, _VALUE_PARTIAL_64 = 0, 1, 2, 3, 4

Int64s = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Captured:
    """The bytes that n events carry: a written value's data, or the KEY_*_INFORMATION that a read returned.

    Attributes:
        start: position in the file.
        size: bytes captured; 0 where there are none.
        full_size: bytes there were to capture; -1 where the event does not say.
        type: registry value type, where has_type.
        truncated: some but not all bytes were captured.
    """

    start: Int64s
    size: Int64s
    full_size: Int64s
    type: NDArray[np.uint32]
    has_type: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    def read(self, raw: Bytes) -> pa.Array:
        """Return the bytes; NULL where nothing was captured."""
        values: list[bytes | None] = [None] * len(self.size)
        rows = np.flatnonzero(self.size > 0)
        starts, ends = self.start[rows].tolist(), (self.start + self.size)[rows].tolist()
        for row, start, end in zip(rows.tolist(), starts, ends, strict=True):
            values[row] = raw[start:end]
        return pa.array(values, pa.binary())


def find_captured(details: Details, diagnostics: Diagnostics) -> Captured:
    """Find the captured bytes of each event."""
    operation, fixed, lead = details.head["operation"], details.fixed, details.lead.astype(np.int64)
    readable = details.path_size >= 0
    written = np.isin(operation, (_SET_VALUE, _SET_INFO)) & readable
    start = np.where(written, details.path_at + details.path_size, details.extra_at)
    claimed = np.where(written, (fixed[:, 3] & 0xFFFF).astype(np.int64), np.maximum(details.extra_size, 0))
    size = np.where(written, np.clip(details.end - start, 0, claimed), claimed)
    size[~written & ~np.isin(operation, _READS)] = 0
    short = written & (size < claimed)
    if short.any():
        diagnostics.count("pml_bad_detail", int(short.sum()), offset=int(start[np.argmax(short)]))

    full_size = np.where(written, fixed[:, 2].astype(np.int64), -1)
    reads = ~written & (size > 0)
    stated, minimum = _stated_size(operation, _information_class(details), lead)
    stated[size < minimum] = -1
    # The extra detail is padded to whole dwords, which are not part of what was returned.
    full_size = np.where(reads, np.where(stated >= 0, stated, size), full_size)
    full_size[full_size > 0xFFFFFFFF] = -1
    size = np.where(reads & (full_size >= 0), np.minimum(size, full_size), size)
    size = np.where(written & (full_size >= 0), np.minimum(size, full_size), size)

    kind, has_kind = _value_type(operation, _information_class(details), details)
    return Captured(
        start=start,
        size=size,
        full_size=full_size,
        type=np.where(operation == _SET_VALUE, fixed[:, 1], kind).astype(np.uint32),
        has_type=((operation == _SET_VALUE) & readable) | (has_kind & reads),
        truncated=(size > 0) & (size < full_size),
    )


def value_names_carried(raw: Bytes, details: Details, captured: Captured) -> dict[int, str]:
    """Return the names that the returned information of value reads holds, by row; escaped."""
    kind = _information_class(details)
    basic = kind == _VALUE_BASIC
    full = (kind == _VALUE_FULL) | (kind == _VALUE_FULL_64)
    values = np.isin(details.head["operation"], (_QUERY_VALUE, _ENUM_VALUE)) & (captured.size > 0)
    names: dict[int, str] = {}
    for row in np.flatnonzero(values & (basic | full)).tolist():
        fixed = 12 if basic[row] else 20
        size = int(details.lead[row, fixed // 4 - 1])
        if fixed + size <= captured.size[row]:
            start = int(captured.start[row]) + fixed
            names[row] = decode_name(raw[start : start + size])
    return names


def detail_texts(raw: Bytes, details: Details) -> tuple[pa.Array, pa.Array]:
    """Return the columns `detail` (JSON of the fields that have no column) and `requested_name`.

    The JSON names fields as the REG_*_INFORMATION structures do: DesiredAccess and GrantedAccess of opens
    and creates, Length (of the caller's buffer) of reads, FileName of RegLoadKey.
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
    texts = pa.array([_json(*keys[row].tolist()) for row in first], pa.string()).take(
        pa.array(inverse.ravel())
    )
    requested: pa.Array = pa.nulls(len(operation), pa.string())
    renamed = np.flatnonzero(np.isin(operation, (_LOAD_KEY, _RENAME_KEY)) & readable).tolist()
    if renamed:
        listed, names = texts.to_pylist(), requested.to_pylist()
        for row in renamed:
            name = _second_text(raw, details, row)
            if operation[row] == _RENAME_KEY:
                names[row] = name
            elif name is not None:
                listed[row] = json.dumps({"FileName": name}, ensure_ascii=False)
        texts, requested = pa.array(listed, pa.string()), pa.array(names, pa.string())
    return texts, requested


def _json(first: int, second: int) -> str | None:
    if first < 0:
        return None
    if second == -2:
        return json.dumps({"Length": first})
    fields = {"DesiredAccess": first}
    if second >= 0:
        fields["GrantedAccess"] = second
    return json.dumps(fields)


def _second_text(raw: Bytes, details: Details, row: int) -> str | None:
    """Return the text after the path: the hive file of RegLoadKey, the new name of RegRenameKey."""
    info = int(details.fixed[row, 0] >> 16)
    size = (info & 0x7FFF) << (info < 0x8000)
    start = int(details.path_at[row] + details.path_size[row])
    if start + size > details.end[row]:
        return None
    text = raw[start : start + size]
    return decode_name(text if info < 0x8000 else text.decode("latin-1").encode("utf-16-le"))


def _information_class(details: Details) -> NDArray[np.uint32]:
    """Return the class that reads asked for (meaningless for other operations)."""
    enumerations = np.isin(details.head["operation"], (_ENUM_VALUE, _ENUM_KEY))
    return np.where(enumerations, details.fixed[:, 3], details.fixed[:, 2])


def _stated_size(
    operation: NDArray[np.uint16], kind: NDArray[np.uint32], lead: Int64s
) -> tuple[Int64s, Int64s]:
    """Return how long the returned information says it is (-1 where its class has no such field).

    The second result is the bytes of its fixed part, without which it says nothing.
    """
    values = np.isin(operation, (_QUERY_VALUE, _ENUM_VALUE))
    full = values & ((kind == _VALUE_FULL) | (kind == _VALUE_FULL_64))
    keys = np.isin(operation, (_QUERY_KEY, _ENUM_KEY))
    cases = [
        (values & ((kind == _VALUE_PARTIAL) | (kind == _VALUE_BASIC)), 12 + lead[:, 2], 12),
        (values & (kind == _VALUE_PARTIAL_64), 8 + lead[:, 1], 8),
        (full & (lead[:, 3] > 0), lead[:, 2] + lead[:, 3], 20),  # data offset and length
        (full, 20 + lead[:, 4], 20),
        (keys & (kind == _KEY_NAME), 4 + lead[:, 0], 4),
        (keys & (kind == _KEY_BASIC), 16 + lead[:, 3], 16),
    ]
    conditions = [condition for condition, _, _ in cases]
    stated = np.select(conditions, [size for _, size, _ in cases], -1)
    minimum = np.select(conditions, [np.int64(least) for _, _, least in cases], 0)
    return stated.astype(np.int64), minimum.astype(np.int64)


def _value_type(
    operation: NDArray[np.uint16], kind: NDArray[np.uint32], details: Details
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Return the type of the value that was read, and whether the information holds one."""
    values = np.isin(operation, (_QUERY_VALUE, _ENUM_VALUE))
    untitled = kind == _VALUE_PARTIAL_64  # begins with the type; the others have a title index before it
    titled = kind <= _VALUE_FULL_64
    has_type = values & ((untitled & (details.extra_size >= 4)) | (titled & (details.extra_size >= 8)))
    return np.where(untitled, details.lead[:, 0], details.lead[:, 1]), has_type
