"""Keys and values as of a time."""

from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.baseline import doubts_of_hives, has_baseline, named_state, of_state, with_baseline
from analysis.questions.context import QueryContext
from analysis.questions.evidence import evidence_of, shown, unproved_changes
from analysis.questions.query import Query, check_limit, together

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["query"]


def query(context: QueryContext, filters: Filters, *, limit: int | None = None) -> Query:
    """Return the query; `analysis.capture.Capture.state` lists the columns.

    Args:
        context: the context of the question.
        filters: of which keys and values; `end` is the time. Other filters choose rows by the event that is the evidence.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    check_limit(limit)
    answers = [_state(with_baseline(one), filters) for one in context.each(filters)]
    finish = _contents_with_hives if has_baseline(context) else _contents
    return Query(context, filters, together(answers, limit=limit), finish, doubts=doubts_of_hives(context))


def _contents(rows: "pa.Table") -> "pa.Table":
    from analysis.answers.contents import state_contents

    return state_contents(rows)


def _contents_with_hives(rows: "pa.Table") -> "pa.Table":
    return named_state(_contents(rows))


def _state(context: QueryContext, filters: Filters) -> Relation:
    events, beside = evidence_of(context, filters)
    found = phrase(
        "analysis.answers.state:state",
        options={"subtrees": beside.subtrees},
        values={
            "at_ns": context.interval(filters)[1],
            "regex": filters.value_regex,
        },
        events=events,
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        losses=context.relation("losses"),
        unproved=unproved_changes(context, filters),
        shown=shown(context, replace(filters, end=None)),
        **beside.tables,
    )
    return of_state(context, found)
