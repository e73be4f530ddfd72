r"""Names by what they mean: what differs between machines and users without meaning anything is folded away."""

from collections.abc import Collection

import ibis
from ibis.expr.types import StringValue

from tracer.errors import UsageError

__all__ = ["FOLDS", "meaning", "parse_folds"]

FOLDS = ("sid", "guid", "controlset", "wow64")
# On folded names. Each matches in linear time in any engine: no repetition begins where another may end.
_SID = "S-1-(?:5-21|12-1)(?:-[0-9]+)+"
_GUID = r"\{[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}\}"
_CONTROL_SET = r"\AHKLM\\SYSTEM\\CONTROLSET[0-9]{3}(\\|\z)"
_CURRENT = "HKLM\\SYSTEM\\CURRENTCONTROLSET"
_NUMBERED = len("HKLM\\SYSTEM\\CONTROLSET001")
_WOW64 = "\\WOW6432NODE\\"


def parse_folds(words: str | Collection[str] | None) -> tuple[str, ...]:
    """Return the kinds of names to fold that a user named, separated by commas or in a list; "all" are all.

    Raises:
        UsageError: there is no such kind.
    """
    listed = (words or "").split(",") if words is None or isinstance(words, str) else words
    named = {word.strip().lower() for word in listed if word.strip()}
    wrong = sorted(named - {*FOLDS, "all"})
    if wrong:
        raise UsageError(f"{wrong[0]!r} cannot be folded: the words are {', '.join(FOLDS)} and all")
    return tuple(word for word in FOLDS if word in named or "all" in named)


def meaning(name: StringValue, folds: Collection[str]) -> StringValue:
    r"""Return folded names (paths, or value names) without what is to be folded; NULL stays NULL.

    * sid: the SID of a user (of a machine's or a domain's account, or of Entra ID) is ``<SID>``;
    * guid: a GUID in braces is ``{GUID}``;
    * controlset: a control set with a number is ``CURRENTCONTROLSET``;
    * wow64: ``Wow6432Node`` is left out.
    """
    if "sid" in folds:
        name = name.re_replace(_SID, "<SID>")
    if "guid" in folds:
        name = name.re_replace(_GUID, "{GUID}")
    if "controlset" in folds:
        current = ibis.literal(_CURRENT).concat(name.substr(_NUMBERED))
        name = ibis.ifelse(name.re_search(_CONTROL_SET), current, name)
    if "wow64" in folds:
        name = name.replace(_WOW64, "\\")
    return name
