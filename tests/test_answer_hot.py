"""The busiest keys, processes and times, and storms of misses, compared with loops over the same rows."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import is_read, plain_counts
from plain_rows import counted_rows, plain_answer, simulated
from procmon_oracle import Rows, csv_rows, csv_time_ns
from small_capture import write_capture
from workloads import events, write_workload

from analysis.answers.hot import hot
from analysis.answers.words import HOT_BY
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.registry.ntstatus import status_name

NOT_FOUND = 0xC0000034
LOG = "pp-LogfileTests64bitUTC"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    folder = tmp_path_factory.mktemp("hot")
    path = simulated(folder, seed=1, events=2000, lost_buffers=0.1, buffer_size=8192, hostile_names=0.1)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Capture]:
    path = write_capture(tmp_path_factory.mktemp("hot") / "small.regtrace", events=240)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def add(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


def most(rows: list[dict[str, Any]], name: str) -> tuple[int | None, int | None]:
    """Return what stands most often in a column, the earlier of equals, and how often."""
    counts = Counter(row[name] for row in rows if row[name] is not None)
    return max(counts.items(), key=lambda item: item[1]) if counts else (None, None)


def plain_hot(rows: list[dict[str, Any]], by: str, every_ns: int) -> list[dict[str, Any]]:
    """Return the answer of `hot` without names, largest first."""
    groups = defaultdict(list)
    for row in rows:
        of = {
            "key": row["group"],
            "process": row["process_id"],
            "second": row["time_ns"] // every_ns * every_ns,
        }
        groups[of[by] if by in of else row[by]].append(row)
    if by == "key":
        groups.pop(None, None)
    answers = []
    for of, own in groups.items():
        done = [row for row in own if row["status"] is not None and row["status"] < 2**31]
        span = every_ns if by == "second" else own[-1]["time_ns"] - own[0]["time_ns"]
        top_key, top_process = most(own, "group"), most(own, "process_id")
        answers.append(
            {
                "of": of,
                **plain_counts(own),
                "share": len(own) / len(rows),
                "per_second": len(own) * 1e9 / span if span else None,
                "keys": len({row["group"] for row in own} - {None}),
                "processes": len({row["process_id"] for row in own} - {None}),
                "bytes_read": add([row["data_size"] for row in done if is_read(row)]),
                "bytes_written": add([row["data_size"] for row in done if row["operation"] == "SetValueKey"]),
                "time_spent_ns": add([row["duration_ns"] for row in own]),
                "first_time": own[0]["time"],
                "last_time": own[-1]["time"],
                "top_key_id": top_key[0],
                "top_key_events": top_key[1],
                "top_process_id": top_process[0],
                "top_process_events": top_process[1],
                "first_sequence": own[0]["sequence"],
                "last_sequence": own[-1]["sequence"],
            }
        )
    return sorted(answers, key=lambda row: (-row["events"], row["first_sequence"]))


def compare(found: list[dict[str, Any]], wanted: list[dict[str, Any]], by: str) -> None:
    own = {"key": "key_id", "process": "process_id", "second": "time_ns"}.get(by, by)
    assert [row[own] for row in found] == [row["of"] for row in wanted]
    without = {"key": {"keys", "top_key_id", "top_key_events"},
               "process": {"processes", "top_process_id", "top_process_events"}}  # fmt: skip
    for got, answer in zip(found, wanted, strict=True):
        assert answer.keys() - got.keys() == {"of", *without.get(by, ())} - {by}
        assert {name: got[name] for name in answer.keys() & got.keys()} == {
            name: pytest.approx(answer[name]) if name in ("share", "per_second") else answer[name]
            for name in answer.keys() & got.keys()
        }


@pytest.mark.slow
@pytest.mark.parametrize("by", HOT_BY)
def test_every_row_counts_what_a_loop_counts(capture: Capture, small: Capture, by: str) -> None:
    for asked in (capture, small):
        found = plain_answer(asked.lazy.hot(by=by))
        compare(found, plain_hot(counted_rows(asked), by, 10**9), by)


@pytest.mark.parametrize("every_s", [0.007, 60])
def test_stretches_of_any_width_are_aligned_to_utc(capture: Capture, every_s: float) -> None:
    every_ns = round(every_s * 10**9)
    found = plain_answer(capture.lazy.hot(by="second", every_s=every_s))
    compare(found, plain_hot(counted_rows(capture), "second", every_ns), "second")
    for row in found:
        assert row["time_ns"] % every_ns == 0
        assert row["time"].timestamp() == pytest.approx(row["time_ns"] / 10**9, abs=1e-6)
        assert row["time"] <= row["first_time"]


@pytest.mark.parametrize("filters", [
    {"key": r"HKLM\SOFTWARE", "subtree": True, "process": "*s*"}, {"operation": "read", "status": "error"},
    {"start": "+1s", "end": "-1s", "where": "sequence % 3 = 1"},
])  # fmt: skip
def test_rows_that_do_not_fit_do_not_count(capture: Capture, filters: dict[str, Any]) -> None:
    asked = Filters(**filters)
    compare(
        plain_answer(capture.where(asked).lazy.hot()),
        plain_hot(counted_rows(capture, asked), "key", 10**9),
        "key",
    )


@pytest.mark.parametrize("sort", ["time_spent_ns", "first_time"])
def test_every_order_is_total(small: Capture, sort: str) -> None:
    rows = plain_answer(small.lazy.hot(by="process", sort=sort))
    known = [row for row in rows if row[sort] is not None]
    largest = 1 if sort == "first_time" else -1
    assert known == sorted(
        known,
        key=lambda row: (
            largest * (row[sort].timestamp() if largest > 0 else row[sort]),
            row["first_sequence"],
        ),
    )
    assert plain_answer(small.lazy.hot(by="process", sort=sort, limit=2)) == rows[:2]


@pytest.mark.slow
def test_names_are_those_of_the_ids(capture: Capture) -> None:
    paths = dict(capture.sql("SELECT key_id, display_path FROM keys").itertuples(index=False))
    images = {p.process_id: (p.image, p.pid) for p in capture.sql("SELECT * FROM processes").itertuples()}
    for row in plain_answer(capture.lazy.hot(by="second")):
        assert row["top_key"] == paths.get(row["top_key_id"])
    for row in plain_answer(capture.lazy.hot(by="key")):
        assert row["display_key"] == paths[row["key_id"]]
        if row["top_process_id"] is not None:
            image, pid = images[row["top_process_id"]]
            assert row["top_pid"] == pid
            assert row["top_process"] == (image if isinstance(image, str) else None)
    for row in plain_answer(capture.lazy.hot(by="status")):
        assert row["status_name"] == (None if row["status"] is None else status_name(row["status"]))


def plain_storms(rows: list[dict[str, Any]], gap_ns: int, least: int) -> list[dict[str, Any]]:
    runs: dict[int, list[list[dict[str, Any]]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["time_ns"]):
        if row["status"] == NOT_FOUND and row["process_id"] is not None:
            mine = runs[row["process_id"]]
            if not mine or row["time_ns"] - mine[-1][-1]["time_ns"] > gap_ns:
                mine.append([])
            mine[-1].append(row)
    answers = []
    for process_id, mine in runs.items():
        for run in mine:
            lasted = run[-1]["time_ns"] - run[0]["time_ns"]
            top, times = most(run, "group")
            answers.append(
                {
                    "process_id": process_id,
                    "misses": len(run),
                    "keys": len({row["group"] for row in run} - {None}),
                    "names": len({(row["group"], row["folded_value"]) for row in run}),
                    "per_second": len(run) * 1e9 / lasted if lasted else None,
                    "lasted_ns": lasted,
                    "first_time": run[0]["time"],
                    "last_time": run[-1]["time"],
                    "top_key_misses": times,
                    "top_key_id": top,
                    "first_sequence": min(row["sequence"] for row in run),
                    "last_sequence": max(row["sequence"] for row in run),
                }
            )
    found = [answer for answer in answers if answer["misses"] >= least]
    return sorted(found, key=lambda row: (-row["misses"], row["first_sequence"]))


def without_names(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    left = [{name: row[name] for name in row if name not in ("process", "pid", "top_key")} for row in rows]
    return [row | {"per_second": row["per_second"] and pytest.approx(row["per_second"])} for row in left]


@pytest.mark.parametrize(("gap_s", "least"), [(1.0, 20), (0.01, 1)])
def test_a_storm_is_a_run_of_misses_by_one_process(capture: Capture, gap_s: float, least: int) -> None:
    found = plain_answer(capture.lazy.hot(by="storm", gap_s=gap_s, min_count=least))
    assert without_names(found) == plain_storms(counted_rows(capture), round(gap_s * 10**9), least)


def row_at(
    gap: int, *, operation: str = "OpenKey", key_id: int = 0, status: int = NOT_FOUND
) -> dict[str, Any]:
    return {
        "operation": operation,
        "key_id": key_id,
        "status": status,
        "process_id": 0,
        "gap": gap,
        "flags": 0,
    }


def test_a_pause_of_just_the_gap_does_not_end_a_storm(tmp_path: Path) -> None:
    second = 10**9
    gaps = [0, second, second + 1, 5]
    path = write_workload(tmp_path / "gaps.regtrace", [row_at(gap) for gap in gaps], [])
    with open_capture(path) as capture:
        assert list(capture.hot(by="storm", min_count=1)["misses"]) == [2, 2]
        assert list(capture.hot(by="storm", min_count=1, gap_s=1.1)["misses"]) == [4]
        assert list(capture.hot(by="storm", min_count=5)["misses"]) == []


def test_a_miss_that_was_recorded_late_belongs_to_the_storm_of_its_time(tmp_path: Path) -> None:
    second = 10**9
    path = write_workload(
        tmp_path / "late.regtrace", [row_at(gap) for gap in (0, 5 * second, -4 * second)], []
    )
    with open_capture(path) as capture:
        found = capture.hot(by="storm", min_count=1)
        assert list(found["misses"]) == [2, 1]
        assert list(found["lasted_ns"]) == [second, 0]
        assert (found["last_sequence"] - found["first_sequence"]).tolist() == [2, 0]


@pytest.mark.slow
@settings(max_examples=2)
@given(st.data())
def test_any_workload_is_counted_as_a_loop_counts_it(
    tmp_path_factory: pytest.TempPathFactory, data: Any
) -> None:
    rows = data.draw(st.lists(events(), min_size=10, max_size=60))
    for row in rows:
        row |= {
            "duration_ns": data.draw(st.sampled_from((None, 0, 7, 2**40))),
            "gap": data.draw(st.sampled_from((0, 999, 10**9, 86_400 * 10**9))),
        }
    path = write_workload(tmp_path_factory.mktemp("any") / "any.regtrace", rows, [])
    with open_capture(path, memory_limit="512MB", threads=1) as capture:
        plain = counted_rows(capture)
        found = plain_answer(capture.lazy.hot(by="second"))
        compare(found, plain_hot(plain, "second", 10**9), "second")
        found = plain_answer(capture.lazy.hot(by="storm", min_count=1))
        assert without_names(found) == plain_storms(plain, 10**9, 1)


def test_mistakes_are_refused(capture: Capture) -> None:
    for words, message in (
        ({"by": "colour"}, "storm"), ({"sort": "colour"}, "failures"), ({"every_s": 0}, "above 0"),
        ({"by": "storm", "gap_s": -1}, "above 0"), ({"by": "second", "every_s": 1e-9}, "microseconds"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            capture.hot(**words)  # type: ignore[arg-type]
    tables = capture.tables
    with pytest.raises(UsageError, match="status"):
        hot(tables["stored_events"], tables["keys"], tables["processes"], by="storm")


def test_an_answer_is_a_frame_with_exact_types_and_doubts(capture: Capture) -> None:
    frame = capture.hot(by="second", limit=3)
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert str(frame["events"].dtype) == "int64[pyarrow]"
    assert str(frame["share"].dtype) == "float64"
    assert frame.attrs["doubts"]


@pytest.fixture(scope="module")
def log(procmon_capture: Path) -> Iterator[Capture]:
    with open_capture(procmon_capture) as opened:
        yield opened


@pytest.fixture(scope="module")
def csv(corpus: Path) -> Rows:
    return csv_rows(corpus / "pml" / f"{LOG}.csv.gz")


@pytest.mark.slow
def test_processes_of_a_procmon_log_are_counted_as_its_own_csv_counts_them(log: Capture, csv: Rows) -> None:
    found = {row["pid"]: row for row in plain_answer(log.where(noise=True).lazy.hot(by="process"))}
    assert set(found) == {int(row["PID"]) for row in csv}
    for pid in (3596, 1600, 3232, 2632, 192, 4876):
        mine = [row for row in csv if row["PID"] == str(pid)]
        assert found[pid]["events"] == len(mine) > 100
        assert found[pid]["process"] == mine[0]["Process Name"]
        assert found[pid]["not_found"] == sum(row["Result"] == "NAME NOT FOUND" for row in mine)
        assert found[pid]["opens"] == sum(row["Operation"] in ("RegOpenKey", "RegCreateKey") for row in mine)
        spent = sum(round(float(row["Duration"]) * 10**7) for row in mine) * 100
        assert found[pid]["time_spent_ns"] == spent
        first = csv_time_ns(mine[0]) / 10**9
        assert found[pid]["first_time"].timestamp() == pytest.approx(first, abs=1e-5)


def test_keys_of_a_procmon_log_are_counted_as_its_own_csv_counts_them(log: Capture, csv: Rows) -> None:
    found = {row["display_key"]: row for row in plain_answer(log.where(noise=True).lazy.hot(by="key"))}
    classes = r"HKLM\SOFTWARE\Classes"
    for shown, ours in (
        (r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Terminal Server", None),
        (r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager", None),
        (r"HKLM\SOFTWARE\Microsoft\PolicyManager\default\Browser\AllowMicrosoftCompatibilityList", None),
        (r"HKCR\txtfile", rf"{classes}\txtfile"),
    ):  # fmt: skip
        opens = ("RegOpenKey", "RegCreateKey")
        mine = [row for row in csv if row["Path"].upper() == shown.upper() and row["Operation"] in opens]
        row = found[ours or shown]
        assert row["opens"] == len(mine) > 10
        assert row["processes"] >= len({row["PID"] for row in mine})


@pytest.mark.slow
def test_seconds_of_a_procmon_log_are_those_of_its_own_csv(log: Capture, csv: Rows) -> None:
    seconds = Counter(csv_time_ns(row) // 10**9 for row in csv)
    found = plain_answer(log.where(noise=True).lazy.hot(by="second"))
    assert {row["time_ns"] // 10**9: row["events"] for row in found} == seconds
    assert found[0]["events"] == max(seconds.values())
