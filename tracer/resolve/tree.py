"""The tree of key names: one node a key, folded by the registry's rule, first spelling kept."""

from tracer.text import fold_name

__all__ = ["KeyTree"]


class KeyTree:
    r"""Every key that was named, and every object that nobody named in advance.

    A node's number is its `key_id`. Names are escaped text (`tracer.text`). A path's components hang below
    each other, so the same key reached by different spellings or by parts is one node.
    """

    ROOT = -1  # the parent of "\REGISTRY"

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.names: list[str] = []
        self.objects: dict[int, int] = {}  # node of an unnamed object -> its address
        self.bound: dict[int, tuple[int, str]] = {}  # such a node -> (the node it turned out to be, source)
        self._children: dict[tuple[int, str], int] = {}

    def __len__(self) -> int:
        return len(self.parents)

    def child(self, parent: int, name: str) -> int:
        """Return the node of the single component `name` below `parent`, made if new."""
        key = (parent, name)
        node = self._children.get(key)
        if node is not None:
            return node
        folded = (parent, fold_name(name))
        node = self._children.get(folded)
        if node is None:
            node = self._add(parent, name)
            self._children[folded] = node
        self._children[key] = node  # this spelling is found at once next time
        return node

    def below(self, parent: int, path: str) -> int:
        r"""Return the node of `path`, one or more components, below `parent`.

        Doubled and trailing backslashes name nothing of their own: ``A\\B\`` is ``A\B``.
        """
        for name in path.split("\\"):
            if name:
                parent = self.child(parent, name)
        return parent

    def rooted(self, path: str) -> int:
        r"""Return the node of an absolute native path (``\REGISTRY\...``); ``\`` alone is a node too."""
        node = self.below(self.ROOT, path)
        return self.child(self.ROOT, "\\") if node == self.ROOT else node

    def unnamed(self, address: int) -> int:
        """Return a new node that stands for an object which nothing has named yet."""
        node = self._add(self.ROOT, f"<object 0x{address & 0xFFFFFFFFFFFFFFFF:X}>")
        self.objects[node] = address
        return node

    def bind(self, node: int, target: int, source: str) -> None:
        """Say that the unnamed `node` turned out to be `target`; `source` is later or rundown. First word wins."""
        if node != target:
            self.bound.setdefault(node, (target, source))

    def _add(self, parent: int, name: str) -> int:
        self.parents.append(parent)
        self.names.append(name)
        return len(self.parents) - 1
