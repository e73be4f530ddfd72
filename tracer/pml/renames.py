"""New names: below a key that was renamed stand the same keys, also those that no operation named again."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.resolve.tree import KeyTree

__all__ = ["name_subkeys", "renames_of"]

_MOST_STEPS = 5_000_000  # keys that are followed; what lies below later renames has its old names only


def renames_of(batch: pa.RecordBatch) -> list[tuple[int, str]]:
    """Return key_id and new name of each rename among event rows that was done."""
    done = pc.and_(pc.equal(batch["operation"], "RenameKey"), pc.less(batch["status"], NOT_SUCCESS))
    if not pc.any(done).as_py():
        return []
    rows = batch.select(["key_id", "requested_name"]).filter(done).drop_null()
    return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def name_subkeys(tree: KeyTree, renames: Iterable[tuple[int, str]], most: int = _MOST_STEPS) -> None:
    """Make a node under its new name for each renamed key and each one below it.

    Args:
        tree: every key that was named.
        renames: key_id and new name, in order.
        most: how many keys are looked at.
    """
    children: dict[int, list[int]] = {}
    listed = 0
    for key, name in renames:
        parent = tree.parents[key]
        if parent < 0 or not name or "\\" in name or key in tree.too_long:
            continue
        new = tree.child(parent, name)
        waiting = [(key, new)] if new not in (key, parent) else []
        while waiting:
            old, new = waiting.pop()
            for node in range(listed, len(tree)):
                children.setdefault(tree.parents[node], []).append(node)
            listed = len(tree)
            for child in children.get(old, ()):
                most -= 1
                if most < 0:
                    return
                made = tree.child(new, tree.names[child])
                if made != new:  # else it is too long
                    waiting.append((child, made))
