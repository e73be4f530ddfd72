"""The time that programs spend in the registry: in all, and by how long operations take."""

import ibis
from ibis.expr.types import Table

from analysis.expressions.folding import folded
from tracer.registry.ntstatus import NAME_NOT_FOUND

__all__ = ["EDGES_NS", "durations", "misses", "time_spent"]

# A new class of durations begins at each: half a decade is as fine as a page can show.
EDGES_NS = (0, *(step * 10**power for power in range(3, 10) for step in (1, 3)))

_LAST = r"\\[^\\]*$"  # the last component of a path


def time_spent(events: Table) -> Table:
    """Return one row about the time of some operations; of none, NULL but for the counts.

    Columns: events; timed (operations whose duration is known); first_ns and
    last_ns (UTC nanoseconds): when the first began and the last ended, as far as durations are known, else when it was
    recorded; time_spent_ns: sum of the durations; busy_ns: time in which at least one of them ran, which counts once
    what several threads spend at once; not_found: those that ended with OBJECT_NAME_NOT_FOUND, not_found_ns: the sum of
    their durations. Sums of durations are NULL where the source has none.

    Args:
        events: stored event rows.
    """
    rows = events.select("sequence", "time_ns", "process_id", "thread_id", "status", "duration_ns")
    rows = rows.mutate(end_ns=rows["time_ns"] + rows["duration_ns"].fill_null(0))
    in_order, so_far = (
        ibis.window(order_by=["time_ns", "sequence"], rows=rows_) for rows_ in (None, (None, 0))
    )
    rows = rows.mutate(covered_ns=rows["end_ns"].max().over(so_far))
    # What began while an earlier one ran adds only what is later than the end of that.
    rows = rows.mutate(earlier_ns=rows["covered_ns"].lag().over(in_order))
    earlier = rows["earlier_ns"].fill_null(rows["time_ns"])
    added = ibis.greatest(rows["end_ns"] - ibis.greatest(rows["time_ns"], earlier), ibis.literal(0, "int64"))
    rows = rows.mutate(added_ns=ibis.ifelse(rows["duration_ns"].isnull(), ibis.null("int64"), added))
    missed = rows["status"] == NAME_NOT_FOUND
    return rows.aggregate(
        events=rows.count().cast("int64"),
        timed=rows["duration_ns"].count().cast("int64"),
        first_ns=rows["time_ns"].min(),
        last_ns=rows["end_ns"].max(),
        time_spent_ns=rows["duration_ns"].sum().cast("int64"),
        busy_ns=rows["added_ns"].sum().cast("int64"),
        not_found=rows.count(where=missed).cast("int64"),
        not_found_ns=rows["duration_ns"].sum(where=missed).cast("int64"),
    )


def durations(events: Table) -> Table:
    """Return the number of operations of each class of durations that occurs, the shortest first.

    Columns: least_ns (of EDGES_NS, where the class begins), events, time_spent_ns.

    Args:
        events: stored event rows.
    """
    rows = events.filter(events["duration_ns"].notnull()).select("duration_ns")
    first, *rest = ((rows["duration_ns"] >= edge, ibis.literal(edge, "int64")) for edge in EDGES_NS[:0:-1])
    rows = rows.mutate(least_ns=ibis.cases(first, *rest, else_=ibis.literal(0, "int64")))
    return (
        rows.group_by("least_ns")
        .aggregate(events=rows.count().cast("int64"), time_spent_ns=rows["duration_ns"].sum().cast("int64"))
        .order_by("least_ns")
        .select("least_ns", "events", "time_spent_ns")
    )


def misses(events: Table, keys: Table) -> Table:
    """Return one row per place in which something was looked for and not found (OBJECT_NAME_NOT_FOUND), in no order.

    The place of a key that is not there is the key above it, that of a value its key.

    Columns: display_key (of the place; NULL for an object without a name); events, names (different keys and values),
    time_spent_ns (sum of the durations, NULL where the source has none), first_time, last_time, first_sequence,
    last_sequence.

    Args:
        events: stored event rows.
        keys: the table `keys`.
    """
    paths = keys.select(missed_id="key_id", path="folded_path", display_key="display_path")
    rows = events.filter(events["status"] == NAME_NOT_FOUND)
    rows = rows.left_join(paths, rows["key_id"] == paths["missed_id"])
    of_key = rows["value_name"].isnull()
    rows = rows.mutate(
        place=ibis.ifelse(of_key, rows["path"].re_replace(_LAST, ""), rows["path"]),
        display_key=ibis.ifelse(of_key, rows["display_key"].re_replace(_LAST, ""), rows["display_key"]),
        missed=rows["path"].concat("\\\\", folded(rows["value_name"]).fill_null("")),
    )
    return (
        rows.group_by("place")
        .aggregate(
            display_key=rows["display_key"].argmin(rows["sequence"]),
            events=rows.count().cast("int64"),
            names=rows["missed"].nunique().cast("int64"),
            time_spent_ns=rows["duration_ns"].sum().cast("int64"),
            first_time=rows["time"].min(),
            last_time=rows["time"].max(),
            first_sequence=rows["sequence"].min(),
            last_sequence=rows["sequence"].max(),
        )
        .drop("place")
    )
