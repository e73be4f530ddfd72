"""What failed, and which misses a search answered, in pandas."""

from pathlib import Path

import numpy as np
import pandas as pd
from analyses_pandas_common import (
    ENDS,
    FAILED,
    NOT_FOUND,
    OPENS,
    PATH_NOT_FOUND,
    TOO_SHORT,
    events,
    failures,
    folded,
    status_names,
    with_key_names,
    with_process_names,
)

LONGEST_SEARCH_NS = 100_000_000
MISSED = (NOT_FOUND, PATH_NOT_FOUND)
NO_MORE_ENTRIES = 0x8000001A
NEITHER = (0x103, 0x104)  # PENDING, REPARSE
CLASSES = "\\SOFTWARE\\CLASSES"
SERVER = r"\\(?:TREATAS|INPROCSERVER32|INPROCHANDLER32|LOCALSERVER32|LOCALSERVER|INPROCSERVER)$"
SERVER_OF_CLASS = r"^\\SOFTWARE\\CLASSES\\CLSID\\\{[^\\]*\}" + SERVER
PLACE = ["of_user", "of_wow64", "of_policies", "server"]


def errors(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = events(path, "sequence", "time", "time_ns", "process_id", "thread_id", "operation", "status",
                  "disposition", "key_id", "value_name")  # fmt: skip
    rows = rows.sort_values("sequence")
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as", "folded_path"])
    chains = _chains(rows, _places(keys))
    rows = rows[failures(rows["status"])].drop(columns=["thread_id", "disposition"])
    rows["own_id"] = rows["key_id"].map(keys.set_index("key_id")["same_as"])
    rows["folded"] = folded(rows["value_name"])
    rows = rows.merge(chains, on="sequence", how="left")
    # The misses of one search are counted under the first of them.
    search = rows[rows["chain"].notna()].groupby("resolved_sequence")
    first = search[["own_id", "operation", "status", "chain"]].transform("first")
    rows["key_id"], rows["fold_chain"] = rows["own_id"], first["chain"]
    rows["key_id"] = first["own_id"].combine_first(rows["key_id"])
    for name in ("operation", "status"):
        rows[name] = first[name].combine_first(rows[name])
    rows["fold_id"] = rows["resolved_key_id"]
    group = ["process_id", "key_id", "folded", "operation", "status", "fold_id", "fold_chain"]
    found = rows.groupby(group, dropna=False).agg(
        value_name=("value_name", "first"), failures=("sequence", "size"), answered=("chain", "count"),
        chain=("chain", "first"), searches=("resolved_sequence", "nunique"), keys=("own_id", "nunique"),
        resolved_key_id=("resolved_key_id", "first"), **ENDS, first_ns=("time_ns", "min"), last_ns=("time_ns", "max"),
    ).reset_index()  # fmt: skip
    found["harmless"] = found["answered"] == found["failures"]
    found["searches"] = found["searches"].where(found["searches"] > 0)
    span = found["last_ns"] - found["first_ns"]
    found["rate_per_s"] = ((found["failures"] - 1) * 1e9 / span).where((found["failures"] > 1) & (span > 0))
    found["status_name"] = status_names(found["status"])
    found = with_key_names(path, found, "key_id", display_key="display_path")
    found = with_key_names(path, found, "resolved_key_id", resolved_key="display_path")
    found = with_process_names(path, found)
    return found.sort_values(["harmless", "failures", "first_sequence"], ascending=[True, False, True])[[
        "process", "pid", "process_id", "operation", "status", "status_name", "display_key", "key_id", "value_name",
        "failures", "answered", "harmless", "chain", "searches", "keys", "resolved_key", "resolved_key_id",
        "rate_per_s", "first_time", "last_time", "first_sequence", "last_sequence",
    ]]  # fmt: skip


def _places(keys: pd.DataFrame) -> pd.DataFrame:
    """Return what each key is called by those who search for it, as a number, and in which of the places it is.

    Only keys that have a name in common with another one.
    """
    path = keys["folded_path"]
    of_user = path.str.startswith("HKU\\")
    rest = path.str.removeprefix("HKLM").where(path.str.startswith("HKLM\\"))
    rest = rest.mask(of_user, path.str.replace(r"^HKU\\[^\\]*", "", regex=True))
    user_classes = path.str.contains(r"^HKU\\[^\\]*_CLASSES(?:\\|$)", regex=True)
    rest = rest.mask(user_classes, CLASSES + path.str.replace(r"^HKU\\[^\\]*_CLASSES", "", regex=True))
    places = keys[["key_id", "same_as"]].assign(of_user=of_user, rest=rest)
    places = places[rest.notna() & (rest != "")]
    rest = places["rest"]
    places["of_wow64"] = rest.str.contains("\\WOW6432NODE\\", regex=False)
    rest = rest.str.replace("\\WOW6432NODE\\", "\\", regex=False)
    places["of_policies"] = rest.str.startswith("\\SOFTWARE\\") & rest.str.contains(
        "\\POLICIES\\", regex=False
    )
    rest = rest.mask(places["of_policies"], rest.str.replace("\\POLICIES\\", "\\", regex=False))
    places["of_classes"] = (rest == CLASSES) | rest.str.startswith(CLASSES + "\\")
    is_server = rest.str.contains(SERVER_OF_CLASS, regex=True)
    places["server"] = rest.str.extract(rf"({SERVER})", expand=False).where(is_server, "")
    name = rest.mask(is_server, rest.str.replace(SERVER, "", regex=True) + "\\")
    places["search"] = pd.factorize(name)[0]
    several = places.groupby("search")["same_as"].transform("nunique") > 1
    return places[several].drop(columns="rest")


def _chains(rows: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Return sequence, chain, resolved_sequence and resolved_key_id of the misses that a later hit answered."""
    known = rows["process_id"].notna() & rows["thread_id"].notna() & rows["status"].notna()
    rows = rows[known & ~rows["status"].isin(NEITHER) & (rows["operation"] != "CloseKey")]
    rows = rows.merge(places, on="key_id")
    operation, status = rows["operation"], rows["status"]
    opens, missed = operation.isin(OPENS), status.isin(MISSED)
    there = (status < FAILED) | status.isin(TOO_SHORT)
    made = (operation == "CreateKey") & (rows["disposition"] == 1)
    of_keys = rows.assign(
        of_key=True,
        folded=None,
        missed=opens & missed,
        hit=(there & ~made).where(opens, there | missed | (status == NO_MORE_ENTRIES)),
    )
    of_values = rows[(operation == "QueryValueKey") & rows["value_name"].notna()]
    of_values = of_values.assign(
        of_key=False, folded=folded(of_values["value_name"]), missed=missed, hit=there
    )
    asked = pd.concat([of_keys, of_values]).sort_values("sequence")
    thing = ["process_id", "thread_id", "search", "of_key", "folded"]
    asked["other"] = asked["sequence"].where(~asked["missed"])
    asked["resolved_sequence"] = asked.groupby(thing, dropna=False)["other"].bfill()
    misses = asked[asked["missed"]]
    again = misses.groupby([*thing, "same_as"], dropna=False)["sequence"].shift(-1)
    misses = misses[misses["resolved_sequence"] < again.fillna(np.inf)]
    hits = asked[asked["hit"]][["sequence", "of_key", "time_ns", "same_as", *PLACE]]
    hits = hits.rename(columns={"sequence": "resolved_sequence", "same_as": "resolved_key_id"})
    pairs = misses.merge(hits, on=["resolved_sequence", "of_key"], suffixes=("", "_hit"))
    differs = {name: pairs[name] != pairs[f"{name}_hit"] for name in PLACE}
    pairs["chain"] = np.select(
        [differs["of_policies"], pairs["of_classes"] & (differs["of_user"] | differs["server"]),
         differs["of_wow64"], differs["of_user"]],
        ["policy", "com", "wow64", "hkcu-hklm"], None,
    )  # fmt: skip
    near = pairs["time_ns_hit"] - pairs["time_ns"] <= LONGEST_SEARCH_NS
    return pairs[near & pairs["chain"].notna()][["sequence", "chain", "resolved_sequence", "resolved_key_id"]]
