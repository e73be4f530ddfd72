"""Sums per key: operations, processes and times."""

from ibis.expr.types import Table

from analysis.answers.counts import COUNTED, grouped, measured
from analysis.answers.words import KEY_SORTS, check_word
from analysis.expressions.folding import folded
from analysis.expressions.operation_counters import unless_unclear

__all__ = ["key_summary", "sort_keys"]


def key_summary(events: Table, keys: Table, usage: Table | None = None) -> Table:
    """Return one row per key that `events` touch; spellings of one key (`keys.same_as`) are one row.

    Columns: key, display_key, key_id; the counts of `analysis.answers.counts.counts`, NULL where nobody
    could count (`analysis.expressions.operation_counters.unless_unclear`); processes and values (how many different ones; value names
    without regard to case); bytes_written (by successful SetValueKey; NULL where no size is known);
    first_time and last_time. Rows of operations without a key are left out. Rows are in no order.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        usage: the rows of the table `usage` that sum up just these events, where there are such.
    """
    names = keys.select(named_id="key_id", key="path", display_key="display_path")
    summary = measured(events, keys, "group_id", usage=usage)
    pairs = grouped(events.select("key_id", "process_id").distinct(), keys)
    pairs = pairs.group_by(used_id="group_id").aggregate(processes=pairs["process_id"].nunique())
    summary = summary.inner_join(pairs, summary["group_id"] == pairs["used_id"])
    of_values = events.filter(events["value_name"].notnull()).select("key_id", "value_name").distinct()
    of_values = grouped(of_values, keys)
    of_values = of_values.group_by(valued_id="group_id").aggregate(
        values=folded(of_values["value_name"]).nunique()
    )
    summary = summary.left_join(of_values, summary["group_id"] == of_values["valued_id"])
    summary = summary.mutate(values=summary["values"].fill_null(0))
    groups = unless_unclear(summary.inner_join(names, summary["group_id"] == names["named_id"]))
    return groups.select(
        "key",
        "display_key",
        "events",
        *COUNTED,
        "failures",
        "not_found",
        "processes",
        "values",
        "bytes_written",
        "first_time",
        "last_time",
        key_id="group_id",
    )


def sort_keys(summary: Table, sort: str) -> Table:
    """Return a key summary in a stated order, ties by path.

    Raises:
        UsageError: there is no such order.
    """
    check_word(sort, KEY_SORTS, "order")
    column, largest_first = KEY_SORTS[sort]
    order = [summary[column].desc() if largest_first else summary[column]]
    order += [summary[tie] for tie in ("display_key", "key_id") if tie != column]
    return summary.order_by(*order)
