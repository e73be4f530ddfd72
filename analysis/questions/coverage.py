"""Which source reported which operations."""

import re

from analysis.engine.phrases import phrase
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together

__all__ = ["query"]

_WORD = re.compile(r"[a-z][a-z0-9-]{0,30}")


def query(context: QueryContext, filters: Filters, *, limit: int | None = None) -> Query:
    """Return the query; the columns are those of `analysis.answers.coverage.coverage`.

    Args:
        context: the context of the question.
        filters: which rows count.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    answers = [
        phrase(
            "analysis.answers.coverage:coverage",
            options={"also": _linked(one)},
            events=one.rows(filters),
            keys=context.relation("keys"),
        )
        for one in context.each(filters)
    ]
    check_limit(limit)
    return Query(context, filters, together(answers, smallest=("operation",), limit=limit))


def _linked(context: QueryContext) -> tuple[str, ...]:
    """Return the sources whose reports became a part of rows of others, as the manifest says; what is no word is left out."""
    words: set[str] = set()
    for _, manifest in context.stores:
        links = manifest.settings.get("links")
        for link in links if isinstance(links, list) else ():
            sources = link.get("sources") if isinstance(link, dict) else None
            if isinstance(sources, list):
                words |= {word for word in sources[1:] if isinstance(word, str) and _WORD.fullmatch(word)}
    return tuple(sorted(words))
