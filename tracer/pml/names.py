r"""Keys and value names from the paths that Procmon shows.

Procmon shows a value as its key's path, a backslash and its name, and a name may hold backslashes itself
(``...\MuiCache\@C:\Windows\notepad.exe,-469``). Where the key ends is decided by the first of these that
applies; the first two are sure, after the others the row has the flag path_split:

1. What stands before the last backslash is a key that another operation of the file names, or a key's
   ancestor. Two backslashes in a row cannot be inside a key's path, so they count as the last one.
2. The record carries the name itself (full and basic value information).
3. A component is a drive (``C:`` or ``@C:``): the name begins there.
4. The key this thread used last, at least four components long, is the beginning of the path.
5. The name is what follows the last backslash.

``(Default)`` is the value with the empty name; a value that is really called so cannot be told from it.

HKCU is one account's hive for the whole file, that of the user Procmon ran as: a SYSTEM process opening
HKU\S-1-5-18 is shown as just that. Its SID is taken from the answers to RegQueryKey when all of them agree;
without any, keys stay below a root of their own, ``HKCU``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tracer.registry.paths import native_path
from tracer.registry.text import escape_name, fold_name

__all__ = ["KeyNames", "KeyTreeLike", "Split", "find_user_sid"]

_DEFAULT = "(Default)"
_ROOTS = frozenset({"HKLM", "HKU", "HKCR", "HKCC", "\\REGISTRY"})
_DRIVE = re.compile(r"\\@?[A-Za-z]:\\")
_USER_HIVE = re.compile(r"\\REGISTRY\\USER\\(S-1(?:-[0-9]+)+|\.DEFAULT)(?:_Classes)?(?=\\|\Z)", re.IGNORECASE)
_LEAST_COMPONENTS = 4
_UNASKED = -2
_NUL = escape_name("\0")


class KeyTreeLike(Protocol):
    """The methods of `tracer.resolve.tree.KeyTree` that are used here."""

    def rooted(self, path: str) -> int:
        """Return the node of an absolute path."""
        ...


@dataclass(frozen=True, slots=True)
class Split:
    """One way to split a value's path into key and name.

    Attributes:
        key_id: the key; None if the path is empty.
        value_name: escaped; empty is the default value.
        sure: whether the file leaves no doubt.
        folded_key: the key's path as Procmon shows it, folded.
    """

    key_id: int | None
    value_name: str
    sure: bool
    folded_key: str


def find_user_sid(answers: Iterable[str]) -> str | None:
    r"""Return the SID of HKCU, from native names of keys below it; None if they disagree or are none.

    >>> find_user_sid([r"\REGISTRY\USER\S-1-5-21-1-2-3-1001_Classes\CLSID"])
    'S-1-5-21-1-2-3-1001'
    """
    sids = {match[1].upper() if (match := _USER_HIVE.match(answer)) else None for answer in answers}
    return sids.pop() if len(sids) == 1 else None


class KeyNames:
    """Finds the keys and values of the distinct paths of one file."""

    def __init__(
        self, texts: list[str], is_key: NDArray[np.bool_], *, tree: KeyTreeLike, user_sid: str | None
    ) -> None:
        self._texts = texts
        self._tree = tree
        self._user_sid = user_sid
        self.has_nul = np.array(
            [*(_NUL in text for text in texts), False], np.bool_
        )  # by number, -1 included
        self._keys: set[str] = set()
        for number in np.flatnonzero(is_key):
            self._add_key(fold_name(texts[number]))
        self._key_ids = np.full(len(texts) + 1, _UNASKED, np.int32)
        self._key_ids[-1] = -1  # the number -1
        self._folded: dict[int, str] = {}
        self._splits: dict[int, tuple[Split, bool]] = {}
        self._by_key: dict[tuple[int, int], Split] = {}
        self.below_unknown_user: set[int] = set()  # key_ids that stay below HKCU

    def key_ids(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the key_ids of whole paths; -1 for the number -1 and for an empty path."""
        new = np.unique(numbers[(numbers >= 0) & (self._key_ids[numbers] == _UNASKED)])
        for number in new.tolist():
            node = self._node(self._texts[number])
            self._key_ids[number] = -1 if node is None else node
        return self._key_ids[numbers]

    def folded(self, number: int) -> str:
        """Return the folded path."""
        folded = self._folded.get(number)
        if folded is None:
            folded = self._folded[number] = fold_name(self._texts[number])
        return folded

    def split(self, number: int, *, carried: str | None, used_last: str | int | None) -> Split:
        """Split a path that ends with a value's name into key and name.

        Args:
            number: the path.
            carried: name of the value where the record itself has it.
            used_last: the key that the thread used last, as a folded path or the number of one; None if it
                was closed or not seen.
        """
        reading = self._splits.get(number)
        if reading is None:
            reading = self._splits[number] = self._split(number)
        split, may_follow_thread = reading
        if split.sure:
            return split
        if carried is not None and self._texts[number].endswith("\\" + (carried or _DEFAULT)):
            return self._at(number, len(self._texts[number]) - len(carried or _DEFAULT) - 1, sure=True)
        if may_follow_thread and used_last is not None:
            prefix = self.folded(used_last) if isinstance(used_last, int) else used_last
            deep = prefix.count("\\") >= _LEAST_COMPONENTS - 1
            if deep and self.folded(number).startswith(prefix + "\\"):
                return self._at(number, len(prefix), sure=False)
        return split

    def _split(self, number: int) -> tuple[Split, bool]:
        """Split by the path alone; also return whether the thread's last key may change the split."""
        text = self._texts[number]
        doubled = text.find("\\\\", 1)
        end = doubled if doubled > 0 else text.rfind("\\")
        if end <= 0:
            return Split(self._node(text), "", False, fold_name(text)), False
        if self.folded(number)[:end] in self._keys:
            return self._at(number, end, sure=True), False
        drive = _DRIVE.search(text)
        if drive and drive.start() > 0:
            return self._at(number, min(drive.start(), end), sure=False), False
        return self._at(number, end, sure=False), True

    def _at(self, number: int, end: int, *, sure: bool) -> Split:
        """Return the split in which the key's path is `end` characters long."""
        split = self._by_key.get((number, end))
        if split is None or split.sure != sure:
            text = self._texts[number]
            name = text[end + 1 :]
            split = self._by_key[number, end] = Split(
                self._node(text[:end]), "" if name == _DEFAULT else name, sure, self.folded(number)[:end]
            )
        return split

    def _node(self, text: str) -> int | None:
        """Return the key_id of a key's path as Procmon shows it."""
        root = text.partition("\\")[0] or text[: len("\\REGISTRY")]
        if not root:
            return None
        if root.upper() in _ROOTS or (root.upper() == "HKCU" and self._user_sid):
            return self._tree.rooted(native_path(text, user_sid=self._user_sid))
        node = self._tree.rooted(text)
        if root.upper() == "HKCU":
            self.below_unknown_user.add(node)
        return node

    def _add_key(self, folded: str) -> None:
        while folded and folded not in self._keys:
            self._keys.add(folded)
            folded = folded.rpartition("\\")[0]
