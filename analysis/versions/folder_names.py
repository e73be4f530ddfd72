r"""Names of keys as names of folders, on any file system: lossless, and nothing a name can hold leads elsewhere.

The rule: ASCII letters, digits, spaces and ``_-+=@{}()[],;'!#$&.`` stand as they are; every other UTF-16 code unit is ``%`` and four hex
digits. So is a dot or a space at either end, a hyphen at the start, and the first letter of a name that Windows keeps for
a device (``CON``, ``COM1.txt``), or that a checkout uses itself. Names that differ in case alone do not occur: the registry
knows none below one key. What is longer than 120 letters then, is cut to 100, and ends with ``~`` and digits of its SHA-256;
the index has the whole name.
"""

import hashlib
import re

from tracer.files.device_names import is_device_name
from tracer.registry.text import fold_name, unescape_name

__all__ = ["INDEX", "VALUES", "Folders", "folder_name"]

VALUES = "values.reg"
INDEX = "index.json"
_PLAIN = re.compile(r"[A-Za-z0-9 _\-+=@{}()\[\],;'!#$&.]")
_OWN = (fold_name(VALUES), fold_name(INDEX))
_LONGEST, _KEPT, _DIGITS = 120, 100, 16
_DEEP = 200  # letters of a path, beyond which old programs of Windows open no file
_APART = "_long"


def folder_name(name: str) -> str:
    r"""Return one component of a key as the name of a folder.

    Args:
        name: raw, not escaped; it may hold anything but a backslash.

    >>> folder_name("Run"), folder_name(".."), folder_name("con"), folder_name("a/b")
    ('Run', '%002E%002E', '%0063on', 'a%002Fb')
    """
    letters = [letter if _PLAIN.fullmatch(letter) else _escaped(letter) for letter in name]
    for place in (0, -1):
        if letters and letters[place] in (".", " "):
            letters[place] = _escaped(letters[place])
    if name.startswith("-"):  # which a shell's pattern would hand to a program as an option
        letters[0] = _escaped("-")
    if letters and (is_device_name(name) or fold_name(name) in _OWN) and len(letters[0]) == 1:
        letters[0] = _escaped(letters[0])
    whole = "".join(letters)
    if len(whole) <= _LONGEST:
        return whole or "%"
    return f"{whole[:_KEPT].rstrip('. ')}~{_digest(name)}"


class Folders:
    r"""The folders of keys below one checkout; a parent is spelled as it was first.

    >>> Folders().of(r"HKLM\SOFTWARE\a:b")
    'HKLM/SOFTWARE/a%003Ab'
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}  # folded path -> the folder of its last component

    def of(self, display_key: str) -> str:
        """Return the folder of a key, with ``/`` between its components.

        A path of more than 200 letters is ``_long/`` and digits of its SHA-256.
        """
        parts = display_key.strip("\\").split("\\")
        names = [
            self._names.setdefault(fold_name("\\".join(parts[: place + 1])), folder_name(unescape_name(part)))
            for place, part in enumerate(parts)
        ]
        path = "/".join(names)
        return path if len(path) <= _DEEP else f"{_APART}/{_digest(display_key, 2 * _DIGITS)}"


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join(f"%{units[place : place + 4]}" for place in range(0, len(units), 4))


def _digest(text: str, digits: int = _DIGITS) -> str:
    return hashlib.sha256(fold_name(text).encode("utf-16-le", "surrogatepass")).hexdigest()[:digits]
