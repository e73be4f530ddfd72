"""Per key: how much happened to it, by how many, and when."""

import ibis
from ibis.expr.types import Table

from analysis.folding import folded
from analysis.marks import added, failure, marked
from tracer.errors import UsageError
from tracer.operations import find_operations
from tracer.statuses import NOT_SUCCESS

__all__ = ["SORTS", "key_summary", "sort_keys"]

# word -> (column, largest first)
SORTS = {
    "events": ("events", True),
    "reads": ("reads", True),
    "writes": ("writes", True),
    "opens": ("opens", True),
    "created": ("created", True),
    "failures": ("failures", True),
    "errors": ("failures", True),
    "processes": ("processes", True),
    "values": ("values", True),
    "bytes_written": ("bytes_written", True),
    "first_time": ("first_time", False),
    "last_time": ("last_time", True),
    "key": ("display_key", False),
}


def key_summary(events: Table, keys: Table) -> Table:
    """Return one row per key that `events` touch; spellings of one key (`keys.same_as`) are one row.

    Columns: key, display_key, key_id; events (rows); reads, opens (OpenKey and CreateKey), writes (changes
    other than CreateKey), each tried or done; created (creates that made the key); failures
    (`tracer.statuses.is_failure`); processes and values (how many different ones; value names without
    regard to case); bytes_written (by successful SetValueKey; NULL where no size is known); first_time and
    last_time. Rows of operations without a key are left out. Rows are in no order.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
    """
    groups = keys.select(grouped_id="key_id", same_as="same_as")
    names = keys.select(named_id="key_id", key="path", display_key="display_path")
    rows = marked(
        events.select("key_id", "operation", "status", "disposition", "data_size", "time"),
        reads=find_operations("read"),
        opens=("OpenKey", "CreateKey"),
        writes=[name for name in find_operations("write") if name != "CreateKey"],
        creates=("CreateKey",),
        sets=("SetValueKey",),
    )
    done = ibis.ifelse(rows["status"] < NOT_SUCCESS, rows["data_size"], None)
    parts = rows.group_by("key_id").aggregate(
        events=rows.count(),
        reads=added(rows["reads"]),
        opens=added(rows["opens"]),
        writes=added(rows["writes"]),
        created=added(ibis.ifelse(rows["disposition"] == 1, rows["creates"], 0)),
        failures=added(failure(rows["status"])),
        bytes_written=ibis.ifelse(rows["sets"] == 1, done, None).sum().cast("int64"),
        first_time=rows["time"].min(),
        last_time=rows["time"].max(),
    )
    parts = parts.inner_join(groups, parts["key_id"] == groups["grouped_id"])
    sums = ("events", "reads", "opens", "writes", "created", "failures", "bytes_written")
    summary = parts.group_by("same_as").aggregate(
        **{name: parts[name].sum().cast("int64") for name in sums},
        first_time=parts["first_time"].min(),
        last_time=parts["last_time"].max(),
    )
    pairs = events.select("key_id", "process_id").distinct()
    pairs = pairs.inner_join(groups, pairs["key_id"] == groups["grouped_id"])
    pairs = pairs.group_by(used_id="same_as").aggregate(processes=pairs["process_id"].nunique())
    summary = summary.inner_join(pairs, summary["same_as"] == pairs["used_id"])
    of_values = events.filter(events["value_name"].notnull()).select("key_id", "value_name").distinct()
    of_values = of_values.inner_join(groups, of_values["key_id"] == groups["grouped_id"])
    of_values = of_values.group_by(valued_id="same_as").aggregate(
        values=folded(of_values["value_name"]).nunique()
    )
    summary = summary.left_join(of_values, summary["same_as"] == of_values["valued_id"])
    summary = summary.mutate(values=summary["values"].fill_null(0))
    named = summary.inner_join(names, summary["same_as"] == names["named_id"])
    return named.select(
        "key",
        "display_key",
        "events",
        "reads",
        "opens",
        "writes",
        "created",
        "failures",
        "processes",
        "values",
        "bytes_written",
        "first_time",
        "last_time",
        key_id="same_as",
    )


def sort_keys(summary: Table, sort: str) -> Table:
    """Return a key summary in a stated order, ties by path.

    Raises:
        UsageError: there is no such order.
    """
    if sort not in SORTS:
        raise UsageError(f"keys cannot be sorted by {sort!r}: the orders are {', '.join(SORTS)}")
    column, largest_first = SORTS[sort]
    order = [summary[column].desc() if largest_first else summary[column]]
    order += [summary[tie] for tie in ("display_key", "key_id") if tie != column]
    return summary.order_by(*order)
