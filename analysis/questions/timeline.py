"""The events that fit, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.engine.value_functions import relation_with_texts
from analysis.filters import Filters
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit
from analysis.questions.ranges import ranges, stream_ranges
from analysis.questions.users import KEY_USER, by_batch, with_key_users
from tracer.errors import UsageError
from tracer.registry.suggestions import advice
from tracer.registry.value_columns import stored_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.expr.types import Table

    from analysis.engine.relation import Relation

__all__ = ["TimelineQuery", "query", "timeline_columns"]

_FIRST = (  # the columns of a DataFrame that people look at, first
    "host", "capture", "time", "process", "pid", "operation", "display_key", "key_user", "value_name", "status_name",
    "data_type_name", "data_text", "data_meaning", "previous_text", "user", "sequence",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineQuery(Query):
    """The query of a timeline, whose stream sorts a range of it at a time where it is long.

    Attributes:
        unordered: the same rows in no order, with every column; None where there is a limit.
        names: the columns of the answer, in order; some are made of those of the relation.
    """

    unordered: "Relation | None"
    names: tuple[str, ...]

    def to_arrow(self) -> "pa.Table":
        """Run the query and return the answer."""
        return self._answer(self.context.engine.fetch(self.relation))

    def to_ibis(self) -> "Table":
        """Return the rows as a lazy Ibis table, in order, without whose key each is about."""
        rows = self.context.engine.table(relation_with_texts(self.relation))
        return rows.select(*(name for name in self.names if name != KEY_USER))

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Run the query and return the answer; where it has all columns, those that people look at come first."""
        frame = Query.to_pandas(self, depth=depth + 1)
        if self.names != timeline_columns(self.context):
            return frame
        first = [name for name in _FIRST if name in frame.columns]
        ordered = frame[[*first, *(name for name in frame.columns if name not in first)]]
        ordered.attrs = frame.attrs
        return ordered

    def reader(self, batch_rows: int = 16_384) -> "pa.RecordBatchReader":
        """Run the query and return the requested columns as a stream of Arrow batches."""
        if self.unordered is not None and (found := ranges(self.context, self.filters)):
            rows = stream_ranges(self.context, self.unordered, found, self.relation.names, batch_rows)
        else:
            rows = self.context.engine.stream(self.relation.sql, batch_rows)
        return by_batch(rows, self._answer)

    def _answer(self, rows: "pa.Table") -> "pa.Table":
        """Return rows with whose key each is about, where that is asked for, and with the texts of values."""
        if KEY_USER in self.names:
            rows = with_key_users(rows, lambda: self.context.users)
        return with_meanings(self.context, rows, self.names)


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
    names = timeline_columns(context)
    _check_columns(names, columns)
    asked = tuple(columns or names)
    stored = list(stored_names([name for name in asked if name != KEY_USER]))
    if KEY_USER in asked and "display_key" not in stored:
        stored.append("display_key")
    rows = context.timeline_rows(filters)
    ordered = rows.ordered("sequence", stored).limit(limit)
    return TimelineQuery(context, filters, ordered, unordered=rows if limit is None else None, names=asked)


def timeline_columns(context: QueryContext) -> tuple[str, ...]:
    """Return the columns of a timeline: those of `events`, and whose key each row is about."""
    place = context.event_columns.index("display_key") + 1
    return (*context.event_columns[:place], KEY_USER, *context.event_columns[place:])


def _check_columns(known: Sequence[str], columns: Sequence[str] | None) -> None:
    if columns is not None and not columns:
        raise UsageError(f"no column given; use some of: {', '.join(known)}")
    for name in columns or ():
        if name not in known:
            raise UsageError(f"unknown column {name!r}; {advice(name, known, see='`regtrace list columns`')}")
