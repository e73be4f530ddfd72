"""Per key: how much happened to it, by how many, and when."""

from ibis.expr.types import Table

from analysis.events import is_failure
from analysis.folding import folded
from tracer.errors import UsageError
from tracer.operations import find_operations

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
    # Summed up by key and process first: that leaves few rows for what costs more.
    operation, status = events["operation"], events["status"]
    writes = [name for name in find_operations("write") if name != "CreateKey"]
    written = (operation == "SetValueKey") & (status < 0x80000000)
    parts = events.group_by("key_id", "process_id").aggregate(
        events=events.count(),
        reads=events.count(where=operation.isin(find_operations("read"))),
        opens=events.count(where=operation.isin(["OpenKey", "CreateKey"])),
        writes=events.count(where=operation.isin(writes)),
        created=events.count(where=(operation == "CreateKey") & (events["disposition"] == 1)),
        failures=events.count(where=is_failure(status)),
        bytes_written=events["data_size"].sum(where=written),
        first_time=events["time"].min(),
        last_time=events["time"].max(),
    )
    parts = parts.inner_join(groups, parts["key_id"] == groups["grouped_id"])
    sums = ("events", "reads", "opens", "writes", "created", "failures", "bytes_written")
    summary = parts.group_by("same_as").aggregate(
        **{name: parts[name].sum().cast("int64") for name in sums},
        processes=parts["process_id"].nunique(),
        first_time=parts["first_time"].min(),
        last_time=parts["last_time"].max(),
    )
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
