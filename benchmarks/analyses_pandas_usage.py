"""The analyses of how much was done, and by whom, in pandas."""

from pathlib import Path

import pandas as pd
from analyses_common import BUSY_KEY
from analyses_pandas_common import (
    ENDS,
    FAILED,
    NOT_FOUND,
    SECOND_NS,
    classed,
    events,
    folded,
    groups,
    ids_of,
    link_target,
    status_names,
    unless_unclear,
    with_key_names,
    with_process_names,
)

COUNTS = (
    "events", "reads", "writes", "opens", "created", "deletes", "unclear_writes", "failures", "not_found",
)  # fmt: skip
SIZES = ("bytes_read", "bytes_written", "time_spent_ns")
SUMS = {"events": ("read", "size"), "reads": ("read", "sum"), "writes": ("write", "sum"), "opens": ("open", "sum"),
        "created": ("made", "sum"), "deletes": ("delete", "sum"), "unclear_writes": ("unclear", "sum"),
        "failures": ("failure", "sum"), "not_found": ("missing", "sum")}  # fmt: skip


def timeline_of_a_key(path: Path) -> pd.DataFrame:
    """Nothing is left out; pyarrow looks for the key's rows."""
    rows = pd.read_parquet(path / "events", filters=[("key_id", "in", ids_of(path, key=BUSY_KEY))])
    rows = with_key_names(path, rows, "key_id", key="path", display_key="display_path", of_key="name_source")
    rows = with_process_names(
        path, rows, process="image", pid="pid", user="user", command_line="command_line"
    )
    rows["name_source"] = rows["name_source"].fillna(rows["of_key"]).fillna("none")
    rows["status_name"] = status_names(rows["status"])
    return rows.rename(columns={"thread_id": "tid"}).sort_values("sequence")[[
        "sequence", "time", "time_ns", "operation", "notify_class", "phase", "status", "status_name", "key",
        "display_key", "value_name", "process", "pid", "tid", "user", "command_line", "requested_name",
        "disposition", "information_class", "index", "entry_count", "data_type", "data_size", "data",
        "previous_type", "previous_size", "previous_data", "duration_ns", "name_source", "key_id", "handle_id",
        "process_id", "cpu", "source", "source_id", "event_id", "record_offset", "flags", "detail",
    ]]  # fmt: skip


def keys(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = events(
        path,
        "key_id",
        "process_id",
        "operation",
        "status",
        "disposition",
        "information_class",
        "value_name",
        "data_size",
        "time",
    )
    rows["key_id"] = groups(path, rows["key_id"])
    classed(rows)
    operation, status = rows.pop("operation"), rows.pop("status")
    rows["written"] = rows.pop("data_size").where((operation == "SetValueKey") & (status < FAILED))
    del operation, status
    by_key = rows.groupby("key_id")
    found = unless_unclear(by_key.agg(
        **SUMS, processes=("process_id", "nunique"), first_time=("time", "min"), last_time=("time", "max"),
    ))  # fmt: skip
    found["bytes_written"] = by_key["written"].sum(min_count=1)  # unknown where no size is known
    values = rows[["key_id", "value_name"]].dropna().drop_duplicates()
    values["value_name"] = folded(values["value_name"])
    found["values"] = values.groupby("key_id")["value_name"].nunique()
    found = found.fillna({"values": 0}).reset_index()
    found = with_key_names(path, found, "key_id", key="path", display_key="display_path")
    found = found.sort_values(["events", "display_key", "key_id"], ascending=[False, True, True])
    return found[[
        "key", "display_key", *COUNTS, "processes", "values",
        "bytes_written", "first_time", "last_time", "key_id",
    ]]  # fmt: skip


def who(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = events(path, "sequence", "time", "key_id", "process_id", "operation", "status", "disposition",
                  "information_class", "value_name")  # fmt: skip
    rows["key_id"] = groups(path, rows["key_id"])
    classed(rows)
    operation, failed = rows.pop("operation"), rows["failure"]
    rows["failed_change"] = (rows["write"] | (operation == "CreateKey")) & failed
    rows["change"] = rows["write"] & ~failed
    del operation
    by_process = rows.groupby("process_id", dropna=False)
    found = unless_unclear(by_process.agg(
        **SUMS, failed_changes=("failed_change", "sum"), changes=("change", "sum"), keys=("key_id", "nunique"), **ENDS,
    ).reset_index())  # fmt: skip
    values = rows[["process_id", "value_name"]].dropna(subset="value_name").drop_duplicates()
    values["value_name"] = folded(values["value_name"])
    values = values.groupby("process_id", dropna=False)["value_name"].nunique().rename("values")
    found = found.merge(values, on="process_id", how="left").fillna({"values": 0})
    changes = rows.loc[rows["change"], ["process_id", "sequence"]]
    last = changes.groupby("process_id", dropna=False)["sequence"].max()
    found = found.merge(last.rename("last_change_sequence"), on="process_id", how="left")
    del rows, by_process, changes
    # What was written is wanted of few rows, so it is not read of all.
    last = events(path, "sequence", "operation", "time", "key_id", "value_name", "data_type", "data_size", "data",
                  filters=[("sequence", "in", last.tolist())])  # fmt: skip
    last = with_key_names(path, last, "key_id", last_change_key="display_path").drop(columns="key_id")
    last = last.rename(columns={
        "sequence": "last_change_sequence", "operation": "last_change", "time": "last_change_time",
        "value_name": "last_change_value",
    })  # fmt: skip
    found = found.merge(last, on="last_change_sequence", how="left")
    found = with_process_names(
        path, found, process="image", pid="pid", user="user", command_line="command_line"
    )
    order = ["changes", "failed_changes", "events", "first_sequence"]
    return found.sort_values(order, ascending=[False, False, False, True])[[
        "process", "pid", "process_id", "user", "command_line", *COUNTS, "failed_changes", "keys", "values", *ENDS, "last_change", "last_change_sequence",
        "last_change_time", "last_change_key", "last_change_value", "data_type", "data_size", "data",
    ]]  # fmt: skip


def _measured(path: Path, *more: str) -> pd.DataFrame:
    """Return the rows with what is counted of each; `key_id` is that of the group."""
    rows = events(path, "sequence", "time", "key_id", "process_id", "operation", "status", "data_size",
                  "duration_ns", "disposition", "information_class", *more)  # fmt: skip
    rows["key_id"] = groups(path, rows["key_id"])
    classed(rows)
    operation, status = rows.pop("operation"), rows.pop("status")
    size = rows.pop("data_size")
    rows["bytes_read"] = size.where(rows["read"] & (status < FAILED))
    rows["bytes_written"] = size.where((operation == "SetValueKey") & (status < FAILED))
    return rows.rename(columns={"duration_ns": "time_spent_ns"})


def _most(rows: pd.DataFrame, by: str, what: str, name: str) -> pd.DataFrame:
    """Return of each group what occurs most in it, the earlier where two do."""
    counted = rows.groupby([by, what]).agg(n=("sequence", "size"), first=("sequence", "min")).reset_index()
    counted = counted.sort_values([by, "n", "first"], ascending=[True, False, True])
    counted = counted.drop_duplicates(by)[[by, what, "n"]]
    return counted.rename(columns={what: f"{name}_id", "n": f"{name}_events"})


def _hot(rows: pd.DataFrame, by: str, **more: tuple[str, str]) -> pd.DataFrame:
    grouped = rows.groupby(by)
    found = unless_unclear(grouped.agg(**SUMS, processes=("process_id", "nunique"), **ENDS, **more))
    found = found.join(grouped[list(SIZES)].sum(min_count=1)).reset_index()
    found["share"] = found["events"] / len(rows)
    return found.merge(_most(rows, by, "process_id", "top_process"), on=by, how="left")


def hot_by_key(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    found = _hot(
        _measured(path, "time_ns"), "key_id", first_ns=("time_ns", "min"), last_ns=("time_ns", "max")
    )
    span = found["last_ns"] - found["first_ns"]
    found["per_second"] = found["events"] * SECOND_NS / span.where(span != 0)
    found = with_key_names(path, found, "key_id", display_key="display_path")
    found = with_process_names(path, found, "top_process_id", top_process="image", top_pid="pid")
    return found.sort_values(["events", "first_sequence"], ascending=[False, True])[[
        "display_key", "events", "share", "per_second", *COUNTS[1:], "processes", *SIZES, "first_time", "last_time",
        "top_process", "top_pid", "top_process_events", "key_id", "top_process_id", "first_sequence",
        "last_sequence",
    ]]  # fmt: skip


def hot_by_second(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = _measured(path)
    rows["second"] = rows["time"].dt.floor("s")
    found = _hot(rows, "second", keys=("key_id", "nunique"))
    found = found.merge(_most(rows, "second", "key_id", "top_key"), on="second", how="left")
    found["time_ns"] = found["second"].astype("int64") * 1000
    found["per_second"] = found["events"].astype("float64")
    found = with_key_names(path, found, "top_key_id", top_key="display_path")
    found = with_process_names(path, found, "top_process_id", top_process="image", top_pid="pid")
    found = found.rename(columns={"second": "time"})
    return found.sort_values(["events", "first_sequence"], ascending=[False, True])[[
        "time", "time_ns", "events", "share", "per_second", *COUNTS[1:], "keys", "processes", *SIZES, "first_time",
        "last_time", "top_key", "top_key_events", "top_process", "top_pid", "top_process_events", "top_key_id",
        "top_process_id", "first_sequence", "last_sequence",
    ]]  # fmt: skip


def hot_by_storm(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = events(path, "sequence", "time", "time_ns", "key_id", "process_id", "status", "value_name")
    rows = rows[(rows["status"] == NOT_FOUND) & rows["process_id"].notna()]
    rows = rows.sort_values(["process_id", "sequence"])
    before = rows.groupby("process_id")["time_ns"].shift(fill_value=0)
    rows["storm"] = (rows["time_ns"] - before > SECOND_NS).cumsum()
    rows["key_id"] = groups(path, rows["key_id"])
    rows["value_name"] = folded(rows["value_name"])
    rows["name"] = rows.groupby(["key_id", "value_name"], dropna=False).ngroup()
    found = rows.groupby("storm").agg(
        process_id=("process_id", "first"), misses=("sequence", "size"), keys=("key_id", "nunique"),
        names=("name", "nunique"), **ENDS, first_ns=("time_ns", "min"), last_ns=("time_ns", "max"),
    )  # fmt: skip
    found = found[found["misses"] >= 20].reset_index()
    found["lasted_ns"] = found["last_ns"] - found["first_ns"]
    found["per_second"] = found["misses"] * SECOND_NS / found["lasted_ns"].where(found["lasted_ns"] != 0)
    rows = rows[rows["storm"].isin(found["storm"])]
    found = found.merge(_most(rows, "storm", "key_id", "top_key"), on="storm", how="left")
    found = with_key_names(path, found, "top_key_id", top_key="display_path")
    found = with_process_names(path, found).rename(columns={"top_key_events": "top_key_misses"})
    return found.sort_values(["misses", "first_sequence"], ascending=[False, True])[[
        "process", "pid", "misses", "keys", "names", "per_second", "lasted_ns", "first_time", "last_time", "top_key",
        "top_key_misses", "process_id", "top_key_id", "first_sequence", "last_sequence",
    ]]  # fmt: skip


def tree(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = _measured(path)
    by_part = rows.groupby(["key_id", "process_id"], dropna=False)
    parts = by_part.agg(**SUMS, **ENDS).join(by_part[list(SIZES)].sum(min_count=1)).reset_index()
    del rows, by_part
    names = pd.read_parquet(
        path / "keys.parquet", columns=["key_id", "same_as", "folded_path", "display_path"]
    )
    names = names[names["key_id"] == names["same_as"]].drop(columns="same_as")
    names["folded_path"] = link_target(names["folded_path"])
    names["display_path"] = link_target(names["display_path"], "_Classes")
    touched = names[names["key_id"].isin(parts["key_id"])]
    levels = []
    for level in range(4):
        first = rf"^(\\?[^\\]+(?:\\[^\\]*){{{level}}})(?:\\|$)"  # as many components, where there are so many
        nodes = touched.assign(
            level=level,
            node=touched["folded_path"].str.extract(first, expand=False),
            shown=touched["display_path"].str.extract(first, expand=False),
        ).dropna(subset="node")
        levels.append(nodes.merge(parts, on="key_id"))
    below = pd.concat(levels)
    below["own_events"] = below["events"].where(below["node"] == below["folded_path"], 0)
    by_node = below.groupby("node")
    found = by_node.agg(
        level=("level", "min"), shown=("shown", "min"), **{name: (name, "sum") for name in COUNTS},
        own_events=("own_events", "sum"), keys=("key_id", "nunique"), processes=("process_id", "nunique"),
        **{name: (name, how) for name, (_, how) in ENDS.items()},
    )  # fmt: skip
    found = unless_unclear(found.join(by_node[list(SIZES)].sum(min_count=1)).reset_index())
    found["share"] = found["events"] / found.loc[found["level"] == 0, "events"].sum()
    own = names.sort_values("key_id").drop_duplicates("folded_path")
    found = found.merge(own.rename(columns={"folded_path": "node"}), on="node", how="left")
    found["display_key"] = found["display_path"].fillna(found["shown"])
    last = found["display_key"].str.rsplit("\\", n=1).str[-1]
    found["name"] = found["display_key"].where(found["level"] == 0, last)
    found["nameless"] = found["node"].str.startswith("<OBJECT ")
    found["in_tree"] = found["node"].str.replace("\\", "\x01")  # so that a key stands right above its own
    return found.sort_values(["nameless", "in_tree", "node"])[[
        "display_key", "name", "level", "events", "own_events", "share", *COUNTS[1:], "keys", "processes", *SIZES,
        "first_time", "last_time", "key_id", "first_sequence", "last_sequence",
    ]]  # fmt: skip
