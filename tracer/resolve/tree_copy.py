"""Copies of single nodes of a key tree into another tree, with the nodes above them."""

from tracer.resolve.tree import KeyTree

__all__ = ["copy_node"]

_EARLIEST = -1  # a mention before all others: the spelling that was shown so far stays


def copy_node(old: KeyTree, new: KeyTree, node: int, address: int, copied: dict[int, int]) -> int:
    """Return the node of `new` that stands for a node of `old`; copied nodes are noted in `copied`.

    `address` is that of the object that the node names.
    """
    chain = []
    while node not in copied:
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
        if each in copied:
            found = copied[each]
        elif each in old.bound:
            found = copied[each] = found  # what it turned out to be
        elif old.parents[each] < 0:
            found = copied[each] = _copy_root(old, new, each, address)
        else:
            found = copied[each] = new.child(found, old.names[each], _EARLIEST)
    return found


def _copy_root(old: KeyTree, new: KeyTree, node: int, address: int) -> int:
    if node == old.no_base():
        return new.no_base()
    if old.unrooted[node]:
        return new.unnamed(old.objects.get(node, address))
    name = old.names[node]
    return new.rooted(name if node in old.bare or name == "\\" else f"\\{name}", _EARLIEST)
