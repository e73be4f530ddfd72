"""Contents of values in `history` and `state`: captured bytes as text, and their sources compared."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

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
_OF_EVENT = ("data_type", "data_size", "data")
_BEFORE = ("previous_type", "previous_size", "previous_data")
_Content = tuple[int | None, int | None, bytes | None]  # type, size and data of a value
_NOTHING: _Content = (None, None, None)


def history_contents(rows: pa.Table) -> pa.Table:
    """Return rows of `analysis.answers.history.value_history` with the columns HISTORY_COLUMNS: contents decoded, sources compared."""
    return by_batch(rows, HISTORY_COLUMNS, _of_history)


def _of_history(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    facts = ("operation", "status", "done", "own_from", "own_sequence", "lost")
    contents = (
        list(zip(*(columns[name].to_pylist() for name in names), strict=True))
        for names in (_OF_EVENT, _BEFORE, OWN)
    )
    rows = zip(*(columns[name].to_pylist() for name in facts), *contents, strict=True)
    new: list[_Content] = []
    old: list[_Content] = []
    told: list[tuple[str | None, int | None, bool | None, str | None]] = []
    for operation, status, done, source, sequence, lost, written, recorded, own in rows:
        is_recorded = recorded != _NOTHING
        is_delete = operation == "DeleteValueKey"
        is_missed = is_delete and status == NAME_NOT_FOUND
        is_held = source in ("write", "read")
        own_from = _old_from(source)
        conflict = _conflict(is_delete and done is True, is_missed, is_recorded, own_from, recorded, own)
        new.append(written if operation == "SetValueKey" else _NOTHING)
        old.append(recorded if is_recorded else own if is_held and not is_missed else _NOTHING)
        by_earlier = (sequence, lost) if own_from and not is_recorded and not is_missed else (None, None)
        told.append((_old_from(source, recorded=is_recorded, missed=is_missed), *by_earlier, conflict))
    kinds = [columns[name].type for name in OWN]
    names = {code: status_name(code) for code in set(columns["status"].to_pylist()) - {None}}
    made = dict(zip(("new_type", "new_size", "new_data"), _arrays(new, kinds), strict=True))
    made |= dict(zip(("old_type", "old_size", "old_data"), _arrays(old, kinds), strict=True))
    made |= dict(
        zip(
            ("old_from", "old_sequence", "across_loss", "conflict"),
            _arrays(told, [pa.string(), columns["own_sequence"].type, pa.bool_(), pa.string()]),
            strict=True,
        )
    )
    made["status_name"] = pa.array([names.get(code) for code in columns["status"].to_pylist()], pa.string())
    for side in ("new", "old"):
        made[f"{side}_text"] = value_texts(made[f"{side}_type"], made[f"{side}_data"], made[f"{side}_size"])
    return columns | made


def _old_from(source: str | None, *, recorded: bool = False, missed: bool = False) -> str | None:
    """Return how the old content is known, of what is known before the event (`source`) and of the event."""
    if recorded:
        return "event"
    if missed or source in ("absent", "deleted"):
        return "absent"
    return source if source in ("write", "read") else None


def _arrays(rows: Sequence[tuple[Any, ...]], kinds: Sequence[pa.DataType]) -> list[pa.Array]:
    """Return rows as columns of some types."""
    return [pa.array([row[place] for row in rows], kind) for place, kind in enumerate(kinds)]


def _conflict(
    deleted: bool,
    missed: bool,
    recorded: bool,
    own_from: str | None,
    before: _Content,
    own: _Content,
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
    for ours, theirs in zip(own[:2], before[:2], strict=True):
        if ours is not None and theirs is not None and ours != theirs:
            return "data"
    mine, other = own[2] or b"", before[2] or b""
    shared = min(len(mine), len(other))
    return "data" if mine[:shared] != other[:shared] else None


def state_contents(rows: pa.Table) -> pa.Table:
    """Return rows of `analysis.answers.state.state_at` with the columns STATE_COLUMNS, contents decoded."""
    return by_batch(rows, STATE_COLUMNS, _of_state)


def _of_state(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    holds = [known in ("write", "read") for known in columns["last_known"].to_pylist()]
    kind, size, data = (
        pa.array(
            [one if held else None for one, held in zip(columns[name].to_pylist(), holds, strict=True)],
            columns[name].type,
        )
        for name in OWN
    )
    return {**columns, "type": kind, "size": size, "data": data, "text": value_texts(kind, data, size)}
