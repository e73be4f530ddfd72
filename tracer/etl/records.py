"""Records: a batch of raw events with the facts their headers state, as columns."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.etl.extended import Items
from tracer.etl.headers import GUID_AT, HEADERS, HOOK, MESSAGE, PAYLOAD_AT, POINTER_SIZES, THREAD_AT
from tracer.etl.providers import CLASSIC_PROCESS, CLASSIC_REGISTRY, ProviderTable, guid_text

__all__ = ["ReadHeaders", "Records", "message_time_at", "read_header_columns", "read_headers"]

Column = NDArray[np.int64]
ReadHeaders = Callable[[NDArray[np.uint8], Column, NDArray[np.uint8], ProviderTable], dict[str, np.ndarray]]
HOOK_CLASSES = {0x03: CLASSIC_PROCESS, 0x09: CLASSIC_REGISTRY}  # hook group -> class GUID


@dataclass(frozen=True, slots=True)
class Records:
    """Raw records in position order, or in time order; every column has one row a record.

    Attributes:
        raw: the bytes that positions point into, 8-aligned, with spare bytes after the last record.
        order: permutation that puts the rows in time order (ties by source and offset).
        ordered: whether they are in time order already.
        start, end: where a record lies in `raw`; `payload` where its payload starts (it runs to `end`).
        order_ns: what the rows are ordered by where that is not `time_ns` (a clock was set back); else None.
        kind: header type. time_ns: UTC. cpu, source: as stored. offset: place in the source file.
        pid, tid: -1 where the header has none. id: -1 for classic records. opcode, version.
        provider: index into the reader's ProviderTable. pointer_size: 4 or 8.
        items: position of the first extended item, -1 where the record has none, extended.BAD where the
            chain does not fit the record (its payload then counts as empty).
        extended: all extended items.
    """

    raw: NDArray[np.uint8]
    order: Column
    start: Column
    end: Column
    payload: Column
    kind: NDArray[np.uint8]
    time_ns: Column
    cpu: NDArray[np.int16]
    source: NDArray[np.int16]
    offset: Column
    pid: Column
    tid: Column
    provider: NDArray[np.int32]
    id: NDArray[np.int32]
    opcode: NDArray[np.int16]
    version: NDArray[np.int16]
    pointer_size: NDArray[np.uint8]
    items: Column
    extended: Items
    ordered: bool
    order_ns: Column | None = None

    def __len__(self) -> int:
        return len(self.start)


_IS_HOOK = np.array([kind in HOOK for kind in range(256)])
_EVENT_HEADERS = np.array(
    [HEADERS[kind].name.startswith("EVENT_HEADER") if kind in HEADERS else False for kind in range(256)]
)
_INSTANCES = np.array(
    [HEADERS[kind].name.startswith("INSTANCE") if kind in HEADERS else False for kind in range(256)]
)
_FEW = 32  # distinct GUIDs a chunk that are worth a vectorised turn each
_EXTENDED_INFO = 1  # EVENT_HEADER.Flags


def read_headers(
    raw: NDArray[np.uint8], start: Column, kind: NDArray[np.uint8], providers: ProviderTable
) -> dict[str, np.ndarray]:
    """Return the facts of records as if all were EVENT_HEADERs, and the provider of those that have a GUID."""
    longs = raw.view(np.uint64)
    first, ids, descriptor = (longs.take(start + at >> 3) for at in (0, 0x08, 0x28))
    threads = ids.view(np.uint32)
    payload = start + PAYLOAD_AT.take(kind)
    extended = first.view(np.uint16)[2::4] & _EXTENDED_INFO != 0
    facts: dict[str, np.ndarray] = {
        "payload": payload,
        "tid": threads[0::2].astype(np.int64),
        "pid": threads[1::2].astype(np.int64),
        "id": descriptor.view(np.uint16)[0::4].astype(np.int32),
        "version": descriptor.view(np.uint8)[2::8].astype(np.int16),
        "opcode": descriptor.view(np.uint8)[5::8].astype(np.int16),
        "items": np.where(extended, payload, -1),
        "pointer_size": POINTER_SIZES.take(kind),
        "provider": np.empty(len(start), np.int32),
    }
    with_guid = np.flatnonzero(GUID_AT.take(kind) >= 0)
    _number_guids(facts["provider"], with_guid, longs, start.take(with_guid), providers)
    return facts


def read_header_columns(
    raw: NDArray[np.uint8],
    start: Column,
    kind: NDArray[np.uint8],
    end: Column,
    providers: ProviderTable,
    read: ReadHeaders = read_headers,
) -> dict[str, np.ndarray]:
    """Return the columns of Records that the record headers themselves state, for records in any order.

    Every record is read as an EVENT_HEADER first, by `read` (`read_headers` or its compiled twin), which most are;
    the others are then read as what they are. `raw` reaches far enough behind the last record for that.
    """
    facts = read(raw, start, kind, providers)
    others = np.flatnonzero(~_EVENT_HEADERS.take(kind))
    if len(others):
        first = raw.view(np.uint64).take(start.take(others) >> 3)
        _read_others(facts, raw, start, kind, end, others, first)
        for name, rows in _nameless(kind, others, first):
            facts["provider"][rows] = providers.number(name)
    np.minimum(facts["payload"], end, out=facts["payload"])
    return facts


def _read_others(
    facts: dict[str, np.ndarray],
    raw: NDArray[np.uint8],
    start: Column,
    kind: NDArray[np.uint8],
    end: Column,
    rows: Column,
    first: NDArray[np.uint64],
) -> None:
    """Correct the facts of records that are no EVENT_HEADER; `first` is their first quadword."""
    kinds = kind[rows]
    hook = _IS_HOOK[kinds]
    nobody = rows[THREAD_AT[kinds] < 0]
    facts["tid"][nobody] = facts["pid"][nobody] = facts["id"][rows] = facts["items"][rows] = -1
    # FULL and INSTANCE: Type at 4, Version at 6. Hooks: Version at 0, Type at 6, Group at 7.
    facts["opcode"][rows] = first >> np.where(hook, np.uint64(48), np.uint64(32)) & np.uint64(0xFF)
    facts["version"][rows] = (
        np.where(hook, first & np.uint64(0xFF), first >> np.uint64(48)).astype(np.uint16).view(np.int16)
    )
    # A hook's high byte of word 0 says what stands between header and payload: PEBS index, counters.
    extra = (first >> np.uint64(8) & np.uint64(0xFF)).astype(np.int64)
    facts["payload"][rows] += np.where(hook, 8 * ((extra >> 7) + (extra & 7)), 0)
    short = rows[_INSTANCES[kinds] & (facts["payload"][rows] > end[rows])]
    facts["payload"][short] = start[short] + HEADERS[0x15].smallest
    if (kinds == MESSAGE).any():
        _read_messages(facts, raw.view(np.uint32), raw.view(np.uint16), start, kind == MESSAGE, end)


def _number_guids(
    out: NDArray[np.int32], rows: Column, longs: NDArray[np.uint64], start: Column, providers: ProviderTable
) -> None:
    """Number the GUIDs of `rows`, one turn a distinct GUID while they are few."""
    low, high = longs.take(start + 0x18 >> 3), longs.take(start + 0x20 >> 3)
    for _ in range(_FEW):
        if not len(rows):
            return
        same = (low == low[0]) & (high == high[0])
        out[rows[same]] = providers.number(guid_text(int(low[0]), int(high[0])))
        rows, low, high = rows[~same], low[~same], high[~same]
    for row, a, b in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True):
        out[row] = providers.number(guid_text(a, b))


def _nameless(
    kind: NDArray[np.uint8], others: Column, first: NDArray[np.uint64]
) -> Iterator[tuple[str, Column]]:
    """Yield what stands for a provider in records that name none, and their rows; `first` is one of `others` each."""
    nameless = GUID_AT[kind.take(others)] < 0
    others, first = others[nameless], first[nameless]
    kinds = kind[others]
    hook = _IS_HOOK[kinds]
    hooks, groups = others[hook], first[hook] >> np.uint64(56)
    for group in np.flatnonzero(np.bincount(groups.astype(np.intp))).tolist():
        yield HOOK_CLASSES.get(group, f"hook-group-0x{group:02x}"), hooks[groups == group]
    if len(hooks) < len(others):
        yield "wpp-message", others[kinds == MESSAGE]
        yield "error-record", others[~_IS_HOOK[kinds] & (kinds != MESSAGE)]


def message_time_at(options: Column) -> Column:
    """Return where a WPP message's time stamp stands in its record, from its options."""
    return 8 + 4 * (options & 1) + np.where(options & 4, 4, np.where(options & 2, 16, 0))


def _read_messages(
    facts: dict[str, np.ndarray],
    words: NDArray[np.uint32],
    halves: NDArray[np.uint16],
    start: Column,
    mine: NDArray[np.bool_],
    end: Column,
) -> None:
    """Fill in WPP messages: options say which of sequence, id, time stamp and thread are there."""
    at = start[mine]
    options = halves[(at >> 1) + 3].astype(np.int64)
    cursor = at + message_time_at(options) + np.where(options & 8, 8, 0)
    threads = (options & 0x20 != 0) & (cursor + 8 <= end[mine])
    safe = np.where(threads, cursor, at) >> 2
    facts["tid"][mine] = np.where(threads, words[safe].astype(np.int64), -1)
    facts["pid"][mine] = np.where(threads, words[safe + 1].astype(np.int64), -1)
    cut = (options & 0x20 != 0) & ~threads  # what the options promise is not there, so neither is a payload
    facts["payload"][mine] = np.where(cut, end[mine], cursor + np.where(threads, 8, 0))
    facts["opcode"][mine] = 0
    facts["version"][mine] = 0
    facts["id"][mine] = halves[(at >> 1) + 2]  # MessageNumber
    facts["pointer_size"][mine] = np.where(options & 0x40, 4, 8)
