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
    return _timeline(path, filters=[("key_id", "in", ids_of(path, key=BUSY_KEY))])


def load_events(path: Path) -> pd.DataFrame:
    """Nothing is left out: every event in one DataFrame, which is what pandas' memory is needed for."""
    return _timeline(path)


def _timeline(path: Path, **chosen: object) -> pd.DataFrame:
    rows = pd.read_parquet(path / "events", **chosen)
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
