"""The registry rules of the Sigma project: on its own recordings, on real records of Sysmon, and on captures that lack something.

Another evaluator decides what is right: pySigma's SQLite backend (`tests/support/sigma_oracle.py`).
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sigma_oracle import FIELDS, SqliteRules, candidates, documents, real_records, records_of_json

import regtrace as rt
from analysis.rules.sigma_rules import load_rules

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(corpus: Path) -> Path:
    folder = corpus / "sigma" / "rules"
    if not folder.is_dir():
        pytest.skip("no Sigma rules in the corpus")
    return folder


def as_log(records: Iterable[tuple[Any, ...]], path: Path) -> Path:
    """Write records as Sysmon's log of one computer, a second apart; of each program and user one process."""
    guids: dict[tuple[Any, Any], str] = {}
    with path.open("w", encoding="utf-8") as file:
        for number, record in enumerate(records):
            fields = {name: value for name, value in zip(FIELDS, record, strict=True) if value is not None}
            guid = guids.setdefault(
                (fields.get("Image"), fields.get("User")), f"{{00000000-0000-0000-0001-{len(guids):012}}}"
            )
            at = divmod(number, 3600)
            minute, second = divmod(at[1], 60)
            fields |= {
                "Hostname": "pc1.example", "SourceName": "Microsoft-Windows-Sysmon", "ProcessGuid": guid,
                "UtcTime": f"2024-05-{1 + at[0] // 24:02} {at[0] % 24:02}:{minute:02}:{second:02}.000",
            }  # fmt: skip
            file.write(json.dumps(fields) + "\n")
    return path


def said(rows: pd.DataFrame, *sections: str, events: int = 2**62) -> set[tuple[str, int]]:
    """Return rules and the events; a dataset of captures with so many events numbers one capture's after another's."""
    some = rows[rows["section"].isin(sections)]
    return {
        (rule, int(number) % events) for rule, number in zip(some["rule_id"], some["sequence"], strict=True)
    }


def test_every_rule_compiles_and_none_needs_what_is_not_supported(folder: Path):
    found = load_rules(folder)
    assert len(found.rules) == len(list(folder.rglob("*.yml")))
    assert not found.broken
    assert not found.others
    assert "Unsupported" not in repr(found.rules)


def test_real_records_hit_as_another_evaluator_says(corpus: Path, folder: Path, tmp_path: Path):
    """Distinct records, for a rule cannot tell two that are alike; benchmarks/sigma_rules.py compares all 117,263."""
    records = list(real_records(corpus / "logs" / "otrf-sysmon-registry.jsonl.gz", creates=4))
    assert len(records) > 10_000
    rt.ingest(as_log(records, tmp_path / "log.jsonl"), tmp_path / "c.regtrace")
    oracle = SqliteRules(records)
    expected = {
        (document["id"], number) for document in documents(folder) for number in oracle.numbers(document)
    }
    oracle.close()
    with rt.open(tmp_path / "c.regtrace") as capture:
        found = said(capture.rules(folder), "hit")
    assert len(expected) > 50
    assert found == expected


def test_each_recording_of_the_sigma_project_hits_its_rule(corpus: Path, folder: Path, tmp_path: Path):
    recordings = corpus / "sysmon" / "sigma-regression"
    records = [
        (path.stem, record) for path in sorted(recordings.glob("*.json")) for record in records_of_json(path)
    ]
    oracle = SqliteRules(record for _, record in records)
    by_id = {document["id"]: document for document in documents(folder)}
    hosts = {json.loads(line) for path in recordings.glob("*.json") for line in _computers(path)}
    found: Counter[tuple[str, str]] = Counter()
    for number, host in enumerate(sorted(hosts)):
        target = tmp_path / f"{number}.regtrace"
        rt.ingest(sorted(recordings.glob("*.evtx")), target, host=host)
        with rt.open(target) as capture:
            names = [source["name"] for source in capture.manifest.sources]
            source_of = dict(
                zip(*(capture.timeline()[name] for name in ("sequence", "source_id")), strict=True)
            )
            for rule, sequence in said(capture.rules(folder), "hit"):
                found[Path(names[source_of[sequence]]).stem, rule] += 1
    expected: Counter[tuple[str, str]] = Counter()
    for rule, document in by_id.items():
        for number in oracle.numbers(document):
            expected[records[number][0], rule] += 1
    oracle.close()
    assert found == expected
    for path in recordings.glob("*.info.yml"):
        info = yaml.safe_load(path.read_text("utf-8"))
        for rule, test in zip(info["rule_metadata"], info["regression_tests_info"], strict=True):
            assert found[path.name.removesuffix(".info.yml"), rule["id"]] >= test["match_count"], path.name


def _computers(path: Path) -> list[str]:
    return [
        line.partition(": ")[2].strip().rstrip(",")
        for line in path.read_text("utf-8").splitlines()
        if '"Computer"' in line
    ]


def _rewritten(capture: Path, target: Path, table: str, **columns: Any) -> Path:
    """Copy a capture with other values in some columns of its event rows or processes."""
    shutil.copytree(capture, target)
    for path in sorted((target / "events").iterdir()) if table == "events" else [target / f"{table}.parquet"]:
        rows = pq.read_table(path)
        for name, value in columns.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(
                place,
                rows.schema.field(place),
                pa.array([value] * rows.num_rows, rows.schema.field(place).type),
            )
        pq.write_table(rows, path)
    manifest = json.loads((target / "capture.json").read_text())
    for entry in (*manifest["parts"], *manifest["tables"].values()):
        entry["bytes"] = (target / entry["file"]).stat().st_size
    (target / "capture.json").write_text(json.dumps(manifest))
    return target


def test_a_rule_takes_no_unknown_field_for_a_yes_or_a_no(folder: Path, tmp_path: Path):
    """For each rule a record that it matches; then the same capture without data, and with the programs' file names alone."""
    rules = documents(folder)
    tried = [(rule, record) for rule in rules for record in candidates(rule)]
    oracle = SqliteRules(record for _, record in tried)
    records, place = [], 0
    for rule in rules:
        own = sum(1 for other, _ in tried if other is rule)
        records += [tried[number][1] for number in oracle.numbers(rule, place, place + own - 1)[:1]]
        place += own
    oracle.close()
    assert len(records) == len(rules), "for each rule a record is made that it matches"
    oracle = SqliteRules(records)
    expected = {(rule["id"], number) for rule in rules for number in oracle.numbers(rule)}
    oracle.close()
    assert {rule for rule, _ in expected} == {rule["id"] for rule in rules}
    whole = tmp_path / "whole.regtrace"
    rt.ingest(as_log(records, tmp_path / "log.jsonl"), whole)
    captures = {
        "data": _rewritten(
            whole,
            tmp_path / "data.regtrace",
            "events",
            data=None,
            data_type=None,
            data_size=None,
            disposition=1,
            source="hand",
        ),
        "paths": _rewritten(whole, tmp_path / "paths.regtrace", "processes", image_path=None),
    }
    with rt.open([whole, *captures.values()]) as together:  # rules are read once
        rows = together.rules(folder, unknown=True)
    assert said(rows[rows["capture"] == "whole"], "hit", events=len(records)) == expected
    for lacking in captures:
        own = rows[rows["capture"] == lacking]
        hits, unknown = (said(own, section, events=len(records)) for section in ("hit", "event"))
        assert hits <= expected, lacking  # no false hit
        assert expected <= hits | unknown, lacking  # no false no
        assert not hits & unknown
        assert unknown, lacking
        if lacking == "data":  # where Details decides, a rule is not told
            deciding = {rule["id"] for rule in rules if "Details" in str(rule["detection"])}
            assert {rule for rule, _ in expected - hits} <= deciding
            assert len({rule for rule, _ in expected - hits}) > 100
