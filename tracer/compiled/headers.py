"""Twin of `tracer.etl.records.read_headers`: what record headers state, read as EVENT_HEADERs."""

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.etl.headers import GUID_AT, PAYLOAD_AT, POINTER_SIZES
from tracer.etl.providers import ProviderTable, guid_text

__all__ = ["read_headers"]

Column = NDArray[np.int64]
_EXTENDED_INFO = 1  # EVENT_HEADER.Flags
_MOST_GUIDS = 64  # distinct providers of a chunk that are told apart here
_NOBODY = -1


def read_headers(
    raw: NDArray[np.uint8], start: Column, kind: NDArray[np.uint8], providers: ProviderTable
) -> dict[str, np.ndarray] | None:
    """Return the columns that `tracer.etl.records.read_headers` returns; None where the providers are too many."""
    count = len(start)
    facts: dict[str, np.ndarray] = {
        "payload": np.empty(count, np.int64),
        "tid": np.empty(count, np.int64),
        "pid": np.empty(count, np.int64),
        "id": np.empty(count, np.int32),
        "version": np.empty(count, np.int16),
        "opcode": np.empty(count, np.int16),
        "items": np.empty(count, np.int64),
        "pointer_size": np.empty(count, np.uint8),
        "provider": np.empty(count, np.int32),
    }
    low, high = np.empty(_MOST_GUIDS, np.uint64), np.empty(_MOST_GUIDS, np.uint64)
    distinct = _read(
        raw.view(np.uint64), start, kind, PAYLOAD_AT, POINTER_SIZES, GUID_AT, low, high, *facts.values()
    )
    if distinct > _MOST_GUIDS:
        return None
    guids = zip(low[:distinct].tolist(), high[:distinct].tolist(), strict=True)
    numbers = [providers.number(guid_text(a, b)) for a, b in guids]
    facts["provider"] = np.array([*numbers, _NOBODY], np.int32).take(facts["provider"])
    return facts


@kernel
def _read(
    longs, start, kind, payload_at, pointer_sizes, guid_at, low, high,
    payload, tid, pid, id_, version, opcode, items, pointer_size, provider,
):  # fmt: skip
    distinct = 0
    known = 0
    for row in range(len(start)):
        begin, its_kind = start[row], kind[row]
        at = begin >> 3
        first, threads, descriptor = np.int64(longs[at]), np.int64(longs[at + 1]), np.int64(longs[at + 5])
        body = begin + payload_at[its_kind]
        payload[row], pointer_size[row] = body, pointer_sizes[its_kind]
        tid[row], pid[row] = threads & 0xFFFFFFFF, threads >> 32 & 0xFFFFFFFF
        id_[row] = descriptor & 0xFFFF
        version[row], opcode[row] = descriptor >> 16 & 0xFF, descriptor >> 40 & 0xFF
        items[row] = body if first >> 32 & _EXTENDED_INFO else -1
        if guid_at[its_kind] < 0:
            provider[row] = _NOBODY
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
        provider[row] = known
    return distinct
