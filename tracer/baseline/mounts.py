r"""Where a hive stands in the registry, and what hives say of their machine.

What a hive is, its content says. Whose NTUSER.DAT it is, it does not say: the path under which Windows loaded it does, where a
SOFTWARE hive beside it lists the profile. What is not proved is asked for, never guessed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracer.baseline.hive import Hive, open_hive
from tracer.errors import UsageError
from tracer.registry.paths import native_path
from tracer.registry.text import decode_name, fold_name

__all__ = ["HiveWord", "MountedHive", "mount_hives", "read_word", "select_current"]

_MACHINE, _USER = "\\REGISTRY\\MACHINE\\", "\\REGISTRY\\USER\\"
# hive, the keys that its root has, each one a path; the first that fits.
_KINDS = (
    ("SYSTEM", _MACHINE + "SYSTEM", (("SELECT",), ("SETUP",))),
    ("SOFTWARE", _MACHINE + "SOFTWARE", (("MICROSOFT", "WINDOWS NT", "CURRENTVERSION"),)),
    ("SAM", _MACHINE + "SAM", (("SAM", "DOMAINS"),)),
    ("SECURITY", _MACHINE + "SECURITY", (("POLICY",), ("RXACT",))),
    ("BCD", _MACHINE + "BCD00000000", (("DESCRIPTION",), ("OBJECTS",))),
)
_OF_USERS = (("CONTROL PANEL",), ("SOFTWARE", "MICROSOFT"))
_PROFILES = ("Microsoft", "Windows NT", "CurrentVersion", "ProfileList")
_OF_WINDOWS = {  # the end of the loaded path, folded -> the user
    "CONFIG\\DEFAULT": ".DEFAULT",
    "LOCALSERVICE\\NTUSER.DAT": "S-1-5-19",
    "NETWORKSERVICE\\NTUSER.DAT": "S-1-5-20",
}
_SID = re.compile(r"S-1(?:-[0-9]+)+(?:_Classes)?|\.DEFAULT", re.ASCII | re.IGNORECASE)
_CLASSES = re.compile(r"(S-1(?:-[0-9]+)+)_Classes", re.ASCII | re.IGNORECASE)
_ADVICE = "write PATH=KEY, such as NTUSER.DAT=S-1-5-21-1-2-3-1001 or FILE=HKLM\\SOFTWARE"
_TEXTS = (1, 2)  # REG_SZ, REG_EXPAND_SZ


@dataclass(frozen=True, slots=True)
class HiveWord:
    """A hive as a user names it: its file, and the key where it stands (native); None: to be found out."""

    path: Path
    key: str | None


@dataclass(frozen=True, slots=True)
class MountedHive:
    """A hive and the native path of its root."""

    hive: Hive
    mount: str


def read_word(word: str) -> HiveWord:
    r"""Return what `PATH` or `PATH=KEY` means; KEY is a registry path or a SID.

    Raises:
        UsageError: the key is none.

    >>> read_word(r"C:\a\NTUSER.DAT=S-1-5-18").key
    '\\REGISTRY\\USER\\S-1-5-18'
    """
    path, separator, key = word.rpartition("=")
    if not separator or Path(word).exists():
        return HiveWord(Path(word), None)
    if _SID.fullmatch(key):
        return HiveWord(Path(path), _USER + key)
    try:
        native = native_path(key)
    except UsageError as error:
        raise UsageError(f"{word}: {key!r} is neither a registry path nor a SID: {_ADVICE}") from error
    if native.count("\\") < 3:
        raise UsageError(f"{word}: no hive stands at {key}: {_ADVICE}")
    return HiveWord(Path(path), native)


def mount_hives(words: Sequence[HiveWord]) -> list[MountedHive]:
    """Open hives, and find out where each stands.

    Raises:
        SourceError: a file is no hive.
        UsageError: nothing says at which key a hive stands, or two stand at one key.
    """
    hives = [open_hive(word.path) for word in words]
    profiles = [profile for hive in hives for profile in _profiles(hive)]
    mounted: dict[str, MountedHive] = {}
    for word, hive in zip(words, hives, strict=True):
        mount = word.key or _mount(hive, profiles)
        other = mounted.setdefault(fold_name(mount), MountedHive(hive, mount))
        if other.hive is not hive:
            raise UsageError(
                f"{word.path} and {other.hive.path} both stand at {mount}: leave one out, or {_ADVICE}"
            )
    return list(mounted.values())


def select_current(hive: Hive) -> int | None:
    """Return the number of the current control set that a SYSTEM hive states; None: another hive, or it does not say."""
    row = hive.keys.find("Select")
    if row is None:
        return None
    for _, name, kind, data in hive.values_of(np.array([row])):
        if fold_name(name) == "CURRENT" and kind == 4 and data is not None and len(data) == 4:
            number = int.from_bytes(data, "little")
            return number if 0 < number < 1000 else None
    return None


def _mount(hive: Hive, profiles: Sequence[tuple[str, str]]) -> str:
    for _, mount, paths in _KINDS:
        if all(hive.keys.find(*path) is not None for path in paths):
            return mount
    classes = _CLASSES.fullmatch(hive.keys.names[0])
    if classes:
        return f"{_USER}{classes[1]}_Classes"
    if all(hive.keys.find(*path) is not None for path in _OF_USERS):
        sid = _user_of(hive, profiles)
        if sid:
            return _USER + sid
        loaded = f" (Windows loaded it from ...{hive.base.name})" if hive.base.name else ""
        raise UsageError(
            f"{hive.path}: this is a user's hive, and nothing says whose{loaded}: give the SOFTWARE hive of the machine as "
            f"well, or {_ADVICE}"
        )
    raise UsageError(f"{hive.path}: nothing in this hive says at which key it stands: {_ADVICE}")


def _user_of(hive: Hive, profiles: Sequence[tuple[str, str]]) -> str | None:
    """Return the SID whose hive was loaded from the path that the hive states; None: nothing proves it."""
    loaded = fold_name(hive.base.name)
    for end, sid in _OF_WINDOWS.items():
        if loaded.endswith(f"\\{end}"):
            return sid
    parts = loaded.split("\\")[1:]  # the first may be cut
    if len(parts) < 2:
        return None
    sids = {
        sid for sid, folder in profiles if _ends_alike(parts, [*fold_name(folder).split("\\"), "NTUSER.DAT"])
    }
    return sids.pop() if len(sids) == 1 else None


def _ends_alike(one: list[str], other: list[str]) -> bool:
    """Whether two paths are alike as far as both are there, drives and %SystemDrive% left out."""
    shared = [
        (mine, theirs)
        for mine, theirs in zip(reversed(one), reversed(other), strict=False)
        if ":" not in mine and "%" not in theirs and ":" not in theirs
    ]
    return len(shared) > 1 and all(mine == theirs for mine, theirs in shared)


def _profiles(hive: Hive) -> list[tuple[str, str]]:
    """Return SID and folder of each profile that a SOFTWARE hive lists."""
    row = hive.keys.find(*_PROFILES)
    if row is None:
        return []
    children = np.flatnonzero(hive.keys.parent == row)
    found = []
    for key, name, kind, data in hive.values_of(children):
        sid = hive.keys.names[key]
        if fold_name(name) == "PROFILEIMAGEPATH" and kind in _TEXTS and data and _SID.fullmatch(sid):
            found.append((sid, decode_name(data).split("<U+0000>", 1)[0]))
    return found
