"""The events that fit, in order."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.engine.connection import engine_errors, stream
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit
from analysis.questions.ranges import ranges, stream_ranges
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.engine.relation import Relation

__all__ = ["query", "reader"]


def query(
    context: QueryContext,
    filters: Filters,
    *,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> Query:
    """Return the query: the rows of `events` that fit, by `sequence`.

    Args:
        context: the context of the question.
        filters: the filters of the rows.
        columns: columns to return, in this order; None for all.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood, or there is no such column.
    """
    check_limit(limit)
    rows = _rows(context, filters, columns)
    return Query(context, filters, rows.ordered("sequence", columns).limit(limit))


def reader(
    context: QueryContext,
    filters: Filters,
    *,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    batch_rows: int = 16_384,
) -> "pa.RecordBatchReader":
    """Return the timeline as a stream of Arrow batches, for results larger than memory; arguments as of `query`."""
    if limit is None and (found := ranges(context, filters)):
        rows = _rows(context, filters, columns)
        return stream_ranges(context, rows, found, columns or context.event_columns, batch_rows)
    sql = query(context, filters, columns=columns, limit=limit).relation.sql
    with engine_errors():
        return stream(context.engine, sql, batch_rows)


def _rows(context: QueryContext, filters: Filters, columns: Sequence[str] | None) -> "Relation":
    known = context.event_columns
    if columns is not None and not columns:
        raise UsageError(f"no column given; use some of: {', '.join(known)}")
    for name in columns or ():
        if name not in known:
            raise UsageError(f"unknown column {name!r}; use some of: {', '.join(known)}")
    return context.timeline_rows(filters)
