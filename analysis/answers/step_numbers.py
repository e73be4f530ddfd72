"""Numbers of the steps of two sides: equal numbers are equal steps, whatever differs from run to run."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers.normalize import identifiers, without_views, word_of
from tracer.registry.ntstatus import NAME_NOT_FOUND, TOO_SHORT
from tracer.registry.text import fold_name

__all__ = ["ENUMERATIONS", "READS", "Side", "first_uses", "number_sides"]

READS = (
    "QueryValueKey",
    "EnumerateValueKey",
    "EnumerateKey",
    "QueryKey",
    "QueryMultipleValueKey",
    "QuerySecurityKey",
)
_QUERY = "QueryValueKey"
ENUMERATIONS = ("EnumerateValueKey", "EnumerateKey")
_ASKED = ("status", "information_class", "index")  # what one side never says of an operation is not compared
_UNKNOWN = -1
_OBJECT = r"<OBJECT 0X[0-9A-F]+>"  # of a key of which only the address is known, as `keys.folded_path` has it
_WORD = "<OBJECT>"

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Side:
    """The steps of one side, a number each.

    Attributes:
        rows: the rows of `analysis.answers.steps.steps`.
        numbers: of each step, with every identifier of a kind alike. Both sides share the numbers, and greater ones
            stand for steps that are later in an order of names.
        names: of each step, the place in `used` of its key and value.
        called: the key and the value that stand at each place, their identifiers folded, with a NUL between them.
        used: the identifiers in each of them, in order.
    """

    rows: pa.Table
    numbers: Ints
    names: Ints
    called: Sequence[str]
    used: Sequence[tuple[str, ...]]


def number_sides(
    rows: Sequence[pa.Table], keys: Sequence[pa.Table], folds: Collection[str], *, by_result: bool = True
) -> tuple[Side, Side]:
    """Return both sides with their steps numbered.

    A step is what was done (operation, information class, index of an enumeration), to what (key and value), and how it
    ended (status; a read whose buffer was too short found what it asked for). What one side never says of an operation
    does not count.

    Args:
        rows: rows of `analysis.answers.steps.steps` of each side.
        keys: rows of `analysis.answers.steps.step_keys` of each side.
        folds: as for `analysis.answers.normalize.meaning`; identifiers (SIDs, GUIDs) are compared by the order in which
            a thread first uses them (`first_uses`), and so are addresses of objects.
        by_result: whether a query that found a value and one that missed it are different steps.
    """
    sizes = [one.num_rows for one in rows]
    operations = _texts([one.column("operation") for one in rows])
    named = [_named(one, of_keys, folds) for one, of_keys in zip(rows, keys, strict=True)]
    names = _shared([[name for name, _ in one] for _, one in named])
    numbers = operations[0].astype(np.int64)
    whole = [
        operations[0],
        np.concatenate([of[places] for of, (places, _) in zip(names, named, strict=True)]),
    ]
    for column in _ASKED:
        whole.append(_compared(column, rows, operations[0], operations[1], sizes[0], by_result=by_result))
    for values in whole[1:]:
        # One number for what was there so far and this: sorted, so that they do not depend on the sides' order.
        _, numbers = np.unique(numbers * (int(values.max(initial=0)) + 2) + values + 1, return_inverse=True)
    parts = np.split(numbers.reshape(-1).astype(np.int64), [sizes[0]])
    a, b = (
        Side(one, part, places, [name for name, _ in called], [ids for _, ids in called])
        for one, part, (places, called) in zip(rows, parts, named, strict=True)
    )
    return a, b


def first_uses(side: Side, rows: Ints) -> tuple[Ints, list[tuple[int, ...]]]:
    """Return for some rows of a side which identifiers they name, by the order in which these rows first use them.

    Returns:
        a place in the list for each row, and the list: the first identifier that was used is 0.
    """
    known: dict[str, int] = {}
    uses: dict[tuple[int, ...], int] = {(): 0}
    names = side.names[rows]
    distinct, firsts, places = np.unique(names, return_index=True, return_inverse=True)
    of_names = np.zeros(len(distinct), np.int64)
    for place in np.argsort(firsts, kind="stable").tolist():
        ids = side.used[distinct[place]]
        if ids:
            use = tuple(known.setdefault(one, len(known)) for one in ids)
            of_names[place] = uses.setdefault(use, len(uses))
    return of_names[places.reshape(-1)] if len(rows) else np.zeros(0, np.int64), list(uses)


def _texts(columns: Sequence[pa.ChunkedArray]) -> tuple[Ints, list[str]]:
    """Return the texts of both sides as numbers, and the texts in order; NULL is ""."""
    both = pa.concat_arrays([pc.fill_null(column.combine_chunks(), "") for column in columns])
    encoded = both.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    order = sorted(texts)
    ranks = {text: place for place, text in enumerate(order)}
    places = np.array([ranks[text] for text in texts], np.int64)
    return places[encoded.indices.to_numpy(zero_copy_only=False)] if len(both) else np.zeros(
        0, np.int64
    ), order


def _shared(names: Sequence[Sequence[str]]) -> list[Ints]:
    order = {name: place for place, name in enumerate(sorted({name for one in names for name in one}))}
    return [np.array([order[name] for name in one], np.int64) for one in names]


def _named(
    rows: pa.Table, keys: pa.Table, folds: Collection[str]
) -> tuple[Ints, list[tuple[str, tuple[str, ...]]]]:
    """Return for each row the place of its key and value, and for each of these its name and identifiers."""
    paths = dict(zip(keys.column("key_id").to_pylist(), keys.column("path").to_pylist(), strict=True))
    asked = pc.if_else(
        pc.is_in(rows.column("operation"), pa.array(ENUMERATIONS)), None, rows.column("value_name")
    )
    values = asked.combine_chunks().dictionary_encode()
    value_places = pc.fill_null(values.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    key_ids = pc.fill_null(rows.column("key_id"), -1).to_numpy().astype(np.int64)
    texts = values.dictionary.to_pylist()
    pairs, places = np.unique((key_ids + 1) * (len(texts) + 1) + value_places + 1, return_inverse=True)
    listed = [f"({pattern})" for pattern in (identifiers(folds), _OBJECT) if pattern]
    pattern = re.compile("|".join(listed))
    called = []
    for pair in pairs.tolist():
        key, value = divmod(pair, len(texts) + 1)
        path = without_views(paths.get(key - 1) or "", folds)
        # A key has no NUL in its path that is not escaped, and a value without a name is not the default value.
        name = f"{path}\0{'' if value == 0 else '=' + fold_name(texts[value - 1])}"
        ids = tuple(found[0] for found in pattern.finditer(name))
        called.append((pattern.sub(_word, name), ids) if ids else (name, ()))
    return places.reshape(-1).astype(np.int64), called


def _word(found: re.Match[str]) -> str:
    return _WORD if found[0].startswith("<OBJECT") else word_of(found[0])


def _compared(
    column: str,
    rows: Sequence[pa.Table],
    operations: Ints,
    names: Sequence[str],
    size: int,
    *,
    by_result: bool,
) -> Ints:
    """Return a column of both sides, `_UNKNOWN` where a row does not say or one side never says it of the operation."""
    known = [pc.fill_null(one.column(column).cast(pa.int64()), _UNKNOWN).to_numpy() for one in rows]
    values = np.concatenate(known).astype(np.int64)
    if column == "status":
        reads = np.isin(operations, [place for place, name in enumerate(names) if name in READS])
        values = np.where(reads & np.isin(values, TOO_SHORT), 0, values)
        if not by_result:
            queries = np.isin(operations, [place for place, name in enumerate(names) if name == _QUERY])
            values = np.where(queries & (values == NAME_NOT_FOUND), 0, values)
    says = [np.bincount(operations[part][values[part] != _UNKNOWN], minlength=len(names)) > 0
            for part in (slice(None, size), slice(size, None))]  # fmt: skip
    occurs = [
        np.bincount(operations[part], minlength=len(names)) > 0
        for part in (slice(None, size), slice(size, None))
    ]
    silent = (occurs[0] & ~says[0]) | (occurs[1] & ~says[1])
    return np.where(silent[operations], _UNKNOWN, values)
