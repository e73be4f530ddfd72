"""What failed, by process, key, value and status; what matters first."""

from analysis.engine.phrases import phrase
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit

__all__ = ["query"]


def query(
    context: QueryContext,
    filters: Filters,
    *,
    fold: bool = True,
    harmless: bool = True,
    limit: int | None = None,
) -> Query:
    """Return the query; the columns are those of `analysis.answers.errors.errors`.

    Args:
        context: the context of the question.
        filters: the filters of the failures; the hit after a miss is searched in all rows of its process.
        fold: False: searches are not folded.
        harmless: False: rows all of whose misses were answered are left out.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    found = phrase(
        "analysis.answers.errors:errors",
        options={"fold": fold, "harmless": harmless},
        events=context.rows(filters),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        everywhere=context.rows(
            Filters(process=filters.process, pid=filters.pid, process_tree=filters.process_tree)
        ),
    )
    return Query(context, filters, found.limit(check_limit(limit)), needs="failures")
