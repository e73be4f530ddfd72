"""Names by number to keys by number, remembering every pair that was looked up once."""

from itertools import repeat

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.resolve.tree import KeyTree

__all__ = ["KeyNumbers"]

Numbers = NDArray[np.int32]
_REMEMBERED = 300_000  # pairs of key and name whose answer is kept


class KeyNumbers:
    """Looks up keys in a KeyTree by the numbers of names; `texts` may grow, numbers keep their meaning."""

    def __init__(self, tree: KeyTree, texts: list[str]) -> None:
        self._tree, self._texts = tree, texts
        self._pairs: dict[int, int] = {}
        self._components: dict[int, tuple[int, ...]] = {}
        self._fresh_pairs: dict[int, int] = {}
        self._fresh_rooted: dict[int, int] = {}
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
        self._pairs.update(self._fresh_pairs)
        self._fresh_pairs.clear()
        for name, key in self._fresh_rooted.items():
            self._rooted[name] = key
        self._fresh_rooted.clear()
        self._components.clear()

    def rooted(self, names: Numbers, mentions: NDArray[np.int64]) -> Numbers:
        """Return the key of each absolute path; `mentions` as in KeyTree.child."""
        self._grow()
        keys = self._rooted[names]
        new = np.flatnonzero(keys < 0)
        if len(new):
            new = new[np.argsort(mentions[new], kind="stable")]
            distinct, first, codes = np.unique(names[new], return_index=True, return_inverse=True)
            found = np.empty(len(distinct), np.int32)
            in_time = np.argsort(first, kind="stable")
            stems: dict[str, int] = {}  # all but the last component, which siblings share
            for place, name, mention in zip(
                in_time.tolist(),
                distinct[in_time].tolist(),
                mentions[new][first[in_time]].tolist(),
                strict=True,
            ):
                found[place] = self._fresh_rooted[name] = self._root(self._texts[name], mention, stems)
            keys[new] = found.take(codes)
        return keys

    def _root(self, text: str, mention: int, stems: dict[str, int]) -> int:
        """Return the key of a path; `stems` are those of paths mentioned before it."""
        above, _, last = text.rpartition("\\")
        if not above or not last or above[0] != "\\" or above[-1] == "\\":
            return self._tree.rooted(text, mention)
        stem = stems.get(above)
        if stem is None:
            stem = stems[above] = self._tree.rooted(above, mention)
        return self._tree.child(stem, last, mention)

    def below(self, parents: Numbers, names: Numbers, mentions: NDArray[np.int64]) -> Numbers:
        """Return the key that each name stands for below its parent; an empty name is the parent itself.

        `mentions` rise.
        """
        pairs = pa.array(parents.astype(np.int64) << 32 | names).dictionary_encode()
        distinct = pairs.dictionary.to_pylist()
        found = list(map(self._pairs.get, distinct, repeat(-1)))
        codes = pairs.indices.to_numpy()
        if -1 in found:
            first = np.empty(len(distinct), np.int64)
            first[codes[::-1]] = mentions[::-1]
            texts, follow, fresh = self._texts, self._tree.follow, self._fresh_pairs
            components = self._components
            keys = np.array(found, np.int32)
            new = np.flatnonzero(keys < 0)
            for place, mention in zip(new.tolist(), first[new].tolist(), strict=True):
                pair = distinct[place]
                name = pair & 0xFFFFFFFF
                parts = components.get(name)
                if parts is None:
                    parts = components[name] = self._tree.components(texts[name])
                keys[place] = fresh[pair] = follow(pair >> 32, parts, texts[name], mention)
            return keys.take(codes)
        return np.array(found, np.int32).take(codes)

    def _grow(self) -> None:
        known, size = len(self._absolute), len(self._texts)
        if known < size:
            starts = [text.startswith("\\") for text in self._texts[known:]]
            self._absolute = np.concatenate([self._absolute, np.array(starts, bool)])
            self._rooted = np.concatenate([self._rooted, np.full(size - known, -1, np.int32)])
