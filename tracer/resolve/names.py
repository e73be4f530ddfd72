"""Names by number to keys by number, remembering every pair that was looked up once."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.longs import LongMap
from tracer.resolve.tree import KeyTree

__all__ = ["KeyNumbers"]

Numbers = NDArray[np.int32]
Longs = NDArray[np.int64]
_REMEMBERED = 300_000  # pairs of key and name whose answer is kept


class KeyNumbers:
    """Looks up keys in a KeyTree by the numbers of names; `texts` may grow, numbers keep their meaning."""

    def __init__(self, tree: KeyTree, texts: list[str], long_map: type[LongMap] = LongMap) -> None:
        self._tree, self._texts = tree, texts
        self._pairs = long_map()
        self._fresh_pairs: list[tuple[Longs, Longs]] = []
        self._fresh_rooted: list[tuple[Numbers, Longs]] = []
        self._absolute = np.zeros(0, bool)
        self._rooted = np.zeros(0, np.int32)

    def is_absolute(self, names: Numbers) -> NDArray[np.bool_]:
        r"""Return whether each name starts with a backslash; NO_NAME gives whatever."""
        self._grow()
        return self._absolute[names]

    def settle(self) -> None:
        """Begin a batch: what was looked up before it needs no further look.

        Inside a batch names are not looked up in time order, so a name is shown to the tree each time: an
        earlier mention decides the spelling.
        """
        if len(self._pairs) > _REMEMBERED:
            self._pairs.clear()  # it only saves looking the tree up
        for pairs, keys in self._fresh_pairs:
            self._pairs.put(pairs, keys)
        for names, keys in self._fresh_rooted:
            self._rooted[names] = keys
        self._fresh_pairs.clear()
        self._fresh_rooted.clear()

    def rooted(self, names: Numbers, mentions: Longs) -> Numbers:
        """Return the key of each absolute path; `mentions` as in KeyTree.child."""
        self._grow()
        keys = self._rooted[names]
        new = np.flatnonzero(keys < 0)
        if len(new):
            new = new[np.argsort(mentions[new], kind="stable")]
            distinct, first, codes = np.unique(names[new], return_index=True, return_inverse=True)
            in_time = np.argsort(first, kind="stable")
            asked, when = distinct[in_time], mentions[new][first[in_time]]
            parents = np.full(len(asked), KeyTree.ROOT)
            found = self._tree.follow_names(parents, asked.astype(np.int64), when, self._texts)
            # A path without components, or one that is none: damage, or a root of its own.
            for place in np.flatnonzero((found < 0) | ~self._absolute[asked]).tolist():
                found[place] = self._tree.rooted(self._texts[asked[place]], int(when[place]))
            self._fresh_rooted.append((asked, found))
            by_name = np.empty(len(found), np.int32)
            by_name[in_time] = found
            keys[new] = by_name.take(codes)
        return keys

    def below(self, parents: Numbers, names: Numbers, mentions: Longs) -> Numbers:
        """Return the key that each name stands for below its parent; an empty name is the parent itself.

        `mentions` rise.
        """
        pairs = parents.astype(np.int64) << 32 | names
        keys = self._pairs.get(pairs).astype(np.int32)
        new = np.flatnonzero(keys < 0)
        if len(new):
            encoded = pa.array(pairs[new]).dictionary_encode()
            codes, distinct = encoded.indices.to_numpy(), encoded.dictionary.to_numpy()
            first = np.empty(len(distinct), np.int64)
            first[codes[::-1]] = mentions[new[::-1]]
            found = self._tree.follow_names(distinct >> 32, distinct & 0xFFFFFFFF, first, self._texts)
            self._fresh_pairs.append((distinct, found))
            keys[new] = found.astype(np.int32).take(codes)
        return keys

    def one_below(self, parent: int, name: int, mention: int) -> int:
        """Return the key that a name stands for below its parent, as `below` does for many."""
        return self._tree.below(parent, self._texts[name], mention)

    def _grow(self) -> None:
        known, size = len(self._absolute), len(self._texts)
        if known < size:
            starts = [text.startswith("\\") for text in self._texts[known:]]
            self._absolute = np.concatenate([self._absolute, np.array(starts, bool)])
            self._rooted = np.concatenate([self._rooted, np.full(size - known, -1, np.int32)])
