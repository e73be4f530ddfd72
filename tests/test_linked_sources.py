"""One row for one operation: what several sources report of it, against the simulator's truth and by hand."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pandas as pd
import pml_writer as pml
import pyarrow.parquet as pq
import pytest
from procmon_csv import csv_text
from schema_rules import broken_rules
from sysmon_records import as_lines, event
from test_merge import rows_of
from two_sources import TwoSources, simulate_two, sysmon_time

import regtrace as rt
from tracer.ingest.pipeline import ingest
from tracer.named.context import NamedOptions
from tracer.registry.paths import display_path
from tracer.schema import FLAGS

START_2020 = 1_577_836_800_000_000_000
UNSURE = FLAGS["name_ambiguous"] | FLAGS["path_split"]
KEY = "HKLM\\SOFTWARE\\Vendor"
LATER_NS = 800_000
JITTER_NS = 3_000_000


def also(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row says of the other sources of its operation."""
    named: dict[str, Any] = json.loads(row["detail"] or "{}").get("AlsoReportedBy", {})
    return named


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> TwoSources:
    return simulate_two(
        tmp_path_factory.mktemp("two"), offset_ns=LATER_NS, jitter_ns=JITTER_NS, events=4000, cpus=2
    )


@pytest.fixture(scope="module")
def alone(two: TwoSources) -> Path:
    rt.ingest(two.etl, two.etl.parent / "alone.regtrace", control_set=1)
    return two.etl.parent / "alone.regtrace"


@pytest.fixture(scope="module")
def linked(two: TwoSources) -> Path:
    rt.ingest([two.etl, two.log], two.etl.parent / "linked.regtrace", control_set=1)
    return two.etl.parent / "linked.regtrace"


def test_every_report_of_the_log_finds_its_operation(two: TwoSources, alone: Path, linked: Path):
    """The truth says which record of the trace each line of the log is of; the rows must say the same."""
    rows = rows_of(linked)
    assert len(rows) == len(rows_of(alone)) == len(two.truth)
    lines = two.log.read_bytes().splitlines(keepends=True)
    offsets = [sum(map(len, lines[:place])) for place in range(len(lines))]
    found = {also(row)["sysmon"]["record_offset"]: row for row in rows if also(row)}
    assert sorted(found) == offsets
    # Where two operations differ in nothing but a time within the window, either may be meant.
    exact = [
        found[offset]["record_offset"] == truth["record_offset"]
        for offset, truth in zip(offsets, two.reported, strict=True)
    ]
    assert sum(exact) >= 0.98 * len(exact)
    for offset, truth in zip(offsets, two.reported, strict=True):
        row = found[offset]
        assert (row["operation"], row["value_name"], row["status"]) == (
            truth["operation"], truth["value_name"], 0,
        )  # fmt: skip


def test_a_linked_row_is_that_of_the_trace_and_says_more(alone: Path, linked: Path):
    rows, plain = rows_of(linked), rows_of(alone)
    changed = {"detail"}
    for row, other in zip(rows, plain, strict=True):
        differs = {name for name in row if row[name] != other[name]}
        if also(row):
            # Data that the trace did not capture may be in the log.
            assert all(other[name] is None for name in differs - changed)
        else:
            assert not differs
    assert list(broken_rules(linked)) == []


@pytest.mark.slow
@pytest.mark.parametrize("question", ["history", "state", "changes", "errors", "redundant"])
def test_questions_answer_what_they_answer_of_the_trace(question: str, alone: Path, linked: Path):
    def answer(path: Path) -> pd.DataFrame:
        with rt.open(path) as capture:
            return getattr(capture, question)(
                **({"key": r"HKLM\**"} if question in ("history", "state") else {})
            )

    one, other = answer(linked), answer(alone)
    # The log spells some keys otherwise; shown they are the same.
    drop = [name for name in one.columns if name in ("detail", "key_id", "key", "process_id", "handle_id")]
    assert len(one)
    pd.testing.assert_frame_equal(one.drop(columns=drop), other.drop(columns=drop), check_dtype=False)


def test_the_difference_of_the_clocks_is_measured_and_said(two: TwoSources, linked: Path):
    manifest = rt.Manifest.load(linked)
    (link,) = manifest.settings["links"]
    assert (link["sources"], link["operations"]) == (["etw", "sysmon"], len(two.reported))
    middle = LATER_NS + JITTER_NS / 2 - 500_000  # Sysmon's times are cut to milliseconds
    assert abs(link["later_ns"] - middle) < 500_000
    assert 0 < link["spread_ns"] <= JITTER_NS
    assert manifest.settings["notes"] == []  # nothing to warn of
    note = manifest.settings["links"][0]["sentence"]
    assert note.startswith(
        f"{len(two.reported)} operations were reported by ETW and Sysmon; the clock of Sysmon is "
    )
    counts = {row["name"]: row["count"] for row in pq.read_table(linked / "diagnostics.parquet").to_pylist()}
    assert counts["linked_reports"] == len(two.reported)


def test_a_clock_that_is_seconds_off_is_measured_too(tmp_path: Path):
    two = simulate_two(tmp_path, offset_ns=-7_300_000_000, events=2000)
    manifest = rt.ingest([two.etl, two.log], tmp_path / "x.regtrace", control_set=1)
    assert manifest.totals["events"] == len(two.truth)
    assert manifest.settings["links"][0]["operations"] == len(two.reported)


def test_without_merging_every_report_is_a_row(two: TwoSources, tmp_path: Path):
    manifest = rt.ingest([two.etl, two.log], tmp_path / "x.regtrace", control_set=1, merge=False)
    assert manifest.totals["events"] == len(two.truth) + len(two.reported)
    assert not any(also(row) for row in rows_of(tmp_path / "x.regtrace"))
    assert "links" not in manifest.settings


def test_the_log_names_processes_that_the_trace_does_not(tmp_path: Path):
    two = simulate_two(tmp_path, events=3000, process_events=False)
    rt.ingest([two.etl, two.log], tmp_path / "x.regtrace", control_set=1)
    processes = pq.read_table(tmp_path / "x.regtrace" / "processes.parquet").to_pylist()
    named = {row["pid"]: row["image"] for row in processes}
    assert len(named) == len(processes)
    assert {named[row["pid"]] for row in two.reported} == {"tool.exe"}
    assert list(broken_rules(tmp_path / "x.regtrace")) == []


def test_a_trace_without_data_has_that_of_the_log(tmp_path: Path):
    """The NT Kernel Logger records no data; of text the log shows it, and of its type nothing is known."""
    two = simulate_two(tmp_path, events=3000, jitter_ns=500_000, classic=True)
    rt.ingest([two.etl, two.log], tmp_path / "x.regtrace", control_set=1)
    rows = [row for row in rows_of(tmp_path / "x.regtrace") if row["operation"] == "SetValueKey"]
    assert {row["source"] for row in rows} == {"NT Kernel Logger"}
    truth = {row["record_offset"]: row for row in two.truth}
    shown = [row for row in rows if row["data"] not in (None, b"\0\0")]
    assert shown
    assert all(row["data_type"] is None and row["data"].endswith(b"\0\0") for row in shown)
    right = [row["data"] == truth[row["record_offset"]]["data"] for row in shown]
    assert sum(right) >= 0.95 * len(right)  # writes within the jitter may be taken for each other
    assert list(broken_rules(tmp_path / "x.regtrace")) == []


OPERATIONS = {"OpenKey": pml.OPEN, "DeleteValueKey": pml.DELETE_VALUE, "FlushKey": pml.FLUSH}


def write_pml(path: Path, truth: Sequence[dict[str, Any]], *, later_ns: int = 0) -> list[dict[str, Any]]:
    """Write what Procmon would log of some rows of the truth; return these rows."""
    mine = [row for row in truth if row["operation"] in OPERATIONS and row["status"] in (0, 0xC0000034)]
    pids = sorted({row["pid"] for row in mine})
    events = []
    for row in mine:
        shown = display_path(row["path"]) + ("" if row["value_name"] is None else "\\" + row["value_name"])
        began = (row["time_ns"] + later_ns - START_2020) // 100 - 5
        number = pids.index(row["pid"]) + 1
        if row["operation"] == "OpenKey":
            events.append(pml.opened(shown, result=row["status"], time=began, process=number))
        else:
            events.append(
                pml.Event(
                    OPERATIONS[row["operation"]], shown, result=row["status"], time=began, process=number
                )
            )
    processes = [pml.Process(number + 1, pid=pid) for number, pid in enumerate(pids)]
    path.write_bytes(pml.write_log(events, processes).raw)
    return mine


@pytest.mark.slow
def test_three_sources_of_one_operation_and_two_procmon_logs(two: TwoSources, tmp_path: Path):
    half = len(two.truth) // 2
    logged = write_pml(tmp_path / "a.pml", two.truth[:half]) + write_pml(tmp_path / "b.pml", two.truth[half:])
    log = tmp_path / "log.jsonl"
    log.write_text(two.log.read_text().replace("pc1.example", "HOST"))
    words = [two.etl, log, tmp_path / "a.pml", tmp_path / "b.pml"]
    manifest = rt.ingest(words, tmp_path / "x.regtrace", control_set=1)
    rows = rows_of(tmp_path / "x.regtrace")
    by = Counter(tuple(sorted(also(row))) for row in rows if row["source"] not in ("sysmon", "procmon"))
    both = [row for row in logged if row in two.reported]
    assert both
    assert Counter(row["source"] for row in rows).keys() == {"Microsoft-Windows-Kernel-Registry"}
    assert by["procmon", "sysmon"] == len(both)
    assert by[("procmon",)] == len(logged) - len(both)
    assert by[("sysmon",)] == len(two.reported) - len(both)
    took = [row for row in rows if "procmon" in also(row)]
    assert {row["duration_ns"] for row in took} == {500}
    assert {also(row)["procmon"]["source_id"] for row in took} == {1, 2}
    assert [tuple(link["sources"]) for link in manifest.settings["links"]] == [
        ("etw", "procmon"),
        ("etw", "sysmon"),
    ]


def of_two(
    folder: Path, events: Sequence[pml.Event], records: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the rows of a Procmon log and Sysmon's records of the same computer and process."""
    (folder / "a.pml").write_bytes(pml.write_log(events).raw)
    (folder / "log.jsonl").write_text(as_lines([{**one, "Hostname": "HOST"} for one in records]))
    rt.ingest([folder / "a.pml", folder / "log.jsonl"], folder / "x.regtrace")
    assert list(broken_rules(folder / "x.regtrace")) == []
    return rows_of(folder / "x.regtrace")


def record(kind: str, target: str, ticks: int, **more: Any) -> dict[str, Any]:
    return event(
        kind, target, **{"ProcessId": "1234", "UtcTime": sysmon_time(START_2020 + ticks * 100), **more}
    )


ONE = (1).to_bytes(4, "little")
TEXT = "notepad.exe\0".encode("utf-16-le")
# What Procmon says of a write, what Sysmon says, and whether they can be of one write.
CLAIMS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "the same number": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000001)"}, True),
    "another number": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000002)"}, False),
    "another type": ({"data": ONE, "kind": 3}, {"Details": "DWORD (0x00000001)"}, False),
    "the same text": ({"data": TEXT, "kind": 1}, {"Details": "notepad.exe"}, True),
    "the same text without a NUL": ({"data": TEXT[:-2], "kind": 2}, {"Details": "notepad.exe"}, True),
    "another text": ({"data": TEXT, "kind": 1}, {"Details": "calc.exe"}, False),
    "text of a type that is none": ({"data": TEXT, "kind": 3}, {"Details": "notepad.exe"}, False),
    "an empty value": ({"data": b"", "kind": 1}, {"Details": "(Empty)"}, True),
    "an empty value is no text": ({"data": b"", "kind": 1}, {"Details": "x"}, False),
    "binary data says nothing": ({"data": b"\1\2\3", "kind": 3}, {"Details": "Binary Data"}, True),
    "the beginning of a long text": (
        {"data": ("a" * 3000 + "\0").encode("utf-16-le"), "kind": 1, "copied": 2048}, {"Details": "a" * 3000}, True),
    "another beginning": (
        {"data": ("b" * 3000 + "\0").encode("utf-16-le"), "kind": 1, "copied": 2048}, {"Details": "a" * 3000}, False),
    "it failed": ({"data": ONE, "kind": 4, "result": 0xC0000022}, {"Details": "DWORD (0x00000001)"}, False),
    "another process id": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000001)", "ProcessId": "99"}, False),
    "another operation": ({"data": ONE, "kind": 4}, {"kind": "DeleteValue"}, False),
    "another value": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000001)", "value": "\\w"}, False),
    "another spelling": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000001)", "value": "\\V"}, True),
    "a second later": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000001)", "ticks": 10_000_000}, False),
    "99 ms later": ({"data": ONE, "kind": 4}, {"Details": "DWORD (0x00000001)", "ticks": 990_000}, True),
}  # fmt: skip


@pytest.mark.parametrize("name", CLAIMS)
def test_what_contradicts_stays_two_rows(tmp_path: Path, name: str):
    procmon, sysmon, is_one = CLAIMS[name]
    log = record(
        sysmon.pop("kind", "SetValue"), KEY + sysmon.pop("value", "\\v"), sysmon.pop("ticks", 0), **sysmon
    )
    rows = of_two(tmp_path, [pml.opened(KEY), pml.value_set(KEY + "\\v", time=1, **procmon)], [log])
    assert len(rows) == 3 - is_one
    assert sum("sysmon" in also(row) for row in rows) == is_one
    row = next(row for row in rows if row["source"] == "procmon" and row["operation"] == "SetValueKey")
    assert (row["data"] or b"") == procmon["data"][: procmon.get("copied")]


def test_the_certain_split_of_a_path_wins(tmp_path: Path):
    r"""Procmon and Sysmon write ``Vendor\Sub\v``: Sysmon's doubled backslash proves where the name begins."""
    target = KEY + "\\\\Sub\\v"
    rows = of_two(
        tmp_path,
        [pml.value_set(target, ONE, kind=4)],
        [record("SetValue", target, 0, Details="DWORD (0x00000001)")],
    )
    (row,) = rows
    assert (row["display"], row["value_name"], row["flags"] & UNSURE) == (KEY, "\\Sub\\v", 0)


def test_a_source_that_knows_the_user_names_the_key(tmp_path: Path):
    """Procmon writes HKCU where nothing in its log says whose; Sysmon says whose, so the row's key is that user's."""
    user = "HKU\\S-1-5-21-1-2-3-1001"
    rows = of_two(
        tmp_path,
        [
            pml.value_set("HKCU\\Software\\V\\v", ONE, kind=4),
            pml.value_set("HKCU\\Software\\Classes\\V\\v", ONE, kind=4, time=1),
            pml.value_set("HKCU\\Software\\Other\\v", ONE, kind=4, time=2),
        ],
        [
            record("SetValue", user + "\\Software\\V\\v", 0, Details="DWORD (0x00000001)"),
            record("SetValue", user + "_Classes\\V\\v", 1, Details="DWORD (0x00000001)"),
        ],
    )
    assert [row["display"] for row in rows] == [
        user + "\\Software\\V", user + "_Classes\\V", "HKCU\\Software\\Other",
    ]  # fmt: skip


def test_keys_of_two_users_are_two(tmp_path: Path):
    """Where one user is unknown the other sources still tell two users apart."""
    rows = of_two(
        tmp_path,
        [
            pml.opened("HKCU\\Software"),
            pml.value_set("HKU\\S-1-5-21-1-2-3-1001\\Software\\V\\v", ONE, kind=4),
        ],
        [record("SetValue", "HKU\\S-1-5-21-1-2-3-1002\\Software\\V\\v", 0, Details="DWORD (0x00000001)")],
    )
    assert not any(also(row) for row in rows)


def test_two_writes_are_not_one(tmp_path: Path):
    """One report of the log is of one write, the nearest; the other write stays as it was."""
    writes = [pml.value_set(KEY + "\\v", ONE, kind=4, time=ticks) for ticks in (0, 400_000)]
    rows = of_two(
        tmp_path,
        [pml.opened(KEY), *writes],
        [record("SetValue", KEY + "\\v", 390_000, Details="DWORD (0x00000001)")],
    )
    assert [(row["operation"], list(also(row))) for row in rows] == [
        ("OpenKey", []), ("SetValueKey", []), ("SetValueKey", ["sysmon"]),
    ]  # fmt: skip


@pytest.mark.slow
def test_a_real_log_and_its_export_are_the_same_rows(corpus: Path, tmp_path: Path):
    """Procmon wrote both, so each of 46,030 operations is reported by both, at the same time, and none by one alone."""
    words = [corpus / "pml" / f"pp-LogfileTests64bitUTC.{end}" for end in ("pml", "csv.gz")]
    named = NamedOptions(zone=UTC, day=date(2020, 7, 12))
    manifest = ingest(words, tmp_path / "x.regtrace", named=named)
    (link,) = manifest.settings["links"]
    assert (link["operations"], link["later_ns"], link["spread_ns"]) == (46_030, 0, 0)
    assert manifest.totals["events"] == 46_030
    rt.ingest(words[0], tmp_path / "y.regtrace")
    with rt.open(tmp_path / "x.regtrace") as both, rt.open(tmp_path / "y.regtrace") as alone:
        query = "SELECT sequence, time_ns, operation, upper(display_key), value_name, status FROM events ORDER BY 1"
        assert both.sql(query).equals(alone.sql(query))


def test_logs_alone_are_linked_too(tmp_path: Path):
    """An export of Procmon and Sysmon's events are one kind of source, logs; they report one write all the same."""
    row = {
        "Date & Time": "7/13/2020 1:18:10 PM",
        "Time of Day": "1:18:10.7752429 PM",
        "PID": "1234",
        "Operation": "RegSetValue",
    }
    row |= {
        "Path": KEY + "\\v",
        "Result": "SUCCESS",
        "Detail": "Type: REG_DWORD, Length: 4, Data: 1",
        "Duration": "0.0000012",
    }
    (tmp_path / "Logfile.CSV").write_text(csv_text([row]))
    log = record("SetValue", KEY + "\\v", 0, UtcTime="2020-07-13 13:18:10.775", Details="DWORD (0x00000001)")
    (tmp_path / "log.jsonl").write_text(as_lines([log]))
    rt.ingest([tmp_path / "log.jsonl", tmp_path / "Logfile.CSV"], tmp_path / "x.regtrace")
    (found,) = rows_of(tmp_path / "x.regtrace")
    assert (found["source"], list(also(found)), found["data"]) == ("procmon-csv", ["sysmon"], ONE)
    rt.ingest([tmp_path / "log.jsonl", tmp_path / "Logfile.CSV"], tmp_path / "y.regtrace", merge=False)
    assert len(rows_of(tmp_path / "y.regtrace")) == 2
