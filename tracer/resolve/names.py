"""Lookup of keys by the numbers of their names; pairs of key and name are remembered."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import find_distinct
from tracer.resolve.object_ops import EVENT, OPEN
from tracer.resolve.tree import KeyTree

__all__ = ["ACROSS_LOSS", "DOUBTFUL", "REMEMBERED", "Bindings", "KeyNumbers", "NameRequests"]

Numbers = NDArray[np.int32]
Ints = NDArray[np.int64]
Marks = NDArray[np.bool_]
REMEMBERED = 300_000  # pairs of key and name whose answer is kept
ACROSS_LOSS, DOUBTFUL = np.uint8(1), np.uint8(2)  # what a name may be tainted by


class Bindings(NamedTuple):
    """What is known of the names of a batch's bindings (see `tracer.resolve.lifetimes`).

    Attributes:
        key: key_id; -1 until it is known.
        source: code in SOURCES, or DEFERRED.
        tainted: ACROSS_LOSS and DOUBTFUL.
    """

    key: Numbers
    source: NDArray[np.int8]
    tainted: NDArray[np.uint8]


class NameRequests(NamedTuple):
    """Requests of a batch for a key by its name, in time order.

    Attributes:
        name: number of the name.
        base: binding of the object below which the name stands; -1 where the record has no such object.
        made: binding of the object which the row opened; -1 where none.
        own: whether the record itself carried the path of its base.
        across: whether a loss lies between the row and what its base was known from.
        mention: number of the place at which the name was met, as in KeyTree.child.
        key: key_id, given for absolute names; -1 else, and filled in.
        source: code in SOURCES, or DEFERRED; filled in.
        tainted: DOUBTFUL, given where the record is; filled in.
    """

    name: Numbers
    base: Ints
    made: Ints
    own: Marks
    across: Marks
    mention: Ints
    key: Numbers
    source: NDArray[np.int8]
    tainted: NDArray[np.uint8]


class KeyNumbers:
    """Looks up keys in a KeyTree by the numbers of names; `texts` may grow, numbers keep their meaning."""

    def __init__(self, tree: KeyTree, texts: list[str]) -> None:
        self._tree, self._texts = tree, texts
        self._pairs: dict[tuple[int, int], int] = {}
        self._fresh_rooted: list[tuple[Numbers, Ints]] = []
        self._absolute = np.zeros(0, bool)
        self._rooted = np.zeros(0, np.int32)

    def is_absolute(self, names: Numbers) -> NDArray[np.bool_]:
        r"""Return whether each name starts with a backslash; the result for NO_NAME is undefined."""
        self._grow()
        return self._absolute[names]

    def settle(self) -> None:
        """Begin a batch: absolute names that were looked up before it need no further look.

        They are not looked up in time order, so inside a batch each is shown to the tree: an earlier mention
        decides the spelling.
        """
        for names, keys in self._fresh_rooted:
            self._rooted[names] = keys
        self._fresh_rooted.clear()

    def rooted(self, names: Numbers, mentions: Ints) -> Numbers:
        """Return the key of each absolute path; `mentions` as in KeyTree.child."""
        self._grow()
        keys = self._rooted[names]
        new = np.flatnonzero(keys < 0)
        if len(new):
            new = new[np.argsort(mentions[new], kind="stable")]
            distinct, first, codes = find_distinct(names[new])
            in_time = np.argsort(first, kind="stable")
            wanted, when = distinct[in_time], mentions[new][first[in_time]]
            parents = np.full(len(wanted), KeyTree.ROOT)
            found = self._tree.follow_names(parents, wanted.astype(np.int64), when, self._texts)
            # A path without components, or one that is none: damage, or a root of its own.
            for place in np.flatnonzero((found < 0) | ~self._absolute[wanted]).tolist():
                found[place] = self._tree.rooted(self._texts[wanted[place]], int(when[place]))
            self._fresh_rooted.append((wanted, found))
            by_name = np.empty(len(found), np.int32)
            by_name[in_time] = found
            keys[new] = by_name.take(codes)
        return keys

    def name(self, requests: NameRequests, bindings: Bindings) -> None:
        """Name the rows and, as they are, the bindings of what they opened: `asks` and `bindings` are filled in.

        It goes in time order, for a row's base may have been opened by a row before it. A row that has the
        name from its base is as sure of it as the base is.
        """
        if len(self._pairs) > REMEMBERED:
            self._pairs.clear()  # it only saves looking the tree up
        pairs, below, texts = self._pairs, self._tree.below, self._texts
        no_base = self._tree.no_base() if ((requests.base < 0) & (requests.key < 0)).any() else -1
        rows = zip(*(column.tolist() for column in requests), strict=True)
        keys, sources, taints = (column.tolist() for column in bindings)
        named: list[tuple[int, int, int]] = []
        doubtful, lost = int(DOUBTFUL), int(ACROSS_LOSS)
        for name, base, made, own, across, mention, key, source, tainted in rows:
            if key >= 0:
                source = EVENT
            else:
                parent = no_base
                if base >= 0:
                    parent = keys[base]
                    source = EVENT if own else sources[base]
                    tainted |= taints[base] & doubtful
                    if not own:
                        tainted |= lost if across else taints[base] & lost
                key = pairs.get((parent, name))
                if key is None:
                    key = pairs[parent, name] = below(parent, texts[name], mention)
            named.append((key, source, tainted))
            if made >= 0:
                keys[made], sources[made], taints[made] = key, max(source, OPEN), tainted
        if named:
            requests.key[:], requests.source[:], requests.tainted[:] = zip(*named, strict=True)
        bindings.key[:], bindings.source[:], bindings.tainted[:] = keys, sources, taints

    def _grow(self) -> None:
        known, size = len(self._absolute), len(self._texts)
        if known < size:
            starts = [text.startswith("\\") for text in self._texts[known:]]
            self._absolute = np.concatenate([self._absolute, np.array(starts, bool)])
            self._rooted = np.concatenate([self._rooted, np.full(size - known, -1, np.int32)])
