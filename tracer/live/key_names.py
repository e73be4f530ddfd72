"""Names of keys by number, and how sure each name is, while their tree still grows."""

from tracer.registry.paths import display_path
from tracer.resolve.tree import KeyTree

__all__ = ["KeyNames"]


class KeyNames:
    """Spells the keys of a tree. Names of rooted keys are cached, because they no longer change."""

    def __init__(self, tree: KeyTree, control_set: int | None = None) -> None:
        self._tree, self._control_set = tree, control_set
        self._paths: dict[int, str] = {}
        self._display_paths: dict[int, str] = {}

    def path(self, node: int) -> str:
        """Return the native path, escaped."""
        tree, paths = self._tree, self._paths
        chain: list[int] = []
        while node not in paths:
            chain.append(node)
            if node in tree.bound:
                node = tree.bound[node][0]
            elif tree.parents[node] >= 0:
                node = tree.parents[node]
            else:
                break
        path = paths.get(node, "")
        for each in reversed(chain):
            if each in tree.bound:
                continue  # it is what it turned out to be
            name = tree.names[each]
            if tree.parents[each] < 0:
                bare = tree.unrooted[each] or each in tree.bare or name == "\\"
                path = name if bare else f"\\{name}"
            else:
                path = f"{path}\\{name}"
            if not tree.unrooted[each]:
                paths[each] = path
        return path

    def display_path(self, node: int) -> str:
        """Return the Win32 spelling, or the native path where there is none."""
        text = self._display_paths.get(node)
        if text is None:
            text = display_path(self.path(node), control_set=self._control_set)
            if not self._tree.unrooted[node]:
                self._display_paths[node] = text
        return text

    def source(self, node: int) -> str:
        """Return the name source of a key that had no name at first: later, rundown, partial or none."""
        tree, top = self._tree, node
        if not tree.unrooted[node]:
            return "later"
        while tree.parents[top] >= 0 and top not in tree.bound:
            top = tree.parents[top]
        if top in tree.bound:
            return tree.bound[top][1]
        return "none" if top == node else "partial"
