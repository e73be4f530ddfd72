"""Lives of key objects, one by one or summed up by process and key."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.answers.words import HANDLES_BY, check_word
from analysis.engine.connection import answer, engine_errors
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together
from analysis.questions.users import by_batch
from analysis.times import nanoseconds

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LivesQuery", "query"]

_RANGE_LIVES = 60_000  # with all names joined some 60 MiB while they are sorted
_RANGES_OF_MANY = 16  # each is a query over the parts behind its first row


@dataclass(frozen=True, slots=True, kw_only=True)
class LivesQuery(Query):
    """The query of single lives, whose stream joins and sorts a range of them at a time where they are many.

    Attributes:
        late_ns: how long a handle may be idle before its close without being closed late.
        problems: only what was not closed, or not in time.
        is_cut: whether there is a limit.
    """

    late_ns: int
    problems: bool
    is_cut: bool

    def reader(self, batch_rows: int = 16_384) -> "pa.RecordBatchReader":
        """Run the query and return the answer as a stream of Arrow batches."""
        found = [] if self.is_cut else _ranges(self.context)
        if len(found) < 2:
            return Query.reader(self, batch_rows)
        context, shown = self.context, _shown(self.context, self.filters)
        if shown is not None:
            shown = context.engine.keep("shown_lives", shown)

        def of(after: int | None, until: int) -> "pa.RecordBatchReader":
            some = _of_range(context, after, until, shown)
            lives = _lives(context, some, self.late_ns, problems=self.problems, of_range=True)
            return context.engine.stream(lives.sql, batch_rows)

        start = of(*found[0])

        def batches() -> "Iterator[pa.RecordBatch]":
            yield from start
            for each in found[1:]:
                yield from of(*each)

        rows = start.from_batches(start.schema, batches())
        return by_batch(context.labelled_batches(rows), lambda batch: with_meanings(context, batch))


def query(
    context: QueryContext,
    filters: Filters,
    *,
    by: str = "handle",
    late_s: float = 10.0,
    min_count: int = 10,
    problems: bool = False,
    limit: int | None = None,
) -> Query:
    """Return the query; the columns are those of `handle_lives`, by key of `handle_use` (`analysis.answers`).

    Args:
        context: the context of the question.
        filters: a life is counted, as a whole, where a row that fits opened, used or closed it.
        by: handle or key.
        late_s: how long a handle may be idle before its close without being closed late, seconds.
        min_count: by key: from how many on handles leak, and a key is opened over and over.
        problems: only what was not closed, or not in time; by key: only what leaks or is opened over and over.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter or another word cannot be understood.
    """
    check_word(by, HANDLES_BY, "grouping")
    check_limit(limit)
    late_ns = nanoseconds(late_s)
    answers = []
    for one in context.each(filters):
        found = _lives(one, _shown(one, filters), late_ns, problems=problems and by == "handle")
        if by == "key":
            found = phrase(
                "analysis.answers.handle_use:handle_use",
                options={"problems": problems},
                values={"min_count": min_count},
                lives=found,
                keys=one.relation("keys"),
                processes=one.relation("processes"),
            )
        answers.append(found)
    if by == "key":
        found = together(answers, ("growth", "brief", "handles"), limit=limit)
        return Query(context, filters, found, needs="handles")
    return LivesQuery(
        context, filters, together(answers, limit=limit), needs="handles", late_ns=late_ns, problems=problems,
        is_cut=limit is not None,
    )  # fmt: skip


def _shown(context: QueryContext, filters: Filters) -> Relation | None:
    """Return handle_id of the lives that rows which fit are of; None where all are shown."""
    if filters == Filters():
        return None
    rows = context.rows(filters)
    kind = dict(rows.columns)["handle_id"]
    query = f"SELECT DISTINCT handle_id FROM {rows.source} WHERE handle_id IS NOT NULL"
    return Relation(query, (("handle_id", kind),))


def _ranges(context: QueryContext) -> list[tuple[int | None, int]]:
    """Return of each range of lives the first_sequence before it and its last; lives without one belong to the first range.

    No range where lives are few, or of several captures.
    """
    if len(context.stores) > 1 or not context.has_many_rows(Filters(), _RANGE_LIVES):
        return []
    handles = context.relation("handles").source
    sql = f"""
        WITH placed AS (
            SELECT first_sequence,
                row_number() OVER (ORDER BY first_sequence) // greatest({_RANGE_LIVES}, count(*) OVER () // {_RANGES_OF_MANY})
                    AS place
            FROM {handles} WHERE first_sequence IS NOT NULL
        )
        SELECT DISTINCT max(first_sequence) AS until FROM placed GROUP BY place ORDER BY until
    """
    with engine_errors():
        ends = answer(context.engine, sql).column(0).to_pylist()
    return list(zip([None, *ends], ends, strict=False))


def _of_range(context: QueryContext, after: int | None, until: int, shown: Relation | None) -> Relation:
    """Return handle_id of the lives of a range that are shown."""
    handles = context.relation("handles")
    begins = "first_sequence IS NULL OR" if after is None else f"first_sequence > {after} AND"
    query = f"SELECT handle_id FROM {handles.source} WHERE ({begins} first_sequence <= {until})"
    if shown is not None:
        query += f" AND handle_id IN (SELECT handle_id FROM {shown.source})"
    return Relation(query, (("handle_id", dict(handles.columns)["handle_id"]),))


def _lives(
    context: QueryContext,
    shown: Relation | None,
    late_ns: int,
    *,
    problems: bool,
    of_range: bool = False,
) -> Relation:
    """Return lives; `shown`: which, None for all; `of_range`: they are few, and no other events are held meanwhile."""
    events = context.relation("stored_events")
    if of_range and shown is not None:
        own = f"SELECT * FROM {events.source} WHERE handle_id IN (SELECT handle_id FROM {shown.source})"
        events = Relation(own, events.columns)
    return phrase(
        "analysis.answers.handles:handle_lives",
        options={"problems": problems},
        values={
            "end_ns": max((part["last_ns"] for part in context.manifest.parts), default=0),
            "late_ns": late_ns,
        },
        events=events,
        handles=context.relation("handles"),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        losses=context.relation("losses"),
        shown=shown,
    )
