"""Who touched keys and values: one row per process, or per process, key and value."""

from ibis.expr.types import BooleanValue, IntegerValue, Table, Value

from analysis.answers.measures import grouped
from analysis.events import is_failure
from analysis.folding import folded
from tracer.operations import find_operations

__all__ = ["touched_by", "who"]

_DELETES = ("DeleteKey", "DeleteValueKey")
# SetInformationKey sets facts of handles and control flags; nobody means that by a write
_WRITES = tuple(
    name for name in find_operations("write") if name not in (*_DELETES, "CreateKey", "SetInformationKey")
)
_OPENS = ("OpenKey", "CreateKey")
_COUNTS = ("events", "writes", "created", "deletes", "reads", "opens", "failures", "failed_changes")
_TIMES = ("first_time", "last_time", "first_sequence", "last_sequence")
_LAST_CHANGE = (
    "last_change", "last_change_sequence", "last_change_time", "last_change_key", "last_change_value",
    "data_type", "data_size", "data",
)  # fmt: skip
_PROCESS = ("process", "pid", "process_id", "user", "command_line")


def who(events: Table, keys: Table, processes: Table) -> Table:
    """Return one row per process that touched the rows asked for, those that changed most first.

    Columns:

    * process (file name of its image), pid, process_id, user, command_line: NULL where unknown; the rows of
      no known process are one row, whose process_id is NULL;
    * events: all its rows; of those not known to have failed: writes (of values and
      security, renames, hives; creates and deletes are counted apart, SetInformationKey is none), created (keys that were made), deletes (of
      keys and values), reads, opens (OpenKey and CreateKey); failures (`analysis.events.is_failure`) and
      failed_changes (those of them that tried to write, create or delete);
    * keys, values: how many different keys, and names of values; spellings of one are one;
    * first_time, last_time, first_sequence, last_sequence: its first and last row;
    * last_change (operation), last_change_sequence, last_change_time, last_change_key (display path),
      last_change_value: its last write, create or delete that is not known to have failed, with the data_type,
      data_size (bytes) and data (captured bytes) it wrote; all NULL where it changed nothing.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        processes: the table `processes`.
    """
    found = _counted(_parts(events), "process_id")
    touched = grouped(events.select("process_id", "key_id").distinct(), keys)
    touched = touched.group_by(of_process="process_id").aggregate(
        keys=touched["group_id"].nunique().cast("int64")
    )
    named = events.filter(events["value_name"].notnull()).select("process_id", "value_name").distinct()
    values = named.group_by(of_process="process_id").aggregate(
        values=folded(named["value_name"]).nunique().cast("int64")
    )
    found = _with_last_change(found, events, keys)
    for counts in (touched, values):
        same = found["process_id"].identical_to(counts["of_process"])
        found = found.left_join(counts, same).drop("of_process")
    found = found.mutate(values=found["values"].fill_null(0))
    answer = _with_names(found, processes)
    answer = answer.order_by(*_most_changes(answer))
    return answer.select(*_PROCESS, *_COUNTS, "keys", "values", *_TIMES, *_LAST_CHANGE)


def touched_by(events: Table, keys: Table, processes: Table) -> Table:
    """Return one row per key, value and process, by key and value; those that changed most first.

    Columns: display_key, value_name (as first spelled; NULL for the rows of the key itself), key_id (of the
    group, `keys.same_as`), and those of `who` without keys and values. Rows of operations without a key are
    left out.
    """
    parts = grouped(_parts(events, "key_id", "value_name"), keys)
    parts = parts.filter(parts["group_id"].notnull()).mutate(folded_value=folded(parts["value_name"]))
    found = _counted(parts, "process_id", "group_id", "folded_value")
    spelled = parts.group_by(spelled_id="group_id", spelled_folded="folded_value").aggregate(
        value_name=parts["value_name"].argmin(parts["first_sequence"])
    )
    found = found.left_join(
        spelled,
        [
            found["group_id"] == spelled["spelled_id"],
            found["folded_value"].identical_to(spelled["spelled_folded"]),
        ],
    )
    names = keys.select(named_id="key_id", display_key="display_path", folded_path="folded_path")
    found = found.inner_join(names, found["group_id"] == names["named_id"])
    answer = _with_names(_with_last_change(found, events, keys), processes)
    by_key = [answer["folded_path"], answer["group_id"], answer["folded_value"].asc(nulls_first=True)]
    answer = answer.order_by(*by_key, *_most_changes(answer))
    return answer.select(
        "display_key", "value_name", *_PROCESS, *_COUNTS, *_TIMES, *_LAST_CHANGE, key_id="group_id"
    )


def _parts(events: Table, *more: str) -> Table:
    """Return the rows added up by process, operation, result and more columns: few, for what costs more."""
    by = ("process_id", *more, "operation", "status", "disposition")
    return events.group_by(*by).aggregate(
        events=events.count().cast("int64"),
        first_time=events["time"].min(),
        last_time=events["time"].max(),
        first_sequence=events["sequence"].min(),
        last_sequence=events["sequence"].max(),
    )


def _counted(parts: Table, *by: str) -> Table:
    """Return parts added up by some columns: the counts, the times, and the last change's sequence."""
    operation, failed = parts["operation"], is_failure(parts["status"])
    made = (operation == "CreateKey") & (parts["disposition"] == 1).fill_null(False)
    changes = operation.isin((*_WRITES, *_DELETES))

    def times(which: BooleanValue) -> IntegerValue:
        return parts["events"].sum(where=which).fill_null(0).cast("int64")

    return parts.group_by(*by).aggregate(
        events=parts["events"].sum().cast("int64"),
        writes=times(operation.isin(_WRITES) & ~failed),
        created=times(made & ~failed),
        deletes=times(operation.isin(_DELETES) & ~failed),
        reads=times(operation.isin(find_operations("read")) & ~failed),
        opens=times(operation.isin(_OPENS) & ~failed),
        failures=times(failed),
        failed_changes=times((changes | (operation == "CreateKey")) & failed),
        first_time=parts["first_time"].min(),
        last_time=parts["last_time"].max(),
        first_sequence=parts["first_sequence"].min(),
        last_sequence=parts["last_sequence"].max(),
        last_change_sequence=parts["last_sequence"].max(where=(made | changes) & ~failed),
    )


def _with_last_change(found: Table, events: Table, keys: Table) -> Table:
    """Return the groups with what the event `last_change_sequence` was."""
    names = keys.select(changed_id="key_id", last_change_key="display_path")
    changes = events.select(
        change_at="sequence",
        last_change="operation",
        last_change_time="time",
        last_change_value="value_name",
        change_key_id="key_id",
        data_type="data_type",
        data_size="data_size",
        data="data",
    )
    wanted = found.filter(found["last_change_sequence"].notnull()).select(wanted_at="last_change_sequence")
    changes = changes.inner_join(wanted, changes["change_at"] == wanted["wanted_at"])
    changes = changes.left_join(names, changes["change_key_id"] == names["changed_id"])
    found = found.left_join(changes, found["last_change_sequence"] == changes["change_at"])
    return found.drop("change_at", "wanted_at", "change_key_id", "changed_id")


def _with_names(found: Table, processes: Table) -> Table:
    named = processes.select(
        named_process_id="process_id", process="image", pid="pid", user="user", command_line="command_line"
    )
    return found.left_join(named, found["process_id"] == named["named_process_id"])


def _most_changes(answer: Table) -> list[Value]:
    """Return the order: most changes first, then most failed changes, then most events; ties by first event."""
    changes = answer["writes"] + answer["created"] + answer["deletes"]
    return [
        changes.desc(),
        answer["failed_changes"].desc(),
        answer["events"].desc(),
        answer["first_sequence"].asc(),
    ]
