"""Keys as a tree: headings for the rows of a table, each key below the one it belongs to, with counts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tracer.registry.text import fold_name

__all__ = ["Heading", "key_tree"]


@dataclass(frozen=True, slots=True)
class Heading:
    """A line above some rows.

    Attributes:
        depth: how many headings it stands below.
        path: the components below those headings, joined by backslashes.
        rows: how many rows stand below it, those of headings below included.
    """

    depth: int
    path: str
    rows: int


@dataclass(slots=True)
class _Node:
    name: str
    rows: list[int] = field(default_factory=list)
    children: dict[str, "_Node"] = field(default_factory=dict)
    count: int = 0  # of rows, those of all nodes below included


def key_tree(keys: Sequence[str]) -> tuple[list[int], dict[int, list[Heading]]]:
    r"""Return the order of rows, and the headings above some of them.

    A key without rows of its own that has one key below it shares a heading with that one. Rows of one key keep their
    order, keys come in the order of their first row.

    Args:
        keys: the display path of each row.

    Returns:
        the rows in order, and the headings by the place in this order that they stand above.

    >>> key_tree([r"HKLM\A\B", r"HKLM\C", r"HKLM\A\B"])[0]
    [0, 2, 1]
    """
    top = _Node("")
    for row, key in enumerate(keys):
        node = top
        for name in key.split("\\"):
            node = node.children.setdefault(fold_name(name), _Node(name))
            node.count += 1
        node.rows.append(row)
    order: list[int] = []
    headings: dict[int, list[Heading]] = {}
    for child in top.children.values():
        for heading, rows in _walk(child, 0):
            headings.setdefault(len(order), []).append(heading)
            order += rows
    return order, headings


def _walk(node: _Node, depth: int) -> Iterator[tuple[Heading, list[int]]]:
    # A loop, for a hostile capture has paths of thousands of components.
    waiting = [(node, depth)]
    while waiting:
        node, depth = waiting.pop()
        names = [node.name]
        while not node.rows and len(node.children) == 1:
            (node,) = node.children.values()
            names.append(node.name)
        yield Heading(depth, "\\".join(names), node.count), node.rows
        waiting += [(child, depth + 1) for child in reversed(node.children.values())]
