r"""Registry paths: native ones (`\REGISTRY\MACHINE\...`), display paths (`HKLM\...`), and patterns for both.

Paths are escaped text (`tracer.registry.text`); a component never holds a backslash, and a forward slash is a letter
like any other. Nothing here looks at a machine: what only a machine knows (which control set is current,
whose HKEY_CURRENT_USER is meant) is a parameter, and without it the path stays as it was recorded.
"""

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from tracer.errors import UsageError
from tracer.registry.quoting import as_pattern
from tracer.registry.text import escape_argument, fold_name

__all__ = [
    "KeyPattern",
    "compile_pattern",
    "display_path",
    "display_paths",
    "has_wildcard",
    "native_path",
]

_MACHINE = "\\REGISTRY\\MACHINE"
_USER = "\\REGISTRY\\USER"
_ROOTS = {
    "HKLM": _MACHINE,
    "HKEY_LOCAL_MACHINE": _MACHINE,
    "HKU": _USER,
    "HKEY_USERS": _USER,
    "HKCR": _MACHINE + "\\SOFTWARE\\Classes",
    "HKEY_CLASSES_ROOT": _MACHINE + "\\SOFTWARE\\Classes",
    "HKCC": _MACHINE + "\\SYSTEM\\CurrentControlSet\\Hardware Profiles\\Current",
    "HKEY_CURRENT_CONFIG": _MACHINE + "\\SYSTEM\\CurrentControlSet\\Hardware Profiles\\Current",
}
_CURRENT_USER = ("HKCU", "HKEY_CURRENT_USER")
_NATIVE_ROOTS = ("MACHINE", "USER", "A", "WC")
_ADVICE = "start it with HKLM, HKU, HKCU, HKCR, HKCC or \\REGISTRY\\"

# ASCII only: Unicode case rules would let a long s stand for the S of REGISTRY.
_PREFIX = re.compile(r"(?:Computer\\|(?:Microsoft\.PowerShell\.Core\\)?Registry::)", re.ASCII | re.IGNORECASE)
_NATIVE = re.compile(r"\\+REGISTRY(?=\\|\Z)", re.ASCII | re.IGNORECASE)
_DISPLAYED = re.compile(r"\\REGISTRY\\(?:(MACHINE)|USER)(?=\\|\Z)", re.ASCII | re.IGNORECASE)
_OBJECT = re.compile(r"<object 0x", re.ASCII | re.IGNORECASE)
_SID = re.compile(r"S-1(?:-[0-9]+)+|\.DEFAULT", re.ASCII | re.IGNORECASE)
_ABOVE_CLASSES = re.compile(
    r"(HKU\\S-1-[0-9-]+)(?:\\SOFTWARE)?"
)  # folded; a link to the classes hive lies below
_SEPARATORS = re.compile(r"\\{2,}")
_WILD_ROOT = re.compile(r"[^\\/*?]*[*?]")  # a wildcard in the first component, and no slash before it
_LITERAL = re.compile(r"\[([*?\[])\]")
# `**` as whole components takes the backslash beside it along, for it may stand for none.
_TOKEN = re.compile(
    r"\[([*?\[])\]|(\A(?:\*{2,}\\)+)|((?:\\\*{2,})+(?=\\|\Z))|(\*{2,})|(\*)|(\?)"
    r"|((?:[^*?\[\\]|\\(?!\*{2,}(?:\\|\Z)))+|\[)"
)


def native_path(text: str, *, user_sid: str | None = None) -> str:
    r"""Return the native path of a key that a user wrote.

    Accepts HKLM, HKEY_LOCAL_MACHINE and the other roots in any case, PowerShell's ``HKLM:\``, the prefixes
    ``Computer\`` and ``Registry::``, and ``\REGISTRY\...``. The root gets its canonical spelling, every other
    component keeps the one given; doubled and trailing backslashes are dropped.

    HKCR is a merged view of a machine and a user side and is read as its machine side, which is lossy.
    HKCC is read as the documented link target; CurrentControlSet stays as written.

    Args:
        text: the path, escaped; a bare NUL or lone surrogate is escaped here.
        user_sid: SID whose key HKCU is (or ``.DEFAULT``); None if not given.

    Raises:
        UsageError: the root is unknown, or it is HKCU and no SID was given.

    >>> native_path(r"hklm:\SOFTWARE\Vendor")
    '\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor'
    """
    if _OBJECT.match(text):
        return _tidy(text)
    rooted = _rooted(_tidy(text), user_sid)
    if rooted is None:
        hint = "; components are separated by backslashes" if "/" in text and "\\" not in text else ""
        raise UsageError(f"{text!r} is not a registry path: {_ADVICE}{hint}")
    return rooted


def display_path(native: str, *, control_set: int | None = None, user_sid: str | None = None) -> str:
    r"""Return the display path (Win32 spelling) of a native path, or the native path if it has none.

    ControlSet00N is shown as CurrentControlSet only when `control_set` says that N was current, a user's key
    as HKCU only when it is `user_sid`'s. App hives (``\REGISTRY\A``), container hives (``\REGISTRY\WC``) and
    paths below an unnamed object have no Win32 spelling.

    >>> display_path(r"\REGISTRY\MACHINE\SYSTEM\ControlSet001\Services", control_set=1)
    'HKLM\\SYSTEM\\CurrentControlSet\\Services'
    """
    return _displayer(control_set, user_sid)(native)


def display_paths(
    natives: Iterable[str | None], *, control_set: int | None = None, user_sid: str | None = None
) -> list[str | None]:
    """Return `display_path` of each of many paths; each distinct path is computed once, None stays None.

    Args:
        natives: a list, a pandas column or an Arrow array of native paths.
        control_set: as in `display_path`.
        user_sid: as in `display_path`.
    """
    to_pylist = getattr(natives, "to_pylist", None)
    paths: Iterable[str | None] = to_pylist() if to_pylist else natives
    display = _displayer(control_set, user_sid)
    path_list = list(paths)
    displayed: dict[str | None, str | None] = {
        path: display(path) for path in set(path_list) if path is not None
    }
    displayed[None] = None
    return [displayed[path] for path in path_list]


def has_wildcard(text: str) -> bool:
    """Tell whether a pattern holds ``*`` or ``?`` outside an escape such as ``[*]`` and outside double quotes."""
    return bool(re.search(r"[*?]", _LITERAL.sub("", as_pattern(text))))


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """A pattern over key paths, ready to match; made by `compile_pattern`.

    Attributes:
        text: the pattern as given.
        regex: what a folded spelling of a key must match as a whole (the same in Python and RE2).
        exact: the folded display spellings that match; None for a pattern with wildcards.
        subtree: whether keys below a matching key match too.
        control_set: the current control set of the capture; None if unknown.
        native: whether native spellings are tried as well (the pattern's root has wildcards).
    """

    text: str
    regex: str
    exact: tuple[str, ...] | None
    subtree: bool
    control_set: int | None
    native: bool
    _compiled: re.Pattern[str] = field(repr=False, compare=False)

    def matches(self, path: str) -> bool:
        """Tell whether a key matches, given by its native or display path in any case."""
        return any(
            self._compiled.fullmatch(spelling)
            for spelling in _spellings(fold_name(display_path(path)), self.control_set, native=self.native)
        )

    def sql(self, column: str = "folded_path") -> str:
        """Return a DuckDB condition over a column of folded display paths; `column` is trusted SQL."""
        if self.exact is not None:
            keys = ", ".join(map(_quote, self.exact))
            conditions = [f"{column} IN ({keys})"]
            if self.subtree:
                hives = [
                    f"{above[1]}_CLASSES" for above in map(_ABOVE_CLASSES.fullmatch, self.exact) if above
                ]
                conditions += [f"{column} = {_quote(hive)}" for hive in hives]
                prefixes = [_quote(path + "\\") for path in (*self.exact, *hives)]
                conditions += [f"starts_with({column}, {start})" for start in prefixes]
            return f"({' OR '.join(conditions)})"
        spellings = [column, *_sql_links(column, self.control_set)]
        if self.native:
            spellings += [_sql_native(spelling) for spelling in spellings]
        regex = _quote(self.regex)
        return f"({' OR '.join(f'regexp_full_match({spelling}, {regex})' for spelling in spellings)})"


def compile_pattern(
    text: str, *, control_set: int | None = None, user_sid: str | None = None, subtree: bool = False
) -> KeyPattern:
    r"""Return the pattern for a key that a user wrote, with or without wildcards.

    ``*`` stands for any run of characters within one component, ``?`` for one character that is no backslash,
    ``**`` for any run at all; as a whole component it stands for any number of components, none included:
    ``HKLM\**\Run`` fits ``HKLM\Run``, and ``HKLM\SOFTWARE\**`` fits ``HKLM\SOFTWARE``. ``[*]``, ``[?]`` and
    ``[[]`` stand for the character itself; any other bracket is a letter like any other. A key in double quotes
    is meant letter by letter. Without a wildcard the pattern is one key. Names compare by the
    registry's folding.

    A key matches when one of its spellings does: CurrentControlSet and ControlSet00N (where `control_set`
    says which is current), ``<SID>_Classes`` and ``<SID>\Software\Classes``; and the native spelling as well
    as the Win32 one, so ``**\Run`` and ``\REGISTRY\*\SOFTWARE`` work.

    Raises:
        UsageError: the root is unknown, or it is HKCU and no SID was given.

    >>> compile_pattern(r"HKLM\SOFTWARE\*\Run").matches(r"\REGISTRY\MACHINE\Software\Vendor\RUN")
    True
    """
    if not text:
        raise UsageError(f"an empty text is not a registry path: {_ADVICE}")
    tidy = _tidy(as_pattern(text))
    is_object = _OBJECT.match(tidy)
    rooted = None if is_object else _rooted(tidy, user_sid, pattern=True)
    if rooted is not None:
        tidy = display_path(rooted)
    elif not (is_object or tidy.startswith("\\") or _WILD_ROOT.match(tidy)):
        native_path(_LITERAL.sub(r"\1", tidy), user_sid=user_sid)  # raises, and says how a path starts
    return _pattern(
        text, fold_name(tidy), control_set, subtree=subtree, native=rooted is None and not is_object
    )


def _pattern(text: str, folded: str, control_set: int | None, *, subtree: bool, native: bool) -> KeyPattern:
    """Return the pattern of a folded display spelling."""
    regex = _regex(folded)
    exact: tuple[str, ...] | None = None
    if not has_wildcard(folded):
        exact = tuple(_spellings(_LITERAL.sub(r"\1", folded), control_set, native=False))
    if subtree:
        regex = f"{regex}(?:\\\\(?s:.*))?"
    try:
        compiled = re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"the key pattern {text!r} cannot be used: {error}") from error
    return KeyPattern(text, regex, exact, subtree, control_set, native, compiled)


def _tidy(text: str) -> str:
    """Remove prefixes and doubled or trailing backslashes, and escape what is not text."""
    text = escape_argument(text)
    text = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    text = _SEPARATORS.sub(lambda _: "\\", text)
    return text.rstrip("\\") or text


def _rooted(text: str, user_sid: str | None, *, pattern: bool = False) -> str | None:
    """Return the tidy `text` under its native root; None if it starts with no known root."""
    native = _NATIVE.match(text)
    if native:
        parts = text[native.end() :].split("\\", 2)  # "", root, rest
        if len(parts) == 1:
            return None if pattern else "\\REGISTRY"
        root = parts[1].upper() if parts[1].isascii() else parts[1]
        if root not in _NATIVE_ROOTS:
            return None if pattern else "\\".join(["\\REGISTRY", *parts[1:]])
        return "\\".join(["\\REGISTRY", root, *parts[2:]])
    head, separator, rest = text.partition("\\")
    head = head.removesuffix(":").upper() if head.isascii() else head
    if head in _CURRENT_USER:
        return _current_user(rest, user_sid)
    if head not in _ROOTS:
        return None
    return _ROOTS[head] + separator + rest


def _current_user(rest: str, user_sid: str | None) -> str:
    """Return the native path of `rest` below HKCU."""
    if user_sid is None:
        raise UsageError(
            "HKCU is a different key for every user: give the user's SID, "
            f"or write HKU\\<SID>\\{rest} or, for every user, HKU\\*\\{rest}"
        )
    if not _SID.fullmatch(user_sid):
        raise UsageError(f"{user_sid!r} is not a SID; give one such as S-1-5-21-1-2-3-1001, or .DEFAULT")
    parts = rest.split("\\") if rest else []
    # HKCU\Software\Classes is a link to the user's own classes hive.
    if [fold_name(part) for part in parts[:2]] == ["SOFTWARE", "CLASSES"]:
        return "\\".join([f"{_USER}\\{user_sid}_Classes", *parts[2:]])
    return "\\".join([f"{_USER}\\{user_sid}", *parts])


def _displayer(control_set: int | None, user_sid: str | None) -> Callable[[str], str]:
    """Return a function that makes display paths under these conditions."""
    flags = re.ASCII | re.IGNORECASE
    current = None
    if control_set is not None:
        current = re.compile(rf"(\\SYSTEM\\)ControlSet{control_set:03d}(?=\\|\Z)", flags)
    own = None
    if user_sid is not None:
        own = re.compile(rf"\\{re.escape(user_sid)}(_Classes)?(?=\\|\Z)", flags)

    def display(native: str) -> str:
        root = _DISPLAYED.match(native)
        if root is None:
            return native
        end = root.end()
        if root[1]:
            link = current.match(native, end) if current is not None else None
            return f"HKLM{link[1]}CurrentControlSet{native[link.end() :]}" if link else "HKLM" + native[end:]
        user = own.match(native, end) if own is not None else None
        if user is None:
            return "HKU" + native[end:]
        return ("HKCU\\Software\\Classes" if user[1] else "HKCU") + native[user.end() :]

    return display


def _regex(folded: str) -> str:
    """Return the regular expression of a folded pattern, in the common part of Python's and RE2's syntax."""
    out = []
    for token in _TOKEN.finditer(folded):
        literal, first, components, anything, run, one, plain = token.groups()
        if first:
            out.append(r"(?:(?s:.*)\\)?")
        elif components:
            out.append(r"(?:\\(?s:.*))?")
        elif anything:
            out.append("(?s:.*)")
        elif run:
            out.append(r"[^\\]*")
        elif one:
            out.append(r"[^\\]")
        else:
            out.append(re.sub(r"[!-/:-@\[-`{-~]", r"\\\g<0>", literal or plain))
    return "".join(out)


def _links(control_set: int | None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return pairs (regex, replacement) that turn a folded display path into another spelling of the key.

    The first list follows the registry's links to their targets, the second goes back. Within a list at most
    one pair applies to a path.
    """
    forth = [(r"^HKU\\(S-1-[0-9-]+)\\SOFTWARE\\CLASSES(\\|$)", r"HKU\\\1_CLASSES\2")]
    back = [(r"^HKU\\(S-1-[0-9-]+)_CLASSES(\\|$)", r"HKU\\\1\\SOFTWARE\\CLASSES\2")]
    if control_set is not None:
        numbered, link = f"CONTROLSET{control_set:03d}", "CURRENTCONTROLSET"
        forth.append((rf"^HKLM\\SYSTEM\\{link}(\\|$)", rf"HKLM\\SYSTEM\\{numbered}\1"))
        back.append((rf"^HKLM\\SYSTEM\\{numbered}(\\|$)", rf"HKLM\\SYSTEM\\{link}\1"))
    return forth, back


def _spellings(folded: str, control_set: int | None, *, native: bool) -> list[str]:
    """Return every folded spelling of a key, given by a folded display path."""
    spellings = [folded]
    for regex, replacement in itertools.chain(*_links(control_set)):
        # In Python $ also matches before a last newline, which a name may hold.
        spelling, count = re.subn(regex.replace("$", r"\Z"), replacement, folded)
        if count:
            spellings.append(spelling)
    if native:
        for spelling in list(spellings):
            for root, path in (("HKLM", _MACHINE), ("HKU", _USER)):
                if spelling == root or spelling.startswith(root + "\\"):
                    spellings.append(path + spelling[len(root) :])
    return spellings


def _sql_links(column: str, control_set: int | None) -> list[str]:
    """Return SQL for the other spellings of the keys in a column; the same text if there is none."""
    spellings = []
    for links in _links(control_set):
        spelling = column
        for regex, replacement in links:
            spelling = f"regexp_replace({spelling}, {_quote(regex)}, {_quote(replacement)})"
        spellings.append(spelling)
    return spellings


def _sql_native(spelling: str) -> str:
    for root, path in (("HKLM", _MACHINE), ("HKU", _USER)):
        root_regex = rf"^{root}(\\|$)"
        replacement = path.replace("\\", "\\\\") + "\\1"
        spelling = f"regexp_replace({spelling}, {_quote(root_regex)}, {_quote(replacement)})"
    return spelling


def _quote(text: str) -> str:
    """Return `text` as a string literal of DuckDB, in which only the quote itself is special."""
    return "'" + text.replace("'", "''") + "'"
