"""Trees of processes whose changes belong together: the root of each process that changed something.

The rule: a process that began during the capture belongs to the topmost of its ancestors that began during the capture
too and made changes; where none did, it is a root itself. A process that ran before the capture is always a root: what
its children do is not grouped with it, or all services were one tree, and all that a user starts another.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

__all__ = ["roots_of"]


def roots_of(
    processes: Iterable[Mapping[str, Any]], changers: Collection[int], first_ns: int
) -> dict[int, int]:
    """Return the root of each process that made changes, both as process_id.

    Args:
        processes: process_id, parent_id and start_ns (UTC nanoseconds; None: unknown, and taken to be before) of each process.
        changers: process_id of those that made changes.
        first_ns: when the capture began, UTC nanoseconds.
    """
    lives = {row["process_id"]: row for row in processes}

    def is_new(process_id: int) -> bool:
        start_ns = lives[process_id]["start_ns"] if process_id in lives else None
        return start_ns is not None and start_ns >= first_ns

    roots = {}
    for own in changers:
        root, current, seen = own, own, {own}
        while is_new(current):
            parent = lives[current]["parent_id"]
            if parent is None or parent in seen or not is_new(parent):
                break
            seen.add(parent)
            current = parent
            if current in changers:
                root = current
        roots[own] = root
    return roots
