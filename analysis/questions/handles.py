"""Lives of key objects, one by one or summed up by process and key."""

from analysis.answers.words import HANDLES_BY, check_word
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together
from analysis.times import nanoseconds

__all__ = ["query"]


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
        found = _lives(one, filters, late_ns, problems=problems and by == "handle")
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
    largest = ("growth", "brief", "handles") if by == "key" else ()
    return Query(context, filters, together(answers, largest, limit=limit), needs="handles")


def _lives(context: QueryContext, filters: Filters, late_ns: int, *, problems: bool) -> Relation:
    shown = None
    if filters != Filters():
        rows = context.rows(filters)
        kind = dict(rows.columns)["handle_id"]
        query = f"SELECT DISTINCT handle_id FROM {rows.source} WHERE handle_id IS NOT NULL"
        shown = Relation(query, (("handle_id", kind),))
    return phrase(
        "analysis.answers.handles:handle_lives",
        options={"problems": problems},
        values={
            "end_ns": max((part["last_ns"] for part in context.manifest.parts), default=0),
            "late_ns": late_ns,
        },
        events=context.relation("stored_events"),
        handles=context.relation("handles"),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        losses=context.relation("losses"),
        shown=shown,
    )
