r"""Normalized names: parts that differ between machines and users without a meaning are folded."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING

from tracer.errors import UsageError
from tracer.registry.suggestions import advice

if TYPE_CHECKING:
    from ibis.expr.types import StringValue

__all__ = [
    "FOLDS",
    "identifiers",
    "meaning",
    "meaning_of_text",
    "parse_folds",
    "parse_words",
    "without_views",
    "word_of",
]

FOLDS = ("sid", "guid", "controlset", "wow64")
# On folded names. Each matches in linear time in any engine: no repetition begins where another may end.
_SID = "S-1-(?:5-21|12-1)(?:-[0-9]+)+"
_GUID = r"\{[0-9A-F]{8}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{4}-[0-9A-F]{12}\}"
_CONTROL_SET = r"\AHKLM\\SYSTEM\\CONTROLSET[0-9]{3}(\\|\z)"
_CURRENT = "HKLM\\SYSTEM\\CURRENTCONTROLSET"
_NUMBERED = len("HKLM\\SYSTEM\\CONTROLSET001")
_PATH_OF_CONTROL_SET = re.compile(r"HKLM\\SYSTEM\\CONTROLSET[0-9]{3}(?:\\|\Z)")
_WOW64 = "\\WOW6432NODE\\"


def parse_folds(words: str | Collection[str] | None) -> tuple[str, ...]:
    """Return the kinds of names to fold, from a list or a text with commas; "all" means all, "noise" is no name.

    Raises:
        UsageError: there is no such kind.
    """
    kinds = parse_words(words)
    wrong = sorted(kinds - {*FOLDS, "all", "noise"})
    if wrong:
        raise UsageError(f"{wrong[0]!r} cannot be folded; {advice(wrong[0], [*FOLDS, 'all', 'noise'])}")
    return tuple(word for word in FOLDS if word in kinds or "all" in kinds)


def parse_words(words: str | Collection[str] | None) -> set[str]:
    """Return the words of a list or a text with commas, in lower case."""
    listed = (words or "").split(",") if words is None or isinstance(words, str) else words
    return {word.strip().lower() for word in listed if word.strip()}


def meaning(name: "StringValue", folds: Collection[str]) -> "StringValue":
    r"""Return names (paths, or value names) with these folds applied; NULL stays NULL.

    Several names may have one meaning: `analysis.answers.pairing` says which of them are folded.

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
        import ibis

        current = ibis.literal(_CURRENT).concat(name.substr(_NUMBERED))
        name = ibis.ifelse(name.re_search(_CONTROL_SET), current, name)
    if "wow64" in folds:
        name = name.replace(_WOW64, "\\")
    return name


def identifiers(folds: Collection[str]) -> str | None:
    """Return the pattern of the identifiers that are folded, for folded names; None where none are."""
    patterns = [pattern for fold, pattern in (("sid", _SID), ("guid", _GUID)) if fold in folds]
    return "|".join(patterns) or None


def word_of(identifier: str) -> str:
    """Return the placeholder of a folded identifier."""
    return "{GUID}" if identifier.startswith("{") else "<SID>"


def without_views(name: str, folds: Collection[str]) -> str:
    """Return a folded path with the folds of control sets and views applied, as `meaning` does."""
    if "controlset" in folds and _PATH_OF_CONTROL_SET.match(name):
        name = _CURRENT + name[_NUMBERED:]
    return name.replace(_WOW64, "\\") if "wow64" in folds else name


def meaning_of_text(text: str, folds: Collection[str]) -> str:
    """Return the text of a value with its identifiers folded, in any case."""
    pattern = identifiers(folds)
    return (
        re.sub(pattern, lambda match: word_of(match[0]), text, flags=re.IGNORECASE | re.ASCII)
        if pattern
        else text
    )
