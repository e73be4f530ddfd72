"""Twin of KeyNumbers: names rows without making Python objects of names and keys."""

import numpy as np

from tracer.compiled import kernel
from tracer.compiled.int_map import CompiledIntMap, find_place
from tracer.compiled.tree import CompiledKeyTree, Names, follow_one
from tracer.resolve.int_map import ABSENT
from tracer.resolve.names import ACROSS_LOSS, DOUBTFUL, REMEMBERED, Bindings, KeyNumbers, NameRequests
from tracer.resolve.object_ops import EVENT, OPEN

__all__ = ["CompiledKeyNumbers"]


class CompiledKeyNumbers(KeyNumbers):
    """KeyNumbers over a CompiledKeyTree."""

    _tree: CompiledKeyTree

    def __init__(self, tree: CompiledKeyTree, texts: list[str]) -> None:
        super().__init__(tree, texts)
        self._known = CompiledIntMap()  # parent and name, packed -> key

    def name(self, requests: NameRequests, bindings: Bindings) -> None:
        """Name the rows and the bindings of what they opened."""
        tree, known = self._tree, self._known
        if len(known) > REMEMBERED:
            known.clear()
        known.reserve(len(requests.name))
        relative = requests.key < 0
        no_base = tree.no_base() if (relative & (requests.base < 0)).any() else -1
        tree.split(requests.name[relative].astype(np.int64), self._texts)
        # An absolute name is followed already: it needs no room.
        names = Names(
            tree.parts(),
            np.where(relative, tree.begin.take(requests.name), 0),
            np.where(relative, tree.end.take(requests.name), 0),
        )
        new = np.zeros(1, np.int64)
        tree.grow_by(
            names,
            lambda done, nodes, count, respelled: _name(
                done, no_base, known.pairs, new, requests, bindings, names, nodes, count, respelled
            ),
        )
        known.note_added(int(new[0]))


@kernel
def _name(done, no_base, known, new, requests, bindings, names, nodes, count, respelled):
    """Name rows from `done` on, as CompiledKeyTree.grow_by wants it; `new` counts what was added to `known`."""
    changed = 0
    for row in range(done, len(requests.name)):
        if count + names.end[row] - names.begin[row] > len(nodes.parent):
            return row, count, changed
        if requests.key[row] >= 0:
            requests.source[row] = EVENT
        else:
            base, parent = requests.base[row], no_base
            if base >= 0:
                parent = bindings.key[base]
                requests.source[row] = EVENT if requests.own[row] else bindings.source[base]
                requests.tainted[row] |= bindings.tainted[base] & DOUBTFUL
                if not requests.own[row]:
                    requests.tainted[row] |= bindings.tainted[base] & ACROSS_LOSS
                    if requests.across[row]:
                        requests.tainted[row] |= ACROSS_LOSS
            pair = np.int64(parent) << 32 | requests.name[row]
            place = find_place(known, pair)
            if known[place, 1] == ABSENT:
                node, count, changed = follow_one(
                    nodes, names, row, np.int64(parent), requests.mention[row], count, respelled, changed
                )
                known[place, 0], known[place, 1] = pair, node
                new[0] += 1
            requests.key[row] = known[place, 1]
        made = requests.made[row]
        if made >= 0:
            bindings.key[made], bindings.tainted[made] = requests.key[row], requests.tainted[row]
            bindings.source[made] = max(requests.source[row], OPEN)
    return len(requests.name), count, changed
