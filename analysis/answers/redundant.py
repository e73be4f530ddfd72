"""Reads that a process repeats though nothing changed since, and those it repeats by the clock: polling."""

import ibis
from ibis.expr.types import Table, Value

from analysis.answers.counts import named_keys, named_processes
from analysis.answers.evidence import lost_between
from analysis.answers.read_runs import QUESTION, nameless_changes, read_runs
from analysis.answers.reads import LEAST_INTERVALS, MISSES
from analysis.expressions.events_view import named_status
from analysis.expressions.time_math import SECOND_NS, moment
from tracer.registry.ntstatus import NOT_SUCCESS, TOO_SHORT

__all__ = [
    "LEAST_INTERVALS",
    "LEAST_PERIOD_NS",
    "MOST_SPREAD",
    "named_sums",
    "redundant",
    "redundant_reads",
    "unsure_times",
]

MOST_SPREAD = 0.1
LEAST_PERIOD_NS = 10_000_000  # timers of Windows tick every 15.6 ms, or a little faster; shorter is a loop


def redundant(
    rows: Table,
    events: Table,
    keys: Table,
    processes: Table,
    losses: Table,
    *,
    width_ns: int,
    min_count: int = 1,
    polling: bool = False,
    repeated: bool = False,
) -> Table:
    """Return the rows of `redundant_reads` about some reads of a capture.

    Args:
        rows: stored or joined event rows: those asked for.
        events: all of them.
        keys: the table `keys`.
        processes: the table `processes`.
        losses: the table `losses`.
        width_ns: times of changes that nobody could name and that are no further apart are one, nanoseconds.
        min_count: as of `redundant_reads`.
        polling: likewise.
        repeated: whether `min_count` is above 0: what was asked once is then left out from the beginning.
    """
    unsure = unsure_times(events, keys, losses, width_ns=width_ns)
    reads = read_runs(rows, events, keys, repeated=repeated)
    return redundant_reads(reads, keys, processes, unsure, min_count=min_count, polling=polling)


def unsure_times(events: Table, keys: Table, losses: Table, *, width_ns: int) -> Table:
    """Return the times in which changes may have been missed, as rows of the table `losses`; arguments as of `redundant`."""
    # Time before the names were read counts as a loss: what was written then may have no name.
    lost = losses.select("from_ns", "to_ns", kind=ibis.literal("events"))
    return lost.union(nameless_changes(events, keys, width_ns=width_ns))


def redundant_reads(
    reads: Table, keys: Table, processes: Table, unsure: Table, *, min_count: int = 1, polling: bool = False
) -> Table:
    """Return one row per process, question and result; the one with most redundant reads first.

    Reads are identical where one process asks the same of the same key with the same result: operation,
    value name, index and information class (NULL where the source does not say, and then not compared),
    and status. They fall into runs between which nothing changed (`analysis.answers.read_runs`); of each
    run all reads but the first are redundant. Misses, and other failures, are counted likewise.

    Columns:

    * display_key, value_name (as first spelled; NULL where a key is asked), operation, information_class,
      index; process, pid; status_name, status;
    * reads, runs, redundant (reads less runs);
    * unproved: those of the redundant reads in whose run a change may have been missed, because events were
      lost, names were not yet known, an object that nobody could name was written through, or a hive or a
      key above was replaced; or in which the name of a read is ambiguous; proved: there are none;
    * result_changed: a run contradicts itself: other data was returned though no change was seen, or what
      was there was missing; False as far as is known;
    * per_second: reads by the time from the first to the last; NULL where that is 0;
    * time_spent_ns: sum of the redundant reads' durations, NULL where the source has none; bytes: sum of the
      sizes they returned, NULL where none is known;
    * interval_ns: the median time between one read and the next (rounded down), spread: the median distance
      of these times from their median, as a share of it; NULL for fewer than LEAST_INTERVALS of them, and
      spread where the median is 0;
    * polling: whether the spread is at most MOST_SPREAD, and the interval at least LEAST_PERIOD_NS;
      period_ns: interval_ns where it is, else NULL;
    * first_time, last_time; key_id (of the group), process_id, first_sequence, last_sequence.

    Args:
        reads: rows of `read_runs`.
        keys: the table `keys`.
        processes: the table `processes`.
        unsure: times in which changes may have been missed, as in the table `losses`.
        min_count: the fewest redundant reads of a row; 0: also what was never asked twice.
        polling: only what is polled.
    """
    question = ["question", "status"]
    in_order = ibis.window(group_by=question, order_by="sequence")
    rows = reads.mutate(
        # In this order the smallest so far is the first: one number for a question and its result.
        group=reads["sequence"]
        .min()
        .over(ibis.window(group_by=question, order_by="sequence", rows=(None, 0))),
        before_ns=reads["time_ns"].lag().over(in_order),
        again=(reads["run"].lag().over(in_order) == reads["run"]).fill_null(False),
    )
    waited = rows["time_ns"] - rows["before_ns"]
    rows = rows.mutate(waited_ns=ibis.ifelse(waited < 0, ibis.literal(0, "int64"), waited))
    groups = _summed(_runs(rows, unsure))
    groups = groups.filter(groups["redundant"] >= min_count)
    return _named(_with_intervals(groups, rows), keys, processes, polling=polling)


def named_sums(
    sums: Table, keys: Table, processes: Table, *, min_count: int = 1, polling: bool = False
) -> Table:
    """Return the rows of `redundant_reads` from the sums of `analysis.answers.sorted_reads`; arguments likewise."""
    groups = sums.filter(sums["redundant"] >= min_count)
    groups = groups.mutate(
        group_id=groups["group_id"].cast(keys["same_as"].type()),
        process_id=groups["process_id"].cast(processes["process_id"].type()),
        first_time=moment(groups["first_ns"]),
        last_time=moment(groups["last_ns"]),
    )
    return _named(groups, keys, processes, polling=polling)


def _named(groups: Table, keys: Table, processes: Table, *, polling: bool) -> Table:
    """Return the sums of questions and statuses as the answer."""
    is_polled = (groups["spread"] <= MOST_SPREAD) & (groups["interval_ns"] >= LEAST_PERIOD_NS)
    is_polled = is_polled.fill_null(False)
    groups = groups.mutate(
        polling=is_polled, period_ns=ibis.ifelse(is_polled, groups["interval_ns"], ibis.null("int64"))
    )
    if polling:
        groups = groups.filter(groups["polling"])
    groups = named_keys(groups, keys, "group_id", name="display_key")
    groups = named_processes(groups, processes, "process_id", process="process", pid="pid")
    seconds = (groups["last_ns"] - groups["first_ns"]).nullif(0).cast("float64") / float(SECOND_NS)
    groups = groups.mutate(
        per_second=groups["reads"] / seconds,
        status_name=named_status(groups["status"]),
        proved=groups["unproved"] == 0,
    )
    return groups.order_by(groups["redundant"].desc(), groups["reads"].desc(), groups["first_sequence"]).select(
        "display_key", "value_name", "operation", "information_class", "index", "process", "pid", "status_name",
        "status", "reads", "runs", "redundant", "proved", "unproved", "result_changed", "per_second",
        "time_spent_ns", "bytes", "interval_ns", "spread", "polling", "period_ns", "first_time", "last_time",
        "process_id", "first_sequence", "last_sequence", key_id="group_id",
    )  # fmt: skip


def _runs(rows: Table, unsure: Table) -> Table:
    """Return one row per run of one question and one status."""
    again = rows["again"]
    runs = rows.group_by("group", "run").aggregate(
        **_same_in_all(rows),
        reads=rows.count().cast("int64"),
        redundant=rows.count(where=again).cast("int64"),
        value_name=rows["value_name"].argmin(rows["sequence"]),
        other_content=(rows["content"].min() != rows["content"].max()).fill_null(False),
        other_size=(rows["size"].min() != rows["size"].max()).fill_null(False),
        unclear=(rows["unclear"].min() != rows["unclear"].max()) | rows["ambiguous"].any(),
        time_spent_ns=rows["duration_ns"].sum(where=again).cast("int64"),
        bytes=rows["data_size"].sum(where=again).cast("int64"),
        first_time=rows["time"].min(),
        last_time=rows["time"].max(),
        first_ns=rows["time_ns"].min(),
        last_ns=rows["time_ns"].max(),
        first_sequence=rows["sequence"].min(),
        last_sequence=rows["sequence"].max(),
    )
    there = (runs["status"] < NOT_SUCCESS) | runs["status"].isin(TOO_SHORT)
    missing = runs["status"].isin(MISSES)
    results = runs.group_by(mixed_run="run", mixed_question="question").aggregate(
        there=there.any(), missing=missing.any()
    )
    mixed = results.filter(results["there"] & results["missing"]).drop("there", "missing")
    both = (there | missing).fill_null(False)
    runs = runs.mutate(changed=runs["other_content"] | runs["other_size"], both=both)
    runs = runs.left_join(
        mixed, [runs["run"] == mixed["mixed_run"], runs["question"] == mixed["mixed_question"]]
    )
    result_changed = runs["changed"] | (runs["both"] & runs["mixed_run"].notnull())
    runs = runs.mutate(result_changed=result_changed).drop("mixed_run", "mixed_question", "changed", "both")
    return lost_between(runs, unsure, after="first_ns", before="last_ns", name="lossy")


def _same_in_all(rows: Table) -> dict[str, Value]:
    """Return the columns that are the same in all rows of a group: group by few numbers, which is quick."""
    return {name: rows[name].arbitrary() for name in ("question", *QUESTION, "status")}


def _summed(runs: Table) -> Table:
    """Return one row per question and status."""
    unproved = ibis.ifelse(runs["lossy"] | runs["unclear"], runs["redundant"], ibis.literal(0, "int64"))
    return runs.group_by("group").aggregate(
        **_same_in_all(runs),
        reads=runs["reads"].sum().cast("int64"),
        runs=runs.count().cast("int64"),
        redundant=runs["redundant"].sum().cast("int64"),
        unproved=unproved.sum().cast("int64"),
        result_changed=runs["result_changed"].any(),
        value_name=runs["value_name"].argmin(runs["first_sequence"]),
        time_spent_ns=runs["time_spent_ns"].sum().cast("int64"),
        bytes=runs["bytes"].sum().cast("int64"),
        first_time=runs["first_time"].min(),
        last_time=runs["last_time"].max(),
        first_ns=runs["first_ns"].min(),
        last_ns=runs["last_ns"].max(),
        first_sequence=runs["first_sequence"].min(),
        last_sequence=runs["last_sequence"].max(),
    )


def _with_intervals(groups: Table, rows: Table) -> Table:
    """Return the groups with what is known of the time between their reads."""
    many = groups.filter(groups["reads"] > LEAST_INTERVALS).select("group")
    waits = rows.filter(rows["waited_ns"].notnull()).select("group", "waited_ns").semi_join(many, "group")
    # Two middle numbers may make half a nanosecond: as floats, which hold months exactly.
    middle = waits.group_by("group").aggregate(median=waits["waited_ns"].median().cast("float64"))
    away = waits.inner_join(middle, "group")
    away = away.mutate(distance=(away["waited_ns"].cast("float64") - away["median"]).abs())
    spreads = away.group_by("group").aggregate(
        median=away["median"].min(), distance=away["distance"].median().cast("float64")
    )
    spreads = spreads.select(
        of_group="group",
        interval_ns=spreads["median"].floor().cast("int64"),
        spread=spreads["distance"] / spreads["median"].nullif(0.0),
    )
    return groups.left_join(spreads, groups["group"] == spreads["of_group"]).drop("of_group")
