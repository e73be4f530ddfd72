"""The key tree as the table `keys`: paths, spellings, and which keys are one and the same."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.paths import display_path
from tracer.resolve.tree import KeyTree
from tracer.schema import KEYS
from tracer.text import fold_name

__all__ = ["Catalog"]

_SLICE = 200_000  # rows of `keys` made at once
_ROOT_DEPTH = 5  # components; from here on a path is shown as its parent is
# A user's Software\Classes is a link to the hive beside the user's own.
_CLASSES_LINK = re.compile(r"^HKU\\(S-1-[0-9-]+)\\SOFTWARE\\CLASSES\Z")


class Catalog:
    """Everything about keys that is known once the last row is in.

    Attributes:
        name_source: per key, later, rundown, partial or none for what had no name at first; else None.
    """

    def __init__(self, tree: KeyTree, *, control_set: int | None = None) -> None:
        size = len(tree)
        self._tree = tree
        self._control_set = control_set
        self.name_source: list[str | None] = [None] * size
        self._paths = [""] * size
        self._shown = [""] * size
        self._folded = [""] * size
        self._parents = list(tree.parents)
        self._depth = [0] * size
        self._same = list(range(size))
        self._roots: dict[str, int] = {}
        self._joined: dict[tuple[int, str], int] = {}
        # Rooted keys first: what an unnamed object turned out to be is one of them, and may have a higher number.
        for unrooted in (0, 1):
            for node in range(size):
                if tree.unrooted[node] == unrooted:
                    self._describe(node, tree.parents[node])

    def tables(self) -> Iterator[pa.Table]:
        """Yield the table `keys` in slices, by key_id."""
        for start in range(0, len(self._paths), _SLICE):
            part = slice(start, start + _SLICE)
            paths = self._paths[part]
            yield pa.table(
                [
                    pa.array(range(start, start + len(paths)), pa.int32()),
                    pa.array(paths, pa.string()),
                    pa.array(self._shown[part], pa.string()),
                    pa.array(self._folded[part], pa.string()),
                    pa.array([None if parent < 0 else parent for parent in self._parents[part]], pa.int32()),
                    pa.array([path if path == "\\" else path.rpartition("\\")[2] for path in paths], pa.string()),
                    pa.array(self._depth[part], pa.int16()),
                    pa.array(self._same[part], pa.int32()),
                    pa.array(self.name_source[part], pa.string()),
                ],
                schema=KEYS.arrow(),
            )

    def count_sources(self, deferred: NDArray[np.int64]) -> dict[str, int]:
        """Return rows by name source, given the number of deferred rows of each key."""
        counts: dict[str, int] = {}
        for key in np.flatnonzero(deferred).tolist():
            source = self.name_source[key] or "none"
            counts[source] = counts.get(source, 0) + int(deferred[key])
        return counts

    def _describe(self, node: int, parent: int) -> None:
        """Fill in one key; its parent, and what it is bound to, were described before it."""
        tree, name = self._tree, self._tree.names[node]
        if parent < 0 and node in tree.bound:
            target, self.name_source[node] = tree.bound[node]
            self._parents[node], self._same[node] = tree.parents[target], self._same[target]
            for column in (self._paths, self._shown, self._folded, self._depth):
                column[node] = column[target]  # type: ignore[index]
            return
        if parent < 0:
            self._depth[node] = 1
            if tree.unrooted[node]:
                self._paths[node], self.name_source[node] = name, "none"
            else:
                self._paths[node] = "\\" if name == "\\" else f"\\{name}"
        else:
            self._depth[node] = self._depth[parent] + 1
            self._paths[node] = f"{self._paths[parent]}\\{name}"
            above = self.name_source[parent]
            self.name_source[node] = "partial" if above == "none" else above
        if parent < 0 or self._depth[node] < _ROOT_DEPTH:
            self._shown[node] = display_path(self._paths[node], control_set=self._control_set)
            self._folded[node] = fold_name(self._shown[node])
        else:
            self._shown[node] = f"{self._shown[parent]}\\{name}"
            self._folded[node] = f"{self._folded[parent]}\\{tree.fold(name)}"
        self._same[node] = self._same_as(node, parent)

    def _same_as(self, node: int, parent: int) -> int:
        """Return the key that `node` is another spelling of; itself where it is none."""
        tree = self._tree
        if parent >= 0 and self._same[parent] != parent:
            place = (self._same[parent], tree.fold(tree.names[node]))
            found = tree.find(*place)
            return self._joined.setdefault(place, node) if found is None else self._same[found]
        if self._depth[node] >= _ROOT_DEPTH + 1 or self.name_source[node] in ("partial", "none"):
            return node
        link = _CLASSES_LINK.match(self._folded[node])
        target = f"HKU\\{link[1]}_CLASSES" if link else self._folded[node]
        return self._roots.setdefault(target, node)
