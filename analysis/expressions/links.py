r"""Symbolic links between keys: the target of a path, for every engine.

A user's ``Software\Classes`` is a link to the hive ``<SID>_Classes`` beside the user's own; CurrentControlSet is one
too, and `display_path` names that number already where it is known. Below a link stands what is below its target.
"""

import ibis
from ibis.expr.types import StringValue, Table

__all__ = ["link_path", "link_target", "own_paths"]

# ASCII letters one by one: engines' own rules for case would let a long s stand for an s.
_CLASSES = r"[Ss][Oo][Ff][Tt][Ww][Aa][Rr][Ee]\\[Cc][Ll][Aa][Ss][Ss][Ee][Ss]"
_LINK = rf"\AHKU\\([Ss]-1-[0-9-]+)\\{_CLASSES}(\\|\z)"
_TARGET = r"\AHKU\\([Ss]-1-[0-9-]+)_[Cc][Ll][Aa][Ss][Ss][Ee][Ss](\\|\z)"
_USERS = "HKU\\"
_BELOW_USER, _BESIDE_USER = "\\Software\\Classes", "_Classes"


def link_target(path: StringValue, *, as_shown: bool = False) -> StringValue:
    """Return folded display paths with the link to a user's classes followed; `as_shown`: paths not folded."""
    return _respelled(path, _LINK, _BELOW_USER, _BESIDE_USER, as_shown=as_shown)


def link_path(path: StringValue, *, as_shown: bool = False) -> StringValue:
    """Return folded display paths in a user's classes hive as spelled through the link; others unchanged."""
    return _respelled(path, _TARGET, _BESIDE_USER, _BELOW_USER, as_shown=as_shown)


def own_paths(keys: Table) -> Table:
    """Return group_id, path (folded) and shown of the keys that represent groups, links followed.

    What is below a key has a path that begins with that key's and a backslash, whichever way it was recorded.
    """
    keys = keys.filter(keys["key_id"] == keys["same_as"])
    return keys.select(
        group_id="key_id",
        path=link_target(keys["folded_path"]),
        shown=link_target(keys["display_path"], as_shown=True),
    )


def _respelled(path: StringValue, pattern: str, old: str, new: str, *, as_shown: bool) -> StringValue:
    user = path.re_extract(pattern, 1)
    rest = path.substr(user.length() + len(_USERS) + len(old))
    spelled = ibis.literal(_USERS).concat(user, new if as_shown else new.upper(), rest)
    return ibis.ifelse(path.startswith(_USERS) & path.re_search(pattern), spelled, path)
