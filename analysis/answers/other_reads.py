"""Reads of two runs that match and returned other data: what may be why the runs part later."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers.differences import folded_content
from analysis.answers.normalize import meaning_of_text
from analysis.answers.step_numbers import ENUMERATIONS, READS, Side
from tracer.registry.ntstatus import NAME_NOT_FOUND

__all__ = ["Contents", "OtherRead", "contents_of", "other_reads"]

_FINDS = (*READS, "CreateKey")  # what tells the program something, beside its status
# Times, lengths of buffers and tags of handles in what reads return: no facts of the registry's content.
_NO_FACTS = r'"(?:LastWriteTime|Length|ResultLength|TitleIndex|HandleTags)": ?-?[0-9]+,? ?'
_CONTENT = ("data_type", "data_size", "data", "disposition", "facts", "returned")
_WORDS = {"data_type": "type", "data_size": "size", "returned": "name"}

Ints = NDArray[np.int64]
Contents = Callable[[int], pa.Table]  # the last sequence -> rows of `analysis.answers.steps.contents_until`
OtherRead = tuple[
    int, int, int, str, int
]  # place, row of a, row of b, in what they differ, how many there are


def contents_of(side: Side, contents: Contents, last: int) -> pa.Table:
    """Return the contents of the first rows of a side, row by row; `last`: the last of them."""
    sequences = side.rows.column("sequence").slice(0, last + 1)
    if not len(sequences):
        found = contents(-1)
        places = np.zeros(0, np.int64)
    else:
        found = contents(sequences[-1].as_py())
        places = np.searchsorted(found.column("sequence").to_numpy(), sequences.to_numpy())
    found = found.take(pa.array(places))
    operation = side.rows.column("operation").slice(0, last + 1)
    empty = pc.and_kleene(pc.equal(found.column("data_size"), 0), pc.is_null(found.column("data")))
    data = pc.if_else(
        pc.fill_null(empty, False), pa.scalar(b"", found.column("data").type), found.column("data")
    )
    returned = pc.if_else(pc.is_in(operation, pa.array(ENUMERATIONS)), found.column("value_name"), None)
    facts = pc.if_else(
        pc.is_in(operation, pa.array(READS)),
        pc.replace_substring_regex(found.column("detail"), _NO_FACTS, ""),
        None,
    )
    found = found.set_column(found.schema.get_field_index("data"), "data", data)
    return found.append_column("facts", facts).append_column("returned", returned)


def other_reads(
    sides: tuple[Side, Side],
    held: Sequence[pa.Table],
    matches: tuple[Ints, Ints],
    folds: Collection[str],
) -> tuple[list[OtherRead], int]:
    """Return the reads that match and returned other data, the nearest first; and of how many nobody can tell."""
    finds = pc.is_in(sides[0].rows.column("operation"), pa.array(_FINDS)).to_numpy()
    total = len(matches[0])
    looked = np.flatnonzero(finds[matches[0]]) if total else np.zeros(0, np.int64)
    a, b = (rows[looked] for rows in matches)
    ours, theirs = (one.take(pa.array(rows)) for one, rows in zip(held, (a, b), strict=True))
    unlike = np.zeros(len(looked), bool)
    for name in _CONTENT:
        unlike |= _true(pc.not_equal(ours.column(name), theirs.column(name)))
    missed = [
        _true(pc.equal(side.rows.column("status"), NAME_NOT_FOUND))[rows]
        for side, rows in zip(sides, (a, b), strict=True)
    ]
    unlike |= (
        missed[0] != missed[1]
    )  # they match only where a query that misses is the step of one that finds
    groups: dict[int, list[Any]] = {}  # step -> [place of the nearest, in what it differs, times]
    kept = [name for name in _CONTENT if name != "data"] + ["data"]
    pairs = (one.select(kept).take(pa.array(np.flatnonzero(unlike))).to_pylist() for one in (ours, theirs))
    for place, one, other in zip(np.flatnonzero(unlike).tolist(), *pairs, strict=True):
        apart = missed[0][place] != missed[1][place]
        word = "missing" if apart else _difference(one, other, folds)
        if word is None:
            continue
        group = groups.setdefault(int(sides[0].numbers[a[place]]), [place, word, 0])
        group[0], group[1], group[2] = place, word, group[2] + 1
    rows: list[OtherRead] = [
        (int(looked[place]) - total, int(a[place]), int(b[place]), word, times)
        for place, word, times in sorted(groups.values(), key=lambda one: -one[0])
    ]
    unknown = [
        _true(pc.is_null(one.column("data"))) & _true(pc.greater(one.column("data_size"), 0))
        for one in (ours, theirs)
    ]
    return rows, int(((unknown[0] | unknown[1]) & ~unlike).sum())


def _difference(one: dict[str, Any], other: dict[str, Any], folds: Collection[str]) -> str | None:
    """Return in what two contents differ; None where they do not, as far as both are known."""
    if folded_content(one["data"], one["data_size"], one["data_type"], folds) != folded_content(
        other["data"], other["data_size"], other["data_type"], folds
    ):
        for name in ("data_type", "data", "data_size"):
            mine, their = one[name], other[name]
            if mine is None or their is None or mine == their:
                continue
            cut = name == "data" and any(
                len(each["data"]) < (each["data_size"] or 0) for each in (one, other)
            )
            shorter = min(len(mine), len(their)) if cut else None
            if shorter is None or mine[:shorter] != their[:shorter]:
                return _WORDS.get(name, name)
    for name in ("returned", "facts", "disposition"):
        mine, their = one[name], other[name]
        if mine is None or their is None or mine == their:
            continue
        if isinstance(mine, str) and meaning_of_text(mine, folds) == meaning_of_text(their, folds):
            continue
        return _WORDS.get(name, name)
    return None


def _true(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Return a boolean column as NumPy's; NULL is false."""
    values: NDArray[np.bool_] = pc.fill_null(column, False).to_numpy()
    return values
