"""The history of values: each write and delete, its change, and the source of the old content."""

from typing import TYPE_CHECKING

from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.baseline import (
    doubts_of_hives,
    has_baseline,
    named_history,
    of_history,
    with_baseline,
)
from analysis.questions.context import QueryContext
from analysis.questions.evidence import are_alike, evidence_of, shown, unproved_changes
from analysis.questions.query import Query, check_limit, together

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["query"]


def query(context: QueryContext, filters: Filters, *, limit: int | None = None) -> Query:
    """Return the query; `analysis.capture.Capture.history` lists the columns.

    Args:
        context: the context of the question.
        filters: the filters of the changes; all events of a key are evidence of the old content of its values.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood.
    """
    check_limit(limit)
    answers = [_history(with_baseline(one), filters) for one in context.groups(filters, are_alike)]
    finish = _contents_with_hives if has_baseline(context) else _contents
    found = together(answers, smallest=("sequence", "key_id", "value_name"), limit=limit)
    return Query(context, filters, found, finish, doubts=doubts_of_hives(context))


def _contents(rows: "pa.Table") -> "pa.Table":
    from analysis.answers.contents import history_contents

    return history_contents(rows)


def _contents_with_hives(rows: "pa.Table") -> "pa.Table":
    return named_history(_contents(rows))


def _history(context: QueryContext, filters: Filters) -> Relation:
    events, beside = evidence_of(context, filters)
    found = phrase(
        "analysis.answers.history:history",
        options={"subtrees": beside.subtrees},
        values={"regex": filters.value_regex},
        events=context.clocked(events),
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        losses=context.clocked(context.relation("losses")),
        unproved=unproved_changes(context, Filters()),
        shown=shown(context, filters),
        **{
            name: context.clocked(table) if table is not None and name == "everywhere" else table
            for name, table in beside.tables.items()
        },
    )
    return of_history(context, found)
