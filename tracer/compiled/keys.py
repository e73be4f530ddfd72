"""Twin of KeyNumbers: rows are named without Python objects of names and keys that are known."""

import numpy as np

from tracer.compiled import kernel
from tracer.compiled.int_map import CompiledLongMap, find_place
from tracer.compiled.tree import CompiledKeyTree, follow_one
from tracer.resolve.int_map import ABSENT
from tracer.resolve.names import ACROSS_LOSS, DOUBTFUL, REMEMBERED, Asks, Bindings, KeyNumbers
from tracer.resolve.object_ops import EVENT, OPEN

__all__ = ["CompiledKeyNumbers"]


class CompiledKeyNumbers(KeyNumbers):
    """KeyNumbers over a CompiledKeyTree."""

    _tree: CompiledKeyTree

    def __init__(self, tree: CompiledKeyTree, texts: list[str]) -> None:
        super().__init__(tree, texts)
        self._known = CompiledLongMap()  # parent and name, packed -> key

    def name(self, asks: Asks, bindings: Bindings) -> None:
        """Name the rows and the bindings of what they opened."""
        tree, known = self._tree, self._known
        if len(known) > REMEMBERED:
            known.clear()
        known.reserve(len(asks.name))
        relative = asks.key < 0
        no_base = tree.no_base() if (relative & (asks.base < 0)).any() else -1
        tree.split(asks.name[relative].astype(np.int64), self._texts)
        # An absolute name is followed already: it needs no room.
        begin = np.where(relative, tree.begin[asks.name], 0)
        end = np.where(relative, tree.end[asks.name], 0)
        parts, new = tree.parts(), np.zeros(1, np.int64)
        tree.grow_by(
            begin, end,
            lambda done, *room: _name(
                done, no_base, known.pairs, new, asks.name, asks.base, asks.made, asks.own, asks.across,
                asks.mention, asks.key, asks.source, asks.tainted,
                bindings.key, bindings.source, bindings.tainted, parts, begin, end, *room,
            ),
        )  # fmt: skip
        known.added(int(new[0]))


@kernel
def _name(
    done, no_base, known, new, names, bases, makes, owns, acrosses, mentions, keys, sources, taints,
    key_of, source_of, taint_of, parts, begins, ends,
    count, respelled, most_depth, most_length, fold_of, size_of, pairs,
    parent_of, spelling_of, mention_of, depth_of, length_of, bits_of,
):  # fmt: skip
    """Name rows from `done` on, as CompiledKeyTree.grow_by wants it; `new` counts what was added to `known`."""
    changed = 0
    for row in range(done, len(names)):
        if count + ends[row] - begins[row] > len(parent_of):
            return row, count, changed
        if keys[row] >= 0:
            sources[row] = EVENT
        else:
            base, parent = bases[row], no_base
            if base >= 0:
                parent = key_of[base]
                sources[row] = EVENT if owns[row] else source_of[base]
                taints[row] |= taint_of[base] & DOUBTFUL
                if not owns[row]:
                    taints[row] |= taint_of[base] & ACROSS_LOSS
                    if acrosses[row]:
                        taints[row] |= ACROSS_LOSS
            pair = np.int64(parent) << 32 | names[row]
            place = find_place(known, pair)
            if known[place, 1] == ABSENT:
                node, count, changed = follow_one(
                    np.int64(parent), parts, begins[row], ends[row], mentions[row], changed,
                    count, respelled, most_depth, most_length, fold_of, size_of, pairs,
                    parent_of, spelling_of, mention_of, depth_of, length_of, bits_of,
                )  # fmt: skip
                known[place, 0], known[place, 1] = pair, node
                new[0] += 1
            keys[row] = known[place, 1]
        made = makes[row]
        if made >= 0:
            key_of[made], source_of[made], taint_of[made] = keys[row], max(sources[row], OPEN), taints[row]
    return len(names), count, changed
