"""Exports for Timesketch, Splunk and log2timeline: what is parsed back is the timeline, whatever stands in it."""

import csv
import gzip
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from export_rows import rows_of, without_nulls, write_export_capture
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.export import l2tcsv, timesketch
from analysis.export.contents import content_of
from analysis.export.flat import FLAT
from analysis.export.formats import FORMATS
from analysis.export.json_text import braced, decoded, members, quoted
from analysis.export.messages import CUT_MARK
from analysis.export.records import _small
from analysis.open import open_capture
from tracer.errors import TargetError, UsageError
from tracer.registry.safe_text import SPREADSHEET_TRIGGERS
from tracer.registry.text import unescape_name
from tracer.registry.values import type_name
from tracer.schema import FLAGS

COLUMNS = {  # field of the flat record -> column of a timeline
    "operation": "operation", "status": "status_name", "key_path": "display_key", "native_key": "key",
    "value_name": "value_name", "value_type": "data_type_name", "value_data": "data_text", "value_size": "data_size",
    "previous_type": "previous_type_name", "previous_data": "previous_text", "previous_size": "previous_size",
    "process_name": "process", "pid": "pid", "tid": "tid", "requested_name": "requested_name",
    "disposition": "disposition", "index": "index", "duration_ns": "duration_ns", "name_source": "name_source",
    "detail": "detail", "sequence": "sequence", "key_id": "key_id", "handle_id": "handle_id",
}  # fmt: skip


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export_capture(tmp_path_factory.mktemp("export") / "host.regtrace")


@pytest.fixture(scope="module")
def rows(capture: Path) -> list[dict[str, Any]]:
    return rows_of(capture)


def export(capture: Path, path: Path, to: str, **more: Any) -> list[dict[str, Any]]:
    """Export, and return the JSON of each line."""
    with open_capture(capture) as opened:
        opened.export(path, to=to, **more)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def split(records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the notices and the events."""
    return [one for one in records if "notice" in one], [one for one in records if "notice" not in one]


def same(field: str, record: dict[str, Any], row: dict[str, Any]) -> bool:
    found, expected = record.get(field), row[COLUMNS[field]]
    if isinstance(found, str) and found.endswith(CUT_MARK):
        return len(found.encode()) <= timesketch.CELL_BYTES and expected.startswith(
            found.removesuffix(CUT_MARK)
        )
    return found == expected


def test_timesketch_lines_are_the_timeline(capture: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    notices, records = split(export(capture, tmp_path / "a.jsonl", "timesketch"))
    assert len(records) == len(rows)
    for record, row in zip(records, rows, strict=True):
        assert all(same(field, record, row) for field in COLUMNS), (record, row)
        assert None not in record.values()
        assert record["timestamp"] == row["time_ns"] // 1000
        assert datetime.fromisoformat(record["datetime"]) == row["time"]
        assert record["message"].startswith(row["operation"])
        assert record["timestamp_desc"].startswith("Registry ")
        assert record["hostname"] == "PC-\u202e1"
        assert record.get("status_code") == (None if row["status"] is None else f"0x{row['status']:08X}")
        flags = {name for name, bit in FLAGS.items() if row["flags"] & bit}
        assert set(filter(None, record.get("flags", "").split(","))) == flags
    assert {one["notice"] for one in notices} == {"loss", "blind", "doubt"}
    lost = next(one for one in notices if one.get("notice_count") == 12)
    assert lost["timestamp_desc"] == "Registry Trace: Events Lost"
    assert lost["notice_end"].endswith("+00:00")
    for one in notices:
        assert {"message", "datetime", "timestamp", "timestamp_desc"} <= one.keys()


def test_timesketch_csv_says_the_same_and_runs_in_no_spreadsheet(
    capture: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    lines = export(capture, tmp_path / "a.jsonl", "timesketch")
    with open_capture(capture) as opened:
        done = opened.export(tmp_path / "a.csv", to="timesketch")
    text = (tmp_path / "a.csv").read_text(encoding="utf-8")
    cells = list(csv.DictReader(io.StringIO(text, newline="")))
    assert list(cells[0]) == list(timesketch.COLUMNS)
    texts = {field.name for field in FLAT if field.is_text} | {
        "message",
        "timestamp_desc",
        "datetime",
        "notice",
    }
    for line, cell in zip(lines, cells, strict=True):
        assert not any(one.startswith(tuple(SPREADSHEET_TRIGGERS.replace("'", ""))) for one in cell.values())
        for name, value in cell.items():
            plain = value.removeprefix("'") if name in texts else value
            assert plain == str(line.get(name, "")), name
    frame = pd.read_csv(tmp_path / "a.csv", dtype=str)
    assert len(frame) == len(lines)
    assert done.rows == len(rows)
    assert done.notices == len(lines) - len(rows)
    long = sum(len(text.encode()) > 32_766 for row in rows for text in row.values() if isinstance(text, str))
    messages = sum(max(len(row["data_text"] or ""), len(row["previous_text"] or "")) > 4_000 for row in rows)
    assert long > 0
    assert done.cut == long + messages
    assert done.unnamed == sum(row["name_source"] in ("none", "partial") for row in rows)


def test_null_is_an_empty_cell_and_the_default_value_a_quoted_one(capture: Path, tmp_path: Path) -> None:
    with open_capture(capture) as opened:
        opened.export(tmp_path / "a.csv", to="timesketch", operation="deletevalue")
    place = timesketch.COLUMNS.index("value_name")
    events = [
        line for line in (tmp_path / "a.csv").read_text().splitlines() if line.startswith('"DeleteValueKey')
    ]
    assert sorted(line.split(",")[place + line.count(", the default")] for line in events) == ["", '""']


def test_splunk_events_are_the_timeline(capture: Path, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    lines = export(capture, tmp_path / "a.json", "splunk", index="win", sourcetype="my:type")
    assert all(line["index"] == "win" and line["source"] == "host.regtrace" for line in lines)
    assert all(line["host"] == "PC-\u202e1" for line in lines)
    notices = [line for line in lines if line["sourcetype"] == "regtrace:notice"]
    records = [line for line in lines if line["sourcetype"] == "my:type"]
    assert len(notices) + len(records) == len(lines)
    for line, row in zip(records, rows, strict=True):
        assert round(line["time"] * 1e6) == row["time_ns"] // 1000
        assert {field: line["event"].get(field) for field in COLUMNS} == {
            field: row[column] for field, column in COLUMNS.items()
        }


def test_l2tcsv_has_17_columns_and_a_line_for_each_event(
    capture: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    with open_capture(capture) as opened:
        done = opened.export(tmp_path / "a.csv", to="l2tcsv")
    lines = (tmp_path / "a.csv").read_text(encoding="utf-8").split("\n")
    assert lines[0].split(",") == list(l2tcsv.COLUMNS)
    assert len(lines[0].split(",")) == 17
    assert len(lines) == 1 + done.notices + len(rows) + 1  # nothing breaks a line
    cells = list(csv.DictReader(lines))[done.notices :]
    for cell, row in zip(cells, rows, strict=True):
        assert all(cell.values())  # what is not known is -
        moment = datetime.strptime(f"{cell['date']} {cell['time']}", "%m/%d/%Y %H:%M:%S")
        assert moment == row["time"].replace(microsecond=0, tzinfo=None)
        assert cell["extra"].startswith(f"sequence: {row['sequence']}; time_ns: {row['time_ns']}")
        assert cell["short"].startswith(row["operation"])
        assert cell["MACB"] in ("M...", ".A..", "...B")
        assert (cell["inode"] == "-") == (row["key_id"] is None)


def test_many_captures_have_the_host_in_each_record(capture: Path, tmp_path: Path) -> None:
    write_export_capture(tmp_path / "hosts" / "other.regtrace")
    write_export_capture(tmp_path / "hosts" / "third.regtrace")
    _, records = split(export(tmp_path / "hosts", tmp_path / "a.jsonl", "timesketch", operation="rename"))
    rows = rows_of(tmp_path / "hosts", operation="rename")
    assert [(one["hostname"], one["capture"]) for one in records] == [
        (row["host"], row["capture"]) for row in rows
    ]
    assert len({one["capture"] for one in records}) == 2


def test_filters_limits_and_narrowed_captures_choose_the_rows(capture: Path, tmp_path: Path) -> None:
    with open_capture(capture) as opened:
        reads = opened.where(operation="query")
        done = reads.export(tmp_path / "a.jsonl", to="timesketch", process="reader.exe", limit=3)
    assert done.rows == 3
    _, records = split([json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()])
    assert {(one["operation"], one["process_name"]) for one in records} == {("QueryValueKey", "reader.exe")}


def test_files_are_whole_compressed_and_the_same_again(capture: Path, tmp_path: Path) -> None:
    with open_capture(capture) as opened:
        opened.export(tmp_path / "a.jsonl", to="ocsf")
        opened.export(tmp_path / "a.jsonl.gz", to="ocsf")
        opened.export(tmp_path / "b.jsonl.gz", to="ocsf")
        with pytest.raises(TargetError, match="exists; give --force"):
            opened.export(tmp_path / "a.jsonl", to="ocsf")
        with pytest.raises(TargetError, match="lies in the capture"):
            opened.export(capture / "a.jsonl", to="ocsf")
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == (tmp_path / "a.jsonl").read_bytes()
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


@pytest.mark.parametrize(
    ("to", "name", "more", "said"),
    [
        (
            "timesketch",
            "a.json",
            {},
            r"timesketch takes files that end with .csv or .jsonl only.*name it a.csv",
        ),
        ("timesketch", "a.jsonl.gz", {}, "would not import 'a.jsonl.gz'"),
        ("timesketh", "a.csv", {}, "unknown format 'timesketh'; did you mean timesketch"),
        ("ocsf", "a.json", {"index": "x"}, "ocsf has no index; ecs and splunk have one"),
        ("ecs", "a.json", {"sourcetype": "x"}, "ecs has no sourcetype; splunk has one"),
        ("ecs", "a.json", {"operation": "nonsense"}, "nonsense"),
        ("ecs", "a.json", {"where": "CAST(value_name AS INTEGER) > 1"}, "Could not convert string"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    capture: Path, tmp_path: Path, to: str, name: str, more: dict[str, Any], said: str
) -> None:
    with open_capture(capture) as opened, pytest.raises(UsageError, match=said):
        opened.export(tmp_path / name, to=to, **more)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", [to for to, one in FORMATS.items() if one.is_text])
def test_no_byte_of_a_text_format_runs_in_a_terminal_where_json_can_escape_it(
    capture: Path, tmp_path: Path, to: str
) -> None:
    with open_capture(capture) as opened:
        opened.export(tmp_path / "a.jsonl", to=to)
    text = (tmp_path / "a.jsonl").read_bytes().decode("utf-8")
    if to != "l2tcsv":
        assert "\x1b" not in text
        assert "\u202e" not in text


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.none() | st.text(st.characters(exclude_categories=["Cs"]))] * 3), max_size=8))
def test_objects_by_column_are_what_json_reads_back(rows: list[tuple[str | None, ...]]) -> None:
    names = ("a", 'b"\n', "c")
    columns = (
        [pa.array(list(column), pa.string()) for column in zip(*rows, strict=True)]
        if rows
        else [pa.array([], pa.string())] * 3
    )
    pieces = {name: pa.array([None if text is None else quoted(text) for text in column.to_pylist()], pa.string())
              for name, column in zip(names, columns, strict=True)}  # fmt: skip
    pieces["c"] = pieces["c"].dictionary_encode()
    made = decoded(braced(members(pieces))).to_pylist()
    expected = [without_nulls(dict(zip(names, row, strict=True))) for row in rows]
    assert [{} if one is None else json.loads(one) for one in made] == expected


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 12) | st.none(),
    st.binary(max_size=12)
    | st.text(max_size=5).map(lambda text: (text + "\0").encode("utf-16-le", "surrogatepass")),
    st.integers(0, 4),
)
def test_an_exact_content_gives_its_bytes_back(kind: int | None, data: bytes, missing: int) -> None:
    content = content_of(kind, data, len(data) + missing)
    if content is None:
        assert kind is None
        return
    assert content.octets == data
    if missing:
        assert not content.is_exact
    elif content.is_exact and content.number is not None:
        order = "big" if kind is not None and type_name(kind).endswith("BIG_ENDIAN") else "little"
        assert content.number.to_bytes(len(data), order) == data
    elif content.is_exact and content.strings is not None:
        ends = [unescape_name(text) + "\0" for text in content.strings] + ["\0"] * content.is_list
        assert "".join(ends).encode("utf-16-le", "surrogatepass") == data


def test_a_damaged_clock_breaks_no_line(tmp_path: Path) -> None:
    far = 266_000_000_000_000_000  # microseconds: in the year 10399
    capture = write_events(tmp_path / "a.regtrace", [event("QueryKey", "HKLM\\SOFTWARE", at_us=0)])
    file = capture / "events" / "part-00000.parquet"
    table = pq.read_table(file)
    late = pa.array([far], pa.timestamp("us", "UTC"))
    pq.write_table(table.set_column(table.schema.names.index("time"), "time", late), file)
    with open_capture(capture) as opened:
        opened.export(tmp_path / "a.csv", to="l2tcsv")
        opened.export(tmp_path / "a.jsonl", to="timesketch")
    cells = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))[-1]
    assert (cells["date"], cells["time"]) == ("03/16/10399", "16:53:20")
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[-1])["datetime"].startswith(
        "10399-03-16T16:53:20"
    )


def test_long_batches_are_halved() -> None:
    batch = pa.RecordBatch.from_pydict({"data": [b"x" * (12 << 20)] * 5, "n": range(5)})
    parts = list(_small(batch))
    assert [n for part in parts for n in part.column("n").to_pylist()] == list(range(5))
    assert all(part.nbytes <= 33 << 20 for part in parts)
