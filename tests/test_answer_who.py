"""Who touched what, compared with a plain loop over the same rows."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import COUNTS as COUNTED
from plain_counts import is_write, plain_counts
from plain_rows import counted_rows, plain_answer, simulated
from procmon_oracle import csv_rows
from small_capture import HOSTILE, write_capture

import regtrace as rt
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.registry.text import fold_name

PML = "pml/pp-LogfileTests64bitUTC"
COUNTS = (*COUNTED, "failed_changes")
FILTERS = [
    {},
    {"key": "HKLM", "subtree": True},
    {"key": r"**\**", "value": "*"},
    {"value": "", "operation": "write"},
    {"process": "*e*", "status": "error", "start": "+1s"},
    {"where": "sequence % 3 = 0", "end": "-2s"},
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("who") / "small.regtrace", events=360)


@pytest.fixture(scope="module", params=["small", "damaged"])
def capture(request: pytest.FixtureRequest, small: Path, tmp_path_factory: pytest.TempPathFactory):
    path = small
    if request.param == "damaged":
        options: dict[str, Any] = {"hostile_names": 0.1, "nul_names": 0.1, "lost_buffers": 0.2, "reuse": 1.0}
        path = simulated(tmp_path_factory.mktemp("who"), seed=6, buffer_size=8192, **options)
    with open_capture(path, memory_limit="512MB", threads=2) as opened:
        yield opened


def measure(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = plain_counts(rows)
    found |= {"first_sequence": rows[0]["sequence"], "last_sequence": rows[-1]["sequence"]}
    found |= {"first_time": min(r["time"] for r in rows), "last_time": max(r["time"] for r in rows)}
    failed = [row for row in rows if row["failed"]]
    found["failed_changes"] = sum(is_write(row) or row["operation"] == "CreateKey" for row in failed)
    done = [row for row in rows if is_write(row) and not row["failed"]]
    last = done[-1] if done else None
    found["done"] = len(done)
    names = {"last_change": "operation", "last_change_sequence": "sequence", "last_change_time": "time",
             "last_change_key": "display_key", "last_change_value": "value_name"}  # fmt: skip
    for name, column in (names | {n: n for n in ("data_type", "data_size", "data")}).items():
        found[name] = None if last is None else last[column]
    first = rows[0]
    return found | {name: first[name] for name in ("process", "pid", "process_id", "user", "command_line")}


def most_changes(row: dict[str, Any]) -> tuple[int, ...]:
    return -row["done"], -row["failed_changes"], -row["events"], row["first_sequence"]


def plain_who(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["process_id"], []).append(row)
    answers = []
    for of_process in groups.values():
        values = {row["folded_value"] for row in of_process} - {None}
        keys = {row["group"] for row in of_process} - {None}
        answers.append(measure(of_process) | {"keys": len(keys), "values": len(values)})
    return sorted(answers, key=most_changes)


def own_paths(capture: Capture) -> dict[int, str]:
    """Return the folded path of each key as it is spelled, by which the answer is ordered."""
    keys = capture.sql("SELECT key_id, folded_path FROM keys")
    return dict(zip(map(int, keys["key_id"]), keys["folded_path"], strict=True))


def plain_each(rows: list[dict[str, Any]], paths: dict[int, str]) -> list[dict[str, Any]]:
    groups: dict[Any, list[dict[str, Any]]] = {}
    spelled: dict[Any, str] = {}
    for row in rows:
        if row["group"] is not None:
            pair = row["group"], row["folded_value"]
            spelled.setdefault(pair, row["value_name"])
            groups.setdefault((*pair, row["process_id"]), []).append(row)
    answers = []
    for (group, value, _), of_one in groups.items():
        answer = measure(of_one) | {"key_id": group, "value_name": spelled[group, value]}
        answers.append((paths[group], group, value is not None, value or "", most_changes(answer), answer))
    return [answer for *_, answer in sorted(answers, key=lambda found: found[:-1])]


def same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours | {"done": theirs["done"]} | theirs == ours | {"done": theirs["done"]}


@pytest.mark.parametrize("asked", FILTERS)
def test_each_process_is_what_a_loop_over_its_rows_finds(capture: Capture, asked: dict[str, Any]) -> None:
    filters = Filters(**asked)
    same(plain_answer(capture.where(filters).lazy.who()), plain_who(counted_rows(capture, filters)))


@pytest.mark.parametrize("asked", FILTERS[1:3])
def test_each_key_and_value_is_what_a_loop_finds(capture: Capture, asked: dict[str, Any]) -> None:
    filters = Filters(**asked)
    found = plain_answer(capture.where(filters).lazy.who(each=True))
    same(found, plain_each(counted_rows(capture, filters), own_paths(capture)))


@pytest.mark.slow
@settings(max_examples=4, deadline=None)
@given(
    key=st.sampled_from([None, "HKLM", r"HKLM\SOFTWARE\Vendor\Run", "HKU", r"HKLM\SOFTWARE\Hostile"]),
    value=st.sampled_from([None, "", "path", "*", *HOSTILE[:1]]),
    words=st.sampled_from([None, "write", "read,set", "CloseKey"]),
    seconds=st.integers(0, 200),
)
def test_any_filter_chooses_the_same_rows(
    small: Path, key: str | None, value: str | None, words: str | None, seconds: int
) -> None:
    with open_capture(small, threads=1) as capture:
        filters = Filters(key=key, subtree=True, value=value, operation=words, start=f"+{seconds}s")
        rows = counted_rows(capture, filters)
        same(plain_answer(capture.where(filters).lazy.who()), plain_who(rows))
        same(plain_answer(capture.where(filters).lazy.who(each=True)), plain_each(rows, own_paths(capture)))


def test_the_method_gives_exact_types_and_doubts(small: Path) -> None:
    with open_capture(small) as capture:
        frame = capture.who(r"HKLM\SOFTWARE\Vendor\Run", "path")
        assert list(frame["events"]) == [row["events"] for row in plain_who(
            counted_rows(capture, Filters(key=r"HKLM\SOFTWARE\Vendor\Run", value="path")))]  # fmt: skip
        assert frame.attrs["doubts"]
        assert {str(frame.dtypes[name]) for name in COUNTS} == {"int64[pyarrow]"}
        assert str(frame.dtypes["first_time"]) == "datetime64[us, UTC]"
        assert capture.who("HKLM\\Nothing").empty
        with pytest.raises(UsageError, match="not an operation"):
            capture.who(operation="paint")


def test_a_capture_without_events_has_nobody(tmp_path: Path) -> None:
    with open_capture(write_capture(tmp_path / "empty.regtrace", events=0)) as capture:
        assert capture.who().empty
        assert capture.who(each=True).empty


@pytest.mark.slow
def test_a_real_log_agrees_with_procmons_csv(corpus: Path, procmon_capture: Path) -> None:
    rows = csv_rows(corpus / f"{PML}.csv.gz")
    keys = {
        r"HKLM\Software\Microsoft\Windows NT\CurrentVersion\Image File Execution Options",
        r"HKLM\System\CurrentControlSet\Control\Session Manager",
        r"HKLM\System\CurrentControlSet\Control\Nls\Sorting\Versions",
        r"HKLM\SOFTWARE\Microsoft\Windows\Windows Error Reporting\WMR",
        r"HKLM\System\CurrentControlSet\Control\ComputerName\ActiveComputerName",
    }
    with rt.open(procmon_capture) as capture:
        found = {(int(row.pid)): row for row in capture.who(noise=True).itertuples()}
        for pid in {row["PID"] for row in rows}:
            mine = [row for row in rows if row["PID"] == pid]
            assert found[int(pid)].events == len(mine)
            assert found[int(pid)].writes == sum(row["Category"] == "Write" for row in mine)
            assert found[int(pid)].deletes == sum(row["Operation"].startswith("RegDelete") for row in mine)
        asked = 0
        for key in sorted(keys):
            wanted: dict[tuple[int, str | None], int] = {}
            for row in rows:  # a value is below its key in Procmon's column Path
                path, is_value = row["Path"], row["Operation"] in ("RegQueryValue", "RegSetValue")
                parent, _, name = path.rpartition("\\")
                if fold_name(parent if is_value else path) == fold_name(key):
                    pair = int(row["PID"]), fold_name(name) if is_value else None
                    wanted[pair] = wanted.get(pair, 0) + 1
            answer = capture.who(key, each=True, noise=True)
            seen = {
                (int(row.pid), None if not isinstance(row.value_name, str) else
                 fold_name(row.value_name) or "(DEFAULT)"): int(row.events)
                for row in answer.itertuples()
            }  # fmt: skip
            assert seen == wanted, key
            asked += len(wanted)
        assert asked > 20
