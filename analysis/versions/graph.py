"""The processes of a change set as a tree: its root, those that made changes, and those between them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from analysis.versions.log import Member

__all__ = ["Branch", "branches_of"]


@dataclass(frozen=True, slots=True)
class Branch:
    """A process in the tree.

    Attributes:
        path: of each level below the root down to this process, whether it is the last child there; empty: the root.
        image: file name of the image; None: unknown.
        pid: process id; None: unknown.
        changes: how many changes of the set it made.
    """

    path: tuple[bool, ...]
    image: str | None
    pid: int | None
    changes: int


def branches_of(member: Member) -> Iterator[Branch]:
    """Yield the tree of a change set, parents before their children, children in the order of their first changes."""
    sets = member.sets
    root = int(sets.roots[member.number])
    counts: Counter[int] = Counter(sets.rows.process_id[sets.places(member.number)].tolist())
    children: dict[int, dict[int, None]] = {}
    for one in counts:  # in the order of their first changes
        while one != root:
            parent = sets.processes[one]["parent_id"]
            known = children.setdefault(parent, {})
            if one in known:
                break
            known[one] = None
            one = parent
    waiting: list[tuple[int, tuple[bool, ...]]] = [(root, ())]
    while waiting:
        process_id, path = waiting.pop()
        process = sets.processes.get(process_id, {})
        yield Branch(path, process.get("image"), process.get("pid"), counts[process_id])
        below = list(children.get(process_id, ()))
        waiting += [(child, (*path, child == below[-1])) for child in reversed(below)]
