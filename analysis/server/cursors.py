"""Cursors: where the next page of an answer begins, as text that fits one question only.

A cursor holds the number of rows before the page, and a digest of that number, of the question and of the captures. The
same question to the same captures gives the same cursors, in this process or a later one. The digest finds mistakes; it
is no secret, for a cursor opens nothing that its question does not.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracer.errors import UsageError

__all__ = ["cursor_at", "rows_before"]

_CURSOR = re.compile(r"([0-9a-f]{1,15})-([0-9a-f]{24})")


def cursor_at(rows: int, tool: str, asked: Mapping[str, Any], captures: Sequence[str]) -> str:
    """Return the cursor of the page that begins after so many rows.

    Args:
        rows: how many rows stand before it.
        tool: the name of the tool.
        asked: the arguments, without cursor and rows.
        captures: what tells the captures apart.
    """
    return f"{rows:x}-{_digest(rows, tool, asked, captures)}"


def rows_before(cursor: str | None, tool: str, asked: Mapping[str, Any], captures: Sequence[str]) -> int:
    """Return how many rows stand before the page of a cursor; None is the first page.

    Raises:
        UsageError: it is no cursor, or that of another question.
    """
    if cursor is None:
        return 0
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise UsageError(
            "the cursor is none that an answer gave; pass the text of the field cursor as it was"
        )
    rows = int(found[1], 16)
    if found[2] != _digest(rows, tool, asked, captures):
        raise UsageError(
            "the cursor belongs to another question; ask with the same tool and arguments as before (rows may differ), or without"
        )
    return rows


def _digest(rows: int, tool: str, asked: Mapping[str, Any], captures: Sequence[str]) -> str:
    said = json.dumps([rows, tool, asked, list(captures)], sort_keys=True)
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
