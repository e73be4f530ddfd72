"""Twin of the KeyTree: follows many names below their keys at once, without making Python objects."""

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.compiled.int_map import find_place
from tracer.resolve.int_map import ABSENT
from tracer.resolve.tree import TOO_LONG, KeyTree

__all__ = ["CompiledKeyTree", "Names", "Nodes", "follow_one"]

Column = NDArray[np.int64]

_UNROOTED, _LONGER = 1, 2  # bits of a node
_FIRST_NODES, _FIRST_NAMES = 1 << 14, 1 << 15
_MOST_DEPTH, _MOST_LENGTH = KeyTree.MOST_DEPTH, KeyTree.MOST_LENGTH


class Names(NamedTuple):
    """Names as spellings: name `n` is `parts[begin[n]:end[n]]`."""

    parts: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]


class Nodes(NamedTuple):
    """A tree as `follow_one` sees it: by spelling its folded form and length, children, and columns by node.

    `pairs` leads from a parent and a folded form, packed, to the child.
    """

    fold_of: NDArray[np.int64]
    size_of: NDArray[np.int64]
    pairs: NDArray[np.int64]
    parent: NDArray[np.int64]
    spelling: NDArray[np.int64]
    mention: NDArray[np.int64]
    depth: NDArray[np.int64]
    length: NDArray[np.int64]
    bits: NDArray[np.int64]


_COLUMNS = Nodes._fields[3:]


class CompiledKeyTree(KeyTree):
    """A KeyTree whose children and nodes are arrays as well; the lists of a KeyTree follow them.

    A *spelling* is a component as written. `_parts` holds the spellings of every name that was followed,
    name `n` from `begin[n]` (ABSENT: not yet) to `end[n]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._nodes = {name: np.zeros(_FIRST_NODES, np.int64) for name in _COLUMNS}
        self._pairs = np.full((4 * _FIRST_NODES, 2), ABSENT, np.int64)
        self._spelling_numbers: dict[str, int] = {}
        self._spelling_texts: list[str] = []
        self._fold_of, self._size_of = array("q"), array("q")
        self.begin, self.end = np.full(_FIRST_NAMES, ABSENT, np.int64), np.zeros(_FIRST_NAMES, np.int64)
        self._parts = array("q")

    def child(self, parent: int, name: str, mention: int = KeyTree.LATEST) -> int:
        """Return the node of the single component `name` below `parent`, made if new."""
        one = Names(np.array([self._spelling(name)]), np.zeros(1, np.int64), np.ones(1, np.int64))
        return int(self._follow_parts(np.array([parent]), one, np.array([mention]))[0])

    def children(self, parents: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
        """Return the node of each single component below its parent; nodes are made where they are new."""
        places = np.arange(len(names))
        parts = np.fromiter(map(self._spelling, names), np.int64, len(names))
        mentions = np.full(len(names), self.LATEST)
        return self._follow_parts(parents.astype(np.int64), Names(parts, places, places + 1), mentions)

    def find(self, parent: int, name: str) -> int | None:
        """Return the node of the component `name` below `parent`; None where it was never named."""
        number = self._spellings.get(name)
        if number is None:
            return None
        found = int(_get(self._pairs, parent + 1 << 32 | number))
        return None if found == ABSENT else found

    def follow(self, parent: int, components: tuple[int, ...], path: str, mention: int) -> int:  # noqa: ARG002
        """Return the node of `path` below `parent`."""
        return self.below(parent, path, mention)

    def follow_names(
        self,
        parents: NDArray[np.int64],
        names: NDArray[np.int64],
        mentions: NDArray[np.int64],
        texts: list[str],
    ) -> NDArray[np.int64]:
        """Return the node of each name, given by its number in `texts`, below its parent."""
        self.split(names, texts)
        followed = Names(self.parts(), self.begin[names], self.end[names])
        return self._follow_parts(parents.astype(np.int64), followed, mentions.astype(np.int64))

    def split(self, names: NDArray[np.int64], texts: list[str]) -> None:
        """Make sure that the components of each name, given by its number in `texts`, are known."""
        if len(self.begin) < len(texts):
            more = np.full(len(texts), ABSENT, np.int64)
            self.begin = np.concatenate([self.begin, more])
            self.end = np.concatenate([self.end, more])
        new = np.unique(names[self.begin.take(names) == ABSENT])
        if not len(new):
            return
        wanted = [texts[name] for name in new.tolist()]
        components = "\\".join(wanted).split("\\")
        counts = np.array([text.count("\\") + 1 for text in wanted])
        spellings = list(map(self._spelling_numbers.get, components))
        places = [place for place, number in enumerate(spellings) if number is None]
        fresh = dict.fromkeys([components[place] for place in places])
        fresh.pop("", None)  # it names nothing
        self._add_spellings(list(fresh))
        for place in places:
            spellings[place] = self._spelling_numbers.get(components[place], ABSENT)
        parts = np.array(spellings, np.int64)
        kept = parts != ABSENT
        ends = np.append(0, np.cumsum(kept)).take(np.append(0, np.cumsum(counts))) + len(self._parts)
        self.begin[new], self.end[new] = ends[:-1], ends[1:]
        self._parts.frombytes(parts[kept].tobytes())

    def parts(self) -> NDArray[np.int64]:
        """Return the spellings of all names that were split, one name after the other; not a copy."""
        return np.frombuffer(self._parts, np.int64) if self._parts else np.zeros(0, np.int64)

    def _follow_parts(self, parents: Column, names: Names, mentions: Column) -> Column:
        found = np.empty(len(parents), np.int64)
        self.grow_by(
            names,
            lambda done, nodes, count, respelled: _follow(
                done, found, parents, names, mentions, nodes, count, respelled
            ),
        )
        return found

    def grow_by(
        self, names: Names, follow: Callable[[int, Nodes, int, Column], tuple[int, int, int]]
    ) -> None:
        """Call `follow` until it has followed all names.

        It gets the name to begin at, the nodes, how many these are, and a list to fill with nodes that got another
        spelling; it returns the name it had no room for, how many nodes there are, and how many it put into the list.
        """
        respelled = np.empty(int((names.end - names.begin).sum()), np.int64)
        done = 0
        while done < len(names.begin):
            before = len(self)
            fold_of, size_of = (np.frombuffer(column, np.int64) for column in (self._fold_of, self._size_of))
            nodes = Nodes(fold_of, size_of, self._pairs, **self._nodes)
            done, count, changed = follow(done, nodes, before, respelled)
            self._catch_up(before, count)
            self._respell(respelled[:changed])
            if done < len(names.begin):
                self._reserve(int(names.end[done] - names.begin[done]))

    def _spelling(self, text: str) -> int:
        number = self._spelling_numbers.get(text)
        if number is None:
            number = self._spelling_numbers[text] = len(self._spelling_texts)
            self._spelling_texts.append(text)
            known = self._spellings.get(text)
            self._fold_of.append(self._learn(text) if known is None else known)
            self._size_of.append(len(text))
        return number

    def _add_spellings(self, texts: list[str]) -> None:
        """Number distinct components that are no spellings yet."""
        first, known = len(self._spelling_texts), self._spellings
        self._spelling_numbers.update(zip(texts, range(first, first + len(texts)), strict=True))
        self._spelling_texts += texts
        self._fold_of.extend([known[text] if text in known else self._learn(text) for text in texts])
        self._size_of.extend(map(len, texts))

    def _catch_up(self, first: int, count: int) -> None:
        """Add to the lists what was added to the arrays."""
        if first == count:
            return
        fresh = {name: column[first:count] for name, column in self._nodes.items()}
        self.parents.extend(fresh["parent"].tolist())
        self._depths.extend(fresh["depth"].tolist())
        self._lengths.extend(fresh["length"].tolist())
        self._mentions.extend(fresh["mention"].tolist())
        self.unrooted.extend((fresh["bits"] & _UNROOTED).astype(np.uint8).tobytes())
        texts = self._spelling_texts
        self.names.extend([texts[spelling] for spelling in fresh["spelling"].tolist()])
        for node in (np.flatnonzero(fresh["bits"] & _LONGER) + first).tolist():
            self.too_long.add(node)
            self.names[node] = TOO_LONG

    def _respell(self, nodes: NDArray[np.int64]) -> None:
        """Show the spellings that turned out to be the first in time; a node may be named several times."""
        spellings, mentions = self._nodes["spelling"][nodes].tolist(), self._nodes["mention"][nodes].tolist()
        for node, spelling, mention in zip(nodes.tolist(), spellings, mentions, strict=True):
            self.names[node], self._mentions[node] = self._spelling_texts[spelling], mention

    def _add(self, parent: int, name: str, mention: int) -> int:
        node = super()._add(parent, name, mention)
        self._reserve(1)
        bits = self.unrooted[node] * _UNROOTED | (node in self.too_long) * _LONGER
        values = (parent, self._spelling(name), mention, self._depths[node], self._lengths[node], bits)
        for column, value in zip(self._nodes.values(), values, strict=True):
            column[node] = value
        return node

    def unnamed(self, address: int) -> int:
        """Return a new node that stands for an object which nothing has named yet."""
        node = super().unnamed(address)
        self._nodes["bits"][node] |= _UNROOTED
        return node

    def _reserve(self, more: int) -> None:
        """Make room for `more` nodes."""
        count, size = len(self) + more, len(self._nodes["parent"])
        if count <= size:
            return
        while size < count:
            size *= 2
        self._nodes = {
            name: np.concatenate([column, np.zeros(size - len(column), np.int64)])
            for name, column in self._nodes.items()
        }
        old = self._pairs[self._pairs[:, 1] != ABSENT]
        self._pairs = np.full((4 * size, 2), ABSENT, np.int64)
        _place_all(self._pairs, old)


@kernel
def _get(pairs, key):
    return pairs[find_place(pairs, key), 1]


@kernel
def _place_all(pairs, old):
    for row in range(len(old)):
        place = find_place(pairs, old[row, 0])
        pairs[place, 0], pairs[place, 1] = old[row, 0], old[row, 1]


@kernel
def _follow(done, found, parents, names, mentions, nodes, count, respelled):
    """Follow names from `done` on; as CompiledKeyTree.grow_by wants it."""
    changed = 0
    for row in range(done, len(parents)):
        if count + names.end[row] - names.begin[row] > len(nodes.parent):
            return row, count, changed
        found[row], count, changed = follow_one(
            nodes, names, row, parents[row], mentions[row], count, respelled, changed
        )
    return len(parents), count, changed


@kernel
def follow_one(nodes, names, row, node, mention, count, respelled, changed):
    """Follow the name of a row below `node`, for which there is room.

    Returns its node, how many nodes there are now, and how often one got another spelling, which `respelled` lists.
    """
    for at in range(names.begin[row], names.end[row]):
        spelling = names.parts[at]
        key = node + 1 << 32 | nodes.fold_of[spelling]
        place = find_place(nodes.pairs, key)
        child = nodes.pairs[place, 1]
        if child == ABSENT:
            above = nodes.bits[node] if node >= 0 else 0
            if above & _LONGER:
                continue
            child = count
            count += 1
            nodes.pairs[place, 0], nodes.pairs[place, 1] = key, child
            depth = nodes.depth[node] + 1 if node >= 0 else 1
            length = (nodes.length[node] if node >= 0 else 0) + 1 + nodes.size_of[spelling]
            longer = depth > _MOST_DEPTH or length > _MOST_LENGTH
            nodes.parent[child], nodes.spelling[child], nodes.mention[child] = node, spelling, mention
            nodes.depth[child], nodes.length[child] = depth, length
            nodes.bits[child] = above & _UNROOTED | (_LONGER if longer else 0)
        elif mention < nodes.mention[child]:
            nodes.mention[child], nodes.spelling[child] = mention, spelling
            respelled[changed] = child
            changed += 1
        node = child
    return node, count, changed
