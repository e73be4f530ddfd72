"""The processes that touched keys and values: one row per process, or per process, key and value."""

from analysis.engine.phrases import phrase
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit

__all__ = ["query"]


def query(context: QueryContext, filters: Filters, *, each: bool = False, limit: int | None = None) -> Query:
    """Return the query; the columns are those of `analysis.answers.who.who`, with `each` those of `touched_by`.

    Args:
        context: the context of the question.
        filters: which rows count; noise does not, unless they say so.
        each: one row per key, value and process, instead of one per process.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    filters = filters.without_noise()
    found = phrase(
        "analysis.answers.who:" + ("touched_by" if each else "who"),
        events=context.rows(filters),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
    )
    return Query(context, filters, found.limit(check_limit(limit)))
