"""Evidence in events about values and keys: writes, reads, misses and more, in order, without conclusions."""

from collections.abc import Callable
from functools import reduce
from typing import Any

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, Table

from analysis.answers.facts import (
    EVENT_COLUMNS,
    EXISTING_KEY,
    FACTS,
    NEEDED,
    OF_KEYS,
    OF_SUBTREES,
    OF_VALUES,
    UNPROVED,
)
from analysis.answers.stays import ARRIVALS
from analysis.expressions.folding import folded
from analysis.expressions.links import link_target, own_paths
from tracer.flags import FLAGS, LOST_KINDS
from tracer.registry.ntstatus import NAME_NOT_FOUND, NOT_FAILURES, NOT_SUCCESS, TOO_SHORT

__all__ = [
    "LONGEST_NS",
    "NAMELESS",
    "absences",
    "changes_hive",
    "evidence",
    "first_spellings",
    "heard_of",
    "in_stay_of",
    "is_unproved",
    "lost_between",
    "numbered_evidence",
    "numbered_others",
    "of_key",
    "of_many_keys",
    "of_others",
    "of_path",
    "of_stays",
    "place_in_stays",
    "real_losses",
    "renames",
    "same_key",
    "source_events",
    "stay_after",
]

_ABSENT_SUBTREE = ("key_created", "key_missing", "key_deleted")  # nothing is below it
_OPENS = ("OpenKey", "CreateKey")
_PROVE_ABSENCE = (*_OPENS, "DeleteKey")

LONGEST_NS = 2**63 - 1
_IN_STAY = (
    2**40
)  # key ids and sequences are below: a key_id of evidence of stays is the path's and so often the stay's number
_PENDING = 0x103
_PATH_NOT_FOUND = 0xC000003A
_RENAMED = ("key_arrived", "key_used")  # turns of the key itself that was renamed
_OF_THE_NAME = (3, 7)  # KEY_INFORMATION_CLASS: what a handle knows even after its key was deleted
# A name under one of these is the likeliest, and not proved.
_DOUBTED = FLAGS["across_loss"] | FLAGS["name_ambiguous"]
NAMELESS = ("partial", "none")  # name_source
_OF_VALUES = ("SetValueKey", "DeleteValueKey")
_OF_READS = ("QueryValueKey", "EnumerateValueKey")  # of values
_OF_PRESENCE = ("EnumerateKey", "QueryKey", "SetInformationKey")

_COLUMNS = (
    "sequence",
    "key_id",
    "fact",
    "said",
    "value",
    *(name for name in EVENT_COLUMNS if name != "sequence"),
)


def evidence(
    events: Table,
    keys: Table,
    everywhere: Table | None = None,
    *,
    subtrees: bool = True,
    descent: Table | None = None,
    stays: Table | None = None,
    groups: Table | None = None,
) -> Table:
    r"""Return one row for each event that is evidence of a value or a key, in no order.

    Columns: sequence, key_id (`keys.same_as`: spellings of one key are one key), fact (what it proves), said
    (what it says), value (its name, folded; NULL for facts of keys), value_name (as this event spells it), and of the event: time, time_ns,
    process_id, handle_id, operation, status, requested_name, information_class, data_type, data_size, data,
    previous_type, previous_size, previous_data, flags. A row is known by (sequence, key_id).

    Facts of a value:

    * write, delete: done;
    * read: a query or an enumeration that succeeded and whose returned data was captured, or is known to be none;
    * seen: a read that proves the value is there without telling its data, or not all of it;
    * miss: a query or a delete that found no such value;
    * failed: a write or a delete that failed otherwise, and changed nothing;
    * unclear: a write or a delete of which nobody knows whether it was done.

    Facts of a key:

    * key_created: a create that made it, so it has no values yet;
    * key_opened: an open, or a create that found it, or did not say;
    * key_used: it was asked for its facts, its subkeys or its values, and answered;
    * key_missing: an open or a create that found no such key; or a key above it was missing, deleted, or just
      made, after something was heard of this one (`descent`): below such a key is nothing;
    * key_deleted, key_renamed: it is gone, and its values with it (renamed: of the keys below it too);
    * key_arrived: a key was renamed to it, so it is there, and holds what that key held; key_brought: likewise one
      above it: it is there if it was there below the old name; key_stayed: one above it was renamed, but only
      in the case of letters. (Only with `stays`.)
    * key_unknown: a hive was loaded, unloaded, restored or replaced at or above it, or a key was renamed to
      it that is not followed: what it holds now was not recorded. Also a delete or rename of which nobody knows
      whether it was done, and a CreateOrDelete, which may have been of a value too (`analysis.answers.unproved`).

    An event is no surer than the name it stands under. Where that is not proved (flags across_loss and
    name_ambiguous, name sources partial and none), `said` is one of the facts above, and `fact` one of these:

    * doubtful, key_doubtful: a change, of this key or of another: what was known before may no longer be so;
    * hearsay, key_hearsay: no change: it proves nothing.

    With `stays`, rows are of a key's stay under a path, and each stay has all that is evidence of it and no more: key_id is
    the path's and the stay's number in one (`of_path`, `place_in_stays`), and there is a column origin: own; carried, of
    what was said of the key under an earlier name; or renamed, of the rename with which the stay begins, which is
    also the last row of the stay before, there as its own.

    Left out, because they prove nothing: STATUS_KEY_DELETED, which tells of the key that an old handle was
    opened for, not of one that was created since; STATUS_REPARSE, which is the link's; enumerations of
    values where the source does not say which name came back (ETW: no data was captured) count as key_used.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        everywhere: the event rows in which to look for what changed whole subtrees, where `events` are those
            of some keys only; None: `events`.
        subtrees: False where it is known that there is no event of OF_SUBTREES.
        descent: top_key_id, top_id, below_id, heard_at: which keys (groups) lie below those that `absences` names, all
            ids of the latter, and the sequence from which on something proves that the former were there; None:
            none does, or it is not looked into.
        stays: `analysis.answers.stays.stays_of`, of all keys that ever were under the paths asked for, and is_asked,
            whether a path is one of these; None: no key was renamed, or it is not looked into.
        groups: key_id of the groups that `events` are about; None: it is looked up.
    """
    if not subtrees and descent is None:
        return _facts_of(events, keys).select(*_COLUMNS)
    if groups is None:
        groups = keys.semi_join(events, "key_id").select(key_id="same_as").distinct()
    if stays is not None:
        return _of_stays(events, keys, everywhere, descent, stays, groups)
    # Few events are evidence of other keys than their own.
    rows, whole = _facts_of(events, keys).select(*_COLUMNS), events if everywhere is None else everywhere
    return rows.union(of_others(whole, keys, groups, subtrees=subtrees, descent=descent))


def of_others(
    events: Table, keys: Table, groups: Table, *, subtrees: bool, descent: Table | None = None
) -> Table:
    """Return the evidence of `evidence`, without stays, that events are of other keys than their own.

    Args:
        events: the event rows in which to look for it.
        keys: the table `keys`.
        groups: key_id of the groups asked for.
        subtrees: as in `evidence`; not False where there is no descent.
        descent: as in `evidence`.
    """
    found = []
    if subtrees:
        found.append(_below(events, keys).semi_join(groups, "key_id").select(*_COLUMNS))
    if descent is not None:
        found.append(_below_absent(events, keys, descent).semi_join(groups, "key_id").select(*_COLUMNS))
    return reduce(Table.union, found)


def _of_stays(
    events: Table, keys: Table, everywhere: Table | None, descent: Table | None, stays: Table, groups: Table
) -> Table:
    """Return the evidence of stays; `groups`: key_id of the groups that `events` are about."""
    whole = events if everywhere is None else everywhere
    turns = stays.select(turned_at="begins").distinct()
    rows = _facts_of(source_events(events, everywhere, stays=stays, keys=keys), keys)
    renamed = whole.filter(whole["operation"] == "RenameKey")
    followed = _facts_of(renamed.semi_join(turns, renamed["sequence"] == turns["turned_at"]), keys)
    rows = rows.anti_join(turns, rows["sequence"] == turns["turned_at"])
    below = _below(whole.anti_join(turns, whole["sequence"] == turns["turned_at"]), keys)
    if descent is not None:
        below = below.union(_below_absent(whole, keys, descent))
    rows = rows.select(*_COLUMNS).mutate(is_own=ibis.literal(True))
    rows = rows.union(below.mutate(is_own=ibis.literal(False)))
    placed = place_in_stays(rows.mutate(key_id=rows["key_id"].cast("int64")), stays)
    own = placed.mutate(key_id=_in_stay(placed["key_id"], placed["stay"]), origin=ibis.literal("own"))
    begun, ended = _turned(followed, stays)
    # Of a part of the capture's time, with the renames in it.
    stays = stays.semi_join(followed, stays["begins"] == followed["sequence"])
    carried = _later(placed.union(begun.select(*placed.columns)), stays).mutate(
        origin=ibis.literal("carried")
    )
    # Below a key that was missing or just made is nothing, also what nobody named before the rename.
    tops = placed.filter(placed["fact"].isin(_ABSENT_SUBTREE))
    unnamed = stays.filter(stays["from_item"].notnull())
    unnamed = unnamed.select("from_item", unnamed_item="item_id", unnamed_until="begins")
    same = [tops["item_id"] == unnamed["from_item"], tops["sequence"] < unnamed["unnamed_until"]]
    absent = _later(tops.inner_join(unnamed, same).mutate(item_id=unnamed["unnamed_item"]), stays)
    missing = ibis.literal("key_missing")
    absent = absent.mutate(fact=missing, said=missing, value=ibis.null(str), origin=ibis.literal("carried"))
    columns = [*_COLUMNS, "origin"]
    evidence_rows = own.select(*columns)
    begun = begun.mutate(key_id=_in_stay(begun["key_id"], begun["stay"]), origin=ibis.literal("renamed"))
    for more in (carried, absent, begun, ended):
        evidence_rows = evidence_rows.union(more.select(*columns))
    listed = groups.select(key_id=groups["key_id"].cast("int64")).union(_entered(carried, stays)).distinct()
    return evidence_rows.semi_join(listed, of_path(evidence_rows["key_id"]) == listed["key_id"])


def _entered(carried: Table, stays: Table) -> Table:
    """Return key_id of the requested paths to which a key was renamed, or a key below it with events."""
    paths = stays.filter(stays["is_asked"])
    arrived = paths.filter(paths["turn"] == "key_arrived").select("key_id")
    own = carried.filter(carried["is_own"])
    brought = paths.semi_join(own, paths["key_id"] == of_path(own["key_id"])).select("key_id")
    return arrived.union(brought)


def place_in_stays(rows: Table, stays: Table) -> Table:
    """Return rows, which have key_id and sequence, with their stay (0 where a path has only one) and its item_id."""
    stays = stays.select("begins", "ends", "item_id", stay_of="key_id", in_stay="stay")
    placed = rows.left_join(
        stays,
        [
            rows["key_id"] == stays["stay_of"],
            rows["sequence"] >= stays["begins"],
            rows["sequence"] < stays["ends"],
        ],
    )
    placed = placed.mutate(stay=placed["in_stay"].fill_null(0))
    return placed.drop("begins", "ends", "stay_of", "in_stay")


def _later(placed: Table, stays: Table) -> Table:
    """Return the evidence of an item before each of its stays, as evidence of the stay."""
    stays = stays.select("begins", later_id="key_id", later_stay="stay", later_item="item_id")
    placed = placed.filter(placed["item_id"].notnull())
    same = [placed["item_id"] == stays["later_item"], placed["sequence"] < stays["begins"]]
    rows = placed.inner_join(stays, same)
    return rows.mutate(key_id=_in_stay(rows["later_id"], rows["later_stay"]))


def _turned(followed: Table, stays: Table) -> tuple[Table, Table]:
    """Return the evidence of renames about the stays that they begin, like placed rows, and that they end."""
    stays = stays.filter(stays["stay"] > 0).select("stay", "begins", "item_id", "turn", path_id="key_id")
    rows = followed.drop("key_id").inner_join(stays, followed["sequence"] == stays["begins"])
    none = ibis.null(str)
    rows = rows.mutate(fact=rows["turn"], said=rows["turn"], value=none, value_name=none)
    begun = rows.mutate(key_id=rows["path_id"], is_own=rows["turn"].isin(_RENAMED))
    ended = rows.mutate(key_id=_in_stay(rows["path_id"], rows["stay"] - 1), origin=ibis.literal("own"))
    return begun, ended


def _in_stay(key_id: IntegerValue, stay: IntegerValue) -> IntegerValue:
    result: IntegerValue = key_id.cast("int64") + stay * _IN_STAY
    return result


def of_path(number: IntegerValue) -> IntegerValue:
    """Return the key_id, or the sequence, without the number of its stay."""
    result: IntegerValue = number & (_IN_STAY - 1)
    return result


def in_stay_of(number: IntegerValue) -> IntegerValue:
    """Return the smallest number in the same stay."""
    result: IntegerValue = number - of_path(number)
    return result


def stay_after(number: IntegerValue) -> IntegerValue:
    """Return the smallest number in the next stay."""
    result: IntegerValue = in_stay_of(number) + _IN_STAY
    return result


def renames(events: Table, keys: Table) -> Table:
    """Return sequence, at_path and new_path of the proved successful renames, in order."""
    rows = _facts_of(events.filter(events["operation"] == "RenameKey"), keys)
    with_name = rows["requested_name"].notnull() & ~rows["requested_name"].contains("\\")
    rows = rows.filter((rows["fact"] == "key_renamed") & with_name)
    return _with_new_path(rows, keys).select("sequence", "at_path", "new_path").order_by("sequence")


def _with_new_path(tops: Table, keys: Table) -> Table:
    """Return renames with the old and the new path (folded, links followed)."""
    paths = own_paths(keys).select(at_id="group_id", at_path="path")
    tops = tops.inner_join(paths, tops["key_id"] == paths["at_id"]).drop("at_id")
    parent = tops["at_path"].re_replace(r"[^\\]*$", "")
    return tops.mutate(new_path=link_target(parent.concat(folded(tops["requested_name"]))))


def source_events(
    events: Table,
    everywhere: Table | None = None,
    descent: Table | None = None,
    *,
    stays: Table | None = None,
    keys: Table | None = None,
) -> Table:
    """Return the event rows from which `evidence` with these arguments is made, each once; `keys` only for `stays`."""
    if everywhere is None:
        return events
    others = of_many_keys(everywhere, descent, stays=stays, keys=keys)
    return events.union(others.anti_join(events, "sequence"))


def of_stays(stays: Table, keys: Table) -> Table:
    """Return the key_id of the keys whose paths have these stays, and of all that are grouped with them."""
    return keys.semi_join(stays, keys["same_as"] == stays["key_id"]).select("key_id")


def of_key(rows: Table, prefix: str) -> dict[str, str]:
    """Return the key column to select where rows are evidence: one event may be evidence of several keys."""
    return {f"{prefix}_key": "key_id"} if "fact" in rows.columns else {}


def same_key(rows: Table, others: Table, prefix: str) -> list[BooleanValue]:
    """Return the condition that belongs to `of_key`."""
    return [rows["key_id"] == others[f"{prefix}_key"]] if f"{prefix}_key" in others.columns else []


def first_spellings(evidence_rows: Table) -> Table:
    """Return key_id, value, and the value_name as the first of these rows spells it."""
    of_values = evidence_rows.filter(evidence_rows["value"].notnull())
    if "origin" in of_values.columns:
        of_values = of_values.select(
            "value",
            "value_name",
            key_id=of_path(of_values["key_id"]),
            sequence=of_values["sequence"] + in_stay_of(of_values["key_id"]),
        )
    return of_values.group_by("key_id", "value").aggregate(
        value_name=of_values["value_name"].argmin(of_values["sequence"])
    )


def real_losses(losses: Table) -> Table:
    """Return from_ns and to_ns of losses; an unknown bound is the end of time."""
    lost = losses.filter(losses["kind"].isin(LOST_KINDS))
    return lost.select(
        from_ns=lost["from_ns"].fill_null(-LONGEST_NS), to_ns=lost["to_ns"].fill_null(LONGEST_NS)
    )


def lost_between(
    rows: Table, losses: Table, *, after: str, before: str, name: str, of: str | None = None
) -> Table:
    """Return the rows with a boolean column `name`: whether events may have been lost between two times.

    Args:
        rows: any table.
        losses: the table `losses`.
        after: column of `rows` with the beginning, UTC nanoseconds; where it is NULL, `name` is.
        before: column with the end.
        name: the new column.
        of: column of `rows` with what has losses of its own, `losses` saying in `name` of what; None: all have
            the same.
    """
    lost = losses if of is not None else real_losses(losses)
    by = None if of is None else "name"
    order = ibis.window(group_by=by, order_by=["from_ns", "to_ns"])
    so_far = ibis.window(group_by=by, order_by=["from_ns", "to_ns"], rows=(None, 0))
    own = {} if of is None else {"step_of": lost["name"]}
    steps = lost.select(
        step_from="from_ns",
        step_until=lost["from_ns"].lead().over(order).fill_null(LONGEST_NS),
        lost_until=lost["to_ns"].max().over(so_far),
        **own,
    )
    same = [] if of is None else [rows[of] == steps["step_of"]]
    joined = rows.left_join(
        steps, [*same, rows[before] >= steps["step_from"], rows[before] < steps["step_until"]]
    )
    touches = (joined["lost_until"] >= joined[after]).fill_null(False)
    marked = ibis.ifelse(joined[after].isnull(), ibis.null(bool), touches)
    return joined.mutate(**{name: marked}).drop("step_from", "step_until", "lost_until", *own)


def _facts_of(events: Table, keys: Table) -> Table:
    """Return the events that are evidence of their own key, with `key_id`, `fact` and `value`."""
    groups = keys.select(
        grouped_id="key_id", group_id="same_as", nameless=keys["name_source"].isin(NAMELESS).fill_null(False)
    )
    rows = events.filter(events["key_id"].notnull()).select(*NEEDED)
    rows = rows.inner_join(groups, rows["key_id"] == groups["grouped_id"])
    rows = rows.mutate(key_id=rows["group_id"], said=_said(rows))
    # Not a filter: an engine that filters by what it reckons reckons it twice.
    facts = ibis.array([*OF_VALUES, *OF_KEYS]).unnest().name("listed").as_table()
    rows = rows.semi_join(facts, rows["said"] == facts["listed"])
    rows = rows.mutate(fact=_proved(rows))
    of_key = rows["fact"].startswith("key_")
    return rows.mutate(value=ibis.ifelse(of_key, ibis.null(str), folded(rows["value_name"])))


def numbered_evidence(
    events: Table, keys: Table, *, presence: bool = True, further: tuple[str, ...] = ()
) -> Table:
    """Return the events that may be evidence of their own key as numbers, in no order, for `analysis.answers.marks`.

    Columns: sequence, key_id (the group's), said and fact (places in FACTS; NULL where the event proves nothing), value_name,
    of_value (whether it is a write or a delete of a value), and those of `further`.

    Args:
        events: stored event rows.
        keys: the rows of the table `keys` whose events are wanted.
        presence: whether also events that tell of no more than that a key is there.
        further: other columns of events.
    """
    groups = keys.select(
        grouped_id="key_id", group_id="same_as", nameless=keys["name_source"].isin(NAMELESS).fill_null(False)
    )
    operation = events["operation"]
    tells = operation.isin([*_OF_VALUES, *_OF_READS, *_PROVE_ABSENCE, *OF_SUBTREES])
    if presence:
        tells |= operation.isin(_OF_PRESENCE)
    else:
        there = (
            operation.isin(_OPENS) & (events["status"] == 0) & (events["disposition"] != 1).fill_null(True)
        )
        tells &= ~there.fill_null(False)
    rows = events.filter(tells)
    rows = rows.inner_join(groups, rows["key_id"] == groups["grouped_id"])
    rows = rows.select(
        "sequence", "value_name", "flags", "nameless", *further,
        key_id="group_id", said=_said(rows, _number), of_value=rows["operation"].isin(_OF_VALUES),
    )  # fmt: skip
    return rows.mutate(fact=_proved(rows, _number)).drop("flags", "nameless")


def numbered_others(
    events: Table,
    keys: Table,
    groups: Table,
    *,
    descent: Table | None = None,
    subtrees: bool,
    further: tuple[str, ...] = (),
) -> Table:
    """Return the rows of `of_others` with the columns of `numbered_evidence`; arguments are those of both."""
    rows = of_others(events, keys, groups, subtrees=subtrees, descent=descent)
    fact, said = (
        ibis.cases(*((rows[name] == fact, _number(fact)) for fact in FACTS), else_=ibis.null("int8"))
        for name in ("fact", "said")
    )
    return rows.select(
        "sequence", "value_name", *further, "key_id", said=said, of_value=ibis.literal(False), fact=fact
    )


def _number(fact: str) -> IntegerValue:
    number: IntegerValue = ibis.literal(FACTS.index(fact), "int8")
    return number


def is_unproved(rows: Table) -> BooleanValue:
    """Tell which rows have a key name that is not proved, by `flags` and `nameless`."""
    unproved: BooleanValue = rows["nameless"] | ((rows["flags"] & _DOUBTED) != 0)
    return unproved


def _proved(rows: Table, fact: Callable[[str], Any] = ibis.literal) -> Any:  # noqa: ANN401  (as of `_said`)
    """Return the fact that each row proves; `fact` as of `_said`."""
    said = rows["said"]
    weaker = ibis.cases(
        *((said.isin([fact(one) for one in some]), fact(proved)) for proved, some in UNPROVED.items()),
        else_=ibis.null(said.type()),
    )
    return ibis.ifelse(is_unproved(rows), weaker, said)


def _said(rows: Table, fact: Callable[[str], Any] = ibis.literal) -> Any:  # noqa: ANN401  (a text or a number)
    """Return what each event says, NULL where it proves nothing: the commonest operations first, for engines try in turn.

    Args:
        rows: event rows.
        fact: returns what stands for a fact, by its name.
    """
    operation, status, nothing = rows["operation"], rows["status"], ibis.null(fact("read").type())
    done = (status < NOT_SUCCESS) & (status != _PENDING)
    answered = done | status.isin(NOT_FAILURES)
    failed = (status >= NOT_SUCCESS).fill_null(False)
    not_found = status == NAME_NOT_FOUND
    has_name = rows["value_name"].notnull()
    has_data = rows["data"].notnull() | ((rows["data_size"] == 0) & rows["data_type"].notnull()).fill_null(
        False
    )
    read = ibis.ifelse(done & has_data, fact("read"), fact("seen"))
    of_name = (
        rows["information_class"].isin(_OF_THE_NAME).fill_null(True)
    )  # the NT Kernel Logger does not say
    made = ((operation == "CreateKey") & (rows["disposition"] == 1)).fill_null(False)
    gone = ibis.ifelse(operation == "DeleteKey", fact("key_deleted"), fact("key_renamed"))
    return ibis.cases(
        (
            operation == "QueryValueKey",
            ibis.cases(
                (~has_name, nothing),
                (not_found, fact("miss")),
                (done | status.isin(TOO_SHORT), read),
                else_=nothing,
            ),
        ),
        (
            operation.isin(_OPENS),
            ibis.cases(
                (status == 0, ibis.ifelse(made, fact("key_created"), fact("key_opened"))),
                (not_found | (status == _PATH_NOT_FOUND), fact("key_missing")),
                else_=nothing,
            ),
        ),
        (
            operation == "EnumerateValueKey",
            ibis.cases(
                (has_name & (done | status.isin(TOO_SHORT)), read),
                (answered, fact("key_used")),
                else_=nothing,
            ),
        ),
        (
            operation.isin(_OF_PRESENCE),
            ibis.ifelse(answered & ~((operation == "QueryKey") & of_name), fact("key_used"), nothing),
        ),
        (
            operation.isin(_OF_VALUES),
            ibis.cases(
                (~has_name, nothing),
                (done, ibis.ifelse(operation == "SetValueKey", fact("write"), fact("delete"))),
                (not_found & (operation == "DeleteValueKey"), fact("miss")),
                (failed, fact("failed")),
                else_=fact("unclear"),
            ),
        ),
        (
            operation.isin(["DeleteKey", "RenameKey"]),
            ibis.cases((done, gone), (~failed, fact("key_unknown")), else_=nothing),
        ),
        (changes_hive(rows) & ~failed, fact("key_unknown")),
        ((operation == "CreateOrDelete") & ~failed, fact("key_unknown")),
        else_=nothing,
    )


def changes_hive(rows: Table) -> BooleanValue:
    """Tell which rows replace the content of a key with another hive; those of the manifest provider have no status."""
    operation, detail = rows["operation"], rows["detail"]
    is_change = reduce(
        lambda some, name: some | detail.contains(f'"event": "{name}"'),
        ("UnloadHiveStart", "HiveDestroy", "HiveLink"),
        ibis.literal(False),
    )
    changes = operation.isin(["LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey"])
    return changes | ((operation == "HiveWork") & is_change.fill_null(False))


def of_many_keys(
    events: Table, descent: Table | None = None, *, stays: Table | None = None, keys: Table | None = None
) -> Table:
    """Return the events that are evidence of other keys: of subtrees, of absent subtrees, or of a key renamed later."""
    operation = events["operation"]
    fits = operation.isin(OF_SUBTREES)
    if stays is not None and keys is not None:
        fits = fits | events["key_id"].isin(of_stays(stays, keys)["key_id"])
    if descent is not None:
        tops = descent.select("top_key_id").distinct()["top_key_id"]
        fits = fits | (operation.isin(_PROVE_ABSENCE) & events["key_id"].isin(tops))
    return events.filter(fits)


def absences(events: Table) -> Table:
    """Return key_id and last_at (sequence) of keys that were provably missing, deleted or created."""
    operation, status = events["operation"], events["status"]
    missing = operation.isin(_OPENS) & status.isin([NAME_NOT_FOUND, _PATH_NOT_FOUND])
    made = (operation == "CreateKey") & (status == 0) & (events["disposition"] == 1)
    deleted = (operation == "DeleteKey") & (status < NOT_SUCCESS)
    rows = events.filter((missing | made | deleted).fill_null(False) & ((events["flags"] & _DOUBTED) == 0))
    return rows.group_by("key_id").aggregate(last_at=rows["sequence"].max())


def heard_of(events: Table, keys: Table, descent: Table, stays: Table | None = None) -> Table:
    """Return the rows of a descent that have earlier evidence, with its sequence `heard_at`.

    A path of which nothing was heard is heard of when a key comes to it (`stays`) of which something was.
    """
    groups = keys.semi_join(descent, keys["same_as"] == descent["below_id"]).select("key_id")
    if stays is not None:
        groups = groups.union(of_stays(stays, keys)).distinct()
    rows = _facts_of(events.semi_join(groups, "key_id"), keys)
    rows = rows.filter(rows["fact"].isin(EXISTING_KEY)).select("key_id", "sequence")
    heard = rows.select(heard_id=rows["key_id"].cast("int64"), sequence="sequence")
    if stays is not None:
        heard = heard.union(_heard_by_rename(rows, stays))
    heard = heard.group_by("heard_id").aggregate(heard_at=heard["sequence"].min())
    return descent.inner_join(heard, descent["below_id"] == heard["heard_id"]).drop("heard_id")


def _heard_by_rename(rows: Table, stays: Table) -> Table:
    """Return heard_id and sequence of paths to which a key with evidence, or one renamed before, was renamed."""
    placed = place_in_stays(rows, stays)
    placed = placed.filter(placed["item_id"].notnull()).select("item_id", "sequence")
    entered = stays.filter(stays["turn"].isin([*ARRIVALS, *_RENAMED]))
    entered = entered.select("item_id", "turn", "begins", heard_id="key_id")
    arrived = entered.filter(entered["turn"].isin(_RENAMED))
    heard = placed.union(arrived.select("item_id", sequence="begins"))
    items = heard.group_by(heard_item="item_id").aggregate(first_at=heard["sequence"].min())
    after_hearing = entered.inner_join(
        items, [entered["item_id"] == items["heard_item"], items["first_at"] <= entered["begins"]]
    )
    return after_hearing.select("heard_id", sequence="begins")


def _below_absent(events: Table, keys: Table, descent: Table) -> Table:
    """Return the evidence that the absence of a key is of the keys below it with earlier evidence."""
    tops = events.filter(events["operation"].isin(_PROVE_ABSENCE))
    rows = _facts_of(tops.semi_join(descent, tops["key_id"] == descent["top_key_id"]), keys)
    pairs = descent.select("top_id", "heard_at", other_id="below_id").distinct()
    tops = rows.filter(rows["fact"].isin(_ABSENT_SUBTREE))
    below = tops.inner_join(pairs, [tops["key_id"] == pairs["top_id"], tops["sequence"] > pairs["heard_at"]])
    missing = ibis.literal("key_missing")
    return _for_other(below.mutate(fact=missing, said=missing))


def _below(events: Table, keys: Table) -> Table:
    """Return the evidence that events of whole subtrees are of other keys: those below, and the new name's."""
    tops = _facts_of(events.filter(events["operation"].isin(OF_SUBTREES)), keys)
    tops = tops.filter(tops["said"].isin(["key_renamed", "key_unknown"]))
    paths = own_paths(keys).select(at_id="group_id", at_path="path")
    tops = _with_new_path(tops, keys)
    unknown = ibis.literal("key_unknown")
    renamed = tops.filter(tops["operation"] == "RenameKey").mutate(fact=unknown, said=unknown)
    renamed = renamed.filter(renamed["new_path"] != renamed["at_path"])
    others = paths.rename(other_id="at_id", other_path="at_path")
    old = tops.inner_join(others, others["other_path"].startswith(tops["at_path"].concat("\\")))
    new = renamed.inner_join(
        others,
        (others["other_path"] == renamed["new_path"])
        | others["other_path"].startswith(renamed["new_path"].concat("\\")),
    )
    return _for_other(old).union(_for_other(new))


def _for_other(rows: Table) -> Table:
    key: IntegerValue = rows["other_id"]
    return rows.mutate(key_id=key, value=ibis.null(str)).select(*_COLUMNS)
