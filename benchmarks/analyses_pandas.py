"""The cases of benchmarks/analyses.py in pandas, as one would write them; each docstring says what it leaves out.

Returned is how many rows the answer had. What decoding, conflicts, losses and ambiguous names cost is left out of all.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from analyses_common import BUSY_KEY, SUBTREE

READS = (
    "QueryKey",
    "QueryValueKey",
    "EnumerateKey",
    "EnumerateValueKey",
    "QueryMultipleValueKey",
    "QuerySecurityKey",
)
WRITES = ("SetValueKey", "DeleteValueKey", "DeleteKey", "RenameKey", "SetInformationKey", "SetSecurityKey")
NOT_FOUND = 0xC0000034


def events(path: Path, *columns: str, **more: object) -> pd.DataFrame:
    return pd.read_parquet(path / "events", columns=list(columns), **more)


def grouped(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Add the group of each row's key."""
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as"])
    return rows.merge(keys, on="key_id")


def named(path: Path, rows: pd.DataFrame, *, key: str = "same_as") -> pd.DataFrame:
    if key in rows:
        keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "path", "display_path"])
        rows = rows.merge(keys.rename(columns={"key_id": key}), on=key, how="left")
    if "process_id" in rows:
        processes = pd.read_parquet(path / "processes.parquet", columns=["process_id", "image", "pid"])
        rows = rows.merge(processes, on="process_id", how="left")
    return rows


def flags(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what is counted: reads, writes, opens, failures, misses."""
    rows["read"] = rows["operation"].isin(READS)
    rows["write"] = rows["operation"].isin(WRITES)
    rows["open"] = rows["operation"].isin(["OpenKey", "CreateKey"])
    rows["failure"] = rows["status"] >= 0x80000000
    rows["missing"] = rows["status"] == NOT_FOUND
    return rows


SUMS = {"reads": ("read", "sum"), "writes": ("write", "sum"), "opens": ("open", "sum"),
        "failures": ("failure", "sum"), "not_found": ("missing", "sum")}  # fmt: skip
ENDS = {"first_time": ("time", "min"), "last_time": ("time", "max")}
ORDER = {"first_sequence": ("sequence", "min"), "last_sequence": ("sequence", "max")}


def ids_of(path: Path, *, subtree: str | None = None, key: str | None = None) -> list[int]:
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as", "folded_path"])
    folded = keys["folded_path"]
    asked = folded == (key or subtree).upper()
    if subtree:
        asked |= folded.str.startswith(subtree.upper() + "\\")
    return keys[keys["same_as"].isin(keys[asked]["same_as"])]["key_id"].tolist()


def timeline_of_a_key(path: Path) -> int:
    """Nothing is left out; pyarrow looks for the key's rows."""
    rows = pd.read_parquet(path / "events", filters=[("key_id", "in", ids_of(path, key=BUSY_KEY))])
    return len(named(path, rows, key="key_id").sort_values("sequence"))


def keys(path: Path) -> int:
    """Left out: failures that are none, sizes that are unknown."""
    rows = flags(events(path, "key_id", "process_id", "operation", "status", "disposition", "value_name",
                        "data_size", "time"))  # fmt: skip
    rows["made"] = (rows["operation"] == "CreateKey") & (rows["disposition"] == 1)
    rows["written"] = rows["data_size"].where((rows["operation"] == "SetValueKey") & ~rows["failure"])
    rows["value_name"] = rows["value_name"].str.upper()
    found = grouped(path, rows).groupby("same_as").agg(
        events=("read", "size"), **SUMS, created=("made", "sum"), processes=("process_id", "nunique"),
        values=("value_name", "nunique"), bytes_written=("written", "sum"), **ENDS,
    ).reset_index()  # fmt: skip
    return len(named(path, found).sort_values(["events", "display_path"], ascending=[False, True]))


def who(path: Path) -> int:
    """Left out: the last change, with key, value and data."""
    rows = flags(
        events(path, "sequence", "time", "key_id", "process_id", "operation", "status", "value_name")
    )
    rows["value_name"] = rows["value_name"].str.upper()
    found = grouped(path, rows).groupby("process_id").agg(
        events=("read", "size"), **SUMS, keys=("same_as", "nunique"), values=("value_name", "nunique"), **ENDS, **ORDER
    ).reset_index()  # fmt: skip
    return len(named(path, found).sort_values(["writes", "first_sequence"], ascending=[False, True]))


def _most(rows: pd.DataFrame, by: str, what: str) -> pd.DataFrame:
    """Return of each group what occurs most in it, the earlier where two do."""
    counted = rows.groupby([by, what]).agg(n=("sequence", "size"), first=("sequence", "min")).reset_index()
    counted = counted.sort_values([by, "n", "first"], ascending=[True, False, True])
    return counted.drop_duplicates(by)[[by, what, "n"]].rename(
        columns={what: f"top_{what}", "n": f"top_{what}_n"}
    )


def _hot(path: Path, by: str) -> pd.DataFrame:
    rows = flags(events(path, "sequence", "time", "key_id", "process_id", "operation", "status", "data_size"))
    if by == "second":
        rows["second"] = rows["time"].dt.floor("s")
    rows = grouped(path, rows)
    rows["written"] = rows["data_size"].where((rows["operation"] == "SetValueKey") & ~rows["failure"])
    found = rows.groupby(by).agg(
        events=("read", "size"), **SUMS, keys=("same_as", "nunique"), processes=("process_id", "nunique"),
        bytes_written=("written", "sum"), **ENDS, **ORDER,
    ).reset_index()  # fmt: skip
    for what in {"same_as", "process_id"} - {by}:
        found = found.merge(_most(rows, by, what), on=by, how="left")
    return named(path, found).sort_values(["events", "first_sequence"], ascending=[False, True])


def hot_by_key(path: Path) -> int:
    """Left out: bytes that were read, time spent."""
    return len(_hot(path, "same_as"))


def hot_by_second(path: Path) -> int:
    """Left out: bytes that were read, time spent."""
    return len(_hot(path, "second"))


def hot_by_storm(path: Path) -> int:
    """Nothing is left out but case of value names by the registry's rule."""
    rows = events(path, "sequence", "time", "time_ns", "key_id", "process_id", "status", "value_name")
    rows = rows[(rows["status"] == NOT_FOUND) & rows["process_id"].notna()].sort_values(
        ["process_id", "sequence"]
    )
    rows["storm"] = (rows.groupby("process_id")["time_ns"].diff().fillna(2**62) > 1_000_000_000).cumsum()
    rows = grouped(path, rows)
    rows["value_name"] = rows["value_name"].str.upper()
    rows["name"] = rows.groupby(["same_as", "value_name"], dropna=False).ngroup()
    found = rows.groupby("storm").agg(
        process_id=("process_id", "first"), misses=("status", "size"), keys=("same_as", "nunique"),
        names=("name", "nunique"), **ENDS, **ORDER,
    )  # fmt: skip
    found = found[found["misses"] >= 20].reset_index()
    found = found.merge(_most(rows, "storm", "same_as"), on="storm")
    return len(named(path, found).sort_values(["misses", "first_sequence"], ascending=[False, True]))


def tree(path: Path) -> int:
    """Left out: bytes, time spent, ids of keys that stand above."""
    rows = grouped(
        path, flags(events(path, "sequence", "time", "key_id", "process_id", "operation", "status"))
    )
    names = pd.read_parquet(path / "keys.parquet", columns=["key_id", "display_path"]).set_index("key_id")
    parts = names["display_path"].str.split("\\").loc[rows["same_as"].unique()]
    levels = []
    for depth in range(1, 5):
        above = parts[parts.str.len() >= depth].str[:depth].str.join("\\")
        level = rows.assign(node=rows["same_as"].map(above)).dropna(subset=["node"])
        levels.append(level.groupby("node").agg(
            events=("read", "size"), **SUMS, keys=("same_as", "nunique"), processes=("process_id", "nunique"), **ENDS,
            **ORDER,
        ).reset_index())  # fmt: skip
    return len(pd.concat(levels).sort_values("node"))


def errors(path: Path) -> int:
    """Left out: all of the search chains, that is most of the work."""
    rows = events(path, "sequence", "time", "key_id", "process_id", "operation", "status", "value_name")
    rows = grouped(path, rows[rows["status"] >= 0x80000000])
    rows["folded"] = rows["value_name"].str.upper()
    found = rows.groupby(["process_id", "operation", "status", "same_as", "folded"], dropna=False).agg(
        value_name=("value_name", "first"), failures=("status", "size"), **ENDS, **ORDER
    ).reset_index()  # fmt: skip
    return len(named(path, found).sort_values(["failures", "first_sequence"], ascending=[False, True]))


def _lives(path: Path) -> pd.DataFrame:
    uses = flags(events(path, "sequence", "handle_id", "operation", "status"))
    lives = pd.read_parquet(path / "handles.parquet")
    uses = uses.merge(lives[["handle_id", "opened_sequence", "closed_sequence"]], on="handle_id")
    own = (uses["sequence"] != uses["opened_sequence"]) & (uses["sequence"] != uses["closed_sequence"])
    counted = (
        uses[own]
        .groupby("handle_id")
        .agg(uses=("read", "size"), reads=("read", "sum"), writes=("write", "sum"))
    )
    lives = lives.merge(counted, on="handle_id", how="left").fillna({"uses": 0, "reads": 0, "writes": 0})
    times = (
        uses[own]
        .merge(events(path, "sequence", "time_ns"), on="sequence")
        .groupby("handle_id")["time_ns"]
        .max()
    )
    lives["last_use_ns"] = lives["handle_id"].map(times)
    lives["lifetime_ns"] = lives["closed_ns"] - lives["opened_ns"]
    lives["idle_ns"] = lives["closed_ns"] - lives["last_use_ns"].fillna(lives["opened_ns"])
    late = lives["idle_ns"] > 10_000_000_000
    lives["verdict"] = np.select(
        [lives["ended"] == "open", lives["ended"] == "reuse", late], ["never closed", "unseen close", "closed late"],
        "closed",
    )  # fmt: skip
    return grouped(path, lives)


def handles(path: Path) -> int:
    """Left out: who closed it, losses."""
    return len(named(path, _lives(path)).sort_values("first_sequence"))


def handles_by_key(path: Path) -> int:
    """Left out: how many were open at once, losses."""
    lives = _lives(path)
    lives["open"], lives["shut"] = lives["opened_sequence"].notna(), lives["closed_sequence"].notna()
    lives["never"] = lives["verdict"] == "never closed"
    found = lives.groupby(["process_id", "same_as"], dropna=False).agg(
        handles=("handle_id", "size"), opened=("open", "sum"), closed=("shut", "sum"), never=("never", "sum"),
        uses=("uses", "sum"), reads=("reads", "sum"), writes=("writes", "sum"),
        median=("lifetime_ns", "median"), longest=("lifetime_ns", "max"), first=("opened_ns", "min"),
        last=("opened_ns", "max"),
    ).reset_index()  # fmt: skip
    return len(named(path, found).sort_values(["never", "handles"], ascending=False))


def redundant(path: Path) -> int:
    """Left out: changes but of values and of their keys; what was returned; periods of polling."""
    rows = events(path, "sequence", "time_ns", "key_id", "process_id", "operation", "status", "value_name", "index",
                  "information_class", "data_size")  # fmt: skip
    changes = rows["operation"].isin([*WRITES, "CreateKey"])
    reads = rows["operation"].isin(READS)
    rows = grouped(path, rows[changes | reads]).sort_values("sequence")
    rows["value_name"] = rows["value_name"].str.upper()
    rows["version"] = rows["operation"].isin([*WRITES, "CreateKey"]).groupby(rows["same_as"]).cumsum()
    rows = rows[rows["operation"].isin(READS)]
    question = ["process_id", "same_as", "operation", "value_name", "index", "information_class", "status"]
    rows["run"] = rows.groupby([*question, "version"], dropna=False)["sequence"].transform("min")
    rows["repeat"] = rows["run"] != rows["sequence"]
    found = rows.groupby(question, dropna=False).agg(
        reads=("sequence", "size"), redundant=("repeat", "sum"), bytes=("data_size", "sum"),
        first_ns=("time_ns", "min"), last_ns=("time_ns", "max"), first=("sequence", "min"), last=("sequence", "max"),
    ).reset_index()  # fmt: skip
    found = found[found["redundant"] > 0]
    return len(named(path, found).sort_values(["redundant", "first"], ascending=[False, True]))


PROOF = ("sequence", "time", "time_ns", "key_id", "process_id", "operation", "status", "disposition", "value_name",
         "data_type", "data_size", "data")  # fmt: skip
VALUES = ("SetValueKey", "DeleteValueKey", "QueryValueKey")


def _of_values(path: Path, **more: object) -> pd.DataFrame:
    """Return what says something of values, in order, with the group of each value and its key's last end."""
    rows = events(path, *PROOF, "previous_type", "previous_size", "previous_data", **more)
    ended = (rows["operation"] == "DeleteKey") | (
        (rows["operation"] == "CreateKey") & (rows["disposition"] == 1)
    )
    rows = grouped(path, rows[rows["operation"].isin(VALUES) | ended]).sort_values("sequence")
    rows["folded"] = rows["value_name"].str.upper()
    ends = rows["sequence"].where(~rows["operation"].isin(VALUES))
    rows["ended"] = ends.groupby(rows["same_as"]).ffill()
    rows = rows[rows["operation"].isin(VALUES) & rows["value_name"].notna()]
    told = ((rows["operation"] == "SetValueKey") & (rows["status"] < 0x80000000)) | (
        (rows["operation"] == "QueryValueKey") & (rows["status"] == 0) & rows["data"].notna()
    )
    rows["told"] = rows["sequence"].where(told)
    return rows


def _history(path: Path, rows: pd.DataFrame) -> int:
    before = rows.groupby(["same_as", "folded"])["told"]
    rows["old_sequence"] = before.ffill().groupby([rows["same_as"], rows["folded"]]).shift()
    rows.loc[rows["old_sequence"] < rows["ended"], "old_sequence"] = np.nan
    found = rows[rows["operation"].isin(["SetValueKey", "DeleteValueKey"])]
    old = rows[rows["told"].notna()][["sequence", "data_type", "data_size", "data"]].add_prefix("old_")
    return len(named(path, found.merge(old, on="old_sequence", how="left")).sort_values("sequence"))


def history(path: Path) -> int:
    """Left out: values that went with their keys, losses, decoding of what was read, renames and hives."""
    return _history(path, _of_values(path))


def history_of_a_subtree(path: Path) -> int:
    """Likewise; pyarrow looks for the rows."""
    return _history(path, _of_values(path, filters=[("key_id", "in", ids_of(path, subtree=SUBTREE))]))


def state(path: Path) -> int:
    """Left out: keys, losses, misses, decoding of what was read, renames and hives."""
    rows = _of_values(path)
    last = rows.groupby(["same_as", "folded"]).tail(1)
    return len(named(path, last).sort_values(["display_path", "folded"]))


def changes(path: Path) -> int:
    """Left out: keys, what others changed, what was read before and after, decoding."""
    rows = _of_values(path)
    rows = rows[rows["operation"].isin(["SetValueKey", "DeleteValueKey"]) & (rows["status"] < 0x80000000)]
    each = rows.groupby(["same_as", "folded"])
    first = each.head(1)[["same_as", "folded", "previous_type", "previous_data", "sequence"]]
    last = each.tail(1).merge(first, on=["same_as", "folded"], suffixes=("", "_first"))
    counted = each.agg(writes=("sequence", "size"), processes=("process_id", "nunique")).reset_index()
    last = last.merge(counted, on=["same_as", "folded"])
    differs = (last["data_type"] != last["previous_type_first"]) | (
        last["data"] != last["previous_data_first"]
    )
    return len(named(path, last[differs]).sort_values("sequence_first"))


CASES = {
    "timeline of a key": timeline_of_a_key,
    "keys": keys,
    "who": who,
    "hot by key": hot_by_key,
    "hot by second": hot_by_second,
    "hot by storm": hot_by_storm,
    "tree": tree,
    "errors": errors,
    "handles": handles,
    "handles by key": handles_by_key,
    "redundant": redundant,
    "history": history,
    "history of a subtree": history_of_a_subtree,
    "state": state,
    "changes": changes,
}
