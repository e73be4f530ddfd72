"""Sysmon's registry events: each shape of record that was seen, made by hand, with its right row; and the public ones."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from evtx_writer import sysmon_like, write_log
from sysmon_records import GUID, SHAPES, as_lines, as_xml, event, event_data
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.errors import SourceError, UsageError
from tracer.ingest.pipeline import ingest
from tracer.named.context import NamedOptions
from tracer.schema import FLAGS
from tracer.store.manifest import Manifest

UNSURE = FLAGS["name_ambiguous"] | FLAGS["path_split"]
RUN = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
NATIVE_RUN = r"\REGISTRY\MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
BAM = r"HKLM\System\CurrentControlSet\Services\bam\State\UserSettings\S-1-5-21-1-2-3-1001"
APP = r"\REGISTRY\A\{0aaf1e11-0000-0000-0000-000000000001}\LocalState"
USER = r"HKU\S-1-5-21-1-2-3-1001\Software\Vendor"
TEXT = "notepad.exe\0".encode("utf-16-le")


def made(folder: Path, records: list[dict[str, Any]], **options: Any) -> Manifest:
    source = folder / "log.jsonl"
    source.write_text(as_lines(records), encoding="utf-8")
    return ingest([source], folder / "log.regtrace", named=NamedOptions(**options))


def rows_of(capture: Path) -> list[dict[str, Any]]:
    """Return the stored rows in order, with the native path of the key and the process's fields."""
    keys = {row["key_id"]: row["path"] for row in pq.read_table(capture / "keys.parquet").to_pylist()}
    processes = {row["process_id"]: row for row in pq.read_table(capture / "processes.parquet").to_pylist()}
    events = [
        row for part in sorted((capture / "events").iterdir()) for row in pq.read_table(part).to_pylist()
    ]
    return [
        {**row, "key": keys.get(row["key_id"]), "process": processes.get(row["process_id"])}
        for row in sorted(events, key=lambda row: row["sequence"])
    ]


# What a record says, and what its row must say; `parent` are records before it, whose rows are not looked at.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a DWORD": (
        event("SetValue", RUN + r"\v", Details="DWORD (0x00000010)"),
        {"operation": "SetValueKey", "key": NATIVE_RUN, "value_name": "v", "data_type": 4, "data": b"\x10\0\0\0", "data_size": 4},
    ),
    "a QWORD, high half first": (
        event("SetValue", RUN + r"\v", Details="QWORD (0x01d63ed1-0xf68b4989)"),
        {"data_type": 11, "data": (0x01D63ED1F68B4989).to_bytes(8, "little"), "data_size": 8},
    ),
    "text: the type is not known": (
        event("SetValue", RUN + r"\v", Details="notepad.exe"),
        {"data_type": None, "data": TEXT, "data_size": None},
    ),
    "an empty text": (event("SetValue", RUN + r"\v", Details="(Empty)"), {"data_type": None, "data": b"\0\0"}),
    "binary data is not known": (
        event("SetValue", RUN + r"\v", Details="Binary Data"),
        {"data_type": None, "data": None, "data_size": None},
    ),
    "no Details at all": (event("SetValue", RUN + r"\v"), {"data_type": None, "data": None}),
    "a DWORD that is too long is text": (
        event("SetValue", RUN + r"\v", Details="DWORD (0x123456789)"),
        {"data_type": None, "data": "DWORD (0x123456789)\0".encode("utf-16-le")},
    ),
    "text beside ASCII": (
        event("SetValue", RUN + r"\v", Details="Größe \U0001f600"),
        {"data": "Größe \U0001f600\0".encode("utf-16-le")},
    ),
    "text of many lines": (
        event("SetValue", RUN + r"\v", Details="one\r\ntwo"),
        {"data": "one\r\ntwo\0".encode("utf-16-le")},
    ),
    "percent signs stay": (
        event("SetValue", RUN + r"\v", Details="%%systemroot%%\\x.dll"),
        {"data": "%%systemroot%%\\x.dll\0".encode("utf-16-le")},
    ),
    "the default value": (
        event("SetValue", RUN + r"\(Default)", Details="x"),
        {"key": NATIVE_RUN, "value_name": ""},
    ),
    "a created key: not known whether it was there": (
        event("CreateKey", RUN),
        {"operation": "CreateKey", "key": NATIVE_RUN, "value_name": None, "disposition": None, "flags": 0},
    ),
    "a deleted key": (event("DeleteKey", RUN), {"operation": "DeleteKey", "key": NATIVE_RUN, "value_name": None}),
    "a deleted value": (
        event("DeleteValue", RUN + r"\v"),
        {"operation": "DeleteValueKey", "key": NATIVE_RUN, "value_name": "v", "data": None},
    ),
    "a renamed key": (
        event("RenameKey", USER + r"\Old", NewName=USER + r"\New"),
        {"operation": "RenameKey", "key": r"\REGISTRY\USER\S-1-5-21-1-2-3-1001\Software\Vendor\Old", "requested_name": "New"},
    ),
    "a rename without a new name": (
        event("RenameKey", USER + r"\Old"),
        {"operation": "RenameKey", "requested_name": None},
    ),
    "an event type in capitals": (event("SetValue", RUN + r"\v", EventType="SETVALUE"), {"operation": "SetValueKey"}),
    "13 whose event type was overwritten": (
        event("SetValue", RUN + r"\v", EventType="INFO"),
        {"operation": "SetValueKey", "value_name": "v"},
    ),
    "13 without an event type": (event("SetValue", RUN + r"\v", EventType=None), {"operation": "SetValueKey"}),
    "14 without an event type": (
        event("RenameKey", USER + r"\Old", EventType=None, NewName=USER + r"\New"),
        {"operation": "RenameKey", "requested_name": "New"},
    ),
    "12 whose event type was overwritten": (
        event("CreateKey", RUN, EventType="INFO"),
        {"operation": "CreateOrDelete", "key": NATIVE_RUN, "value_name": None, "notify_class": None},
    ),
    "12 without an event type": (event("DeleteKey", RUN, EventType=None), {"operation": "CreateOrDelete"}),
    "12 with the event type of 13": (event("CreateKey", RUN, EventType="SetValue"), {"operation": "CreateOrDelete"}),
    "a value's name with a backslash at its start": (
        event("SetValue", BAM + r"\\Device\HarddiskVolume2\Windows\System32\cmd.exe", Details="Binary Data"),
        {
            "key": r"\REGISTRY\MACHINE\System\CurrentControlSet\Services\bam\State\UserSettings\S-1-5-21-1-2-3-1001",
            "value_name": r"\Device\HarddiskVolume2\Windows\System32\cmd.exe",
            "flags": 0,
        },
    ),
    "a value named by a file": (
        event("SetValue", USER + r"\MuiCache\C:\Windows\notepad.exe.FriendlyAppName", Details="Notepad"),
        {"value_name": r"C:\Windows\notepad.exe.FriendlyAppName", "flags": UNSURE},
    ),
    "a value named by a resource": (
        event("SetValue", USER + r"\MuiCache\1\2\@%windir%\system32\a.dll,-31", Details="x"),
        {"value_name": r"@%windir%\system32\a.dll,-31", "flags": UNSURE},
    ),
    "a value of a key that nothing else names": (
        event("SetValue", USER + r"\Sub\v", Details="x"),
        {"key": r"\REGISTRY\USER\S-1-5-21-1-2-3-1001\Software\Vendor\Sub", "value_name": "v", "flags": UNSURE},
    ),
    "the hive of an app": (
        event("SetValue", APP + r"\v", Details="Binary Data"),
        {"key": APP, "value_name": "v"},
    ),
    "a user's classes": (
        event("CreateKey", r"HKU\S-1-5-21-1-2-3-1001_Classes\.txt"),
        {"key": r"\REGISTRY\USER\S-1-5-21-1-2-3-1001_Classes\.txt"},
    ),
    "classes of the machine": (event("CreateKey", r"HKCR\.txt"), {"key": r"\REGISTRY\MACHINE\SOFTWARE\Classes\.txt"}),
    "the root HKCR itself": (event("CreateKey", "HKCR"), {"key": r"\REGISTRY\MACHINE\SOFTWARE\Classes"}),
    "the default user": (event("CreateKey", r"HKU\.DEFAULT\Software"), {"key": r"\REGISTRY\USER\.DEFAULT\Software"}),
    "an empty target": (event("CreateKey", ""), {"key": None, "operation": "CreateKey", "name_source": None}),
    "no target": (event("CreateKey", "x", TargetObject=None), {"key": None}),
    "a name with a NUL": (event("CreateKey", RUN + "\\a\0b"), {"key": NATIVE_RUN + "\\a<U+0000>b"}),
    "a name that looks escaped": (event("CreateKey", RUN + r"\<U+0000>"), {"key": NATIVE_RUN + r"\<U+003C>U+0000>"}),
    "a name with a lone surrogate": (event("CreateKey", RUN + "\\\ud800"), {"key": NATIVE_RUN + r"\<U+D800>"}),
    "a slash is a letter": (event("CreateKey", RUN + "\\a/b"), {"key": NATIVE_RUN + "\\a/b"}),
    "the time is the operation's own": (event("CreateKey", RUN), {"time_ns": 1714979289123000000}),
    "a time without a fraction": (
        event("CreateKey", RUN, UtcTime="2024-05-06 07:08:09"),
        {"time_ns": 1714979289000000000},
    ),
    "no time of its own": (event("CreateKey", RUN, UtcTime=None), {"time_ns": 1714979289200000000}),
    "a time that is none": (
        event("CreateKey", RUN, UtcTime="2024-02-31 07:08:09"),
        {"time_ns": 1714979289200000000},
    ),
    "only what succeeded": (event("DeleteValue", RUN + r"\v"), {"status": 0, "handle_id": None, "thread_id": None}),
    "before version 13 without a user": (event("CreateKey", RUN, User=None), {"source": "sysmon", "event_id": 12}),
}  # fmt: skip
# Where another record makes the key known, the split is sure.
KNOWN = {
    "a DWORD", "a QWORD, high half first", "text: the type is not known", "the default value", "a deleted value",
    "13 whose event type was overwritten",
}  # fmt: skip


@pytest.fixture(scope="module")
def case_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The row of each case, all out of one log."""
    folder = tmp_path_factory.mktemp("cases")
    made(folder, [record for record, _ in CASES.values()])
    rows = sorted(rows_of(folder / "log.regtrace"), key=lambda row: row["record_offset"])
    return dict(zip(CASES, rows, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_record_and_its_row(case_rows: dict[str, dict[str, Any]], name: str) -> None:
    row, right = case_rows[name], CASES[name][1]
    assert {field: row[field] for field in right} == right
    if name in KNOWN:
        assert row["flags"] == 0


@pytest.mark.parametrize("shape", SHAPES)
def test_every_collectors_shape_gives_the_same_row(tmp_path: Path, shape: str) -> None:
    records = [
        event("CreateKey", RUN, shape),
        event("SetValue", RUN + r"\v", shape, Details="DWORD (0x00000001)", User=r"PC1\alice"),
        event("DeleteValue", RUN + r"\v", shape),
        event("RenameKey", RUN, shape, NewName=RUN + "2"),
    ]
    manifest = made(tmp_path, records)
    rows = rows_of(tmp_path / "log.regtrace")
    assert [(row["operation"], row["key"], row["value_name"], row["time_ns"]) for row in rows] == [
        ("CreateKey", NATIVE_RUN, None, 1714979289123000000),
        ("SetValueKey", NATIVE_RUN, "v", 1714979289123000000),
        ("DeleteValueKey", NATIVE_RUN, "v", 1714979289123000000),
        ("RenameKey", NATIVE_RUN, None, 1714979289123000000),
    ]
    assert rows[1]["data"] == b"\1\0\0\0"
    assert rows[3]["requested_name"] == "Run2"
    process = rows[0]["process"]
    assert (process["pid"], process["image"], process["user"]) == (4321, "tool.exe", r"PC1\alice")
    assert manifest.settings["host"] == "pc1.example"
    assert manifest.totals["processes"] == 1


@pytest.mark.parametrize("form", ["lines", "root", "utf-16"])
def test_events_as_xml(tmp_path: Path, form: str) -> None:
    events = [
        as_xml(12, event_data("CreateKey", RUN)),
        as_xml(13, event_data("SetValue", RUN + r"\a&<b>", Details='x > "y" & z')),
        as_xml(13, event_data("SetValue", RUN + "\\n", Details="DWORD (0x00000001)")).replace(
            "(0x", "&#0;(0x"
        ),
        "<Event xmlns='x'><System><EventID>13</EventID></Sys",
        as_xml(12, event_data("DeleteValue", RUN + r"\v")),
    ]
    text = "\n".join(events)
    if form != "lines":
        text = f'<?xml version="1.0" encoding="utf-16"?><Events>{text}</Events>'
    (tmp_path / "log.xml").write_text(text, encoding="utf-16" if form == "utf-16" else "utf-8")
    manifest = ingest([tmp_path / "log.xml"], tmp_path / "log.regtrace")
    rows = rows_of(tmp_path / "log.regtrace")
    assert [(row["operation"], row["value_name"], row["data"]) for row in rows] == [
        ("CreateKey", None, None),
        ("SetValueKey", "a&<b>", 'x > "y" & z\0'.encode("utf-16-le")),
        ("SetValueKey", "n", "DWORD \ufffd(0x00000001)\0".encode("utf-16-le")),
        ("DeleteValueKey", "v", None),
    ]
    counts = {
        row["name"]: row["count"]
        for row in pq.read_table(tmp_path / "log.regtrace" / "diagnostics.parquet").to_pylist()
    }
    assert counts["log_bad_record"] == 1
    assert not manifest.complete


def test_an_event_log_with_a_damaged_chunk(tmp_path: Path) -> None:
    """Records of whole chunks are rows; what is lost is dated by the records around it."""
    log = write_log([sysmon_like(number) for number in range(1, 10)], per_chunk=3)
    content = bytearray(log.content())
    second = 4096 + 65536
    content[second + 512 : second + 65536] = bytes(65536 - 512)
    (tmp_path / "log.evtx").write_bytes(content)
    manifest = ingest([tmp_path / "log.evtx"], tmp_path / "log.regtrace")
    rows = rows_of(tmp_path / "log.regtrace")
    assert [row["value_name"] for row in rows] == [f"Value{number}" for number in (1, 2, 3, 7, 8, 9)]
    assert [row["process"]["user"] for row in rows] == [r"HOST\ann"] * 6
    losses = pq.read_table(tmp_path / "log.regtrace" / "losses.parquet").to_pylist()
    assert [loss["kind"] for loss in losses] == ["damage"]
    assert losses[0]["from_ns"] < losses[0]["to_ns"]
    assert not manifest.complete


def test_a_process_is_its_guid(tmp_path: Path) -> None:
    """Two uses of one process id are two processes; a record that lost its process id is the GUID's all the same."""
    other = GUID.replace("1}", "2}")
    made(
        tmp_path,
        [
            event("CreateKey", RUN),
            event("CreateKey", RUN, ProcessId=None),
            event("CreateKey", RUN, ProcessGuid=other),
            event("CreateKey", RUN, ProcessGuid=None),
        ],
    )
    processes = [row["process_id"] for row in rows_of(tmp_path / "log.regtrace")]
    assert processes[0] == processes[1] != processes[2]
    assert len(set(processes)) == 3
    assert all(row["process"]["pid"] == 4321 for row in rows_of(tmp_path / "log.regtrace"))


def test_rows_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    times = [f"2024-05-06 07:08:{second:02}.000" for second in (9, 3, 5, 3)]
    made(tmp_path, [event("CreateKey", f"{RUN}\\{place}", UtcTime=time) for place, time in enumerate(times)])
    assert [row["key"][-1] for row in rows_of(tmp_path / "log.regtrace")] == ["1", "3", "2", "0"]


def test_times_before_1970_come_first(tmp_path: Path) -> None:
    years = (2024, 1950, 1980, 1960)
    records = [
        event("CreateKey", f"{RUN}\\{place}", UtcTime=f"{year}-05-06 07:08:09.000")
        for place, year in enumerate(years)
    ]
    made(tmp_path, records)
    assert [row["key"][-1] for row in rows_of(tmp_path / "log.regtrace")] == ["1", "3", "2", "0"]


def test_records_of_several_computers_are_refused_or_chosen(tmp_path: Path) -> None:
    records = [{**event("CreateKey", RUN), "Hostname": host} for host in ("pc1.a", "pc1.b", "pc2", "PC1.A")]
    with pytest.raises(UsageError, match=r"3 computers.*pc1\.a, pc1\.b, pc2; choose one with --host NAME"):
        made(tmp_path, records)
    assert made(tmp_path, records, host="pc1.a").totals["events"] == 2
    (tmp_path / "log.regtrace").rename(tmp_path / "first.regtrace")
    with pytest.raises(UsageError, match=r"'pc1' fits several names of computers: pc1\.a, pc1\.b; "):
        made(tmp_path, records, host="pc1")
    with pytest.raises(UsageError, match="no record is of a computer 'pc3'; there are records of"):
        made(tmp_path, records, host="pc3")


def test_what_is_no_registry_operation_is_counted(tmp_path: Path) -> None:
    records = [
        event("CreateKey", RUN),
        {**event("CreateKey", RUN), "EventID": 1},
        {"Id": 4, "ProviderName": "Other"},
    ]
    (tmp_path / "log.jsonl").write_text(
        as_lines(records) + '{"EventID": 13, "cut\n[1, 2]\nnull\n', encoding="utf-8"
    )
    manifest = ingest([tmp_path / "log.jsonl"], tmp_path / "log.regtrace")
    counts = {
        row["name"]: row["count"]
        for row in pq.read_table(tmp_path / "log.regtrace" / "diagnostics.parquet").to_pylist()
    }
    assert manifest.totals["events"] == 1
    assert counts["log_other_records"] == 4  # an array and null are records of nothing
    assert counts["log_bad_record"] == 1
    assert not manifest.complete


def test_a_log_without_registry_events_says_why(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(as_lines([{"EventID": 1, "SourceName": "Microsoft-Windows-Sysmon"}]))
    manifest = ingest([tmp_path / "log.jsonl"], tmp_path / "log.regtrace")
    assert "No record of the log is a registry operation" in manifest.settings["notes"][0]


def test_empty_answers_say_what_sysmon_never_records(tmp_path: Path) -> None:
    made(tmp_path, [event("CreateKey", RUN)])
    with rt.open(tmp_path / "log.regtrace") as capture:
        assert capture.redundant().attrs["empty"] == "Sysmon records no reads"
        assert capture.errors().attrs["empty"] == "Sysmon records only what succeeded"
        assert capture.timeline(operation="query").attrs["empty"] == "Sysmon never records QueryValueKey"
        assert (
            capture.timeline(status="NAME NOT FOUND").attrs["empty"] == "Sysmon records only what succeeded"
        )
        assert "no event fits" in capture.timeline(operation="set").attrs["empty"]


def test_a_log_in_a_form_of_ones_own_is_a_log_where_its_fields_are_said(tmp_path: Path) -> None:
    record = {"no": 13, "by": "Sysmon", "what": RUN + r"\v", "at": "2024-05-06 07:08:09"}
    (tmp_path / "log.jsonl").write_text(as_lines([record]))
    fields = {"EventID": ("no",), "Provider": ("by",), "TargetObject": ("what",), "UtcTime": ("at",)}
    with pytest.raises(SourceError, match=r"JSON text, not a trace.*--fields FILE\.toml"):
        ingest([tmp_path / "log.jsonl"], tmp_path / "log.regtrace")
    for place in (tmp_path / "log.jsonl", tmp_path):
        ingest([place], tmp_path / "a.regtrace", named=NamedOptions(fields=fields), force=True)
        assert [row["value_name"] for row in rows_of(tmp_path / "a.regtrace")] == ["v"]


@pytest.mark.parametrize("packed", [False, True])
def test_a_capture_for_each_host_out_of_one_reading(
    tmp_path: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [{**event("CreateKey", RUN), "Hostname": host} for host in ("pc1.a", "pc1.b", "pc2", "PC1.A")]
    text = as_lines(records).encode()
    content = gzip.compress(text) if packed else text
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        app, ["ingest", "-", "--each-host", "-o", "fleet"], input=content
    )  # can be read once
    assert result.exit_code == 0, result.output
    made = {path.name: len(rows_of(path)) for path in (tmp_path / "fleet").iterdir()}
    assert made == {"pc1.a.regtrace": 2, "pc1.b.regtrace": 1, "pc2.regtrace": 1}
    assert "standard input" in (tmp_path / "fleet" / "pc2.regtrace" / "capture.json").read_text()


def test_fields_of_a_collector_of_ones_own(tmp_path: Path) -> None:
    record = {
        "my": {"id": 13, "who": "Sysmon"},
        "EventID": None,
        "what": RUN + r"\v",
        "at": "2024-05-06T09:08:09+02:00",
    }
    (tmp_path / "log.jsonl").write_text(as_lines([event("CreateKey", RUN), record]))
    fields = {"EventID": ("my.id",), "Provider": ("my.who",), "TargetObject": ("what",), "UtcTime": ("at",)}
    ingest([tmp_path / "log.jsonl"], tmp_path / "log.regtrace", named=NamedOptions(fields=fields))
    row = rows_of(tmp_path / "log.regtrace")[0]
    assert (row["operation"], row["key"], row["value_name"], row["time_ns"]) == (
        "SetValueKey", NATIVE_RUN, "v", 1714979289000000000,
    )  # fmt: skip


@pytest.mark.slow
def test_the_public_records(corpus: Path, tmp_path: Path) -> None:
    """Every record of the corpus is a row; operations, values and data equal what a plain reading of each record says."""
    source = corpus / "logs" / "otrf-sysmon-registry.jsonl.gz"
    with gzip.open(source) as file:
        records = [json.loads(line) for line in file]
    with pytest.raises(UsageError, match="16 computers"):
        ingest([source], tmp_path / "all.regtrace")
    hosts = Counter(record["Hostname"] for record in records)
    host = "Pedro01"
    manifest = ingest([source], tmp_path / "one.regtrace", named=NamedOptions(host=host))
    mine = [record for record in records if record["Hostname"] == host]
    rows = rows_of(tmp_path / "one.regtrace")
    assert len(rows) == hosts[host] == manifest.totals["events"]
    plain = {
        "CreateKey": "CreateKey",
        "DeleteKey": "DeleteKey",
        "SetValue": "SetValueKey",
        "DeleteValue": "DeleteValueKey",
    }
    mine.sort(key=lambda record: record["UtcTime"])
    assert [row["operation"] for row in rows] == [plain[record["EventType"]] for record in mine]
    for record, row in zip(mine, rows, strict=True):
        target: str = record["TargetObject"]
        if row["value_name"] is not None and "\\\\" in target[2:]:
            assert row["value_name"] == "\\" + target.split("\\\\", 1)[1]
            assert row["flags"] == 0
        if (details := record.get("Details", "")).startswith("DWORD"):
            assert int.from_bytes(row["data"], "little") == int(details[9:-1], 16)
    shown = [
        display(row["key"]) + ("" if row["value_name"] is None else "\\" + (row["value_name"] or "(Default)"))
        for row in rows
    ]
    assert [one.upper() for one in shown] == [record["TargetObject"].upper() for record in mine]


def display(native: str) -> str:
    for root, short in (
        (r"\REGISTRY\MACHINE\SOFTWARE\Classes", "HKCR"),
        (r"\REGISTRY\MACHINE", "HKLM"),
        (r"\REGISTRY\USER", "HKU"),
    ):
        if native.upper().startswith(root.upper()):
            return short + native[len(root) :]
    return native


def test_text_without_its_type_is_shown_and_not_written_into_files(tmp_path: Path) -> None:
    made(
        tmp_path,
        [
            event("CreateKey", RUN),
            event("SetValue", RUN + r"\a", Details="tool.exe"),
            event("SetValue", RUN + r"\b", Details="DWORD (0x00000002)"),
        ],
    )
    with rt.open(tmp_path / "log.regtrace") as capture:
        state = capture.state(key=RUN).set_index("value_name")
        assert (state.loc["a", "text"], state.loc["b", "text"]) == ("tool.exe", "2")
        assert state["type_name"].isna().tolist().count(False) == 1
        history = capture.history(RUN, value="a")
        assert history["new_text"].tolist() == ["tool.exe"]
        changes = capture.changes()
        assert set(changes["after_text"].dropna()) == {"tool.exe", "2"}
        text = capture.reg_files().apply
    assert '"b"=dword:00000002' in text
    assert '"a"=' not in text
    assert "not whether it is REG_SZ or REG_EXPAND_SZ" in text
