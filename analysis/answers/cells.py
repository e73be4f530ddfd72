"""Events summed by key and process: few rows, of which answers about busy keys and subtrees are made."""

from ibis.expr.types import Table, Value

from analysis.events import is_failure
from analysis.nanoseconds import SECOND_NS, rest
from tracer.operations import find_operations

__all__ = ["NAME_NOT_FOUND", "SUMS", "cells", "named_keys", "named_processes", "summed"]

NAME_NOT_FOUND = 0xC0000034
SUMS = ("events", "reads", "writes", "opens", "failures", "not_found", "bytes_read", "bytes_written",
        "time_spent_ns")  # fmt: skip


def cells(events: Table, keys: Table, *more: str, every_ns: int = SECOND_NS) -> Table:
    """Return the events summed by key_id, process_id and more columns, in no order.

    Columns: these; group_id (`keys.same_as`); events (rows); reads, opens (OpenKey and CreateKey) and writes
    (changes other than CreateKey), each tried or done; failures (`tracer.statuses.is_failure`); not_found
    (STATUS_OBJECT_NAME_NOT_FOUND); bytes_read and bytes_written (of successful reads and SetValueKey), NULL
    where no size is known; time_spent_ns (sum of durations), NULL where none is known; first_ and last_
    time, ns and sequence.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        more: columns of `events`, or bucket_ns: the time rounded down to a whole number of `every_ns`.
        every_ns: nanoseconds, above 0.
    """
    rows = events.select(
        "sequence",
        "time",
        "time_ns",
        "process_id",
        "key_id",
        "operation",
        "status",
        "data_size",
        "duration_ns",
    )
    rows = rows.mutate(bucket_ns=rows["time_ns"] - rest(rows["time_ns"], every_ns))
    operation, status, size = rows["operation"], rows["status"], rows["data_size"]
    reads = operation.isin(find_operations("read"))
    writes = operation.isin([name for name in find_operations("write") if name != "CreateKey"])
    done = status < 0x80000000
    found = rows.group_by(*dict.fromkeys(["key_id", "process_id", *more])).aggregate(
        events=rows.count().cast("int64"),
        reads=rows.count(where=reads).cast("int64"),
        writes=rows.count(where=writes).cast("int64"),
        opens=rows.count(where=operation.isin(["OpenKey", "CreateKey"])).cast("int64"),
        failures=rows.count(where=is_failure(status)).cast("int64"),
        not_found=rows.count(where=(status == NAME_NOT_FOUND).fill_null(False)).cast("int64"),
        bytes_read=size.sum(where=reads & done).cast("int64"),
        bytes_written=size.sum(where=(operation == "SetValueKey") & done).cast("int64"),
        time_spent_ns=rows["duration_ns"].sum().cast("int64"),
        first_time=rows["time"].min(),
        last_time=rows["time"].max(),
        first_ns=rows["time_ns"].min(),
        last_ns=rows["time_ns"].max(),
        first_sequence=rows["sequence"].min(),
        last_sequence=rows["sequence"].max(),
    )
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    return found.left_join(groups, found["key_id"] == groups["grouped_id"]).drop("grouped_id")


def summed(parts: Table, column: str) -> Table:
    """Return rows of `cells` summed by a column, with keys and processes: how many different ones."""
    measures: dict[str, Value] = {name: parts[name].sum().cast("int64") for name in SUMS}
    for name in ("time", "ns", "sequence"):
        measures[f"first_{name}"] = parts[f"first_{name}"].min()
        measures[f"last_{name}"] = parts[f"last_{name}"].max()
    measures["keys"] = parts["group_id"].nunique().cast("int64")
    measures["processes"] = parts["process_id"].nunique().cast("int64")
    return parts.group_by(column).aggregate(**measures)


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
