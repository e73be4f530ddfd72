"""Real differences between two sides: contents are decoded and compared here, which no engine can do."""

from collections.abc import Collection
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.answers.normalize import meaning_of_text
from analysis.answers.returned import OWN, by_batch
from tracer.registry.bookkeeping import is_bookkeeping
from tracer.registry.value_columns import value_texts
from tracer.registry.values import ValueType

__all__ = ["DIFFERENCES", "differences", "folded_content", "without_bookkeeping"]

_PAIRS = ("known", "type", "size", "data", "text", "count", "key", "process", "pid", "time", "sequence",
          "key_id", "process_id")  # fmt: skip
DIFFERENCES = (
    "what", "side", "apart", "key", "value_name", "process", "operation",
    *(f"{letter}_{name}" for name in _PAIRS for letter in "ab"),
)  # fmt: skip
# what tells the content; engines without unsigned numbers have wider ones
_OWN = {"own_fact": None, "own_type": "uint32", "own_size": "uint32", "own_data": None}

_CALLED = ("what", "fold_key", "fold_value", "image", "operation")
_CHANGED = ("a_changed", "b_changed")
_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ, ValueType.MULTI_SZ, ValueType.LINK)


def differences(candidates: pa.Table, folds: Collection[str] = ()) -> pa.Table:
    """Return the differences among candidates, in their order; the columns DIFFERENCES.

    * what: key, value, operation or process;
    * side: only_a and only_b, where one side alone knows of it; differs, where both do;
    * apart: True where names are folded and the other side has things that are then called the same, but nobody
      can say which of them this one is; those that hold the same on both sides, one for one, are left out;
    * key (folded path, by its meaning where it pairs by that), value_name (as spelled), process (image), operation: what it is; NULL
      where it does not apply;
    * a_known, b_known: how a side knows a value (write, read, absent, deleted) or a key (exists, absent,
      deleted), NULL where it knows nothing;
    * type, size (bytes), data (bytes as captured) and text (as people read it) of a value that is there;
    * count: changes of a key or value, operations, or events of a process;
    * key (display path), process and pid, time, sequence, key_id, process_id: of the last event on each side,
      by its own ids.

    Values are alike where type and size are and all bytes that both sides captured. Of a value whose data one
    side does not know there is a difference only where one side alone changed it.

    Args:
        candidates: rows of `analysis.answers.diff.candidates`.
        folds: as there; identifiers are folded in the texts that values hold, too.
    """
    columns = (*DIFFERENCES, *_CALLED, *_CHANGED)
    rows = by_batch(candidates, columns, lambda batch: _compared(batch, folds)).filter(
        pc.field("side").is_valid()
    )
    return _without_twins(rows, folds).select(DIFFERENCES)


def without_bookkeeping(rows: pa.Table) -> pa.Table:
    """Return the differences but those of keys in which Windows notes what a user did (`tracer.registry.bookkeeping`)."""
    sides = [rows.column(f"{letter}_key") for letter in "ab"]
    keys = {key for side in sides for key in side.unique().to_pylist() if key is not None}
    noted = pa.array([key for key in keys if is_bookkeeping(key)], pa.string())
    of_key = pc.or_(pc.is_valid(sides[0]), pc.is_valid(sides[1]))
    fits = [pc.or_(pc.is_null(side), pc.is_in(side, noted)) for side in sides]
    return rows.filter(pc.invert(pc.and_(of_key, pc.and_(*fits))))


def _without_twins(rows: pa.Table, folds: Collection[str]) -> pa.Table:
    """Remove pairs of things that stay apart but have equal content on both sides."""
    apart = pc.indices_nonzero(pc.fill_null(rows["apart"].combine_chunks(), False))
    if not len(apart):
        return rows
    waiting: dict[Any, dict[str, list[int]]] = {}
    twins: set[int] = set()
    for place, row in zip(apart.to_pylist(), rows.take(apart).to_pylist(), strict=True):
        letter = row["side"][-1]
        held = row[f"{letter}_data"], row[f"{letter}_size"], row[f"{letter}_type"]
        thing = (
            *(row[name] for name in _CALLED),
            row[f"{letter}_known"],
            row[f"{letter}_changed"],
            folded_content(*held, folds),
        )
        of_sides = waiting.setdefault(thing, {"a": [], "b": []})
        others = of_sides["b" if letter == "a" else "a"]
        if others:
            twins |= {place, others.pop(0)}
        else:
            of_sides[letter].append(place)
    return rows.filter(_except(rows.num_rows, twins))


def folded_content(
    data: bytes | None, size: int | None, kind: int | None, folds: Collection[str]
) -> tuple[Any, ...]:
    """Return the content of a value; identifiers in a complete text are folded."""
    if data is None or kind not in _TEXTS or len(data) != size or len(data) % 2:
        return kind, size, data
    text = data.decode("utf-16-le", "surrogatepass")
    meant = meaning_of_text(text, folds)
    return (kind, None, meant) if meant != text else (kind, size, data)


def _compared(columns: dict[str, pa.Array], folds: Collection[str]) -> dict[str, pa.Array]:
    out = {
        **{name: columns[name] for name in (*_CALLED, *_CHANGED)},
        "what": columns["what"],
        "key": _or_null(columns["key_name"]),
        "operation": _or_null(columns["operation"]),
        "value_name": pc.coalesce(columns["a_spelled_value"], columns["b_spelled_value"]),
        "process": pc.coalesce(columns["a_spelled_image"], columns["b_spelled_image"]),
    }
    for letter in "ab":
        held = _is_in(columns[f"{letter}_last_known"], ("write", "read"))
        mine = {
            name: columns[f"{letter}_{name}"].cast(kind) if kind else columns[f"{letter}_{name}"]
            for name, kind in _OWN.items()
        }
        kind, size, data = (pc.if_else(held, mine[name], None) for name in OWN)
        empty = _all(held, _true(pc.equal(size, 0)), pc.is_null(data))
        data = pc.if_else(empty, pa.scalar(b"", data.type), data)
        out |= {f"{letter}_type": kind, f"{letter}_size": size, f"{letter}_data": data}
        out |= {
            f"{letter}_text": value_texts(kind, data, size),
            f"{letter}_known": columns[f"{letter}_last_known"],
        }
        out |= {
            f"{letter}_count": columns[f"{letter}_times"],
            f"{letter}_key": columns[f"{letter}_display_key"],
        }
        for name in ("process", "pid", "time", "sequence", "key_id", "process_id"):
            out[f"{letter}_{name}"] = columns[f"{letter}_{name}"]
    side = _side(columns, out, folds)
    alike = {letter: _true(pc.greater(columns[f"{letter}_alike"], 0)) for letter in "ab"}
    in_a, in_b = (pc.is_valid(columns[f"{letter}_times"]) for letter in "ab")
    apart = _any(_all(in_a, pc.invert(in_b), alike["b"]), _all(in_b, pc.invert(in_a), alike["a"]))
    return out | {"side": side, "apart": apart}


def _side(columns: dict[str, pa.Array], out: dict[str, pa.Array], folds: Collection[str]) -> pa.Array:
    """Return the side of each thing, or "differs"; NULL where it does not differ."""
    in_a, in_b = (pc.is_valid(columns[f"{letter}_times"]) for letter in "ab")
    both = _all(in_a, in_b)
    is_state = _is_in(columns["what"], ("key", "value"))
    there_a, there_b = (
        _is_in(columns[f"{letter}_last_known"], ("write", "read", "exists")) for letter in "ab"
    )
    unlike, unknown = _contents(out, _all(both, there_a, there_b, _is_in(columns["what"], ("value",))), folds)
    changed_a, changed_b = (_true(columns[f"{letter}_changed"]) for letter in "ab")
    differs = _all(both, _any(pc.invert(is_state), pc.xor(there_a, there_b), unlike))
    undecided = _all(unknown, pc.invert(differs))
    only_a = _any(_all(in_a, pc.invert(in_b)), _all(undecided, changed_a, pc.invert(changed_b)))
    only_b = _any(_all(in_b, pc.invert(in_a)), _all(undecided, changed_b, pc.invert(changed_a)))
    word = pa.scalar(None, pa.string())
    for rows, said in ((only_b, "only_b"), (only_a, "only_a"), (differs, "differs")):
        word = pc.if_else(rows, said, word)
    return word


def _contents(
    out: dict[str, pa.Array], rows: pa.BooleanArray, folds: Collection[str]
) -> tuple[pa.BooleanArray, pa.BooleanArray]:
    """Tell for each row whether the contents differ, and whether that is unknown."""
    numbers = [_true(pc.not_equal(out[f"a_{name}"], out[f"b_{name}"])) for name in ("type", "size")]
    unlike = _all(rows, _any(*numbers))
    alike = _all(rows, pc.invert(unlike))
    ours, theirs = out["a_data"], out["b_data"]
    have_both = _all(pc.is_valid(ours), pc.is_valid(theirs))
    unknown_rows = set(_places(_all(alike, pc.invert(have_both))))
    unlike_rows = set(_places(unlike))
    compared = _all(alike, have_both, _true(pc.not_equal(ours, theirs)))
    for row in _places(compared):  # really different, or cut at different lengths: few
        one, other = ours[row].as_py(), theirs[row].as_py()
        shorter = min(len(one), len(other))
        cut = any(
            (out[f"{letter}_size"][row].as_py() or 0) > len(out[f"{letter}_data"][row].as_py())
            for letter in "ab"
        )
        if one[:shorter] != other[:shorter] or (len(one) != len(other) and not cut):
            unlike_rows.add(row)
        elif not shorter:
            unknown_rows.add(row)
    for row in sorted(unlike_rows) if folds else ():
        held = [
            {name: out[f"{letter}_{name}"][row].as_py() for name in ("data", "size", "type")}
            for letter in "ab"
        ]
        one, other = (folded_content(each["data"], each["size"], each["type"], folds) for each in held)
        if one == other:
            unlike_rows.remove(row)
    return pc.invert(_except(len(rows), unlike_rows)), pc.invert(_except(len(rows), unknown_rows))


def _or_null(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, ""), None, column)


def _is_in(column: pa.Array, words: tuple[str, ...]) -> pa.BooleanArray:
    return _true(pc.is_in(column, pa.array(words)))


def _true(column: pa.Array) -> pa.BooleanArray:
    """Return a boolean column in which NULL is false."""
    return pc.fill_null(column, False)


def _all(*columns: pa.BooleanArray) -> pa.BooleanArray:
    return reduce(pc.and_, columns)


def _any(*columns: pa.BooleanArray) -> pa.BooleanArray:
    return reduce(pc.or_, columns)


def _places(rows: pa.BooleanArray) -> list[int]:
    found: list[int] = pc.indices_nonzero(rows).to_pylist()
    return found


def _except(count: int, places: Collection[int]) -> pa.BooleanArray:
    """Return `count` times true, but at some places."""
    fits = bytearray(b"\1") * count
    for place in places:
        fits[place] = 0
    return pa.Array.from_buffers(pa.uint8(), count, [None, pa.py_buffer(bytes(fits))]).cast(pa.bool_())
