"""Keys of several captures in one tree.

A key that has a native path is one key, however many captures know it; the first capture's spelling is shown. An object
that nothing named stays an object of its own capture, with what stands below it, and one that turned out later to be a
key stays bound to that key: what is known of a row's name is neither more nor less than before.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import read_numbers
from tracer.merge.member import Member
from tracer.resolve.tree import KeyTree

__all__ = ["certain_paths", "join_keys"]

_COLUMNS = ("key_id", "path", "display_path", "parent_id", "name", "name_source")
_ADDRESS_DIGITS = slice(len("<object 0x"), -1)


def join_keys(members: Sequence[Member]) -> tuple[KeyTree, list[NDArray[np.int32]]]:
    """Return one tree, and for each member the new key_id of each of its keys."""
    tree = KeyTree()
    return tree, [_add(tree, member.table("keys", _COLUMNS)) for member in members]


def _add(tree: KeyTree, keys: pa.Table) -> NDArray[np.int32]:
    """Add the keys of one capture, a parent before what stands below it."""
    parents = read_numbers(keys["parent_id"].combine_chunks()).or_else(-1).tolist()
    sources: list[str | None] = keys["name_source"].to_pylist()
    names: list[str] = keys["name"].to_pylist()
    paths: list[str] = keys["path"].to_pylist()
    new = np.full(len(parents), -1, np.int32)
    nodes: list[int] = []
    bound: list[int] = []
    for key, (parent, source) in enumerate(zip(parents, sources, strict=True)):
        if source is None:
            node = tree.rooted(paths[key]) if parent < 0 else tree.child(nodes[parent], names[key])
        elif parent < 0 and source == "none":
            node = tree.unnamed(_address(names[key]))
        elif parent < 0 or sources[parent] is None:
            # It turned out to be the key at its path, below whose parent it is listed.
            node = tree.unnamed(0)
            bound.append(key)
        else:
            node = tree.child(nodes[parent], names[key])
        nodes.append(node)
    for key in bound:
        tree.bind(nodes[key], tree.rooted(paths[key]), sources[key] or "later")
    new[:] = nodes
    return new


def _address(name: str) -> int:
    r"""Return the address in the name of an object, ``<object 0x...>``."""
    return int(name[_ADDRESS_DIGITS], 16)


def certain_paths(members: Iterable[Member]) -> Iterable[str]:
    """Yield the paths, as recorded and as shown, of keys that were there: an operation on them did not fail."""
    for member in members:
        usage = member.table("usage", ("key_id", "events", "failures"))
        keys = member.table("keys", _COLUMNS)
        worked = np.zeros(keys.num_rows, bool)
        ids = read_numbers(usage["key_id"].combine_chunks())
        some = read_numbers(usage["events"].combine_chunks()).values
        failed = read_numbers(usage["failures"].combine_chunks()).values
        worked[ids.values[ids.is_valid & (some > failed)]] = True
        for name in ("path", "display_path"):
            texts = keys[name].to_pylist()
            sources: list[str | None] = keys["name_source"].to_pylist()
            yield from (
                texts[key]
                for key in np.flatnonzero(worked).tolist()
                if sources[key] not in ("partial", "none")
            )
