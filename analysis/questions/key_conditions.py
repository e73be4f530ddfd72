"""Keys as users write them, as SQL conditions over the table `keys`: paths, patterns, users' keys, and short ids."""

import re
from collections.abc import Callable, Sequence

from tracer.registry.user_keys import compile_patterns, user_root

__all__ = ["key_condition", "key_number", "literal"]

_NUMBER = re.compile(r"#(0|[1-9][0-9]{0,17})", re.ASCII)


def key_number(text: str) -> int | None:
    """Return the key_id that a short id such as ``#1234`` names; None where the text is no short id."""
    found = _NUMBER.fullmatch(text)
    return int(found[1]) if found else None


def literal(path: str) -> str:
    """Return the text that means just the key with this display path."""
    return '"' + path.replace('"', '""') + '"'


def key_condition(
    texts: Sequence[str],
    subtree: bool,
    *,
    control_set: int | None,
    shows_user: bool,
    sids: Callable[[str | None], Sequence[str]],
    path_of: Callable[[int], str | None],
) -> str:
    """Return the SQL condition for the keys that one of some texts names, in one capture.

    Args:
        texts: paths, patterns and short ids.
        subtree: keys below these too.
        control_set: number of the current control set; None if unknown.
        shows_user: as of `tracer.registry.user_keys.compile_patterns`.
        sids: returns the SIDs that a user in brackets means; None: that the filters mean.
        path_of: returns the display path of a key_id; None where the capture has no such key.
    """
    conditions = []
    for text in texts:
        number = key_number(text)
        if number is not None:
            path = path_of(number)
            if path is None:
                continue
            conditions.append(f"key_id = {number}")
            if not subtree:
                continue
            text = literal(path)
        root = user_root(text)
        patterns = compile_patterns(
            text,
            control_set=control_set,
            users=None if root is None else sids(root.user),
            subtree=subtree,
            shows_user=shows_user,
        )
        conditions += [pattern.sql("folded_path") for pattern in patterns]
    return " OR ".join(conditions) or "false"
