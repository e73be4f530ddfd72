"""Noise: how many rows that Windows made by itself an answer leaves out."""

from dataclasses import replace

from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext

__all__ = ["count_noise"]


def count_noise(context: QueryContext, filters: Filters) -> int:
    """Return how many rows that fit the filters are noise (`tracer.registry.operations.NOISE`).

    Args:
        context: the context of the question.
        filters: as a user gave them; 0 where they ask for noise, or for some operations.

    Raises:
        UsageError: a filter cannot be understood.
    """
    if filters.without_noise().noise is not False:
        return 0
    every = replace(filters, noise=None)
    usage = context.usage(every)
    if usage is None:
        return context.engine.count(context.rows(replace(every, operation="noise")))
    total = f"SELECT sum(events)::BIGINT AS rows FROM {usage.source} WHERE noise"
    rows = context.engine.fetch(Relation(total, (("rows", "int64"),))).column(0)
    return int(rows[0].as_py() or 0)
