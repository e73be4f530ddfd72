"""Events summed by key, process, time and so on: few rows, of which answers about busy keys and subtrees are made."""

from collections.abc import Callable, Sequence

import ibis
from ibis.expr.types import Table, Value

from analysis.marks import added, failure, marked
from analysis.nanoseconds import SECOND_NS, moment, rest
from tracer.operations import find_operations
from tracer.statuses import NAME_NOT_FOUND, NOT_SUCCESS

__all__ = [
    "SUMS",
    "counted",
    "grouped",
    "measured",
    "named_keys",
    "named_processes",
    "sums",
]

SUMS = ("events", "reads", "writes", "opens", "failures", "not_found", "bytes_read", "bytes_written",
        "time_spent_ns")  # fmt: skip


def measured(
    events: Table, keys: Table, *by: str, every_ns: int = SECOND_NS, usage: Table | None = None
) -> Table:
    """Return the events summed by some columns, in no order.

    Columns: these; events (rows); reads, opens (OpenKey and CreateKey) and writes (changes other than
    CreateKey), each tried or done; created (creates that made the key); failures
    (`tracer.statuses.is_failure`); not_found (STATUS_OBJECT_NAME_NOT_FOUND); bytes_read and bytes_written (of
    successful reads and SetValueKey), NULL where no size is known; time_spent_ns (sum of durations), NULL
    where none is known; first_ and last_ time, ns and sequence.

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
        return _of_groups(_timed(usage, events), keys, by, sums)
    needed = (
        "sequence",
        "time",
        "time_ns",
        "process_id",
        "key_id",
        "operation",
        "status",
        "disposition",
        "data_size",
        "duration_ns",
    )
    rows = marked(
        _in_buckets(events.select(*needed), every_ns),
        reads=find_operations("read"),
        writes=[name for name in find_operations("write") if name != "CreateKey"],
        opens=("OpenKey", "CreateKey"),
        creates=("CreateKey",),
        sets=("SetValueKey",),
    )
    status = rows["status"]
    size = ibis.ifelse(status < NOT_SUCCESS, rows["data_size"], None)
    found = rows.group_by(*_of_keys(by)).aggregate(
        events=rows.count().cast("int64"),
        reads=added(rows["reads"]),
        writes=added(rows["writes"]),
        opens=added(rows["opens"]),
        created=added(ibis.ifelse(rows["disposition"] == 1, rows["creates"], 0)),
        failures=added(failure(status)),
        not_found=added(ibis.ifelse(status == NAME_NOT_FOUND, 1, 0)),
        bytes_read=ibis.ifelse(rows["reads"] == 1, size, None).sum().cast("int64"),
        bytes_written=ibis.ifelse(rows["sets"] == 1, size, None).sum().cast("int64"),
        time_spent_ns=rows["duration_ns"].sum().cast("int64"),
        first_time=rows["time"].min(),
        last_time=rows["time"].max(),
        first_ns=rows["time_ns"].min(),
        last_ns=rows["time_ns"].max(),
        first_sequence=rows["sequence"].min(),
        last_sequence=rows["sequence"].max(),
    )
    return _of_groups(found, keys, by, sums)


def counted(events: Table, keys: Table, *by: str, every_ns: int = SECOND_NS) -> Table:
    """Return events (rows) and first_sequence by some columns; arguments as of `measured`."""
    rows = _in_buckets(events, every_ns)
    found = rows.group_by(*_of_keys(by)).aggregate(
        events=rows.count().cast("int64"), first_sequence=rows["sequence"].min()
    )
    return _of_groups(found, keys, by, _counts)


def sums(parts: Table) -> dict[str, Value]:
    """Return the measures of several rows of `measured` together."""
    measures: dict[str, Value] = {name: parts[name].sum().cast("int64") for name in (*SUMS, "created")}
    for name in ("time", "ns", "sequence"):
        measures[f"first_{name}"] = parts[f"first_{name}"].min()
        measures[f"last_{name}"] = parts[f"last_{name}"].max()
    return measures


def _timed(usage: Table, events: Table) -> Table:
    """Return rows of the table `usage` with first_time and last_time, as `events` has times."""
    times = {f"{name}_time": moment(usage[f"{name}_ns"]) for name in ("first", "last")}
    return usage.mutate(**{name: time.cast(events["time"].type()) for name, time in times.items()})


def _counts(parts: Table) -> dict[str, Value]:
    return {"events": parts["events"].sum().cast("int64"), "first_sequence": parts["first_sequence"].min()}


def _in_buckets(rows: Table, every_ns: int) -> Table:
    return rows.mutate(bucket_ns=rows["time_ns"] - rest(rows["time_ns"], every_ns))


def _of_keys(by: Sequence[str]) -> list[str]:
    """Return by what rows are summed first: keys of a group one by one, for few rows are left to be grouped then."""
    return ["key_id" if name == "group_id" else name for name in by]


def _of_groups(
    parts: Table, keys: Table, by: Sequence[str], together: Callable[[Table], dict[str, Value]]
) -> Table:
    if "group_id" not in by:
        return parts
    parts = grouped(parts, keys)
    return parts.group_by(*by).aggregate(**together(parts))


def grouped(rows: Table, keys: Table) -> Table:
    """Return the rows with group_id: the key that stands for all spellings of theirs; NULL where they have none."""
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    return rows.left_join(groups, rows["key_id"] == groups["grouped_id"]).drop("grouped_id")


def named_keys(table: Table, keys: Table, column: str, *, name: str) -> Table:
    """Return the table with a column `name`: the display path of the key that `column` holds."""
    known = keys.select(named_key_id="key_id", **{name: keys["display_path"]})
    return table.left_join(known, table[column] == known["named_key_id"]).drop("named_key_id")


def named_processes(table: Table, processes: Table, column: str, *, process: str, pid: str) -> Table:
    """Return the table with image and pid of the process that `column` holds, in columns of these names."""
    known = processes.select(
        named_process_id="process_id", **{process: processes["image"], pid: processes["pid"]}
    )
    return table.left_join(known, table[column] == known["named_process_id"]).drop("named_process_id")
