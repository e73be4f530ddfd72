"""Processes that touched keys and values: one row per process, or per process, key and value."""

from ibis.expr.types import Table, Value

from analysis.answers.counts import COUNTED, alike, counts, ends, grouped, timed
from analysis.expressions.events_view import is_failure
from analysis.expressions.folding import folded
from analysis.expressions.operation_counters import fitting, number_of, unless_unclear
from tracer.registry.operations import GROUPS

__all__ = ["touched_by", "who"]

_COUNTS = ("events", *COUNTED, "failures", "not_found", "failed_changes")
_TIMES = ("first_time", "last_time", "first_sequence", "last_sequence")
_LAST_CHANGE = (
    "last_change", "last_change_sequence", "last_change_time", "last_change_key", "last_change_value",
    "data_type", "data_size", "data",
)  # fmt: skip
_PROCESS = ("process", "pid", "process_id", "user", "command_line")


def who(events: Table, keys: Table, processes: Table) -> Table:
    """Return one row per process of the event rows, those with most changes first.

    Columns:

    * process (file name of its image), pid, process_id, user, command_line: NULL where unknown; the rows of
      no known process are one row, whose process_id is NULL;
    * the counts of `analysis.answers.counts.counts`, NULL where nobody could count
      (`analysis.expressions.operation_counters.unless_unclear`), and failed_changes: writes that failed, and creates that failed;
    * keys, values: how many different keys, and names of values; spellings of one are one;
    * first_time, last_time, first_sequence, last_sequence: its first and last row;
    * last_change (operation), last_change_sequence, last_change_time, last_change_key (display path),
      last_change_value: its last write that is not known to have failed, with the data_type,
      data_size (bytes) and data (captured bytes) it wrote; all NULL where it changed nothing.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        processes: the table `processes`.
    """
    groups = timed(_parts(events), events)
    touched = grouped(events.select("process_id", "key_id").distinct(), keys)
    touched = touched.group_by(of_process="process_id").aggregate(
        keys=touched["group_id"].nunique().cast("int64")
    )
    spellings = events.filter(events["value_name"].notnull()).select("process_id", "value_name").distinct()
    values = spellings.group_by(of_process="process_id").aggregate(
        values=folded(spellings["value_name"]).nunique().cast("int64")
    )
    groups = _with_last_change(groups, events, keys)
    for different in (touched, values):
        same = groups["process_id"].identical_to(different["of_process"])
        groups = groups.left_join(different, same).drop("of_process")
    groups = groups.mutate(values=groups["values"].fill_null(0))
    answer = _with_names(groups, processes)
    answer = answer.order_by(*_most_changes(answer))
    return answer.select(*_PROCESS, *_COUNTS, "keys", "values", *_TIMES, *_LAST_CHANGE)


def touched_by(events: Table, keys: Table, processes: Table) -> Table:
    """Return one row per key, value and process, by key and value, those with most changes first.

    Columns: display_key, value_name (as first spelled; NULL for the rows of the key itself), key_id (of the
    group, `keys.same_as`), and those of `who` without keys and values. Rows of operations without a key are
    left out.
    """
    parts = grouped(_parts(events, "key_id", "value_name"), keys)
    parts = parts.filter(parts["group_id"].notnull()).mutate(folded_value=folded(parts["value_name"]))
    groups = timed(_together(parts, "process_id", "group_id", "folded_value"), events)
    spelled = parts.group_by(spelled_id="group_id", spelled_folded="folded_value").aggregate(
        value_name=parts["value_name"].argmin(parts["first_sequence"])
    )
    groups = groups.left_join(
        spelled,
        [
            groups["group_id"] == spelled["spelled_id"],
            groups["folded_value"].identical_to(spelled["spelled_folded"]),
        ],
    )
    names = keys.select(named_id="key_id", display_key="display_path", folded_path="folded_path")
    groups = groups.inner_join(names, groups["group_id"] == names["named_id"])
    answer = _with_names(_with_last_change(groups, events, keys), processes)
    by_key = [answer["folded_path"], answer["group_id"], answer["folded_value"].asc(nulls_first=True)]
    answer = answer.order_by(*by_key, *_most_changes(answer))
    return answer.select(
        "display_key", "value_name", *_PROCESS, *_COUNTS, *_TIMES, *_LAST_CHANGE, key_id="group_id"
    )


def _parts(events: Table, *more: str) -> Table:
    """Return the rows added up by process and more columns: the counts, the ends, and the last change's sequence."""
    parts = alike(events, "process_id", *more)
    written, failed = fitting(parts, GROUPS["writes"].cases), is_failure(parts["status"])
    done, tried = written & ~failed, (written | (parts["operation"] == "CreateKey")) & failed
    return parts.group_by("process_id", *more).aggregate(
        **counts(parts),
        failed_changes=number_of(parts, tried),
        changes=number_of(parts, done),
        **ends(parts),
        last_change_sequence=parts["last_sequence"].max(where=done),
    )


def _together(parts: Table, *by: str) -> Table:
    """Return rows of `_parts` added up by some columns."""
    return parts.group_by(*by).aggregate(
        **{name: parts[name].sum().cast("int64") for name in (*_COUNTS, "changes")},
        **ends(parts),
        last_change_sequence=parts["last_change_sequence"].max(),
    )


def _with_last_change(groups: Table, events: Table, keys: Table) -> Table:
    """Return the groups with the columns of the event `last_change_sequence`."""
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
    last = groups.filter(groups["last_change_sequence"].notnull()).select(wanted_at="last_change_sequence")
    changes = changes.inner_join(last, changes["change_at"] == last["wanted_at"])
    changes = changes.left_join(names, changes["change_key_id"] == names["changed_id"])
    groups = groups.left_join(changes, groups["last_change_sequence"] == changes["change_at"])
    return groups.drop("change_at", "wanted_at", "change_key_id", "changed_id")


def _with_names(groups: Table, processes: Table) -> Table:
    images = processes.select(
        named_process_id="process_id", process="image", pid="pid", user="user", command_line="command_line"
    )
    return unless_unclear(groups.left_join(images, groups["process_id"] == images["named_process_id"]))


def _most_changes(answer: Table) -> list[Value]:
    """Return the order: most done changes first, then most failed ones, then most events; ties by first event."""
    most = [answer[name].desc() for name in ("changes", "failed_changes", "events")]
    return [*most, answer["first_sequence"].asc()]
