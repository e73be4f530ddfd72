"""Repeated reads, compared with a loop over the rows, and with Procmon's own CSV."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reads import plain_redundant
from plain_rows import plain_answer, simulated
from procmon_oracle import csv_rows
from small_capture import write_capture
from workloads import PATHS, events, losses, write_workload

from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import UsageError

LOG = "pp-LogfileTests64bitUTC"
OPTIONS: dict[str, Any] = {"seed": 3, "events": 2500, "keys": 40, "processes": 3, "lost_buffers": 0.1,
                         "buffer_size": 8192, "nul_names": 0.2}  # fmt: skip
Row = dict[str, Any]
NAMELESS = len(PATHS) - 1  # number of the key that has no name


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    path = simulated(tmp_path_factory.mktemp("redundant"), **OPTIONS)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def some(found: list[Row], wanted: list[Row]) -> list[Row]:
    return [{name: row[name] for name in (wanted[0] if wanted else ())} for row in found]


@pytest.mark.slow
def test_repeated_reads_are_those_of_a_loop(capture: Capture) -> None:
    wanted = plain_redundant(capture, min_count=0)
    assert some(plain_answer(capture.lazy.redundant(min_count=0)), wanted) == wanted
    wanted = [row for row in wanted if row["redundant"] >= 2]
    assert some(plain_answer(capture.lazy.redundant(min_count=2, limit=9)), wanted) == wanted[:9]
    assert wanted


@pytest.mark.slow
def test_reads_that_do_not_fit_do_not_count_but_changes_do(capture: Capture) -> None:
    asked = Filters(process="*s*", key="HKLM", subtree=True, start="+1s", status="success")
    wanted = plain_redundant(capture, asked)
    assert some(plain_answer(capture.where(asked).lazy.redundant()), wanted) == wanted
    assert wanted


@pytest.mark.slow
@settings(max_examples=2)
@given(st.lists(events(), min_size=30, max_size=120), st.lists(losses(), max_size=2), st.data())
def test_any_workload_repeats_what_a_loop_says(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], lost: list[Row], data: Any
) -> None:
    for row in rows:
        if data.draw(st.booleans()):  # few questions, so that they are asked again
            row |= {"key_id": 2, "process_id": 0}
            if row["operation"] == "QueryValueKey":
                row |= {"value_name": "v", "status": 0, "information_class": 2}
        if row["operation"].startswith("Enumerate"):
            row["index"] = data.draw(st.sampled_from((None, 0, 0, 1)))
        row |= {
            "duration_ns": data.draw(st.sampled_from((None, 5, 2**40))),
            "flags": data.draw(st.sampled_from((0, 0, 1, 2))),
        }
    path = write_workload(tmp_path_factory.mktemp("any") / "any.regtrace", rows, lost)
    with open_capture(path, memory_limit="512MB", threads=1) as capture:
        wanted = plain_redundant(capture, min_count=0)
        assert some(plain_answer(capture.lazy.redundant(min_count=0)), wanted) == wanted


def read(gap: int, **more: Any) -> Row:
    row = {"operation": "QueryValueKey", "key_id": 2, "status": 0, "process_id": 0, "value_name": "V",
           "information_class": 2, "data": b"same", "data_size": 4, "gap": gap, "flags": 0}  # fmt: skip
    return row | more


@pytest.fixture
def ask(tmp_path: Path) -> Any:
    """Return the answer about stories that follow each other: each reads a value of its own, called as the story."""

    def _ask(stories: dict[str, list[Row]], lost: tuple[Row, ...] = (), **words: Any) -> dict[str, Row]:
        rows = [
            row | {"value_name": name} if row.get("value_name") == "V" else row
            for name, story in stories.items()
            for row in story
        ]
        path = write_workload(tmp_path / "stories.regtrace", rows, list(lost))
        with open_capture(path, memory_limit="512MB", threads=1) as opened:
            answers = plain_answer(opened.lazy.redundant(**words))
        assert len({row["value_name"] for row in answers}) == len(answers)
        return {row["value_name"]: row for row in answers}

    return _ask


@pytest.mark.slow
def test_the_first_read_after_each_change_is_needed(ask: Any) -> None:
    write = {"operation": "SetValueKey", "process_id": 1}
    whole = {"value_name": None}
    changes = {
        "written": write,
        "deleted": {"operation": "DeleteValueKey"},
        "written without a result": write | {"status": None},
        "its key deleted": {"operation": "DeleteKey", "key_id": 3} | whole,
        "another name that may be this": write | {"flags": 1, "value_name": "?", "key_id": 4},
        "renamed without a result": {"operation": "RenameKey", "status": None, "key_id": 5} | whole,
        "its key created": {"operation": "CreateKey", "disposition": 1, "key_id": 0} | whole,
    }
    others = {
        "another value written": write | {"value_name": "W"},
        "not written": write | {"status": 0xC0000022},
        "written elsewhere": write | {"key_id": 5},
        "protected": {"operation": "SetSecurityKey"} | whole,
        "its key opened": {"operation": "CreateKey", "disposition": 2} | whole,
    }
    stories = {}
    for name, change in (changes | others).items():
        key = {"key_id": change.get("key_id", 2) if name in changes else 2}
        stories[name] = [*[read(1, **key)] * 2, read(1, **(key | change)), *[read(1, **key)] * 3]
    stories["written by another spelling"] = [
        read(1, key_id=1),
        read(1, **write, key_id=6),
        read(1, key_id=1),
    ]
    # A key that nobody names may be this one.
    stories["written under no name"] = [read(1), read(1, **write, key_id=NAMELESS), read(1)]
    found = ask(stories, min_count=0)
    assert not found["written under no name"]["proved"]
    for name in changes:
        row = found[name]
        assert (row["reads"], row["runs"], row["redundant"], row["proved"]) == (5, 2, 3, True), name
    for name in others:
        assert (found[name]["runs"], found[name]["redundant"], found[name]["proved"]) == (1, 4, True), name
    assert found["written by another spelling"]["runs"] == 2


@pytest.mark.slow
def test_a_hive_above_or_a_loss_in_between_makes_it_unproved(ask: Any) -> None:
    start = 1_714_557_600_000_000_000
    hive = {"operation": "LoadKey", "value_name": None}
    stories = {
        "hive above": [read(0), read(1, key_id=1, **hive), read(1)],
        "hive elsewhere": [read(1, key_id=3), read(1, key_id=4, **hive), read(1, key_id=3)],
        "lost": [read(1000), read(1000)],
        "lost before": [read(1000), read(1000)],
        "blind": [read(1000), read(1000)],
    }
    lost = (
        {"source_id": 0, "kind": "buffers", "from_ns": start + 1500, "to_ns": start + 1600},
        {"source_id": 0, "kind": "blind", "from_ns": start + 5500, "to_ns": start + 5600},
    )
    found = ask(stories, lost)
    assert {name: row["proved"] for name, row in found.items()} == {
        "hive above": False, "hive elsewhere": True, "lost": False, "lost before": True, "blind": False,
    }  # fmt: skip
    assert {row["redundant"] for row in found.values()} == {1}
    assert found["lost"]["unproved"] == 1


@pytest.mark.slow
def test_a_result_that_changed_by_itself_is_shown(ask: Any) -> None:
    full, missing = {"information_class": 1}, {"status": 0xC0000034, "data": None, "data_size": None}
    found = ask(
        {
            "other data": [read(0), read(1, data=b"diff")],
            "other data in another class": [read(1, **full), read(1, data=b"diff", **full)],
            "other size": [read(1, **full), read(1, data_size=5, **full)],
            "gone": [read(1), read(1, **missing), read(1)],
            "written": [read(1), read(1), read(1, operation="SetValueKey"), read(1, data=b"diff")],
        }
    )
    assert {name: row["result_changed"] for name, row in found.items()} == {
        "other data": True, "other data in another class": True, "other size": True, "gone": True, "written": False,
    }  # fmt: skip


@pytest.mark.slow
def test_polling_has_a_period(ask: Any) -> None:
    second = 10**9
    regular = [second, second + 7, second - 3, second, second + 90_000_000, second]
    stories = {
        "regular": regular, "too few": regular[:4], "loop": [100] * 6, "at once": [0] * 6,
        "bursts": [1, second, 1, second, 1, 3 * second],
    }  # fmt: skip
    rows = {name: [read(second), *map(read, gaps)] for name, gaps in stories.items()}
    found = ask(rows)
    row = found["regular"]
    assert (row["polling"], row["period_ns"], row["interval_ns"]) == (True, second, second)
    assert row["per_second"] == pytest.approx(7 / (sum(regular) / 1e9))
    assert row["spread"] == pytest.approx(3.5 / second) or row["spread"] < 1e-8
    row = found["too few"]
    assert (row["interval_ns"], row["spread"], row["polling"], row["period_ns"]) == (None, None, False, None)
    assert (found["loop"]["spread"], found["loop"]["interval_ns"], found["loop"]["polling"]) == (
        0.0,
        100,
        False,
    )
    assert (found["at once"]["interval_ns"], found["at once"]["spread"], found["at once"]["per_second"]) == (
        0,
        None,
        None,
    )
    assert found["bursts"]["polling"] is False


@pytest.mark.slow
def test_only_the_same_question_of_one_process_is_asked_twice(ask: Any) -> None:
    enumerated = {"operation": "EnumerateKey", "value_name": None}
    found = ask(
        {
            "others": [read(0), read(1, process_id=1), read(1, information_class=1)],
            "nobody": [read(0, process_id=None), read(1, process_id=None)],
            "indexes": [
                read(0, index=0, **enumerated),
                read(1, index=1, **enumerated),
                *[read(1, **enumerated)] * 2,
            ],
            "spellings": [read(0, value_name="straße"), read(1, value_name="STRAßE")],
            "every second": [read(0), *[read(10**9)] * 7],
        }
    )
    assert {name: row["redundant"] for name, row in found.items()} == {"straße": 1, "every second": 7}


@pytest.mark.slow
def test_mistakes_are_refused_and_hostile_captures_are_read(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "small.regtrace", events=480)) as small:
        with pytest.raises(UsageError):
            small.redundant(start="soon")
        frame = small.redundant(min_count=0)
        assert str(frame["redundant"].dtype) == "int64[pyarrow]"
        assert str(frame["first_time"].dtype) == "datetime64[us, UTC]"
        assert frame["time_spent_ns"].isna().all()
        assert list(frame["first_sequence"]) == [
            row["first_sequence"] for row in plain_redundant(small, min_count=0)
        ]


@pytest.mark.slow
def test_repeated_reads_of_a_procmon_log_are_those_of_its_own_csv(
    corpus: Path, procmon_capture: Path
) -> None:
    found: dict[tuple[int, str, str], int] = defaultdict(int)
    with open_capture(procmon_capture) as log:
        for row in log.redundant(operation="QueryValueKey").itertuples():
            found[row.pid, f"{row.display_key}\\{row.value_name}".upper(), row.status_name] += row.redundant
    wanted: dict[tuple[int, str, str], int] = defaultdict(int)
    changes: dict[str, int] = defaultdict(int)
    seen = set()
    for row in csv_rows(corpus / "pml" / f"{LOG}.csv.gz"):
        value, result = row["Path"].upper(), row["Result"]
        if row["Operation"] in ("RegSetValue", "RegDeleteValue") and result == "SUCCESS":
            changes[value] += 1
        elif row["Operation"] == "RegQueryValue" and result in ("SUCCESS", "NAME NOT FOUND"):
            question = (
                int(row["PID"]),
                value,
                f"OBJECT_{result}".replace(" ", "_").replace("OBJECT_SUCCESS", "SUCCESS"),
            )
            wanted[question] += (question, changes[value]) in seen
            seen.add((question, changes[value]))
    checked = [
        question
        for question in wanted
        if question[1].startswith(r"HKLM\SOFTWARE\MICROSOFT") and wanted[question]
    ]
    assert len(checked) > 50
    # The CSV does not say the information class: a value that is read in two ways is two questions of ours.
    assert all(found[question] <= wanted[question] <= found[question] + 1 for question in checked)
    assert sum(found[question] == wanted[question] for question in checked) > 0.9 * len(checked)


@pytest.mark.slow
def test_tags_of_handles_change_nothing_of_a_key(tmp_path: Path) -> None:
    key = "HKLM\\SOFTWARE\\V"
    asked = {"information_class": 2, "data_size": 4, "data": b"\1\0\0\0"}
    for kind, redundant in ((5, 2), (0, 0), (None, 0)):
        rows = [
            row
            for _ in range(3)
            for row in (
                event("SetInformationKey", key, information_class=kind),
                event("QueryKey", key, **asked),
            )
        ]
        with open_capture(write_events(tmp_path / f"{kind}.regtrace", rows), threads=1) as capture:
            found = capture.redundant(min_count=1)
            assert int(found["redundant"].sum() if len(found) else 0) == redundant
