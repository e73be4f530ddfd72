r"""Keys and value names from paths that do not say where the key ends.

Sysmon, Procmon's exports and others write a value as its key's path, a backslash and its name, and names hold backslashes
too (``...\MuiCache\@C:\Windows\notepad.exe,-469``). The first of these decides; after the last two the row has the flags
name_ambiguous and path_split:

1. Two backslashes in a row cannot be inside a key's path: the name begins at the second.
2. What stands before the last backslash is a key that is known: from an operation on the key itself, or because a key
   below it is known.
3. The path is below a key of which all subkeys are known (a baseline), and 2. does not hold: the longest key that is known.
4. A component looks like the beginning of a file's path (``C:``, ``@C:``, ``@%windir%``): the name begins there.
5. The name is what follows the last backslash.

3. is sure only where no key can have been made meanwhile, so it counts as inferred as well. The longest known key
alone proves nothing: of 32,000 real writes 5,500 are of keys that no other record names, below keys that some do.

``(Default)`` is the value with the empty name; a value that is really called so cannot be told from it.
"""

import re
from collections.abc import Iterable

from tracer.registry.paths import native_path
from tracer.registry.text import fold_name
from tracer.resolve.tree import KeyTree

__all__ = ["DEFAULT", "KnownKeys", "Targets", "native"]

DEFAULT = "(Default)"
_ROOTS = frozenset(
    {
        "HKLM",
        "HKU",
        "HKCR",
        "HKCC",
        "HKEY_LOCAL_MACHINE",
        "HKEY_USERS",
        "HKEY_CLASSES_ROOT",
        "HKEY_CURRENT_CONFIG",
    }
)
_FILE = re.compile(r"\\(?=@?[A-Za-z]:\\|@?%[A-Za-z0-9_()]+%\\)")


class KnownKeys:
    r"""Keys that are known to be keys, by folded native path (``\REGISTRY\MACHINE\...``)."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._complete: set[str] = set()

    def add(self, paths: Iterable[str]) -> None:
        """Add keys and all that is above them."""
        keys = self._keys
        for path in paths:
            folded = fold_name(path)
            while folded and folded not in keys:
                keys.add(folded)
                folded = folded.rpartition("\\")[0]

    def add_complete(self, root: str) -> None:
        """Say that every key below `root`, a native path, was added."""
        self._complete.add(fold_name(root))

    def __contains__(self, folded: str) -> bool:
        return folded in self._keys

    def is_complete(self, folded: str) -> bool:
        """Whether the key is at or below one of which all subkeys are known."""
        while folded:
            if folded in self._complete:
                return True
            folded = folded.rpartition("\\")[0]
        return False

    def __bool__(self) -> bool:
        return bool(self._keys)


class Targets:
    """Finds key and value of the distinct paths of named sources."""

    def __init__(self, tree: KeyTree, known: KnownKeys) -> None:
        self._tree, self._known = tree, known
        self._keys: dict[str, int] = {}
        self._values: dict[str, tuple[int, str, bool]] = {}

    def key(self, path: str) -> int:
        """Return the key_id of a key's path; -1 for an empty one."""
        node = self._keys.get(path)
        if node is None:
            node = self._keys[path] = self._tree.rooted(native(path)) if path.strip("\\") else -1
        return node

    def value(self, path: str) -> tuple[int, str, bool]:
        """Return key_id, name of the value, and whether the split is sure, of a value's path."""
        found = self._values.get(path)
        if found is None:
            found = self._values[path] = self._split(path)
        return found

    def _split(self, path: str) -> tuple[int, str, bool]:
        end, is_sure = self._end(path)
        if end <= 0:
            return self.key(path), "", False
        name = path[end + 1 :]
        return self.key(path[:end]), "" if name == DEFAULT else name, is_sure

    def _end(self, path: str) -> tuple[int, bool]:
        doubled = path.find("\\\\", 1)
        if doubled > 0:
            return doubled, True
        last = path.rfind("\\")
        if last <= 0:
            return last, False
        whole = native(path[:last])
        above, longer = fold_name(whole), len(whole) - last  # what follows the root is as long as in the path
        if above in self._known:
            return last, True
        if self._known.is_complete(above):
            while above and above not in self._known:
                above = above.rpartition("\\")[0]
            end = len(above) - longer
            if end > 0:
                return end, False
        file = _FILE.search(path)
        return (file.start() if file and 0 < file.start() < last else last), False


def native(path: str) -> str:
    r"""Return the native path of a key as a source writes it; a root that is none of Windows' stays as it is."""
    root = path.partition("\\")[0].upper()
    if root in _ROOTS or path[:9].upper() == "\\REGISTRY":
        return native_path(path)
    return path
