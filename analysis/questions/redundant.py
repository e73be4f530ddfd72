"""Reads that a process repeated though nothing changed in between, and those it repeats by the clock."""

from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together

__all__ = ["query"]

_MOST_UNSURE = 1000  # times in which a change may have been missed, besides losses


def query(
    context: QueryContext,
    filters: Filters,
    *,
    min_count: int = 1,
    polling: bool = False,
    limit: int | None = None,
) -> Query:
    """Return the query; the columns are those of `analysis.answers.redundant.redundant_reads`.

    Args:
        context: the context of the question.
        filters: which reads count (noise does not, unless they say so); changes are looked for in all events.
        min_count: the fewest redundant reads of a row.
        polling: only what is read by the clock.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    check_limit(limit)
    filters = filters.without_noise()
    answers = [_redundant(one, filters, min_count, polling=polling) for one in context.each(filters)]
    return Query(context, filters, together(answers, ("redundant", "reads"), limit=limit), needs="reads")


def _redundant(context: QueryContext, filters: Filters, min_count: int, *, polling: bool) -> Relation:
    parts = context.manifest.parts
    last_ns = max((part["last_ns"] for part in parts), default=0)
    span_ns = last_ns - min((part["first_ns"] for part in parts), default=0)
    return phrase(
        "analysis.answers.redundant:redundant",
        options={"polling": polling, "repeated": min_count > 0},
        values={"width_ns": span_ns // _MOST_UNSURE + 1, "min_count": min_count},
        rows=context.rows(filters),
        events=context.relation("stored_events"),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        losses=context.relation("losses"),
    )
