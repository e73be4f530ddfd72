"""The keys of a capture as a tree, in the order in which it is shown."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from analysis.capture import Capture
from tracer.columns.arrays import to_numbers

__all__ = ["Keys"]

_NO_PLACE = -1
# Keys without a name above last. A backslash sorts before every letter, so that a key is followed by those below it; of
# keys with one path the first stands last, for it has the keys below.
_ASKED = """
    SELECT key_id, display_path, replace(folded_path, '\\', chr(1)) AS folded FROM keys WHERE same_as = key_id
    ORDER BY starts_with(display_path, '\\') OR starts_with(display_path, '<'), folded, key_id DESC
"""


class Keys:
    """The tree. A key is a number (`key_id`); rows of the table `keys` that stand for another key are that key.

    A key and all below it are a range of places: from its own to the end of its range.

    Attributes:
        order: the key at each place.
        places: the place of each row of the table `keys`, by `key_id`; -1 where it has none.
        tops: the keys that no other key stands above.
        spell: how a path is shown; None while as the capture has it.
    """

    def __init__(self, capture: Capture) -> None:
        rows = capture.sql_reader(_ASKED).read_all()
        self.order: list[int] = rows["key_id"].to_pylist()
        self._paths: list[str] = rows["display_path"].to_pylist()
        self._parents: list[int] = []
        self._ends = [0] * len(self.order)
        self._nest(rows["folded"].to_pylist())
        same = capture.sql_reader("SELECT key_id, same_as FROM keys").read_all()
        ids = to_numbers(same["key_id"].combine_chunks())
        place_of = np.full(int(ids.max(initial=-1)) + 1, _NO_PLACE, np.int64)
        place_of[np.array(self.order, np.int64)] = np.arange(len(self.order))
        self.places: npt.NDArray[np.int64] = np.full(len(place_of), _NO_PLACE, np.int64)
        self.places[ids] = place_of[to_numbers(same["same_as"].combine_chunks())]
        self.tops = [self.order[place] for place in self._siblings(0, len(self.order))]
        self.spell: Callable[[str], str] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def path(self, key: int) -> str:
        """Return the key's path as people write it, escaped as in the capture."""
        return self._paths[self._place(key)]

    def label(self, key: int) -> str:
        """Return what stands of the path behind that of the key above it."""
        place = self._place(key)
        parent = self._parents[place]
        return self._paths[place][0 if parent < 0 else len(self._paths[parent]) + 1 :]

    def shown_path(self, key: int) -> str:
        r"""Return the path as other tables spell it: a user's key begins with ``HKCU``, or with ``HKCU (alice)``."""
        path = self.path(key)
        return path if self.spell is None else self.spell(path)

    def shown_label(self, key: int) -> str:
        """Return what the tree shows: a user's root is called as other tables spell it."""
        path, label = self.path(key), self.label(key)
        if self.spell is None or (path.count("\\") > 1 and label != path):
            return label
        shown = self.spell(path)
        return label if shown == path else shown

    def children(self, key: int) -> list[int]:
        """Return the keys right below, in the order of their names."""
        place = self._place(key)
        return [self.order[each] for each in self._siblings(place + 1, self._ends[place])]

    def has_children(self, key: int) -> bool:
        """Tell whether a key stands below."""
        place = self._place(key)
        return self._ends[place] > place + 1

    def ancestors(self, key: int) -> list[int]:
        """Return the keys above, the highest first."""
        found: list[int] = []
        place = self._place(key)
        while (place := self._parents[place]) >= 0:
            found.append(self.order[place])
        return found[::-1]

    def range_of(self, key: int) -> tuple[int, int]:
        """Return the places of the key and all below it: the first, and the one behind the last."""
        place = self._place(key)
        return place, self._ends[place]

    def _place(self, key: int) -> int:
        return int(self.places[key])

    def _siblings(self, place: int, end: int) -> Iterator[int]:
        while place < end:
            yield place
            place = self._ends[place]

    def _nest(self, folded: list[str]) -> None:
        """Find the key above each key, and the end of each range."""
        above: list[tuple[str, int]] = []
        parents, ends = self._parents, self._ends
        for place, path in enumerate(folded):
            while above and not path.startswith(above[-1][0]):
                ends[above.pop()[1]] = place
            parents.append(above[-1][1] if above else _NO_PLACE)
            above.append((path + "\x01", place))
        for _, place in above:
            ends[place] = len(folded)
