"""Contents of values in `history` and `state`: captured bytes as text, and their sources compared."""

from typing import Any

import pyarrow as pa

from analysis.answers.returned import OWN, by_batch
from tracer.registry.ntstatus import NAME_NOT_FOUND, status_name
from tracer.registry.value_columns import FEW_ROWS, map_rows, value_texts

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
_HELD = ("write", "read")  # sources of contents
_GONE = ("absent", "deleted")
_COMPARED = (
    "new_type", "new_size", "new_data", "old_type", "old_size", "old_data",
    "old_from", "old_sequence", "across_loss", "conflict",
)  # fmt: skip
_Content = tuple[int | None, int | None, bytes | None]  # type, size and data of a value
_NOTHING: _Content = (None, None, None)


def history_contents(rows: pa.Table) -> pa.Table:
    """Return rows of `analysis.answers.history.value_history` with the columns HISTORY_COLUMNS: contents decoded, sources compared."""
    return by_batch(rows, HISTORY_COLUMNS, _of_history)


def _of_history(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    compare = _compared_rows if len(columns["operation"]) <= FEW_ROWS else _compared_columns
    made = compare(columns)
    made["status_name"] = map_rows(
        lambda code: None if code is None else status_name(code), columns["status"]
    )
    for side in ("new", "old"):
        made[f"{side}_text"] = value_texts(made[f"{side}_type"], made[f"{side}_data"], made[f"{side}_size"])
    return columns | made


def _compared_rows(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Return the columns _COMPARED, row by row: the statement of the rule."""
    facts = ("operation", "status", "done", "own_from", "own_sequence", "lost")
    contents = (
        list(zip(*(columns[name].to_pylist() for name in names), strict=True))
        for names in (_OF_EVENT, _BEFORE, OWN)
    )
    rows = zip(*(columns[name].to_pylist() for name in facts), *contents, strict=True)
    made: list[tuple[Any, ...]] = []
    for operation, status, done, source, sequence, lost, written, recorded, own in rows:
        is_recorded = recorded != _NOTHING
        is_delete = operation == "DeleteValueKey"
        is_missed = is_delete and status == NAME_NOT_FOUND
        is_held = source in _HELD
        own_from = _old_from(source)
        conflict = _conflict(is_delete and done is True, is_missed, is_recorded, own_from, recorded, own)
        new = written if operation == "SetValueKey" else _NOTHING
        old = recorded if is_recorded else own if is_held and not is_missed else _NOTHING
        by_earlier = (sequence, lost) if own_from and not is_recorded and not is_missed else (None, None)
        old_from = _old_from(source, recorded=is_recorded, missed=is_missed)
        made.append((*new, *old, old_from, *by_earlier, conflict))
    contents_kinds = [columns[name].type for name in OWN]
    kinds = [*contents_kinds * 2, pa.string(), columns["own_sequence"].type, pa.bool_(), pa.string()]
    return {
        name: pa.array([row[place] for row in made], kind)
        for place, (name, kind) in enumerate(zip(_COMPARED, kinds, strict=True))
    }


def _compared_columns(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    """Return what `_compared_rows` returns, of many rows at once."""
    import pyarrow.compute as pc

    def of(name: str, *words: str) -> pa.Array:
        return pc.is_in(columns[name], pa.array(words, columns[name].type))

    def where(condition: pa.Array, column: pa.Array | pa.Scalar, other: pa.Array | None = None) -> pa.Array:
        return pc.if_else(condition, column, pa.scalar(None, column.type) if other is None else other)

    def differ(name: str, other: str) -> pa.Array:
        return pc.not_equal(columns[name], columns[other]).fill_null(False)

    kind, size, data = (columns[name].is_valid() for name in _BEFORE)
    is_recorded = pc.or_(pc.or_(kind, size), data)
    is_delete = of("operation", "DeleteValueKey")
    is_missed = pc.and_(is_delete, pc.equal(columns["status"], NAME_NOT_FOUND).fill_null(False))
    is_held, is_absent = of("own_from", *_HELD), of("own_from", *_GONE)
    by_earlier = pc.and_not(pc.and_not(pc.or_(is_held, is_absent), is_recorded), is_missed)
    made = {}
    is_write, is_earlier = of("operation", "SetValueKey"), pc.and_not(is_held, is_missed)
    for part, written, recorded, own in zip(("type", "size", "data"), _OF_EVENT, _BEFORE, OWN, strict=True):
        made[f"new_{part}"] = where(is_write, columns[written])
        made[f"old_{part}"] = where(is_recorded, columns[recorded], where(is_earlier, columns[own]))
    event, absent, present, data_differs = map(pa.scalar, ("event", "absent", "present", "data"))
    from_earlier = where(pc.or_(is_missed, is_absent), absent, where(is_held, columns["own_from"]))
    made["old_from"] = where(is_recorded, event, from_earlier)
    made["old_sequence"] = where(by_earlier, columns["own_sequence"])
    made["across_loss"] = where(by_earlier, columns["lost"])
    is_deleted = pc.and_(is_delete, columns["done"].fill_null(False))
    contradicts = pc.and_(is_absent, pc.or_(is_recorded, is_deleted))
    (own_type, own_size, own_data), (old_type, old_size, old_data) = OWN, _BEFORE
    differs = pc.or_(differ(own_type, old_type), differ(own_size, old_size))
    # Few contents differ, and of these one may be the beginning of the other.
    places = pc.indices_nonzero(pc.and_not(differ(own_data, old_data), differs))
    pairs = zip(*(columns[name].take(places).to_pylist() for name in (own_data, old_data)), strict=True)
    others = {place for place, pair in zip(places.to_pylist(), pairs, strict=True) if _differ(*pair)}
    if others:
        differs = pc.or_(differs, pc.is_in(pa.array(range(len(differs))), pa.array(sorted(others))))
    differs = pc.and_(pc.and_(is_held, is_recorded), differs)
    of_held = where(pc.and_(is_held, is_missed), present, where(differs, data_differs))
    made["conflict"] = where(contradicts, absent, of_held)
    return {name: made[name] for name in _COMPARED}


def _old_from(source: str | None, *, recorded: bool = False, missed: bool = False) -> str | None:
    """Return how the old content is known, of what is known before the event (`source`) and of the event."""
    if recorded:
        return "event"
    if missed or source in _GONE:
        return "absent"
    return source if source in _HELD else None


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
    return "data" if _differ(own[2] or b"", before[2] or b"") else None


def _differ(one: bytes, other: bytes) -> bool:
    """Tell whether neither of two data begins with the other: fewer bytes may have been captured of one."""
    shared = min(len(one), len(other))
    return one[:shared] != other[:shared]


def state_contents(rows: pa.Table) -> pa.Table:
    """Return rows of `analysis.answers.state.state_at` with the columns STATE_COLUMNS, contents decoded."""
    return by_batch(rows, STATE_COLUMNS, _of_state)


def _of_state(columns: dict[str, pa.Array]) -> dict[str, pa.Array]:
    known, own = columns["last_known"], [columns[name] for name in OWN]
    if len(known) <= FEW_ROWS:
        holds = [word in _HELD for word in known.to_pylist()]
        kind, size, data = (
            pa.array(
                [one if held else None for one, held in zip(column.to_pylist(), holds, strict=True)],
                column.type,
            )
            for column in own
        )
    else:
        import pyarrow.compute as pc

        is_held = pc.is_in(known, pa.array(_HELD, known.type))
        kind, size, data = (pc.if_else(is_held, column, pa.scalar(None, column.type)) for column in own)
    return {**columns, "type": kind, "size": size, "data": data, "text": value_texts(kind, data, size)}
