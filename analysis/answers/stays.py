r"""Stays of keys under names: after renames, the key under each path, with its begin and end.

What is known of a key goes with it when it, or one above it, is renamed. So where keys were renamed, evidence is of a
stay: the time in which one key stood under one path. The first stay of a path, 0, lasts until the first rename from it
or to it; a path to which nobody renamed a key again has a stay of a key that is not there.
"""

from bisect import bisect_left
from collections.abc import Iterable

import pyarrow as pa

__all__ = ["ARRIVALS", "SAME", "STAYS", "stays_of"]

STAYS = pa.schema(
    [
        ("key_id", pa.int64()),
        ("stay", pa.int64()),
        ("begins", pa.int64()),
        ("ends", pa.int64()),
        ("item_id", pa.int64()),
        ("from_item", pa.int64()),
        ("turn", pa.string()),
    ]
)
ARRIVALS = ("key_arrived", "key_brought")
SAME = ("key_used", "key_stayed")  # it is the same key as before: that which was renamed, and those below it
_EVER = 2**62  # after every sequence
_MOST_STAYS = (
    1_000_000  # of a capture; renames after that are not followed, and leave unknown what they may have moved
)
_AFTER_BACKSLASH = "]"


def stays_of(
    renames: Iterable[tuple[int, str, str]], paths: Iterable[tuple[str, int]], most: int = _MOST_STAYS
) -> pa.Table:
    r"""Return the stays of paths that a rename begins or ends, and of the paths below; without renames no rows.

    Columns, none NULL but the last two: key_id, the path's; stay, counted from 0; begins, ends, the sequences of the
    renames at both ends (-1, and 2 ** 62), of which the first is in the stay and the last is not; item_id, which key it was:
    the same number for one key under all its names. Then, NULL in stay 0: turn, what the rename did to the path,
    as a fact of `analysis.answers.evidence`; and from_item, where nothing is known of the key but that it stood below
    one that was renamed: the item of that one.

    Args:
        renames: (sequence, old path, new path) of each rename that was done, in order; folded, links followed.
        paths: (path, key_id) of each key, likewise.
        most: how many stays there may be; from the first rename on that would make more, none is followed.
    """
    ordered = sorted(paths)
    names = [path for path, _ in ordered]
    items = {key_id: key_id for _, key_id in ordered}
    new_item = max(items, default=0) + 1
    last: dict[int, int] = {}  # key_id -> its last row
    rows: list[list[int | str | None]] = []

    def at_or_below(top: str) -> list[tuple[str, int]]:
        first, after = bisect_left(names, f"{top}\\"), bisect_left(names, top + _AFTER_BACKSLASH)
        place = bisect_left(names, top)
        own = []
        while place < len(names) and names[place] == top:
            own.append(ordered[place])
            place += 1
        return own + ordered[first:after]

    def turn(key_id: int, sequence: int, item: int, from_item: int | None, fact: str) -> None:
        if key_id not in last:
            last[key_id] = len(rows)
            rows.append([key_id, 0, -1, _EVER, items[key_id], None, None])
        before = rows[last[key_id]]
        before[3] = sequence
        last[key_id] = len(rows)
        rows.append([key_id, int(before[1] or 0) + 1, sequence, _EVER, item, from_item, fact])
        items[key_id] = item

    for sequence, old, new in renames:
        left, entered = at_or_below(old), at_or_below(new)
        if len(rows) + 2 * (len(left) + len(entered)) > most:
            break
        if old == new:  # only the case of letters: they are the same keys under the same paths
            for path, key_id in left:
                turn(key_id, sequence, items[key_id], None, SAME[path != old])
            continue
        moved = {path: items[key_id] for path, key_id in reversed(left)}
        for _, key_id in left:
            turn(key_id, sequence, new_item, None, "key_renamed")
            new_item += 1
        for path, key_id in entered:
            item = moved.get(old + path[len(new) :])
            fact = "key_arrived" if path == new else "key_brought"
            if item is None:
                turn(key_id, sequence, new_item, moved.get(old), fact)
                new_item += 1
            else:
                turn(key_id, sequence, item, None, fact)
    columns = zip(*rows, strict=True) if rows else [[] for _ in STAYS.names]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, STAYS, strict=True)], STAYS
    )
