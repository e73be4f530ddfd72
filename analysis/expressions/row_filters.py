"""Filters of event rows and processes, for every engine: one filter a function.

`analysis.filters.Filters` says what a user may ask, `tracer.registry.terms` what each word stands for.
"""

from collections.abc import Sequence

import ibis
from ibis.expr.types import Table, Value

from analysis.expressions.events_view import is_failure
from analysis.expressions.operation_counters import fitting
from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.registry.operations import GROUPS, Case
from tracer.registry.terms import Codes, Words, name_regex, operation_cases, status_words

__all__ = [
    "between",
    "filter_events",
    "of_images",
    "of_key_ids",
    "of_keys",
    "of_operations",
    "of_pids",
    "of_processes",
    "of_statuses",
    "of_value",
    "without_noise",
]


def filter_events(
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
    """Return the rows of `events` (stored or joined) that fit; None does not filter.

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
    rows = events
    if key_ids is not None and not isinstance(key_ids, Table):
        rows = of_key_ids(rows, numbers=sorted(key_ids))
    if value is not None:
        rows = of_value(rows, regex=name_regex(value))
    cases = operation_cases(operation)
    if cases is not None:
        rows = of_operations(rows, cases=cases)
    if status is not None:
        words = status_words(status)
        rows = of_statuses(rows, success=words.success, failure=words.failure, codes=words.codes or None)
    rows = between(rows, start_ns=start_ns, end_ns=end_ns)
    if isinstance(key_ids, Table):
        rows = of_keys(rows, keys=key_ids)
    return rows if processes is None else of_processes(rows, processes=processes)


def of_key_ids(
    rows: Table, *, numbers: Sequence[int], low: int | None = None, high: int | None = None
) -> Table:
    """Return the rows of some keys.

    Engines carry comparisons over to the other side of a join, and so read few rows of `keys`, but not lists.

    Args:
        rows: event rows.
        numbers: ids, in order.
        low: the first of them, where there are several; None: the list says it.
        high: the last of them, likewise.
    """
    column = rows["key_id"]
    if not numbers:
        return rows.filter(ibis.literal(False))
    if len(numbers) == 1 and low is None:
        return rows.filter(column == numbers[0])
    low, high = numbers[0] if low is None else low, numbers[-1] if high is None else high
    return rows.filter(column >= low, column <= high, column.isin(numbers))


def of_keys(rows: Table, *, keys: Table) -> Table:
    """Return the rows of the keys in another table."""
    return rows.semi_join(keys, "key_id")


def of_processes(rows: Table, *, processes: Table) -> Table:
    """Return the rows of the processes in another table."""
    return rows.semi_join(processes, "process_id")


def of_value(rows: Table, *, regex: str) -> Table:
    """Return the rows of values whose name fits (`tracer.registry.terms.name_regex`)."""
    return rows.filter(rows["value_name"].re_search(regex))


def of_operations(rows: Table, *, cases: Sequence[Case], operations: Sequence[str] | None = None) -> Table:
    """Return the rows of some operations.

    Args:
        rows: event rows.
        cases: which rows these are.
        operations: operations all of whose rows are asked for too; None: only the cases.
    """
    condition = fitting(rows, cases)
    return rows.filter(condition if operations is None else rows["operation"].isin(operations) | condition)


def without_noise(rows: Table) -> Table:
    """Return the rows but what Windows did by itself (`tracer.registry.operations.NOISE`)."""
    return rows.filter(~fitting(rows, GROUPS["noise"].cases).fill_null(False))


def of_statuses(rows: Table, *, success: bool, failure: bool, codes: Sequence[int] | None) -> Table:
    """Return the rows with one of some statuses; an unknown status fits none (`status_words`)."""
    column, conditions = rows["status"], []
    if success:
        conditions.append(column < NOT_SUCCESS)
    if failure:
        conditions.append(is_failure(column))
    if codes is not None:
        conditions.append(column.isin(codes))
    condition: Value = conditions[0]
    for more in conditions[1:]:
        condition = condition | more
    return rows.filter(condition)


def between(rows: Table, *, start_ns: int | None, end_ns: int | None) -> Table:
    """Return the rows of a time, UTC nanoseconds, both inclusive; None is unbounded."""
    conditions = []
    if start_ns is not None:
        conditions.append(rows["time_ns"] >= start_ns)
    if end_ns is not None:
        conditions.append(rows["time_ns"] <= end_ns)
    return rows.filter(*conditions) if conditions else rows


def of_images(processes: Table, *, regex: str, by_path: bool, pid: int | None) -> Table:
    """Return the processes whose image fits a pattern (`tracer.registry.terms.name_regex`), or that have a pid."""
    names = ("image_path", "dos_path") if by_path else ("image",)
    of_name = ibis.or_(*(processes[name].re_search(regex).fill_null(False) for name in names))
    return processes.filter(of_name if pid is None else of_name | (processes["pid"] == pid))


def of_pids(processes: Table, *, pids: Sequence[int]) -> Table:
    """Return the processes with one of some pids."""
    return processes.filter(processes["pid"].isin(pids))
