"""Net changes of values and keys in pandas: what each was before its first change, and what it is at the end."""

from pathlib import Path

import numpy as np
import pandas as pd
from analyses_pandas_common import lost_between, real_losses, with_key_names, with_process_names
from analyses_pandas_evidence import (
    KEY_FACTS,
    PARTS,
    VALUE_FACTS,
    evidence,
    first_spellings,
    unproved_changes,
)

CHANGING = ("SetValueKey", "DeleteValueKey", "CreateKey", "DeleteKey", "RenameKey", "LoadKey", "UnloadKey",
            "RestoreKey", "ReplaceKey", "HiveWork")  # fmt: skip
GONE = KEY_FACTS["key_deleted"]
ABSENT_KEY = ["key_created", "key_missing", *GONE]
KEY_CHANGES = ["key_created", *GONE, *KEY_FACTS["key_unknown"]]
KEY_KINDS = {
    "absent": ABSENT_KEY,
    "created": ["key_created"],
    "unknown": KEY_FACTS["key_unknown"],
    "there": ["key_created", "key_opened", "key_used", "write", "delete", "read", "seen", "miss"],
    "gone": ["key_missing", *GONE],
}
OWN_CHANGES = ["write", "delete", *VALUE_FACTS["unclear"]]
OWN_KINDS = {
    "write": ["write"],
    "read": ["read"],
    "seen": ["seen"],
    "absent": ["delete", "miss"],
    "unclear": VALUE_FACTS["unclear"],
}
OWN_STATES = [word for words in OWN_KINDS.values() for word in words]
VALUE = ["key_id", "value"]


def changes(path: Path) -> pd.DataFrame:
    """Nothing is left out; as everything is asked for, nobody else changed it, which is not worked out."""
    found, events = evidence(path)
    is_changing = events["operation"].isin(CHANGING)
    is_changing &= (events["operation"] != "CreateKey") | (events["disposition"] == 1)
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as"])
    changed = keys.loc[keys["key_id"].isin(events.loc[is_changing, "key_id"]), "same_as"]
    marks = found.loc[
        found["key_id"].isin(changed), [*VALUE, "value_name", "fact", "sequence", "time", "process_id"]
    ]
    del found
    own_keys = _keys(marks)
    touched = pd.concat([_values(marks, own_keys), _key_rows(own_keys)])
    return _compared(path, _with_data(touched, events))


def _newest(marks: pd.DataFrame, by: list[str], kinds: dict[str, list[str]]) -> pd.DataFrame:
    """Return the newest sequence of each kind of facts, -1 where there is none, one column each."""
    newest = {
        name: marks["sequence"].where(marks["fact"].isin(words)).fillna(-1) for name, words in kinds.items()
    }
    return marks[by].assign(**newest).groupby(by).max()


def _first_and_last(marks: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Return the ends of changes, which are in order; the first one's fact and the last one's process."""
    ends = marks.groupby(by).agg(
        first=("sequence", "min"), last=("sequence", "max"), first_time=("time", "min"), last_time=("time", "max"),
        first_fact=("fact", "first"), writes=("fact", "size"), processes=("process_id", "nunique"),
    )  # fmt: skip
    last = marks.drop_duplicates(by, keep="last").set_index(by)["process_id"]
    return ends.assign(process_id=last)


def _keys(marks: pd.DataFrame) -> pd.DataFrame:
    """Return the changes of each key itself, and when it was last there and gone, in the end and before them."""
    keys = _newest(marks, ["key_id"], KEY_KINDS)
    keys = keys.join(_first_and_last(marks[marks["fact"].isin(KEY_CHANGES)], ["key_id"]))
    early = marks[marks["sequence"] < marks["key_id"].map(keys["first"])]
    return keys.join(_newest(early, ["key_id"], KEY_KINDS).add_prefix("early_")).reset_index()


def _key_rows(keys: pd.DataFrame) -> pd.DataFrame:
    """Return the keys that were themselves changed as rows of the answer."""
    keys = keys.dropna(subset="first")
    early = keys.filter(like="early_").fillna(-1).rename(columns=lambda name: name.removeprefix("early_"))
    rows = keys[[
        "key_id", "first", "last", "first_time", "last_time", "first_fact", "writes", "processes", "process_id",
    ]]  # fmt: skip
    return rows.assign(
        was_created=(early["created"] > early["unknown"]) & (early["created"] > early["gone"]),
        with_key=False,
        before_at=np.maximum(early["there"], early["gone"]),
        after_at=np.maximum(keys["there"], keys["gone"]),
        before=_state(early["there"], early["gone"], early["unknown"]),
        after=_state(keys["there"], keys["gone"], keys["unknown"]),
    )


def _values(marks: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """Return the values that were changed, or that their key took with it, likewise."""
    own = marks[marks["value"].notna() & marks["fact"].isin(OWN_STATES)]
    rows = _first_and_last(own[own["fact"].isin(OWN_CHANGES)], VALUE)
    rows = own[VALUE].drop_duplicates().merge(rows.reset_index(), on=VALUE, how="left")
    rows = rows.merge(keys.filter(regex="^(?!early_)"), on="key_id", how="left", suffixes=("", "_key"))
    rows["since"] = rows[["first", "first_key"]].min(axis=1)
    rows = rows.dropna(subset="since")
    rows["by_key"] = rows["first_key"].fillna(np.inf) < rows["first"].fillna(np.inf)
    # When the key was last absent, and unclear, before that.
    rows = rows.astype({"since": "int64"}).sort_values("since")
    for name, words in (("early_absent", ABSENT_KEY), ("early_unknown", KEY_FACTS["key_unknown"])):
        states = marks.loc[marks["fact"].isin(words), ["sequence", "key_id"]].rename(
            columns={"sequence": "since"}
        )
        states[name] = states["since"]
        rows = pd.merge_asof(rows, states, on="since", by="key_id", allow_exact_matches=False)
        rows[name] = rows[name].fillna(-1)
    own = own.merge(rows[[*VALUE, "since"]], on=VALUE)
    early = own[own["sequence"] < own["since"]]
    for side, those in (("before", early), ("after", own)):
        newest = _newest(those, VALUE, OWN_KINDS).add_prefix(f"{side}_").reset_index()
        rows = rows.merge(newest, on=VALUE, how="left").fillna({f"{side}_{name}": -1 for name in OWN_KINDS})
    for side, absent, unknown in (
        ("before", rows["early_absent"], rows["early_unknown"]),
        ("after", rows["absent"], rows["unknown"]),
    ):
        write, read, seen = (rows[f"{side}_{name}"] for name in ("write", "read", "seen"))
        gone = np.maximum(rows[f"{side}_absent"], absent)
        unclear = np.maximum(rows[f"{side}_unclear"], unknown)
        there = np.maximum(np.maximum(write, read), seen)
        rows[side] = _state(there, gone, unclear)
        rows[f"{side}_at"] = np.maximum(there, gone)
        for name, last in (("write", write), ("read", read)):
            rows[f"{side}_{name}"] = last.where(last > np.maximum(gone, unclear))
    rows["with_key"] = (rows["after"] == "absent") & (rows["absent"] > rows["after_absent"])
    is_own = rows["first"].notna()
    by_key = rows["by_key"] & (rows["before"] == "present")
    # The key's change is the value's only where the value was there to be lost.
    ended_by_key = (rows["last_key"] > rows["last"].fillna(-1)) & (by_key | is_own)
    for name in ("first", "first_time"):
        rows[name] = rows[name].mask(by_key, rows[f"{name}_key"])
    for name in ("last", "last_time", "process_id"):
        rows[name] = rows[name].mask(ended_by_key, rows[f"{name}_key"])
    rows["processes"] = rows["processes"].where(is_own, rows["processes_key"])
    rows["first_fact"] = rows["first_fact"].mask(rows["by_key"], rows["first_fact_key"])
    rows["writes"] = rows["writes"].fillna(0)
    rows = rows.dropna(subset="first").merge(first_spellings(own), on=VALUE)
    return rows[[
        *VALUE, "value_name", "first", "last", "first_time", "last_time", "first_fact", "writes", "processes",
        "process_id", "before", "after", "before_write", "before_read", "after_write", "after_read", "with_key",
        "before_at", "after_at",
    ]]  # fmt: skip


def _state(there: pd.Series, gone: pd.Series, unclear: pd.Series) -> np.ndarray:
    """Return what the latest of three kinds of evidence says, given by their sequences."""
    return np.select(
        [(there > gone) & (there > unclear), (gone > there) & (gone > unclear)], ["present", "absent"], None
    )


def _with_data(rows: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Add what the events carry that the rows name by sequence."""
    carrying = events[events["operation"].isin(["SetValueKey", "QueryValueKey", "EnumerateValueKey"])]
    first = carrying[["sequence", "previous_type", "previous_size", "previous_data"]]
    rows = rows.merge(first.rename(columns={"sequence": "first"}), on="first", how="left")
    times = events.set_index("sequence")["time"]
    for side in ("before", "after"):
        rows[f"{side}_known"] = rows[f"{side}_at"].map(times)
        for name in ("write", "read"):
            rows[f"{side}_{name}_time"] = rows[f"{side}_{name}"].map(times)
    carried = carrying[["sequence", "data_type", "data_size", "data"]]
    for name in ("before_write", "before_read", "after_write", "after_read"):
        data = carried.set_axis([name, *(f"{name}_{part}" for part in PARTS)], axis=1)
        rows = rows.merge(data, on=name, how="left")
    return rows


def _compared(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the answer: what is otherwise than it was."""
    is_key = rows["value"].isna()
    fact = rows["first_fact"]
    recorded = (fact == "write") & rows["previous_type"].notna()
    deleted = (fact == "delete") | (fact.isin(GONE) & is_key)
    made = (fact == "key_created") & (rows["before"] != "present")
    unproved, losses = unproved_changes(path), real_losses(path)[["from_ns", "to_ns"]]
    for side in ("before", "after"):
        rows[f"{side}_doubted"] = _doubted(rows, side, is_key, unproved, losses)
    rows["before"] = rows["before"].mask(rows["before_doubted"]).mask(recorded | deleted, "present")
    rows["before"] = rows["before"].mask(made, "absent")
    for side in ("before", "after"):
        latest = _latest(rows, side)
        if side == "before":
            latest = latest.mask(rows["before_doubted"])
            latest = latest.mask(
                recorded, rows[[f"previous_{name}" for name in PARTS]].set_axis(PARTS, axis=1)
            )
            latest["from"] = latest["from"].mask(recorded, "event")
        present, absent = rows[side] == "present", rows[side] == "absent"
        latest = latest.where(present)
        rows[f"{side}_from"] = latest["from"].mask(absent, "absent")
        empty = (latest["size"] == 0) & latest["data"].isna()
        latest.loc[empty, "data"] = b""
        for name in PARTS:
            rows[f"{side}_{name}"] = latest[name]
        length = latest["data"].str.len().fillna(0)
        rows[f"{side}_whole"] = latest["type"].notna() & (length == latest["size"])
    rows["after"] = rows["after"].mask(rows["after_doubted"])  # the data stay: they are what was known last
    present = (rows["before"] == "present") & (rows["after"] == "present") & ~is_key
    same = present & rows["before_whole"] & rows["after_whole"] & (rows["before_type"] == rows["after_type"])
    same &= rows["before_data"] == rows["after_data"]
    passing = (rows["before"] == "absent") & (rows["after"] == "absent")
    rows = rows[~same & ~passing]
    is_key, fact = is_key[rows.index], fact[rows.index]
    rows["change"] = _words(rows, is_key, fact)
    whole = True
    for side in ("before", "after"):
        whole &= (rows[side] == "absent") | ((rows[side] == "present") & rows[f"{side}_whole"])
    made = (rows["was_created"] == True) & ~rows["before_doubted"] & rows["after"].notna()  # noqa: E712  (of values it is NULL)
    known = made | (rows["before"] == "absent")
    rows["complete"] = whole.mask(is_key, known & ~rows["change"].isin(["renamed", "unclear"]))
    rows["also_by_others"] = False
    rows = with_key_names(path, rows, "key_id", key="path", display_key="display_path")
    rows = with_process_names(path, rows)
    rows = rows.rename(columns={"first": "first_sequence", "last": "last_sequence"})
    return rows.sort_values(["first_sequence", "key_id", "value"], na_position="first")[[
        "key", "display_key", "value_name", "change", "before_from", "before_type", "before_size", "before_data",
        "after_from", "after_type", "after_size", "after_data", "complete", "with_key", "writes", "processes", "also_by_others",
        "first_time", "last_time", "process", "pid", "first_sequence", "last_sequence", "key_id", "process_id",
    ]]  # fmt: skip


def _doubted(
    rows: pd.DataFrame, side: str, is_key: pd.Series, unproved: pd.DataFrame, losses: pd.DataFrame
) -> pd.Series:
    """Tell what was known and may have been changed before the first change, or until the end."""
    latest = _latest(rows, side)["from"]
    at = rows[f"{side}_known"]
    for name in ("read", "write"):
        at = at.mask((rows[side] == "present") & (latest == name), rows[f"{side}_{name}_time"])
    after = _nanoseconds(at).where(rows[side].notna())
    before = _nanoseconds(rows["first_time"]) + 999
    if side == "after":
        before = pd.Series(2**63 - 1, rows.index)
    times = {kind: some[["from_ns", "to_ns"]] for kind, some in unproved.groupby("kind")}
    nothing = unproved.loc[unproved.index[:0], ["from_ns", "to_ns"]]
    everything = pd.concat([losses, times.get("everything", nothing)])
    found = lost_between(after, before, everything).fillna(False)
    gone = rows[side] == "absent"
    found |= gone & lost_between(after, before, times.get("absence", nothing)).fillna(False)
    found |= gone & is_key & lost_between(after, before, times.get("key", nothing)).fillna(False)
    for name, some in unproved[unproved["kind"] == "value"].groupby("name"):
        same = rows["value"] == name
        found |= same & lost_between(after, before, some[["from_ns", "to_ns"]]).fillna(False)
    return found.astype(bool)


def _nanoseconds(times: pd.Series) -> pd.Series:
    times = times.astype("datetime64[us, UTC]")
    numbers = pd.Series(times.dt.tz_localize(None).to_numpy("datetime64[us]").astype("int64"), times.index)
    return numbers.astype("Int64").mask(times.isna()) * 1000


def _words(rows: pd.DataFrame, is_key: pd.Series, fact: pd.Series) -> np.ndarray:
    before, after = rows["before"], rows["after"]
    was, is_ = before == "present", after == "present"
    was_not, is_not = before == "absent", after == "absent"
    return np.select(
        [
            after.isna(), is_key & (fact == "key_renamed") & is_not, is_key & was_not & is_, is_key & was & is_,
            is_key & was & is_not, is_key, was_not & is_, was & is_, is_, is_not & ~was_not,
        ],
        ["unclear", "renamed", "created", "recreated", "deleted", "unclear", "added", "changed", "set", "removed"],
        "unclear",
    )  # fmt: skip


def _latest(rows: pd.DataFrame, side: str) -> pd.DataFrame:
    """Return from, type, size and data of the last write or read; a read that agrees adds nothing to a write."""
    written = rows[[f"{side}_write_{name}" for name in PARTS]].set_axis(PARTS, axis=1)
    got = rows[[f"{side}_read_{name}" for name in PARTS]].set_axis(PARTS, axis=1)
    write, read = rows[f"{side}_write"], rows[f"{side}_read"]
    newer = read.notna() & (write.isna() | (read > write))
    agree = newer & (written["type"] == got["type"]) & (written["size"] == got["size"])
    pairs = zip(written["data"][agree], got["data"][agree], strict=True)
    agree[agree] = np.array([_one_begins_the_other(*pair) for pair in pairs], bool)
    by_read = newer & ~agree
    latest = written.mask(by_read, got)
    latest["from"] = np.select([by_read, write.notna()], ["read", "write"], None)
    return latest


def _one_begins_the_other(one: object, other: object) -> bool:
    """Tell whether captured bytes are the same as far as both were captured."""
    ours, theirs = (part if isinstance(part, bytes) else b"" for part in (one, other))
    return ours.startswith(theirs) or theirs.startswith(ours)
