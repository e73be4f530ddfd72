"""What happened, in order: the rows of `events` that were asked for, by `sequence`."""

from collections.abc import Sequence

import ibis
from ibis.expr.types import Table, Value

from analysis.expressions.operation_counters import fitting
from analysis.filters import Codes, Words, name_regex, operation_cases, status_condition

__all__ = ["chosen", "timeline"]


def chosen(
    events: Table,
    *,
    key_ids: Sequence[int] | Table | None = None,
    processes: Table | None = None,
    value: str | None = None,
    operation: Words = None,
    status: Codes = None,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> Table:
    """Return the rows of `events` (stored or joined) that fit; None asks nothing.

    Args:
        events: a table with the stored columns.
        key_ids: keys asked for: a list, which prunes the parts, or a table with the column `key_id`.
        processes: processes asked for: a table with the column `process_id`.
        value: as in `analysis.filters.Filters`.
        operation: likewise.
        status: likewise.
        start_ns: first time, UTC nanoseconds.
        end_ns: last time, inclusive.
    """
    conditions: list[Value] = []
    if key_ids is not None and not isinstance(key_ids, Table):
        conditions += _one_of(events["key_id"], sorted(key_ids))
    if value is not None:
        conditions.append(events["value_name"].re_search(name_regex(value)))
    cases = operation_cases(operation)
    if cases is not None:
        conditions.append(fitting(events, cases))
    if status is not None:
        conditions.append(status_condition(events, status))
    if start_ns is not None:
        conditions.append(events["time_ns"] >= start_ns)
    if end_ns is not None:
        conditions.append(events["time_ns"] <= end_ns)
    found = events.filter(*conditions) if conditions else events
    if isinstance(key_ids, Table):
        found = found.semi_join(key_ids, "key_id")
    if processes is not None:
        found = found.semi_join(processes, "process_id")
    return found


def _one_of(column: Value, numbers: Sequence[int]) -> list[Value]:
    """Return the conditions that say a column is one of some numbers.

    Engines carry comparisons over to the other side of a join, and so read few rows of `keys`, but not lists.
    """
    if not numbers:
        return [ibis.literal(False)]
    if len(numbers) == 1:
        return [column == numbers[0]]
    return [column >= numbers[0], column <= numbers[-1], column.isin(numbers)]


def timeline(events: Table, *, columns: Sequence[str] | None = None, limit: int | None = None) -> Table:
    """Return rows of `events` in their order, by `sequence`; None means every column, and every row."""
    rows = events.order_by("sequence")
    if limit is not None:
        rows = rows.limit(limit)
    return rows.select(*columns) if columns is not None else rows
