"""The tree of key names: one node a key, folded by the registry's rule, first spelling kept."""

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.registry.text import fold_name

__all__ = ["TOO_LONG", "KeyTree"]

_REMEMBERED = 100_000  # names whose components are kept
TOO_LONG = "<longer than the registry allows>"


class KeyTree:
    r"""Every key that was named, and every object that nobody named in advance.

    A node's number is its `key_id`. Names are escaped text (`tracer.registry.text`). A path's components hang below
    each other, so the same key reached by different spellings or by parts is one node.

    Attributes:
        parents: per node; ROOT for a root and for an unnamed object. A parent has a lower number.
        names: per node, the component as first spelled.
        objects: node of an unnamed object -> its address.
        unrooted: per node, 1 for an unnamed object and what stands below one.
        too_long: nodes below which everything is one key, for its path would pass the registry's own limits.
        bare: roots that are written without a backslash before them.
        bound: an unrooted node -> (the rooted node it turned out to be, source).
    """

    ROOT = -1  # the parent of "\REGISTRY"
    LATEST = (1 << 62) - 1
    MOST_DEPTH = 1024  # the registry allows 512 levels
    MOST_LENGTH = 32_767  # characters of a UNICODE_STRING

    def __init__(self) -> None:
        self.parents = array("i")
        self.names: list[str] = []
        self.objects: dict[int, int] = {}
        self.unrooted = bytearray()
        self.bound: dict[int, tuple[int, str]] = {}
        self.too_long: set[int] = set()
        self._depths, self._lengths = array("i"), array("i")
        self._mentions = array("q")
        self.bare: set[int] = set()
        self._bare_roots: dict[str, int] = {}
        self._no_base: int | None = None
        self._same: dict[tuple[int, int], None] = {}  # nodes that are one key, of which one had no name
        self._components: dict[int, tuple[int, ...]] = {}  # of names by number
        self._children: dict[int, int] = {}  # parent and folded component, packed -> node
        self._spellings: dict[str, int] = {}  # component -> number of its folded form
        self._folded: list[str] = []
        self._folded_numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.parents)

    def child(self, parent: int, name: str, mention: int = LATEST) -> int:
        """Return the node of the single component `name` below `parent`, made if new.

        `mention` numbers the places at which names were met; the spelling of the lowest one is shown.
        Without it, the spelling that made the node stays.
        """
        number = self._spellings.get(name)
        if number is None:
            number = self._learn(name)
        place = parent + 1 << 32 | number
        node = self._children.get(place)
        if node is None:
            if parent in self.too_long:
                return parent
            node = self._children[place] = self._add(parent, name, mention)
        elif mention < self._mentions[node]:
            self._mentions[node], self.names[node] = mention, name
        return node

    def children(self, parents: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
        """Return the node of each single component below its parent; nodes are made where they are new."""
        child = self.child
        return np.array(
            [child(parent, name) for parent, name in zip(parents.tolist(), names, strict=True)], np.int64
        )

    def find(self, parent: int, name: str) -> int | None:
        """Return the node of the component `name` below `parent`; None where it was never named."""
        number = self._spellings.get(name)
        return None if number is None else self._children.get(parent + 1 << 32 | number)

    def fold(self, name: str) -> str:
        """Return the folded form of a component."""
        number = self._spellings.get(name)
        return fold_name(name) if number is None else self._folded[number]

    def components(self, path: str) -> tuple[int, ...]:
        r"""Return the numbers of a path's components, folded, for `follow`.

        Doubled and trailing backslashes name nothing of their own: ``A\\B\`` is ``A\B``.
        """
        spellings, learn = self._spellings, self._learn
        return tuple(
            number if (number := spellings.get(name)) is not None else learn(name)
            for name in path.split("\\")
            if name
        )

    def follow(self, parent: int, components: tuple[int, ...], path: str, mention: int) -> int:
        """Return the node of `path` below `parent`, given its `components`; nodes are made where they are new."""
        children, mentions = self._children, self._mentions
        node = parent
        for known, number in enumerate(components):
            found = children.get(node + 1 << 32 | number)
            if found is None or mention < mentions[found]:
                for name in [name for name in path.split("\\") if name][known:]:
                    node = self.child(node, name, mention)
                return node
            node = found
        return node

    def follow_names(
        self,
        parents: NDArray[np.int64],
        names: NDArray[np.int64],
        mentions: NDArray[np.int64],
        texts: list[str],
    ) -> NDArray[np.int64]:
        """Return the node of each name, given by its number in `texts`, below its parent (ROOT: none)."""
        components, follow = self._components, self.follow
        if len(components) > _REMEMBERED:
            components.clear()
        found = np.empty(len(names), np.int64)
        rows = zip(parents.tolist(), names.tolist(), mentions.tolist(), strict=True)
        for row, (parent, name, mention) in enumerate(rows):
            text = texts[name]
            parts = components.get(name)
            if parts is None:
                parts = components[name] = self.components(text)
            found[row] = follow(parent, parts, text, mention)
        return found

    def below(self, parent: int, path: str, mention: int = LATEST) -> int:
        """Return the node of `path`, one or more components, below `parent`."""
        for name in path.split("\\"):
            if name:
                parent = self.child(parent, name, mention)
        return parent

    def rooted(self, path: str, mention: int = LATEST) -> int:
        r"""Return the node of an absolute native path (``\REGISTRY\...``); ``\`` alone is a node too.

        A path that does not begin with a backslash (Procmon's ``HKCU\...``) stands below a bare root.
        """
        if path and path[0] != "\\":
            root, _, path = path.partition("\\")
            return self.below(self._bare_root(root, mention), path, mention)
        node = self.below(self.ROOT, path, mention)
        return self.child(self.ROOT, "\\") if node == self.ROOT else node

    def unnamed(self, address: int) -> int:
        """Return a new node that stands for an object which nothing has named yet."""
        node = self._add(self.ROOT, f"<object 0x{address & 0xFFFFFFFFFFFFFFF8:X}>", self.LATEST)
        self.objects[node] = address
        self.unrooted[node] = 1
        return node

    def no_base(self) -> int:
        """Return the node below which relative names stand whose record has no base object."""
        if self._no_base is None:
            self._no_base = self.unnamed(0)
        return self._no_base

    def is_unrooted(self, node: int) -> bool:
        """Whether `node` is an unnamed object or stands below one."""
        return bool(self.unrooted[node])

    def path(self, node: int) -> str | None:
        r"""Return a key's path (``\REGISTRY\...``); None for what is unrooted, or too long to have one."""
        if self.unrooted[node] or node in self.too_long:
            return None
        names, top = [self.names[node]], node
        while self.parents[top] >= 0:
            top = self.parents[top]
            names.append(self.names[top])
        path = "\\".join(reversed(names))
        return path if top in self.bare or names[-1] == "\\" else f"\\{path}"

    def bind(self, node: int, target: int, source: str) -> None:
        """Say that the unrooted `node` turned out to be `target`; `source` is later or rundown. First word wins.

        What stands below no base at all may be of any number of keys, and is left alone.
        """
        top = node
        while self.parents[top] >= 0:
            top = self.parents[top]
        if top != self._no_base:
            self.bound.setdefault(node, (target, source))

    def same_key(self, node: int, other: int) -> None:
        """Say that two nodes are one key, which names one of them as soon as the other has a name (`bind_same`)."""
        if self.unrooted[node] or self.unrooted[other]:
            self._same[node, other] = None

    def bind_same(self) -> None:
        """Bind the unnamed of nodes that are one key to what the other turned out to be; once, at the end."""
        for pair in self._same:
            for node, other in (pair, pair[::-1]):
                target, source = self.bound.get(other, (other, "later"))
                if self.unrooted[node] and node not in self.bound and not self.unrooted[target]:
                    self.bind(node, target, source)

    def _bare_root(self, name: str, mention: int) -> int:
        folded = fold_name(name)
        node = self._bare_roots.get(folded)
        if node is None:
            node = self._bare_roots[folded] = self._add(self.ROOT, name, mention)
            self.bare.add(node)
        return node

    def _learn(self, name: str) -> int:
        folded = fold_name(name)
        number = self._folded_numbers.get(folded)
        if number is None:
            number = self._folded_numbers[folded] = len(self._folded)
            self._folded.append(folded)
        self._spellings[name] = number
        return number

    def _add(self, parent: int, name: str, mention: int) -> int:
        node = len(self.parents)
        depth = self._depths[parent] + 1 if parent >= 0 else 1
        length = (self._lengths[parent] if parent >= 0 else 0) + 1 + len(name)
        if depth > self.MOST_DEPTH or length > self.MOST_LENGTH:
            self.too_long.add(node)
            name = TOO_LONG
        self._depths.append(depth)
        self._lengths.append(length)
        self.parents.append(parent)
        self.names.append(name)
        self._mentions.append(mention)
        self.unrooted.append(self.unrooted[parent] if parent >= 0 else 0)
        return node
