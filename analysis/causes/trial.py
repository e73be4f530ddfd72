"""The trial: candidates as a .reg file that makes the failing side like the working one, and the file that takes it back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.causes.candidates import Candidate, Content
from analysis.regfile.syntax import (
    HEADER,
    NotExpressible,
    comment,
    encode_file,
    key_line,
    key_name,
    value_gone,
    value_line,
)
from tracer.errors import UsageError
from tracer.registry.text import unescape_name

__all__ = ["Trial", "make_trial", "parse_take"]

_BREAK = "\r\n"
_PART = re.compile(r"(\d+)(?:-(\d+))?")
_NO_FILE = {
    "key": "a key that one run has and the other has not: make it, or delete it, by hand",
    "list": "the names in a key differ: no file makes a list of names alike",
    "facts": "facts of a key differ: no file sets them",
    "rights": "the operation ended otherwise: rights or the state of the machine, which no file sets",
}
_USERS_SID = re.compile(r"S-1-(?:5-21|12-1)-[0-9]+(?:-[0-9]+)+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, repr=False)
class Trial:
    """The two files, and what they lack.

    Attributes:
        places: the candidates that were chosen, from 1.
        apply: makes the failing side like the working one.
        undo: takes that back.
        left_out: place, file (apply or undo) and reason of what a file lacks.
        warnings: sentences.
    """

    places: tuple[int, ...]
    apply: str
    undo: str
    left_out: tuple[tuple[int, str, str], ...]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"Trial(candidates {', '.join(map(str, self.places)) or 'none'}; {len(self.left_out):,} left out)"
        )

    def encoded(self, file: str) -> bytes:
        """Return the bytes of the file `apply` or `undo` as regedit reads them."""
        return encode_file(self.apply if file == "apply" else self.undo)


def parse_take(words: str, count: int) -> tuple[int, ...]:
    """Return which candidates are meant: "1", "1-4", "2,5", or all.

    Raises:
        UsageError: it is none of these, or there is no such candidate.

    >>> parse_take("1,3-4", 9)
    (1, 3, 4)
    """
    if words == "all":
        return tuple(range(1, count + 1))
    places: set[int] = set()
    for part in words.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise UsageError(f"invalid candidates {words!r}; write 1, 1-4, 2,5 or all")
        first, last = int(found[1]), int(found[2] or found[1])
        if not 1 <= first <= last:
            raise UsageError(
                f"invalid candidates {part.strip()!r}; they are numbered from 1, the first before the last"
            )
        if last > count:
            raise UsageError(f"there is no candidate {last}; there are {count}")
        places |= set(range(first, last + 1))
    return tuple(sorted(places))


def make_trial(candidates: Sequence[Candidate], places: Sequence[int], *, about: Sequence[str] = ()) -> Trial:
    """Return the files for some candidates.

    Args:
        candidates: all of them, in order.
        places: which, from 1.
        about: what stands at the top of both files.
    """
    left_out: list[tuple[int, str, str]] = []
    texts = []
    for file in ("apply", "undo"):
        title = (
            "This file gives the failing run what the working run read."
            if file == "apply"
            else "This file gives the failing run back what it read."
        )
        lines = [HEADER, "", comment(title), *map(comment, about)]
        for place in places:
            one = candidates[place - 1]
            if one.kind != "value":
                left_out.append((place, file, _NO_FILE[one.kind]))
                continue
            key = one.keys[1] or one.keys[0]
            try:
                lines += ["", *_block(place, one, key, one.works if file == "apply" else one.fails)]
            except NotExpressible as reason:
                left_out.append((place, file, str(reason)))
        own = [(place, reason) for place, which, reason in left_out if which == file]
        if own:
            lines += ["", comment("Not done by this file:")]
            lines += [comment(f"candidate {place}: {reason}") for place, reason in own]
        texts.append("".join(line + _BREAK for line in lines))
    warnings = [
        f"candidate {place} holds the id of a user ({sid[0]}), who may be another one on the failing machine"
        for place in places
        if (sid := _USERS_SID.search(candidates[place - 1].works.text))
    ]
    return Trial(tuple(places), texts[0], texts[1], tuple(left_out), tuple(warnings))


def _block(place: int, one: Candidate, key: str | None, content: Content) -> list[str]:
    if key is None:
        raise NotExpressible("nothing names the key")
    name = unescape_name(one.value_name or "")
    head = [comment(f"Candidate {place}."), key_line(key_name(key))]
    if content.state == "absent":
        return [*head, value_gone(name)]
    if not content.is_whole:
        raise NotExpressible("not all of the data is known")
    assert content.data_type is not None
    assert content.data is not None
    return [*head, value_line(name, content.data_type, content.data)]
