"""Makes notifications of event rows, and the documentation's table of what each notification holds."""

import json
from collections.abc import Iterator
from dataclasses import Field, fields
from functools import lru_cache
from typing import Any

import pyarrow as pa

from tracer.callbacks.notifications import CLASSES, Notification
from tracer.callbacks.notify_class import Notify
from tracer.registry.operations import OPERATIONS

__all__ = ["COLUMNS", "make_notifications", "notification_table"]

_MOST = 4096  # notifications that are in memory at once
_COLUMNS = {"notify": "notify_class"}


def _source(item: Field[Any]) -> tuple[str | None, str]:
    """Return the source of a field: (name in the column `detail` or None, column)."""
    detail = item.metadata.get("detail")
    return detail, "detail" if detail else item.metadata.get("column") or _COLUMNS.get(item.name, item.name)


_KINDS: list[type[Notification]] = [Notification, *CLASSES.values()]
_FIELDS = {kind: [(*_source(item), item.type) for item in fields(kind)] for kind in _KINDS}
COLUMNS = frozenset(column for listed in _FIELDS.values() for _, column, _ in listed)


def make_notifications(rows: pa.Table) -> Iterator[Notification]:
    """Yield a notification for each row, in the order of the rows.

    Args:
        rows: a table with the columns of `events` joined with their names (`key`, `display_key`, `process`,
            `pid`, `address`); a column that is not there is unknown throughout.
    """
    for start in range(0, rows.num_rows, _MOST):
        yield from _make(rows.slice(start, _MOST))


def _make(rows: pa.Table) -> list[Notification]:
    lists: dict[str, list[Any]] = {
        name: rows.column(name).to_pylist() for name in rows.column_names if name in COLUMNS
    }
    unknown = [None] * rows.num_rows
    lists["notify_class"] = [_notify(number) for number in lists.get("notify_class", unknown)]
    places: dict[str, list[int]] = {}
    for place, operation in enumerate(lists["operation"]):
        places.setdefault(operation, []).append(place)
    notifications: dict[int, Notification] = {}
    for operation, some in places.items():
        kind = CLASSES.get(operation, Notification)
        columns = []
        for detail, column, annotation in _FIELDS[kind]:
            values = lists.get(column, unknown)
            if detail is None:
                columns.append([values[place] for place in some])
            else:
                columns.append([_detail(values[place], detail, "str" in str(annotation)) for place in some])
        notifications.update(zip(some, map(kind, *columns), strict=True))
    return [notifications[place] for place in range(rows.num_rows)]


@lru_cache(maxsize=256)
def _notify(number: int | None) -> Notify | None:
    return None if number is None else Notify(number)


@lru_cache(maxsize=4096)
def _detail(text: str | None, name: str, is_text: bool) -> Any:  # noqa: ANN401
    """Return one field of the JSON in the column `detail`; None if it is missing or has another type."""
    if text is None:
        return None
    try:
        details = json.loads(text)
    except (ValueError, RecursionError):
        return None
    value = details.get(name) if isinstance(details, dict) else None
    return value if type(value) is (str if is_text else int) else None


def notification_table() -> str:
    """Return the table of operations, notifications and their fields as Markdown, for docs/callbacks.md."""
    base = {item.name for item in fields(Notification)}
    lines = [
        "| operation | notification | structure | recovered | missing, and why |",
        "| --- | --- | --- | --- | --- |",
    ]
    for operation in OPERATIONS:
        kind = CLASSES.get(operation.name)
        if kind is None or operation.notify_class is None:
            continue
        notify = Notify(operation.notify_class)
        own = [item for item in fields(kind) if item.name not in base]
        recovered = [f"`address` = `{kind.object_field}`"] if kind.object_field else []
        recovered += [_recovered(item) for item in own if not item.metadata.get("procmon")]
        only = [f"{_recovered(item)} (Procmon)" for item in own if item.metadata.get("procmon")]
        missing = [f"`{name}`: {why}" for name, why in kind.missing.items()]
        cells = (
            f"`{operation.name}`", f"{int(notify)} `{notify.name}`", f"`{kind.structure}`",
            "; ".join([*recovered, *only]) or "`key`", "; ".join(missing) or "nothing",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _recovered(item: Field[Any]) -> str:
    structure = item.metadata.get("structure")
    return f"`{item.name}` = `{structure}`" if structure else f"`{item.name}` (extra)"
