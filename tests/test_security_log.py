"""The Security log's registry events: shapes of records, made by hand, with their right rows; handles; and the public ones."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_rows import plain_rows, simulated
from schema_rules import broken_rules
from security_records import DENIED, SHAPES, as_audits, as_xml, audit
from sysmon_records import as_lines, event

import regtrace as rt
from tracer.errors import UsageError
from tracer.ingest.pipeline import ingest
from tracer.named.audit_codes import name_rights, read_data, read_number, read_rights, read_type
from tracer.named.context import NamedOptions
from tracer.store.manifest import Manifest

RUN = r"\REGISTRY\MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
USER = r"\REGISTRY\USER\S-1-5-21-1-2-3-1001\Software\Vendor"
TIME_NS = 1714979289123456700


def made(folder: Path, records: list[dict[str, Any]], **options: Any) -> Manifest:
    source = folder / "log.jsonl"
    source.write_text(as_lines(records), encoding="utf-8")
    return ingest([source], folder / "log.regtrace", named=NamedOptions(**options))


def table_of(capture: Path, name: str) -> list[dict[str, Any]]:
    return pq.read_table(capture / f"{name}.parquet").to_pylist()


def rows_of(capture: Path) -> list[dict[str, Any]]:
    """Return the stored rows in order, with the key's path, the process's fields, and the detail read."""
    if not (capture / "events").is_dir():
        return []
    keys = {row["key_id"]: row["path"] for row in table_of(capture, "keys")}
    processes = {row["process_id"]: row for row in table_of(capture, "processes")}
    events = [
        row for part in sorted((capture / "events").iterdir()) for row in pq.read_table(part).to_pylist()
    ]
    return [
        {
            **row,
            "key": keys.get(row["key_id"]),
            "process": processes.get(row["process_id"]),
            "told": json.loads(row["detail"] or "{}"),
        }
        for row in sorted(events, key=lambda row: row["sequence"])
    ]


def counts_of(capture: Path) -> dict[str, int]:
    return {row["name"]: row["count"] for row in table_of(capture, "diagnostics")}


def value(kind: str, old: str | None, new: str | None) -> dict[str, Any]:
    """Return a 4657 with data of one type before and after; None: there is none."""
    return audit(
        4657, RUN, OperationType="%%1905" if old and new else "%%1904" if new else "%%1906",
        OldValueType=kind if old is not None else "-", OldValue="-" if old is None else old,
        NewValueType=kind if new is not None else "-", NewValue="-" if new is None else new,
    )  # fmt: skip


def text(*lines: str) -> bytes:
    return "".join(line + "\0" for line in lines).encode("utf-16-le")


# What a record says, and what its row must say. Each is of a process of its own, so that no handle joins two.
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a DWORD that was changed": (
        value("%%1876", "536870912", "537395200"),
        {
            "operation": "SetValueKey", "key": RUN, "value_name": "v", "status": 0, "flags": 0, "event_id": 4657, "source": "security",
            "data_type": 4, "data_size": 4, "data": (537395200).to_bytes(4, "little"),
            "previous_type": 4, "previous_size": 4, "previous_data": (536870912).to_bytes(4, "little"),
        },
    ),
    "a new DWORD": (
        value("%%1876", None, "4"),
        {"operation": "SetValueKey", "data": b"\4\0\0\0", "previous_type": None, "previous_size": None, "previous_data": None},
    ),
    "a DWORD that was deleted": (
        value("%%1876", "7", None),
        {"operation": "DeleteValueKey", "data_type": None, "data": None, "previous_type": 4, "previous_data": b"\7\0\0\0"},
    ),
    "a DWORD in hex": (value("%%1876", "0x0", "0xFFFFFFFF"), {"data": b"\xff\xff\xff\xff", "previous_data": b"\0\0\0\0"}),
    "a DWORD that is too large": (value("%%1876", "1", "4294967296"), {"data_type": 4, "data_size": None, "data": None}),
    "a QWORD": (
        value("%%1883", "0x0", "0x1D63ED21D4ADB0A"),
        {"data_type": 11, "data_size": 8, "data": (0x1D63ED21D4ADB0A).to_bytes(8, "little"), "previous_data": bytes(8)},
    ),
    "a QWORD with its highest bit": (value("%%1883", "0x8000000000000000", "0x0"), {"previous_data": bytes(7) + b"\x80"}),
    "text": (
        value("%%1873", "a.exe", "b.exe"),
        {"data_type": 1, "data_size": None, "data": text("b.exe"), "previous_type": 1, "previous_data": text("a.exe")},
    ),
    "empty text": (value("%%1873", "", "Andrei"), {"data": text("Andrei"), "previous_type": 1, "previous_data": text("")}),
    "text that reads like nothing": (
        value("%%1873", "x", "-"), {"data_type": 1, "data": text("-")},
    ),
    "text to expand": (value("%%1874", "%a%", "%%1876"), {"data_type": 2, "data": text("%%1876"), "previous_data": text("%a%")}),
    "text beside ASCII": (value("%%1873", "x", "Größe \U0001f600"), {"data": text("Größe \U0001f600")}),
    "text with a NUL": (value("%%1873", "x", "a\0b"), {"data": text("a\0b")}),
    "text with a lone surrogate": (value("%%1873", "x", "\ud800"), {"data": b"\0\xd8\0\0"}),
    "a list": (value("%%1879", "a", "one*two"), {"data_type": 7, "data": text("one", "two", ""), "previous_data": text("a", "")}),
    "a list with an asterisk": (value("%%1879", "a", "o**ne*two"), {"data": text("o*ne", "two", "")}),
    "a list with two readings": (value("%%1879", "a", "one***two"), {"data_type": 7, "data": None}),
    "binary data, of which no document tells the form": (
        value("%%1875", "00 01", "A0"),
        {"data_type": 3, "data_size": None, "data": None, "previous_type": 3, "previous_data": None},
    ),
    "data without a type": (value("%%1872", None, "x"), {"data_type": 0, "data": None}),
    "a type that is no code": (value("%%9999", "1", "2"), {"data_type": None, "data": None, "previous_type": None}),
    "types and operations in words": (
        audit(4657, RUN, OperationType="Existing registry value modified", OldValueType="REG_DWORD", NewValueType="REG_SZ", NewValue="x"),
        {"operation": "SetValueKey", "data_type": 1, "data": text("x"), "previous_type": 4},
    ),
    "a list's type in words": (
        audit(4657, RUN, NewValueType="REG_MULTI_SZ (New lines are replaced with *. A * is replaced with **)", NewValue="a*b"),
        {"data_type": 7, "data": text("a", "b", "")},
    ),
    "the default value": (audit(4657, RUN, ObjectValueName=""), {"value_name": "", "key": RUN}),
    "the default value's name left out": (audit(4657, RUN, ObjectValueName=None), {"value_name": ""}),
    "a value named like a path": (
        audit(4657, RUN, ObjectValueName=r"C:\a\b"), {"value_name": r"C:\a\b", "key": RUN, "flags": 0},
    ),
    "a value named like nothing": (audit(4657, RUN, ObjectValueName="-"), {"value_name": "-"}),
    "a user's key": (audit(4657, USER), {"key": USER}),
    "a key that no field names": (audit(4657, None), {"key": None, "name_source": None, "value_name": "v"}),
    "a handle was asked for": (
        audit(4656, RUN),
        {"operation": "OpenKey", "key": RUN, "status": 0, "value_name": None, "event_id": 4656, "disposition": None, "thread_id": None},
    ),
    "a handle that was denied": (
        audit(4656, RUN, failed=True, HandleId="0x0"), {"operation": "OpenKey", "status": DENIED, "handle_id": None},
    ),
    "a denied handle, told by the event type": (
        audit(4656, RUN, Keywords=None, EventType="AUDIT_FAILURE", HandleId="0x0"), {"status": DENIED},
    ),
    "a denied handle in words": (audit(4656, RUN, Keywords="Audit Failure", HandleId="0x0"), {"status": DENIED}),
    "a handle without a result": (audit(4656, RUN, Keywords=None), {"status": 0}),
    "no handle and no result": (audit(4656, RUN, Keywords=None, HandleId="0x0"), {"status": None, "handle_id": None}),
    "a right was used": (
        audit(4663, RUN), {"operation": "AccessKey", "notify_class": None, "phase": None, "key": RUN, "status": 0, "event_id": 4663},
    ),
    "a key by its name alone": (audit(4663, RUN, ObjectType=None), {"operation": "AccessKey", "key": RUN}),
    "a key with another root": (audit(4656, r"\Registry\Machine\SAM"), {"key": r"\REGISTRY\MACHINE\SAM"}),
    "a delete of a key of which no record tells": (
        audit(4660), {"operation": "DeleteKey", "key": None, "name_source": None, "handle_id": None, "status": 0},
    ),
}  # fmt: skip
TOLD = {
    "a handle was asked for": {
        "DesiredAccess": 1, "Rights": ["KEY_QUERY_VALUE"], "HandleId": "0x1d4", "SubjectUserSid": "S-1-5-21-1-2-3-1001",
        "SubjectUserName": "alice", "SubjectDomainName": "PC1", "SubjectLogonId": "0x3e7a1",
    },
    "a right was used": {"AccessMask": 1, "Rights": ["KEY_QUERY_VALUE"]},
    "a new DWORD": {"OperationType": "new value"},
    "binary data, of which no document tells the form": {"NewValue": "A0", "OldValue": "00 01"},
}  # fmt: skip


@pytest.fixture(scope="module")
def case_rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The row of each case, all out of one log."""
    folder = tmp_path_factory.mktemp("cases")
    records = [
        {**record, "ProcessId": hex(0x1000 + 4 * place)} for place, (record, _) in enumerate(CASES.values())
    ]
    made(folder, records)
    rows = sorted(rows_of(folder / "log.regtrace"), key=lambda row: row["record_offset"])
    assert [row["process"]["pid"] for row in rows] == [0x1000 + 4 * place for place in range(len(CASES))]
    return dict(zip(CASES, rows, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_record_and_its_row(case_rows: dict[str, dict[str, Any]], name: str) -> None:
    row, right = case_rows[name], CASES[name][1]
    assert {field: row[field] for field in right} == right
    assert row["time_ns"] == TIME_NS
    if name in TOLD:
        assert {word: row["told"].get(word) for word in TOLD[name]} == TOLD[name]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_collectors_shape_gives_the_same_rows(tmp_path: Path, shape: str) -> None:
    """And the process is the actor's, never that of the header (4)."""
    records = [
        audit(4656, RUN, shape, AccessMask="0x2001f"),
        audit(4657, RUN, shape),
        audit(4663, RUN, shape),
        audit(4658, None, shape),
        audit(4656, USER, shape, failed=True, HandleId="0x0"),
    ]
    made(tmp_path, records)
    rows = rows_of(tmp_path / "log.regtrace")
    assert [
        (row["operation"], row["key"], row["status"], row["handle_id"], row["value_name"]) for row in rows
    ] == [
        ("OpenKey", RUN, 0, 0, None),
        ("SetValueKey", RUN, 0, 0, "v"),
        ("AccessKey", RUN, 0, 0, None),
        ("CloseKey", RUN, 0, 0, None),
        ("OpenKey", USER, DENIED, None, None),
    ]
    assert {row["time_ns"] for row in rows} == {TIME_NS}
    assert (rows[1]["data"], rows[1]["previous_data"]) == (b"\2\0\0\0", b"\1\0\0\0")
    process = rows[0]["process"]
    assert {row["process_id"] for row in rows} == {process["process_id"]}
    assert (process["pid"], process["image"], process["user"]) == (0x10E1, "regedit.exe", r"PC1\alice")
    assert rows[0]["told"]["DesiredAccess"] == 0x2001F
    assert counts_of(tmp_path / "log.regtrace").get("log_time_of_collector", 0) == (
        5 if shape == "nxlog" else 0
    )


def test_events_as_xml(tmp_path: Path) -> None:
    events = [
        as_xml(4656, RUN),
        as_xml(4657, RUN, OldValueType="%%1873", OldValue="", NewValueType="%%1873", NewValue="x > y & z"),
        as_xml(4658),
        as_xml(4656, USER, failed=True, HandleId="0x0"),
    ]
    (tmp_path / "log.xml").write_text("<Events>" + "".join(events) + "</Events>", encoding="utf-8")
    ingest([tmp_path / "log.xml"], tmp_path / "log.regtrace")
    rows = rows_of(tmp_path / "log.regtrace")
    assert [(row["operation"], row["key"], row["status"], row["handle_id"]) for row in rows] == [
        ("OpenKey", RUN, 0, 0),
        ("SetValueKey", RUN, 0, 0),
        ("CloseKey", RUN, 0, 0),
        ("OpenKey", USER, DENIED, None),
    ]
    assert (rows[1]["previous_data"], rows[1]["data"]) == (text(""), text("x > y & z"))
    assert rows[0]["process"]["pid"] == 0x10E1


def test_sysmon_and_the_security_log_tell_of_one_write(tmp_path: Path) -> None:
    """One file with the records of both: the write is one row, with the data before, and its handle lives on."""
    who = {
        "ProcessName": r"C:\Windows\System32\tool.exe",
        "ProcessId": hex(4321),
        "time": "2024-05-06T07:08:09.1234567Z",
    }
    new = {"OldValue": "1", "NewValue": "2"}
    records = [
        audit(4656, RUN, **who),
        audit(4657, RUN, **who, **new),
        event(
            "SetValue", r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\v", Details="DWORD (0x00000002)"
        ),
        event("CreateKey", r"HKLM\SOFTWARE\Other"),
        audit(4658, **who),
    ]
    made(tmp_path, records)
    capture = tmp_path / "log.regtrace"
    rows = rows_of(capture)
    assert sorted(row["operation"] for row in rows) == ["CloseKey", "CreateKey", "OpenKey", "SetValueKey"]
    (write,) = (row for row in rows if row["operation"] == "SetValueKey")
    assert (write["source"], write["data"], write["previous_data"]) == ("security", b"\2\0\0\0", b"\1\0\0\0")
    assert (write["value_name"], write["flags"], write["handle_id"] is not None) == ("v", 0, True)
    (life,) = table_of(capture, "handles")
    assert (life["began"], life["ended"]) == ("open", "close")
    assert list(broken_rules(capture)) == []


def test_a_record_without_its_process_is_of_its_image_and_logon_session(tmp_path: Path) -> None:
    """NXLog drops ProcessId; ProcessID is the header's. Handles of an unknown process join nothing."""
    lost = {"ProcessId": None, "shape": "nxlog"}
    made(
        tmp_path,
        [
            audit(4656, RUN, **lost),
            audit(4657, RUN, **lost),
            audit(4657, RUN, **lost, SubjectLogonId="0x3e7"),
            audit(4658, **lost),
            audit(4657, RUN, shape="nxlog"),
        ],
    )
    rows = rows_of(tmp_path / "log.regtrace")
    assert [row["process"]["pid"] for row in rows] == [None, None, None, 0x10E1]
    assert rows[0]["process_id"] == rows[1]["process_id"] != rows[2]["process_id"]
    assert [row["handle_id"] for row in rows] == [None, None, None, 0]
    assert counts_of(tmp_path / "log.regtrace")["log_unknown_handles"] == 1


def test_the_account_of_a_process_that_acts_for_several_is_unknown(tmp_path: Path) -> None:
    made(
        tmp_path,
        [audit(4657, RUN), audit(4657, RUN, SubjectUserName="bob"), audit(4657, RUN, ProcessId="0x8")],
    )
    rows = rows_of(tmp_path / "log.regtrace")
    assert [row["process"]["user"] for row in rows] == [None, None, r"PC1\alice"]
    assert [row["told"]["SubjectUserName"] for row in rows] == ["alice", "bob", "alice"]


def test_the_life_of_a_handle(tmp_path: Path) -> None:
    """A delete by its handle, a number that is used again, a file between, a close that nothing opened."""
    file = {"ObjectType": "File", "task": 12800}
    records = [
        audit(4656, RUN),
        audit(4660),
        audit(4658),
        audit(4658),  # of something else: the handle is closed
        audit(4656, RUN),
        audit(4656, USER),  # the close was not recorded
        audit(4656, r"C:\secret.txt", **file),  # a file has the number now
        audit(4660, task=None),
        audit(4658, task=None),
        audit(4657, RUN),  # opened, and no record says so
        audit(4658),
        audit(4656, RUN, HandleId="0x4"),
        audit(4658, ProcessId="0x2"),  # the number is another process's
        audit(4658, HandleId="0x4", task=12800),  # of a file, it says
    ]
    for number, record in enumerate(records):
        record["TimeCreated"] = f"2024-05-06T07:08:{number:02}Z"
    manifest = made(tmp_path, records)
    capture = tmp_path / "log.regtrace"
    rows = rows_of(capture)
    assert [
        (row["sequence"], row["operation"], row["key"], row["handle_id"], row["name_source"]) for row in rows
    ] == [
        (0, "OpenKey", RUN, 0, "event"),
        (1, "DeleteKey", RUN, 0, "open"),
        (2, "CloseKey", RUN, 0, "open"),
        (3, "OpenKey", RUN, 1, "event"),
        (4, "OpenKey", USER, 2, "event"),
        (5, "SetValueKey", RUN, 3, "event"),
        (6, "CloseKey", RUN, 3, "open"),
        (7, "OpenKey", RUN, 4, "event"),
    ]
    lives = sorted(table_of(capture, "handles"), key=lambda life: life["handle_id"])
    columns = ("began", "ended", "opened_sequence", "closed_sequence", "first_sequence", "last_sequence")
    assert [tuple(life[column] for column in columns) for life in lives] == [
        ("open", "close", 0, 2, 0, 2),
        ("open", "reuse", 3, None, 3, 3),
        ("open", "reuse", 4, None, 4, 4),
        ("unseen", "close", None, 6, 5, 6),
        ("open", "reuse", 7, None, 7, 7),
    ]
    assert {life["address"] for life in lives} == {None}
    assert list(broken_rules(capture)) == []
    assert manifest.totals["events"] == 8
    assert manifest.sources[0]["facts"] == {"registry_operations": 8, "rows_by_source": {"security": 8}}
    counts = counts_of(capture)
    assert counts["log_unknown_handles"] == 4
    assert counts["log_other_records"] == 2
    with rt.open(capture) as opened:
        shown = opened.handles()
        assert sorted(shown["verdict"]) == [
            "closed",
            "closed",
            "unseen close",
            "unseen close",
            "unseen close",
        ]
        deleted = opened.timeline(operation="deletekey")
        assert (
            deleted["key"].to_list() == [rt.open(capture).state(key=RUN)["key"].iloc[0]] or len(deleted) == 1
        )


def plain_lives(
    records: list[dict[str, Any]],
) -> tuple[list[tuple[str, str | None, int | None]], list[tuple[str, str, str]]]:
    """Follow handles record by record: (operation, key, number of the life) of each row, and (key, began, ended) of each life."""
    lives: list[list[str]] = []
    held: dict[tuple[str, str], int] = {}
    rows: list[tuple[str, str | None, int | None]] = []

    def begin(slot: tuple[str, str], key: str, began: str) -> int:
        if slot in held:
            lives[held[slot]][2] = "reuse"
        held[slot] = len(lives)
        lives.append([key, began, "open"])
        return held[slot]

    for record in records:
        slot, number, key = (
            (record["ProcessId"], record["HandleId"]),
            record["EventID"],
            record.get("ObjectName"),
        )
        if record.get("ObjectType") == "File":
            if slot in held:
                lives[held.pop(slot)][2] = "reuse"
        elif number == 4656:
            rows.append(("OpenKey", key, begin(slot, key, "open")))
        elif number in (4657, 4663):
            if slot not in held or lives[held[slot]][0] != key:
                begin(slot, key, "unseen")
            rows.append(("SetValueKey" if number == 4657 else "AccessKey", key, held[slot]))
        elif slot in held:
            rows.append(("CloseKey" if number == 4658 else "DeleteKey", lives[held[slot]][0], held[slot]))
            if number == 4658:
                lives[held.pop(slot)][2] = "close"
        elif number == 4660 and record.get("Task") == "12801":
            rows.append(("DeleteKey", None, None))
    return rows, [(key, began, ended) for key, began, ended in lives]


handle_records = st.builds(
    lambda number, key, handle, process, task, of_file: audit(
        number, key if number in (4656, 4657, 4663) else None, HandleId=handle, ProcessId=process, task=task,
        **({"ObjectType": "File"} if of_file and number in (4656, 4663) else {}),
    ),
    st.sampled_from([4656, 4656, 4657, 4663, 4658, 4658, 4660]),
    st.sampled_from([RUN, USER]),
    st.sampled_from(["0x4", "0x8"]),
    st.sampled_from(["0x100", "0x200"]),
    st.sampled_from([12801, None]),
    st.sampled_from([False, False, False, True]),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(histories=st.lists(st.lists(handle_records, min_size=1, max_size=12), min_size=1, max_size=1))
def test_handles_equal_a_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, histories: list[list[dict[str, Any]]]
) -> None:
    for records in histories:
        folder = tmp_path_factory.mktemp("handles")
        made(folder, [{**one, "TimeCreated": f"2024-05-06T07:08:{at:02}Z"} for at, one in enumerate(records)])
        capture = folder / "log.regtrace"
        keys = {row["key_id"]: row["path"] for row in table_of(capture, "keys")}
        lives = sorted(table_of(capture, "handles"), key=lambda life: life["handle_id"])
        plain_rows, plain = plain_lives(records)
        assert [(row["operation"], row["key"], row["handle_id"]) for row in rows_of(capture)] == plain_rows
        assert [(keys[life["key_id"]], life["began"], life["ended"]) for life in lives] == plain
        of_life: dict[int, list[int]] = {}
        for row in rows_of(capture):
            if row["handle_id"] is not None:
                of_life.setdefault(row["handle_id"], []).append(row["sequence"])
        assert {life["handle_id"]: [life["first_sequence"], life["last_sequence"]] for life in lives} == {
            number: [min(uses), max(uses)] for number, uses in of_life.items()
        }


def test_parts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles are followed across parts: a part a row gives the same capture."""
    records = [
        audit(4656, RUN),
        audit(4658, HandleId="0x8"),
        audit(4663, RUN),
        audit(4660),
        audit(4658),
        audit(4656, USER),
    ]
    for number, record in enumerate(records):
        record["TimeCreated"] = f"2024-05-06T07:08:{number:02}Z"
    (tmp_path / "one").mkdir()
    made(tmp_path / "one", records)
    monkeypatch.setattr("tracer.named.ingest.PART_ROWS", 1)
    (tmp_path / "many").mkdir()
    made(tmp_path / "many", records)
    one, many = (tmp_path / name / "log.regtrace" for name in ("one", "many"))
    assert len(list((many / "events").iterdir())) == 5
    assert rows_of(one) == rows_of(many)
    assert table_of(one, "handles") == table_of(many, "handles")


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    records = [
        audit(4656, RUN),
        audit(4656, r"C:\secret.txt", ObjectType="File", HandleId="0x8"),
        audit(4663, r"C:\secret.txt", ObjectType="File", HandleId="0x0"),
        {**audit(4657, RUN), "EventID": 4624},
        audit(4657, RUN, OperationType="%%1999"),
        audit(4657, RUN, TimeCreated="no time"),
        audit(4657, RUN, NewValueType="%%1875", NewValue="?"),
        audit(4656, RUN, Keywords=None, HandleId="0x0"),
    ]
    manifest = made(tmp_path, records)
    counts = counts_of(tmp_path / "log.regtrace")
    assert manifest.totals["events"] == 3
    assert counts["log_other_records"] == 3
    assert counts["security_unclear_operation"] == 1
    assert counts["log_no_time"] == 1
    assert counts["security_unread_data"] == 1
    assert counts["security_no_result"] == 1
    paths = {row["path"] for row in table_of(tmp_path / "log.regtrace", "keys")}
    assert not any(path and "secret" in path for path in paths)


def test_records_of_one_time_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    records = [audit(4657, f"{RUN}\\{number}", RecordNumber=str(number)) for number in (12, 9, 10)]
    made(tmp_path, records)
    assert [row["key"][-2:] for row in rows_of(tmp_path / "log.regtrace")] == ["\\9", "10", "12"]


def test_a_write_is_counted_once(tmp_path: Path) -> None:
    """Of one write there are a 4663 and a 4657; a used right is neither a read nor a write."""
    made(tmp_path, [audit(4656, RUN), audit(4663, RUN, AccessMask="0x2"), audit(4657, RUN), audit(4658)])
    with rt.open(tmp_path / "log.regtrace") as capture:
        hot = capture.hot()
        assert (hot["events"].sum(), hot["writes"].sum(), hot["reads"].sum()) == (4, 1, 0)
        assert hot["unclear_writes"].sum() == 0
        life = capture.handles()
        assert (life["uses"].iloc[0], life["writes"].iloc[0], life["reads"].iloc[0]) == (2, 1, 0)


def test_what_the_log_never_records_is_said(tmp_path: Path) -> None:
    made(tmp_path, [audit(4657, RUN)])
    with rt.open(tmp_path / "log.regtrace") as capture:
        assert capture.redundant().attrs["empty"] == "the Security log records no reads"
        assert (
            capture.timeline(operation="query").attrs["empty"]
            == "the Security log never records QueryValueKey"
        )


def test_history_and_changes_know_the_data_before(tmp_path: Path) -> None:
    records = [
        value("%%1876", "1", "2"),
        {**value("%%1873", "gone", None), "ObjectValueName": "w"},
    ]
    made(tmp_path, records)
    with rt.open(tmp_path / "log.regtrace") as capture:
        history = capture.history(key=RUN).convert_dtypes(dtype_backend="pyarrow").astype(object)
        history = history.where(history.notna(), None)
        assert history[["value_name", "old_text", "new_text"]].to_numpy().tolist() == [
            ["v", "1", "2"],
            ["w", "gone", None],
        ]
        changes = capture.changes(key=RUN).astype(object)
        changes = changes.where(changes.notna(), None)
        before = changes[["value_name", "before_text", "after_text"]].to_numpy().tolist()
        assert before == [["v", "1", "2"], ["w", "gone", None]]


@given(st.integers(0, 2**64 - 1), st.sampled_from(["{:#x}", "0x{:X}", "{}"]))
def test_numbers(number: int, form: str) -> None:
    assert read_number(form.format(number)) == number
    assert read_number(form.format(number), 4) == (number if number < 2**32 else None)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    read_number(text)
    read_rights(text, text)
    assert read_type(text) in {None, *range(12)}
    for kind in (None, *range(12)):
        size, data = read_data(kind, text)
        assert data is None or size in (None, len(data))


@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0*\n<", exclude_categories=["Cs"]), min_size=1), min_size=1
    )
)
def test_a_list_is_read_back(lines: list[str]) -> None:
    assert read_data(7, "*".join(lines)) == (None, text(*lines, ""))


def test_rights() -> None:
    assert read_rights("0x20019", None) == 0x20019
    assert (
        read_rights(None, "%%1538\r\n\t\t\t\t%%4432\r\n\t\t\t\t%%4435\r\n\t\t\t\t%%4436\r\n\t\t\t\t")
        == 0x20019
    )
    assert read_rights("-", "%%1542") == 0x1000000
    assert read_rights(None, "%%9999 %%4432") is None
    assert read_rights(None, None) is None
    assert name_rights(0xF003F) == (
        "KEY_QUERY_VALUE", "KEY_SET_VALUE", "KEY_CREATE_SUB_KEY", "KEY_ENUMERATE_SUB_KEYS", "KEY_NOTIFY", "KEY_CREATE_LINK",
        "DELETE", "READ_CONTROL", "WRITE_DAC", "WRITE_OWNER",
    )  # fmt: skip
    assert name_rights(0x40) == ("0x40",)


@pytest.mark.slow
def test_the_public_records(corpus: Path, tmp_path: Path) -> None:
    """Every record is a row that says what a plain reading of it says, but one: the delete of a file (task 12800)."""
    source = corpus / "logs" / "otrf-security-registry.jsonl.gz"
    with gzip.open(source) as file:
        records = [json.loads(line) for line in file]
    assert len(records) == 1839
    with pytest.raises(UsageError, match="computers"):
        ingest([source], tmp_path / "all.regtrace")
    operations = {4656: "OpenKey", 4657: "SetValueKey", 4660: "DeleteKey", 4663: "AccessKey"}
    seen = 0
    for number, host in enumerate(sorted({record["Hostname"] for record in records})):
        capture = tmp_path / f"{number}.regtrace"
        ingest([source], capture, named=NamedOptions(host=host))
        mine = [record for record in records if record["Hostname"] == host and record["Task"] != "12800"]
        assert counts_of(capture).get("log_other_records", 0) == (host == "IT01.pandalab.com")
        if not mine:
            continue
        mine.sort(key=lambda record: (record["@timestamp"], record.get("RecordNumber", 0)))
        rows = rows_of(capture)
        assert [row["operation"] for row in rows] == [operations[record["EventID"]] for record in mine]
        assert list(broken_rules(capture)) == []
        seen += len(rows)
        held: dict[tuple[str | None, str], str] = {}
        for record, row in zip(mine, rows, strict=True):
            pid = record.get("ProcessId")
            assert row["process"]["pid"] == (None if pid is None else int(pid, 16))
            assert row["process"]["image_path"] == record["ProcessName"]
            assert row["told"]["SubjectLogonId"] == record["SubjectLogonId"]
            failed = str(record["Keywords"]) == "0x8010000000000000"
            assert row["status"] == (DENIED if failed else 0)
            slot = (pid, record["HandleId"])
            if "ObjectName" in record:
                assert row["key"].upper() == record["ObjectName"].upper()
                held[slot] = row["key"]
            else:
                assert row["key"] == held.get(slot)
            if "AccessMask" in record:
                mask = int(record["AccessMask"], 16)
                assert row["told"]["DesiredAccess" if record["EventID"] == 4656 else "AccessMask"] == mask
                assert read_rights(None, record["AccessList"]) == mask
            if record["EventID"] == 4657:
                assert row["value_name"] == record["ObjectValueName"]
                assert shown(row["data_type"], row["data"]) == (record["NewValueType"], record["NewValue"])
                before = shown(row["previous_type"], row["previous_data"])
                assert before == (record["OldValueType"], record["OldValue"])
    assert seen == len(records) - 1


def shown(kind: int | None, data: bytes | None) -> tuple[str, str]:
    """Write a number as the Security log does."""
    if kind is None:
        return "-", "-"
    assert data is not None
    number = int.from_bytes(data, "little")
    return f"%%{1872 + kind}", str(number) if kind == 4 else f"0x{number:X}"


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_history_as_an_etl(tmp_path: Path, seed: int) -> None:
    """What an .etl and the Security log tell of one simulated history agrees, as far as the log says it."""
    etl = simulated(
        tmp_path,
        seed=seed,
        events=2000,
        keys=60,
        preopened=0,
        foreign=0.0,
        failed_open=0.1,
        links=0.0,
        app_hives=0,
    )
    (tmp_path / "log").mkdir()
    with rt.open(etl) as one:
        keys = {row["key_id"]: row["path"] for row in table_of(etl, "keys")}
        rows = [{**row, "path": keys.get(row["key_id"])} for row in plain_rows(one)]
        rows = [row for row in rows if row["path"] and not row["unproved"]]
        made(tmp_path / "log", as_audits(rows))
        with rt.open(tmp_path / "log" / "log.regtrace") as other:
            etl_history, log_history = (written_values(capture) for capture in (one, other))
            etl_changes, log_changes = (net_changes(capture) for capture in (one, other))
    assert len(log_history) == len(etl_history) > 30
    told = 0
    for row, right in zip(log_history, etl_history, strict=True):
        same = ("time", "display_key", "value_name", "operation", "pid")
        assert [str(row[name]).upper() for name in same] == [str(right[name]).upper() for name in same]
        if row["new_type"] not in (None, 3):
            assert (row["new_type"], row["new_text"]) == (right["new_type"], right["new_text"])
            told += 1
        if right["old_from"] == "event" and row["old_type"] not in (None, 3):
            assert (row["old_from"], row["old_type"], row["old_text"]) == (
                "event",
                right["old_type"],
                right["old_text"],
            )
            told += 1
    assert told > 30
    for place, row in log_changes.items():
        right = etl_changes.get(place)
        if right is None:  # the .etl knows that nothing changed; the log does not tell the data of a side
            assert row["before_text"] is None or row["after_text"] is None, row
            continue
        for side in ("before", "after"):
            if row[f"{side}_text"] is not None and right[f"{side}_text"] is not None:
                assert row[f"{side}_text"] == right[f"{side}_text"]
        assert (row["after_from"] == "absent") == (right["after_from"] == "absent"), (row, right)
    assert sum(row["after_text"] is not None for row in log_changes.values()) > 10


def written_values(capture: Any) -> list[dict[str, Any]]:
    """Return the history of values, writes and deletes that were done, NaN as None."""
    rows = without_nan(capture.history())
    return [
        row for row in rows if row["status"] == 0 and row["operation"] in ("SetValueKey", "DeleteValueKey")
    ]


def net_changes(capture: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the net changes of values by key and value."""
    return {
        (row["display_key"].upper(), row["value_name"].upper()): row
        for row in without_nan(capture.changes())
        if row["value_name"] is not None
    }


def without_nan(answer: Any) -> list[dict[str, Any]]:
    return answer.astype(object).where(answer.notna(), None).to_dict("records")
