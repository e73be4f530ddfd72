"""Names without regard to case, by the registry's own rule, in words that every engine understands."""

from functools import cache
from string import ascii_lowercase, ascii_uppercase

import ibis
from ibis.expr.types import StringValue

from tracer.text import fold_name

__all__ = ["folded"]


def folded(name: StringValue) -> StringValue:
    """Return a column of names as `tracer.text.fold_name` folds them; NULL stays NULL.

    An engine's own `upper` differs between engines and from the registry (ß, ı, letters beyond the BMP), so
    it is asked only for names that are ASCII.
    """
    lower, upper = _pairs()
    return ibis.ifelse(name.re_search(r"[^\x00-\x7F]"), name.translate(lower, upper), name.upper())


@cache
def _pairs() -> tuple[str, str]:
    """Return the letters that the registry's rule changes, and what it makes of them."""
    letters = "".join(chr(point) for point in range(0x80, 0x10000) if not 0xD800 <= point < 0xE000)
    changed = [(old, new) for old, new in zip(letters, fold_name(letters), strict=True) if old != new]
    lower, upper = ("".join(side) for side in zip(*changed, strict=True))
    return ascii_lowercase + lower, ascii_uppercase + upper
