"""Storms of misses: runs in which one process asks again and again for what is not there."""

import ibis
from ibis.expr.types import Table

from analysis.answers.cells import NAME_NOT_FOUND, named_keys, named_processes
from analysis.folding import folded
from analysis.nanoseconds import SECOND_NS

__all__ = ["storms"]


def storms(
    events: Table, keys: Table, processes: Table, *, gap_ns: int = SECOND_NS, least: int = 20
) -> Table:
    """Return one row per storm, the one with most misses first, ties by first_sequence.

    A miss is an operation that ended with STATUS_OBJECT_NAME_NOT_FOUND: of a key that was to be opened, or
    of a value. A storm is a run of misses by one process, in order of `sequence`, in which each comes at most
    `gap_ns` after the one before it, and which has at least `least` of them. Misses of which the process is
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
        least: the fewest misses of a storm.
    """
    misses = events.filter(events["status"] == NAME_NOT_FOUND, events["process_id"].notnull())
    misses = misses.select("sequence", "time", "time_ns", "process_id", "key_id", "value_name")
    in_order = ibis.window(group_by="process_id", order_by="sequence")
    before = misses["time_ns"].lag().over(in_order)
    begins = (before.isnull() | (misses["time_ns"] - before > gap_ns)).cast("int64")
    misses = misses.mutate(begins=begins)
    so_far = ibis.window(group_by="process_id", order_by="sequence", rows=(None, 0))
    misses = misses.mutate(storm=misses["begins"].sum().over(so_far).cast("int64"))
    groups = keys.select(grouped_id="key_id", group_id="same_as")
    misses = misses.left_join(groups, misses["key_id"] == groups["grouped_id"])
    misses = misses.mutate(folded_value=folded(misses["value_name"]))
    names = misses.group_by("process_id", "storm", "group_id", "folded_value").aggregate(
        misses=misses.count().cast("int64"),
        first_time=misses["time"].min(),
        last_time=misses["time"].max(),
        first_ns=misses["time_ns"].min(),
        last_ns=misses["time_ns"].max(),
        first_sequence=misses["sequence"].min(),
        last_sequence=misses["sequence"].max(),
    )
    found = names.group_by("process_id", "storm").aggregate(
        misses=names["misses"].sum().cast("int64"),
        keys=names["group_id"].nunique().cast("int64"),
        names=names.count().cast("int64"),
        first_time=names["first_time"].min(),
        last_time=names["last_time"].max(),
        lasted_ns=names["last_ns"].max() - names["first_ns"].min(),
        first_sequence=names["first_sequence"].min(),
        last_sequence=names["last_sequence"].max(),
    )
    found = found.filter(found["misses"] >= least)
    found = _with_top_key(found, names)
    found = named_keys(found, keys, "top_key_id", name="top_key")
    found = named_processes(found, processes, "process_id", process="process", pid="pid")
    seconds = found["lasted_ns"].nullif(0).cast("float64") / float(SECOND_NS)
    found = found.mutate(per_second=found["misses"] / seconds)
    return found.order_by(found["misses"].desc(), found["first_sequence"]).select(
        "process", "pid", "misses", "keys", "names", "per_second", "lasted_ns", "first_time", "last_time",
        "top_key", "top_key_misses", "process_id", "top_key_id", "first_sequence", "last_sequence",
    )  # fmt: skip


def _with_top_key(found: Table, names: Table) -> Table:
    of_keys = names.filter(names["group_id"].notnull())
    of_keys = of_keys.group_by("process_id", "storm", "group_id").aggregate(
        top_key_misses=of_keys["misses"].sum().cast("int64"), since=of_keys["first_sequence"].min()
    )
    order = [of_keys["top_key_misses"].desc(), of_keys["since"].asc()]
    place = ibis.row_number().over(ibis.window(group_by=["process_id", "storm"], order_by=order))
    best = of_keys.mutate(place=place)
    best = best.filter(best["place"] == 0).select(
        best_process="process_id", best_storm="storm", top_key_id="group_id", top_key_misses="top_key_misses"
    )
    same = [found["process_id"] == best["best_process"], found["storm"] == best["best_storm"]]
    return found.left_join(best, same).drop("best_process", "best_storm")
