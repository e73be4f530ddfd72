"""Storms of misses: runs in which one process looks again and again for missing keys and values."""

import ibis
from ibis.expr.types import Table

from analysis.answers.counts import grouped, named_keys, named_processes
from analysis.expressions.folding import folded
from analysis.expressions.time_math import SECOND_NS, moment, rest
from tracer.registry.ntstatus import NAME_NOT_FOUND

__all__ = ["storms"]


def storms(
    events: Table, keys: Table, processes: Table, *, gap_ns: int = SECOND_NS, min_count: int = 20
) -> Table:
    """Return one row per storm, the one with most misses first, ties by first_sequence.

    A miss is an operation that ended with STATUS_OBJECT_NAME_NOT_FOUND: of a key that was to be opened, or
    of a value. A storm is a run of misses by one process, in order of time, in which each comes at most
    `gap_ns` after the one before it, and which has at least `min_count` of them. Misses of which the process is
    not known belong to no storm.

    Columns: process, pid (NULL where unknown); misses; keys (how many different keys were missed, or had a
    value missed); names (how many different keys and values: as many as misses where nothing was asked for
    twice); per_second (misses by lasted_ns; NULL where that is 0); lasted_ns, first_time, last_time (of
    the first and the last miss); top_key and top_key_misses: the key with most of the misses, itself or its
    values, the one missed earlier where several have as many. Then process_id, top_key_id, first_sequence,
    last_sequence.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        processes: the table `processes`.
        gap_ns: the longest time between two misses of a storm, nanoseconds.
        min_count: the fewest misses of a storm.
    """
    misses = events.filter(events["status"] == NAME_NOT_FOUND, events["process_id"].notnull())
    # Misses of one stretch of time, no longer than the gap, are of one storm: only stretches have to be put in order.
    stretch_ns = misses["time_ns"] - rest(misses["time_ns"], max(gap_ns, 1))
    misses = misses.select("sequence", "time_ns", "process_id", "key_id", "value_name", stretch_ns=stretch_ns)
    stretches = _stretches(misses, gap_ns, min_count)
    groups = stretches.group_by("storm").aggregate(
        process_id=stretches["process_id"].min(),
        misses=stretches["misses"].sum().cast("int64"),
        **_spans(stretches),
    )
    places = stretches.select("process_id", "stretch_ns", "storm")
    rows = grouped(misses, keys)
    # Those of no storm fall out at the end: told sooner, engines would think that hardly any row is left.
    rows = rows.left_join(places, ["process_id", "stretch_ns"])
    rows = rows.select("storm", "group_id", "value_name", "sequence")
    of_keys = rows.group_by("storm", "group_id").aggregate(
        misses=rows.count().cast("int64"),
        nameless=ibis.ifelse(rows["value_name"].isnull(), 1, 0).max(),  # the key itself was missed
        first_sequence=rows["sequence"].min(),
    )
    has_key = of_keys["group_id"].notnull()
    most = ibis.struct({"misses": of_keys["misses"], "earlier": -of_keys["first_sequence"]})
    tops = of_keys.group_by(top_storm="storm").aggregate(
        keys=of_keys["group_id"].count().cast("int64"),
        missed_keys=of_keys["nameless"].sum().cast("int64"),
        top_key_id=of_keys["group_id"].argmax(most, where=has_key),
        top_key_misses=of_keys["misses"].max(where=has_key),
    )
    of_values = rows.filter(rows["value_name"].notnull())
    of_values = of_values.select("storm", "group_id", folded_value=folded(of_values["value_name"])).distinct()
    of_values = of_values.group_by(named_storm="storm").aggregate(
        missed_values=of_values.count().cast("int64")
    )
    groups = groups.inner_join(tops, groups["storm"] == tops["top_storm"])
    groups = groups.left_join(of_values, groups["storm"] == of_values["named_storm"])
    groups = groups.mutate(names=groups["missed_keys"] + groups["missed_values"].fill_null(0))
    ends = {name: moment(groups[f"{name}_ns"]).cast(events["time"].type()) for name in ("first", "last")}
    groups = groups.mutate(
        lasted_ns=groups["last_ns"] - groups["first_ns"], first_time=ends["first"], last_time=ends["last"]
    )
    groups = named_keys(groups, keys, "top_key_id", name="top_key")
    groups = named_processes(groups, processes, "process_id", process="process", pid="pid")
    seconds = groups["lasted_ns"].nullif(0).cast("float64") / float(SECOND_NS)
    groups = groups.mutate(per_second=groups["misses"] / seconds)
    return groups.order_by(groups["misses"].desc(), groups["first_sequence"]).select(
        "process", "pid", "misses", "keys", "names", "per_second", "lasted_ns", "first_time", "last_time",
        "top_key", "top_key_misses", "process_id", "top_key_id", "first_sequence", "last_sequence",
    )  # fmt: skip


def _stretches(misses: Table, gap_ns: int, min_count: int) -> Table:
    """Return the stretches of storms: process_id, stretch_ns, storm (its number), misses, ends."""
    stretches = misses.group_by("process_id", "stretch_ns").aggregate(
        misses=misses.count().cast("int64"),
        first_ns=misses["time_ns"].min(),
        last_ns=misses["time_ns"].max(),
        first_sequence=misses["sequence"].min(),
        last_sequence=misses["sequence"].max(),
    )
    in_order = ibis.window(group_by="process_id", order_by="stretch_ns")
    before = stretches["last_ns"].lag().over(in_order)
    begins = (before.isnull() | (stretches["first_ns"] - before > gap_ns)).cast("int64")
    stretches = stretches.mutate(begins=begins)
    so_far = ibis.window(group_by="process_id", order_by="stretch_ns", rows=(None, 0))
    stretches = stretches.mutate(place=stretches["begins"].sum().over(so_far).cast("int64"))
    of_storm = ibis.window(group_by=["process_id", "place"])
    stretches = stretches.mutate(
        of_storm=stretches["misses"].sum().over(of_storm),
        storm=stretches["first_sequence"].min().over(of_storm),
    )
    return stretches.filter(stretches["of_storm"] >= min_count)


def _spans(parts: Table) -> dict[str, ibis.Value]:
    """Return the first and the last end of several parts."""
    firsts = {name: parts[name].min() for name in ("first_ns", "first_sequence")}
    return firsts | {name: parts[name].max() for name in ("last_ns", "last_sequence")}
