"""JSON built by column: members and objects as Arrow arrays of text, without a Python object a row.

A piece is a text that is the same in every row, an array of text, or a dictionary-coded array of which only the distinct
texts were made. NULL in a piece of values leaves the member out: NULL is never written as "" or 0.
"""

import json
from collections.abc import Mapping
from functools import lru_cache, reduce
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tracer.registry.safe_text import is_visible

__all__ = ["Piece", "braced", "decoded", "fixed", "inner", "member", "members", "quoted"]

_SHORT = 200  # letters of a text that is worth remembering
_REMEMBERED = 50_000
Piece = Any  # str, pa.Array of text, or pa.DictionaryArray of text


def quoted(text: str) -> str:
    r"""Return a text as a JSON string, in ASCII where a terminal would obey or hide a letter of it.

    >>> quoted('a"b'), quoted("a\x1b")
    ('"a\\"b"', '"a\\u001b"')
    """
    return _short(text) if len(text) <= _SHORT else _quoted(text)


def _quoted(text: str) -> str:
    return encode_basestring(text) if is_visible(text) else encode_basestring_ascii(text)


_short = lru_cache(_REMEMBERED)(_quoted)  # names come again in every batch


def inner(text: str) -> str:
    """Return what stands between the quotes of a JSON string, so that texts can be put together after it."""
    return quoted(text)[1:-1]


def fixed(value: object) -> str:
    """Return a value as JSON that is the same in every row."""
    return json.dumps(value, separators=(",", ":"))


def member(name: str, values: Piece) -> Piece:
    """Return `"name":value` for each value; NULL where it is NULL."""
    head = f"{quoted(name)}:"
    if isinstance(values, str):
        return head + values
    if isinstance(values, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(values.indices, _before(head, values.dictionary))
    return _before(head, values)


def members(pieces: Mapping[str, Piece]) -> Piece:
    """Return the members of an object as text, with commas between them; NULL where it has none.

    Members made of the same distinct values are joined once for each of these, and stand together.
    """
    parts: list[Piece] = []
    by_indices: dict[tuple[int, int], tuple[int, list[pa.Array]]] = {}
    for name, values in pieces.items():
        part = member(name, values)
        if isinstance(part, str) and parts and isinstance(parts[-1], str):
            parts[-1] += f",{part}"
            continue
        if isinstance(part, pa.DictionaryArray):
            place = (part.indices.buffers()[1].address, part.indices.offset)
            if place in by_indices:
                by_indices[place][1].append(part.dictionary)
                continue
            by_indices[place] = (len(parts), [part.dictionary])
        parts.append(part)
    for where, dictionaries in by_indices.values():
        if len(dictionaries) > 1:
            parts[where] = pa.DictionaryArray.from_arrays(parts[where].indices, _joined(dictionaries))
    if len(parts) == 1:
        return parts[0]
    return _joined([part if isinstance(part, str) else decoded(part) for part in parts])


def _joined(texts: list[Piece]) -> pa.Array:
    """Return texts of each row with commas between them, those that are not NULL; NULL where all are."""
    if any(isinstance(one, str) or one.null_count == 0 for one in texts):
        return pc.binary_join_element_wise(*texts, ",", null_handling="skip")
    some = reduce(pc.or_, map(pc.is_valid, texts))
    nothing = pa.scalar(None, pa.string())
    first = pc.if_else(some, texts[0], "")  # Arrow loses a row all of whose texts are NULL
    return pc.if_else(
        some, pc.binary_join_element_wise(first, *texts[1:], ",", null_handling="skip"), nothing
    )


def braced(inside: Piece) -> Piece:
    """Return members as an object; NULL stays NULL."""
    if isinstance(inside, str):
        return "{" + inside + "}"
    if isinstance(inside, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(inside.indices, braced(inside.dictionary))
    return pc.binary_join_element_wise("{", inside, "}", "")


def decoded(piece: Piece) -> pa.Array:
    """Return an array of text, not dictionary-coded."""
    return piece.dictionary.take(piece.indices) if isinstance(piece, pa.DictionaryArray) else piece


def _before(head: str, texts: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(head, texts, "")
