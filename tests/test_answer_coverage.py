"""Which source reported which operations, compared with plain loops over the stored rows and with the truth."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sysmon_records import as_lines, event
from test_merge import rows_of
from two_sources import TwoSources, simulate_two
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app

ETW = "Microsoft-Windows-Kernel-Registry"
COUNTS = ("events", "shared", "alone", "named", "with_process", "with_data", "with_previous", "with_duration")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> TwoSources:
    return simulate_two(tmp_path_factory.mktemp("two"), jitter_ns=1_000_000, events=3000)


@pytest.fixture(scope="module")
def capture(two: TwoSources) -> Path:
    """The trace and the log in one capture, and a write that only the log has."""
    text = two.log.read_text() + as_lines(
        [event("SetValue", r"HKLM\SOFTWARE\Only\v", UtcTime="2024-12-30 02:40:01.000", Details="x")]
    )
    two.log.write_text(text)
    rt.ingest([two.etl, two.log], two.etl.parent / "x.regtrace", control_set=1)
    return two.etl.parent / "x.regtrace"


def plain(rows: list[dict[str, Any]]) -> dict[tuple[str, str], list[int]]:
    """Count by a loop what each source reported of each operation."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * len(COUNTS))
    for row in rows:
        also = json.loads(row["detail"] or "{}").get("AlsoReportedBy", {})
        name_source = row["name_source"] or row["key_source"]
        facts = [
            1,
            bool(also),
            not also,
            row["key"] is not None and name_source not in ("none", "partial"),
            row["has_process"],
            row["data"] is not None or row["data_size"] == 0,
            row["previous_data"] is not None or row["previous_size"] == 0,
            row["duration_ns"] is not None,
        ]
        for source in (row["source"], *also):
            count = counts[row["operation"], source]
            for place, fact in enumerate(facts):
                count[place] += bool(fact)
    return dict(counts)


def stored(capture: Path) -> list[dict[str, Any]]:
    known = {
        row["sequence"]: row["process_id"] is not None
        for part in sorted((capture / "events").iterdir())
        for row in pq.read_table(part, columns=["sequence", "process_id"]).to_pylist()
    }
    return [{**row, "has_process": known[row["sequence"]]} for row in rows_of(capture)]


def test_counts_are_those_of_a_loop(capture: Path):
    with rt.open(capture) as opened:
        answer = opened.coverage()
    found = {
        (row["operation"], row["source"]): [row[name] for name in COUNTS] for row in answer.to_dict("records")
    }
    assert found == plain(stored(capture))
    assert list(answer["operation"]) == sorted(answer["operation"])


def test_the_truth_says_what_both_saw(two: TwoSources, capture: Path):
    with rt.open(capture) as opened:
        answer = opened.coverage(operation="set").set_index("source")
    writes = [row for row in two.truth if row["operation"] == "SetValueKey"]
    both = [row for row in two.reported if row["operation"] == "SetValueKey"]
    assert answer.loc[ETW, ["events", "shared", "alone"]].tolist() == [
        len(writes),
        len(both),
        len(writes) - len(both),
    ]
    assert answer.loc["sysmon", ["events", "shared", "alone"]].tolist() == [len(both) + 1, len(both), 1]


def test_filters_choose_what_is_counted(capture: Path):
    with rt.open(capture) as opened:
        answer = opened.coverage(r"HKLM\SOFTWARE\Only")
    assert answer[["operation", "source", "events", "shared"]].values.tolist() == [
        ["SetValueKey", "sysmon", 1, 0]
    ]


def test_a_capture_of_one_source_is_all_its_own(two: TwoSources, tmp_path: Path):
    rt.ingest(two.etl, tmp_path / "x.regtrace")
    with rt.open(tmp_path / "x.regtrace") as opened:
        answer = opened.coverage()
    assert set(answer["source"]) == {ETW}
    assert answer["events"].sum() == answer["alone"].sum() == len(two.truth)


def test_a_text_in_a_detail_is_no_source(tmp_path: Path):
    """What a program wrote into a name looks like our words at most behind backslashes, which JSON puts before quotes."""
    name = '"AlsoReportedBy":{"sysmon":{"source_id":1}}'
    (tmp_path / "log.jsonl").write_text(as_lines([event("CreateKey", "HKLM\\SOFTWARE\\" + name)]))
    rt.ingest(tmp_path / "log.jsonl", tmp_path / "x.regtrace")
    with rt.open(tmp_path / "x.regtrace") as opened:
        assert opened.coverage()[["source", "events", "shared"]].values.tolist() == [["sysmon", 1, 0]]


@pytest.mark.parametrize(
    "words", ["etw", 5, None, [], [["sysmon"]], [{"sources": 3}], [{"sources": ["etw", "a' OR 1"]}]]
)
def test_what_a_manifest_says_of_links_is_not_trusted(
    two: TwoSources, capture: Path, tmp_path: Path, words: object
):
    """A manifest is input like any other: what is no word of a source is left out."""
    import shutil

    shutil.copytree(capture, tmp_path / "x.regtrace")
    values = json.loads((capture / "capture.json").read_text())
    values["settings"]["links"] = words
    (tmp_path / "x.regtrace" / "capture.json").write_text(json.dumps(values))
    with rt.open(tmp_path / "x.regtrace") as opened:
        answer = opened.coverage()
    assert answer["events"].sum() == len(two.truth) + 1


def test_the_verb_prints_a_row_for_each_operation_and_source(capture: Path):
    shown = CliRunner().invoke(app, ["coverage", str(capture)], prog_name="regtrace")
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.stdout.splitlines()]
    assert ["SetValueKey", "sysmon"] in [line[:2] for line in lines]
    rows = [
        json.loads(line)
        for line in CliRunner().invoke(app, ["coverage", str(capture), "-f", "jsonl"]).stdout.splitlines()
    ]
    assert {row["source"] for row in rows} == {ETW, "sysmon"}
