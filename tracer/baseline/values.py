"""The values of a hive's keys as columns, batch by batch, and what of them could not be read."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.baseline.cells import CELL, NO_CELL, Cells
from tracer.baseline.image import BASE_BLOCK
from tracer.baseline.walk import HiveKeys
from tracer.diagnostics import Diagnostics
from tracer.registry.text import escape_name

__all__ = ["HiveValues", "read_classes", "read_values"]

Offsets = NDArray[np.int64]

# Of a value's cell, from its own beginning: the size, then `vk`.
_NAME_BYTES, _SIZE, _DATA, _TYPE, _FLAGS, _NAME = 6, 8, 12, 16, 20, 24
_LATIN = 1
_LEAST_VALUE = _NAME - CELL
_INLINE = 0x8000_0000  # in the size: the data stands in place of its offset
_MOST_INLINE = 4
_SEGMENT = 16_344  # bytes of a segment of larger data
_BIG = b"db"
_BATCH_KEYS = 20_000
_BATCH_VALUES = 50_000
_BATCH_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class HiveValues:
    """Some values of a hive.

    Attributes:
        key: row of the key.
        names: escaped; empty is the default value.
        kinds: types.
        sizes: bytes that the value states.
        data: its bytes; None where they could not be read, and where there are none.
    """

    key: Offsets
    names: list[str]
    kinds: NDArray[np.uint32]
    sizes: NDArray[np.uint32]
    data: list[bytes | None]


def read_values(
    cells: Cells, keys: HiveKeys, knows_values: NDArray[np.bool_], found: Diagnostics
) -> Iterator[HiveValues]:
    """Yield the values of all keys, in the order of the keys and of their lists.

    Args:
        cells: the cells; those of values and of their data are taken.
        keys: the keys.
        knows_values: becomes False where not every value that a key states was read; one a key.
        found: counts what could not be read, with its offset in the file.
    """
    for start in range(0, len(keys), _BATCH_KEYS):
        rows = np.arange(start, min(start + _BATCH_KEYS, len(keys)))
        at, key, short = _listed(cells, keys, rows[keys.values[rows] > 0])
        _count(found, "hive_bad_list", keys.at[short])
        knows_values[short] = False
        sound = cells.take(at, _LEAST_VALUE, (b"vk",))
        length = np.zeros(len(at), np.int64)
        length[sound] = cells.read("<u2", at[sound] + _NAME_BYTES)
        sound[sound] = length[sound] + _LEAST_VALUE <= cells.sizes(at[sound])
        _count(found, "hive_bad_value", at[~sound])
        knows_values[key[~sound]] = False
        at, key, length = at[sound], key[sound], length[sound]
        size = cells.read("<u4", at + _SIZE).astype(np.int64)
        is_inline = size & _INLINE != 0
        size &= _INLINE - 1
        places = _data_places(cells, at, size, is_inline, found)
        ends = np.cumsum(np.where(places >= 0, size, 0))
        first = 0
        while first < len(at):
            base = int(ends[first - 1]) if first else 0
            last = int(np.searchsorted(ends, base + _BATCH_BYTES, "right"))
            last = min(max(last, first + 1), first + _BATCH_VALUES, len(at))
            some = slice(first, last)
            yield HiveValues(
                key=key[some],
                names=_names(cells, at[some], length[some]),
                kinds=cells.read("<u4", at[some] + _TYPE),
                sizes=size[some].astype(np.uint32),
                data=_data(cells, places[some], size[some], at[some], found),
            )
            first = last


def read_classes(cells: Cells, keys: HiveKeys, found: Diagnostics) -> list[str | None]:
    """Return the class name of each key, escaped; None where it has none, and where it cannot be read."""
    classes: list[str | None] = [None] * len(keys)
    rows = np.flatnonzero((keys.class_bytes > 0) & (keys.class_at != NO_CELL))
    at, size = keys.class_at[rows], keys.class_bytes[rows]
    sound = cells.take(at, 1)
    sound[sound] = size[sound] <= cells.sizes(at[sound])
    _count(found, "hive_bad_class", keys.at[rows[~sound]])
    for row, start, length in zip(
        rows[sound].tolist(), (at[sound] + CELL).tolist(), size[sound].tolist(), strict=True
    ):
        raw = cells.bins[start : start + (length & ~1)]
        classes[row] = escape_name(raw.decode("utf-16-le", "surrogatepass"))
    return classes


def _listed(cells: Cells, keys: HiveKeys, rows: Offsets) -> tuple[Offsets, Offsets, Offsets]:
    """Return the offsets of the values of some keys, the key of each, and the keys whose list is not whole."""
    lists, stated = keys.value_list[rows], keys.values[rows]
    sound = cells.take(lists, 4)
    count = np.zeros(len(rows), np.int64)
    count[sound] = np.minimum(stated[sound], cells.sizes(lists[sound]) // 4)
    ends = np.cumsum(count)
    steps = np.arange(int(count.sum())) - np.repeat(ends - count, count)
    at = cells.read("<u4", np.repeat(lists, count) + CELL + 4 * steps).astype(np.int64)
    return at, np.repeat(rows, count), rows[count < stated]


def _names(cells: Cells, at: Offsets, length: Offsets) -> list[str]:
    latin = (cells.read("<u2", at + _FLAGS) & _LATIN != 0).tolist()
    names = []
    for start, size, is_latin in zip((at + _NAME).tolist(), length.tolist(), latin, strict=True):
        raw = cells.bins[start : start + size]
        names.append(
            escape_name(
                raw.decode("latin-1") if is_latin else raw[: size & ~1].decode("utf-16-le", "surrogatepass")
            )
        )
    return names


def _data_places(
    cells: Cells, at: Offsets, size: Offsets, is_inline: NDArray[np.bool_], found: Diagnostics
) -> Offsets:
    """Return where the data of values begin: in the value itself, in a cell, or (below -1) in segments; -1: nowhere."""
    places = np.where(is_inline & (size <= _MOST_INLINE) & (size > 0), at + _DATA, -1)
    _count(found, "hive_bad_data", at[is_inline & (size > _MOST_INLINE)])
    rows = np.flatnonzero(~is_inline & (size > 0))
    cell = cells.read("<u4", at[rows] + _DATA).astype(np.int64)
    sound = cells.take(cell, 1)
    rows, cell, bad = rows[sound], cell[sound], at[rows[~sound]]
    is_big = (size[rows] > _SEGMENT) & (cells.read("<u2", cell + CELL) == int.from_bytes(_BIG, "little"))
    is_big &= cells.sizes(cell) >= 8
    fits = size[rows] <= cells.sizes(cell)
    places[rows] = np.where(is_big, -2 - cell, np.where(fits, cell + CELL, -1))
    _count(found, "hive_bad_data", np.concatenate([bad, at[rows[~is_big & ~fits]]]))
    return places


def _data(
    cells: Cells, places: Offsets, size: Offsets, at: Offsets, found: Diagnostics
) -> list[bytes | None]:
    data: list[bytes | None] = []
    bins = cells.bins
    for row, (place, length) in enumerate(zip(places.tolist(), size.tolist(), strict=True)):
        if place >= 0:
            data.append(bins[place : place + length])
        elif place == -1:
            data.append(None)
        else:
            data.append(whole := _segments(cells, -2 - place, length))
            if whole is None:
                _count(found, "hive_bad_data", at[row : row + 1])
    return data


def _segments(cells: Cells, at: int, size: int) -> bytes | None:
    """Return data that is cut into segments; None where one of them is missing or short."""
    count = int(cells.read("<u2", np.array([at + CELL + 2]))[0])
    if count != -(-size // _SEGMENT):
        return None
    listed = cells.read("<u4", np.array([at + CELL + 4])).astype(np.int64)
    if not cells.take(listed, 4 * count)[0]:
        return None
    parts = cells.read("<u4", listed + CELL + 4 * np.arange(count)).astype(np.int64)
    lengths = np.minimum(size - _SEGMENT * np.arange(count), _SEGMENT)
    if not cells.take(parts, 1).all() or (cells.sizes(parts) < lengths).any():
        return None
    starts = (parts + CELL).tolist()
    return b"".join(
        cells.bins[start : start + length] for start, length in zip(starts, lengths.tolist(), strict=True)
    )


def _count(found: Diagnostics, name: str, at: Offsets) -> None:
    if len(at):
        found.count(name, len(at), offset=int(at.min()) + BASE_BLOCK)
