"""The page about time in the registry: against plain loops, Procmon's durations, and the story of a slow start."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hand_capture import EPOCH_NS, MISSING, event, write_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import regtrace as rt
from analysis.answers.slow import EDGES_NS
from analysis.open import open_capture
from analysis.questions.slow import SLOW
from tracer.errors import UsageError
from tracer.scenarios import read_story, story_path

V = "HKLM\\SOFTWARE\\Vendor"
Rows = list[dict[str, Any]]


def sections(rows: pd.DataFrame) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        found.setdefault(row["section"], []).append(row)
    return found


def covered(spans: list[tuple[int, int]]) -> int:
    """Return how much time lies in at least one of the spans."""
    edges = sorted({end for span in spans for end in span})
    return sum(b - a for a, b in pairwise(edges) if any(start <= a and b <= end for start, end in spans))


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["OpenKey", "QueryValueKey", "SetValueKey"]), st.sampled_from("abc"),
        st.sampled_from([0, 0, MISSING]), st.integers(0, 400), st.integers(0, 4_000_000), st.sampled_from([1, 2]),
    ),
    min_size=1, max_size=25,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
def test_every_sum_is_what_loops_find(tmp_path_factory: pytest.TempPathFactory, drawn: list[Any]) -> None:
    at_us, events = 0, []
    for operation, name, status, later, duration, thread in drawn:
        at_us += later
        value = None if operation == "OpenKey" else name
        more = {
            "status": status,
            "at_us": at_us,
            "duration_ns": duration,
            "thread": thread,
            "information_class": 2,
        }
        events.append(event(operation, f"{V}\\{name}", value, **more))
    path = write_events(tmp_path_factory.mktemp("slow") / "a.regtrace", events)
    with open_capture(path, threads=1) as capture:
        found, again = sections(capture.slow(most=100)), capture.redundant()
    spans = [
        (EPOCH_NS + 1000 * one["at_us"], EPOCH_NS + 1000 * one["at_us"] + one["duration_ns"])
        for one in events
    ]
    spent = sum(one["duration_ns"] for one in events)
    wall = max(end for _, end in spans) - spans[0][0]
    assert [(row["name"], row["time_spent_ns"]) for row in found["total"]] == [
        ("wall", wall), ("registry", covered(spans)), ("threads", spent)
    ]  # fmt: skip
    for section, column in (("operation", "operation"), ("key", "display_key")):
        of = Counter[str]()
        for one in events:
            of[one["operation" if section == "operation" else "key"]] += one["duration_ns"]
        assert {row[column]: row["time_spent_ns"] for row in found[section]} == of
        times = [row["time_spent_ns"] for row in found[section]]
        assert times == sorted(times, reverse=True)
    classes = Counter(max(edge for edge in EDGES_NS if edge <= one["duration_ns"]) for one in events)
    assert {row["least_ns"]: row["events"] for row in found["duration"] if row["events"]} == classes
    assert sum(row["time_spent_ns"] for row in found["duration"]) == spent
    assert sum(row["events"] for row in found["stretch"]) == len(events)
    assert {row["most_ns"] for row in found["stretch"]} == {1_000_000}
    saved = {row["name"]: (row["events"], row["time_spent_ns"]) for row in found["saved"]}
    repeated = again["status"] == MISSING
    missed = [one for one in events if one["status"] == MISSING]
    assert saved["polling"][0] + saved["repeated"][0] == again["redundant"].sum()
    assert saved["missed"] == (
        len(missed) - again["redundant"][repeated].sum(),
        sum(one["duration_ns"] for one in missed) - again["time_spent_ns"][repeated].sum(),
    )
    assert saved["together"] == tuple(
        sum(saved[name][i] for name in ("polling", "repeated", "missed")) for i in (0, 1)
    )
    assert sum(row["events"] for row in found.get("miss", [])) == len(missed)
    places = Counter(one["key"] if one["value_name"] else V for one in missed)
    assert {row["display_key"]: row["events"] for row in found.get("miss", [])} == places


def test_without_durations_counts_decide_and_times_are_null(tmp_path: Path) -> None:
    reads = [event("QueryValueKey", V, "v", information_class=2, at_us=5 * n) for n in range(4)]
    opens = [event("OpenKey", f"{V}\\k{n}", status=MISSING, at_us=50 + n) for n in range(3)]
    with open_capture(write_events(tmp_path / "a.regtrace", reads + opens)) as capture:
        answer = capture.slow()
        found = sections(answer)
    assert list(answer.columns) == list(SLOW)
    assert "duration" not in found
    assert {row["time_spent_ns"] for rows in found.values() for row in rows if row["name"] != "wall"} == {
        None
    }
    assert found["total"][0]["time_spent_ns"] == 52_000
    assert [(row["operation"], row["events"]) for row in found["operation"]] == [
        ("QueryValueKey", 4),
        ("OpenKey", 3),
    ]
    assert [(row["name"], row["events"]) for row in found["saved"]] == [
        ("polling", 0), ("repeated", 3), ("missed", 3), ("together", 6)
    ]  # fmt: skip
    assert [(row["display_key"], row["events"], row["names"]) for row in found["miss"]] == [(V, 3, 3)]


def test_what_windows_does_by_itself_is_not_what_a_program_can_save(tmp_path: Path) -> None:
    tags = [event("QueryKey", V, information_class=7, at_us=n) for n in range(9)]
    with open_capture(write_events(tmp_path / "a.regtrace", tags)) as capture:
        found = sections(capture.slow())
    assert (found["total"][0]["events"], found["saved"][-1]["events"], "read" in found) == (9, 0, False)


def test_nothing_is_a_page_of_zeros(tmp_path: Path) -> None:
    with open_capture(write_events(tmp_path / "a.regtrace", [event("OpenKey", V)])) as capture:
        empty = sections(capture.slow(operation="write"))
        assert [(row["events"], row["time_spent_ns"]) for row in empty["total"]] == [(0, None)] * 3
        assert list(empty) == ["total"]
        with pytest.raises(UsageError, match="1 or more"):
            capture.slow(most=0)
        with pytest.raises(UsageError, match="no lazy form"):
            capture.lazy.slow()
    with rt.open({"a": tmp_path / "a.regtrace"}) as fleet:
        assert len(fleet.slow())  # one capture has one clock
    write_events(tmp_path / "b.regtrace", [event("OpenKey", V)])
    with (
        rt.open([tmp_path / "a.regtrace", tmp_path / "b.regtrace"]) as two,
        pytest.raises(UsageError, match="clocks are not shared"),
    ):
        two.slow()


@pytest.mark.slow
def test_procmons_durations_are_summed_up(procmon_capture: Path) -> None:
    with open_capture(procmon_capture) as capture:
        found = sections(capture.slow(process="Explorer.EXE"))
        events = capture.timeline(process="Explorer.EXE", columns=["time_ns", "duration_ns", "operation"])
    starts = events["time_ns"].astype("int64")
    ends = starts + events["duration_ns"].astype("int64")
    busy, until = 0, 0
    for start, end in sorted(zip(starts, ends, strict=True)):
        busy, until = busy + max(end - max(start, until), 0), max(until, end)
    total = {row["name"]: row["time_spent_ns"] for row in found["total"]}
    assert total == {
        "wall": ends.max() - starts.min(), "registry": busy, "threads": int(events["duration_ns"].sum())
    }  # fmt: skip
    assert sum(row["events"] for row in found["duration"]) == len(events)
    assert sum(row["time_spent_ns"] for row in found["operation"]) == total["threads"]


@pytest.mark.slow
def test_a_slow_start_is_explained(tmp_path: Path) -> None:
    trace = tmp_path / "slow.etl"
    rt.simulate(trace, rt.SimulationOptions(events=2000, seed=3), scenario="slow-start")
    planted = {one["what"]: one for one in read_story(story_path(trace))["plants"]}
    rt.ingest([trace], tmp_path / "slow.regtrace")
    with open_capture(tmp_path / "slow.regtrace") as capture:
        found = sections(capture.slow(process="Ledger.exe"))
    reads = {(row["name"], row["display_key"], row["value_name"]): row["events"] for row in found["read"]}
    theme, state, search = planted["redundant read"], planted["polling"], planted["search"]
    assert reads["repeated", theme["key"], theme["value"]] == theme["count"] - 1
    polled = reads["polling", state["key"], state["value"]]
    assert (
        state["count"] - 3 <= polled < state["count"]
    )  # it changes once, and the first of each run was needed
    saved = {row["name"]: row for row in found["saved"]}
    assert saved["missed"]["events"] == search["count"]
    assert search["key"] in {row["display_key"] for row in found["miss"][:4]}
    assert (saved["repeated"]["display_key"], saved["polling"]["value_name"]) == (
        theme["key"],
        state["value"],
    )
