"""Contents of values in `history` and `state`: captured bytes as text, and their sources compared."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers.returned import OWN, by_batch
from tracer.registry.ntstatus import NAME_NOT_FOUND, status_name
from tracer.registry.value_columns import value_texts

__all__ = ["HISTORY_COLUMNS", "STATE_COLUMNS", "history_contents", "state_contents"]

HISTORY_COLUMNS = (
    "sequence", "time", "display_key", "value_name", "operation", "done", "status", "status_name", "process",
    "pid", "new_type", "new_size", "new_data", "new_text", "old_from", "old_type", "old_size", "old_data",
    "old_text", "old_sequence", "across_loss", "conflict", "key_id", "process_id", "handle_id", "flags",
)  # fmt: skip
STATE_COLUMNS = (
    "display_key", "value_name", "known", "last_known", "lost_since", "type", "size", "data", "text",
    "sequence", "time", "operation", "process", "pid", "key", "key_id", "process_id", "handle_id", "flags",
)  # fmt: skip
_PARTS = ("type", "size", "data")
_OF_EVENT = {"type": "data_type", "size": "data_size", "data": "data"}


def history_contents(rows: pa.Table) -> pa.Table:
    """Return rows of `analysis.answers.history.value_history` with the columns HISTORY_COLUMNS: contents decoded, sources compared."""
    return by_batch(rows, HISTORY_COLUMNS, _of_history)


def _of_history(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    operation, source = columns["operation"], columns["own_from"]
    recorded = np.any([np.asarray(columns[f"previous_{name}"].is_valid()) for name in _PARTS], axis=0)
    missed = _is(operation, "DeleteValueKey") & _is(columns["status"], NAME_NOT_FOUND)
    held = _is(source, "write", "read")
    own_from = _where(held, source, _where(_is(source, "absent", "deleted"), "absent", None))
    own = dict(zip(_PARTS, (columns[name] for name in OWN), strict=True))
    before = {name: columns[f"previous_{name}"] for name in _PARTS}
    old = {name: _where(recorded, before[name], _where(held & ~missed, own[name], None)) for name in _PARTS}
    writes = _is(operation, "SetValueKey")
    new = {name: _where(writes, columns[_OF_EVENT[name]], None) for name in _PARTS}
    by_itself = recorded | missed | ~np.asarray(own_from.is_valid())
    compared = zip(
        (_is(operation, "DeleteValueKey") & _is(columns["done"], True)).tolist(),
        missed.tolist(),
        recorded.tolist(),
        own_from.to_pylist(),
        *(before[name].to_pylist() for name in _PARTS),
        *(own[name].to_pylist() for name in _PARTS),
        strict=True,
    )
    names = {code: status_name(code) for code in columns["status"].unique().to_pylist() if code is not None}
    return {
        **columns,
        **{f"new_{name}": column for name, column in new.items()},
        **{f"old_{name}": column for name, column in old.items()},
        "new_text": value_texts(new["type"], new["data"], new["size"]),
        "old_text": value_texts(old["type"], old["data"], old["size"]),
        "old_from": _where(recorded, "event", _where(missed, "absent", own_from)),
        "old_sequence": _where(by_itself, None, columns["own_sequence"]),
        "across_loss": _where(by_itself, None, columns["lost"]),
        "conflict": pa.array([_conflict(*row) for row in compared], pa.string()),
        "status_name": pa.array([names.get(code) for code in columns["status"].to_pylist()], pa.string()),
    }


def _is(column: pa.Array, *words: str | int | bool) -> NDArray[np.bool_]:
    """Tell which rows of a column are one of some words; NULL is none."""
    is_word: NDArray[np.bool_] = np.asarray(pc.is_in(column, pa.array(words, column.type)))
    return is_word


def _where(mask: NDArray[np.bool_], this: pa.Array | str | None, that: pa.Array | None) -> pa.Array:
    return pc.if_else(pa.array(mask), this, that)


def _conflict(
    deleted: bool,
    missed: bool,
    recorded: bool,
    own_from: str | None,
    kind: int | None,
    size: int | None,
    data: bytes | None,
    own_kind: int | None,
    own_size: int | None,
    own_data: bytes | None,
) -> str | None:
    """Return how the event contradicts earlier evidence; None where it does not."""
    if own_from == "absent":
        return "absent" if recorded or deleted else None
    if own_from is None:
        return None
    if missed:
        return "present"
    if not recorded:
        return None
    for ours, theirs in ((own_kind, kind), (own_size, size)):
        if ours is not None and theirs is not None and ours != theirs:
            return "data"
    shared = min(len(own_data or b""), len(data or b""))
    return "data" if own_data and data and own_data[:shared] != data[:shared] else None


def state_contents(rows: pa.Table) -> pa.Table:
    """Return rows of `analysis.answers.state.state_at` with the columns STATE_COLUMNS, contents decoded."""
    return by_batch(rows, STATE_COLUMNS, _of_state)


def _of_state(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    holds = pc.fill_null(pc.is_in(columns["last_known"], pa.array(["write", "read"])), False)
    kind, size, data = (pc.if_else(holds, columns[name], None) for name in OWN)
    return {**columns, "type": kind, "size": size, "data": data, "text": value_texts(kind, data, size)}
