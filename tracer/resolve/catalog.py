"""The key tree as the table `keys`: paths, spellings, and which keys are one and the same."""

import re
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers, from_texts
from tracer.registry.paths import display_path
from tracer.registry.text import fold_name
from tracer.resolve.tree import KeyTree
from tracer.schema import KEYS

__all__ = ["Catalog"]

_SLICE = 50_000  # rows of `keys` made at once
_MOST_CHARACTERS = 64 << 20  # of paths in memory at once; only hostile traces come near
_ROOT_DEPTH = 5  # components; from here on a path is shown as its parent is
# A user's Software\Classes is a link to the hive beside the user's own.
_CLASSES_LINK = re.compile(r"^HKU\\(S-1-[0-9-]+)\\SOFTWARE\\CLASSES\Z")
_NAMELESS = ("partial", "none")


class _Spelling(NamedTuple):
    """One key's path as recorded, as shown, and folded; `depth` is its number of components."""

    path: str
    shown: str
    folded: str
    depth: int


class Catalog:
    """The table `keys`, complete once the last row was resolved."""

    def __init__(self, tree: KeyTree, *, control_set: int | None = None) -> None:
        self._tree = tree
        self._control_set = control_set
        size = len(tree)
        self._same = array("i", range(size))
        self._sources: dict[int, str] = {}  # of unrooted keys
        self._roots: dict[str, int] = {}
        self._joined: dict[tuple[int, str], int] = {}
        # Only keys that others stand below are spelled out for longer than a slice.
        self._spellings: dict[int, _Spelling] = {}
        self._kept = 0  # characters of their paths
        above = np.zeros(size, np.uint8)
        parents = np.frombuffer(tree.parents, np.int32) if size else np.zeros(0, np.int32)
        above[parents[parents >= 0]] = 1
        self._above = bytearray(above)
        for target, _ in tree.bound.values():
            self._above[target] = 1

    def tables(self) -> Iterator[pa.Table]:
        """Yield the table `keys` in slices, by key_id."""
        tree, start = self._tree, 0
        while start < len(tree):
            paths, shown, folded, depths = self._spell_slice(start)
            nodes = range(start, start + len(paths))
            parents = np.frombuffer(tree.parents, np.int32)[start : nodes.stop].copy()
            names = tree.names[start : nodes.stop]
            for node in [node for node in tree.bound if node in nodes]:
                parents[node - start] = tree.parents[tree.bound[node][0]]
                names[node - start] = paths[node - start].rpartition("\\")[2]
            yield pa.table(
                [
                    from_numbers(np.arange(start, nodes.stop, dtype=np.int32)),
                    from_texts(paths),
                    from_texts(shown),
                    from_texts(folded),
                    from_numbers(parents, parents >= 0),
                    from_texts(names),
                    from_numbers(np.array(depths, np.int16)),
                    from_numbers(np.array(self._same[start : nodes.stop], np.int32)),
                    from_texts(self._name_sources(nodes)),
                ],
                schema=KEYS.arrow(),
            )
            start = nodes.stop

    def _spell_slice(self, start: int) -> tuple[list[str], list[str], list[str], list[int]]:
        """Return paths of the keys from `start` on, as recorded, shown, and folded, and depths; notes `same_as`."""
        tree, spellings = self._tree, self._spellings
        parents, names, bound, fold = tree.parents, tree.names, tree.bound, tree.fold
        same, has_children = self._same, self._above
        paths: list[str] = []
        shown: list[str] = []
        folded: list[str] = []
        depths: list[int] = []
        characters = 0
        for node in range(start, min(start + _SLICE, len(tree))):
            parent = parents[node]
            above = spellings.get(parent)
            if above is not None and above.depth >= _ROOT_DEPTH and node not in bound:
                # Most keys: nothing but their name and their parent's path matters. Written out for its speed.
                name = names[node]
                path, depth = f"{above.path}\\{name}", above.depth + 1
                paths.append(path)
                shown.append(f"{above.shown}\\{name}")
                folded.append(f"{above.folded}\\{fold(name)}")
                depths.append(depth)
                if has_children[node]:
                    self._keep(node, _Spelling(path, shown[-1], folded[-1], depth))
                if same[parent] != parent:
                    self._find_same(node, depth, folded[-1])
            else:
                spelling = self._spell(node)
                path = spelling.path
                paths.append(path)
                shown.append(spelling.shown)
                folded.append(spelling.folded)
                depths.append(spelling.depth)
                self._find_same(node, spelling.depth, spelling.folded)
            characters += len(path)
            if characters > _MOST_CHARACTERS:
                break
        return paths, shown, folded, depths

    def _name_sources(self, nodes: range) -> list[str | None]:
        sources: list[str | None] = [None] * len(nodes)
        unrooted = np.frombuffer(self._tree.unrooted, np.uint8)[nodes.start : nodes.stop]
        for place in np.flatnonzero(unrooted).tolist():
            sources[place] = self.name_source(nodes.start + place)
        return sources

    def name_source(self, node: int) -> str | None:
        """Return later, rundown, partial or none for what had no name at first; else None."""
        tree = self._tree
        if not tree.unrooted[node]:
            return None
        known = self._sources.get(node)
        if known is None:
            top = node
            while tree.parents[top] >= 0 and top not in tree.bound:
                top = tree.parents[top]
            known = tree.bound[top][1] if top in tree.bound else "none" if top == node else "partial"
            self._sources[node] = known
        return known

    def count_sources(self, deferred: NDArray[np.int64]) -> dict[str, int]:
        """Return rows by name source, given the number of deferred rows of each key."""
        counts: dict[str, int] = {}
        for key in np.flatnonzero(deferred).tolist():
            source = self.name_source(key) or "none"
            counts[source] = counts.get(source, 0) + int(deferred[key])
        return counts

    def _spell(self, node: int) -> _Spelling:
        """Return a key's spelling, from that of the nearest key above it that is still known."""
        parents = self._tree.parents
        chain = []
        known = self._spellings.get(node)
        while known is None:
            chain.append(node)
            if node in self._tree.bound:
                node = self._tree.bound[node][0]
            elif parents[node] >= 0:
                node = parents[node]
            else:
                break
            known = self._spellings.get(node)
        for each in reversed(chain):
            known = self._spell_below(each, known)
            if self._above[each]:
                self._keep(each, known)
        assert known is not None
        return known

    def _spell_below(self, node: int, above: _Spelling | None) -> _Spelling:
        tree, name = self._tree, self._tree.names[node]
        if node in tree.bound and above is not None:
            return above
        if tree.parents[node] < 0:
            bare = tree.unrooted[node] or node in tree.bare or name == "\\"
            return self._show(name if bare else f"\\{name}", 1)
        assert above is not None
        path, depth = f"{above.path}\\{name}", above.depth + 1
        if depth <= _ROOT_DEPTH:
            return self._show(path, depth)
        return _Spelling(path, f"{above.shown}\\{name}", f"{above.folded}\\{tree.fold(name)}", depth)

    def _keep(self, node: int, spelling: _Spelling) -> None:
        self._kept += len(spelling.path)
        if self._kept > _MOST_CHARACTERS:
            self._spellings.clear()
            self._kept = len(spelling.path)
        self._spellings[node] = spelling

    def _show(self, path: str, depth: int) -> _Spelling:
        shown = display_path(path, control_set=self._control_set)
        return _Spelling(path, shown, fold_name(shown), depth)

    def _find_same(self, node: int, depth: int, folded: str) -> None:
        """Note the key that `node` is another spelling of (itself where it is none).

        A parent's is known before, but for what an unnamed object turned out to be, which may be numbered
        later: that key stands for itself then.
        """
        tree, parent = self._tree, self._tree.parents[node]
        if node in tree.bound:
            same = self._same[tree.bound[node][0]]
        elif parent >= 0 and self._same[parent] != parent:
            name = tree.names[node]
            found = tree.find(self._same[parent], name)
            same = (
                self._joined.setdefault((self._same[parent], tree.fold(name)), node)
                if found is None
                else self._same[found]
            )
        elif depth > _ROOT_DEPTH or self.name_source(node) in _NAMELESS:
            same = node
        else:
            link = _CLASSES_LINK.match(folded)
            same = self._roots.setdefault(f"HKU\\{link[1]}_CLASSES" if link else folded, node)
        self._same[node] = same
