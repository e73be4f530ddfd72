"""Changes of unidentified keys: what they leave in doubt, and when."""

import ibis
from ibis.expr.types import BooleanValue, Table

from analysis.answers.evidence import NAMELESS
from analysis.expressions.folding import folded
from analysis.expressions.time_math import rest
from tracer.flags import FLAGS
from tracer.registry.ntstatus import NOT_SUCCESS

__all__ = ["HIVES_WITHOUT_KEY", "LOADS", "doubtful_losses", "hives_without_key", "unproved_changes"]

_ACROSS_LOSS = FLAGS["across_loss"]
_OF_VALUES = ("SetValueKey", "DeleteValueKey")
_OF_KEYS = ("DeleteKey", "RenameKey", "UnloadKey", "RestoreKey", "ReplaceKey")
_MADE, _LOADED, _HIVES = "CreateKey", "LoadKey", "HiveWork"
_EITHER = "CreateOrDelete"  # of the key whose name it has, or of the value of that name in the key above
# HiveWork that names a file and no key (events 16 to 45 of the provider's manifest): a hive is mounted only where no key
# was, so a load makes doubtful what was absent; a restore replaces what was there.
LOADS = ("LoadHiveStart", "LoadHiveStop", "MountHiveStop", "HiveLink")
_REPLACED = ("RestoreHiveStart", "RestoreHiveStop", "UnloadHiveStart", "HiveDestroy")
HIVES_WITHOUT_KEY = (*LOADS, *_REPLACED)
_FAILED = r'"StatusCode": (2[1-9][0-9]{8}|[3-9][0-9]{9})\b'  # 0x80000000 and above


def unproved_changes(
    events: Table, keys: Table, *, width_ns: int, flagged: bool = True, either: bool = True
) -> Table:
    r"""Return the certain or possible changes under an unproved name, or under no name.

    Columns: from_ns, to_ns (UTC nanoseconds; changes of one kind and name within `width_ns` are one row, so
    that rows are few), kind, name. A change leaves in doubt what was known before it:

    * everything: of any key and value. A key was deleted or renamed, or a hive unloaded, restored or replaced;
    * value: of the values with the folded name `name`, in any key. Such a value was written or deleted; or what was
      created or deleted is a key, or a value, of that name, and the record does not say which (CreateOrDelete);
    * absence: of any key and value that were not there. A hive was loaded, nobody knows where;
    * key: of any key that was not there, but not of its values. A key was made.

    A name is not proved where the row has the flag across_loss, or its key no whole name. (Under the flag
    name_ambiguous the key is one of few: it is `analysis.answers.evidence` that doubts them.)

    Args:
        events: all stored or joined event rows of the time.
        keys: the table `keys`.
        width_ns: nanoseconds, above 0.
        flagged: False where it is known that no row has the flag across_loss.
        either: False where it is known that no row is a CreateOrDelete: these are looked for under every key.
    """
    operation, status = events["operation"], events["status"]
    changes = operation.isin([*_OF_VALUES, *_OF_KEYS, _LOADED, _EITHER])
    changes = changes | ((operation == _MADE) & (events["disposition"] != 2).fill_null(True))
    rows = events.filter((changes | hives_without_key(events)) & ~(status >= NOT_SUCCESS).fill_null(False))
    rows = rows.select("key_id", "operation", "value_name", "time_ns", "flags", "detail")
    nameless = keys.filter(keys["name_source"].isin(NAMELESS)).select(nameless_id="key_id")
    is_flagged = (rows["flags"] & _ACROSS_LOSS) != 0
    doubtful = rows.filter(rows["key_id"].isnull())
    doubtful = doubtful.union(rows.semi_join(nameless, rows["key_id"] == nameless["nameless_id"]))
    if flagged:
        others = rows.filter(is_flagged & rows["key_id"].notnull())
        doubtful = doubtful.union(others.anti_join(nameless, others["key_id"] == nameless["nameless_id"]))
    rows = _with_either(doubtful, rows, keys) if either else doubtful
    operation, none = rows["operation"], ibis.null(str)
    of_value = operation.isin([*_OF_VALUES, _EITHER]) & rows["value_name"].notnull()
    kind = ibis.cases(
        (of_value, "value"),
        (operation == _MADE, "key"),
        ((operation == _LOADED) | ((operation == _HIVES) & _is_event(rows, LOADS)), "absence"),
        else_="everything",
    )
    rows = rows.select(
        "time_ns",
        kind=kind,
        name=ibis.ifelse(of_value, folded(rows["value_name"]), none),
        part=rows["time_ns"] - rest(rows["time_ns"], width_ns),
    )
    times = rows.group_by("kind", "name", "part").aggregate(
        from_ns=rows["time_ns"].min(), to_ns=rows["time_ns"].max()
    )
    return times.select("from_ns", "to_ns", "kind", "name")


def _with_either(doubtful: Table, rows: Table, keys: Table) -> Table:
    """Return doubtful changes, and each CreateOrDelete of a key as of a value of its name too."""
    either = rows.filter((rows["operation"] == _EITHER) & rows["key_id"].notnull())
    named = keys.select("name", either_id="key_id")
    either = either.inner_join(named, either["key_id"] == named["either_id"])
    either = either.mutate(value_name=either["name"]).select(*rows.columns)
    found = doubtful.filter(doubtful["operation"] != _EITHER).union(either)
    return found.union(doubtful.filter((doubtful["operation"] == _EITHER) & doubtful["key_id"].isnull()))


def doubtful_losses(losses: Table, unproved: Table | None) -> Table:
    """Return the losses (kind, from_ns, to_ns) with the times at which anything may have been changed.

    Args:
        losses: the table `losses`.
        unproved: rows of `unproved_changes`; None: there are none.
    """
    losses = losses.select("kind", "from_ns", "to_ns")
    if unproved is None:
        return losses
    times = unproved.filter(unproved["kind"] == "everything")
    return losses.union(times.select("from_ns", "to_ns", kind=ibis.literal("events")).select(*losses.columns))


def hives_without_key(events: Table) -> BooleanValue:
    """Tell which rows loaded, restored or unloaded a hive at an unknown key; failures do not count."""
    detail = events["detail"]
    lacks_key: BooleanValue = (events["operation"] == _HIVES) & events["key_id"].isnull()
    return lacks_key & _is_event(events, HIVES_WITHOUT_KEY) & ~detail.re_search(_FAILED).fill_null(False)


def _is_event(rows: Table, names: tuple[str, ...]) -> BooleanValue:
    pattern = f'"event": "({"|".join(names)})"'
    fits: BooleanValue = rows["detail"].re_search(pattern).fill_null(False)
    return fits
