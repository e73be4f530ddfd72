"""The busiest keys, processes, stretches of time, operations or results; and storms of misses."""

from analysis.answers.words import HOT_BY, HOT_SORTS, check_width, check_word
from analysis.engine.phrases import phrase
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together
from analysis.times import nanoseconds

__all__ = ["query"]


def query(
    context: QueryContext,
    filters: Filters,
    *,
    by: str = "key",
    sort: str = "events",
    every_s: float = 1.0,
    gap_s: float = 1.0,
    min_count: int = 20,
    limit: int | None = None,
) -> Query:
    """Return the query; the columns are those of `analysis.answers.hot.hot`, by storm of `analysis.answers.storms.storms`.

    Args:
        context: the context of the question.
        filters: which rows count; noise does not, unless they say so.
        by: a word of HOT_BY, or storm.
        sort: a word of HOT_SORTS; storms are sorted by their misses.
        every_s: by second: how long each stretch of time is, seconds.
        gap_s: by storm: the longest time between two misses of a storm, seconds.
        min_count: by storm: the fewest misses of a storm.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter or another word cannot be understood.
    """
    check_word(by, (*HOT_BY, "storm"), "grouping")
    filters = filters.without_noise()
    keys, processes = context.relation("keys"), context.relation("processes")
    check_limit(limit)
    if by == "storm":
        found = phrase(
            "analysis.answers.storms:storms",
            values={"gap_ns": nanoseconds(gap_s), "min_count": min_count},
            events=context.rows(filters),
            keys=keys,
            processes=processes,
        )
        return Query(context, filters, found.limit(limit))
    check_word(sort, HOT_SORTS, "order")
    every_ns = nanoseconds(every_s)
    if by == "second":
        check_width(every_ns)
    answers = [
        phrase(
            "analysis.answers.hot:busiest_first",
            options={"sort": sort},
            groups=phrase(
                "analysis.answers.hot:measures_by",
                options={"by": by},
                values={"every_ns": every_ns} if by == "second" else {},
                events=one.rows(filters),
                keys=keys,
                processes=processes,
                usage=one.usage(filters),
            ),
        )
        for one in context.each(filters)
    ]
    earliest = sort == "first_time"
    smallest = ("first_time", "first_sequence") if earliest else ("first_sequence",)
    found = together(answers, () if earliest else (sort,), smallest=smallest, limit=limit)
    return Query(context, filters, found)
