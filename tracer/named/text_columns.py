"""Columns of text as numbers, and functions of texts called once for each distinct row."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.sorting import find_distinct
from tracer.named.audit_codes import read_number

__all__ = ["bools", "by_distinct", "decimals", "given", "matches", "numbers"]

T = TypeVar("T")


def by_distinct(
    table: pa.Table, names: Sequence[str], function: Callable[..., T]
) -> tuple[list[T], NDArray[np.intp]]:
    """Call the function once for each distinct row of some text columns; return its results, and the place of each row among them."""
    codes, most = np.zeros(table.num_rows, np.int64), 1
    columns = [table[name].combine_chunks() for name in names]
    for column in columns:
        encoded = column.dictionary_encode()
        kinds = len(encoded.dictionary) + 1
        if most * kinds >= 1 << 62:
            codes, most = find_distinct(codes)[2].astype(np.int64), table.num_rows
        more = pc.fill_null(encoded.indices, kinds - 1).to_numpy(zero_copy_only=False)
        codes, most = codes * kinds + more, most * kinds
    _, first, places = find_distinct(codes)
    at = pa.array(first)
    texts = zip(*(column.take(at).to_pylist() for column in columns), strict=True)
    return [function(*row) for row in texts], places


def given(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in which nothing ("" or "-") is NULL."""
    return pc.if_else(pc.is_in(column, pa.array(["", "-"])), None, column)


def numbers(texts: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    """Return numbers in decimal, or in hex behind 0x; what is none, or too large, is NULL."""
    octets = kind.bit_width // 8
    plain = pc.match_substring_regex(texts, "^[0-9]{1,9}$")  # fits whatever the type
    if pc.all(plain, skip_nulls=True, min_count=0).as_py():
        whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
        return whole.cast(kind)
    table = pa.table({"text": texts})
    values, places = by_distinct(table, ["text"], lambda text: read_number(text, octets))
    if pa.types.is_signed_integer(kind):
        values = [None if value is None or value >> (8 * octets - 1) else value for value in values]
    return pa.array(values, kind).take(pa.array(places))


def decimals(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts of up to nine decimal digits as numbers of 32 bits; anything else is NULL."""
    fit = pc.match_substring_regex(texts, "^[0-9]{1,9}$")
    return pc.if_else(fit, texts, None).cast(pa.uint32())


def matches(texts: pa.ChunkedArray, pattern: str) -> pa.Array:
    """Return which texts hold the pattern, in letters of either case; NULL where there is none. Each distinct text is looked at once."""
    encoded = texts.combine_chunks().dictionary_encode()
    return pc.match_substring_regex(encoded.dictionary, pattern, ignore_case=True).take(encoded.indices)


def bools(array: pa.Array | pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return which rows are true; NULL is not."""
    filled = pc.fill_null(array, False)
    whole = filled.combine_chunks() if isinstance(filled, pa.ChunkedArray) else filled
    result: NDArray[np.bool_] = whole.to_numpy(zero_copy_only=False)
    return result
