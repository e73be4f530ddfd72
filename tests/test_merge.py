"""Sources of different kinds in one capture: what each says is there, in one order, of keys and processes known once."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pml_writer as pml
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from schema_rules import broken_rules
from sysmon_records import as_lines, event
from two_sources import TwoSources, simulate_two

import regtrace as rt
from tracer.errors import UsageError
from tracer.ingest.pipeline import Progress
from tracer.merge.order import merged_sequences
from tracer.merge.processes import Life, join_processes
from tracer.schema import PROCESSES

KEY = "HKLM\\SOFTWARE\\Vendor"


def rows_of(capture: Path) -> list[dict[str, Any]]:
    """Return the stored rows in order; key, process and so on stand for their numbers."""
    keys = {row["key_id"]: row for row in pq.read_table(capture / "keys.parquet").to_pylist()}
    processes = {row["process_id"]: row for row in pq.read_table(capture / "processes.parquet").to_pylist()}
    rows = [row for part in sorted((capture / "events").iterdir()) for row in pq.read_table(part).to_pylist()]
    for row in rows:
        key = keys.get(row.pop("key_id")) or {}
        row |= {
            "key": key.get("path"),
            "display": key.get("display_path"),
            "key_source": key.get("name_source"),
        }
        row["process"] = (processes.get(row.pop("process_id")) or {}).get("image")
    return sorted(rows, key=lambda row: row["sequence"])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> TwoSources:
    return simulate_two(tmp_path_factory.mktemp("two"), events=3000)


@pytest.fixture(scope="module")
def apart(two: TwoSources) -> Path:
    """The two sources in one capture, nothing linked."""
    rt.ingest([two.log, two.etl], two.etl.parent / "apart.regtrace", merge=False)
    return two.etl.parent / "apart.regtrace"


@pytest.fixture(scope="module")
def alone(two: TwoSources) -> Path:
    rt.ingest(two.etl, two.etl.parent / "alone.regtrace")
    return two.etl.parent / "alone.regtrace"


def test_rows_of_each_source_are_those_of_its_own_capture(two: TwoSources, apart: Path, alone: Path):
    rows = rows_of(apart)
    numbered = ("sequence", "handle_id", "source_id")
    assert [row["sequence"] for row in rows] == list(range(len(two.truth) + len(two.reported)))
    of_etl = [row for row in rows if row["source"] != "sysmon"]
    plain = rows_of(alone)
    for row in (*of_etl, *plain):
        for name in numbered:
            del row[name]
    assert of_etl == plain
    of_sysmon = [row for row in rows if row["source"] == "sysmon"]
    right = sorted(two.reported, key=lambda row: row["time_ns"] // 1_000_000)
    assert [(row["operation"], row["value_name"]) for row in of_sysmon] == [
        (row["operation"], row["value_name"]) for row in right
    ]
    assert list(broken_rules(apart)) == []


def test_keys_of_the_trace_help_to_split_the_paths_of_the_log(two: TwoSources, apart: Path):
    """The trace knows each key, so no split of a path is in doubt, and both name the same keys."""
    of_sysmon = [row for row in rows_of(apart) if row["source"] == "sysmon"]
    assert {row["flags"] for row in of_sysmon} == {0}
    keys = pq.read_table(apart / "keys.parquet").to_pylist()
    alike = Counter(
        row["folded_path"] for row in keys if row["same_as"] == row["key_id"] and row["name_source"] is None
    )
    assert max(alike.values()) == 1


def test_rows_stand_in_the_order_of_time(apart: Path):
    times = [row["time_ns"] for row in rows_of(apart)]
    assert times == sorted(times)


def test_handles_point_at_the_rows_of_the_trace(apart: Path, alone: Path):
    rows, plain = rows_of(apart), rows_of(alone)
    handles = pq.read_table(apart / "handles.parquet").to_pylist()
    right = pq.read_table(alone / "handles.parquet").to_pylist()
    for mine, other in zip(handles, right, strict=True):
        for name in ("opened_sequence", "closed_sequence", "first_sequence", "last_sequence"):
            one = None if mine[name] is None else rows[mine[name]]["record_offset"]
            assert one == (None if other[name] is None else plain[other[name]]["record_offset"])


def test_totals_add_up_and_sources_keep_their_entries(two: TwoSources, apart: Path, alone: Path):
    whole, trace = rt.Manifest.load(apart), rt.Manifest.load(alone)
    assert whole.totals["events"] == trace.totals["events"] + len(two.reported)
    assert sum(whole.totals["names"].values()) + whole.totals["rows_without_key"] == whole.totals["events"]
    assert [source["source_id"] for source in whole.sources] == [0, 1]
    assert whole.sources[0] == trace.sources[0]
    assert whole.sources[1]["facts"]["rows_by_source"] == {"sysmon": len(two.reported)}
    assert whole.complete
    assert whole.settings["host"] == "pc1.example"
    assert whole.row_sources == ("etl", "sysmon")


def test_progress_counts_the_bytes_of_all_sources_and_repeats_no_sentence(two: TwoSources, tmp_path: Path):
    said: list[Progress] = []
    rt.ingest([two.etl, two.log], tmp_path / "p.regtrace", progress=said.append)
    total = two.etl.stat().st_size + two.log.stat().st_size
    assert {one.bytes_total for one in said} == {total}
    done = [one.bytes_done for one in said]
    assert done == sorted(done)
    assert done[-1] == total
    assert not any(one.note for one in said)


def test_the_order_of_the_words_does_not_matter(two: TwoSources, apart: Path, tmp_path: Path):
    rt.ingest([two.etl, two.log], tmp_path / "b.regtrace", merge=False)
    assert rows_of(tmp_path / "b.regtrace") == rows_of(apart)


def test_objects_without_a_name_stay_apart(tmp_path: Path):
    """What the trace cannot name stays unnamed, with what stands below it, and late names stay late."""
    rt.simulate(
        tmp_path / "a.etl", rt.SimulationOptions(events=2000, preopened=200, option_word=7, option_from=0.6)
    )
    (tmp_path / "log.jsonl").write_text(as_lines([event("CreateKey", KEY)]))
    rt.ingest(tmp_path / "a.etl", tmp_path / "alone.regtrace")
    rt.ingest([tmp_path / "a.etl", tmp_path / "log.jsonl"], tmp_path / "both.regtrace")
    plain = pq.read_table(tmp_path / "alone.regtrace" / "keys.parquet").to_pylist()
    assert {"later", "none", "partial", None} <= {row["name_source"] for row in plain}
    whole = pq.read_table(tmp_path / "both.regtrace" / "keys.parquet").to_pylist()
    shown = ("path", "display_path", "folded_path", "name", "depth", "name_source")
    count = Counter(tuple(row[name] for name in shown) for row in whole)
    assert not Counter(tuple(row[name] for name in shown) for row in plain) - count

    def firsts(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], str]:
        return {tuple(row[name] for name in shown): rows[row["same_as"]]["folded_path"] for row in rows}

    assert firsts(plain).items() <= firsts(whole).items()
    assert [row["key"] for row in rows_of(tmp_path / "both.regtrace") if row["source"] != "sysmon"] == [
        row["key"] for row in rows_of(tmp_path / "alone.regtrace")
    ]
    assert list(broken_rules(tmp_path / "both.regtrace")) == []


def test_three_kinds_and_two_logs_of_one_kind(tmp_path: Path):
    trace = rt.simulate(tmp_path / "host.etl", rt.SimulationOptions(events=500, cpus=2))
    first = pml.write_log([pml.opened(KEY, time=5)])
    second = pml.write_log([pml.value_set(KEY + "\\v", b"a\0\0\0", time=9)])
    for name, log in (("a", first), ("b", second)):
        (tmp_path / f"{name}.pml").write_bytes(log.raw)
    (tmp_path / "log.jsonl").write_text(as_lines([{**event("CreateKey", KEY), "Hostname": "host.example"}]))
    words = [tmp_path / "log.jsonl", tmp_path / "b.pml", trace.path, tmp_path / "a.pml"]
    whole = rt.ingest(words, tmp_path / "x.regtrace")
    assert [source["name"] for source in whole.sources] == ["host.etl", "a.pml", "b.pml", "log.jsonl"]
    assert whole.clock is None
    rows = rows_of(tmp_path / "x.regtrace")
    assert len(rows) == trace.operations + 3
    mine = [row for row in rows if row["source"] in ("procmon", "sysmon")]
    assert [(row["source_id"], row["operation"], row["display"]) for row in mine] == [
        (1, "OpenKey", KEY), (2, "SetValueKey", KEY), (3, "CreateKey", KEY),
    ]  # fmt: skip
    tools = [
        row
        for row in pq.read_table(tmp_path / "x.regtrace" / "processes.parquet").to_pylist()
        if row["image_path"] == "C:\\bin\\tool.exe"
    ]
    assert len(tools) == 1  # both Procmon logs tell the same start


def test_sources_of_two_computers_are_refused(tmp_path: Path):
    (tmp_path / "a.pml").write_bytes(pml.write_log([pml.opened(KEY, time=5)]).raw)
    (tmp_path / "log.jsonl").write_text(as_lines([event("CreateKey", KEY)]))
    with pytest.raises(
        UsageError, match=r"a\.pml and log\.jsonl are of two machines: computers HOST and pc1\.example"
    ):
        rt.ingest([tmp_path / "a.pml", tmp_path / "log.jsonl"], tmp_path / "x.regtrace")
    assert not (tmp_path / "x.regtrace").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pml", "log.jsonl"]


def test_one_kind_gives_what_it_gave_before(two: TwoSources, alone: Path, tmp_path: Path):
    """One kind of source is not merged: its files are those of the ingest of that kind alone."""
    rt.ingest([two.etl], tmp_path / "x.regtrace")
    files = {path.relative_to(alone): path.read_bytes() for path in alone.rglob("*") if path.is_file()}
    assert files == {
        path.relative_to(tmp_path / "x.regtrace"): path.read_bytes()
        for path in (tmp_path / "x.regtrace").rglob("*")
        if path.is_file()
    }


def test_a_log_of_one_program_is_published_as_it_is(two: TwoSources, tmp_path: Path):
    """Whether a log holds reports of several programs is known once it is read; with one there is nothing to merge."""
    for merge in (True, False):
        rt.ingest(two.log, tmp_path / f"{merge}.regtrace", merge=merge)
    files = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "True.regtrace", tmp_path / "False.regtrace")
    ]
    assert files[0] == files[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["False.regtrace", "True.regtrace"]


@given(st.lists(st.lists(st.integers(-3, 6), max_size=6), min_size=1, max_size=3))
def test_the_order_is_that_of_a_plain_sort(times: list[list[int]]):
    rows = []
    for capture, own in enumerate(times):
        for sequence in range(len(own)):
            rows.append((max(own[: sequence + 1]), capture, sequence))
    rows.sort()
    right = [[rows.index((max(own[: place + 1]), capture, place)) for place in range(len(own))]
             for capture, own in enumerate(times)]  # fmt: skip
    found = merged_sequences([np.array(own, np.int64) for own in times])
    assert [own.tolist() for own in found] == right


def life(
    member: int, image: str | None, first: int | None = None, last: int | None = None, **more: Any
) -> Life:
    row = dict.fromkeys(PROCESSES.names) | {"pid": 7, "image": image, "source": "start"} | more
    return Life(row, None if first is None else first * 10**9, None if last is None else last * 10**9)


SECOND = 10**9
TWINS = {
    "rows within a life": ([[life(0, "a.exe", start_ns=0, end_ns=9 * SECOND)], [life(1, "A.EXE", 3, 5)]], True),
    "rows after its end": ([[life(0, "a.exe", start_ns=0, end_ns=9 * SECOND)], [life(1, "a.exe", 3, 12)]], False),
    "another image": ([[life(0, "a.exe", 1, 9)], [life(1, "b.exe", 3, 5)]], False),
    "no image": ([[life(0, None, 1, 9)], [life(1, "b.exe", 3, 5)]], False),
    "14 characters of a long name": ([[life(0, "abcdefghijklmn", 1, 9)], [life(1, "abcdefghijklmnop.exe", 3, 5)]], True),
    "13 characters are a name": ([[life(0, "abcdefghijklm", 1, 9)], [life(1, "abcdefghijklmnop.exe", 3, 5)]], False),
    "no time at all": ([[life(0, "a.exe")], [life(1, "a.exe", 3, 5)]], False),
    "the first of two lives": (
        [[life(0, "a.exe", 1, 5), life(0, "a.exe", start_ns=20 * SECOND)], [life(1, "a.exe", 3, 6)]], True),
    "across two lives": (
        [[life(0, "a.exe", 1, 5), life(0, "a.exe", start_ns=20 * SECOND)], [life(1, "a.exe", 3, 26)]], False),
    "within neither of two lives": (
        [[life(0, "a.exe", start_ns=0, end_ns=SECOND), life(0, "a.exe", start_ns=20 * SECOND)], [life(1, "a.exe", 9, 10)]],
        False),
}  # fmt: skip


@pytest.mark.parametrize("name", TWINS)
def test_two_sources_speak_of_one_process(name: str):
    lives, is_one = TWINS[name]
    table, numbers = join_processes(lives)
    assert table.num_rows == sum(map(len, lives)) - is_one
    assert (numbers[0][0] == numbers[1][0]) == is_one


def test_the_log_names_what_the_trace_does_not_know_of_a_process():
    table, _ = join_processes([
        [life(0, "a.exe", 1, 9, parent_pid=3, source="none")],
        [life(1, "a.exe", 1, 2, user="PC\\ann", source="sysmon", parent_pid=4)],
    ])  # fmt: skip
    row = table.to_pylist()[0]
    assert (row["user"], row["parent_pid"], row["source"]) == ("PC\\ann", 3, "sysmon")


def test_a_log_that_spells_the_drive_proves_it_for_every_image_on_the_volume():
    device = "\\Device\\HarddiskVolume3\\"
    table, _ = join_processes([
        [life(0, "a.exe", 1, 9, image_path=device + "Tools\\a.exe"), life(0, "b.exe", 1, 9, pid=8, image_path=device + "b.exe")],
        [life(1, "a.exe", 1, 2, image_path="D:\\Tools\\a.exe", dos_path="D:\\Tools\\a.exe", dos_path_source="recorded")],
    ])  # fmt: skip
    told = [(row["image_path"], row["dos_path"], row["dos_path_source"]) for row in table.to_pylist()]
    assert told == [
        (device + "Tools\\a.exe", "D:\\Tools\\a.exe", "recorded"),
        (device + "b.exe", "D:\\b.exe", "process"),
    ]
