"""Records of ETW as text: what an .etl tells, its records as other tools write them tell too, row by row."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from etw_texts import FORMS, Record, records_of
from log_samples import log_content

import regtrace as rt
from tracer.errors import UsageError
from tracer.etl.providers import PROVIDER_NAMES
from tracer.ingest.hosts import open_hosts
from tracer.ingest.pipeline import ingest
from tracer.named.context import NamedOptions
from tracer.simulate import SimulationOptions, simulate

# What another tool's text need not say, by form.
NO_THREAD = {"watch_etw", "sigma"}
NO_CPU = {"watch_etw", "sigma", "silketw", "win_event"}
SECONDS = {"sigma"}
# Columns that belong to the file, or rest on its clock.
OF_FILE = {"record_offset", "source_id", "duration_ns"}
STORIES: dict[str, dict[str, Any]] = {
    "filled": {"option_word": 7, "process_events": True, "links": 0.2},
    "bare": {"option_word": 0, "preopened": 60, "failed_open": 0.2, "process_events": True},
    "classic": {"classic": True, "process_events": True, "command_lines": True},
    "hostile": {"option_word": 7, "hostile_names": 0.2},
    "odd": {"option_word": 1, "nul_names": 0.05, "surrogate_names": 0.1, "hostile_names": 0.05},
}
# Stories that only some forms can tell: XML has no control characters, and text but JSON neither NULs nor lone surrogates.
TOLD_BY = {"hostile": {"watch_etw", "tracerpt_csv"}, "odd": {"watch_etw", "silketw", "win_event"}}
# Velociraptor names some of the kernel logger's events only, and its models write no opcode.
TOLD_BY["classic"] = set(FORMS) - {"sigma"}


@cache
def records_in(path: Path) -> list[Record]:
    return list(records_of(path))


def texted(path: Path, form: str) -> Path:
    target = path.with_name(f"{path.stem}.{form}.txt")
    target.write_bytes(FORMS[form]([dict(record) for record in records_in(path)]))
    return target


def rows_of(capture: Path, left_out: set[str]) -> list[dict[str, Any]]:
    return without(left_out, rows_in(capture))


def without(left_out: set[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


@cache
def rows_of_story(whole: Path) -> list[dict[str, Any]]:
    return rows_in(whole)


def rows_in(capture: Path) -> list[dict[str, Any]]:
    keys = {row["key_id"]: row["path"] for row in pq.read_table(capture / "keys.parquet").to_pylist()}
    processes = {row["process_id"]: row for row in pq.read_table(capture / "processes.parquet").to_pylist()}
    parts = pa.concat_tables(pq.read_table(part) for part in sorted((capture / "events").iterdir()))
    rows = []
    for row in parts.sort_by("sequence").to_pylist():
        process = processes.get(row.pop("process_id"))
        row |= {"key": keys[row.pop("key_id")] if row["key_id"] is not None else row.pop("key_id")}
        row["process"] = process and (process["pid"], process["image"])
        rows.append(row)
    return rows


def left_out(form: str) -> set[str]:
    names = set(OF_FILE)
    names |= {"thread_id"} if form in NO_THREAD else set()
    names |= {"cpu"} if form in NO_CPU else set()
    return names | ({"time", "time_ns"} if form in SECONDS else set())


@pytest.fixture(scope="module", params=STORIES)
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    path = folder / "s.etl"
    seed = 10 + list(STORIES).index(request.param)
    simulate(path, SimulationOptions(**{"events": 800, "seed": seed, **STORIES[request.param]}), truth=False)
    ingest([path], folder / "s.regtrace")
    return request.param, path, folder / "s.regtrace"


@pytest.mark.parametrize("form", FORMS)
def test_the_text_of_a_trace_tells_what_the_trace_tells(story: tuple[str, Path, Path], form: str):
    name, path, whole = story
    if form not in TOLD_BY.get(name, FORMS):
        pytest.skip("the form cannot tell this story")
    capture = path.with_name(f"{form}.regtrace")
    manifest = ingest([texted(path, form)], capture)
    expected, rows = without(left_out(form), rows_of_story(whole)), rows_of(capture, left_out(form))
    assert len(rows) == len(expected) > 700
    for number, (mine, theirs) in enumerate(zip(rows, expected, strict=True)):
        assert mine == theirs, number
    for table in ("keys", "handles"):
        one, other = (pq.read_table(folder / f"{table}.parquet") for folder in (capture, whole))
        kept = [column for column in one.column_names if form not in SECONDS or not column.endswith("_ns")]
        assert one.select(kept).equals(other.select(kept)), table
    totals = json.loads((whole / "capture.json").read_text())["totals"]
    assert manifest.totals["names"] == totals["names"]
    assert manifest.totals["records"] == totals["records"]
    assert manifest.sources[0]["kind"].startswith("etw-")
    counted = sum(manifest.sources[0]["facts"]["records_by_provider"].values())
    assert counted == sum(record["provider"] in PROVIDER_NAMES for record in records_in(path))


def test_answers_are_those_of_the_trace(story: tuple[str, Path, Path]):
    name, path, whole = story
    if name != "filled":
        pytest.skip("one story is enough for the answers: the rows of all are compared")
    capture = path.with_name("answers.regtrace")
    ingest([texted(path, "watch_etw")], capture)
    one, other = rt.open(capture), rt.open(whole)
    for question in ("state", "changes"):
        mine, theirs = getattr(one, question)(), getattr(other, question)()
        shared = [column for column in mine.columns if column not in OF_FILE]
        assert len(mine) > 10
        pd.testing.assert_frame_equal(mine[shared], theirs[shared])


# Real records of public samples, as they were published: Velociraptor's Sigma models (Windows, January 2025), shortened.
OBJECT, BASE = "0xFFFFB1893C344100", "0xFFFFB1892A262AD0"


def velociraptor(event: str, number: int, seconds: str = "20", **data: Any) -> Record:
    classic = number == 0
    return {
        "Timestamp": f"2025-01-30T08:10:{seconds}Z",
        "System": {
            "Channel": "NT Kernel Logger" if classic else "Microsoft-Windows-Kernel-Registry",
            "Computer": "WIN-1",
            "EventType": event,
            "EventID": {"Value": number},
        },
        "EventData": {**data, "ProcInfo": None, "ParentProcInfo": {"Name": "svchost.exe"}},
    }


VIDEO = r"\Registry\Machine\Hardware\DeviceMap\VIDEO"
LINK = r"\REGISTRY\USER\S-1-5-21-1-2-3-500_Classes\Local Settings"
SHAPES: list[tuple[Record, dict[str, Any]]] = [
    (
        velociraptor(
            "OpenKey",
            2,
            BaseObject=BASE,
            KeyObject=OBJECT,
            Status="0x0",
            Disposition="0",
            BaseName="",
            RelativeName=VIDEO,
        ),
        {
            "operation": "OpenKey",
            "key": VIDEO,
            "name_source": "event",
            "status": 0,
            "disposition": None,
            "process": None,
        },
    ),
    (
        velociraptor(
            "CreateKey",
            1,
            BaseObject=OBJECT,
            KeyObject="0x0",
            Status="0x104",
            Disposition="0",
            BaseName="",
            RelativeName=LINK,
        ),
        {
            "operation": "CreateKey",
            "key": LINK.replace("REGISTRY", "Registry"),
            "status": 0x104,
            "disposition": None,
        },
    ),
    (
        velociraptor(
            "SetValueKey",
            5,
            KeyObject=OBJECT,
            Status="0x0",
            Type="11",
            DataSize="8",
            KeyName="",
            ValueName="PCT",
            CapturedDataSize="0",
            CapturedData="",
            PreviousDataType="0",
            PreviousDataSize="0",
            PreviousDataCapturedSize="0",
            PreviousData=None,
        ),
        {
            "operation": "SetValueKey",
            "key": VIDEO,
            "value_name": "PCT",
            "name_source": "open",
            "data_type": 11,
            "data_size": 8,
            "data": None,
            "previous_type": None,
            "previous_size": None,
            "previous_data": None,
        },
    ),
    (
        velociraptor(
            "DeleteValueKey",
            6,
            KeyObject=OBJECT,
            Status="0xC0000034",
            KeyName="",
            ValueName="CachedFeatureString",
        ),
        {
            "operation": "DeleteValueKey",
            "key": VIDEO,
            "value_name": "CachedFeatureString",
            "status": 0xC0000034,
        },
    ),
    (
        # The value's name begins with a backslash (the BAM service).
        velociraptor(
            "SetValueKey",
            5,
            KeyObject=OBJECT,
            Status="0",
            Type="3",
            DataSize="24",
            KeyName="",
            ValueName=r"\Device\HarddiskVolume5\a\OpenTubeX.exe",
            CapturedDataSize="0",
        ),
        {
            "key": VIDEO,
            "value_name": r"\Device\HarddiskVolume5\a\OpenTubeX.exe",
            "data_type": 3,
            "data": None,
        },
    ),
    (
        velociraptor("DeleteKey", 3, KeyObject=OBJECT, Status="0x0", KeyName=""),
        {"operation": "DeleteKey", "key": VIDEO, "status": 0},
    ),
    (
        velociraptor(
            "RegOpenKey",
            0,
            InitialTime="4597800728147",
            Status="0",
            Index="0",
            KeyHandle="0xFFFFB1892A2E3050",
            KeyName=r"SOFTWARE\Microsoft\Ole\Extensions",
        ),
        {
            "operation": "OpenKey",
            "source": "NT Kernel Logger",
            "duration_ns": None,
            "key": r"<object 0xFFFFB1892A2E3050>\SOFTWARE\Microsoft\Ole\Extensions",
        },
    ),
    (
        velociraptor(
            "RegQueryValue",
            0,
            InitialTime="4597740950432",
            Status="0",
            Index="1",
            KeyHandle="0xFFFFB189314B9200",
            KeyName="StandardName",
            RegistryPath="not what we look at",
        ),
        {
            "operation": "QueryValueKey",
            "value_name": "StandardName",
            "information_class": 1,
            "cpu": None,
            "thread_id": None,
        },
    ),
]


def test_published_records_are_right_rows(tmp_path: Path):
    path = tmp_path / "etw.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record, _ in SHAPES))
    manifest = ingest([path], tmp_path / "etw.regtrace")
    rows = rows_of(tmp_path / "etw.regtrace", set())
    assert len(rows) == len(SHAPES)
    for row, (record, expected) in zip(rows, SHAPES, strict=True):
        assert {name: row[name] for name in expected} == expected, record
    assert manifest.complete
    assert manifest.settings["host"] == "WIN-1"


def an_open(number: int, **changed: Any) -> Record:
    """Return the open of a key, and a second later nothing of it is left out but what is changed."""
    data = {
        "BaseObject": "0x0", "KeyObject": f"0x{0xFFFF800000000000 + 64 * number:X}", "Status": "0", "Disposition": "0",
        "BaseName": "", "RelativeName": rf"\REGISTRY\MACHINE\Key{number}",
    } | changed  # fmt: skip
    return velociraptor(
        "OpenKey", 2, f"{number:02d}", **{name: value for name, value in data.items() if value is not ...}
    )


def counts(capture: Path) -> dict[str, int]:
    return {row["name"]: row["count"] for row in pq.read_table(capture / "diagnostics.parquet").to_pylist()}


def test_what_cannot_be_read_is_counted_and_placed(tmp_path: Path):
    broken = json.dumps(an_open(3))[:90]
    lines = [
        json.dumps(an_open(1)),
        json.dumps(an_open(2, Status="many")),  # ends behind the object
        broken,
        json.dumps({**an_open(4), "Timestamp": "yesterday"}),
        json.dumps(an_open(5, RelativeName=...)),
        json.dumps(an_open(6, KeyObject="0x1FFFFFFFFFFFFFFFF")),
        json.dumps(an_open(7, RelativeName="\\REGISTRY\\MACHINE\\" + "a" * 40_000)),
        json.dumps(
            {**an_open(8), "System": {"Channel": "Microsoft-Windows-Kernel-File", "EventID": {"Value": 12}}}
        ),
        json.dumps(velociraptor("Odd", 99, "08")),
        json.dumps(an_open(9)),
        broken,
    ]
    path = tmp_path / "etw.jsonl"
    path.write_text("\n".join(lines))
    manifest = ingest([path], tmp_path / "etw.regtrace")
    rows = rows_of(tmp_path / "etw.regtrace", set())
    assert [row["key"] for row in rows if row["key"] and "Key" in row["key"]] == [
        r"\REGISTRY\MACHINE\Key1",
        r"\REGISTRY\MACHINE\Key9",
    ]
    found = counts(tmp_path / "etw.regtrace")
    assert found["log_bad_record"] == 3  # twice cut, once longer than a record can be
    assert found["log_no_time"] == 1
    assert found["raw_missing_field"] == 3
    assert found["foreign_records"] == 1
    assert found["unknown_registry_event"] == 1
    assert found["short_payload"] == 2
    assert not manifest.complete
    assert manifest.totals["records"] == 7
    losses = pq.read_table(tmp_path / "etw.regtrace" / "losses.parquet").to_pylist()
    placed = [
        (loss["count"], loss["from_ns"], loss["to_ns"]) for loss in losses if "text" in loss["evidence"]
    ]
    second = 1_000_000_000
    start = 1738224600 * second
    assert placed == [
        (2, start + 2 * second, start + 5 * second),
        (1, start + 6 * second, start + 8 * second),
        (1, start + 9 * second, None),
    ]


def test_records_of_several_computers_are_not_mixed(tmp_path: Path):
    other = an_open(2)
    other["System"]["Computer"] = "WIN-2"
    path = tmp_path / "etw.jsonl"
    path.write_text(json.dumps(an_open(1)) + "\n" + json.dumps(other) + "\n")
    with pytest.raises(UsageError, match=r"2 computers.*--host"):
        ingest([path], tmp_path / "etw.regtrace")
    with open_hosts([path], NamedOptions(), folder=tmp_path) as logs:
        assert logs.names == [("WIN-1", "WIN-1"), ("WIN-2", "WIN-2")]
    manifest = ingest([path], tmp_path / "etw.regtrace", named=NamedOptions(host="WIN-2"))
    assert manifest.totals["events"] == 1
    assert counts(tmp_path / "etw.regtrace")["log_other_hosts"] == 1


def test_an_etl_and_its_text_stand_beside_each_other(tmp_path: Path, story: tuple[str, Path, Path]):
    name, path, whole = story
    if name != "filled":
        pytest.skip("one story is enough")
    manifest = ingest([texted(path, "watch_etw"), path], tmp_path / "both.regtrace")
    rows = len(rows_of(whole, set()))
    assert [source["kind"] for source in manifest.sources] == ["etl", "etw-json"]
    assert (
        manifest.totals["events"] == 2 * rows
    )  # both say the same source: nothing tells which row repeats which


def test_records_that_went_through_elasticsearch_are_those_of_the_tool(tmp_path: Path):
    plain, wrapped = tmp_path / "plain.jsonl", tmp_path / "wrapped.jsonl"
    plain.write_bytes(log_content("etw silketw"))
    lines = [
        {"_index": "x", "_id": "1", "_source": json.loads(line)} for line in plain.read_text().splitlines()
    ]
    wrapped.write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = []
    for log in (plain, wrapped):
        ingest([log], log.with_suffix(".regtrace"))
        told.append(rows_of(log.with_suffix(".regtrace"), OF_FILE))
    assert told[0] == told[1]
    assert len(told[0]) == 60


def test_order_is_that_of_time_and_then_of_the_file(tmp_path: Path):
    numbers = [5, 3, 3, 9, 1]
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    one.write_text(
        "\n".join(
            json.dumps(an_open(n, RelativeName=rf"\REGISTRY\MACHINE\One{p}")) for p, n in enumerate(numbers)
        )
    )
    two.write_text(
        "\n".join(
            json.dumps(an_open(n, RelativeName=rf"\REGISTRY\MACHINE\Two{p}")) for p, n in enumerate(numbers)
        )
    )
    ingest([one, two], tmp_path / "etw.regtrace")
    names = [row["key"].rpartition("\\")[2] for row in rows_of(tmp_path / "etw.regtrace", set())]
    assert names == ["One4", "Two4", "One1", "One2", "Two1", "Two2", "One0", "Two0", "One3", "Two3"]
