"""The key tree as the table `keys`: paths, spellings, and which keys are one and the same."""

import re
from array import array
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.paths import display_path
from tracer.resolve.tree import KeyTree
from tracer.schema import KEYS
from tracer.text import fold_name

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
    """Everything about keys that is known once the last row is in."""

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
        self._above = bytearray(size)
        for parent in tree.parents:
            if parent >= 0:
                self._above[parent] = 1
        for target, _ in tree.bound.values():
            self._above[target] = 1

    def tables(self) -> Iterator[pa.Table]:
        """Yield the table `keys` in slices, by key_id."""
        tree = self._tree
        start = 0
        while start < len(tree):
            spellings: list[_Spelling] = []
            characters = 0
            for node in range(start, min(start + _SLICE, len(tree))):
                spellings.append(self._spell(node))
                characters += len(spellings[-1].path)
                if characters > _MOST_CHARACTERS:
                    break
            nodes = range(start, start + len(spellings))
            start = nodes.stop
            same = [self._same_as(node, spelling) for node, spelling in zip(nodes, spellings, strict=True)]
            parents = [tree.parents[tree.bound[node][0] if node in tree.bound else node] for node in nodes]
            paths = [spelling.path for spelling in spellings]
            yield pa.table(
                [
                    pa.array(nodes, pa.int32()),
                    pa.array(paths, pa.string()),
                    pa.array([spelling.shown for spelling in spellings], pa.string()),
                    pa.array([spelling.folded for spelling in spellings], pa.string()),
                    pa.array([None if parent < 0 else parent for parent in parents], pa.int32()),
                    pa.array(
                        [path if path == "\\" else path.rpartition("\\")[2] for path in paths], pa.string()
                    ),
                    pa.array([spelling.depth for spelling in spellings], pa.int16()),
                    pa.array(same, pa.int32()),
                    pa.array([self.name_source(node) for node in nodes], pa.string()),
                ],
                schema=KEYS.arrow(),
            )

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
        above = self._spellings.get(parents[node])
        if above is not None and not self._above[node] and node not in self._tree.bound:
            return self._spell_below(node, above)  # most keys: nothing stands below them
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

    def _same_as(self, node: int, spelling: _Spelling) -> int:
        """Return the key that `node` is another spelling of (itself where it is none), and note it.

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
        elif spelling.depth > _ROOT_DEPTH or self.name_source(node) in _NAMELESS:
            same = node
        else:
            link = _CLASSES_LINK.match(spelling.folded)
            same = self._roots.setdefault(f"HKU\\{link[1]}_CLASSES" if link else spelling.folded, node)
        self._same[node] = same
        return same
