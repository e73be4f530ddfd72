"""Reads that a process repeated though nothing changed in between, and those it repeats by the clock."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.key_ranges import is_long, key_ranges
from analysis.questions.query import Query, check_limit, together

if TYPE_CHECKING:
    import pyarrow as pa

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

    Reads of a large capture are summed up here, before the query runs: `analysis.answers.sorted_reads` says why.

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
    answers = [
        (_redundant_in_ranges if is_long(one, filters) else _redundant)(
            one, filters, min_count, polling=polling
        )
        for one in context.each(filters)
    ]
    return Query(context, filters, together(answers, ("redundant", "reads"), limit=limit), needs="reads")


def _redundant(context: QueryContext, filters: Filters, min_count: int, *, polling: bool) -> Relation:
    return phrase(
        "analysis.answers.redundant:redundant",
        options={"polling": polling, "repeated": min_count > 0},
        values={"width_ns": _width_ns(context), "min_count": min_count},
        rows=context.rows(filters),
        events=context.relation("stored_events"),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        losses=context.relation("losses"),
    )


def _redundant_in_ranges(
    context: QueryContext, filters: Filters, min_count: int, *, polling: bool
) -> Relation:
    """Return the same rows, summed up by a range of keys after the other."""
    from analysis.answers.sorted_reads import SUMS

    rows, repeated = context.rows(filters), min_count > 0
    sums = context.engine.gather(
        "reads", f"{repeated} {rows.sql}", lambda: _sums(context, rows, repeated=repeated), SUMS
    )
    return phrase(
        "analysis.answers.redundant:named_sums",
        options={"polling": polling},
        values={"min_count": min_count},
        sums=sums,
        keys=context.relation("keys"),
        processes=context.relation("processes"),
    )


def _sums(context: QueryContext, rows: Relation, *, repeated: bool) -> "Iterator[pa.Table]":
    """Return the sums of the reads among some event rows, by a range of keys after the other."""
    from concurrent.futures import ThreadPoolExecutor

    from analysis.answers.sorted_reads import summed_reads

    engine, events, keys = context.engine, context.relation("stored_events"), context.relation("keys")
    unsure = engine.fetch(
        phrase(
            "analysis.answers.redundant:unsure_times",
            values={"width_ns": _width_ns(context)},
            events=events,
            keys=keys,
            losses=context.relation("losses"),
        )
    )
    steps = engine.keep("steps", phrase("analysis.answers.read_runs:read_steps", events=events, keys=keys))
    # The engine reads the next range while the last one is summed up.
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for some in key_ranges(context):
            own = phrase("analysis.answers.read_runs:reads_of", events=some.of(rows), keys=some.keys)
            changes = (
                f"SELECT * FROM {steps.source} WHERE group_id IN (SELECT group_id FROM {some.keys.source})"
            )
            reads, changed = engine.fetch(own), engine.fetch(Relation(changes, steps.columns))
            if waiting is not None:
                yield waiting.result()
            waiting = pool.submit(summed_reads, reads, changed, unsure, repeated=repeated)
            del reads, changed
        if waiting is not None:
            yield waiting.result()


def _width_ns(context: QueryContext) -> int:
    """Return how close changes that nobody could name are one time, nanoseconds."""
    parts = context.manifest.parts
    last_ns = max((part["last_ns"] for part in parts), default=0)
    span_ns = last_ns - min((part["first_ns"] for part in parts), default=0)
    return int(span_ns // _MOST_UNSURE + 1)
