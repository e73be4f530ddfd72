"""Defender's table of registry events: records made by hand after its documented columns, as CSV and as JSON."""

import csv
import io
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from test_sysmon import rows_of

import regtrace as rt
from cli.commands.info import describe
from tracer.diagnostics import Diagnostics
from tracer.errors import UsageError
from tracer.ingest.pipeline import ingest
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.defender import FIELDS
from tracer.named.ingest import READERS
from tracer.sources.inputs import SourceFile
from tracer.sources.kinds import file_kind
from tracer.store.manifest import Manifest

KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor"
NATIVE = r"\REGISTRY\MACHINE\SOFTWARE\Vendor"
NS = int(datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()) * 10**9 + 123_456_700
RECORD = {
    "Timestamp": "2024-05-06T07:08:09.1234567Z",
    "DeviceId": "0123456789abcdef",
    "DeviceName": "pc1.example.org",
    "ActionType": "RegistryValueSet",
    "RegistryKey": KEY,
    "RegistryValueName": "Colour",
    "RegistryValueType": "String",
    "RegistryValueData": "blue",
    "PreviousRegistryKey": KEY,
    "InitiatingProcessAccountDomain": "contoso",
    "InitiatingProcessAccountName": "alice",
    "InitiatingProcessFileName": "tool.exe",
    "InitiatingProcessFolderPath": r"c:\bin\tool.exe",
    "InitiatingProcessId": "996",
    "InitiatingProcessCommandLine": "tool.exe /y, \"now\"",
    "InitiatingProcessCreationTime": "2024-05-06T07:00:00Z",
    "InitiatingProcessParentId": "5452",
    "ReportId": "3509",
}  # fmt: skip


def text(value: str) -> bytes:
    return (value + "\0").encode("utf-16-le")


# What a record says, and what its row must say.
CASES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "a text": (
        {},
        {"operation": "SetValueKey", "key": NATIVE, "value_name": "Colour", "data_type": 1, "data": text("blue"), "data_size": None,
         "previous_data": None, "status": 0, "flags": 0, "time_ns": NS, "detail": None},
    ),
    "the text before": (
        {"PreviousRegistryValueData": "red", "PreviousRegistryValueName": "Colour"},
        {"data": text("blue"), "previous_type": 1, "previous_data": text("red")},
    ),
    "a DWORD and the one before": (
        {"RegistryValueType": "Dword", "RegistryValueData": "1", "PreviousRegistryValueData": "4294967295"},
        {"data_type": 4, "data": b"\1\0\0\0", "data_size": 4, "previous_type": 4, "previous_data": b"\xff" * 4},
    ),
    "a QWORD": ({"RegistryValueType": "Qword", "RegistryValueData": "258"}, {"data_type": 11, "data": b"\2\1" + bytes(6), "data_size": 8}),
    "a DWORD that was a text": (
        {"RegistryValueType": "Dword", "RegistryValueData": "1", "PreviousRegistryValueData": "off"},
        {"data": b"\1\0\0\0", "previous_type": None, "previous_data": None, "detail": {"PreviousRegistryValueData": "off"}},
    ),
    "a number that no DWORD holds": (
        {"RegistryValueType": "Dword", "RegistryValueData": "4294967296"},
        {"data_type": 4, "data": None, "data_size": None, "detail": {"RegistryValueData": "4294967296"}},
    ),
    "an expandable text": ({"RegistryValueType": "ExpandString", "RegistryValueData": "%x%"}, {"data_type": 2, "data": text("%x%")}),
    "bytes: how they are written is not known": (
        {"RegistryValueType": "Binary", "RegistryValueData": "01-02"},
        {"data_type": 3, "data": None, "detail": {"RegistryValueData": "01-02"}},
    ),
    "a list": ({"RegistryValueType": "MultiString", "RegistryValueData": "a b"}, {"data_type": 7, "data": None, "detail": {"RegistryValueData": "a b"}}),
    "a type that nobody knows": ({"RegistryValueType": "Odd"}, {"data_type": None, "data": None, "detail": {"RegistryValueData": "blue"}}),
    "no data": ({"RegistryValueData": "", "RegistryValueType": ""}, {"data_type": None, "data": None, "detail": None}),
    "the default value": ({"RegistryValueName": ""}, {"value_name": ""}),
    "the default value by its display name": ({"RegistryValueName": "(Default)"}, {"value_name": ""}),
    "a name with backslashes": ({"RegistryValueName": r"C:\a\b.exe"}, {"key": NATIVE, "value_name": r"C:\a\b.exe", "flags": 0}),
    "a created key": (
        {"ActionType": "RegistryKeyCreated", "RegistryValueName": "", "RegistryValueData": "", "RegistryValueType": ""},
        {"operation": "CreateKey", "key": NATIVE, "value_name": None, "disposition": None},
    ),
    "a deleted key stands before": (
        {"ActionType": "RegistryKeyDeleted", "RegistryKey": "", "PreviousRegistryKey": KEY + r"\Old"},
        {"operation": "DeleteKey", "key": NATIVE + r"\Old", "value_name": None, "data": None},
    ),
    "a renamed key": (
        {"ActionType": "RegistryKeyRenamed", "RegistryKey": KEY + r"\New", "PreviousRegistryKey": KEY + r"\Old"},
        {"operation": "RenameKey", "key": NATIVE + r"\Old", "requested_name": "New"},
    ),
    "a deleted value stands before": (
        {"ActionType": "RegistryValueDeleted", "RegistryKey": "", "RegistryValueName": "", "RegistryValueType": "", "RegistryValueData": "",
         "PreviousRegistryValueName": "Old", "PreviousRegistryValueData": "was"},
        {"operation": "DeleteValueKey", "key": NATIVE, "value_name": "Old", "data": None, "previous_data": None,
         "detail": {"PreviousRegistryValueData": "was"}},
    ),
    "a folder without the file": (
        {"InitiatingProcessFolderPath": "c:\\bin\\"}, {"image_path": r"c:\bin\tool.exe", "user": r"contoso\alice", "pid": 996, "parent_pid": 5452},
    ),
    "no key at all": ({"RegistryKey": "", "PreviousRegistryKey": ""}, {"key": None}),
}  # fmt: skip


def as_csv(records: list[dict[str, str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, [*RECORD, *(name for name in FIELDS if name not in RECORD)], restval="")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def as_json(records: list[dict[str, str]], *, streamed: bool = False) -> str:
    objects = [{name: value or None for name, value in record.items()} for record in records]
    if streamed:
        objects = [
            {
                "time": "2024-05-06T09:00:00Z",
                "category": "AdvancedHunting-DeviceRegistryEvents",
                "properties": one,
            }
            for one in objects
        ]
    return "\r\n".join(map(json.dumps, objects))


def made(folder: Path, source: str, **options: Any) -> Manifest:
    path = folder / "DeviceRegistryEvents.csv"
    path.write_text(source, encoding="utf-8-sig", newline="")
    return ingest([path], folder / "log.regtrace", named=NamedOptions(**options))


@pytest.fixture(scope="module", params=["csv", "json", "streamed"])
def rows(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    records = [{**RECORD, **columns} for columns, _ in CASES.values()]
    write = {"csv": as_csv, "json": as_json, "streamed": lambda some: as_json(some, streamed=True)}[
        request.param
    ]
    folder = tmp_path_factory.mktemp("defender")
    made(folder, write(records))
    found = rows_of(folder / "log.regtrace")
    for row in found:
        row |= {name: row["process"][name] for name in ("image_path", "user", "pid", "parent_pid")}
        row["detail"] = json.loads(row["detail"]) if row["detail"] else None
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_a_record_of_each_kind(case: str, rows: dict[str, dict[str, Any]]):
    expected = CASES[case][1]
    assert {name: rows[case][name] for name in expected} == expected
    assert rows[case]["source"] == "defender"


def test_other_tables_bad_times_and_other_computers_are_counted(tmp_path: Path):
    records = [
        RECORD,
        {**RECORD, "ActionType": "ProcessCreated"},
        {**RECORD, "Timestamp": "yesterday"},
        {**RECORD, "DeviceName": "pc2"},
    ]
    with pytest.raises(UsageError, match="2 computers"):
        made(tmp_path, as_csv(records))
    made(tmp_path, as_csv(records), host="pc1")
    with rt.open(tmp_path / "log.regtrace") as capture:
        counts = {row["name"]: row["count"] for row in capture.info()["diagnostics"]}
    assert counts == {"log_other_records": 1, "log_no_time": 1, "log_other_hosts": 1}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["defender-csv", "defender-json"])
def test_mutated_exports_end_in_rows_or_counters(kind: str, tmp_path: Path):
    records = [{**RECORD, **columns} for columns, _ in CASES.values()]
    good = (as_csv if kind == "defender-csv" else as_json)(records).encode()
    dice = random.Random(3)
    path = tmp_path / "export"
    for _ in range(50):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 10)):
            at = dice.randrange(len(raw))
            if dice.random() < 0.5:
                raw[at] = dice.randrange(256)
            else:
                raw[at : at + dice.choice([0, 0, 90])] = dice.choice(
                    [b'"', b"\\ud800", b"{", b"\r\n", b"9" * 40]
                )
        path.write_bytes(raw)
        context = NamedContext(NamedOptions())
        file = SourceFile(path, "export", str(path), kind)
        for table in READERS[kind](file, len(raw), context, Diagnostics()):
            table.validate(full=True)
            assert table["time_ns"].null_count == 0


def test_data_before_a_write_answers_history(tmp_path: Path):
    made(tmp_path, as_csv([{**RECORD, "PreviousRegistryValueData": "red"}]))
    with rt.open(tmp_path / "log.regtrace") as capture:
        answer = capture.history(KEY, "Colour")
        reads = capture.timeline(operation="QueryValueKey")
    assert answer["old_text"].tolist() == ["red"]
    assert answer["new_text"].tolist() == ["blue"]
    assert "Defender never records QueryValueKey" in reads.attrs["empty"]


def test_files_are_known_by_their_titles(tmp_path: Path):
    for source, kind in (
        (as_csv([RECORD]), "defender-csv"),
        (as_json([RECORD]), "defender-json"),
        (as_json([RECORD], streamed=True), "defender-json"),
    ):
        assert file_kind(source.encode()[:4096]).word == kind
    path = tmp_path / "a.csv"
    path.write_text(as_csv([RECORD]), encoding="utf-8", newline="")
    facts = describe(path)
    assert (facts["rows_by_source"], facts["computers"]) == ({"defender": 1}, ["pc1.example.org"])
