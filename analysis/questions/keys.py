"""Per key: how often it was read, written and opened, by how many, and when."""

from analysis.answers.words import KEY_SORTS, check_word
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit

__all__ = ["count", "query"]


def query(
    context: QueryContext, filters: Filters, *, sort: str = "events", limit: int | None = None
) -> Query:
    """Return the query; the columns are those of `analysis.answers.keys.key_summary`.

    Args:
        context: the context of the question.
        filters: which rows count; noise does not, unless they say so.
        sort: a word of `analysis.answers.words.KEY_SORTS`.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter or the order cannot be understood.
    """
    check_word(sort, KEY_SORTS, "order")
    filters = filters.without_noise()
    summary = phrase(
        "analysis.answers.keys:key_summary",
        events=context.rows(filters),
        keys=context.relation("keys"),
        usage=context.usage(filters),
    )
    found = phrase("analysis.answers.keys:sort_keys", options={"sort": sort}, summary=summary)
    return Query(context, filters, found.limit(check_limit(limit)))


def count(context: QueryContext) -> int | None:
    """Return how many keys have events; None where the capture is of a version that has no sums by key."""
    usage = context.usage(Filters())
    if usage is None:
        return None
    keys = context.relation("keys")
    groups = f"SELECT DISTINCT same_as FROM {keys.source} SEMI JOIN {usage.source} USING (key_id)"
    return context.engine.count(Relation(groups, keys.select("same_as").columns))
