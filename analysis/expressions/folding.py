"""Case folding of names by the registry's own rule, for every engine."""

from functools import cache
from string import ascii_lowercase, ascii_uppercase

import ibis
from ibis.expr.types import BooleanValue, StringValue

from tracer.registry.text import fold_name

__all__ = ["folded"]

# Latin-1; all Latin letters in common use; Greek and Cyrillic as well; everything. Engines go through the whole list
# of letters for each name, so a name gets the shortest one that has all it may need.
_LIMITS = (0x100, 0x250, 0x530, 0x10000)


def folded(name: StringValue) -> StringValue:
    """Return a column of names as `tracer.registry.text.fold_name` folds them; NULL stays NULL.

    An engine's own `upper` differs between engines and from the registry (ß, ı, letters beyond the BMP), so
    it is asked only for names that are ASCII.
    """
    letters = name.translate(*_pairs(_LIMITS[-1]))
    for limit in reversed(_LIMITS[:-1]):
        letters = ibis.ifelse(_has_beyond(name, limit), letters, name.translate(*_pairs(limit)))
    is_ascii = bit_length(name) == name.length() * 8  # half of what a pattern costs
    return ibis.ifelse(is_ascii, name.upper(), letters)


@ibis.udf.scalar.builtin  # type: ignore[untyped-decorator]
def bit_length(text: str) -> int:  # type: ignore[empty-body]
    """Return the length of a text in UTF-8, in bits; every engine has this function."""


def _has_beyond(name: StringValue, limit: int) -> BooleanValue:
    return name.re_search(rf"[^\x00-\x{{{limit - 1:X}}}]")


@cache
def _pairs(limit: int) -> tuple[str, str]:
    """Return the letters below a code point that the registry's rule changes, and their folded forms."""
    letters = "".join(chr(point) for point in range(0x80, limit) if not 0xD800 <= point < 0xE000)
    changed = [(old, new) for old, new in zip(letters, fold_name(letters), strict=True) if old != new]
    lower, upper = ("".join(side) for side in zip(*changed, strict=True))
    return ascii_lowercase + lower, ascii_uppercase + upper
