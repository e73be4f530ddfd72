"""Counters of operations and results as conditions for every engine; see `tracer.registry.operations`."""

from collections.abc import Sequence
from functools import reduce
from operator import and_, or_

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, Table

from tracer.registry.operations import GROUPS, OPERATIONS, Case, Condition

__all__ = ["coded", "condition_columns", "fitting", "is_of", "number_of", "unless_unclear"]

_OPERATION, _CODE = "coded_operation", "counted_code"
_BITS = tuple(name for name, group in GROUPS.items() if group.counted)  # a bit for each in a row's code
_MORE = 1 << len(_BITS)  # set where more than the operation decides
_UNCLEAR = ("writes", "created")  # counts that `unclear_writes` may belong to


def fitting(rows: Table, cases: Sequence[Case]) -> BooleanValue:
    """Return the condition for rows of one of the cases; NULL only where the operation is NULL."""
    return reduce(or_, [_fits(rows, case) for case in cases]) if cases else ibis.literal(False)


def coded(rows: Table) -> Table:
    """Return the rows with a code of their counted groups, which `is_of` reads.

    Engines compare text row by row, and for every condition anew. A row is looked up once in a table of all operations
    instead: worth it where very many rows are counted one by one.
    """
    always = {operation.name: 0 for operation in OPERATIONS}
    depending: dict[Case, int] = {}
    for place, name in enumerate(_BITS):
        for case in GROUPS[name].cases:
            if case.conditions:
                depending[case] = depending.get(case, 0) | 1 << place
            for operation in case.operations:
                always[operation] |= _MORE if case.conditions else 1 << place
    listed = [{_OPERATION: name, _CODE: code} for name, code in always.items()]
    codes = (
        ibis.literal(listed, type=f"array<struct<{_OPERATION}:string,{_CODE}:int32>>").unnest().name("code")
    )
    codes = codes.as_table().unpack("code")
    rows = rows.left_join(codes, rows["operation"] == codes[_OPERATION]).drop(_OPERATION)
    code = rows[_CODE]
    more = [ibis.ifelse(_fits(rows, case), bits, 0) for case, bits in depending.items()]
    return rows.mutate(**{_CODE: ibis.ifelse(code >= _MORE, reduce(or_, more, code), code)})


def is_of(rows: Table, name: str) -> BooleanValue:
    """Return the condition for rows of a group of GROUPS, from their code where they have one."""
    if _CODE in rows.columns:
        return (rows[_CODE] & (1 << _BITS.index(name))) != 0
    return fitting(rows, GROUPS[name].cases)


def condition_columns(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the columns in the conditions of some groups."""
    cases = [case for name in groups for case in GROUPS[name].cases]
    return tuple(dict.fromkeys(one.column for case in cases for one in case.conditions))


def number_of(rows: Table, which: BooleanValue | None = None) -> IntegerValue:
    """Return the number of event rows that fit; never NULL.

    Args:
        rows: event rows, or rows that stand for several each: then with a column `events`.
        which: the condition; None: all.
    """
    if "events" not in rows.columns:
        counted = rows.count() if which is None else which.cast("int8").sum().fill_null(0)
        return counted.cast("int64")
    return rows["events"].sum(where=which).fill_null(0).cast("int64")


def unless_unclear(sums: Table) -> Table:
    """Return sums with NULL for uncertain zeros: no row counts, and some rows are unclear (`unclear_writes`)."""
    unclear = sums["unclear_writes"] > 0
    names = [name for name in _UNCLEAR if name in sums.columns]
    return sums.mutate(**{name: ibis.ifelse(unclear, sums[name].nullif(0), sums[name]) for name in names})


def _fits(rows: Table, case: Case) -> BooleanValue:
    is_operation = rows["operation"].isin(case.operations)
    return reduce(and_, [_holds(rows, condition) for condition in case.conditions], is_operation)


def _holds(rows: Table, condition: Condition) -> BooleanValue:
    column = rows[condition.column]
    if condition.low == condition.high:
        fits = column == condition.low if condition.inside else column != condition.low
    else:
        fits = column.between(condition.low, condition.high)
        fits = fits if condition.inside else ~fits
    return fits.fill_null(condition.unknown)
