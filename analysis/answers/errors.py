"""Failures by process, key, value and status; searches that succeeded are separate from failures that matter."""

import ibis
from ibis.expr.types import Table

from analysis.answers.search_chains import search_chains
from analysis.expressions.events_view import is_failure, named_status
from analysis.expressions.folding import folded

__all__ = ["errors"]

_WHAT = ("process_id", "group_id", "folded_value", "operation", "status")
_GROUP = (*_WHAT, "fold_id", "fold_chain")
_COLUMNS = (
    "process", "pid", "process_id", "operation", "status", "status_name", "display_key", "key_id",
    "value_name", "failures", "answered", "harmless", "chain", "searches", "keys", "resolved_key",
    "resolved_key_id", "rate_per_s", "first_time", "last_time", "first_sequence", "last_sequence",
)  # fmt: skip


def errors(
    events: Table,
    keys: Table,
    processes: Table,
    everywhere: Table,
    *,
    fold: bool = True,
    harmless: bool = True,
) -> Table:
    """Return what failed: one row per process, key, value, operation and status; what matters first.

    A search chain (`analysis.answers.search_chains`) is one row where it is folded: the misses on the way to
    one key, counted under the place where the search began. Misses that nothing answered stand in rows of
    their own.

    Columns:

    * process, pid, process_id; operation, status, status_name; display_key, key_id (of the group,
      `keys.same_as`; NULL where the operation has no key), value_name (as first spelled; NULL where the
      operation has none);
    * failures: rows that failed (`analysis.expressions.events_view.is_failure`); answered: those of them that were misses
      which a later hit answered; harmless: whether all were;
    * chain: policy, com, wow64 or hkcu-hklm (of the first that was answered; NULL where none was), searches:
      how often such a search was made (NULL likewise), keys: how many different keys failed;
      resolved_key, resolved_key_id: the key that was found in the end;
    * rate_per_s: failures after the first, by the seconds from first to last; NULL where that is no time;
    * first_time, last_time, first_sequence, last_sequence.

    Ordered by harmless, failures (most first), first_sequence.

    Args:
        events: stored or joined event rows: those asked for, whether they failed or not.
        keys: the table `keys`.
        processes: the table `processes`.
        everywhere: the event rows among which answers to misses are looked for: all of these processes.
        fold: whether search chains are folded.
        harmless: whether rows are shown all of whose misses were answered.
    """
    rows = _failures(events, keys)
    chains = search_chains(everywhere, keys).rename(missed_sequence="sequence")
    rows = rows.left_join(chains, rows["sequence"] == chains["missed_sequence"]).drop("missed_sequence")
    rows = rows.mutate(own_id=rows["group_id"], fold_id=ibis.null("int64"), fold_chain=ibis.null(str))
    if fold:
        rows = _folded(rows)
    times = rows.group_by(*_GROUP).aggregate(
        value_name=rows["value_name"].argmin(rows["sequence"]),
        failures=rows.count().cast("int64"),
        answered=rows.count(where=rows["chain"].notnull()).cast("int64"),
        first_time=rows["time"].min(),
        last_time=rows["time"].max(),
        first_sequence=rows["sequence"].min(),
        last_sequence=rows["sequence"].max(),
        span_ns=rows["time_ns"].max() - rows["time_ns"].min(),
    )
    times = _with_chains(times, rows)
    if not harmless:
        times = times.filter(times["answered"] < times["failures"])
    return _named(times, keys, processes)


def _failures(events: Table, keys: Table) -> Table:
    groups = keys.select(grouped_id="key_id", group_id=keys["same_as"].cast("int64"))
    rows = events.filter(is_failure(events["status"])).select(
        "sequence", "time", "time_ns", "process_id", "operation", "status", "key_id", "value_name"
    )
    rows = rows.left_join(groups, rows["key_id"] == groups["grouped_id"]).drop("grouped_id")
    return rows.mutate(folded_value=folded(rows["value_name"]))


def _folded(rows: Table) -> Table:
    """Return the rows with all misses of a search under the key, operation and status of the first miss."""
    alone = rows.filter(rows["chain"].isnull())
    chained = rows.filter(rows["chain"].notnull())
    search = ibis.window(group_by="resolved_sequence", order_by="sequence", rows=(None, 0))
    chained = chained.mutate(
        fold_id=chained["resolved_key_id"].cast("int64"),
        **{
            new: chained[old].first().over(search)
            for new, old in {
                "group_id": "group_id",
                "operation": "operation",
                "status": "status",
                "fold_chain": "chain",
            }.items()
        },
    )
    return alone.select(*rows.columns).union(chained.select(*rows.columns))


def _with_chains(times: Table, rows: Table) -> Table:
    """Add the columns that only misses with a hit have; all other rows of a group are of one key."""
    answered = rows.filter(rows["chain"].notnull())
    chains = answered.group_by(**{f"of_{name}": name for name in _GROUP}).aggregate(
        chain=answered["chain"].argmin(answered["sequence"]),
        resolved_key_id=answered["resolved_key_id"].argmin(answered["sequence"]),
        different=answered["resolved_sequence"].nunique().cast("int64"),
        own_keys=answered["own_id"].nunique().cast("int64"),
    )
    same = [times[name].identical_to(chains[f"of_{name}"]) for name in _GROUP]
    times = times.left_join(chains, same).drop(*(f"of_{name}" for name in _GROUP))
    one = times["group_id"].notnull().cast("int64")
    return times.mutate(keys=times["own_keys"].fill_null(one), different=times["different"].fill_null(0))


def _named(times: Table, keys: Table, processes: Table) -> Table:
    """Return the groups as the columns of the answer, in order."""
    names = keys.select(named_id="key_id", display_key="display_path")
    resolved = keys.select(found_id="key_id", resolved_key="display_path")
    people = processes.select(named_process_id="process_id", process="image", pid="pid")
    table = times.left_join(names, times["group_id"] == names["named_id"])
    table = table.left_join(resolved, table["resolved_key_id"] == resolved["found_id"])
    table = table.left_join(people, table["process_id"] == people["named_process_id"])
    several = (table["failures"] > 1) & (table["span_ns"] > 0)
    rate = (table["failures"] - 1).cast("float64") * 1e9 / table["span_ns"].nullif(0).cast("float64")
    table = table.mutate(
        key_id=table["group_id"].cast(keys["key_id"].type()),
        status_name=named_status(table["status"]),
        harmless=table["answered"] == table["failures"],
        searches=table["different"].nullif(0),
        rate_per_s=ibis.ifelse(several, rate, ibis.null("float64")),
    )
    order = [table["harmless"].asc(), table["failures"].desc(), table["first_sequence"].asc()]
    return table.order_by(*order).select(*_COLUMNS)
