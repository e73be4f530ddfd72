"""What events say about values and about keys: who wrote, read or missed what, in order; not what follows from it."""

from functools import reduce

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, StringValue, Table

from analysis.expressions.folding import folded
from analysis.expressions.links import link_target, own_paths
from tracer.registry.ntstatus import NAME_NOT_FOUND, NOT_FAILURES, NOT_SUCCESS, TOO_SHORT
from tracer.schema import FLAGS, LOST_KINDS

__all__ = [
    "ABSENT_KEY",
    "ABSENT_VALUE",
    "CHANGES",
    "EXISTING_KEY",
    "LONGEST_NS",
    "NAMELESS",
    "NEEDED",
    "OF_SUBTREES",
    "absences",
    "changes_hive",
    "evidence",
    "first_spellings",
    "heard_of",
    "is_unproved",
    "lost_between",
    "of_key",
    "of_many_keys",
    "real_losses",
    "same_key",
    "told_by",
]

# facts of values
CHANGES = ("write", "delete")  # done
ABSENT_VALUE = ("delete", "miss")
# facts of keys; each takes the key's values with it, or proves that there are none
ABSENT_KEY = ("key_created", "key_missing", "key_deleted", "key_renamed")
_ABSENT_SUBTREE = ("key_created", "key_missing", "key_deleted")  # nothing is below it
_PROVE_ABSENCE = ("OpenKey", "CreateKey", "DeleteKey")
# what proves that a key is there
EXISTING_KEY = ("key_created", "key_opened", "key_used", "write", "delete", "read", "seen", "miss")

# operations that may change a whole subtree
OF_SUBTREES = ("RenameKey", "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey", "HiveWork")

LONGEST_NS = 2**63 - 1
_PENDING = 0x103
_PATH_NOT_FOUND = 0xC000003A
_OF_THE_NAME = (3, 7)  # KEY_INFORMATION_CLASS: what a handle knows even after its key was deleted
# A name under one of these is the likeliest, and not proved.
_UNPROVED = FLAGS["across_loss"] | FLAGS["name_ambiguous"]
NAMELESS = ("partial", "none")  # name_source
_CHANGES_OF_KEYS = ("key_created", "key_deleted", "key_renamed", "key_unknown")

_EVENT_COLUMNS = (
    "sequence", "time", "time_ns", "process_id", "handle_id", "operation", "status", "value_name",
    "requested_name", "information_class", "data_type", "data_size", "data", "previous_type",
    "previous_size", "previous_data", "flags",
)  # fmt: skip
NEEDED = ("key_id", "disposition", "detail", *_EVENT_COLUMNS)  # columns of events
_COLUMNS = (
    "sequence",
    "key_id",
    "fact",
    "said",
    "value",
    *(name for name in _EVENT_COLUMNS if name != "sequence"),
)


def evidence(
    events: Table,
    keys: Table,
    everywhere: Table | None = None,
    *,
    subtrees: bool = True,
    descent: Table | None = None,
) -> Table:
    r"""Return one row for each event that says something of a value or of a key, in no order.

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
    * key_unknown: a hive was loaded, unloaded, restored or replaced at or above it, or a key was renamed to
      it: what it holds now was not recorded. Also a delete or rename of which nobody knows whether it was done.

    An event is no surer than the name it stands under. Where that is not proved (flags across_loss and
    name_ambiguous, name sources partial and none), `said` is one of the facts above, and `fact` one of these:

    * doubtful, key_doubtful: a change, of this key or of another: what was known before may no longer be so;
    * hearsay, key_hearsay: no change: it proves nothing.

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
    """
    if not subtrees and descent is None:
        return _facts_of(events, keys).select(*_COLUMNS)
    asked = keys.semi_join(events, "key_id").select(key_id="same_as").distinct()
    if subtrees:
        rows = _facts_of(told_by(events, everywhere), keys)
        below = _below(rows.filter(rows["said"].isin(["key_renamed", "key_unknown"])), keys)
        below = below.semi_join(asked, "key_id").select(*_COLUMNS)
        if everywhere is not None:
            rows = rows.semi_join(asked, "key_id")
        rows = rows.select(*_COLUMNS).union(below)
    else:
        rows = _facts_of(events, keys).select(*_COLUMNS)
    if descent is None:
        return rows
    nothing = _below_absent(events if everywhere is None else everywhere, keys, descent)
    return rows.union(nothing.semi_join(asked, "key_id").select(*_COLUMNS))


def told_by(events: Table, everywhere: Table | None = None, descent: Table | None = None) -> Table:
    """Return the event rows that evidence of the same arguments is made of, each once."""
    if everywhere is None:
        return events
    return events.union(of_many_keys(everywhere, descent).anti_join(events, "sequence"))


def of_key(rows: Table, prefix: str) -> dict[str, str]:
    """Return a column to select where rows are evidence, of which one event makes several for different keys."""
    return {f"{prefix}_key": "key_id"} if "fact" in rows.columns else {}


def same_key(rows: Table, others: Table, prefix: str) -> list[BooleanValue]:
    """Return the condition that belongs to `of_key`."""
    return [rows["key_id"] == others[f"{prefix}_key"]] if f"{prefix}_key" in others.columns else []


def first_spellings(found: Table) -> Table:
    """Return key_id, value, and the value_name that the first of these rows of evidence spelled."""
    named = found.filter(found["value"].notnull())
    return named.group_by("key_id", "value").aggregate(
        value_name=named["value_name"].argmin(named["sequence"])
    )


def real_losses(losses: Table) -> Table:
    """Return from_ns and to_ns of what was lost; a bound that is not known is the end of time."""
    lost = losses.filter(losses["kind"].isin(LOST_KINDS))
    return lost.select(
        from_ns=lost["from_ns"].fill_null(-LONGEST_NS), to_ns=lost["to_ns"].fill_null(LONGEST_NS)
    )


def lost_between(
    rows: Table, losses: Table, *, after: str, before: str, name: str, of: str | None = None
) -> Table:
    """Return the rows with a boolean column `name`: whether something may have been lost in a time.

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
    """Return the events that say something of their own key, with `key_id`, `fact` and `value`."""
    groups = keys.select(
        grouped_id="key_id", group_id="same_as", nameless=keys["name_source"].isin(NAMELESS).fill_null(False)
    )
    rows = events.filter(events["key_id"].notnull()).select(*NEEDED)
    rows = rows.inner_join(groups, rows["key_id"] == groups["grouped_id"])
    status = rows["status"]
    done = (status < NOT_SUCCESS) & (status != _PENDING)
    fact = reduce(
        lambda otherwise, case: ibis.ifelse(*case, otherwise),
        reversed([*_value_cases(rows, done), *_key_cases(rows, done)]),
        ibis.null(str),
    )
    rows = rows.mutate(key_id=rows["group_id"], said=fact)
    rows = rows.filter(rows["said"].notnull())
    rows = rows.mutate(fact=_proved(rows))
    of_key = rows["fact"].startswith("key_")
    return rows.mutate(value=ibis.ifelse(of_key, ibis.null(str), folded(rows["value_name"])))


def is_unproved(rows: Table) -> BooleanValue:
    """Tell of which rows with `flags` and `nameless` the name of the key is not proved."""
    unproved: BooleanValue = rows["nameless"] | ((rows["flags"] & _UNPROVED) != 0)
    return unproved


def _proved(rows: Table) -> StringValue:
    """Return what rows that say something prove."""
    said = rows["said"]
    weaker = ibis.cases(
        (said.isin([*CHANGES, "unclear"]), "doubtful"),
        (said.isin(_CHANGES_OF_KEYS), "key_doubtful"),
        (said.startswith("key_"), "key_hearsay"),
        (said == "failed", said),
        else_="hearsay",
    )
    return ibis.ifelse(is_unproved(rows), weaker, said)


def _value_cases(rows: Table, done: BooleanValue) -> list[tuple[BooleanValue, StringValue | str]]:
    operation, status = rows["operation"], rows["status"]
    named = rows["value_name"].notnull()
    changes = operation.isin(["SetValueKey", "DeleteValueKey"]) & named
    queries = (operation == "QueryValueKey") & named
    reads = queries | ((operation == "EnumerateValueKey") & named)
    told = rows["data"].notnull() | ((rows["data_size"] == 0) & rows["data_type"].notnull()).fill_null(False)
    missed = status == NAME_NOT_FOUND
    return [
        (changes & done, ibis.ifelse(operation == "SetValueKey", "write", "delete")),
        ((queries | ((operation == "DeleteValueKey") & named)) & missed, "miss"),
        (changes & (status >= NOT_SUCCESS), "failed"),
        (changes, "unclear"),
        (reads & done & told, "read"),
        (reads & (done | status.isin(TOO_SHORT)), "seen"),
    ]


def _key_cases(rows: Table, done: BooleanValue) -> list[tuple[BooleanValue, StringValue | str]]:
    operation, status = rows["operation"], rows["status"]
    opens = operation.isin(["OpenKey", "CreateKey"])
    answered = done | status.isin(NOT_FAILURES)
    asked = operation.isin(["EnumerateKey", "EnumerateValueKey", "SetInformationKey"])
    asked = asked | (
        (operation == "QueryKey") & ~rows["information_class"].isin(_OF_THE_NAME).fill_null(True)
    )
    return [
        (
            opens & (status == 0),
            ibis.ifelse(
                ((operation == "CreateKey") & (rows["disposition"] == 1)).fill_null(False),
                "key_created",
                "key_opened",
            ),
        ),
        (opens & status.isin([NAME_NOT_FOUND, _PATH_NOT_FOUND]), "key_missing"),
        ((operation == "DeleteKey") & done, "key_deleted"),
        ((operation == "RenameKey") & done, "key_renamed"),
        (
            (operation.isin(["DeleteKey", "RenameKey"]) | changes_hive(rows))
            & ~(status >= NOT_SUCCESS).fill_null(False),
            "key_unknown",
        ),
        (asked & answered, "key_used"),
    ]


def changes_hive(rows: Table) -> BooleanValue:
    """Tell which rows put another hive in the place of what was there; the manifest provider's have no status."""
    operation, detail = rows["operation"], rows["detail"]
    told = reduce(
        lambda some, name: some | detail.contains(f'"event": "{name}"'),
        ("UnloadHiveStart", "HiveDestroy", "HiveLink"),
        ibis.literal(False),
    )
    changes = operation.isin(["LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey"])
    return changes | ((operation == "HiveWork") & told.fill_null(False))


def of_many_keys(events: Table, descent: Table | None = None) -> Table:
    """Return the events that say something of keys below their own: of subtrees, or that prove that there are none."""
    operation = events["operation"]
    found = operation.isin(OF_SUBTREES)
    if descent is not None:
        tops = descent.select("top_key_id").distinct()["top_key_id"]
        found = found | (operation.isin(_PROVE_ABSENCE) & events["key_id"].isin(tops))
    return events.filter(found)


def absences(events: Table) -> Table:
    """Return key_id and last_at (sequence) of keys that were missing, deleted or newly made, as far as that is proved."""
    operation, status = events["operation"], events["status"]
    missing = operation.isin(["OpenKey", "CreateKey"]) & status.isin([NAME_NOT_FOUND, _PATH_NOT_FOUND])
    made = (operation == "CreateKey") & (status == 0) & (events["disposition"] == 1)
    deleted = (operation == "DeleteKey") & (status < NOT_SUCCESS)
    rows = events.filter((missing | made | deleted).fill_null(False) & ((events["flags"] & _UNPROVED) == 0))
    return rows.group_by("key_id").aggregate(last_at=rows["sequence"].max())


def heard_of(events: Table, keys: Table, descent: Table) -> Table:
    """Return the rows of a descent with `heard_at`; those of which nothing was heard are left out."""
    groups = keys.semi_join(descent, keys["same_as"] == descent["below_id"]).select("key_id")
    rows = _facts_of(events.semi_join(groups, "key_id"), keys)
    rows = rows.filter(rows["fact"].isin(EXISTING_KEY))
    heard = rows.group_by(heard_id="key_id").aggregate(heard_at=rows["sequence"].min())
    return descent.inner_join(heard, descent["below_id"] == heard["heard_id"]).drop("heard_id")


def _below_absent(events: Table, keys: Table, descent: Table) -> Table:
    """Return what the absence of a key says of those below it of which something was heard before."""
    tops = events.filter(events["operation"].isin(_PROVE_ABSENCE))
    rows = _facts_of(tops.semi_join(descent, tops["key_id"] == descent["top_key_id"]), keys)
    pairs = descent.select("top_id", "heard_at", other_id="below_id").distinct()
    tops = rows.filter(rows["fact"].isin(_ABSENT_SUBTREE))
    below = tops.inner_join(pairs, [tops["key_id"] == pairs["top_id"], tops["sequence"] > pairs["heard_at"]])
    missing = ibis.literal("key_missing")
    return _for_other(below.mutate(fact=missing, said=missing))


def _below(tops: Table, keys: Table) -> Table:
    """Return what `key_renamed` and `key_unknown` of a key say of other keys: those below, and a new name's."""
    tops = tops.filter(tops["operation"] != "DeleteKey")  # a key that can be deleted has nothing below it
    paths = own_paths(keys).select(at_id="group_id", at_path="path")
    tops = tops.inner_join(paths, tops["key_id"] == paths["at_id"]).drop("at_id")
    renamed = tops.filter(tops["operation"] == "RenameKey")
    parent = renamed["at_path"].re_replace(r"[^\\]*$", "")
    renamed = renamed.mutate(
        new_path=link_target(parent.concat(folded(renamed["requested_name"]))),
        fact=ibis.literal("key_unknown"),
        said=ibis.literal("key_unknown"),
    )
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
