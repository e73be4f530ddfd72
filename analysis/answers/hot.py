"""The busiest keys, processes, stretches of time, operations or results; storms are in `analysis.answers.storms`."""

import ibis
from ibis.expr.types import Table

from analysis.answers.counts import COUNTED, counted, measured, named_keys, named_processes
from analysis.answers.words import HOT_BY, HOT_SORTS, check_width, check_word
from analysis.expressions.events_view import named_status
from analysis.expressions.operation_counters import unless_unclear
from analysis.expressions.time_math import SECOND_NS, moment

__all__ = ["busiest_first", "hot", "measures_by"]


_KEY = ("top_key", "top_key_events")
_PROCESS = ("top_process", "top_pid", "top_process_events")
_FIRST = {
    "key": ("display_key",),
    "process": ("process", "pid"),
    "second": ("time", "time_ns"),
    "operation": ("operation",),
    "status": ("status_name", "status"),
}


def hot(
    events: Table,
    keys: Table,
    processes: Table,
    *,
    by: str,
    every_ns: int = SECOND_NS,
    sort: str = "events",
    usage: Table | None = None,
) -> Table:
    """Return one row per key, process, stretch of time, operation or status, the busiest first.

    Columns, after those that say what the row is of:

    * key: display_key (spellings of one key, `keys.same_as`, are one row); operations without a key are left
      out;
    * process: process and pid, NULL where unknown;
    * second: time, time_ns: beginning of a stretch of `every_ns`; stretches are aligned to 1970, so whole
      seconds are seconds of UTC; those in which nothing happened have no row;
    * operation: operation;
    * status: status_name and status, NULL where the source has none.

    events (rows); share, of all rows given; per_second: events by the width of a stretch, else by the time
    between the first and the last of them, NULL where that is 0; the other counts of
    `analysis.answers.counts.counts`, NULL where nobody could count (`analysis.expressions.operation_counters.unless_unclear`);
    keys and processes (how many different ones; without the column that the row is of); bytes_read and bytes_written: sizes of what successful reads
    returned and successful SetValueKey wrote, NULL where no size is known; time_spent_ns: sum of the
    operations' durations, NULL where the source has none; first_time, last_time; top_key and
    top_key_events: the key with most of these events, and how many; top_process, top_pid and
    top_process_events likewise, the earlier first where several have as many. Then ids: key_id (of the
    group), process_id, top_key_id, top_process_id, first_sequence, last_sequence.

    Ties are broken by first_sequence.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        processes: the table `processes`.
        by: a word of HOT_BY.
        every_ns: width of a stretch of time, nanoseconds; whole microseconds.
        sort: a word of HOT_SORTS.
        usage: the rows of the table `usage` that sum up just these events, where there are such.

    Raises:
        UsageError: there is no such word, or the width is not a number of microseconds.
    """
    check_word(sort, HOT_SORTS, "order")
    return busiest_first(measures_by(events, keys, processes, by=by, every_ns=every_ns, usage=usage), sort)


def measures_by(
    events: Table,
    keys: Table,
    processes: Table,
    *,
    by: str,
    every_ns: int = SECOND_NS,
    usage: Table | None = None,
) -> Table:
    """Return the rows of `hot` in no order; the arguments are those of `hot`.

    Raises:
        UsageError: there is no such word, or the width is not a number of microseconds.
    """
    check_word(by, HOT_BY, "grouping")
    check_width(every_ns)
    column = HOT_BY[by]
    groups = measured(events, keys, column, every_ns=every_ns, usage=usage)
    if by != "key":
        of_keys = counted(events, keys, column, "group_id", every_ns=every_ns)
        groups = _with_top(groups, of_keys, column, "group_id", count="keys", top="top_key")
    if by != "process":
        of_processes = counted(events, keys, column, "process_id", every_ns=every_ns)
        groups = _with_top(groups, of_processes, column, "process_id", count="processes", top="top_process")
    everything = groups["events"].sum().over(ibis.window()).cast("float64")
    groups = groups.mutate(share=groups["events"].cast("float64") / everything)
    if by != "key":
        groups = named_keys(groups, keys, "top_key_id", name="top_key")
    if by != "process":
        groups = named_processes(groups, processes, "top_process_id", process="top_process", pid="top_pid")
    width = ibis.literal(every_ns, "int64")
    span = width if by == "second" else groups["last_ns"] - groups["first_ns"]
    groups = groups.mutate(per_second=groups["events"] * float(SECOND_NS) / span.nullif(0).cast("float64"))
    counts: tuple[str, ...] = ("keys", "processes")
    tops: tuple[str, ...] = (*_KEY, *_PROCESS)
    ids = ("top_key_id", "top_process_id")
    if by == "key":
        groups = named_keys(groups.filter(groups["group_id"].notnull()), keys, "group_id", name="display_key")
        groups = groups.rename(key_id="group_id")
        counts, tops, ids = ("processes",), _PROCESS, ("key_id", "top_process_id")
    elif by == "process":
        groups = named_processes(groups, processes, "process_id", process="process", pid="pid")
        counts, tops, ids = ("keys",), _KEY, ("process_id", "top_key_id")
    elif by == "second":
        time = moment(groups["bucket_ns"]).cast(groups["first_time"].type())
        groups = groups.rename(time_ns="bucket_ns").mutate(time=time)
    elif by == "status":
        groups = groups.mutate(status_name=named_status(groups["status"]))
    return unless_unclear(groups).select(
        *_FIRST[by], "events", "share", "per_second", *COUNTED, "failures", "not_found",
        *counts, "bytes_read", "bytes_written", "time_spent_ns", "first_time", "last_time", *tops, *ids,
        "first_sequence", "last_sequence",
    )  # fmt: skip


def busiest_first(groups: Table, sort: str) -> Table:
    """Return the rows of `hot` in an order of HOT_SORTS."""
    first = groups[sort].asc() if sort == "first_time" else groups[sort].desc()
    return groups.order_by(first, groups["first_sequence"])


def _with_top(groups: Table, pairs: Table, column: str, other: str, *, count: str, top: str) -> Table:
    """Return the table with the top of the other column, from `pairs`: events counted by both columns.

    In columns of these names: `count`, how many different ones; `top`_id and `top`_events, the one with most events
    and how many, the earlier where several have as many.
    """
    pairs = pairs.filter(pairs[other].notnull())
    busier = ibis.struct({"events": pairs["events"], "earlier": -pairs["first_sequence"]})
    tops = pairs.group_by(top_of=column).aggregate(
        **{
            count: pairs[other].count().cast("int64"),
            f"{top}_id": pairs[other].argmax(busier),
            f"{top}_events": pairs["events"].max(),
        }
    )
    groups = groups.left_join(tops, groups[column].identical_to(tops["top_of"])).drop("top_of")
    return groups.mutate(**{count: groups[count].fill_null(0)})
