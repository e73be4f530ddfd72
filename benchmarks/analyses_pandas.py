"""The cases of benchmarks/analyses.py in pandas, as one would write them; each docstring says what it leaves out.

Each returns the answer, with our columns in our order of rows; benchmarks/analyses_agree.py compares them with ours.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from analyses_pandas_errors import errors
from analyses_pandas_handles import handles, handles_by_key
from analyses_pandas_usage import hot_by_key, hot_by_second, hot_by_storm, keys, timeline_of_a_key, tree, who
from analyses_pandas_values import history, history_of_a_subtree, state

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


def redundant(path: Path) -> pd.DataFrame:
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
    return named(path, found).sort_values(["redundant", "first"], ascending=[False, True])


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


def changes(path: Path) -> pd.DataFrame:
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
    return named(path, last[differs]).sort_values("sequence_first")


FORMS = {
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


def counted(form: Callable[[Path], pd.DataFrame]) -> Callable[[Path], int]:
    """Return a case that makes the whole answer and says how many rows it had."""
    return lambda path: len(form(path))


CASES = {name: counted(form) for name, form in FORMS.items()}
