"""Repeated reads by a loop over rows: the reference of `analysis.answers.redundant`."""

import itertools
import json
from collections import defaultdict
from typing import Any

import pytest
from plain_counts import is_noise
from plain_facts import EITHER
from plain_rows import counted_rows, failed, plain_answer, plain_rows

from analysis.capture import Capture
from analysis.filters import Filters
from tracer.registry.text import fold_name

__all__ = ["plain_redundant"]

Row = dict[str, Any]
READS = ("QueryKey", "QuerySecurityKey", "QueryValueKey", "EnumerateKey", "EnumerateValueKey")
HIVES = ("LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey")
CUT, AMBIGUOUS = 2, 1


class _Changes:
    """What was changed so far, of each key and of each value."""

    def __init__(self, keys: list[Row]) -> None:
        self.groups = {key["key_id"]: key["same_as"] for key in keys}
        self.parents = {key["key_id"]: self.groups.get(key["parent_id"]) for key in keys}
        self.paths = {key["key_id"]: key["folded_path"] for key in keys if key["key_id"] == key["same_as"]}
        self.sources = {key["key_id"]: key["name_source"] for key in keys if key["key_id"] == key["same_as"]}
        self.whole: dict[Any, int] = defaultdict(int)
        self.any: dict[Any, int] = defaultdict(int)
        self.value: dict[Any, int] = defaultdict(int)
        self.unclear: dict[Any, int] = defaultdict(int)
        self.nameless: list[int] = []  # times

    def see(self, row: Row) -> None:
        group, operation = row["group"], row["operation"]
        if group is None:
            return
        self._see_subtree(row)
        of_key = operation in ("DeleteKey", "RenameKey", EITHER) or (
            operation == "CreateKey" and row["disposition"] != 2 and not is_noise(row)
        )
        of_value = operation in ("SetValueKey", "DeleteValueKey")
        if (row["status"] or 0) >= 2**31 or not (
            of_key
            or of_value
            or operation == "SetSecurityKey"
            or (operation == "SetInformationKey" and row["information_class"] != 5)  # tags of handles
        ):
            return
        if self.sources.get(row["key_id"]) in ("partial", "none"):
            self.nameless.append(row["time_ns"])
        self.any[group] += 1
        if of_value and row["folded_value"] is not None and not row["flags"] & AMBIGUOUS:
            self.value[group, row["folded_value"]] += 1
        elif of_key or of_value:
            self.whole[group] += 1
        if of_key and self.parents.get(group) is not None:
            self.any[self.parents[group]] += 1
            self.whole[self.parents[group]] += operation == EITHER

    def _see_subtree(self, row: Row) -> None:
        operation, status, path = row["operation"], row["status"], self.paths[row["group"]]
        told = [f'"event": "{name}"' for name in ("UnloadHiveStart", "HiveDestroy", "HiveLink")]
        hive = operation in HIVES or (
            operation == "HiveWork" and any(text in (row["detail"] or "") for text in told)
        )
        tops = []
        if hive and (status or 0) < 2**31:
            tops = [path]
        elif operation == "RenameKey" and (status or 0) < 2**31:
            tops = [path]
            if row["requested_name"] is not None:
                tops.append(
                    path.rpartition("\\")[0] + "\\" * ("\\" in path) + fold_name(row["requested_name"])
                )
        for top in tops:
            for number, other in self.paths.items():
                if other == top or other.startswith(top + "\\"):
                    self.unclear[number] += 1


def plain_redundant(capture: Capture, filters: Filters | None = None, min_count: int = 1) -> list[Row]:
    """Return the answer of `redundant_reads` without names."""
    changes = _Changes(plain_answer(capture.tables["keys"]))
    fitting = {row["sequence"] for row in counted_rows(capture, filters)}
    asked: dict[Any, list[Row]] = defaultdict(list)
    results: dict[Any, list[int]] = defaultdict(list)  # of each question and run, whatever the status
    for row in plain_rows(capture):
        changes.see(row)
        named = row["operation"] == "QueryValueKey"
        by_index = row["operation"].startswith("Enumerate")
        if (
            row["operation"] not in READS or row["sequence"] not in fitting
            or None in (row["process_id"], row["group"], row["status"])
            or (named and row["folded_value"] is None) or (by_index and row["index"] is None)
        ):  # fmt: skip
            continue
        value = row["folded_value"] if named else None
        question = (row["process_id"], row["group"], row["operation"], value, row["index"] if by_index else None,
                    row["information_class"])  # fmt: skip
        row["run"] = (
            changes.whole[row["group"]] + changes.value[row["group"], value]
            if named
            else changes.any[row["group"]]
        )
        row["unclear"] = changes.unclear[row["group"]]
        asked[*question, row["status"]].append(row)
        results[*question, row["run"]].append(row["status"])
    unsure = _unsure(capture, changes.nameless)
    answers = [_answer(question, rows, results, unsure) for question, rows in asked.items()]
    answers = [answer for answer in answers if answer["redundant"] >= min_count]
    return sorted(answers, key=lambda row: (-row["redundant"], -row["reads"], row["first_sequence"]))


def _unsure(capture: Capture, nameless: list[int]) -> list[tuple[int, int]]:
    parts = capture.manifest.parts
    span = max(part["last_ns"] for part in parts) - min(part["first_ns"] for part in parts)
    width = span // 1000 + 1
    steps: dict[int, list[int]] = defaultdict(list)
    for time in nameless:
        steps[time // width].append(time)
    lost = [
        (
            -(2**63) if loss["from_ns"] is None else loss["from_ns"],
            2**63 if loss["to_ns"] is None else loss["to_ns"],
        )
        for loss in capture.info()["losses"]
    ]
    return lost + [(min(times), max(times)) for times in steps.values()]


def _answer(
    question: Any, rows: list[Row], results: dict[Any, list[int]], unsure: list[tuple[int, int]]
) -> Row:
    *asked, status = question
    runs: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        runs[row["run"]].append(row)
    again = [row for run in runs.values() for row in run[1:]]
    unproved = 0
    changed = False
    for number, run in runs.items():
        first, last = min(row["time_ns"] for row in run), max(row["time_ns"] for row in run)
        doubtful = (
            any(start <= last and end >= first for start, end in unsure)
            or len({row["unclear"] for row in run}) > 1
            or any(row["flags"] & AMBIGUOUS for row in run)
        )
        unproved += (len(run) - 1) * doubtful
        contents = {_content(row) for row in run if _is_comparable(row)} - {None}
        sizes = {row["data_size"] for row in run if _tells_of_key(row)} - {None}
        others = results[*asked, number]
        there = any(not failed({"status": other}) and other not in (0x8000001A,) for other in others)
        missing = any(other in (0xC0000034, 0x8000001A) for other in others)
        one_of_them = status in (0xC0000034, 0x8000001A) or (not failed({"status": status}))
        changed |= len(contents) > 1 or len(sizes) > 1 or (there and missing and one_of_them)
    waits = [max(0, b["time_ns"] - a["time_ns"]) for a, b in itertools.pairwise(rows)]
    interval = spread = None
    if len(waits) >= 5:
        interval = _median(waits)
        spread = _median([abs(wait - interval) for wait in waits]) / interval if interval else None
    polling = spread is not None and interval is not None and spread <= 0.1 and interval >= 10**7
    known = [row["duration_ns"] for row in again if row["duration_ns"] is not None]
    sizes_again = [row["data_size"] for row in again if row["data_size"] is not None and status < 2**31]
    span = rows[-1]["time_ns"] - rows[0]["time_ns"]
    return {
        "process_id": asked[0],
        "key_id": asked[1],
        "operation": asked[2],
        "index": asked[4],
        "information_class": asked[5],
        "status": status,
        "value_name": rows[0]["value_name"] if asked[2] == "QueryValueKey" else None,
        "reads": len(rows),
        "runs": len(runs),
        "redundant": len(again),
        "unproved": unproved,
        "proved": unproved == 0,
        "result_changed": changed,
        "per_second": pytest.approx(len(rows) * 1e9 / span) if span else None,
        "time_spent_ns": sum(known) if known else None,
        "bytes": sum(sizes_again) if sizes_again else None,
        "interval_ns": None if interval is None else int(interval),
        "spread": None if spread is None else pytest.approx(spread),
        "polling": polling,
        "period_ns": int(interval) if polling and interval is not None else None,
        "first_sequence": rows[0]["sequence"],
        "last_sequence": rows[-1]["sequence"],
    }


def _is_comparable(row: Row) -> bool:
    facts = row["operation"] == "QueryKey" and row["information_class"] in (2, 4)
    values = row["operation"] in ("QueryValueKey", "EnumerateValueKey")
    return (facts or values) and row["status"] < 2**31 and not row["flags"] & CUT


def _content(row: Row) -> Any:
    """Return what a read told: a value's data, or the facts of a key without the length of the caller's buffer."""
    if row["operation"] != "QueryKey":
        return row["data"]
    facts = json.loads(row["detail"] or "{}")
    return (
        None
        if not facts or "ResultLength" in facts
        else tuple(item for item in facts.items() if item[0] != "Length")
    )


def _tells_of_key(row: Row) -> bool:
    class_ = row["information_class"]
    return row["status"] < 2**31 and (row["operation"] != "QueryKey" or (class_ is not None and class_ < 5))


def _median(numbers: list[Any]) -> float:
    ordered = sorted(numbers)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
