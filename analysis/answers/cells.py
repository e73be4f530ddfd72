"""Events summed by key and process: few rows, of which answers about busy keys and subtrees are made."""

import ibis
from ibis.expr.types import Table, Value

from analysis.marks import FAILED, added, failure, marked
from analysis.nanoseconds import SECOND_NS, rest
from tracer.operations import find_operations

__all__ = ["NAME_NOT_FOUND", "SUMS", "cells", "named_keys", "named_processes", "summed", "summed_with_top"]

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
    rows = marked(
        rows.mutate(bucket_ns=rows["time_ns"] - rest(rows["time_ns"], every_ns)),
        reads=find_operations("read"),
        writes=[name for name in find_operations("write") if name != "CreateKey"],
        opens=("OpenKey", "CreateKey"),
        sets=("SetValueKey",),
    )
    status = rows["status"]
    size = ibis.ifelse(status < FAILED, rows["data_size"], None)
    found = rows.group_by(*dict.fromkeys(["key_id", "process_id", *more])).aggregate(
        events=rows.count().cast("int64"),
        reads=added(rows["reads"]),
        writes=added(rows["writes"]),
        opens=added(rows["opens"]),
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
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    return found.left_join(groups, found["key_id"] == groups["grouped_id"]).drop("grouped_id")


def summed(parts: Table, column: str) -> Table:
    """Return rows of `cells` summed by a column, with keys and processes: how many different ones."""
    return parts.group_by(column).aggregate(
        **_sums(parts),
        keys=parts["group_id"].nunique().cast("int64"),
        processes=parts["process_id"].nunique().cast("int64"),
    )


def summed_with_top(parts: Table, column: str, other: str, *, count: str, top: str) -> Table:
    """Return rows of `cells` summed by a column, with what is said of another one, in columns of these names.

    `count`: how many different `other` there are. `top`_id and `top`_events: the one with most events, and how many;
    the earlier where several have as many.
    """
    pairs = parts.group_by(column, other).aggregate(**_sums(parts))
    busier = ibis.struct({"events": pairs["events"], "earlier": -pairs["first_sequence"]})
    known = pairs[other].notnull()
    return pairs.group_by(column).aggregate(
        **_sums(pairs),
        **{
            count: pairs[other].count().cast("int64"),
            f"{top}_id": pairs[other].argmax(busier, where=known),
            f"{top}_events": pairs["events"].max(where=known),
        },
    )


def _sums(parts: Table) -> dict[str, Value]:
    measures: dict[str, Value] = {name: parts[name].sum().cast("int64") for name in SUMS}
    for name in ("time", "ns", "sequence"):
        measures[f"first_{name}"] = parts[f"first_{name}"].min()
        measures[f"last_{name}"] = parts[f"last_{name}"].max()
    return measures


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
