"""Names of change sets: 40 hex digits made of what a set did, so that the same capture always gives the same names.

The name is the beginning of a SHA-256 over the image and pid of the root, the time of the first change, and what each change
did (`analysis.versions.change_rows.contents_of`). No number that a capture gives out goes into it, so a capture that is made
anew of the same trace has the same names. Other options of grouping make other sets, and so other names.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from analysis.questions.context import QueryContext
from analysis.versions.change_rows import contents_of
from analysis.versions.change_sets import ChangeSets
from tracer.errors import UsageError
from tracer.registry.text import fold_name

__all__ = ["SHORT", "names_of", "numbers_named"]

SHORT = 8  # digits that a table shows
_DIGITS = 40
_DIGEST = 64  # hex digits of a SHA-256
_PREFIX = re.compile(r"[0-9a-f]{1,40}")


def names_of(context: QueryContext, sets: ChangeSets, numbers: Sequence[int]) -> list[str]:
    """Return the names of some change sets of a capture."""
    if not numbers:
        return []
    firsts = sets.rows.sequence[sets.starts[:-1]][numbers]
    lasts = sets.rows.sequence[sets.starts[1:] - 1][numbers]
    contents = contents_of(context, firsts.min(), lasts.max())
    sequences = np.asarray(contents.column("sequence").combine_chunks())
    digests = np.frombuffer("".join(contents.column("content").to_pylist()).encode("ascii"), np.uint8)
    digests = digests.reshape(-1, _DIGEST)
    names = []
    for number in numbers:
        rows = sets.rows.sequence[sets.places(number)]
        made = hashlib.sha256(_root_of(sets, number))
        made.update(digests[np.searchsorted(sequences, rows)].tobytes())
        names.append(made.hexdigest()[:_DIGITS])
    return names


def numbers_named(names: Sequence[str], prefix: str) -> list[int]:
    """Return the places of the names that begin with some digits.

    Raises:
        UsageError: these are no digits of a name.
    """
    folded = prefix.strip().lower()
    if not _PREFIX.fullmatch(folded):
        raise UsageError(
            f"{prefix!r} is no name of a change set; give its first digits (0-9, a-f), as `regtrace log` shows them"
        )
    return [place for place, name in enumerate(names) if name.startswith(folded)]


def _root_of(sets: ChangeSets, number: int) -> bytes:
    process = sets.processes.get(int(sets.roots[number]), {})
    image, pid = process.get("image"), process.get("pid")
    first_ns = int(sets.rows.time_ns[sets.starts[number]])
    return f"{'' if image is None else fold_name(image)}\0{'' if pid is None else pid}\0{first_ns}\0".encode(
        "utf-8", "surrogatepass"
    )
