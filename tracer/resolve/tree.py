"""The tree of key names: one node a key, folded by the registry's rule, first spelling kept."""

from tracer.text import fold_name

__all__ = ["KeyTree"]


class KeyTree:
    r"""Every key that was named, and every object that nobody named in advance.

    A node's number is its `key_id`. Names are escaped text (`tracer.text`). A path's components hang below
    each other, so the same key reached by different spellings or by parts is one node.
    """

    ROOT = -1  # the parent of "\REGISTRY"
    LATEST = 1 << 62

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.names: list[str] = []
        self.objects: dict[int, int] = {}  # node of an unnamed object -> its address
        self.unrooted = bytearray()  # per node: 1 below an unnamed object
        self.bound: dict[int, tuple[int, str]] = {}  # such a node -> (the node it turned out to be, source)
        self._stems: dict[tuple[int, str], tuple[int, int]] = {}
        self._folds: dict[str, str] = {}
        self._mentions: list[int] = []
        self._no_base: int | None = None
        self._children: dict[tuple[int, str], int] = {}

    def __len__(self) -> int:
        return len(self.parents)

    def child(self, parent: int, name: str, mention: int = LATEST) -> int:
        """Return the node of the single component `name` below `parent`, made if new.

        `mention` numbers the places at which names were met; the spelling of the lowest one is shown.
        Without it, the spelling that made the node stays.
        """
        key = (parent, name)
        node = self._children.get(key)
        if node is None:
            folded = (parent, self.fold(name))
            node = self._children.get(folded)
            if node is None:
                node = self._children[folded] = self._add(parent, name, mention)
            self._children[key] = node  # this spelling is found at once next time
        if mention < self._mentions[node]:
            self._mentions[node], self.names[node] = mention, name
        return node

    def find(self, parent: int, folded: str) -> int | None:
        """Return the node of a folded component below `parent`; None where it was never named."""
        return self._children.get((parent, folded))

    def fold(self, name: str) -> str:
        """Return the folded form of a component; each spelling is folded once."""
        folded = self._folds.get(name)
        if folded is None:
            folded = self._folds[name] = fold_name(name)
        return folded

    def below(self, parent: int, path: str, mention: int = LATEST) -> int:
        r"""Return the node of `path`, one or more components, below `parent`.

        Doubled and trailing backslashes name nothing of their own: ``A\\B\`` is ``A\B``.
        """
        above, slash, name = path.rpartition("\\")
        if slash:
            # Siblings share all but their last component, which is looked up whole.
            known = self._stems.get((parent, above))
            if known is None or mention < known[1]:
                known = self._stems[parent, above] = (self.below(parent, above, mention), mention)
            parent = known[0]
        return self.child(parent, name, mention) if name else parent

    def rooted(self, path: str, mention: int = LATEST) -> int:
        r"""Return the node of an absolute native path (``\REGISTRY\...``); ``\`` alone is a node too."""
        node = self.below(self.ROOT, path, mention)
        return self.child(self.ROOT, "\\") if node == self.ROOT else node

    def unnamed(self, address: int) -> int:
        """Return a new node that stands for an object which nothing has named yet."""
        node = self._add(self.ROOT, f"<object 0x{address & 0xFFFFFFFFFFFFFFF8:X}>")
        self.objects[node] = address
        self.unrooted[node] = 1
        return node

    def no_base(self) -> int:
        """Return the node below which relative names stand whose record has no base object."""
        if self._no_base is None:
            self._no_base = self.unnamed(0)
        return self._no_base

    def is_unrooted(self, node: int) -> bool:
        """Whether `node` is an unnamed object or stands below one."""
        return bool(self.unrooted[node])

    def bind(self, node: int, target: int, source: str) -> None:
        """Say that the unnamed `node` turned out to be `target`; `source` is later or rundown. First word wins."""
        if node != target:
            self.bound.setdefault(node, (target, source))

    def _add(self, parent: int, name: str, mention: int = LATEST) -> int:
        self.parents.append(parent)
        self._mentions.append(mention)
        self.names.append(name)
        self.unrooted.append(self.unrooted[parent] if parent >= 0 else 0)
        return len(self.parents) - 1
