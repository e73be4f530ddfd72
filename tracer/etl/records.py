"""Records: a batch of raw events with the facts their headers state, as columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.decode.layouts import CLASSIC_PROCESS, CLASSIC_REGISTRY
from tracer.etl.extended import Items
from tracer.etl.headers import HEADERS, HOOK, MESSAGE

__all__ = ["ProviderTable", "Records", "message_time_at", "read_facts"]

Column = NDArray[np.int64]
HOOK_CLASSES = {0x03: CLASSIC_PROCESS, 0x09: CLASSIC_REGISTRY}  # hook group -> class GUID


class ProviderTable:
    """Providers met so far, numbered: GUID text, or what stands for one where a header has none."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """Return the number of `name`, given now if it is new."""
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]


@dataclass(frozen=True, slots=True)
class Records:
    """Raw records in position order; every column has one row a record.

    Attributes:
        raw: the bytes that positions point into, 8-aligned, with spare bytes after the last record.
        order: permutation that puts the rows in time order (ties by source and offset).
        start, end: where a record lies in `raw`; `payload` where its payload starts (it runs to `end`).
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

    def __len__(self) -> int:
        return len(self.start)


def _by_kind(attribute: str, absent: int = 0) -> Column:
    table = np.full(256, absent, np.int64)
    for kind, header in HEADERS.items():
        value = getattr(header, attribute)
        table[kind] = absent if value is None else value
    return table


_PAYLOAD = _by_kind("payload")
_THREAD = _by_kind("thread", -1)
_GUID = _by_kind("guid", -1)
_POINTER = _by_kind("pointer_size").astype(np.uint8)
_IS_HOOK = np.array([kind in HOOK for kind in range(256)])
_EVENT_HEADERS = np.array([HEADERS[kind].name.startswith("EVENT_HEADER") if kind in HEADERS else False for kind in range(256)])
_INSTANCES = np.array([HEADERS[kind].name.startswith("INSTANCE") if kind in HEADERS else False for kind in range(256)])
_FEW = 32  # distinct GUIDs a chunk that are worth a vectorised turn each
_EXTENDED_INFO = 1  # EVENT_HEADER.Flags


def read_facts(raw: NDArray[np.uint8], start: Column, kind: NDArray[np.uint8], end: Column, providers: ProviderTable) -> dict[str, np.ndarray]:
    """Return the columns of Records that the record headers themselves state, for records in any order."""
    words, halves, longs = raw.view(np.uint32), raw.view(np.uint16), raw.view(np.uint64)
    payload = start + _PAYLOAD[kind]
    has_thread = _THREAD[kind] >= 0
    ids = longs[(start + np.where(has_thread, 8, 0)) >> 3]
    tid = np.where(has_thread, (ids & np.uint64(0xFFFFFFFF)).astype(np.int64), -1)
    pid = np.where(has_thread, (ids >> np.uint64(32)).astype(np.int64), -1)
    first = longs[start >> 3]
    is_event = _EVENT_HEADERS[kind]
    is_hook = _IS_HOOK[kind]
    # FULL and INSTANCE: Type at 4, Version at 6. Hooks: Version at 0, Type at 6, Group at 7.
    opcode = (first >> np.where(is_hook, np.uint64(48), np.uint64(32)) & np.uint64(0xFF)).astype(np.int16)
    version = np.where(is_hook, first & np.uint64(0xFF), first >> np.uint64(48)).astype(np.int16)
    id_ = np.full(len(start), -1, np.int32)
    items = np.full(len(start), -1, np.int64)
    if is_event.any():
        at = start[is_event]
        descriptor = longs[at + 0x28 >> 3]
        id_[is_event] = descriptor & np.uint64(0xFFFF)
        version[is_event] = descriptor >> np.uint64(16) & np.uint64(0xFF)
        opcode[is_event] = descriptor >> np.uint64(40) & np.uint64(0xFF)
        extended = (words[at + 4 >> 2] & _EXTENDED_INFO).astype(bool)
        if extended.any():
            rows = np.flatnonzero(is_event)[extended]
            items[rows] = payload[rows]
    facts: dict[str, np.ndarray] = {
        "payload": payload,
        "pid": pid,
        "tid": tid,
        "id": id_,
        "opcode": opcode,
        "version": version,
        "items": items,
        "pointer_size": _POINTER[kind],
        "provider": _providers(longs, first, start, kind, providers),
    }
    if is_hook.any():
        # The high byte of word 0 says what stands between header and payload: PEBS index, counters.
        extra = (first >> np.uint64(8) & np.uint64(0xFF)).astype(np.int64)
        facts["payload"] = payload + np.where(is_hook, 8 * ((extra >> 7) + (extra & 7)), 0)
    if (kind == MESSAGE).any():
        _read_messages(facts, words, halves, start, kind == MESSAGE, end)
    short_instance = _INSTANCES[kind] & (facts["payload"] > end)
    if short_instance.any():
        facts["payload"] = np.where(short_instance, start + 0x38, facts["payload"])
    facts["payload"] = np.minimum(facts["payload"], end)
    return facts


def _providers(longs: NDArray[np.uint64], first: NDArray[np.uint64], start: Column, kind: NDArray[np.uint8], providers: ProviderTable) -> NDArray[np.int32]:
    out = np.empty(len(start), np.int32)
    has_guid = _GUID[kind] >= 0
    rows = np.flatnonzero(has_guid)
    if len(rows):
        low, high = longs[start[rows] + 0x18 >> 3], longs[start[rows] + 0x20 >> 3]
        mixed = low ^ (high << np.uint64(1) | high >> np.uint64(63))
        open_rows = np.ones(len(rows), bool)
        for _ in range(_FEW):  # one turn a distinct GUID; two GUIDs that mix alike stay apart
            if not open_rows.any():
                break
            representative = int(np.argmax(open_rows))
            same = mixed == mixed[representative]
            same &= (low == low[representative]) & (high == high[representative])
            out[rows[same]] = providers.number(guid_text(int(low[representative]), int(high[representative])))
            open_rows &= ~same
        for row, a, b in zip(rows[open_rows].tolist(), low[open_rows].tolist(), high[open_rows].tolist(), strict=True):
            out[row] = providers.number(guid_text(a, b))
    for number in np.unique(first[~has_guid] >> np.uint64(56)) if len(rows) < len(start) else ():
        group = int(number)
        name = HOOK_CLASSES.get(group, f"hook-group-0x{group:02x}")
        out[~has_guid & _IS_HOOK[kind] & (first >> np.uint64(56) == number)] = providers.number(name)
    others = ~has_guid & ~_IS_HOOK[kind]
    if others.any():
        out[others & (kind == MESSAGE)] = providers.number("wpp-message")
        out[others & (kind != MESSAGE)] = providers.number("error-record")
    return out


def guid_text(low: int, high: int) -> str:
    """Return the GUID whose 16 bytes (mixed-endian, as on disk) are the two little-endian quadwords."""
    tail = high.to_bytes(8, "little").hex()
    return f"{low & 0xFFFFFFFF:08x}-{low >> 32 & 0xFFFF:04x}-{low >> 48:04x}-{tail[:4]}-{tail[4:]}"


def message_time_at(options: Column) -> Column:
    """Return where a WPP message's time stamp stands in its record, from its options."""
    return 8 + 4 * (options & 1) + np.where(options & 4, 4, np.where(options & 2, 16, 0))


def _read_messages(facts: dict[str, np.ndarray], words: NDArray[np.uint32], halves: NDArray[np.uint16], start: Column, mine: NDArray[np.bool_], end: Column) -> None:
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
