"""A resolver over a new tree that knows the open objects of an old one and nothing else.

What was seen of keys and names only grows. A reader that goes on for hours starts anew from time to time
and keeps just what later rows can rest on: the objects that are open, with their names and their evidence.
"""

import numpy as np

from tracer.resolve.resolver import Resolver
from tracer.resolve.tree import KeyTree

__all__ = ["renewed"]

_EARLIEST = -1  # a mention before all others: the spelling that was shown so far stays


def renewed(old: Resolver, tree: KeyTree, texts: list[str], now_ns: int) -> Resolver:
    """Return a resolver over `tree` (empty) that goes on where `old` is; `old` must not be used any more.

    Args:
        old: the resolver to take over from.
        tree: where keys are made from now on.
        texts: escaped names by number from now on.
        now_ns: time of the last row; objects closed long before it are forgotten.
    """
    old._forget(now_ns)
    new = Resolver(tree, texts, old._losses, old._kernels)
    new.handles = old.handles
    new._slot_of, new._slots = old._slot_of, old._slots
    new._next_handle, new.seed_conflicts, new._doubts = old._next_handle, old.seed_conflicts, old._doubts
    new._roomy = old._roomy
    state, count = new._slots, len(new._slot_of)
    addresses = new._slot_of.keys()
    moved: dict[int, int] = {}
    for slot in np.flatnonzero(state.alive[:count]).tolist():
        node = int(state.key[slot])
        if node not in moved:
            moved[node] = _move(old.tree, tree, node, int(addresses[slot]) & (1 << 64) - 1, moved)
        state.key[slot] = moved[node]
    return new


def _move(old: KeyTree, new: KeyTree, node: int, address: int, moved: dict[int, int]) -> int:
    """Return the node of `new` that stands for a node of `old`; those above it are noted in `moved`."""
    chain = []
    while node not in moved:
        chain.append(node)
        if node in old.bound:
            node = old.bound[node][0]
        elif old.parents[node] >= 0:
            node = old.parents[node]
        else:
            break
    else:
        chain.append(node)
    for each in reversed(chain):
        if each in moved:
            found = moved[each]
        elif each in old.bound:
            found = moved[each] = found  # what it turned out to be
        elif old.parents[each] < 0:
            found = moved[each] = _move_root(old, new, each, address)
        else:
            found = moved[each] = new.child(found, old.names[each], _EARLIEST)
    return found


def _move_root(old: KeyTree, new: KeyTree, node: int, address: int) -> int:
    if node == old.no_base():
        return new.no_base()
    if old.unrooted[node]:
        return new.unnamed(old.objects.get(node, address))
    name = old.names[node]
    return new.rooted(name if node in old.bare or name == "\\" else f"\\{name}", _EARLIEST)
