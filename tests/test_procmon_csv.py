"""Procmon's CSV: rows equal those of the log beside it; every country's forms; damage is counted."""

import csv
import io
import json
import os
import random
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from procmon_csv import DEFAULT, FULL, PLAIN, csv_text
from test_sysmon import rows_of
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from cli.commands.info import describe
from cli.options.zones import find_log_zone
from cli.tables.info import info_lines
from tracer.columns.shapes import shapes
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError, UsageError
from tracer.ingest.pipeline import ingest
from tracer.logs.csv_fields import csv_tables
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.local_times import durations, numbers, times_of_day, to_utc
from tracer.named.procmon_details import read_detail
from tracer.named.procmon_text import procmon_csv_rows
from tracer.schema import FLAGS
from tracer.sources.inputs import SourceFile
from tracer.sources.kinds import file_kind

UTC_NS = int(datetime(2020, 7, 13, 13, 18, 10, tzinfo=UTC).timestamp()) * 10**9 + 775242900
LOG = "pp-LogfileTests64bitUTC"


def read(tmp_path: Path, text: str | bytes, **options: Any) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the named rows of a file, and what was counted."""
    path = tmp_path / "Logfile.CSV"
    path.write_bytes(text.encode("utf-8-sig") if isinstance(text, str) else text)
    diagnostics = Diagnostics()
    file = SourceFile(path, path.name, str(path), "procmon-csv")
    context = NamedContext(NamedOptions(**options))
    rows = [
        row
        for table in procmon_csv_rows(file, path.stat().st_size, context, diagnostics)
        for row in table.to_pylist()
    ]
    processes = context.actors.table().to_pylist()
    for row in rows:
        row["process"] = None if row["actor"] is None else processes[row["actor"]]
    return rows, {name: count for name, count, _ in diagnostics}


# ---- the log beside it is the oracle -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("procmon")
    log = corpus / "pml" / f"{LOG}.pml"
    ingest([log], folder / "log.regtrace")
    ingest(
        [corpus / "pml" / f"{LOG}.csv.gz"],
        folder / "csv.regtrace",
        named=NamedOptions(zone=UTC, day=date(2020, 7, 12)),
    )
    return folder / "log.regtrace", folder / "csv.regtrace"


@pytest.mark.slow
def test_a_csv_has_the_rows_of_the_log_beside_it_up_to_what_procmon_does_not_write(both: tuple[Path, Path]):
    """Row by row. Kinds of differences, each explained by the form of the CSV, and how many rows have it.

    * HKCU has no SID.
    * The information class of reads of values and of enumerations is not written.
    * REG_QWORD data is not written: 48. A REG_MULTI_SZ of several strings is one text: 145.
    * Four values are split by the key that their thread used last, which is a rule for logs; flagged in both.
    * `detail` has what Detail shows, and nothing else.
    """
    log, text = map(rows_of, both)
    sid = "S-1-5-21-3706294487-1660119111-780260463-1001"
    user = f"\\REGISTRY\\USER\\{sid}"
    assert len(log) == len(text) == 46030
    lost = {7: 0, 11: 0}
    moved = 0
    for ours, theirs in zip(text, log, strict=True):
        for name in (
            "time_ns", "operation", "notify_class", "phase", "status", "duration_ns", "thread_id", "disposition", "index",
            "data_type", "data_size", "requested_name",
        ):  # fmt: skip
            assert ours[name] == theirs[name], (name, ours, theirs)
        for name in ("pid", "parent_pid", "image", "image_path", "command_line", "user", "session_id"):
            assert ours["process"][name] == theirs["process"][name]
        key = theirs["key"]
        for root, shown in ((user + "_Classes", "HKCU\\Software\\Classes"), (user, "HKCU")):
            if (key.upper() + "\\").startswith(root.upper() + "\\"):
                key = shown + key[len(root) :]
        path = [key, *([theirs["value_name"]] if theirs["value_name"] is not None else [])]
        our_path = [ours["key"], *([ours["value_name"]] if ours["value_name"] is not None else [])]
        assert "\\".join(our_path).upper() == "\\".join(path).upper()
        if our_path[0].upper() != path[0].upper():
            moved += 1
            assert ours["flags"] & theirs["flags"] & FLAGS["path_split"]
        if ours["data"] != theirs["data"]:
            assert ours["data"] is None
            lost[ours["data_type"]] += 1
            assert ours["data_type"] == 11 or json.loads(ours["detail"])["Data"] == theirs["data"].decode(
                "utf-16-le"
            ).rstrip("\0").replace("\0", ", ")
        assert ours["flags"] & FLAGS["data_truncated"] == theirs["flags"] & FLAGS["data_truncated"]
        if ours["operation"] in ("QueryKey", "SetInformationKey"):
            assert ours["information_class"] == theirs["information_class"]
        else:
            assert ours["information_class"] is None
        theirs_of = json.loads(theirs["detail"] or "{}")
        for name, fact in json.loads(ours["detail"] or "{}").items():
            assert name == "Data" or theirs_of[name] == fact
    assert lost == {7: 145, 11: 48}
    assert moved == 4


@pytest.mark.slow
def test_who_did_what_is_the_same_in_both(both: tuple[Path, Path]):
    with rt.open(both[0]) as log, rt.open(both[1]) as text:
        counts = ["pid", "events", "reads", "writes", "deletes", "not_found", "failures"]
        ours, theirs = (c.who(limit=None)[counts].sort_values(counts) for c in (text, log))
        assert ours.to_numpy().tolist() == theirs[theirs["events"] > 0].to_numpy().tolist()


# ---- forms of other countries, by hand ---------------------------------------------------------------------

# What the columns say, and what the row must say. The time is 13:18:10.7752429 on 13 July 2020 in all of them.
FORMS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "United States": ({}, {"time_ns": UTC_NS, "duration_ns": 7400, "thread_id": 1568}),
    "Germany": (
        {"Time of Day": "13:18:10,7752429", "Date & Time": "13.07.2020 13:18:10", "Duration": "0,0000074"},
        {"duration_ns": 7400},
    ),
    "Britain": ({"Time of Day": "13:18:10.7752429", "Date & Time": "13/07/2020 13:18:10"}, {}),
    "Sweden": ({"Time of Day": "13:18:10,7752429", "Date & Time": "2020-07-13 13:18:10"}, {}),
    "Finland": ({"Time of Day": "13.18.10,7752429", "Date & Time": "13.7.2020 13.18.10"}, {}),
    "Netherlands": ({"Time of Day": "13:18:10,7752429", "Date & Time": "13-7-2020 13:18:10"}, {}),
    "Hungary": ({"Time of Day": "13:18:10,7752429", "Date & Time": "2020. 07. 13. 13:18:10"}, {}),
    "Korea": ({"Time of Day": "오후 1:18:10.7752429", "Date & Time": "2020-07-13 오후 1:18:10"}, {}),
    "China": ({"Time of Day": "13:18:10.7752429", "Date & Time": "2020/7/13 13:18:10"}, {}),
    "Taiwan": ({"Time of Day": "下午 01:18:10.7752429", "Date & Time": "2020/7/13 下午 01:18:10"}, {}),
    "Greece": ({"Time of Day": "1:18:10,7752429 μμ", "Date & Time": "13/7/2020 1:18:10 μμ"}, {}),
    "Australia": ({"Time of Day": "1:18:10.7752429 pm", "Date & Time": "13/07/2020 1:18:10 pm"}, {}),
    "Spain, with no-break spaces": (
        {"Time of Day": "1:18:10,7752429\u00a0p.\u00a0m.", "Date & Time": "13/07/2020 1:18:10"}, {},
    ),
    "Windows 11, narrow space": ({"Time of Day": "1:18:10.7752429\u202fPM"}, {}),
    "a two-digit year": ({"Time of Day": "13:18:10,7752429", "Date & Time": "13.07.20 13:18:10"}, {}),
    "an English number": ({"Detail": "Length: 1,024", "Result": "NAME NOT FOUND"}, {"detail": {"Length": 1024}, "status": 0xC0000034}),
    "a German number": ({"Detail": "Length: 1.024"}, {"detail": {"Length": 1024}}),
    "a French number": ({"Detail": "Length: 1\u202f024"}, {"detail": {"Length": 1024}}),
    "a Polish number": ({"Detail": "Length: 1\u00a0024"}, {"detail": {"Length": 1024}}),
    "a Swiss number": ({"Detail": "Length: 1’024"}, {"detail": {"Length": 1024}}),
    "an Indian number": ({"Detail": "Length: 1,02,400"}, {"detail": {"Length": 102400}}),
    "a number before data": (
        {"Detail": "Type: REG_BINARY, Length: 1,510, Data: 02 00 FF"},
        {"data_type": 3, "data_size": 1510, "data": b"\2\0\xff", "flags": FLAGS["data_truncated"]},
    ),
    "a DWORD": ({"Detail": "Type: REG_DWORD, Length: 4, Data: 4294967295"}, {"data_type": 4, "data": b"\xff" * 4, "data_size": 4}),
    "a text with commas": (
        {"Detail": "Type: REG_SZ, Length: 12, Data: a, b;"},
        {"data_type": 1, "data": "a, b;\0".encode("utf-16-le"), "flags": 0},
    ),
    "a text without its NUL": ({"Detail": "Type: REG_SZ, Length: 4, Data: ab"}, {"data": "ab".encode("utf-16-le"), "flags": 0}),
    "a text that was cut": (
        {"Detail": "Type: REG_EXPAND_SZ, Length: 9,000, Data: %x%"},
        {"data_type": 2, "data": "%x%\0".encode("utf-16-le"), "flags": FLAGS["data_truncated"]},
    ),
    "a text beyond ASCII": ({"Detail": "Type: REG_SZ, Length: 8, Data: ß😀"}, {"data": "ß😀\0".encode("utf-16-le")}),
    "a text longer than its size": (
        {"Detail": "Type: REG_SZ, Length: 2, Data: abc"},
        {"data": None, "data_size": 2, "detail": {"Data": "abc"}},
    ),
    "no data": ({"Detail": "Type: REG_NONE, Length: 0"}, {"data_type": 0, "data_size": 0, "data": None}),
    "a strange type": ({"Detail": "Type: <Unknown: 1001>, Length: 0"}, {"data_type": 1001}),
    "one string of a list": ({"Detail": "Type: REG_MULTI_SZ, Length: 12, Data: en-US"}, {"data": "en-US\0".encode("utf-16-le")}),
    "two strings of a list, or one": (
        {"Detail": "Type: REG_MULTI_SZ, Length: 20, Data: en-US, en"},
        {"data": None, "data_size": 20, "detail": {"Data": "en-US, en"}},
    ),
    "a QWORD is not written": ({"Detail": "Type: REG_QWORD, Length: 8, Data: "}, {"data_type": 11, "data_size": 8, "data": None}),
    "an open": (
        {"Operation": "RegOpenKey", "Detail": "Desired Access: Query Value, Enumerate Sub Keys"},
        {"operation": "OpenKey", "has_value": False, "detail": {"DesiredAccess": 9}},
    ),
    "an open of all": (
        {"Operation": "RegOpenKey", "Detail": "Desired Access: Maximum Allowed, Granted Access: Read"},
        {"detail": {"DesiredAccess": 0x2000000, "GrantedAccess": 0x20019}},
    ),
    "a create": (
        {"Operation": "RegCreateKey", "Detail": "Desired Access: Read/Write, WOW64_32Key, Disposition: REG_CREATED_NEW_KEY"},
        {"operation": "CreateKey", "disposition": 1, "detail": {"DesiredAccess": 0x2021F}},
    ),
    "a right that nobody knows": (
        {"Operation": "RegOpenKey", "Detail": "Desired Access: Read, Fly"}, {"detail": {"DesiredAccess": "Read, Fly"}},
    ),
    "a query": ({"Operation": "RegQueryKey", "Detail": "Query: HandleTags, HandleTags: 0x400"}, {"information_class": 7, "detail": {"HandleTags": 1024}}),
    "a query of counts": (
        {"Operation": "RegQueryKey", "Detail": "Query: Cached, SubKeys: 1,234, Values: 0"},
        {"information_class": 4, "detail": {"SubKeys": 1234, "Values": 0}},
    ),
    "an entry": (
        {"Operation": "RegEnumValue", "Detail": "Index: 1,000, Name: a, b, Type: REG_SZ, Length: 6, Data: xy"},
        {"index": 1000, "value_name": "a, b", "data": "xy\0".encode("utf-16-le"), "detail": None},
    ),
    "the default value's entry": ({"Operation": "RegEnumValue", "Detail": "Index: 0, Name: (Default), Type: REG_NONE, Length: 0"}, {"value_name": ""}),
    "an entry without its data": ({"Operation": "RegEnumValue", "Detail": "Index: 3, Name: a, b, Type: REG_SZ"}, {"value_name": "a, b", "data_type": 1}),
    "an entry that may be cut in two places": (
        {"Operation": "RegEnumValue", "Detail": "Index: 0, Name: a, Type: REG_SZ, Length: 2, Data: , Type: REG_SZ, Length: 2, Data: "},
        {"index": 0, "value_name": None, "data": None},
    ),
    "the name of a subkey": ({"Operation": "RegEnumKey", "Detail": "Index: 2, Name: Sub"}, {"index": 2, "value_name": None, "detail": {"Name": "Sub"}}),
    "tags": ({"Operation": "RegSetInfoKey", "Detail": "KeySetInformationClass: KeySetHandleTagsInformation, Length: 0"}, {"information_class": 5, "detail": None}),
    "a hive": ({"Operation": "RegLoadKey", "Detail": r"Hive Path: C:\a.dat"}, {"operation": "LoadKey", "detail": {"FileName": r"C:\a.dat"}}),
    "a new name": ({"Operation": "RegRenameKey", "Detail": "New Name: New"}, {"operation": "RenameKey", "requested_name": "New"}),
    "an operation that has not ended": ({"Result": "", "Duration": "", "Detail": ""}, {"status": None, "duration_ns": None}),
    "a result that nobody knows": ({"Result": "ODD THING", "Detail": "Length: 9"}, {"status": None, "detail": {"Length": 9, "Result": "ODD THING"}}),
    "a detail of no known form": ({"Detail": "Something: else"}, {"detail": {"Detail": "Something: else"}}),
    "a name that looks escaped": ({"Path": r"HKLM\SOFTWARE\<U+0041>"}, {"path": r"HKLM\SOFTWARE\<U+003C>U+0041>"}),
    "quotes and a line's end": ({"Path": 'HKLM\\A "b"\r\nc'}, {"path": 'HKLM\\A "b"\r\nc'}),
}  # fmt: skip


# All of them as one log, whose times are of one form.
EVERY = [
    {**columns, "Time of Day": PLAIN["Time of Day"], "Date & Time": PLAIN["Date & Time"], "PID": str(number)}
    for number, (columns, _) in enumerate(FORMS.values())
]


@pytest.mark.parametrize("form", FORMS)
def test_a_row_in_each_form(form: str, tmp_path: Path):
    columns, expected = FORMS[form]
    rows, counts = read(tmp_path, csv_text([columns]), zone=UTC)
    (row,) = rows
    row["detail"] = json.loads(row["detail"]) if row["detail"] else None
    assert {name: row[name] for name in expected} == expected
    assert row["time_ns"] == UTC_NS
    assert not counts.keys() & {"log_bad_record", "log_no_time"}


def test_a_default_export_has_no_date_and_says_so(tmp_path: Path):
    text = csv_text([{"Time of Day": "11:59:59.9999999 PM"}, {"Time of Day": "12:00:00.0000001 AM"}], DEFAULT)
    rows, counts = read(tmp_path, text, day=date(2026, 5, 31), zone=timezone(timedelta(hours=2)))
    first = int(datetime(2026, 5, 31, 21, 59, 59, tzinfo=UTC).timestamp()) * 10**9 + 999_999_900
    assert [row["time_ns"] for row in rows] == [first, first + 200]
    assert [row["thread_id"] for row in rows] == [row["duration_ns"] for row in rows] == [None, None]
    assert (rows[0]["process"]["image"], rows[0]["process"]["image_path"]) == ("app.exe", None)
    assert counts == {}


@pytest.mark.parametrize(("saved", "day"), [("14:00", 31), ("13:00", 30)])
def test_without_a_day_the_file_tells_the_latest_possible(tmp_path: Path, saved: str, day: int):
    path = tmp_path / "Logfile.CSV"
    path.write_text(csv_text([{}], DEFAULT), encoding="utf-8-sig")
    seconds = datetime.fromisoformat(f"2026-05-31T{saved}:00+00:00").timestamp()
    os.utime(path, (seconds, seconds))
    manifest = ingest([path], tmp_path / "log.regtrace")
    (row,) = rows_of(tmp_path / "log.regtrace")
    assert datetime.fromtimestamp(row["time_ns"] // 10**9, UTC).day == day
    notes = " ".join(manifest.settings["notes"])
    assert "--date" in notes
    assert "--tz" in notes


def test_a_date_that_may_be_read_in_two_ways_is_said_or_decided(tmp_path: Path):
    text = csv_text([{"Date & Time": "7/12/2020 1:18:10 PM"}])
    rows, counts = read(tmp_path, text)
    assert datetime.fromtimestamp(rows[0]["time_ns"] // 10**9, UTC).date() == date(2020, 7, 12)
    assert counts["log_unclear_date"] == 1
    rows, counts = read(tmp_path, text, day=date(2020, 12, 7), zone=UTC)
    assert datetime.fromtimestamp(rows[0]["time_ns"] // 10**9, UTC).date() == date(2020, 12, 7)
    assert counts == {}


def test_keys_of_the_user_of_the_desktop_are_found_by_hkcu(tmp_path: Path):
    path = tmp_path / "Logfile.CSV"
    path.write_text(csv_text([{"Path": "HKCU\\Software\\Vendor\\Colour"}]), encoding="utf-8-sig")
    rt.ingest(path, tmp_path / "log.regtrace")
    with rt.open(tmp_path / "log.regtrace") as capture:
        answer = capture.timeline(key="HKCU\\Software\\Vendor")
    assert answer["value_name"].tolist() == ["Colour"]


def test_info_describes_a_csv(tmp_path: Path):
    path = tmp_path / "Logfile.CSV"
    path.write_text(csv_text([{}, {"Operation": "RegCloseKey"}]), encoding="utf-8-sig")
    facts = describe(path)
    assert (facts["kind"], facts["operations"], facts["processes"]) == (
        "procmon-csv",
        {"QueryValueKey": 1, "CloseKey": 1},
        1,
    )
    assert "what Procmon's CSV tells (2 rows)" in "\n".join(info_lines(facts))


def test_the_command_takes_a_day_and_a_zone(tmp_path: Path):
    path = tmp_path / "Logfile.CSV"
    path.write_text(csv_text([{}], DEFAULT), encoding="utf-8-sig")
    runner = CliRunner()
    words = [
        "ingest",
        str(path),
        "-o",
        str(tmp_path / "log.regtrace"),
        "--date",
        "2020-07-13",
        "--tz",
        "+02:00",
    ]
    assert runner.invoke(app, words).exit_code == 0
    assert rows_of(tmp_path / "log.regtrace")[0]["time_ns"] == UTC_NS - 2 * 3600 * 10**9
    wrong = runner.invoke(app, [*words[:-3], "13.7.2020"])
    assert wrong.exit_code == 2
    assert "is no day; write it as 2026-05-31" in wrong.output


def test_a_zone_with_summer_time(tmp_path: Path):
    days = [{"Date & Time": "1/15/2020 1:18:10 PM"}, {"Date & Time": "7/15/2020 1:18:10 PM"}]
    rows, _ = read(tmp_path, csv_text(days), zone=ZoneInfo("Europe/Berlin"))
    assert [datetime.fromtimestamp(row["time_ns"] // 10**9, UTC).hour for row in rows] == [12, 11]


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [("utf-8", ","), ("utf-8-sig", ";"), ("utf-16", ","), ("utf-16-be", "\t"), ("cp1252", ";")],
)
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, delimiter: str):
    text = csv_text([{"Path": "HKLM\\Größe\\v"}], delimiter=delimiter)
    raw = text.encode(encoding)
    raw = b"\xfe\xff" + raw if encoding == "utf-16-be" else raw
    assert file_kind(raw[:4096]).word == "procmon-csv"
    rows, _ = read(tmp_path, raw)
    assert [row["path"] for row in rows] == ["HKLM\\Größe\\v"]


def test_a_missing_column_is_one_sentence(tmp_path: Path):
    columns = [name for name in FULL if name not in ("Time of Day", "Date & Time")]
    with pytest.raises(SourceError, match="no column 'Time of Day'; switch it on"):
        read(tmp_path, csv_text([{}], columns))


def test_titles_of_another_file_are_one_sentence(tmp_path: Path):
    with pytest.raises(SourceError, match="no column 'Operation'; switch it on"):
        read(tmp_path, "Time,of\r\na,b\r\n")


def test_titles_that_are_no_line_of_csv_cost_the_records(tmp_path: Path):
    rows, counts = read(tmp_path, '"Time of Day",\r"Path"\r\na,b\r\n')
    assert (rows, counts) == ([], {"log_bad_record": 1})


def test_a_date_column_alone_gives_seconds(tmp_path: Path):
    rows, _ = read(tmp_path, csv_text([{}], [name for name in FULL if name != "Time of Day"]))
    assert rows[0]["time_ns"] == UTC_NS - 775242900


def test_rows_of_other_events_and_bad_records_are_counted_and_the_rest_is_kept(tmp_path: Path):
    good = csv_text([{"PID": "1"}, {"Operation": "ReadFile"}, {"PID": "2"}])
    lines = good.splitlines(keepends=True)
    odd = '"an open quote,"1"\r\n'
    text = "".join([*lines[:2], odd, '"too","few"\r\n', *lines[2:], lines[1].replace('"932"', '"3"'), '"cut'])
    rows, counts = read(tmp_path, text, zone=UTC)
    assert [row["process"]["pid"] for row in rows] == [1, 2, 1]
    assert counts == {"log_bad_record": 3, "log_other_records": 1}
    assert rows[0]["record_offset"] == text.index("\r\n") + 2


@pytest.mark.slow
def test_mutated_exports_end_in_rows_or_counters(tmp_path: Path):
    """Bytes changed, cut out and put in: no other exception than our own, and no row without a time."""
    good = csv_text(EVERY).encode()
    dice = random.Random(7)
    for _ in range(150):
        raw = bytearray(good)
        for _ in range(dice.randint(1, 12)):
            at = dice.randrange(len(raw))
            what = dice.randrange(4)
            if what == 0:
                raw[at] = dice.choice(b'",\r\n0 \x00\xff\xd8')
            elif what == 1:
                del raw[at : at + dice.randint(1, 80)]
            elif what == 2:
                raw[at:at] = dice.choice([b'"', b'"\r\n"', b",,", "\u202f".encode(), b"9" * 40, b"\r\n\r\n"])
            else:
                raw[at : at + 1] = bytes([raw[at] ^ 1 << dice.randrange(8)])
        with suppress(SourceError):  # a title is damaged
            rows, _ = read(tmp_path, bytes(raw))
            assert all(abs(row["time_ns"]) < 1 << 63 for row in rows)


# ---- CSV as columns ----------------------------------------------------------------------------------------

fields = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0<"), max_size=6)


@given(
    st.lists(st.tuples(fields, fields, fields), min_size=1, max_size=8),
    st.integers(1, 60),
    st.sampled_from(",;\t"),
)
def test_records_are_those_of_pythons_csv_module(records: list[tuple[str, ...]], size: int, delimiter: str):
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("a", "b", "c"), *records])
    text = out.getvalue().encode()
    diagnostics = Diagnostics()
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    tables = list(csv_tables(pieces, ["A", "c", "none"], diagnostics, encoded={"c"}))
    rows = [row for table in tables for row in table.to_pylist()]
    assert [(row["A"], row["c"], row["none"]) for row in rows] == [(one[0], one[2], None) for one in records]
    assert [text[row["offset"] : row["offset"] + 1] for row in rows] == [b'"'] * len(records)
    assert not list(diagnostics)


def test_small_blocks_give_the_same_records(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    text = csv_text(EVERY)
    whole, _ = read(tmp_path, text)
    assert len(whole) == len(EVERY)
    monkeypatch.setattr("tracer.logs.csv_fields.BLOCK", 700)
    monkeypatch.setattr("tracer.logs.utf8.PIECE", 64)
    assert read(tmp_path, text)[0] == whole


def test_a_quote_that_never_closes_costs_its_own_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracer.logs.csv_fields.MOST_BYTES", 2000)
    monkeypatch.setattr("tracer.logs.csv_fields.BLOCK", 4000)
    lines = [b"a,b\n", *(b'"%d","x"\n' % n for n in range(2000))]
    lines[1000] = b'"999,x\n'
    diagnostics = Diagnostics()
    rows = [row for table in csv_tables(lines, ["a"], diagnostics) for row in table.to_pylist()]
    assert [row["a"] for row in rows] == [str(n) for n in range(2000) if n != 999]
    assert diagnostics["log_bad_record"] == 1


# ---- numbers and times -------------------------------------------------------------------------------------


@given(st.integers(0, 86_400 * 10**7 - 1), st.booleans(), st.sampled_from(".,"))
def test_times_of_day_are_pythons(ticks: int, is_twelve: bool, mark: str):
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=ticks // 10**7)
    shown = moment.strftime("%I:%M:%S" if is_twelve else "%H:%M:%S") + f"{mark}{ticks % 10**7:07d}"
    values, is_time = times_of_day(pa.array(["x", shown + moment.strftime(" %p") if is_twelve else shown]))
    assert (values[1], is_time.tolist()) == (ticks * 100, [False, True])


@given(
    st.lists(st.integers(0, 10**12), max_size=20),
    st.sampled_from([",", ".", " ", "\u00a0", "\u202f", "’", ""]),
)
def test_numbers_of_every_country(values: list[int], mark: str):
    texts = pa.array([f"{value:,}".replace(",", mark) for value in values], pa.string())
    found, is_number = numbers(texts)
    assert found.tolist() == values
    assert is_number.all()


@given(st.lists(st.text(max_size=10), max_size=30))
def test_shapes_hold_each_text_once(texts: list[str]):
    found = [place for shape in shapes(pa.array(texts, pa.string())) for place in shape.rows.tolist()]
    assert sorted(found) == [place for place, text in enumerate(texts) if 0 < len(text.encode()) <= 64]


def test_durations_beyond_a_second():
    texts = pa.array(["12.0000001", "1,234.5000000", "1.234,5000000", "n/a", None, "0.12"], pa.string())
    values, is_one = durations(texts)
    assert values[:3].tolist() == [12 * 10**9 + 100, 1234 * 10**9 + 5 * 10**8, 1234 * 10**9 + 5 * 10**8]
    assert is_one.tolist() == [True, True, True, False, False, False]


@given(st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)))
def test_utc_of_local_times_is_pythons(local: datetime):
    zone = ZoneInfo("America/New_York")
    expected = local.replace(tzinfo=zone).timestamp()
    ns = (local - datetime(1970, 1, 1)) // timedelta(microseconds=1) * 1000
    assert to_utc(np.array([ns]), zone)[0] == round(expected * 10**6) * 1000


def test_zones_of_a_log():
    assert find_log_zone("+02:00").utcoffset(None) == timedelta(hours=2)
    assert find_log_zone("-0530").utcoffset(None) == -timedelta(hours=5, minutes=30)
    assert find_log_zone("utc") is UTC
    assert str(find_log_zone("europe/berlin")) == "Europe/Berlin"
    with pytest.raises(UsageError, match=r"\+14:00"):
        find_log_zone("+15:00")


@given(
    st.sampled_from(["OpenKey", "QueryKey", "EnumerateValueKey", "SetValueKey", "CloseKey"]),
    st.text(max_size=40),
)
def test_any_detail_is_read_without_a_word_being_lost(operation: str, text: str):
    detail = read_detail(operation, text)
    assert detail.is_clear or detail.fields
