"""Extended items between an EVENT_HEADER and its payload: where each is, and where the payload starts.

Item: u16 TotalSize, u16 ExtType, u16 whose bit 0 says that another item follows, u16 DataSize, data. On
every real file TotalSize equals the aligned 8 + DataSize; so the next item is found by DataSize.
"""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BAD",
    "EVENT_KEY",
    "NO_ITEMS",
    "PROCESS_START_KEY",
    "SID",
    "STACK32",
    "STACK64",
    "TERMINAL_SESSION",
    "Items",
    "gather_items",
    "read_items",
]

SID, TERMINAL_SESSION, STACK32, STACK64 = 2, 3, 5, 6
EVENT_KEY, PROCESS_START_KEY = 0x0A, 0x0D
BAD = -2  # in Records.items: the chain does not fit the record
Column = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Items:
    """Every extended item of a batch: the record's row, the item's ExtType, and its data in `raw`."""

    row: Column
    kind: NDArray[np.int32]
    start: Column
    size: Column

    def __len__(self) -> int:
        return len(self.row)


NO_ITEMS = Items(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64))


def read_items(raw: NDArray[np.uint8], first: Column, end: Column) -> tuple[Items, Column, Column]:
    """Follow the chains that begin at `first` (-1: none).

    Returns the items, the payload start of every record that has a chain (-1 elsewhere), and the rows whose
    chain does not fit the record.
    """
    rows = np.flatnonzero(first >= 0)
    payload = np.full(len(first), -1, np.int64)
    halves = raw.view(np.uint16)
    found: list[tuple[Column, NDArray[np.int32], Column, Column]] = []
    bad: list[Column] = []
    at = first[rows]
    while len(rows):
        fits = at + 8 <= end[rows]
        size = halves[(np.where(fits, at, 0) >> 1) + 3].astype(np.int64)
        after = at + (8 + size + 7 & ~7)
        # The last item's padding may reach past the record where nothing follows it.
        fits &= at + 8 + size <= end[rows]
        bad.append(rows[~fits])
        rows, at, size, after = rows[fits], at[fits], size[fits], after[fits]
        found.append((rows, halves[(at >> 1) + 1].astype(np.int32), at + 8, size))
        more = halves[(at >> 1) + 2] & 1 != 0
        done = rows[~more]
        payload[done] = np.minimum(after[~more], end[done])
        rows, at = rows[more], after[more]
    items = Items(*(np.concatenate(column) for column in zip(*found, strict=True))) if found else NO_ITEMS
    return items, payload, np.concatenate(bad) if bad else np.empty(0, np.int64)


def gather_items(raw: NDArray[np.uint8], items: Items, numbers: Column) -> "list[pa.Table]":
    """Return the items of event rows as the table `extended`; `numbers` is each record's sequence or -1."""
    from tracer.columns.arrays import from_rows
    from tracer.schema import EXTENDED

    kept = (numbers[items.row] >= 0) & np.isin(items.kind, list(_KEPT))
    if not kept.any():
        return []
    rows: dict[int, dict[str, object]] = {}
    chosen = zip(
        items.row[kept].tolist(),
        items.kind[kept].tolist(),
        items.start[kept].tolist(),
        items.size[kept].tolist(),
        strict=True,
    )
    for row, kind, start, size in chosen:
        value = _read_item(kind, raw[start : start + size].tobytes())
        if value is not None:
            rows.setdefault(int(numbers[row]), {})[_KEPT[kind]] = value
    table = [{"sequence": sequence, **values} for sequence, values in sorted(rows.items())]
    return [from_rows(table, EXTENDED.arrow())]


_KEPT = {
    SID: "sid",
    TERMINAL_SESSION: "session_id",
    STACK32: "stack",
    STACK64: "stack",
    EVENT_KEY: "event_key",
    PROCESS_START_KEY: "process_start_key",
}


def _read_item(kind: int, data: bytes) -> object:
    """Return one item's value; None where it is too short for its kind."""
    if kind == SID:
        if len(data) < 8 or len(data) < 8 + 4 * data[1]:
            return None
        parts = struct.unpack_from(f"<{data[1]}I", data, 8)
        return "-".join(["S", str(data[0]), str(int.from_bytes(data[2:8], "big")), *map(str, parts)])
    if kind == TERMINAL_SESSION:
        return int.from_bytes(data[:4], "little") if len(data) >= 4 else None
    if kind in (STACK32, STACK64):  # behind a u64 MatchId
        width = "I" if kind == STACK32 else "q"
        size = struct.calcsize(width)
        return (
            list(struct.unpack_from(f"<{(len(data) - 8) // size}{width}", data, 8))
            if len(data) >= 8
            else None
        )
    return int.from_bytes(data[:8], "little", signed=True) if len(data) >= 8 else None
