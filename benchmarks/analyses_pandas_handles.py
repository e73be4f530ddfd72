"""Lives of key objects in pandas: one by one, and summed up by process and key."""

from pathlib import Path

import numpy as np
import pandas as pd
from analyses_pandas_common import (
    SECOND_NS,
    classed,
    events,
    groups,
    lost_between,
    real_losses,
    table,
    unless_unclear,
    with_key_names,
    with_process_names,
)

LATE_NS = 10 * SECOND_NS
LEAST = 10  # from how many on handles leak, and a key is opened over and over


def _lives(path: Path) -> pd.DataFrame:
    rows = events(path, "sequence", "time_ns", "process_id", "operation", "handle_id", "status", "disposition",
                  "information_class")  # fmt: skip
    operation = rows["operation"]
    end_ns, closes = rows["time_ns"].max(), rows[operation == "CloseKey"]
    rows["use"] = ~operation.isin(["OpenKey", "CreateKey", "CloseKey"])
    classed(rows)
    for name in ("read", "write", "unclear"):
        rows[name] &= rows["use"]
    rows = rows[rows["handle_id"].notna()]
    uses = rows.groupby("handle_id").agg(uses=("use", "sum"), reads=("read", "sum"), writes=("write", "sum"),
                                        unclear_writes=("unclear", "sum"))  # fmt: skip
    touched = rows[rows["operation"] != "CloseKey"].groupby("handle_id")["time_ns"]
    touched = touched.agg(first_use_ns="min", last_use_ns="max").astype("Int64")
    lives = table(path, "handles").sort_values(["first_sequence", "handle_id"])
    lives["next_opened_ns"] = lives.groupby("address")["opened_ns"].shift(-1)
    lives["key_id"] = groups(path, lives["key_id"])
    lives = lives.merge(uses, on="handle_id", how="left").merge(touched, on="handle_id", how="left")
    lives = lives.fillna({"uses": 0, "reads": 0, "writes": 0, "unclear_writes": 0})
    lives = unless_unclear(lives)
    closes = closes[["sequence", "process_id"]].set_axis(["closed_sequence", "closed_process_id"], axis=1)
    lives = lives.merge(closes, on="closed_sequence", how="left")
    ends = table(path, "processes", "process_id", "end_ns").rename(columns={"end_ns": "process_end_ns"})
    lives = lives.merge(ends, on="process_id", how="left")
    opened, closed, is_open = lives["opened_ns"], lives["closed_ns"], lives["ended"] == "open"
    since = opened.fillna(lives["first_use_ns"])
    until = closed.fillna(lives["last_use_ns"].mask(is_open, end_ns))
    lives["lifetime_ns"] = closed - opened
    lives["seen_ns"] = (until - since).clip(lower=0)
    lives["idle_ns"] = (closed - lives["last_use_ns"].fillna(opened)).clip(lower=0)
    until = closed.fillna(lives["next_opened_ns"]).fillna(end_ns)
    lives["across_loss"] = lost_between(since, until, real_losses(path))
    gone = is_open & (lives["process_end_ns"] <= end_ns).fillna(False)
    late = (lives["idle_ns"] > LATE_NS).fillna(False)
    lives["verdict"] = np.select(
        [(lives["ended"] == "reuse") | gone, is_open, late],
        ["unseen close", "never closed", "closed late"],
        "closed",
    )
    lives["opened_time"] = pd.to_datetime(opened, utc=True).dt.floor("us")
    lives["closed_time"] = pd.to_datetime(closed, utc=True).dt.floor("us")
    return lives


def handles(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    lives = with_key_names(path, _lives(path), "key_id", display_key="display_path")
    lives = with_process_names(path, lives)
    lives = with_process_names(path, lives, "closed_process_id", closed_process="image", closed_pid="pid")
    return lives.sort_values(["first_sequence", "handle_id"], na_position="first")[[
        "display_key", "process", "pid", "verdict", "uses", "reads", "writes", "unclear_writes", "lifetime_ns", "seen_ns",
        "idle_ns",
        "across_loss", "opened_time", "opened_ns", "closed_time", "closed_ns", "closed_process", "closed_pid",
        "began", "ended", "handle_id", "address", "key_id", "process_id", "closed_process_id", "opened_sequence",
        "closed_sequence", "first_sequence", "last_sequence",
    ]]  # fmt: skip


def handles_by_key(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    lives = _lives(path)
    opened, closed = lives["opened_sequence"].notna(), lives["closed_sequence"].notna()
    lives["is_opened"], lives["is_closed"] = opened, closed
    lives["never"], lives["unseen"], lives["late"] = (
        lives["verdict"] == word for word in ("never closed", "unseen close", "closed late")
    )
    lives["grows"] = opened & lives["never"]
    lives["is_brief"] = opened & closed & (lives["uses"] <= 1) & (lives["uses"] == lives["reads"])
    found = lives.groupby(["process_id", "key_id"], dropna=False).agg(
        handles=("handle_id", "size"), opened=("is_opened", "sum"), closed=("is_closed", "sum"),
        never_closed=("never", "sum"), unseen_closes=("unseen", "sum"), late_closes=("late", "sum"),
        growth=("grows", "sum"), brief=("is_brief", "sum"), uses=("uses", "sum"), reads=("reads", "sum"),
        writes=("writes", "sum"), unclear_writes=("unclear_writes", "sum"), median_lifetime_ns=("lifetime_ns", "median"),
        longest_lifetime_ns=("lifetime_ns", "max"), across_loss=("across_loss", "max"),
        first_opened=("opened_time", "min"), last_opened=("opened_time", "max"), first_ns=("opened_ns", "min"),
        last_ns=("opened_ns", "max"), first_sequence=("first_sequence", "min"), last_sequence=("last_sequence", "max"),
    ).reset_index()  # fmt: skip
    found = unless_unclear(found)
    found["median_lifetime_ns"] = np.floor(found["median_lifetime_ns"])
    found = found.merge(_most_open(lives), on=["process_id", "key_id"], how="left")
    found["leaking"] = (found["growth"] >= LEAST) & (found["growth"] * 2 > found["opened"])
    found["reopened"] = found["brief"] >= LEAST
    span = found["last_ns"] - found["first_ns"]
    found["opens_per_second"] = found["opened"] * SECOND_NS / span.mask(span == 0)
    found = with_key_names(path, found, "key_id", display_key="display_path")
    found = with_process_names(path, found)
    order = ["growth", "brief", "handles", "first_sequence", "key_id", "process_id"]
    return found.sort_values(order, ascending=[False, False, False, True, True, True])[[
        "display_key", "process", "pid", "handles", "opened", "closed", "never_closed", "unseen_closes",
        "late_closes", "growth", "leaking", "most_open", "brief", "reopened", "opens_per_second", "uses", "reads",
        "writes", "unclear_writes", "median_lifetime_ns", "longest_lifetime_ns", "across_loss", "first_opened", "last_opened",
        "key_id", "process_id", "first_sequence", "last_sequence",
    ]]  # fmt: skip


def _most_open(lives: pd.DataFrame) -> pd.DataFrame:
    """Return how many handles of a process and key were open at once at most."""
    first = lives["opened_sequence"].fillna(lives["first_sequence"])
    last = lives["closed_sequence"].fillna(lives["last_sequence"])
    opens = lives[["process_id", "key_id"]].assign(at=first, step=1)
    closes = lives[["process_id", "key_id"]].assign(at=last, step=-1)[~lives["never"]]
    steps = pd.concat([opens, closes]).sort_values(["at", "step"], ascending=[True, False])
    steps["most_open"] = steps.groupby(["process_id", "key_id"], dropna=False)["step"].cumsum()
    return steps.groupby(["process_id", "key_id"], dropna=False)["most_open"].max().reset_index()
