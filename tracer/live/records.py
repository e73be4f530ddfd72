"""Copies of EVENT_RECORDs made by a consumer's callback, packed into a batch of `tracer.etl.records.Records`.

The copies are packed the way a file holds them (EVENT_HEADER, or FULL for classic events), so that headers,
extended items and payloads are read by the one code that reads files.

Facts: EVENT_RECORD, EVENT_HEADER and ETW_BUFFER_CONTEXT of the Windows SDK documentation; a classic event
arrives with its class GUID as ProviderId and its type as Opcode, and Flags say CLASSIC_HEADER.
"""

import time
from collections.abc import Callable
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import stable_argsort
from tracer.diagnostics import Diagnostics
from tracer.etl.extended import BAD, NO_ITEMS, read_items
from tracer.etl.headers import EVENT_MARK
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.etl.providers import CLASSIC_PROCESS, CLASSIC_REGISTRY, ProviderTable, guid_text
from tracer.etl.records import Records, read_header_columns
from tracer.session.raw_queue import RawRecord

__all__ = ["RECORD_BYTES", "RawRecord", "ReorderWindow", "record_times", "records_from_raw"]

RECORD_BYTES = 112  # EVENT_RECORD of a 64-bit process; of it the first 88 bytes are read
_HEADER, _FULL = 80, 48  # bytes of an EVENT_HEADER and of an EVENT_TRACE_HEADER
_EVENT32, _EVENT64, _FULL32, _FULL64 = 0x12, 0x13, 0x0A, 0x14
_EXTENDED_INFO, _WIDTH32, _CLASSIC, _CPU_INDEX = 0x1, 0x20, 0x100, 0x200  # EVENT_HEADER.Flags
_NOBODY = 0xFFFFFFFF  # thread and process of a record that the kernel logged for no thread
_SPARE = 128  # readable bytes behind the last record, so that header gathers stay inside
_PADDING = tuple(bytes(-size & 7) for size in range(8))
_ITEM = 8  # bytes before an extended item's data
_PATIENCE = 3.0  # seconds: buffers are handed over each second at the latest (FlushTimer)
_LARGEST = 0xFFFF  # what the Size field of a record can say; a session logs nothing larger


def records_from_raw(
    raw: list[RawRecord], providers: ProviderTable, order: int, diagnostics: Diagnostics | None = None
) -> Records:
    """Return the copies as a batch in time order; records of the same time keep the order in which they came.

    Args:
        raw: what the consumer handed over, in any order.
        providers: where providers are numbered.
        order: how many records came before this batch; `Records.offset` counts on from it.
        diagnostics: where extended items that make no sense are counted.
    """
    heads = _heads(raw)
    offset = np.arange(order, order + len(raw), dtype=np.int64)
    times = _times(heads)
    if len(times) > 1 and (times[1:] < times[:-1]).any():
        rank = np.argsort(times, kind="stable")
        raw = [raw[place] for place in rank.tolist()]
        heads, times, offset = heads[rank], times[rank], offset[rank]
    packed, start, end, kind = _pack(raw, heads)
    facts = read_header_columns(packed, start, kind, end, providers)
    nobody = (facts["pid"] == _NOBODY) & (facts["tid"] == _NOBODY)
    facts["pid"][nobody] = facts["tid"][nobody] = -1
    items = NO_ITEMS
    if (facts["items"] >= 0).any():
        items, payload, bad = read_items(packed, facts["items"], end)
        facts["payload"] = np.where(payload >= 0, payload, facts["payload"])
        if len(bad):
            facts["items"][bad], facts["payload"][bad] = BAD, end[bad]
            if diagnostics is not None:
                diagnostics.count("odd_extended_items", len(bad))
    return Records(
        raw=packed,
        order=np.arange(len(raw), dtype=np.int64),
        ordered=True,
        start=start,
        end=end,
        kind=kind,
        time_ns=times,
        cpu=_processors(heads),
        source=np.zeros(len(raw), np.int16),
        offset=offset,
        extended=items,
        **facts,
    )


def record_times(raw: list[RawRecord]) -> NDArray[np.int64]:
    """Return the time of each record, UTC nanoseconds."""
    return _times(_heads(raw))


def _heads(raw: list[RawRecord]) -> NDArray[np.uint8]:
    """Return the fixed parts of the records, one per row."""
    joined = b"".join([head for head, _, _ in raw])
    if len(joined) != RECORD_BYTES * len(raw):  # a 32-bit process has shorter pointers at the end
        joined = b"".join([head[:RECORD_BYTES].ljust(RECORD_BYTES, b"\0") for head, _, _ in raw])
    return np.frombuffer(joined, np.uint8).reshape(-1, RECORD_BYTES)


def _column(heads: NDArray[np.uint8], at: int, kind: type[np.generic]) -> NDArray[np.int64]:
    """Return the little-endian integers at offset `at` of every record."""
    size = np.dtype(kind).itemsize
    values: NDArray[np.int64] = (
        np.ascontiguousarray(heads[:, at : at + size]).view(kind)[:, 0].astype(np.int64)
    )
    return values


def _times(heads: NDArray[np.uint8]) -> NDArray[np.int64]:
    return (_column(heads, 0x10, np.int64) - FILETIME_EPOCH) * 100


def _processors(heads: NDArray[np.uint8]) -> NDArray[np.int16]:
    wide = _column(heads, 4, np.uint16) & _CPU_INDEX != 0
    number = np.where(wide, _column(heads, 80, np.uint16), _column(heads, 80, np.uint8))
    return number.astype(np.int16)


def _pack(
    raw: list[RawRecord], heads: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Return the records as bytes of a file, with start, end and header type of each."""
    count = len(raw)
    flags = _column(heads, 4, np.uint16)
    classic = (flags & _CLASSIC != 0) | _is_classic_class(heads)
    narrow = flags & _WIDTH32 != 0  # neither width is said: the records of our own system, 64 bits
    kind = np.where(classic, np.where(narrow, _FULL32, _FULL64), np.where(narrow, _EVENT32, _EVENT64))
    has_items = np.fromiter((bool(items) for _, _, items in raw), bool, count) & ~classic
    pieces = [head[:_HEADER] for head, _, _ in raw]
    lengths = np.full(count, _HEADER, np.int64)
    for row in np.flatnonzero(classic).tolist():
        head = pieces[row]
        pieces[row] = head[:0x28] + head[0x38:0x40]  # thread to GUID stand alike; then the times spent
        lengths[row] = _FULL
    for row in np.flatnonzero(has_items).tolist():
        pieces[row] += _pack_items(raw[row][2])
        lengths[row] = len(pieces[row])
    datas = [data for _, data, _ in raw]
    sizes = lengths + np.fromiter(map(len, datas), np.int64, count)
    padding = [_PADDING[rest] for rest in (sizes & 7).tolist()]
    joined = bytearray().join(
        chain(chain.from_iterable(zip(pieces, datas, padding, strict=True)), [bytes(_SPARE)])
    )
    packed = np.frombuffer(joined, np.uint8)
    room = sizes + 7 & ~7
    start = np.cumsum(room) - room
    first = np.minimum(sizes, _LARGEST) | kind << 16 | EVENT_MARK << 24
    opcode, level, version = (_column(heads, at, np.uint8) for at in (0x2D, 0x2C, 0x2A))
    header_flags = flags & ~_EXTENDED_INFO | has_items * _EXTENDED_INFO | _column(heads, 6, np.uint16) << 16
    high = np.where(classic, opcode | level << 8 | version << 16, header_flags)
    packed.view(np.uint64)[start >> 3] = (first | high << 32).view(np.uint64)
    return packed, start, start + sizes, kind.astype(np.uint8)


def _is_classic_class(heads: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which records belong to the kernel logger's own classes, regardless of their flags."""
    guids = np.ascontiguousarray(heads[:, 0x18:0x28]).view(np.uint64)
    matches = np.zeros(len(heads), bool)
    for low, high in _CLASSIC_GUIDS:
        matches |= (guids[:, 0] == low) & (guids[:, 1] == high)
    return matches


def _guid_halves(text: str) -> tuple[np.uint64, np.uint64]:
    """Return a GUID as the two little-endian quadwords of its 16 bytes."""
    one, two, three, *rest = text.split("-")
    low = int(one, 16) | int(two, 16) << 32 | int(three, 16) << 48
    return np.uint64(low), np.uint64(int.from_bytes(bytes.fromhex("".join(rest)), "little"))


_CLASSIC_GUIDS = [_guid_halves(guid) for guid in (CLASSIC_REGISTRY, CLASSIC_PROCESS)]
assert guid_text(*map(int, _CLASSIC_GUIDS[0])) == CLASSIC_REGISTRY


def _pack_items(items: tuple[tuple[int, bytes], ...]) -> bytes:
    """Return extended items as bytes of a file: each is 8-aligned, and bit 0 says that another follows."""
    out = []
    for number, (kind, data) in enumerate(items):
        data = data[:_LARGEST]
        follows = number + 1 < len(items)
        size = _ITEM + len(data)
        head = (size + 7 & ~7 & _LARGEST, kind & _LARGEST, int(follows), len(data))
        out.append(b"".join(value.to_bytes(2, "little") for value in head) + data + _PADDING[size & 7])
    return b"".join(out)


class ReorderWindow:
    """Holds records back for a while, because older ones of another processor may still arrive.

    Args:
        window_ns: how much older than the newest one a record must be to be released.
        most_records: how many are held at most; beyond it the oldest are released.
        clock: seconds that only rise; after `window_ns` in which nothing came, everything is released.

    Attributes:
        late: records that came after newer ones had been released.
    """

    def __init__(
        self,
        window_ns: int = 200_000_000,
        *,
        most_records: int = 200_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._window_ns, self._most, self._clock = window_ns, most_records, clock
        self._held: list[RawRecord] = []
        self._times = np.empty(0, np.int64)
        self._last_came = clock()
        self._released_ns = np.iinfo(np.int64).min
        self.late = 0

    def __len__(self) -> int:
        return len(self._held)

    def push(self, raw: list[RawRecord], *, hold_until_ns: int | None = None) -> list[RawRecord]:
        """Take records, and return those that are released now, in time order.

        Args:
            raw: what came, perhaps nothing.
            hold_until_ns: nothing is released before something newer than this came.
        """
        now = self._clock()
        if raw:
            times = record_times(raw)
            self.late += int((times < self._released_ns).sum())
            self._held = self._held + raw
            self._times = np.concatenate([self._times, times])
        patience = self._window_ns / 1e9 if hold_until_ns is None else max(_PATIENCE, self._window_ns / 1e9)
        quiet = not raw and now - self._last_came >= patience
        if raw:
            self._last_came = now
        if not self._held:
            return []
        if quiet:
            return self.flush()
        newest = int(self._times.max())
        horizon = newest - self._window_ns
        if hold_until_ns is not None and horizon <= hold_until_ns:
            horizon = np.iinfo(np.int64).min
        return self._release(horizon)

    def flush(self, most: int | None = None) -> list[RawRecord]:
        """Return everything that is held, or the `most` oldest, in time order."""
        return self._release(np.iinfo(np.int64).max, most)

    def _release(self, horizon: int, most: int | None = None) -> list[RawRecord]:
        order = stable_argsort(self._times - self._times.min()) if len(self._times) else np.empty(0, np.int64)
        count = int((self._times < horizon).sum())
        count = len(order) if horizon == np.iinfo(np.int64).max else max(count, len(order) - self._most)
        count = count if most is None else min(count, most)
        if not count:
            return []
        gone, later = order[:count], np.sort(order[count:])
        self._released_ns = max(self._released_ns, int(self._times[gone].max()))
        released = [self._held[place] for place in gone.tolist()]
        self._held = [self._held[place] for place in later.tolist()]
        self._times = self._times[later]
        return released
