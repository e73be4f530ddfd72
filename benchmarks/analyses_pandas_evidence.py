"""What events say of values and of keys, in pandas: the ground of the history."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from analyses_pandas_common import (
    FAILED,
    HIVES,
    NOT_FOUND,
    OPENS,
    PATH_NOT_FOUND,
    TOO_SHORT,
    events,
    folded,
    link_target,
)

from tracer.registry.ntstatus import NOT_FAILURES
from tracer.registry.values import decode_value
from tracer.schema import FLAGS

COLUMNS = ("sequence", "time", "time_ns", "process_id", "handle_id", "operation", "status", "value_name",
           "requested_name", "information_class", "data_type", "data_size", "data", "previous_type", "previous_size",
           "previous_data", "flags", "key_id", "disposition", "detail")  # fmt: skip
OF_SUBTREES = ("RenameKey", *HIVES, "HiveWork")
CHANGES_OF_VALUES = ("SetValueKey", "DeleteValueKey")
PENDING = 0x103
UNPROVED = FLAGS["across_loss"] | FLAGS["name_ambiguous"]

# what a value or its key was last known by -> the facts that say so
VALUE_FACTS = {"write": ["write"], "read": ["read"], "seen": ["seen"], "missed": ["miss"], "deleted": ["delete"],
               "unclear": ["unclear", "doubtful"]}  # fmt: skip
KEY_FACTS = {"key_absent": ["key_created", "key_missing"], "key_deleted": ["key_deleted", "key_renamed"],
             "key_unknown": ["key_unknown", "key_doubtful"]}  # fmt: skip
EXISTING_KEY = ["key_created", "key_opened", "key_used", "write", "delete", "read", "seen", "miss"]
PARTS = ("type", "size", "data")


def evidence(path: Path, ids: Sequence[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row for each event and key it says something of, by sequence; and the event rows.

    Added are `fact`, and `value`, the folded name; `key_id` is that of the group. Only of the keys `ids`.
    """
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "same_as", "folded_path", "name_source"])
    keys["folded_path"] = link_target(keys["folded_path"])
    nameless = keys.loc[keys["name_source"].isin(["partial", "none"]), "key_id"]
    keys = keys.drop(columns="name_source")
    chosen = [
        [("key_id", "in", ids)], [("operation", "in", OF_SUBTREES)],
        [("key_id", "in", _ids_above(keys, ids) or [-1]), ("operation", "in", [*OPENS, "DeleteKey"])],
    ]  # fmt: skip
    rows = events(path, *COLUMNS, filters=chosen).sort_values("sequence")
    unproved = rows["key_id"].isin(nameless) | (rows["flags"] & UNPROVED != 0)
    found = rows.assign(
        unproved=unproved, key_id=rows["key_id"].map(keys.set_index("key_id")["same_as"])
    ).dropna(subset="key_id")
    found["said"] = _facts(found)
    found = found.dropna(subset="said")
    found["fact"] = _proved(found)
    found["value"] = folded(found["value_name"]).mask(found["fact"].str.startswith("key_"))
    paths = keys[keys["key_id"] == keys["same_as"]]
    more = [*_below(found, paths), _below_absent(found, paths)]
    found = pd.concat([found, *more]).sort_values("sequence", kind="stable")
    # Of keys that nothing was asked of, what was done to those above says nothing.
    touched = rows["key_id"].drop_duplicates()
    asked = keys.loc[keys["key_id"].isin(touched[touched.isin(ids)]), "same_as"]
    return found[found["key_id"].isin(asked)], rows


def _ids_above(keys: pd.DataFrame, ids: Sequence[int]) -> list[int]:
    """Return the keys above some keys, in all their spellings."""
    above = set()
    for path in keys.loc[keys["key_id"].isin(ids), "folded_path"]:
        above |= set(_paths_above(path))
    return keys[keys["folded_path"].isin(above)]["key_id"].tolist()


def _paths_above(path: str) -> list[str]:
    return [path[:place] for place, letter in enumerate(path) if letter == "\\"]


def _proved(found: pd.DataFrame) -> np.ndarray:
    """Return what rows prove: under a name that is not proved, less than they say."""
    said = found["said"]
    return np.select(
        [
            ~found["unproved"] | (said == "failed"), said.isin(["write", "delete", "unclear"]),
            said.isin(["key_created", "key_deleted", "key_renamed", "key_unknown"]), said.str.startswith("key_"),
        ],
        [said, "doubtful", "key_doubtful", "key_hearsay"], "hearsay",
    )  # fmt: skip


def _below_absent(found: pd.DataFrame, paths: pd.DataFrame) -> pd.DataFrame:
    """Return what keys that were missing, deleted or made say of those below that were heard of before."""
    tops = found[found["fact"].isin(["key_created", "key_missing", "key_deleted"])]
    by_path = paths.set_index("folded_path")["key_id"]
    path_of = paths.set_index("key_id")["folded_path"]
    heard = found[found["fact"].isin(EXISTING_KEY)].groupby("key_id")["sequence"].min()
    absent = set(tops["key_id"])
    pairs = [
        (top, key, first)
        for key, first in heard.items()
        for above in _paths_above(path_of.get(key, ""))
        for top in np.atleast_1d(by_path.get(above, -1))
        if top in absent
    ]
    below = pd.DataFrame(pairs, columns=["key_id", "other_id", "heard_at"]).astype("int64")
    rows = tops.astype({"key_id": "int64"}).merge(below, on="key_id")
    rows = rows[rows["sequence"] > rows["heard_at"]]
    rows = rows.assign(key_id=rows["other_id"], fact="key_missing", said="key_missing", value=None)
    return rows.drop(columns=["other_id", "heard_at"])


def _facts(rows: pd.DataFrame) -> np.ndarray:
    operation, status = rows["operation"], rows["status"]
    done, failed, missed = (status < FAILED) & (status != PENDING), status >= FAILED, status == NOT_FOUND
    named = rows["value_name"].notna()
    changes = operation.isin(CHANGES_OF_VALUES) & named
    queries = (operation == "QueryValueKey") & named
    reads = queries | ((operation == "EnumerateValueKey") & named)
    told = rows["data"].notna() | ((rows["data_size"] == 0) & rows["data_type"].notna())
    opens, made = operation.isin(OPENS), (operation == "CreateKey") & (rows["disposition"] == 1)
    answered = done | status.isin(NOT_FAILURES)
    whose = rows["information_class"].notna() & ~rows["information_class"].isin([3, 7])  # else: of the handle
    asked = operation.isin(["EnumerateKey", "EnumerateValueKey", "SetInformationKey"])
    cases = [
        (changes & done & (operation == "SetValueKey"), "write"),
        (changes & done, "delete"),
        ((queries | ((operation == "DeleteValueKey") & named)) & missed, "miss"),
        (changes & failed, "failed"),
        (changes, "unclear"),
        (reads & done & told, "read"),
        (reads & (done | status.isin(TOO_SHORT)), "seen"),
        (opens & (status == 0) & made, "key_created"),
        (opens & (status == 0), "key_opened"),
        (opens & status.isin([NOT_FOUND, PATH_NOT_FOUND]), "key_missing"),
        ((operation == "DeleteKey") & done, "key_deleted"),
        ((operation == "RenameKey") & done, "key_renamed"),
        ((operation.isin(["DeleteKey", "RenameKey"]) | changes_hive(rows)) & ~failed, "key_unknown"),
        ((asked | ((operation == "QueryKey") & whose)) & answered, "key_used"),
    ]
    return np.select(*zip(*cases, strict=True), None)


def changes_hive(rows: pd.DataFrame) -> pd.Series:
    """Tell which rows put another hive in the place of what was there."""
    other = rows["detail"].str.contains(r'"event": "(?:UnloadHiveStart|HiveDestroy|HiveLink)"', na=False)
    return rows["operation"].isin(HIVES) | ((rows["operation"] == "HiveWork") & other.astype(bool))


def _below(found: pd.DataFrame, paths: pd.DataFrame) -> list[pd.DataFrame]:
    """Return what renames and changes of hives say of the keys below, and of those at and below a new name."""
    tops = found[found["said"].isin(["key_renamed", "key_unknown"]) & (found["operation"] != "DeleteKey")]
    tops = tops.merge(paths, on="key_id")
    new_names = folded(tops["requested_name"])
    says = []
    for place, old in enumerate(tops["folded_path"]):  # they are few
        top = tops.iloc[[place]].drop(columns=["same_as", "folded_path"]).assign(value=None)
        below = paths.loc[paths["folded_path"].str.startswith(old + "\\"), ["key_id"]]
        says.append(top.drop(columns="key_id").merge(below, how="cross"))
        new = old.rpartition("\\")[0] + "\\" + str(new_names[place])
        if tops["operation"][place] == "RenameKey" and isinstance(new_names[place], str) and new != old:
            same = (paths["folded_path"] == new) | paths["folded_path"].str.startswith(new + "\\")
            other = top.drop(columns="key_id").assign(fact="key_unknown", said="key_unknown")
            says.append(other.merge(paths.loc[same, ["key_id"]], how="cross"))
    return says


def unproved_changes(path: Path) -> pd.DataFrame:
    """Return when something was changed under no proved name: kind, name, from_ns, to_ns (here each by itself)."""
    keys = pd.read_parquet(path / "keys.parquet", columns=["key_id", "name_source"])
    nameless = keys.loc[keys["name_source"].isin(["partial", "none"]), "key_id"]
    columns = ("time_ns", "key_id", "operation", "status", "disposition", "value_name", "flags", "detail")
    rows = events(path, *columns)
    unproved = rows["key_id"].isna() | rows["key_id"].isin(nameless)
    unproved |= rows["flags"] & FLAGS["across_loss"] != 0
    rows = rows[unproved & ~(rows["status"] >= FAILED).fillna(False)]
    event = rows["detail"].astype("object").map(lambda text: _told_of(text).get("event"))
    code = (
        rows["detail"].astype("object").map(lambda text: _told_of(text).get("StatusCode", 0)).astype("int64")
    )
    hives = (rows["operation"] == "HiveWork") & rows["key_id"].isna() & (code < FAILED)
    rows["kind"] = np.select(
        [
            rows["operation"].isin(CHANGES_OF_VALUES) & rows["value_name"].notna(),
            rows["operation"].isin([*CHANGES_OF_VALUES, "DeleteKey", "RenameKey", "UnloadKey", "RestoreKey", "ReplaceKey"]),
            (rows["operation"] == "CreateKey") & ~(rows["disposition"] == 2).fillna(False),
            (rows["operation"] == "LoadKey")
            | (hives & event.isin(["LoadHiveStart", "LoadHiveStop", "MountHiveStop", "HiveLink"])),
            hives & event.isin(["RestoreHiveStart", "RestoreHiveStop", "UnloadHiveStart", "HiveDestroy"]),
        ],
        ["value", "everything", "key", "absence", "everything"], None,
    )  # fmt: skip
    rows["name"] = folded(rows["value_name"])
    first_ns, last_ns = (getattr(events(path, "time_ns")["time_ns"], how)() for how in ("min", "max"))
    part = rows["time_ns"] // ((last_ns - first_ns) // 1000 + 1)
    rows = rows.dropna(subset="kind")
    by = [rows["kind"], rows["name"].where(rows["kind"] == "value"), part]
    times = rows.groupby(by, dropna=False)["time_ns"].agg(from_ns="min", to_ns="max").reset_index()
    return times[["kind", "name", "from_ns", "to_ns"]]


def _told_of(detail: object) -> dict[str, Any]:
    return json.loads(detail) if isinstance(detail, str) else {}


def first_spellings(found: pd.DataFrame) -> pd.DataFrame:
    """Return how each value was spelled first; the rows are in order."""
    return found.dropna(subset="value").drop_duplicates(["key_id", "value"])[
        ["key_id", "value", "value_name"]
    ]


def known_value(rows: pd.DataFrame) -> tuple[np.ndarray, pd.Series]:
    """Return how values were known, and the sequences of the events by which they were.

    The columns VALUE_FACTS and KEY_FACTS are the newest sequence of such evidence, NULL where there is none.
    """
    last = rows.reindex(columns=[*VALUE_FACTS, *KEY_FACTS, "hearsay"]).astype("float64").fillna(-1)
    data, seen = last[["write", "read"]].max(axis=1), last["seen"]
    deleted = last[["deleted", "key_deleted"]].max(axis=1)
    absent = last[["missed", "key_absent"]].max(axis=1)
    gone, unsure = np.maximum(deleted, absent), last[["unclear", "key_unknown"]].max(axis=1)
    some = np.maximum(np.maximum(data, seen), gone)
    unknown, held = (unsure > some) | (some < 0), (data > gone) & (data > unsure)
    word = np.select(
        [(some < 0) & (unsure < 0) & (last["hearsay"] < 0), unknown, held & (last["write"] == data), held, seen > gone, deleted > absent],
        [None, "unknown", "write", "read", "read", "deleted"], "absent",
    )  # fmt: skip
    before = np.select([data > gone, seen > gone, gone >= 0], [data, seen, gone], unsure)
    before = np.where(last["hearsay"] > some, last["hearsay"], before)
    sequence = np.select([unknown, held, seen > gone], [before, data, seen], gone)
    return word, pd.Series(sequence, rows.index).replace(-1, np.nan)


def value_texts(kind: pd.Series, size: pd.Series, data: pd.Series) -> list[str | None]:
    """Return values as people read them."""
    texts = []
    for row in zip(kind, data, size, strict=True):
        number, content, length = (None if pd.isna(part) else part for part in row)
        if number is None and content is None and length is None:
            texts.append(None)
            continue
        number, length = (None if part is None else int(part) for part in (number, length))
        texts.append(decode_value(number, b"" if content is None and length == 0 else content, length))
    return texts
