"""Keys and values as of a time: from the newest evidence before it, and whether that may be out of date."""

import ibis
from ibis.expr.types import BooleanValue, StringValue, Table

from analysis.answers.evidence import (
    LONGEST_NS,
    evidence,
    first_spellings,
    in_stay_of,
    of_key,
    of_path,
    real_losses,
    same_key,
    source_events,
)
from analysis.answers.facts import EXISTING_KEY, HEARSAY, KEY_FACTS, NEEDED, VALUE_FACTS
from analysis.answers.stays import ARRIVALS
from analysis.answers.unproved import doubtful_losses
from analysis.answers.value_verdict import known_value, newest

__all__ = ["state", "state_at"]

_FACTS = ("key_id", "value", "fact", "said")  # what a fact is known by


def state(
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
    at_ns: int | None = None,
    regex: str | None = None,
) -> Table:
    """Return the rows of `state_at` about the keys that some events are of.

    Arguments are those of `analysis.answers.evidence.evidence` and of `state_at`.
    """
    events = events.select(*NEEDED)
    evidence_rows = evidence(events, keys, everywhere, subtrees=subtrees, descent=descent, stays=stays)
    return state_at(
        evidence_rows,
        keys=keys,
        processes=processes,
        losses=losses,
        at_ns=at_ns,
        unproved=unproved,
        regex=regex,
        shown=shown,
        events=source_events(events, everywhere, descent, stays=stays, keys=keys),
    )


def state_at(
    evidence_rows: Table,
    *,
    keys: Table,
    processes: Table,
    losses: Table,
    at_ns: int | None = None,
    unproved: Table | None = None,
    regex: str | None = None,
    shown: Table | None = None,
    events: Table | None = None,
) -> Table:
    """Return the state of each key and each value with evidence, by key and value.

    `analysis.answers.contents.state_contents` makes the columns STATE_COLUMNS of its rows.

    Args:
        evidence_rows: rows of `analysis.answers.evidence.evidence`, all that there are of the keys asked for.
        keys: the table `keys`.
        processes: the table `processes`.
        losses: the table `losses`.
        unproved: rows of `analysis.answers.unproved.unproved_changes` of the time until then; None: there are none.
        at_ns: the time asked about, UTC nanoseconds, inclusive; None: the end.
        regex: regular expression for value names (`tracer.registry.terms.name_regex`); rows of keys are then left out. None: all.
        shown: a table with the column `sequence`: only what is known by these events; None: all.
        events: as in `analysis.answers.history.value_history`.
    """
    # Of all evidence the first spellings are among what is summed up anyway.
    names = (
        None
        if at_ns is None and regex is None and "origin" not in evidence_rows.columns
        else first_spellings(evidence_rows)
    )
    if at_ns is not None:
        evidence_rows = evidence_rows.filter(evidence_rows["time_ns"] <= at_ns)
    if regex is not None:  # what is known of keys, without which nothing is known of values, has no value
        fits = evidence_rows["value_name"].re_search(regex)
        evidence_rows = evidence_rows.filter(evidence_rows["value"].isnull() | fits)
    heard = None
    if "origin" in evidence_rows.columns:
        evidence_rows, heard = _last_stays(evidence_rows)
    facts = _facts(evidence_rows)
    newest_of_keys = _newest_of_keys(facts)
    states = _values(facts, newest_of_keys, heard)
    if regex is None:
        states = states.union(_keys(newest_of_keys))
    if shown is not None:
        states = states.semi_join(shown, "sequence")
    source = evidence_rows if events is None else events
    states = _since_lost(_with_event(states, facts, source), losses, unproved, at_ns)
    if names is None:
        values = facts.filter(facts["value"].notnull())
        names = values.group_by("key_id", "value").aggregate(
            value_name=values["value_name"].argmin(values["first"])
        )
    if heard is not None:
        states = states.mutate(key_id=states["key_id"].cast(keys["key_id"].type()))
    return _named(states, names, keys, processes)


def _last_stays(evidence_rows: Table) -> tuple[Table, Table]:
    """Return the evidence of the last stay of each path, and of values in earlier ones; key_id is the path's.

    Of what an earlier stay had, another key's, nothing is known any more but the names of its values.
    """
    own = evidence_rows.filter(evidence_rows["origin"] != "carried")
    last = own.group_by(of_last=of_path(own["key_id"])).aggregate(last_stay=in_stay_of(own["key_id"]).max())
    stay = in_stay_of(evidence_rows["key_id"])
    evidence_rows = evidence_rows.mutate(path_id=of_path(evidence_rows["key_id"]), stay=stay)
    evidence_rows = evidence_rows.inner_join(last, evidence_rows["path_id"] == last["of_last"])
    evidence_rows = evidence_rows.mutate(key_id=evidence_rows["path_id"])
    earlier = evidence_rows.filter(
        (evidence_rows["stay"] < evidence_rows["last_stay"]) & evidence_rows["value"].notnull()
    )
    return evidence_rows.filter(evidence_rows["stay"] == evidence_rows["last_stay"]), earlier


def _facts(evidence_rows: Table) -> Table:
    """Return the newest evidence of each fact of each key and value: sequence; and the first: its place and spelling.

    There are few of them beside the events, and all that follows is known by them.
    """
    by = [name for name in (*_FACTS, "origin") if name in evidence_rows.columns]
    sequence = evidence_rows["sequence"]
    spelling = evidence_rows["value_name"].argmin(sequence)
    return evidence_rows.group_by(by).aggregate(
        sequence=sequence.max(), first=sequence.min(), value_name=spelling
    )


def _newest_of_keys(facts: Table) -> Table:
    """Return for each key the sequences of its newest evidence: KEY_FACTS and, of the key alone, there, missing, and hearsay."""
    fact, sequence = facts["fact"], facts["sequence"]
    sums = KEY_FACTS | {
        "there": EXISTING_KEY,
        "missing": ("key_missing",),
        "hearsay": ("key_doubtful", "key_hearsay", *HEARSAY),
    }
    newest_rows = {name: sequence.max(where=fact.isin(some)) for name, some in sums.items()}
    if "origin" in facts.columns:  # the renames with which stays began, to which a key came
        newest_rows["begun"] = sequence.max(where=(facts["origin"] == "renamed") & fact.isin(ARRIVALS))
    return facts.group_by("key_id").aggregate(**newest_rows)


def _values(facts: Table, newest_of_keys: Table, heard: Table | None) -> Table:
    """Return key_id, value, known (before losses are looked at) and sequence of each value; `heard`: of `_last_stays`."""
    rows = facts.filter(facts["value"].notnull())
    if heard is not None:
        rows = rows.select("key_id", "value", "fact", "sequence")
        rows = rows.union(heard.mutate(fact=ibis.null(str)).select(*rows.columns))
    values = rows.group_by("key_id", "value").aggregate(
        hearsay=rows["sequence"].max(where=rows["fact"].isin(HEARSAY)),
        **{name: rows["sequence"].max(where=rows["fact"].isin(some)) for name, some in VALUE_FACTS.items()},
    )
    begun = ["begun"] if "begun" in newest_of_keys.columns else []
    of_keys = newest_of_keys.select(*KEY_FACTS, *begun, of_key="key_id")
    values = values.left_join(of_keys, values["key_id"] == of_keys["of_key"])
    word, sequence = known_value(values)
    values = values.select("key_id", "value", known=word, sequence=sequence)
    return values.filter(values["known"].notnull())  # only attempts that failed: nothing is known


def _keys(newest_of_keys: Table) -> Table:
    """Return the same of keys; `value` is NULL."""
    rows = newest_of_keys
    there, missing, gone = (newest(rows, name) for name in ("there", "missing", "key_deleted"))
    last = ibis.greatest(there, missing, gone)
    unsure, hearsay = newest(rows, "key_unknown"), newest(rows, "hearsay")
    is_unknown = (unsure > last) | (last < 0)
    word = ibis.cases(
        (is_unknown, "unknown"), (there == last, "exists"), (missing == last, "absent"), else_="deleted"
    )
    by = ibis.cases((is_unknown & (hearsay > last), hearsay), (last < 0, unsure), else_=last).nullif(-1)
    if "begun" in rows.columns:
        by = ibis.coalesce(by, rows["begun"])
    rows = rows.select("key_id", value=ibis.null(str), known=word, sequence=by)
    return rows.filter(rows["sequence"].notnull())


def _with_event(states: Table, facts: Table, events: Table) -> Table:
    """Add the event that is the evidence of each row, and what it says and proves."""
    facts = facts.select(own_fact="said", proof="fact", fact_at="sequence", fact_key="key_id")
    states = states.inner_join(
        facts, [states["sequence"] == facts["fact_at"], states["key_id"] == facts["fact_key"]]
    )
    event = events.select(
        "time", "time_ns", "process_id", "handle_id", "flags", own_at="sequence", own_operation="operation",
        own_type="data_type", own_size="data_size", own_data="data",
        **of_key(events, "own"),
    )  # fmt: skip
    return states.inner_join(event, [states["sequence"] == event["own_at"], *same_key(states, event, "own")])


def _since_lost(rows: Table, losses: Table, unproved: Table | None, at_ns: int | None) -> Table:
    """Add lost_since, and make states unknown that may have changed since."""
    lost = real_losses(doubtful_losses(losses, unproved))
    if at_ns is not None:
        lost = lost.filter(lost["from_ns"] <= at_ns)
    last = lost.aggregate(lost_until=lost["to_ns"].max().fill_null(-LONGEST_NS))
    rows = rows.cross_join(last)
    rows = rows.mutate(lost_since=rows["lost_until"] >= rows["time_ns"])
    if unproved is not None:
        rows, changed = _since_changed(rows, unproved)
        rows = rows.mutate(lost_since=rows["lost_since"] | changed)
    word = ibis.ifelse(rows["lost_since"], "unknown", rows["known"])
    return rows.mutate(known=word, last_known=_meaning(rows))


def _since_changed(rows: Table, unproved: Table) -> tuple[Table, BooleanValue]:
    """Return the rows, and whether a change without a proved name may have changed each since."""
    of_values = unproved.filter(unproved["kind"] == "value")
    of_values = of_values.group_by(written="name").aggregate(written_until=of_values["to_ns"].max())
    until = {kind: unproved["to_ns"].max(where=unproved["kind"] == kind) for kind in ("absence", "key")}
    last = unproved.aggregate(
        **{f"{kind}_until": time.fill_null(-LONGEST_NS) for kind, time in until.items()}
    )
    rows = rows.left_join(of_values, rows["value"] == of_values["written"]).cross_join(last)
    gone = rows["known"].isin(["absent", "deleted"])
    made = rows["value"].isnull() & (rows["key_until"] >= rows["time_ns"])
    changed = (rows["written_until"] >= rows["time_ns"]).fill_null(False)
    return rows, changed | (gone & ((rows["absence_until"] >= rows["time_ns"]) | made))


def _meaning(rows: Table) -> StringValue:
    """Return the meaning of the event at its time; NULL where it only made the state uncertain."""
    fact, of_value = rows["own_fact"], rows["value"].notnull()
    return ibis.cases(
        (of_value & (rows["proof"] == "key_doubtful"), ibis.null(str)),
        (of_value & fact.isin(ARRIVALS), ibis.null(str)),
        (fact.isin(["key_deleted", "key_renamed"]) | (of_value & (fact == "delete")), "deleted"),
        (of_value & (fact == "write"), "write"),
        (of_value & fact.isin(["read", "seen"]), "read"),
        (of_value & fact.isin(["miss", "key_missing", "key_created"]), "absent"),
        (fact == "key_missing", "absent"),
        (fact.isin(EXISTING_KEY), "exists"),
        else_=ibis.null(str),
    )


def _named(rows: Table, names: Table, keys: Table, processes: Table) -> Table:
    names = names.rename(named_key="key_id", named_value="value")
    paths = keys.select(at_id="key_id", key="path", display_key="display_path")
    people = processes.select(by_id="process_id", process="image", pid="pid")
    rows = rows.left_join(
        names, [rows["key_id"] == names["named_key"], rows["value"] == names["named_value"]]
    )
    rows = rows.left_join(paths, rows["key_id"] == paths["at_id"])
    rows = rows.left_join(people, rows["process_id"] == people["by_id"])
    return rows.order_by("display_key", "key_id", rows["value"].notnull(), "value").select(
        "display_key", "value_name", "known", "last_known", "lost_since", "sequence", "time", "process",
        "pid", "key", "key_id", "process_id", "handle_id", "flags", "own_fact", "own_type",
        "own_size", "own_data", operation="own_operation",
    )  # fmt: skip
