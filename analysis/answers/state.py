"""What was known of keys and values at a time: from the newest evidence before it, and whether that may be out of date."""

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, StringValue, Table

from analysis.answers.evidence import (
    EXISTING_KEY,
    LONGEST_NS,
    evidence,
    first_spellings,
    in_stay_of,
    of_key,
    of_path,
    real_losses,
    same_key,
    told_by,
)
from analysis.answers.stays import ARRIVALS
from analysis.answers.unproved import doubtful_losses
from analysis.answers.value_verdict import HEARSAY, KEY_FACTS, VALUE_FACTS, known_value, newest

__all__ = ["state", "state_at"]


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
    found = evidence(events, keys, everywhere, subtrees=subtrees, descent=descent, stays=stays)
    return state_at(
        found,
        keys=keys,
        processes=processes,
        losses=losses,
        at_ns=at_ns,
        unproved=unproved,
        regex=regex,
        shown=shown,
        events=told_by(events, everywhere, descent, stays=stays, keys=keys),
    )


def state_at(
    found: Table,
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
    """Return what is known of each key and each value of which there is evidence, by key and value.

    `told` makes the columns STATE_COLUMNS of its rows.

    Args:
        found: rows of `analysis.answers.evidence.evidence`, all that there are of the keys asked for.
        keys: the table `keys`.
        processes: the table `processes`.
        losses: the table `losses`.
        unproved: rows of `analysis.answers.unproved.unproved_changes` of the time until then; None: there are none.
        at_ns: the time asked about, UTC nanoseconds, inclusive; None: the end.
        regex: regular expression for value names (`tracer.registry.terms.name_regex`); rows of keys are then left out. None: all.
        shown: a table with the column `sequence`: only what is known by these events; None: all.
        events: as in `analysis.answers.history.value_history`.
    """
    names = first_spellings(found)
    if at_ns is not None:
        found = found.filter(found["time_ns"] <= at_ns)
    heard = None
    if "origin" in found.columns:
        found, heard = _last_stays(found)
    known = _values(found, regex, heard)
    if regex is None:
        known = known.union(_keys(found))
    if shown is not None:
        known = known.semi_join(shown, "sequence")
    known = _since_lost(_with_event(known, found, events), losses, unproved, at_ns)
    if heard is not None:
        known = known.mutate(key_id=known["key_id"].cast(keys["key_id"].type()))
    return _named(known, names, keys, processes)


def _last_stays(found: Table) -> tuple[Table, Table]:
    """Return the evidence of the last stay of each path, and of values in earlier ones; key_id is the path's.

    Of what an earlier stay had, another key's, nothing is known any more but the names of its values.
    """
    own = found.filter(found["origin"] != "carried")
    last = own.group_by(of_last=of_path(own["key_id"])).aggregate(last_stay=in_stay_of(own["key_id"]).max())
    stay = in_stay_of(found["key_id"])
    found = found.mutate(path_id=of_path(found["key_id"]), stay=stay)
    found = found.inner_join(last, found["path_id"] == last["of_last"])
    found = found.mutate(key_id=found["path_id"])
    earlier = found.filter((found["stay"] < found["last_stay"]) & found["value"].notnull())
    return found.filter(found["stay"] == found["last_stay"]), earlier


def _values(found: Table, regex: str | None, heard: Table | None) -> Table:
    """Return key_id, value, known (before losses are looked at) and sequence of each value; `heard`: of `_last_stays`."""
    rows = found.filter(found["value"].notnull())
    if heard is not None:
        rows = rows.select("key_id", "value", "value_name", "fact", "sequence")
        rows = rows.union(heard.mutate(fact=ibis.null(str)).select(*rows.columns))
    if regex is not None:
        rows = rows.filter(rows["value_name"].re_search(regex))
    values = rows.group_by("key_id", "value").aggregate(
        hearsay=rows["sequence"].max(where=rows["fact"].isin(HEARSAY)),
        **{name: rows["sequence"].max(where=rows["fact"].isin(facts)) for name, facts in VALUE_FACTS.items()},
    )
    whole = found.filter(found["value"].isnull())
    of_keys = whole.group_by(of_key="key_id").aggregate(
        **{name: whole["sequence"].max(where=whole["fact"].isin(facts)) for name, facts in KEY_FACTS.items()},
        **_begun(whole),
    )
    values = values.left_join(of_keys, values["key_id"] == of_keys["of_key"])
    word, sequence = known_value(values)
    values = values.select("key_id", "value", known=word, sequence=sequence)
    return values.filter(values["known"].notnull())  # only attempts that failed: nothing is known


def _begun(found: Table) -> dict[str, IntegerValue]:
    """Return the column of the renames with which stays began, to which a key came; none where there are no stays."""
    if "origin" not in found.columns:
        return {}
    begins = (found["origin"] == "renamed") & found["fact"].isin(ARRIVALS)
    return {"begun": found["sequence"].max(where=begins)}


def _keys(found: Table) -> Table:
    """Return the same of keys; `value` is NULL."""
    fact, sequence = found["fact"], found["sequence"]
    rows = found.group_by("key_id").aggregate(
        there=sequence.max(where=fact.isin(EXISTING_KEY)),
        missing=sequence.max(where=fact == "key_missing"),
        gone=sequence.max(where=fact.isin(["key_deleted", "key_renamed"])),
        unsure=sequence.max(where=fact.isin(KEY_FACTS["key_unknown"])),
        hearsay=sequence.max(where=fact.isin(["key_doubtful", "key_hearsay", *HEARSAY])),
        **_begun(found),
    )
    there, missing, gone = (newest(rows, name) for name in ("there", "missing", "gone"))
    last = ibis.greatest(there, missing, gone)
    unsure, hearsay = newest(rows, "unsure"), newest(rows, "hearsay")
    is_unknown = (unsure > last) | (last < 0)
    word = ibis.cases(
        (is_unknown, "unknown"), (there == last, "exists"), (missing == last, "absent"), else_="deleted"
    )
    by = ibis.cases((is_unknown & (hearsay > last), hearsay), (last < 0, unsure), else_=last).nullif(-1)
    if "begun" in rows.columns:
        by = ibis.coalesce(by, rows["begun"])
    rows = rows.select("key_id", value=ibis.null(str), known=word, sequence=by)
    return rows.filter(rows["sequence"].notnull())


def _with_event(known: Table, found: Table, events: Table | None) -> Table:
    """Add the event by which each is known."""
    facts = found.select(own_fact="said", proof="fact", fact_at="sequence", fact_key="key_id")
    known = known.inner_join(
        facts, [known["sequence"] == facts["fact_at"], known["key_id"] == facts["fact_key"]]
    )
    events = found if events is None else events
    event = events.select(
        "time", "time_ns", "process_id", "handle_id", "flags", own_at="sequence", own_operation="operation",
        own_type="data_type", own_size="data_size", own_data="data",
        **of_key(events, "own"),
    )  # fmt: skip
    return known.inner_join(event, [known["sequence"] == event["own_at"], *same_key(known, event, "own")])


def _since_lost(rows: Table, losses: Table, unproved: Table | None, at_ns: int | None) -> Table:
    """Add lost_since, and let what may have changed since be unknown."""
    lost = real_losses(doubtful_losses(losses, unproved))
    if at_ns is not None:
        lost = lost.filter(lost["from_ns"] <= at_ns)
    last = lost.aggregate(lost_until=lost["to_ns"].max().fill_null(-LONGEST_NS))
    rows = rows.cross_join(last)
    rows = rows.mutate(lost_since=rows["lost_until"] >= rows["time_ns"])
    if unproved is not None:
        rows, changed = _since_changed(rows, unproved)
        rows = rows.mutate(lost_since=rows["lost_since"] | changed)
    known = ibis.ifelse(rows["lost_since"], "unknown", rows["known"])
    return rows.mutate(known=known, last_known=_meaning(rows))


def _since_changed(rows: Table, unproved: Table) -> tuple[Table, BooleanValue]:
    """Return the rows, and whether each may have been changed since by what has no proved name."""
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
    """Return what the event said when it happened; NULL where it only made things uncertain."""
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
