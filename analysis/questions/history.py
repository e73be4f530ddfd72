"""The history of values: each write and delete, its change, and the source of the old content."""

from typing import TYPE_CHECKING

from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation, columns_of
from analysis.filters import Filters
from analysis.questions.baseline import (
    doubts_of_hives,
    has_baseline,
    named_history,
    of_history,
    with_baseline,
)
from analysis.questions.context import QueryContext
from analysis.questions.evidence import (
    Surroundings,
    are_alike,
    evidence_of,
    made_by_range,
    shown,
    unproved_changes,
)
from analysis.questions.key_ranges import is_long
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
    follows_keys = (
        beside.stays is None and filters.value is None and is_long(context, filters.of_keys(), events)
    )
    make = _in_ranges if follows_keys else _at_once
    return of_history(context, make(context, filters, events, beside))


def _at_once(context: QueryContext, filters: Filters, events: Relation, beside: Surroundings) -> Relation:
    return phrase(
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


def _in_ranges(context: QueryContext, filters: Filters, events: Relation, beside: Surroundings) -> Relation:
    """Return the same rows, made of the evidence of a range of keys after the other."""
    from analysis.answers.sorted_history import CHANGED, changed_by_range

    engine, keys = context.engine, context.relation("keys")
    groups = engine.keep(
        "changing", phrase("analysis.answers.history:changing_groups", events=events, keys=keys)
    )
    changed = engine.gather(
        "changes",
        events.sql,
        lambda: made_by_range(context, events, beside, groups, changed_by_range, presence=False),
        columns_of(CHANGED, {"key_id": dict(keys.columns)["key_id"]}),
    )
    return phrase(
        "analysis.answers.history:with_contents",
        changed=changed,
        events=_needed(context.clocked(events), changed),
        keys=keys,
        processes=context.relation("processes"),
        losses=context.clocked(context.relation("losses")),
        everywhere=None if beside.everywhere is None else context.clocked(beside.everywhere),
        descent=beside.descent,
        unproved=unproved_changes(context, Filters()),
        shown=shown(context, filters),
    )


def _needed(events: Relation, changed: Relation) -> Relation:
    """Return the events in which contents are looked up: the engine would else keep all of them, with their data, for a join."""
    sequences = " UNION ALL ".join(
        f"SELECT {name} FROM {changed.source} WHERE {name} IS NOT NULL"
        for name in ("sequence", "own_sequence")
    )
    return Relation(f"SELECT * FROM {events.source} WHERE sequence IN ({sequences})", events.columns)
