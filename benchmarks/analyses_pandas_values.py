"""The history of values in pandas."""

from pathlib import Path

import numpy as np
import pandas as pd
from analyses_common import SUBTREE
from analyses_pandas_common import (
    NOT_FOUND,
    ids_of,
    lost_between,
    real_losses,
    status_names,
    with_key_names,
    with_process_names,
)
from analyses_pandas_evidence import (
    CHANGES_OF_VALUES,
    KEY_FACTS,
    PARTS,
    VALUE_FACTS,
    evidence,
    first_spellings,
    known_value,
    unproved_changes,
    value_texts,
)


def history_of_a_subtree(path: Path) -> pd.DataFrame:
    """Nothing is left out; pyarrow looks for the rows."""
    found, rows = evidence(path, ids_of(path, subtree=SUBTREE))
    return _told(_changes(path, found, rows))


def _changes(path: Path, found: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Return what changed values, with what was known of each before."""
    marks = found[["sequence", "key_id", "fact", "said", "value", "operation"]].assign(rank=1)
    marks = marks[~marks["fact"].isin(["key_opened", "key_used", "key_hearsay"])]
    # A key that is deleted or renamed takes the values with it that were heard of before.
    gone = marks[marks["fact"].isin(KEY_FACTS["key_deleted"])]
    heard = (
        marks.dropna(subset="value")
        .groupby(["key_id", "value"])["sequence"]
        .min()
        .rename("first")
        .reset_index()
    )
    taken = gone.drop(columns="value").merge(heard, on="key_id")
    taken = taken[taken["sequence"] > taken["first"]].drop(columns="first").assign(rank=0)
    marks = pd.concat([marks, taken]).sort_values(["sequence", "rank"])
    by_value = [marks["key_id"], marks["value"]]
    for facts, by in ((VALUE_FACTS, by_value), (KEY_FACTS, [marks["key_id"]])):
        for name, words in facts.items():
            said = marks["fact"].isin(words) & (marks["rank"] == 1)
            newest = marks["sequence"].where(said).groupby(by, dropna=False).ffill()
            marks[name] = newest.groupby(by, dropna=False).shift()  # before this row
    marks["own_from"], marks["own_sequence"] = known_value(marks)
    change = marks["operation"].isin(CHANGES_OF_VALUES) & marks["value"].notna()
    marks = marks[change | ((marks["rank"] == 0) & marks["own_from"].isin(["write", "read"]))]
    answer = marks[["sequence", "key_id", "said", "value", "own_from", "own_sequence"]]
    answer = answer.merge(rows.drop(columns=["key_id", "value_name", "information_class"]), on="sequence")
    own = rows[["sequence", "time_ns", "operation", "data_type", "data_size", "data"]]
    own.columns = ["own_sequence", "own_ns", "own_operation", "own_type", "own_size", "own_data"]
    own = own.astype({"own_ns": "Int64"})
    answer = answer.merge(own, on="own_sequence", how="left")
    answer["lost"] = _lost(path, answer)
    answer["own_fact"] = np.where(answer["own_operation"] == "SetValueKey", "write", "read")
    done = ~answer["said"].isin(["failed", "miss"])
    answer["done"] = done.astype("boolean").mask(answer["said"] == "unclear")
    answer = answer.merge(first_spellings(found), on=["key_id", "value"], how="left")
    answer = with_key_names(path, answer, "key_id", display_key="display_path")
    answer = with_process_names(path, answer)
    return answer.sort_values(["sequence", "key_id", "value_name"])[[
        "sequence", "time", "display_key", "operation", "status", "process", "pid", "data_type", "data_size", "data",
        "previous_type", "previous_size", "previous_data", "own_from", "own_sequence", "own_type",
        "own_size", "own_data", "lost", "key_id", "process_id", "handle_id", "flags", "value_name", "own_fact", "done",
    ]]  # fmt: skip


def _lost(path: Path, rows: pd.DataFrame) -> pd.Series:
    """Tell between which events and what was known before a change may have been missed."""
    unproved = unproved_changes(path)
    times = {kind: some[["from_ns", "to_ns"]] for kind, some in unproved.groupby("kind")}
    nothing = unproved.loc[unproved.index[:0], ["from_ns", "to_ns"]]
    lost = pd.concat([real_losses(path)[["from_ns", "to_ns"]], times.get("everything", nothing)])
    found = lost_between(rows["own_ns"], rows["time_ns"], lost)
    gone = rows["own_from"].isin(["absent", "deleted"])
    found |= gone & lost_between(rows["own_ns"], rows["time_ns"], times.get("absence", nothing))
    for name, some in unproved[unproved["kind"] == "value"].groupby("name"):
        same = rows["value"] == name
        found |= same & lost_between(rows["own_ns"], rows["time_ns"], some[["from_ns", "to_ns"]])
    return found


def _told(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of `_changes` as people read them: contents decoded, sources compared."""
    operation, source = rows["operation"], rows["own_from"]
    recorded = rows[[f"previous_{name}" for name in PARTS]].notna().any(axis=1)
    missed = (operation == "DeleteValueKey") & (rows["status"] == NOT_FOUND)
    held, absent = source.isin(["write", "read"]), source.isin(["absent", "deleted"])
    own = rows[[f"own_{name}" for name in PARTS]].set_axis(PARTS, axis=1)
    stated = {"type": "data_type", "size": "data_size", "data": "data"}
    for name in PARTS:
        rows[f"new_{name}"] = rows[stated[name]].where(operation == "SetValueKey")
        known = own[name].where(held & ~missed)
        rows[f"old_{name}"] = known.mask(recorded, rows[f"previous_{name}"])
    for side in ("new", "old"):
        rows[f"{side}_text"] = value_texts(*(rows[f"{side}_{name}"] for name in PARTS))
    rows["old_from"] = np.select(
        [recorded, missed | absent, held & (source == "write"), held],
        ["event", "absent", "write", "read"],
        None,
    )
    by_itself = recorded | missed | ~(held | absent)
    rows["old_sequence"] = rows["own_sequence"].mask(by_itself)
    rows["across_loss"] = rows["lost"].mask(by_itself)
    differs = pd.Series(False, rows.index)
    for name in ("type", "size"):
        before = rows[f"previous_{name}"]
        differs |= (own[name] != before) & own[name].notna() & before.notna()
    both = own["data"].notna() & rows["previous_data"].notna()
    pairs = zip(own["data"][both], rows["previous_data"][both], strict=True)
    differs[both] |= np.array([one[: len(other)] != other[: len(one)] for one, other in pairs], bool)
    deleted = (operation == "DeleteValueKey") & rows["done"].fillna(False)
    rows["conflict"] = np.select(
        [absent & (recorded | deleted), held & missed, held & recorded & differs],
        ["absent", "present", "data"],
        None,
    )
    rows["status_name"] = status_names(rows["status"])
    return rows[[
        "sequence", "time", "display_key", "value_name", "operation", "done", "status", "status_name", "process",
        "pid", "new_type", "new_size", "new_data", "new_text", "old_from", "old_type", "old_size", "old_data",
        "old_text", "old_sequence", "across_loss", "conflict", "key_id", "process_id", "handle_id", "flags",
    ]]  # fmt: skip
