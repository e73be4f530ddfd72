"""The key tree as the table `keys`: paths, spellings, and which keys are one and the same."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.paths import display_paths
from tracer.resolve.tree import KeyTree
from tracer.schema import KEYS
from tracer.text import fold_name

__all__ = ["Catalog"]

_CLASSES_LINK = re.compile(r"^(HKU\\S-1-[0-9-]+)\\SOFTWARE\\CLASSES(\\|\Z)")
_SLICE = 200_000  # rows of `keys` made at once


class Catalog:
    """Everything about keys that is known once the last row is in.

    Attributes:
        name_source: per key, later, rundown, partial or none for what had no name at first; else None.
    """

    def __init__(self, tree: KeyTree, *, control_set: int | None = None) -> None:
        self._tree = tree
        self._control_set = control_set
        self.name_source: list[str | None] = [None] * len(tree)
        self._parents: list[int] = list(tree.parents)
        self._paths = self._find_paths()

    def tables(self) -> Iterator[pa.Table]:
        """Yield the table `keys` in slices, by key_id."""
        first_of: dict[str, int] = {}
        for start in range(0, len(self._paths), _SLICE):
            stop = min(start + _SLICE, len(self._paths))
            paths = self._paths[start:stop]
            shown = [path or "" for path in display_paths(paths, control_set=self._control_set)]
            folded = [fold_name(path) for path in shown]
            same = []
            for key, path in enumerate(folded, start):
                nameless = self.name_source[key] in ("partial", "none")
                # A user's Software\\Classes is a link to the hive beside the user's own.
                target = _CLASSES_LINK.sub(r"\1_CLASSES\2", path)
                same.append(key if nameless else first_of.setdefault(target, key))
            parents = self._parents[start:stop]
            yield pa.table(
                [
                    pa.array(range(start, stop), pa.int32()),
                    pa.array(paths, pa.string()),
                    pa.array(shown, pa.string()),
                    pa.array(folded, pa.string()),
                    pa.array([None if parent < 0 else parent for parent in parents], pa.int32()),
                    pa.array([_last(path) for path in paths], pa.string()),
                    pa.array([path.count("\\") + (not path.startswith("\\")) for path in paths], pa.int16()),
                    pa.array(same, pa.int32()),
                    pa.array(self.name_source[start:stop], pa.string()),
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

    def _find_paths(self) -> list[str]:
        tree = self._tree
        paths: list[str] = [""] * len(tree)
        # Rooted keys first: what an unnamed object turned out to be is one of them, and may have a higher number.
        for unrooted in (0, 1):
            for node, parent in enumerate(tree.parents):
                if tree.unrooted[node] != unrooted:
                    continue
                if parent >= 0:
                    paths[node] = f"{paths[parent]}\\{tree.names[node]}"
                    above = self.name_source[parent]
                    self.name_source[node] = "partial" if above == "none" else above
                elif node in tree.bound:
                    target, source = tree.bound[node]
                    paths[node], self._parents[node] = paths[target], tree.parents[target]
                    self.name_source[node] = source
                elif unrooted:
                    paths[node], self.name_source[node] = tree.names[node], "none"
                else:
                    paths[node] = "\\" if tree.names[node] == "\\" else f"\\{tree.names[node]}"
        return paths


def _last(path: str) -> str:
    return path if path == "\\" else path.rpartition("\\")[2]
