"""The history of values: each write and delete, its change, and the source of the old content."""

from collections.abc import Mapping, Sequence

import ibis
from ibis.expr.types import Table

from analysis.answers.evidence import (
    evidence,
    first_spellings,
    lost_between,
    of_key,
    of_path,
    same_key,
    source_events,
)
from analysis.answers.facts import KEY_FACTS, NEEDED, VALUE_FACTS
from analysis.answers.unproved import doubtful_losses
from analysis.answers.value_verdict import known_value

__all__ = ["changing_groups", "history", "value_history", "with_contents"]

_PLACE = ("sequence", "key_id")  # what a row of evidence is known by
_BEFORE = (None, -1)  # rows of a window: all before this one


def history(
    events: Table,
    keys: Table,
    processes: Table,
    losses: Table,
    *,
    everywhere: Table | None = None,
    descent: Table | None = None,
    stays: Table | None = None,
    unproved: Table | None = None,
    shown: Table | None = None,
    subtrees: bool = True,
    regex: str | None = None,
) -> Table:
    """Return the rows of `value_history` about the keys that some events are of.

    Arguments are those of `analysis.answers.evidence.evidence` and of `value_history`.
    """
    events = events.select(*NEEDED)
    evidence_rows = evidence(events, keys, everywhere, subtrees=subtrees, descent=descent, stays=stays)
    return value_history(
        evidence_rows,
        keys=keys,
        processes=processes,
        losses=losses,
        unproved=unproved,
        regex=regex,
        shown=shown,
        events=source_events(events, everywhere, descent, stays=stays, keys=keys),
    )


def value_history(
    evidence_rows: Table,
    *,
    keys: Table,
    processes: Table,
    losses: Table,
    unproved: Table | None = None,
    regex: str | None = None,
    shown: Table | None = None,
    events: Table | None = None,
) -> Table:
    """Return the writes and deletes of values, in order, with the evidence of each value before it.

    `analysis.answers.contents.history_contents` makes the columns HISTORY_COLUMNS of its rows.

    Args:
        evidence_rows: rows of `analysis.answers.evidence.evidence`, all that there are of the keys asked for: what
            a value held is learnt from rows that are not shown.
        keys: the table `keys`.
        processes: the table `processes`.
        losses: the table `losses`.
        unproved: rows of `analysis.answers.unproved.unproved_changes`; None: there are none.
        regex: regular expression for value names (`tracer.registry.terms.name_regex`) to show; None: all.
        shown: a table with the column `sequence`, of the events to show; None: all.
        events: event rows in which the contents are looked up; None: `evidence_rows`, which then is as wide as they
            are wherever an engine keeps it (`analysis.answers.evidence.source_events`).
    """
    if regex is not None:
        fits = evidence_rows["value_name"].re_search(regex)
        evidence_rows = evidence_rows.filter(evidence_rows["value"].isnull() | fits)
    marks = _marks(evidence_rows)
    heard = _heard(marks)
    of_values, of_keys = _of_changed(marks, heard)
    rows = _with_newest(of_values, VALUE_FACTS, ["key_id", "first"])
    rows = rows.filter(rows["is_change"] | (rows["rank"] == 0))
    # Of their keys only these rows are asked, which are few beside the reads.
    nothing = {name: ibis.null("int64") for name in VALUE_FACTS}
    rows = _with_newest(rows.union(of_keys.mutate(**nothing).select(*rows.columns)), KEY_FACTS, ["key_id"])
    word, by = known_value(rows)
    rows = rows.mutate(own_from=word, own_sequence=by)
    taken = (rows["rank"] == 0) & rows["own_from"].isin(["write", "read"])
    rows = rows.filter(rows["is_change"] | taken).select(*_PLACE, "said", "value", "own_from", "own_sequence")
    source = evidence_rows if events is None else events
    rows = _with_evidence(rows, source, losses, unproved, shown)
    if "origin" in evidence_rows.columns:
        rows = rows.mutate(key_id=of_path(rows["key_id"]).cast(keys["key_id"].type()))
        names = first_spellings(evidence_rows)  # in any stay
        names = names.select(of_key="key_id", of_value="value", first_name="value_name")
    else:
        names = heard.select("of_key", "of_value", "first_name")
    rows = rows.left_join(names, [rows["key_id"] == names["of_key"], rows["value"] == names["of_value"]])
    return _named(rows, keys, processes)


def changing_groups(events: Table, keys: Table) -> Table:
    """Return key_id (`keys.same_as`) of the keys with values that were changed, or that were deleted or renamed."""
    rows = events.filter(
        events["operation"].isin(["SetValueKey", "DeleteValueKey", "DeleteKey", "RenameKey"])
    )
    changed = keys.semi_join(rows.select("key_id").distinct(), "key_id")
    return changed.select(key_id="same_as").distinct()


def with_contents(
    changed: Table,
    events: Table,
    keys: Table,
    processes: Table,
    losses: Table,
    *,
    everywhere: Table | None = None,
    descent: Table | None = None,
    unproved: Table | None = None,
    shown: Table | None = None,
) -> Table:
    """Return rows of `analysis.answers.sorted_history.changed_by_range` as those of `value_history`; arguments as of `history`."""
    source = source_events(events.select(*NEEDED), everywhere, descent)
    return _named(_with_evidence(changed, source, losses, unproved, shown), keys, processes)


def _with_evidence(
    rows: Table, events: Table, losses: Table, unproved: Table | None, shown: Table | None
) -> Table:
    """Return the rows of the events to show, with contents, and with what may have been missed."""
    if shown is not None:
        rows = rows.semi_join(shown, "sequence")
    return _with_losses(_with_contents(rows, events), losses, unproved)


def _marks(evidence_rows: Table) -> Table:
    """Return place, fact, said, value, value_name, is_change and is_gone of evidence.

    What is sorted has no more columns than that: data is looked up for the rows of the answer.
    """
    facts = (fact for some in (VALUE_FACTS, KEY_FACTS) for each in some.values() for fact in each)
    marks = evidence_rows.filter(evidence_rows["fact"].isin([*facts, "failed", "hearsay"]))
    is_own = marks["origin"] == "own" if "origin" in marks.columns else ibis.literal(True)
    is_change = marks["operation"].isin(["SetValueKey", "DeleteValueKey"]) & marks["value"].notnull()
    is_gone = marks["fact"].isin(KEY_FACTS["key_deleted"]) & is_own
    columns = (*_PLACE, "fact", "said", "value", "value_name")
    return marks.select(*columns, is_change=is_change & is_own, is_gone=is_gone)


def _heard(marks: Table) -> Table:
    """Return of_key, of_value, first, first_name and is_changed of the values that were changed, or whose keys are gone.

    A value is known by its key and the sequence of its first evidence, which takes less to sort by than a name.
    """
    values = marks.filter(marks["value"].notnull())
    heard = values.group_by(of_key="key_id", of_value="value").aggregate(
        first=values["sequence"].min(),
        first_name=values["value_name"].argmin(values["sequence"]),
        is_changed=values["is_change"].any(),
    )
    gone = marks.filter(marks["is_gone"]).select("key_id").distinct()
    return heard.filter(heard["is_changed"] | heard["of_key"].isin(gone["key_id"]))


def _of_changed(marks: Table, heard: Table) -> tuple[Table, Table]:
    """Return the marks of values of `_heard` and of their keys, with `first` and rank.

    A key that was deleted or renamed has, with rank 0, a row for each value that was heard of before.
    """
    values = marks.inner_join(
        heard, [marks["key_id"] == heard["of_key"], marks["value"] == heard["of_value"]]
    )
    gone = marks.filter(marks["is_gone"]).drop("value")
    taken = gone.inner_join(heard, [gone["key_id"] == heard["of_key"], gone["sequence"] > heard["first"]])
    taken = taken.mutate(value=taken["of_value"], rank=ibis.literal(0))
    columns = (*_PLACE, "fact", "said", "value", "is_change", "first", "rank")
    of_values = values.mutate(rank=ibis.literal(1)).select(*columns).union(taken.select(*columns))
    keys = heard.select(key_id="of_key").distinct()
    of_keys = marks.filter(marks["value"].isnull()).semi_join(keys, "key_id")
    return of_values, of_keys.mutate(first=ibis.null("int64"), rank=ibis.literal(1)).select(*columns)


def _with_newest(rows: Table, facts: Mapping[str, Sequence[str]], of: Sequence[str]) -> Table:
    """Add the sequences of the newest earlier rows with each of these facts, among those alike in the columns `of`."""
    before = ibis.window(group_by=of, order_by=["sequence", "rank"], rows=_BEFORE)
    fact, sequence, none = rows["fact"], rows["sequence"], ibis.null("int64")
    newest = {
        # Rank 0 is the key's own fact, said again for each of its values.
        name: ibis.ifelse(fact.isin(some) & (rows["rank"] == 1), sequence, none).max().over(before)
        for name, some in facts.items()
    }
    return rows.mutate(**newest)


def _with_contents(rows: Table, events: Table) -> Table:
    """Add the columns of the events, and of the events that are the evidence of the old values."""
    event = events.select(
        "time", "time_ns", "operation", "status", "process_id", "handle_id", "data_type", "data_size", "data",
        "previous_type", "previous_size", "previous_data", "flags", event_at="sequence", **of_key(events, "event"),
    )  # fmt: skip
    own = events.select(
        own_at="sequence", own_ns="time_ns", own_operation="operation",
        own_type="data_type", own_size="data_size", own_data="data", **of_key(events, "own"),
    )  # fmt: skip
    rows = rows.inner_join(event, [rows["sequence"] == event["event_at"], *same_key(rows, event, "event")])
    return rows.left_join(own, [rows["own_sequence"] == own["own_at"], *same_key(rows, own, "own")])


def _with_losses(rows: Table, losses: Table, unproved: Table | None) -> Table:
    """Add `lost`: whether a change may have been missed between the evidence and the event."""
    times = {"after": "own_ns", "before": "time_ns"}
    rows = lost_between(rows, doubtful_losses(losses, unproved), **times, name="lost")
    if unproved is None:
        return rows
    of_values = unproved.filter(unproved["kind"] == "value")
    rows = lost_between(rows, of_values, **times, name="written", of="value")
    loads = unproved.filter(unproved["kind"] == "absence").mutate(kind=ibis.literal("events"))
    rows = lost_between(rows, loads, **times, name="loaded")
    loaded = rows["loaded"] & rows["own_from"].isin(["absent", "deleted"])
    return rows.mutate(lost=rows["lost"] | rows["written"] | loaded).drop("written", "loaded")


def _named(rows: Table, keys: Table, processes: Table) -> Table:
    paths = keys.select(at_id="key_id", display_key="display_path")
    people = processes.select(by_id="process_id", process="image", pid="pid")
    rows = rows.left_join(paths, rows["key_id"] == paths["at_id"])
    rows = rows.left_join(people, rows["process_id"] == people["by_id"])
    said = rows["said"]
    return rows.select(
        "sequence", "time", "display_key", "operation", "status", "process", "pid", "data_type",
        "data_size", "data", "previous_type", "previous_size", "previous_data", "own_from", "own_sequence",
        "own_type", "own_size", "own_data", "lost", "key_id", "process_id",
        "handle_id", "flags",
        value_name="first_name",
        own_fact=ibis.ifelse(rows["own_operation"] == "SetValueKey", "write", "read"),
        done=ibis.cases((said == "unclear", ibis.null(bool)), (said.isin(["failed", "miss"]), False), else_=True),
    ).order_by("sequence", "key_id", "value_name")  # fmt: skip
