"""The events that fit, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
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

__all__ = ["TimelineQuery", "query"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineQuery(Query):
    """The query of a timeline, whose stream sorts a range of it at a time where it is long.

    Attributes:
        unordered: the same rows in no order, with every column; None where there is a limit.
    """

    unordered: "Relation | None"

    def reader(self, batch_rows: int = 16_384) -> "pa.RecordBatchReader":
        """Run the query and return the requested columns as a stream of Arrow batches."""
        if self.unordered is not None and (found := ranges(self.context, self.filters)):
            return stream_ranges(self.context, self.unordered, found, self.relation.names, batch_rows)
        with engine_errors():
            return stream(self.context.engine, self.relation.sql, batch_rows)


def query(
    context: QueryContext,
    filters: Filters,
    *,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
) -> TimelineQuery:
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
    ordered = rows.ordered("sequence", columns).limit(limit)
    return TimelineQuery(context, filters, ordered, unordered=rows if limit is None else None)


def _rows(context: QueryContext, filters: Filters, columns: Sequence[str] | None) -> "Relation":
    known = context.event_columns
    if columns is not None and not columns:
        raise UsageError(f"no column given; use some of: {', '.join(known)}")
    for name in columns or ():
        if name not in known:
            raise UsageError(f"unknown column {name!r}; use some of: {', '.join(known)}")
    return context.timeline_rows(filters)
