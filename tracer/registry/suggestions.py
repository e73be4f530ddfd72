"""Suggestions for words that a user mistyped: which of the words of a list was meant."""

from collections.abc import Iterable

__all__ = ["advice", "closest"]

_LIKE = 0.6  # difflib's measure from which on words are alike
_NEAR = 0.1  # by so much another word may be less like
_FEW = 8  # so many words are listed where none is close


def closest(word: str, words: Iterable[str], n: int = 2) -> list[str]:
    """Return up to `n` words of a list that are spelled nearly like a word, best first; letters' case is no difference.

    >>> closest("evnts", ["events", "reads", "opens"])
    ['events']
    """
    import difflib  # for mistakes only: it takes time to load

    by_letters = {one.lower(): one for one in words}
    folded = word.strip().lower()
    matcher = difflib.SequenceMatcher(b=folded)
    likeness = {}
    for one in by_letters:
        matcher.set_seq1(one)
        likeness[one] = matcher.ratio()
    close = sorted((one for one in by_letters if likeness[one] >= _LIKE), key=lambda one: -likeness[one])
    close = [one for one in close if likeness[one] > likeness[close[0]] - _NEAR]
    if not close and len(folded) > 2:  # what is written short
        close = [one for one in by_letters if one.startswith(folded)]
    return [by_letters[one] for one in close[:n]]


def advice(word: str, words: Iterable[str], *, see: str = "") -> str:
    """Return what to say of a word that is not in a list: the words close to it, else the list where it is short.

    Args:
        word: what the user wrote.
        words: the words that are accepted.
        see: where a long list can be read.
    """
    listed = list(words)
    close = closest(word, listed)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"use one of: {', '.join(listed)}" if len(listed) <= _FEW or not see else f"see {see}"
