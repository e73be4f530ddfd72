"""Names by number to keys by number, remembering every pair that was looked up once."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.longs import LongMap
from tracer.resolve.tree import KeyTree

__all__ = ["KeyNumbers"]

Numbers = NDArray[np.int32]
_REMEMBERED = 300_000  # pairs of key and name, and stems of paths, whose answer is kept
_DEEP = 64  # components; deeper paths, which hardly exist, are followed from the root


class KeyNumbers:
    """Looks up keys in a KeyTree by the numbers of names; `texts` may grow, numbers keep their meaning."""

    def __init__(self, tree: KeyTree, texts: list[str], long_map: type[LongMap] = LongMap) -> None:
        self._tree, self._texts = tree, texts
        self._pairs = long_map()
        self._components: dict[int, tuple[int, ...]] = {}
        self._fresh_pairs: dict[int, int] = {}
        self._fresh_rooted: dict[int, int] = {}
        self._stems: dict[str, int] = {}
        self._fresh_stems: dict[str, int] = {}
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
        self._pairs.put(
            np.fromiter(self._fresh_pairs, np.int64), np.fromiter(self._fresh_pairs.values(), np.int64)
        )
        self._fresh_pairs.clear()
        for name, key in self._fresh_rooted.items():
            self._rooted[name] = key
        self._fresh_rooted.clear()
        self._components.clear()
        if len(self._stems) > _REMEMBERED:
            self._stems.clear()
        self._stems.update(self._fresh_stems)
        self._fresh_stems.clear()

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
        """Return the key of a path; `stems` are those of paths mentioned before it in this batch."""
        above, _, last = text.rpartition("\\")
        simple = last and above and above[0] == "\\" and above[-1] != "\\"
        if not simple or text.count("\\") > _DEEP:
            return self._tree.rooted(text, mention)
        stem = self._stems.get(above)
        if stem is None:
            stem = stems.get(above)
        if stem is None:
            stem = stems[above] = self._fresh_stems[above] = self._root(above, mention, stems)
        return self._tree.child(stem, last, mention)

    def below(self, parents: Numbers, names: Numbers, mentions: NDArray[np.int64]) -> Numbers:
        """Return the key that each name stands for below its parent; an empty name is the parent itself.

        `mentions` rise.
        """
        pairs = parents.astype(np.int64) << 32 | names
        keys = self._pairs.get(pairs).astype(np.int32)
        new = np.flatnonzero(keys < 0)
        if len(new):
            encoded = pa.array(pairs[new]).dictionary_encode()
            codes = encoded.indices.to_numpy()
            distinct = encoded.dictionary.to_pylist()
            first = np.empty(len(distinct), np.int64)
            first[codes[::-1]] = mentions[new[::-1]]
            found = [
                self._follow(pair, mention) for pair, mention in zip(distinct, first.tolist(), strict=True)
            ]
            keys[new] = np.array(found, np.int32)[codes]
        return keys

    def one_below(self, parent: int, name: int, mention: int) -> int:
        """Return the key that a name stands for below `parent`, as `below` does for many."""
        return self._follow(parent << 32 | name, mention)

    def _follow(self, pair: int, mention: int) -> int:
        name = pair & 0xFFFFFFFF
        text = self._texts[name]
        parts = self._components.get(name)
        if parts is None:
            parts = self._components[name] = self._tree.components(text)
        key = self._fresh_pairs[pair] = self._tree.follow(pair >> 32, parts, text, mention)
        return key

    def _grow(self) -> None:
        known, size = len(self._absolute), len(self._texts)
        if known < size:
            starts = [text.startswith("\\") for text in self._texts[known:]]
            self._absolute = np.concatenate([self._absolute, np.array(starts, bool)])
            self._rooted = np.concatenate([self._rooted, np.full(size - known, -1, np.int32)])
