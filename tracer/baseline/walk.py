"""The keys of a hive as columns, level by level, and what of them could not be read."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracer.baseline.cells import CELL, Cells
from tracer.baseline.image import BASE_BLOCK
from tracer.diagnostics import Diagnostics
from tracer.registry.text import escape_name

__all__ = ["HiveKeys", "counted", "walk_keys"]

Offsets = NDArray[np.int64]

# Of a key's cell, from its own beginning: the size, then `nk`.
_FLAGS, _WRITTEN, _PARENT, _SUBKEYS, _SUBKEY_LIST = 6, 8, 20, 24, 32
_VALUES, _VALUE_LIST, _CLASS, _NAME_BYTES, _CLASS_BYTES, _NAME = 40, 44, 52, 76, 78, 80
_LATIN = 0x20  # the name has one byte a letter
_PREDEFINED = 0x40  # a handle in place of values
_LEAST_KEY = _NAME - CELL
_STRIDES = {
    b"lf": 8,
    b"lh": 8,
    b"li": 4,
    b"ri": 4,
}  # bytes of an entry; that of lf and lh ends with a hint or hash
_LISTS = tuple(_STRIDES)
_DEEPEST = 512  # levels that the registry allows


@dataclass(slots=True)
class HiveKeys:
    """The keys of a hive; a parent stands before its children.

    Attributes:
        at: offset of the cell.
        parent: row of the parent; -1 for the root.
        names: escaped; the root's means nothing.
        written: last write as a FILETIME.
        values: number of values that it states.
        value_list: offset of their list.
        class_at: offset of its class name; class_bytes: its length.
        knows_subkeys: whether each child that it states was read.
    """

    at: Offsets = field(default_factory=lambda: np.zeros(0, np.int64))
    parent: Offsets = field(default_factory=lambda: np.zeros(0, np.int64))
    names: list[str] = field(default_factory=list)
    written: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    values: Offsets = field(default_factory=lambda: np.zeros(0, np.int64))
    value_list: Offsets = field(default_factory=lambda: np.zeros(0, np.int64))
    class_at: Offsets = field(default_factory=lambda: np.zeros(0, np.int64))
    class_bytes: Offsets = field(default_factory=lambda: np.zeros(0, np.int64))
    knows_subkeys: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def __len__(self) -> int:
        return len(self.at)

    def paths(self) -> list[tuple[str, ...]]:
        """Return the components of each key below the root, for tests and small hives."""
        found: list[tuple[str, ...]] = []
        for parent, name in zip(self.parent.tolist(), self.names, strict=True):
            found.append((*found[parent], name) if parent >= 0 else ())
        return found

    def levels(self) -> Iterator[slice]:
        """Yield the rows of each level below the root, the upper ones first."""
        start, end = 0, 1
        while end < len(self):
            start, end = end, end + int(np.searchsorted(self.parent[end:], end))
            yield slice(start, end)

    def child(self, row: int, name: str) -> int | None:
        """Return the row of a child by its folded name; None where there is none."""
        for one in np.flatnonzero(self.parent == row).tolist():
            if self.names[one].upper() == name.upper():
                return one
        return None

    def find(self, *names: str) -> int | None:
        """Return the row of a key by the names that lead to it; None where there is none."""
        row: int | None = 0 if len(self) else None
        for name in names:
            if row is None:
                return None
            row = self.child(row, name)
        return row


def walk_keys(cells: Cells, root: int, found: Diagnostics) -> HiveKeys:
    """Return the keys below a root.

    A key whose list of children cannot be read gets those children that name it as their parent, as far as they are
    there: it is then known that they are its, and not known that they are all.

    Args:
        cells: the cells; those of the keys and of their lists are taken.
        root: offset of the root key's cell.
        found: counts what could not be read, with its offset in the file.
    """
    at, parent = np.full(1, root, np.int64), np.full(1, -1, np.int64)
    sound = cells.take(at, _LEAST_KEY, (b"nk",))
    _count(found, "hive_bad_key", at[~sound])
    level, _ = _level(cells, at[sound], parent[sound])
    levels, first = [level], 0
    orphans = _Orphans(cells)
    while len(level):
        children, owner = _subkeys(cells, level, found)
        more, more_owner = orphans.of(level.at, level.knows_subkeys)
        _count(found, "hive_lost_keys", more)
        at, parent = np.concatenate([children, more]), np.concatenate([owner, more_owner])
        below, is_named = _level(cells, at, parent)
        if len(levels) > _DEEPEST:
            below, is_named = HiveKeys(), np.zeros(len(at), np.bool_)
        _count(found, "hive_bad_key", at[~is_named])
        level.knows_subkeys[parent[~is_named]] = False
        below.parent += first
        first += len(level)
        level = below
        levels.append(level)
    return _joined(levels)


def counted(found: Diagnostics) -> int:
    """Return how much of a hive could not be read."""
    return sum(times for name, times, _ in found if name.startswith("hive_bad"))


class _Orphans:
    """Keys that name their parent; looked for only where a list of children is damaged."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._at: Offsets | None = None

    def of(self, parents: Offsets, knows_subkeys: NDArray[np.bool_]) -> tuple[Offsets, Offsets]:
        """Return offsets of keys that no list named so far, and the row of their parent among `parents`."""
        rows = np.flatnonzero(~knows_subkeys)
        if not len(rows):
            return np.zeros(0, np.int64), rows
        if self._at is None:
            self._at = self._cells.in_use(b"nk", _LEAST_KEY)
        at = self._at[~self._cells.is_taken(self._at)]
        named = self._cells.read("<u4", at + _PARENT).astype(np.int64)
        order = np.argsort(parents[rows], kind="stable")
        rows = rows[order]
        place = np.searchsorted(parents[rows], named).clip(max=len(rows) - 1)
        is_child = parents[rows[place]] == named
        at = at[is_child]
        taken = self._cells.take(at, _LEAST_KEY, (b"nk",))
        return at[taken], rows[place[is_child]][taken]


def _level(cells: Cells, at: Offsets, parent: Offsets) -> tuple[HiveKeys, NDArray[np.bool_]]:
    """Return the keys of some sound cells, and which of the cells have a name that a key can have."""
    length = cells.read("<u2", at + _NAME_BYTES).astype(np.int64)
    latin = cells.read("<u2", at + _FLAGS) & _LATIN != 0
    fits = (length + _LEAST_KEY <= cells.sizes(at)) & ((length > 0) | (parent < 0))
    names = list(_texts(cells.bins, at[fits] + _NAME, length[fits], latin[fits]))
    good = np.fromiter(("\\" not in name for name in names), np.bool_, len(names))
    good |= parent[fits] < 0
    is_key = fits.copy()
    is_key[fits] = good
    at, parent = at[is_key], parent[is_key]
    predefined = cells.read("<u2", at + _FLAGS) & _PREDEFINED != 0
    keys = HiveKeys(
        at=at,
        parent=parent,
        names=[name for name, is_good in zip(names, good.tolist(), strict=True) if is_good],
        written=cells.read("<u8", at + _WRITTEN),
        values=np.where(predefined, 0, cells.read("<u4", at + _VALUES).astype(np.int64)),
        value_list=cells.read("<u4", at + _VALUE_LIST).astype(np.int64),
        class_at=cells.read("<u4", at + _CLASS).astype(np.int64),
        class_bytes=cells.read("<u2", at + _CLASS_BYTES).astype(np.int64),
        knows_subkeys=np.ones(len(at), np.bool_),
    )
    return keys, is_key


def _texts(bins: bytes, at: Offsets, length: Offsets, latin: NDArray[np.bool_]) -> Iterator[str]:
    for start, size, is_latin in zip(at.tolist(), length.tolist(), latin.tolist(), strict=True):
        raw = bins[start : start + size]
        yield escape_name(
            raw.decode("latin-1") if is_latin else raw[: size & ~1].decode("utf-16-le", "surrogatepass")
        )


def _subkeys(cells: Cells, level: HiveKeys, found: Diagnostics) -> tuple[Offsets, Offsets]:
    """Return the offsets of the children of a level, and the row of each one's parent; notes of which keys some are missing."""
    stated = cells.read("<u4", level.at + _SUBKEYS).astype(np.int64)
    rows = np.flatnonzero(stated > 0)
    lists = cells.read("<u4", level.at[rows] + _SUBKEY_LIST).astype(np.int64)
    children, owner = _entries(cells, lists, rows, _LISTS, found)
    short = rows[np.bincount(owner, minlength=len(level))[rows] != stated[rows]]
    _count(found, "hive_bad_list", level.at[short])
    sound = cells.take(children, _LEAST_KEY, (b"nk",))
    _count(found, "hive_bad_key", children[~sound])
    level.knows_subkeys[short] = False
    level.knows_subkeys[owner[~sound]] = False
    return children[sound], owner[sound]


def _entries(
    cells: Cells, at: Offsets, owner: Offsets, kinds: tuple[bytes, ...], found: Diagnostics
) -> tuple[Offsets, Offsets]:
    """Return the entries of lists of children, those of lists of lists among them, and each one's owner."""
    sound = cells.take(at, 4, kinds)
    at, owner = at[sound], owner[sound]
    kind = cells.read("<u2", at + CELL)
    entries, owners = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for name in kinds:
        some = kind == int.from_bytes(name, "little")
        count = cells.read("<u2", at[some] + CELL + 2).astype(np.int64)
        room = (cells.sizes(at[some]) - 4) // _STRIDES[name]
        count = np.minimum(count, room)
        places = np.repeat(at[some] + CELL + 4, count) + _STRIDES[name] * _steps(count)
        values = cells.read("<u4", places).astype(np.int64)
        named = np.repeat(owner[some], count)
        if name == b"ri":
            values, named = _entries(cells, values, named, _LISTS[:-1], found)
        entries.append(values)
        owners.append(named)
    return np.concatenate(entries), np.concatenate(owners)


def _steps(counts: Offsets) -> Offsets:
    """Return 0, 1, 2, ... anew for each count."""
    ends = np.cumsum(counts)
    return np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)


def _count(found: Diagnostics, name: str, at: Offsets) -> None:
    if len(at):
        found.count(name, len(at), offset=int(at.min()) + BASE_BLOCK)


def _joined(levels: list[HiveKeys]) -> HiveKeys:
    arrays = ("at", "parent", "written", "values", "value_list", "class_at", "class_bytes", "knows_subkeys")
    return HiveKeys(
        names=[name for level in levels for name in level.names],
        **{name: np.concatenate([getattr(level, name) for level in levels]) for name in arrays},
    )
