r"""Keys of users: the patterns of keys below `HKCU` and `HKCR`, and the spelling of a user's key as `HKCU\...`.

`HKCU` is another key for each user, and `HKCR` shows each user's classes before those of the machine. Whose keys a
capture holds is known elsewhere; here users are SIDs. Paths in general are in `tracer.registry.paths`.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from tracer.errors import UsageError
from tracer.registry.paths import KeyPattern, compile_pattern
from tracer.registry.quoting import as_pattern

__all__ = ["UserRoot", "as_current_user", "compile_patterns", "is_profile", "is_sid", "sid_of", "user_root"]

_FLAGS = re.ASCII | re.IGNORECASE
_PREFIX = re.compile(r"(?:Computer\\|(?:Microsoft\.PowerShell\.Core\\)?Registry::)", _FLAGS)
# What stands in brackets is a name, and may hold any letter but a backslash.
_ROOT = re.compile(
    r"(HKCU|HKEY_CURRENT_USER|HKCR|HKEY_CLASSES_ROOT):?(?: \(([^\\]+)\))?(?=\\|\Z)\\*(.*)", _FLAGS | re.DOTALL
)
_LITERAL = re.compile(r"\[([*?\[])\]")
_SID = re.compile(r"S-1(?:-[0-9]+)+|\.DEFAULT", _FLAGS)
# Accounts of a machine or domain, and of Entra ID ([MS-DTYP] 2.4.2.4; Microsoft Learn, "Security identifiers").
_PROFILE = re.compile(r"S-1-(?:5-21|12-1)(?:-[0-9]+)+", _FLAGS)
_HIVE = re.compile(r"HKU\\(S-1(?:-[0-9]+)+|\.DEFAULT)(_Classes)?(?=\\|\Z)", _FLAGS)
_SOME_PROFILE = "S-1-5-21-0"  # stands for every profile until the regular expression is made


class UserRoot(NamedTuple):
    r"""What a key begins with that is a user's: ``HKCU``, ``HKCU (alice)``, ``HKCR``.

    Attributes:
        classes: it is HKCR, whose other side is the machine's.
        user: the name or SID in brackets; None: it names no user.
        rest: what stands below it, "" for nothing.
    """

    classes: bool
    user: str | None
    rest: str


def user_root(text: str) -> UserRoot | None:
    r"""Return the user's root with which a key or pattern begins; None where it begins with another.

    >>> user_root(r"HKCU (alice)\Software\Run")
    UserRoot(classes=False, user='alice', rest='Software\\Run')
    """
    pattern = as_pattern(text)
    prefix = _PREFIX.match(pattern)
    found = _ROOT.fullmatch(pattern, prefix.end() if prefix else 0)
    if found is None:
        return None
    root, user, rest = found.groups()
    is_classes = root.upper() in ("HKCR", "HKEY_CLASSES_ROOT")
    return UserRoot(is_classes, None if user is None else _LITERAL.sub(r"\1", user), rest)


def is_sid(text: str) -> bool:
    """Tell whether a user is given by SID (or ``.DEFAULT``) rather than by name."""
    return bool(_SID.fullmatch(text))


def is_profile(sid: str) -> bool:
    """Tell whether a SID is of somebody's account, not one of Windows' own such as S-1-5-18.

    >>> is_profile("S-1-5-21-1-2-3-1001"), is_profile("S-1-5-18"), is_profile(".DEFAULT")
    (True, False, False)
    """
    return bool(_PROFILE.fullmatch(sid))


def sid_of(display_key: str) -> str | None:
    r"""Return whose key this is, by its display path: the SID in upper case; None for keys of no user.

    >>> sid_of(r"HKU\S-1-5-21-1-2-3-1001_Classes\.txt")
    'S-1-5-21-1-2-3-1001'
    """
    hive = _HIVE.match(display_key)
    return hive[1].upper() if hive else None


def as_current_user(display_key: str, root: str) -> str:
    r"""Return a user's key with `root` in place of the user's hive; another key stays as it is.

    >>> as_current_user(r"HKU\S-1-5-21-1-2-3-1001_Classes\.txt", "HKCU")
    'HKCU\\Software\\Classes\\.txt'
    """
    hive = _HIVE.match(display_key)
    if hive is None:
        return display_key
    return root + ("\\Software\\Classes" if hive[2] else "") + display_key[hive.end() :]


def compile_patterns(
    text: str,
    *,
    control_set: int | None = None,
    users: Sequence[str] | None = None,
    subtree: bool = False,
    shows_user: bool = False,
) -> list[KeyPattern]:
    r"""Return the patterns for a key that a user wrote, of which one must match; see `compile_pattern`.

    Args:
        text: the key or pattern.
        control_set: number of the current control set; None if unknown.
        users: SIDs of those whose key HKCU is, and whose classes are in HKCR; None: everybody with a profile.
        subtree: keys below a matching key match too.
        shows_user: whether keys are shown as ``HKCU\...`` because nothing says whose they are, as in a Procmon log
            without a SID. HKCU then means these, beside those of `users`.

    Returns:
        No pattern where the key is of a user, and there is none.

    Raises:
        UsageError: the root is unknown.
    """
    root = user_root(text)
    if root is None:
        return [compile_pattern(text, control_set=control_set, subtree=subtree)]
    path = f"Software\\Classes\\{root.rest}" if root.classes else root.rest
    below = "\\" + path.rstrip("\\") if path else ""
    patterns = [] if users is not None else [_of_everybody(text, below, subtree=subtree)]
    patterns += [
        compile_pattern(f"HKCU{below}", control_set=control_set, user_sid=sid, subtree=subtree)
        for sid in users or ()
    ]
    if shows_user:
        patterns.append(_as_displayed(text, below, subtree=subtree))
    if root.classes:
        machine = f"HKLM\\SOFTWARE\\Classes\\{root.rest}".rstrip("\\")
        patterns.append(compile_pattern(machine, control_set=control_set, subtree=subtree))
    return patterns


def _of_everybody(text: str, below: str, *, subtree: bool) -> KeyPattern:
    """Return the pattern of a key below the HKCU of everybody with a profile."""
    one = compile_pattern(f"HKU\\{_SOME_PROFILE}{below}", subtree=subtree)
    sid = re.sub("-", r"\\-", _SOME_PROFILE)
    regex = one.regex.replace(sid, r"S\-1\-(?:5\-21|12\-1)(?:\-[0-9]+)+", 1)
    return _with_regex(one, text, regex)


def _as_displayed(text: str, below: str, *, subtree: bool) -> KeyPattern:
    r"""Return the pattern of a key that is shown as ``HKCU\...``."""
    sid = re.sub("-", r"\\-", _SOME_PROFILE)
    one = compile_pattern(f"HKU\\{_SOME_PROFILE}{below}", subtree=subtree)
    return _with_regex(one, text, one.regex.replace(rf"HKU\\{sid}", "HKCU", 1))


def _with_regex(pattern: KeyPattern, text: str, regex: str) -> KeyPattern:
    try:
        compiled = re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"the key pattern {text!r} cannot be used: {error}") from error
    return replace(pattern, text=text, regex=regex, exact=None, _compiled=compiled)
