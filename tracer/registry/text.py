r"""Registry names as text: a lossless escape for UTF-16 that is not text, and the registry's own folding.

A registry name is a counted run of UTF-16 code units. Most are text; some hold NULs or lone surrogates,
which UTF-8 (and so Arrow, Parquet, JSON) cannot carry. The stated rule, used for every stored name:

* a NUL and a lone surrogate are written ``<U+0000>``, ``<U+D800>``: four upper-case hex digits;
* where the name itself holds text of exactly that form, its ``<`` is written ``<U+003C>``.

`escape_name` and `unescape_name` are exact inverses. Control characters are text and stay as they are in
the store; what a terminal or a spreadsheet must not see is dealt with where it is shown.
"""

import re
from itertools import accumulate, pairwise

__all__ = [
    "decode_name",
    "decode_names",
    "encode_name",
    "escape_argument",
    "escape_name",
    "fold_name",
    "plural",
    "unescape_name",
]

_LOOKS_ESCAPED = re.compile(r"<(?=U\+[0-9A-F]{4}>)")
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"<U\+([0-9A-F]{4})>")


def escape_name(name: str) -> str:
    r"""Return `name`, which may hold NULs and lone surrogates, as text that every format can store.

    >>> escape_name("a\0b")
    'a<U+0000>b'
    """
    if name.isascii() and "\0" not in name and "<" not in name:
        return name
    if "<U+" in name:
        name = _LOOKS_ESCAPED.sub("<U+003C>", name)
    return escape_argument(name)


def escape_argument(text: str) -> str:
    """Return a user's text, which is escaped already, with bare NULs and lone surrogates escaped too.

    Unlike `escape_name`, which takes a raw name, this leaves ``<U+0000>`` as it is.
    """
    return _NOT_TEXT.sub(lambda match: f"<U+{ord(match[0]):04X}>", text)


def unescape_name(text: str) -> str:
    """Return the name that `escape_name` wrote as `text`."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def decode_name(raw: bytes) -> str:
    r"""Return UTF-16LE bytes as escaped text; an odd last byte cannot be a code unit and is dropped.

    >>> decode_name(b"a\0b\0")
    'ab'
    """
    return escape_name(raw[: len(raw) & ~1].decode("utf-16-le", "surrogatepass"))


def decode_names(raws: list[bytes]) -> list[str]:
    """Return `decode_name` of each; names that are plain text are decoded all at once."""
    joined = b"".join(raws)
    ends = list(accumulate(map(len, raws), initial=0))
    letters = joined.decode("utf-16-le", "replace") if not any(map((1).__and__, ends)) else ""
    # One letter a code unit, so no pair of surrogates came about where two names meet; nothing to escape.
    if len(letters) * 2 != len(joined) or not letters.isprintable() or "<" in letters or "\ufffd" in letters:
        return list(map(decode_name, raws))
    return [letters[start >> 1 : end >> 1] for start, end in pairwise(ends)]


def encode_name(text: str) -> bytes:
    """Return the UTF-16LE bytes of the name that was escaped as `text`."""
    return unescape_name(text).encode("utf-16-le", "surrogatepass")


class _Upcase(dict[int, int]):
    """Simple upper case by code point, computed on first use.

    Windows' own table (l_intl.nls) is not here; Unicode's simple mappings restricted to BMP pairs that
    return (so dotless i, long s and the micro sign stay themselves) are its published construction.
    UNCONFIRMED against Windows for rare letters.
    """

    def __missing__(self, point: int) -> int:
        letter = chr(point)
        upper = letter.upper()
        returns = len(upper) == 1 and point < 0x10000 and ord(upper) < 0x10000 and upper.lower() == letter
        self[point] = ord(upper) if returns else point
        return self[point]


_UPCASE = _Upcase()


def fold_name(name: str) -> str:
    """Return `name` upper-cased one code unit at a time, as the registry compares names.

    >>> fold_name("Straße"), fold_name("ıſµ")
    ('STRAßE', 'ıſµ')
    """
    return name.upper() if name.isascii() else name.translate(_UPCASE)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> plural(1, "key"), plural(1200, "key"), plural(2, "process"), plural(0, "entry"), plural(3, "touch")
    ('1 key', '1,200 keys', '2 processes', '0 entries', '3 touches')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{count:,} {noun}es"
    return f"{count:,} {noun[:-1]}ies" if re.search("[^aeiou]y$", noun) else f"{count:,} {noun}s"
