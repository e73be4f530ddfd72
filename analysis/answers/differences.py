"""Which things really differ between two sides, and how: contents are taken apart here, which no engine does."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers.returned import OWN, by_batch, value_texts

__all__ = ["DIFFERENCES", "differences"]

_PAIRS = ("known", "type", "size", "data", "text", "count", "key", "process", "pid", "time", "sequence",
          "key_id", "process_id")  # fmt: skip
DIFFERENCES = (
    "what", "side", "key", "value_name", "process", "operation",
    *(f"{letter}_{name}" for name in _PAIRS for letter in "ab"),
)  # fmt: skip
# what tells the content; engines without unsigned numbers have wider ones
_OWN = {"own_fact": None, "own_type": "uint32", "own_size": "uint32", "own_data": None}

Bools = NDArray[np.bool_]


def differences(found: pa.Table) -> pa.Table:
    """Return the differences among candidates, in their order; the columns DIFFERENCES.

    * what: key, value, operation or process;
    * side: only_a and only_b, where one side alone knows of it; differs, where both do;
    * key (folded path, by its meaning), value_name (as spelled), process (image), operation: what it is; NULL
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
        found: rows of `analysis.answers.diff.candidates`.
    """
    return by_batch(found, DIFFERENCES, _compared).filter(pc.field("side").is_valid())


def _compared(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    out = {
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
        kind, size, data = (pc.if_else(pa.array(held), mine[name], None) for name in OWN)
        empty = held & _true(pc.equal(size, 0)) & _true(pc.is_null(data))
        data = pc.if_else(pa.array(empty), pa.scalar(b"", data.type), data)
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
    return out | {"side": _side(columns, out)}


def _side(columns: dict[str, pa.Array], out: dict[str, pa.Array]) -> pa.Array:
    """Return on which side each thing is, or that it differs; NULL where it does not."""
    in_a, in_b = (_true(pc.is_valid(columns[f"{letter}_times"])) for letter in "ab")
    both = in_a & in_b
    is_state = _is_in(columns["what"], ("key", "value"))
    there_a, there_b = (
        _is_in(columns[f"{letter}_last_known"], ("write", "read", "exists")) for letter in "ab"
    )
    unlike, unknown = _contents(out, both & there_a & there_b & _is_in(columns["what"], ("value",)))
    changed_a, changed_b = (_true(columns[f"{letter}_changed"]) for letter in "ab")
    differs = both & (~is_state | (there_a != there_b) | unlike)
    only_a = (in_a & ~in_b) | (unknown & ~differs & changed_a & ~changed_b)
    only_b = (in_b & ~in_a) | (unknown & ~differs & changed_b & ~changed_a)
    words = np.select([differs, only_a, only_b], ["differs", "only_a", "only_b"], "")
    return pa.array(words.tolist(), pa.string(), mask=words == "")


def _contents(out: dict[str, pa.Array], rows: Bools) -> tuple[Bools, Bools]:
    """Tell of which rows the contents are unlike, and of which nobody knows whether they are."""
    unlike = np.zeros(len(rows), bool)
    for name in ("type", "size"):
        unlike |= rows & _true(pc.not_equal(out[f"a_{name}"], out[f"b_{name}"]))
    ours, theirs = out["a_data"], out["b_data"]
    unknown = rows & ~unlike & ~(_true(pc.is_valid(ours)) & _true(pc.is_valid(theirs)))
    compared = rows & ~unlike & ~unknown & _true(pc.not_equal(ours, theirs))
    for row in np.flatnonzero(compared).tolist():  # really different, or cut at different lengths: few
        one, other = ours[row].as_py(), theirs[row].as_py()
        shorter = min(len(one), len(other))
        cut = any(
            (out[f"{letter}_size"][row].as_py() or 0) > len(out[f"{letter}_data"][row].as_py())
            for letter in "ab"
        )
        unlike[row] = one[:shorter] != other[:shorter] or (len(one) != len(other) and not cut)
        unknown[row] = not unlike[row] and not shorter
    return unlike, unknown


def _or_null(column: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(column, ""), None, column)


def _is_in(column: pa.Array, words: tuple[str, ...]) -> Bools:
    return _true(pc.is_in(column, pa.array(words)))


def _true(column: pa.Array) -> Bools:
    """Return a boolean column as NumPy's; NULL is false."""
    values: Bools = pc.fill_null(column, False).to_numpy(zero_copy_only=False)
    return values
