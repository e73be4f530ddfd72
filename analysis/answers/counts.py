"""Sums of events by key, process, time and so on: the basis of answers about busy keys and subtrees."""

from collections.abc import Callable, Sequence

import ibis
from ibis.expr.types import Table, Value

from analysis.expressions.operation_counters import coded, condition_columns, is_of, number_of
from analysis.expressions.time_math import SECOND_NS, moment, rest
from tracer.registry.ntstatus import NAME_NOT_FOUND, NOT_FAILURES, NOT_SUCCESS
from tracer.registry.operations import GROUPS

__all__ = [
    "COUNTED",
    "SUMS",
    "alike",
    "counted",
    "counts",
    "ends",
    "grouped",
    "measured",
    "named_keys",
    "named_processes",
    "sums",
    "timed",
]

COUNTED = tuple(name for name, group in GROUPS.items() if group.counted)
_NEEDED = ("sequence", "time_ns", "process_id", "key_id", "operation", "status", "data_size", "duration_ns")
SUMS = ("events", *COUNTED, "failures", "not_found", "bytes_read", "bytes_written", "time_spent_ns")


def measured(
    events: Table, keys: Table, *by: str, every_ns: int = SECOND_NS, usage: Table | None = None
) -> Table:
    """Return the sums of events by some columns, in no order.

    Columns: these; those of `counts`; bytes_read and bytes_written (of successful reads and SetValueKey), NULL
    where no size is known; time_spent_ns (sum of durations), NULL where none is known; first_ and last_ time,
    ns and sequence. A count is of the rows that say so: `analysis.expressions.operation_counters.unless_unclear` makes NULL of what
    nobody could count.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        by: columns of `events`, or group_id: the key that stands for all spellings of one (`keys.same_as`), NULL
            for operations without a key, or bucket_ns: the time rounded down to a whole number of `every_ns`.
        every_ns: nanoseconds, above 0.
        usage: the rows of the table `usage` that sum up just these events, where there are such; of use by
            group_id alone.
    """
    if usage is not None and by == ("group_id",):
        return _of_groups(timed(usage, events), keys, by, sums)
    needed = dict.fromkeys((*_NEEDED, *condition_columns(COUNTED)))
    rows = _in_buckets(events.select(*needed), every_ns)
    # Rows that are alike are added up first, where this leaves few: conditions on text cost more than that.
    parts = coded(rows) if "group_id" in by else alike(rows, *by, sizes=True)
    size = ibis.ifelse(parts["status"] < NOT_SUCCESS, parts["data_size"], None)
    groups = parts.group_by(*_of_keys(by)).aggregate(
        **counts(parts),
        bytes_read=size.sum(where=is_of(parts, "reads")).cast("int64"),
        bytes_written=size.sum(where=parts["operation"] == "SetValueKey").cast("int64"),
        time_spent_ns=parts["duration_ns"].sum().cast("int64"),
        **ends(parts),
    )
    return _of_groups(timed(groups, events), keys, by, sums)


def alike(events: Table, *by: str, sizes: bool = False) -> Table:
    """Return counts of rows that are equal in some columns and in all columns of `counts`: few rows for costly steps.

    Columns: `by`; operation, status and those of `analysis.expressions.operation_counters.condition_columns`; events; first_ and last_ ns and sequence.

    Args:
        events: stored or joined event rows.
        by: columns of `events`.
        sizes: also sums of data_size and duration_ns, NULL where none is known.
    """
    alike_in = dict.fromkeys((*by, "operation", "status", *condition_columns(COUNTED)))
    amounts = ("data_size", "duration_ns") if sizes else ()
    needed = alike_in | dict.fromkeys(("time_ns", "sequence", *amounts))
    rows = events.select(*needed)  # engines and Ibis take long over columns that nobody needs
    return rows.group_by(*alike_in).aggregate(
        events=number_of(rows),
        **ends(rows),
        **{name: rows[name].sum().cast("int64") for name in amounts},
    )


def counted(events: Table, keys: Table, *by: str, every_ns: int = SECOND_NS) -> Table:
    """Return events (rows) and first_sequence by some columns; arguments as of `measured`."""
    rows = _in_buckets(events, every_ns)
    groups = rows.group_by(*_of_keys(by)).aggregate(
        events=rows.count().cast("int64"), first_sequence=rows["sequence"].min()
    )
    return _of_groups(groups, keys, by, _counts)


def counts(rows: Table) -> dict[str, Value]:
    """Return the counts of event rows, or of rows of `alike`: one definition for every question.

    events (rows); reads, writes, opens, created, deletes and unclear_writes (`tracer.registry.operations.GROUPS`, each tried or
    done); failures (`tracer.registry.ntstatus.is_failure`); not_found (STATUS_OBJECT_NAME_NOT_FOUND).
    """
    status = rows["status"]
    return {
        "events": number_of(rows),
        **{name: number_of(rows, is_of(rows, name)) for name in COUNTED},
        # The few that failed are looked at closer: a condition on all rows would cost more.
        "failures": number_of(rows, ibis.ifelse(status >= NOT_SUCCESS, ~status.isin(NOT_FAILURES), False)),
        "not_found": number_of(rows, status == NAME_NOT_FOUND),
    }


def ends(rows: Table) -> dict[str, Value]:
    """Return the first and the last moment and sequence of event rows, or of rows that stand for several."""
    measures = {}
    for name, own in (("ns", "time_ns"), ("sequence", "sequence")):
        first, last = (own, own) if own in rows.columns else (f"first_{name}", f"last_{name}")
        measures[f"first_{name}"], measures[f"last_{name}"] = rows[first].min(), rows[last].max()
    return measures


def sums(parts: Table) -> dict[str, Value]:
    """Return the measures of several rows of `measured` together."""
    measures: dict[str, Value] = {name: parts[name].sum().cast("int64") for name in SUMS}
    measures |= {"first_time": parts["first_time"].min(), "last_time": parts["last_time"].max()}
    return measures | ends(parts)


def timed(rows: Table, events: Table) -> Table:
    """Return sums with first_time and last_time, from first_ns and last_ns, in the type of `events`."""
    times = {f"{name}_time": moment(rows[f"{name}_ns"]) for name in ("first", "last")}
    return rows.mutate(**{name: time.cast(events["time"].type()) for name, time in times.items()})


def _counts(parts: Table) -> dict[str, Value]:
    return {"events": parts["events"].sum().cast("int64"), "first_sequence": parts["first_sequence"].min()}


def _in_buckets(rows: Table, every_ns: int) -> Table:
    return rows.mutate(bucket_ns=rows["time_ns"] - rest(rows["time_ns"], every_ns))


def _of_keys(by: Sequence[str]) -> list[str]:
    """Return the columns of the first aggregation: counts per key_id leave few rows to merge into groups."""
    return ["key_id" if name == "group_id" else name for name in by]


def _of_groups(
    parts: Table, keys: Table, by: Sequence[str], together: Callable[[Table], dict[str, Value]]
) -> Table:
    if "group_id" not in by:
        return parts
    parts = grouped(parts, keys)
    return parts.group_by(*by).aggregate(**together(parts))


def grouped(rows: Table, keys: Table) -> Table:
    """Return the rows with group_id: the key that represents all spellings of a key; NULL where they have no key."""
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    return rows.left_join(groups, rows["key_id"] == groups["grouped_id"]).drop("grouped_id")


def named_keys(table: Table, keys: Table, column: str, *, name: str) -> Table:
    """Return the table with a column `name`: the display path of the key that `column` holds."""
    names = keys.select(named_key_id="key_id", **{name: keys["display_path"]})
    return table.left_join(names, table[column] == names["named_key_id"]).drop("named_key_id")


def named_processes(table: Table, processes: Table, column: str, *, process: str, pid: str) -> Table:
    """Return the table with image and pid of the process that `column` holds, in columns of these names."""
    names = processes.select(
        named_process_id="process_id", **{process: processes["image"], pid: processes["pid"]}
    )
    return table.left_join(names, table[column] == names["named_process_id"]).drop("named_process_id")
