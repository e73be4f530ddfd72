"""Twin of `tracer.etl.records.read_headers`: what record headers state, read as EVENT_HEADERs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.etl.headers import GUID_AT, PAYLOAD_AT, POINTER_SIZES
from tracer.etl.providers import ProviderTable, guid_text
from tracer.etl.records import read_headers as read_plainly

__all__ = ["read_headers"]

Column = NDArray[np.int64]
_EXTENDED_INFO = 1  # EVENT_HEADER.Flags
_MOST_GUIDS = 64  # distinct providers of a chunk that are told apart here
_NOBODY = -1


class _Kinds(NamedTuple):
    """What each kind of header holds, and where."""

    payload_at: Column
    pointer_size: NDArray[np.uint8]
    guid_at: Column


_KINDS = _Kinds(PAYLOAD_AT, POINTER_SIZES, GUID_AT)


class _Columns(NamedTuple):
    """The columns that are filled in, as Records has them."""

    payload: Column
    tid: Column
    pid: Column
    id: NDArray[np.int32]
    version: NDArray[np.int16]
    opcode: NDArray[np.int16]
    items: Column
    pointer_size: NDArray[np.uint8]
    provider: NDArray[np.int32]


def read_headers(
    raw: NDArray[np.uint8], start: Column, kind: NDArray[np.uint8], providers: ProviderTable
) -> dict[str, np.ndarray]:
    """Return the columns that `tracer.etl.records.read_headers` returns, which is called where providers are many."""
    count = len(start)
    columns = _Columns(
        payload=np.empty(count, np.int64),
        tid=np.empty(count, np.int64),
        pid=np.empty(count, np.int64),
        id=np.empty(count, np.int32),
        version=np.empty(count, np.int16),
        opcode=np.empty(count, np.int16),
        items=np.empty(count, np.int64),
        pointer_size=np.empty(count, np.uint8),
        provider=np.empty(count, np.int32),
    )
    low, high = np.empty(_MOST_GUIDS, np.uint64), np.empty(_MOST_GUIDS, np.uint64)
    distinct = _read(raw.view(np.uint64), start, kind, _KINDS, low, high, columns)
    if distinct > _MOST_GUIDS:
        return read_plainly(raw, start, kind, providers)
    guids = zip(low[:distinct].tolist(), high[:distinct].tolist(), strict=True)
    numbers = [providers.number(guid_text(a, b)) for a, b in guids]
    provider = np.array([*numbers, _NOBODY], np.int32).take(columns.provider)
    return columns._asdict() | {"provider": provider}


@kernel
def _read(longs, start, kind, kinds, low, high, columns):
    """Fill in `columns`, and the distinct GUIDs in `low` and `high`; return how many these are, or one more than fit."""
    distinct = 0
    known = 0
    for row in range(len(start)):
        begin, its_kind = start[row], kind[row]
        at = begin >> 3
        first, threads, descriptor = np.int64(longs[at]), np.int64(longs[at + 1]), np.int64(longs[at + 5])
        body = begin + kinds.payload_at[its_kind]
        columns.payload[row], columns.pointer_size[row] = body, kinds.pointer_size[its_kind]
        columns.tid[row], columns.pid[row] = threads & 0xFFFFFFFF, threads >> 32 & 0xFFFFFFFF
        columns.id[row] = descriptor & 0xFFFF
        columns.version[row], columns.opcode[row] = descriptor >> 16 & 0xFF, descriptor >> 40 & 0xFF
        columns.items[row] = body if first >> 32 & _EXTENDED_INFO else -1
        if kinds.guid_at[its_kind] < 0:
            columns.provider[row] = _NOBODY
            continue
        a, b = longs[at + 3], longs[at + 4]  # every header that has a GUID has it at 0x18
        if distinct == 0 or low[known] != a or high[known] != b:
            known = 0
            while known < distinct and (low[known] != a or high[known] != b):
                known += 1
            if known == distinct:
                if distinct == _MOST_GUIDS:
                    return distinct + 1
                low[known], high[known] = a, b
                distinct += 1
        columns.provider[row] = known
    return distinct
