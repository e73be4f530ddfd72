"""Values and keys before and after their changes: the evidence of both sides, not yet compared."""

from functools import reduce

import ibis
from ibis.expr.types import BooleanValue, IntegerColumn, IntegerValue, StringValue, Table, Value

from analysis.answers.evidence import evidence, in_stay_of, of_path, source_events, stay_after
from analysis.answers.facts import (
    ABSENT_KEY,
    EXISTING_KEY,
    KEY_CHANGES,
    KEY_FACTS,
    KEY_GONE,
    OWN_CHANGES,
    OWN_STATES,
    VALUE_FACTS,
)
from analysis.answers.stays import ARRIVALS, SAME

__all__ = ["changed_groups", "touched_values_and_keys", "with_contents"]

_CHANGING = (
    "SetValueKey", "DeleteValueKey", "CreateKey", "DeleteKey", "RenameKey",
    "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey", "HiveWork", "CreateOrDelete",
)  # fmt: skip
_UNCLEAR, _KEY_UNKNOWN = VALUE_FACTS["unclear"], KEY_FACTS["key_unknown"]
_NEVER = 2**62  # after every sequence
_NONE = -1  # before every sequence
_AT = ("before_at", "after_at")
_DATA_OF = ("before_write", "before_read", "after_write", "after_read")


def touched_values_and_keys(
    events: Table,
    keys: Table,
    processes: Table,
    *,
    start_ns: int | None = None,
    asked: Table | None = None,
    regex: str | None = None,
    everywhere: Table | None = None,
    subtrees: bool = True,
    descent: Table | None = None,
    stays: Table | None = None,
    dated: bool = True,
) -> Table:
    """Return one row for each changed value and key, with the evidence before and after.

    `analysis.answers.net_changes.net_changes` compares the sides: what reads returned has to be taken apart for
    it, which no engine does. Rows are in no order. Columns:

    * key_id (`keys.same_as`), key, display_key, value (folded; NULL for the key itself), value_name;
    * first_sequence, last_sequence, first_time, last_time of the changes asked for; process_id, process, pid
      of the last one; writes, how many; processes, how many changed it, asked for or not; also_by_others,
      whether what was not asked for changed it after the first;
    * first_fact (`analysis.answers.evidence`); previous_type, previous_size, previous_data, what that event
      says was there; was_created, whether the key was made earlier in the capture; with_key, whether a value is
      gone at the end because its key was, or was made anew; moved, whether a key that is there at the end came by a
      rename that was asked for, and was not made in this time;
    * before, after: present, absent, or NULL for unknown, by evidence alone: whether what lies between leaves it
      in doubt is for `net_changes` to say; before_at_time, after_at_time: of the evidence (NULL where `dated` is False);
    * before_write, before_read, after_write, after_read: sequences of the last write and the last read
      that tell the data, NULL where none does; and with _type, _size, _data, _class, _time what each carries.

    Args:
        events: stored or joined rows of the keys asked for, from the capture's beginning to the time's end.
        keys: the table `keys`.
        processes: the table `processes`.
        start_ns: the time's beginning, UTC nanoseconds; None: the capture's.
        asked: the event rows whose changes were asked for; None: all since the beginning.
        regex: regular expression for value names (`tracer.registry.terms.name_regex`), and no keys; None: all.
        everywhere: the event rows of the same time in which to look for what changed whole subtrees, where
            `events` are those of some keys only; None: `events`.
        subtrees: False where it is known that there is no such event (`analysis.answers.evidence.OF_SUBTREES`).
        descent: as in `analysis.answers.evidence.evidence`.
        stays: as in `analysis.answers.evidence.evidence`.
        dated: False where it is known that nothing leaves evidence in doubt, so that nobody needs its time.
    """
    whole = events if everywhere is None else everywhere
    sources = events if stays is None else source_events(events, everywhere, stays=stays, keys=keys)
    changed = _changed(sources, keys, start_ns, stays)
    members = keys.semi_join(changed, keys["same_as"] == changed["same_as"]).select("key_id")
    evidence_rows = evidence(
        events.semi_join(members, "key_id"),
        keys,
        whole,
        subtrees=subtrees,
        descent=descent,
        stays=stays,
        # With stays there are paths among them of which no event is.
        groups=changed.select(key_id="same_as") if stays is None else None,
    )
    if stays is not None:
        evidence_rows = evidence_rows.semi_join(
            changed, of_path(evidence_rows["key_id"]) == changed["same_as"]
        )
    marks = _marks(evidence_rows, start_ns, asked)
    touched_keys = _keys(marks)
    rows = _values(marks, touched_keys)
    if regex is None:
        rows = rows.union(_like_values(touched_keys, rows))
    else:
        rows = rows.filter(rows["value_name"].re_search(regex))
    if stays is not None:  # sequences of events again
        names = ("first_sequence", "last_sequence", *_DATA_OF)
        rows = rows.mutate(**{name: of_path(rows[name]) for name in names})
    rows = _with_data(rows, sources)
    return _with_names(_with_times(rows, marks) if dated else _without_times(rows), keys, processes)


def changed_groups(events: Table, keys: Table, *, start_ns: int | None = None) -> Table:
    """Return key_id (`keys.same_as`) of the keys that were changed, where none was renamed; arguments are those of the answer."""
    return _changed(events, keys, start_ns, None).select(key_id="same_as")


def with_contents(
    touched: Table, events: Table, keys: Table, processes: Table, *, regex: str | None = None
) -> Table:
    """Return rows of `analysis.answers.sorted_changes.touched_by_range` as those of `touched_values_and_keys`; arguments as there."""
    if regex is not None:
        touched = touched.filter(touched["value"].notnull() & touched["value_name"].re_search(regex))
    return _with_names(_with_data(touched, events), keys, processes)


def _changed(events: Table, keys: Table, start_ns: int | None, stays: Table | None) -> Table:
    """Return same_as of the keys that were changed, and of the paths under which these stood too."""
    operation = events["operation"]
    changing = events.filter(
        operation.isin(_CHANGING) & ((operation != "CreateKey") | (events["disposition"] == 1))
    )
    if start_ns is not None:
        changing = changing.filter(changing["time_ns"] >= start_ns)
    groups = keys.semi_join(changing.select("key_id").distinct(), "key_id").select("same_as").distinct()
    if stays is None:
        return groups
    items = stays.semi_join(groups, stays["key_id"] == groups["same_as"]).select("item_id").distinct()
    others = stays.semi_join(items, "item_id")
    return groups.union(others.select(same_as=others["key_id"].cast(groups["same_as"].type()))).distinct()


def _marks(evidence_rows: Table, start_ns: int | None, asked: Table | None) -> Table:
    """Return the evidence with `in_time` and `counts`: whether a row counts as a requested change.

    Of stays (column origin), key_id is the path's, and sequence holds the stay's number too: what is of a later stay comes
    later, whenever it was said. is_now: whether it is of the path's last stay.
    """
    in_time = ibis.literal(True) if start_ns is None else evidence_rows["time_ns"] >= start_ns
    origin = ["origin"] if "origin" in evidence_rows.columns else []
    evidence_rows = evidence_rows.select(
        "key_id", "value", "value_name", "fact", "sequence", "time", "process_id", *origin, in_time=in_time
    )
    if asked is None:
        marks = evidence_rows.mutate(counts=evidence_rows["in_time"])
    else:
        changes = asked.filter(asked["operation"].isin(_CHANGING)).select("sequence").distinct()
        # Not one left join: engines would be handed the evidence anew wherever the marks are used.
        counted = evidence_rows.semi_join(changes, "sequence").mutate(counts=ibis.literal(True))
        marks = counted.union(evidence_rows.anti_join(changes, "sequence").mutate(counts=ibis.literal(False)))
    return _marks_of_stays(marks) if origin else marks


def _marks_of_stays(marks: Table) -> Table:
    own = marks["origin"] == "own"
    made = (marks["fact"] == "key_created") & marks["counts"]
    marks = marks.mutate(
        key_id=of_path(marks["key_id"]),
        sequence=marks["sequence"] + in_stay_of(marks["key_id"]),
        counts=marks["counts"] & own,
        in_time=marks["in_time"] & own,
        is_made=made,
    )
    of_paths = marks.filter(marks["origin"] != "carried")
    last = of_paths.group_by(of_last="key_id").aggregate(last_stay=in_stay_of(of_paths["sequence"]).max())
    marks = marks.inner_join(last, marks["key_id"] == last["of_last"]).drop("of_last")
    stay = in_stay_of(marks["sequence"])
    return marks.filter(stay <= marks["last_stay"]).mutate(is_now=stay == marks["last_stay"])


def _now(marks: Table, condition: BooleanValue) -> BooleanValue:
    """Return the condition for evidence of the state at the end."""
    return condition & marks["is_now"] if "is_now" in marks.columns else condition


def _early(marks: Table, first: IntegerValue) -> BooleanValue:
    """Tell which evidence is of the state before the first change."""
    is_early: BooleanValue = marks["sequence"] < first
    return is_early & (marks["sequence"] >= in_stay_of(first)) if "is_now" in marks.columns else is_early


def _arrived(marks: Table) -> dict[str, Value]:
    """Return the columns arrived (a rename that counts moved the key here, until the end) and moved.

    A key that was made in the time under another name, or was known not to be there when it came, is not moved.
    """
    if "is_now" not in marks.columns:
        return {"arrived": ibis.literal(False), "moved": ibis.literal(False)}
    fact, sequence = marks["fact"], marks["sequence"]
    carried = marks["is_now"] & (marks["origin"] == "carried")
    came = sequence.max(where=fact.isin(ARRIVALS) & marks["counts"])  # the last event of the stay before
    turned = sequence.max(where=(marks["origin"] == "renamed") & ~fact.isin(SAME))
    arrived = (stay_after(came) == in_stay_of(turned)).fill_null(False)
    made = _last(sequence, marks["is_made"] & marks["is_now"])
    was_gone = _last(sequence, fact.isin(KEY_GONE) & carried) > _last(
        sequence, fact.isin(EXISTING_KEY) & carried
    )
    unknown = _last(sequence, fact.isin(_KEY_UNKNOWN) & marks["is_now"])
    return {"arrived": arrived, "moved": arrived & ~((made > unknown) | was_gone)}


def _keys(marks: Table) -> Table:
    """Return one row per key: the changes of the key itself, and whether it was there before and after."""
    fact, sequence = marks["fact"], marks["sequence"]
    keys = marks.group_by("key_id").aggregate(
        key_absent=_last(sequence, _now(marks, fact.isin(ABSENT_KEY))),
        key_unknown=_last(sequence, _now(marks, fact.isin(_KEY_UNKNOWN))),
        key_there=_last(sequence, _now(marks, fact.isin(EXISTING_KEY))),
        key_gone=_last(sequence, _now(marks, fact.isin(KEY_GONE))),
        **_arrived(marks),
    )
    changes = _summed_changes(marks.filter(fact.isin(KEY_CHANGES)), "key_id", prefix="key")
    changes = changes.rename(changed_id="key_id")
    keys = keys.left_join(changes, keys["key_id"] == changes["changed_id"]).drop("changed_id")
    firsts = keys.filter(keys["key_first"].notnull()).select(first_id="key_id", first="key_first")
    early = marks.inner_join(firsts, [marks["key_id"] == firsts["first_id"], _early(marks, firsts["first"])])
    fact, sequence = early["fact"], early["sequence"]
    early = early.group_by(early_id="key_id").aggregate(
        early_there=_last(sequence, fact.isin(EXISTING_KEY)),
        early_gone=_last(sequence, fact.isin(KEY_GONE)),
        early_unknown=_last(sequence, fact.isin(_KEY_UNKNOWN)),
        early_created=_last(sequence, fact == "key_created"),
    )
    # They are distinct; but what was made so an engine keeps, and makes other tables anew wherever they are used.
    return keys.left_join(early, keys["key_id"] == early["early_id"]).drop("early_id").distinct()


def _like_values(keys: Table, values: Table) -> Table:
    """Return the keys with changes of their own, with the columns of `values`."""
    keys = keys.filter(keys["key_first"].notnull())
    # A key below one that was renamed is in the answer where something tells whether it came along.
    only_came = (keys["key_first_fact"] == "key_brought") & (keys["key_writes"] == 1)
    has_evidence = ibis.greatest(keys["key_there"], keys["key_unknown"]) > keys["key_gone"]
    keys = keys.filter(~only_came | has_evidence)
    there, gone, unknown, created = (
        keys[f"early_{name}"].fill_null(_NONE) for name in ("there", "gone", "unknown", "created")
    )
    nothing: dict[str, IntegerValue] = {name: ibis.null("int64") for name in _DATA_OF}
    return keys.select(
        "key_id",
        value=ibis.null(str),
        value_name=ibis.null(str),
        first_sequence="key_first",
        last_sequence="key_last",
        first_time="key_first_time",
        last_time="key_last_time",
        process_id=keys["key_process"].nullif(_NONE),
        writes="key_writes",
        processes="key_processes",
        also_by_others=keys["key_others"] > keys["key_first"],
        first_fact="key_first_fact",
        was_created=(created > unknown) & (created > gone),
        with_key=ibis.literal(False),
        moved="moved",
        before=_state(there, gone, unknown),
        after=_state(keys["key_there"], keys["key_gone"], keys["key_unknown"]),
        before_at=ibis.greatest(there, gone),
        after_at=ibis.greatest(keys["key_there"], keys["key_gone"]),
        **nothing,
    ).select(*values.columns)


def _summed_changes(changes: Table, *by: str, prefix: str) -> Table:
    """Return what the changes amount to that count, by key or value, and what others changed."""
    fact, sequence, counted = changes["fact"], changes["sequence"], changes["counts"]
    sums: dict[str, Value] = {
        "first": sequence.min(where=counted),
        "last": sequence.max(where=counted),
        "first_time": changes["time"].min(where=counted),
        "last_time": changes["time"].max(where=counted),
        "first_fact": fact.argmin(sequence, where=counted),
        "process": changes["process_id"].fill_null(_NONE).argmax(sequence, where=counted),
        "writes": changes.count(where=counted),
        "processes": changes["process_id"].nunique(where=changes["in_time"]),
        "others": _last(sequence, changes["in_time"] & ~counted),
    }
    return changes.group_by(*by).aggregate(**{f"{prefix}_{name}": one for name, one in sums.items()})


def _values(marks: Table, keys: Table) -> Table:
    """Return one row per value that was changed, or that moved or went with its key."""
    own = marks.filter(marks["value"].notnull() & marks["fact"].isin(OWN_STATES))
    changes = own.filter(own["fact"].isin(OWN_CHANGES))
    changes = _summed_changes(changes, "key_id", "value", prefix="own")
    changes = changes.rename(changed_id="key_id", changed_value="value")
    whole = keys.select(
        "key_first", "key_last", "key_first_time", "key_last_time", "key_first_fact", "key_process",
        "key_processes", "key_others", "key_absent", "key_unknown", "arrived", whole_id="key_id",
    )  # fmt: skip
    states = _around_first(own, changes, whole)
    same = [states["key_id"] == changes["changed_id"], states["value"] == changes["changed_value"]]
    rows = states.left_join(changes, same).drop("changed_id", "changed_value")
    rows = rows.left_join(whole, rows["key_id"] == whole["whole_id"]).drop("whole_id")
    own_first, key_first = rows["own_first"].fill_null(_NEVER), rows["key_first"].fill_null(_NEVER)
    rows = rows.mutate(by_key=key_first < own_first, others=rows["own_others"] > rows["first"])
    early = _before_first(marks, states)
    rows = rows.inner_join(
        early, [rows["key_id"] == early["early_id"], rows["value"] == early["early_value"]]
    )
    return _as_rows(rows)


def _around_first(own: Table, changes: Table, whole: Table) -> Table:
    """Return the values whose state may have changed: `first`, the event that changed it or its key, and the evidence of both sides."""
    changed = changes.select("changed_id", "changed_value", "own_first")
    of_keys = whole.select("whole_id", "key_first")
    own = own.left_join(
        changed, [own["key_id"] == changed["changed_id"], own["value"] == changed["changed_value"]]
    )
    own = own.left_join(of_keys, own["key_id"] == of_keys["whole_id"])
    own = own.mutate(first=ibis.least(own["own_first"].fill_null(_NEVER), own["key_first"].fill_null(_NEVER)))
    own = own.filter(own["first"] < _NEVER)
    fact, sequence = own["fact"], own["sequence"]
    sides: dict[str, IntegerValue] = {}
    for side, rows in (("before", _early(own, own["first"])), ("after", _now(own, ibis.literal(True)))):
        sides |= {
            f"{side}_{name}": _last(sequence, rows & (fact == name)) for name in ("write", "read", "seen")
        }
        sides[f"{side}_absent"] = _last(sequence, rows & fact.isin(["delete", "miss"]))
        sides[f"{side}_unclear"] = _last(sequence, rows & fact.isin(_UNCLEAR))
    return own.group_by("key_id", "value").aggregate(
        first=own["first"].min(), value_name=own["value_name"].argmin(sequence), **sides
    )


def _before_first(marks: Table, firsts: Table) -> Table:
    """Return for each value when its key was last absent, and last unclear, before the value's first change."""
    fact, sequence, nothing = marks["fact"], marks["sequence"], ibis.null("int64")
    states = marks.filter(fact.isin([*ABSENT_KEY, *_KEY_UNKNOWN])).select(
        early_id="key_id",
        early_value=ibis.null(str),
        at="sequence",
        is_state=ibis.literal(1),
        absent=ibis.ifelse(fact.isin(ABSENT_KEY), sequence, nothing),
        unknown=ibis.ifelse(fact.isin(_KEY_UNKNOWN), sequence, nothing),
    )
    asking = firsts.select(
        early_id="key_id",
        early_value="value",
        at="first",
        is_state=ibis.literal(0),
        absent=nothing,
        unknown=nothing,
    )
    both = states.union(asking)
    # A first change that is the key's own has its sequence, and is not before itself.
    so_far = ibis.window(group_by="early_id", order_by=["at", "is_state"], rows=(None, 0))
    both = both.mutate(
        early_absent=both["absent"].max().over(so_far).fill_null(_NONE),
        early_unknown=both["unknown"].max().over(so_far).fill_null(_NONE),
    )
    sides = both.filter(both["is_state"] == 0)
    if "is_now" in marks.columns:  # what was so in an earlier stay says nothing of this one
        names = ("early_absent", "early_unknown")
        none = ibis.literal(_NONE, "int64")
        in_stay = {
            name: ibis.ifelse(sides[name] < in_stay_of(sides["at"]), none, sides[name]) for name in names
        }
        sides = sides.mutate(**in_stay)
    return sides.select("early_id", "early_value", "early_absent", "early_unknown")


def _as_rows(rows: Table) -> Table:
    """Return the columns of the answer, rows without a change of their own only where a value was lost."""
    sides: dict[str, StringValue | IntegerValue] = {}
    for side, absent, unknown in (
        ("before", rows["early_absent"], rows["early_unknown"]),
        ("after", rows["key_absent"], rows["key_unknown"]),
    ):
        write, read, seen = (rows[f"{side}_{name}"] for name in ("write", "read", "seen"))
        there = ibis.greatest(write, read, seen)
        gone = ibis.greatest(rows[f"{side}_absent"], absent)
        unclear = ibis.greatest(rows[f"{side}_unclear"], unknown)
        sides[side] = _state(there, gone, unclear)
        sides[f"{side}_at"] = ibis.greatest(there, gone)
        known_since = ibis.greatest(gone, unclear)
        for name, last in (("write", write), ("read", read)):
            sides[f"{side}_{name}"] = ibis.ifelse(last > known_since, last, ibis.null("int64"))
    own = rows["own_first"].notnull()
    lost = sides["before"] == "present"
    there = ibis.greatest(rows["after_write"], rows["after_read"], rows["after_seen"])
    came = rows["arrived"].fill_null(False) & (there > _NONE) & (sides["after"] == "present").fill_null(True)
    by_key = rows["by_key"] & (lost.fill_null(False) | came)
    # The key's change is the value's only where the value was there to be lost.
    ended_by_key = (rows["key_last"] > rows["own_last"].fill_null(_NONE)).fill_null(False) & (by_key | own)
    answer = rows.select(
        "key_id",
        "value",
        "value_name",
        first_sequence=ibis.ifelse(by_key, rows["key_first"], rows["own_first"]),
        last_sequence=ibis.ifelse(ended_by_key, rows["key_last"], rows["own_last"]),
        first_time=ibis.ifelse(by_key, rows["key_first_time"], rows["own_first_time"]),
        last_time=ibis.ifelse(ended_by_key, rows["key_last_time"], rows["own_last_time"]),
        process_id=ibis.ifelse(ended_by_key, rows["key_process"], rows["own_process"]).nullif(_NONE),
        writes=rows["own_writes"].fill_null(0),
        processes=ibis.ifelse(own, rows["own_processes"], rows["key_processes"]),
        also_by_others=rows["others"].fill_null(False)
        | (rows["key_others"] > rows["first"]).fill_null(False),
        first_fact=ibis.ifelse(rows["by_key"], rows["key_first_fact"], rows["own_first_fact"]),
        was_created=ibis.literal(False),
        moved=ibis.literal(False),
        with_key=(sides["after"] == "absent").fill_null(False) & (rows["key_absent"] > rows["after_absent"]),
        **sides,
    )
    return answer.filter(answer["first_sequence"].notnull())


def _with_data(rows: Table, events: Table) -> Table:
    """Return the rows with the data of the events in their sequence columns."""
    # A delete carries what was there before, where the source tells it (Security log).
    carrying = events.filter(
        events["operation"].isin(["SetValueKey", "DeleteValueKey", "QueryValueKey", "EnumerateValueKey"])
    )
    first = carrying.select("previous_type", "previous_size", "previous_data", picked="sequence")
    columns = [*rows.columns, "previous_type", "previous_size", "previous_data"]
    joined = rows.left_join(first, rows["first_sequence"] == first["picked"])
    picked = reduce(Table.union, [rows.select(picked=name) for name in _DATA_OF]).distinct()
    carrying = carrying.select("sequence", "data_type", "data_size", "data", "time")
    carrying = carrying.semi_join(picked, carrying["sequence"] == picked["picked"]).distinct()  # as in _keys
    for name in _DATA_OF:
        data = carrying.select(
            **{
                f"{name}_picked": carrying["sequence"],
                f"{name}_type": carrying["data_type"],
                f"{name}_size": carrying["data_size"],
                f"{name}_data": carrying["data"],
                f"{name}_time": carrying["time"],
            }
        )
        columns += data.columns[1:]
        joined = joined.left_join(data, joined[name] == data[f"{name}_picked"])
    return joined.select(*columns)


def _with_times(rows: Table, marks: Table) -> Table:
    """Add before_at_time and after_at_time: the times of the evidence of each side."""
    for name in _AT:
        times = marks.select(
            **{f"{name}_key": "key_id", f"{name}_picked": "sequence", f"{name}_time": "time"}
        )
        same = [rows["key_id"] == times[f"{name}_key"], rows[name] == times[f"{name}_picked"]]
        rows = rows.left_join(times, same).drop(f"{name}_key", f"{name}_picked")
    return rows.drop(*_AT)


def _without_times(rows: Table) -> Table:
    return rows.mutate(**{f"{name}_time": ibis.null(rows["first_time"].type()) for name in _AT}).drop(*_AT)


def _with_names(rows: Table, keys: Table, processes: Table) -> Table:
    names = keys.select(named_id="key_id", key="path", display_key="display_path")
    rows = rows.inner_join(names, rows["key_id"] == names["named_id"]).drop("named_id")
    who = processes.select(who_id="process_id", process="image", pid="pid")
    return rows.left_join(who, rows["process_id"] == who["who_id"]).drop("who_id")


def _last(sequence: IntegerColumn, where: BooleanValue) -> IntegerValue:
    return sequence.max(where=where).fill_null(_NONE)


def _state(there: IntegerValue, gone: IntegerValue, unclear: IntegerValue) -> StringValue:
    """Return the state by the latest of three kinds of evidence, given by their sequences; _NONE is none."""
    return ibis.cases(
        ((there > gone) & (there > unclear), "present"),
        ((gone > there) & (gone > unclear), "absent"),
        else_=ibis.null(str),
    )
