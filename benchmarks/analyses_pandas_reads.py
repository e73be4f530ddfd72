"""Reads that were repeated though nothing changed in between, and polling, in pandas."""

from pathlib import Path

import numpy as np
import pandas as pd
from analyses_pandas_common import (
    FAILED,
    NOT_FOUND,
    SECOND_NS,
    TOO_SHORT,
    events,
    folded,
    lost_between,
    status_names,
    table,
    with_key_names,
    with_process_names,
)
from analyses_pandas_evidence import changes_hive

from tracer.schema import FLAGS

QUESTION = ["process_id", "key_id", "operation", "value", "index", "information_class"]
OF_KEYS = ("QueryKey", "QuerySecurityKey")
BY_INDEX = ("EnumerateKey", "EnumerateValueKey")
OF_VALUES = ("SetValueKey", "DeleteValueKey")
OF_FACTS = ("SetInformationKey", "SetSecurityKey")
MISSING = (NOT_FOUND, 0x8000001A)
COUNTED = ["of_whole", "of_any", "of_value", "unclear"]
LEAST_INTERVALS, MOST_SPREAD, LEAST_PERIOD_NS = 5, 0.1, 10_000_000


def redundant(path: Path) -> pd.DataFrame:
    """Nothing is left out."""
    rows = events(path, "sequence", "time", "time_ns", "key_id", "process_id", "operation", "status", "disposition",
                  "value_name", "requested_name", "index", "information_class", "data_size", "data", "duration_ns",
                  "flags", "detail")  # fmt: skip
    keys = pd.read_parquet(path / "keys.parquet")
    keys["parent_id"] = keys["parent_id"].map(keys.set_index("key_id")["same_as"])
    unsure = _unsure(path, rows, keys)
    rows["stored_id"], rows["key_id"] = (
        rows["key_id"],
        rows["key_id"].map(keys.set_index("key_id")["same_as"]),
    )
    rows = rows.dropna(subset="key_id")
    reads = _in_runs(_reads(rows), _changes(rows, keys))
    del rows
    asked = [*QUESTION, "status"]
    # Groups have numbers, for grouping by seven columns again and again takes long.
    reads["group"] = reads.groupby(asked, dropna=False).ngroup()
    before = reads.groupby("group")["time_ns"].shift(fill_value=0)
    reads["waited_ns"] = (reads["time_ns"] - before).clip(lower=0).where(before > 0)
    again = reads.duplicated(["group", "run"])
    reads["repeated_ns"] = reads["duration_ns"].where(again)
    reads["repeated_size"] = reads["data_size"].where(again)
    found = _of_questions(_runs(reads, unsure))
    found = found[found["redundant"] > 0]
    found = _with_intervals(found, reads)
    found["proved"] = found["unproved"] == 0
    span = found["last_ns"] - found["first_ns"]
    found["per_second"] = found["reads"] / (span.where(span != 0) / SECOND_NS)
    found["status_name"] = status_names(found["status"])
    found = with_key_names(path, found, "key_id", display_key="display_path")
    found = with_process_names(path, found)
    order = ["redundant", "reads", "first_sequence"]
    return found.sort_values(order, ascending=[False, False, True])[[
        "display_key", "value_name", "operation", "information_class", "index", "process", "pid", "status_name",
        "status", "reads", "runs", "redundant", "proved", "unproved", "result_changed", "per_second", "time_spent_ns",
        "bytes", "interval_ns", "spread", "polling", "period_ns", "first_time", "last_time", "process_id",
        "first_sequence", "last_sequence", "key_id",
    ]]  # fmt: skip


def _reads(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the reads that can be told to be identical, with what of them is compared."""
    operation = rows["operation"]
    named, counted = operation == "QueryValueKey", operation.isin(BY_INDEX)
    told = operation.isin(OF_KEYS) | (named & rows["value_name"].notna()) | (counted & rows["index"].notna())
    reads = rows[told & rows["process_id"].notna() & rows["status"].notna()]
    operation, class_, done = reads["operation"], reads["information_class"], reads["status"] < FAILED
    named, counted = operation == "QueryValueKey", operation.isin(BY_INDEX)
    # Data of values; and facts of keys that are the same whichever handle asks, where all of them were captured.
    of_values = operation.isin(["QueryValueKey", "EnumerateValueKey"])
    partly = reads["detail"].str.contains('"ResultLength"', regex=False).fillna(True).astype(bool)
    of_keys = (operation == "QueryKey") & class_.isin([2, 4]) & ~partly
    facts = reads["detail"].str.replace(r'"Length": [0-9]+(?:, )?', "", regex=True)
    whole = done & ((reads["flags"] & FLAGS["data_truncated"]) == 0)
    value_name = reads["value_name"].where(named)
    size = reads["data_size"].where(done)
    return reads.assign(
        value_name=value_name,
        value=folded(value_name),
        index=reads["index"].where(counted),
        content=reads["data"].where(of_values, facts.where(of_keys)).where(whole),
        data_size=size,
        size=size.where((operation != "QueryKey") | (class_ < 5)),
        ambiguous=(reads["flags"] & FLAGS["name_ambiguous"]) != 0,
    ).drop(columns=["data", "flags", "disposition", "requested_name", "detail", "stored_id"])


def _done(rows: pd.DataFrame) -> pd.Series:
    """Tell which rows changed one key or value, or may have."""
    operation = rows["operation"]
    made = (operation == "CreateKey") & (rows["disposition"] != 2)
    changes = made | operation.isin(["DeleteKey", "RenameKey", *OF_VALUES, *OF_FACTS])
    tags = (operation == "SetInformationKey") & (rows["information_class"] == 5)
    return changes & ~tags & ~(rows["status"] >= FAILED)


def _changes(rows: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Return what each change counts for: its whole key, what is asked of the key, a value."""
    changes = rows.loc[_done(rows), ["sequence", "key_id", "operation", "value_name", "flags"]]
    certain = changes["value_name"].notna() & ((changes["flags"] & FLAGS["name_ambiguous"]) == 0)
    of_value = changes["operation"].isin(OF_VALUES) & certain
    of_fact = changes["operation"].isin(OF_FACTS)
    own = changes[["sequence", "key_id"]].assign(
        value=folded(changes["value_name"].where(of_value)),
        of_whole=(~(of_value | of_fact)).astype("int64"),
        of_any=1,
        of_value=of_value.astype("int64"),
    )
    of_keys = changes[~changes["operation"].isin([*OF_VALUES, *OF_FACTS])]
    above = of_keys["key_id"].map(keys.set_index("key_id")["parent_id"])
    above = of_keys[["sequence"]].assign(key_id=above, of_any=1).dropna(subset="key_id")
    return pd.concat([own, above, *_unclear(rows, keys)])


def _unclear(rows: pd.DataFrame, keys: pd.DataFrame) -> list[pd.DataFrame]:
    """Return the keys at and below one whose hive was changed, that was renamed, or that got its name."""
    whole = (rows["operation"] == "RenameKey") | changes_hive(rows)
    tops = rows.loc[
        whole & ~(rows["status"] >= FAILED), ["sequence", "key_id", "operation", "requested_name"]
    ]
    paths = keys.loc[keys["key_id"] == keys["same_as"], ["key_id", "folded_path"]]
    tops = tops.merge(paths, on="key_id")
    renamed = tops[(tops["operation"] == "RenameKey") & tops["requested_name"].notna()]
    beside = renamed["folded_path"].str.replace(r"[^\\]*$", "", regex=True) + folded(
        renamed["requested_name"]
    )
    tops = pd.concat([tops, renamed.assign(folded_path=beside)])
    steps = []
    for top in tops.itertuples():  # they are few
        own = paths["folded_path"] == top.folded_path
        below = paths["folded_path"].str.startswith(top.folded_path + "\\")
        steps.append(paths.loc[own | below, ["key_id"]].assign(sequence=top.sequence, unclear=1))
    return steps


def _in_runs(reads: pd.DataFrame, changes: pd.DataFrame) -> pd.DataFrame:
    """Return the reads in order with `run`, which is another number after a change."""
    rows = pd.concat([reads[["sequence", "key_id", "value"]].assign(is_read=True), changes]).sort_values(
        "sequence"
    )
    rows = rows.reindex(columns=["sequence", "key_id", "value", "is_read", *COUNTED])
    rows[COUNTED] = rows[COUNTED].fillna(0).astype("int64")
    rows[["of_whole", "of_any", "unclear"]] = rows.groupby("key_id")[
        ["of_whole", "of_any", "unclear"]
    ].cumsum()
    rows["of_value"] = rows.groupby(["key_id", "value"], dropna=False)["of_value"].cumsum()
    rows["run"] = rows["of_any"].where(rows["value"].isna(), rows["of_whole"] + rows["of_value"])
    return rows.loc[rows["is_read"].notna(), ["sequence", "run", "unclear"]].merge(reads, on="sequence")


def _runs(reads: pd.DataFrame, unsure: pd.DataFrame) -> pd.DataFrame:
    """Return one row per run of one question and one status."""
    by_run = reads.groupby(["group", "run"])
    runs = by_run.agg(
        **{name: (name, "first") for name in ("process_id", "key_id", "operation", "status", "value_name")},
        reads=("sequence", "size"), contents=("content", "nunique"), sizes=("size", "nunique"),
        unclear=("unclear", "nunique"), ambiguous=("ambiguous", "any"), first_time=("time", "min"),
        last_time=("time", "max"), first_ns=("time_ns", "min"), last_ns=("time_ns", "max"),
        first_sequence=("sequence", "min"), last_sequence=("sequence", "max"),
    )  # fmt: skip
    more = ["value", "index", "information_class"]
    runs = runs.join(reads.drop_duplicates(["group", "run"]).set_index(["group", "run"])[more])
    runs = runs.join(by_run[["repeated_ns", "repeated_size"]].sum(min_count=1)).reset_index()
    runs["redundant"] = runs["reads"] - 1
    status = runs["status"]
    runs["there"] = (status < FAILED) | status.isin(TOO_SHORT)
    runs["missing"] = status.isin(MISSING)
    any_result = runs.groupby([*QUESTION, "run"], dropna=False)[["there", "missing"]].transform("any")
    both = (runs["there"] | runs["missing"]) & any_result["there"] & any_result["missing"]
    runs["result_changed"] = (runs["contents"] > 1) | (runs["sizes"] > 1) | both
    lossy = lost_between(runs["first_ns"], runs["last_ns"], unsure)
    doubted = lossy | (runs["unclear"] > 1) | runs["ambiguous"]
    return runs.assign(unproved=runs["redundant"].where(doubted, 0))


def _of_questions(runs: pd.DataFrame) -> pd.DataFrame:
    """Return one row per question and status."""
    runs = runs.sort_values(["group", "first_sequence"])
    by_group = runs.groupby("group")
    found = by_group.agg(
        reads=("reads", "sum"), runs=("run", "size"), redundant=("redundant", "sum"), unproved=("unproved", "sum"),
        result_changed=("result_changed", "any"), first_time=("first_time", "min"), last_time=("last_time", "max"),
        first_ns=("first_ns", "min"), last_ns=("last_ns", "max"), first_sequence=("first_sequence", "min"),
        last_sequence=("last_sequence", "max"),
    )  # fmt: skip
    sums = by_group[["repeated_ns", "repeated_size"]].sum(min_count=1)
    found = found.join(sums.set_axis(["time_spent_ns", "bytes"], axis=1))
    asked = runs.drop_duplicates("group").set_index("group")[[*QUESTION, "status", "value_name"]]
    return found.join(asked).reset_index()


def _with_intervals(found: pd.DataFrame, reads: pd.DataFrame) -> pd.DataFrame:
    """Add what is known of the time between one read and the next, where there are enough."""
    many = found.loc[found["reads"] > LEAST_INTERVALS, "group"]
    waits = reads.loc[reads["group"].isin(many) & reads["waited_ns"].notna(), ["group", "waited_ns"]]
    median = waits.groupby("group")["waited_ns"].median()
    away = (waits["waited_ns"] - waits["group"].map(median)).abs().groupby(waits["group"]).median()
    found["interval_ns"] = np.floor(found["group"].map(median))
    found["spread"] = found["group"].map(away / median.where(median != 0))
    found["polling"] = (found["spread"] <= MOST_SPREAD) & (found["interval_ns"] >= LEAST_PERIOD_NS)
    found["period_ns"] = found["interval_ns"].where(found["polling"])
    return found


def _unsure(path: Path, rows: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Return when changes may have been missed: losses, and changes through objects that nobody could name."""
    nameless = keys["name_source"].isin(["partial", "none"]) & (keys["key_id"] == keys["same_as"])
    times = rows.loc[rows["key_id"].isin(keys.loc[nameless, "key_id"]) & _done(rows), "time_ns"]
    width_ns = (rows["time_ns"].max() - rows["time_ns"].min()) // 1000 + 1  # those near each other are one
    nameless = times.groupby(times - times % width_ns).agg(from_ns="min", to_ns="max")
    return pd.concat([table(path, "losses", "from_ns", "to_ns"), nameless.astype("Int64")], ignore_index=True)
