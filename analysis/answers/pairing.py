r"""Pairs of equivalent names of two sides: a name is folded only where it pairs one to one.

Three users on one side and two on the other are all ``HKU\<SID>``: which of them is which, nobody can say from names.
Such names stay as they are.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence

from analysis.answers.normalize import identifiers, without_views, word_of

__all__ = ["paired_names"]


def paired_names(
    a: Collection[str], b: Collection[str], folds: Collection[str]
) -> tuple[dict[str, str], dict[str, str]]:
    r"""Return for each side its folded names, unique within the side.

    Identifiers (SIDs, GUIDs) are folded from left to right: below ``HKU\<SID>``, which is one key on each side, the
    GUIDs of that user are looked at by themselves.

    Args:
        a: all names of one side: folded paths.
        b: those of the other.
        folds: as for `analysis.answers.normalize.meaning`.
    """
    sides = [set(a), set(b)]
    called = [{name: name for name in names} for names in sides]
    pattern = identifiers(folds)
    if pattern is not None:
        _fold_identifiers(called, re.compile(f"({pattern})"))
    _fold_views(called, folds)
    return tuple({name: new for name, new in one.items() if new != name} for one in called)  # type: ignore[return-value]


def _fold_identifiers(called: Sequence[dict[str, str]], pattern: re.Pattern[str]) -> None:
    """Fold identifiers, the first of each name, then the second, and so on."""
    split = [{name: pattern.split(name) for name in one if pattern.search(name)} for one in called]
    done = [dict.fromkeys(one, "") for one in split]
    deepest = max((len(parts) for one in split for parts in one.values()), default=1)
    for place in range(1, deepest, 2):
        sides = [
            {
                name: (done[side][name] + parts[place - 1], parts[place])
                for name, parts in one.items()
                if place < len(parts)
            }
            for side, one in enumerate(split)
        ]
        owns: list[dict[str, set[str]]] = [defaultdict(set) for _ in sides]
        for side, ids in enumerate(sides):
            for before, own in ids.values():
                owns[side][before + word_of(own)].add(own)
        for side, ids in enumerate(sides):
            for name, (before, own) in ids.items():
                folded = before + word_of(own)
                alone = all(len(of_side.get(folded, ())) <= 1 for of_side in owns)
                done[side][name] = folded if alone else before + own
    for side, parted in enumerate(split):
        called[side].update((name, done[side][name] + parts[-1]) for name, parts in parted.items())


def _fold_views(called: Sequence[dict[str, str]], folds: Collection[str]) -> None:
    """Fold control sets and views of Wow64, except where two names of one side would become one."""
    proposed = [{name: without_views(new, folds) for name, new in one.items()} for one in called]
    owns: list[dict[str, set[str]]] = [defaultdict(set) for _ in called]
    for side, one in enumerate(proposed):
        for name, new in one.items():
            owns[side][new].add(name)
    for side, one in enumerate(proposed):
        for name, new in one.items():
            if all(len(of_side.get(new, ())) <= 1 for of_side in owns):
                called[side][name] = new
    for one in called:
        while clashes := _clashes(one):  # a name that was not folded may be spelled as another was folded to
            one.update((name, name) for name in clashes)


def _clashes(called: dict[str, str]) -> list[str]:
    """Return the folded names that are equal to another name of their side."""
    names = defaultdict(list)
    for name, new in called.items():
        names[new].append(name)
    return [
        name for several in names.values() if len(several) > 1 for name in several if called[name] != name
    ]
