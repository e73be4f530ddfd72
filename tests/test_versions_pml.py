"""Blame and log of a real Procmon log, against the CSV that Procmon itself wrote of it."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from procmon_oracle import csv_rows, csv_time_ns, procmon_key

import regtrace as rt
from tracer.registry.text import fold_name

LOG = "pml/pp-LogfileTests64bitUTC"
SET, DELETE = "RegSetValue", "RegDeleteValue"


@pytest.fixture(scope="module")
def capture(corpus: Path, tmp_path_factory):
    target = tmp_path_factory.mktemp("log") / "log.regtrace"
    rt.ingest(corpus / f"{LOG}.pml", target)
    with rt.open(target) as opened:
        yield opened


@pytest.fixture(scope="module")
def changes(corpus: Path):
    """The successful writes and deletes of values, by folded path, oldest first."""
    found = defaultdict(list)
    for line in sorted(csv_rows(corpus / f"{LOG}.csv.gz"), key=csv_time_ns):
        if line["Operation"] in (SET, DELETE) and line["Result"] == "SUCCESS":
            found[fold_name(line["Path"])].append(line)
    return found


def test_blame_names_the_last_writer_of_each_value_that_changed(capture, changes) -> None:
    rows = capture.blame(deleted=True).dropna(subset="value_name")
    native = dict(capture.sql("SELECT key_id, path FROM keys").itertuples(index=False))
    (sid, _), *_ = Counter(
        re.findall(r"(?m)^HKU\\(S-1-5-21-[0-9-]+)\\", "\n".join(rows["display_key"]))
    ).most_common(1)
    by_path = {
        fold_name(f"{procmon_key(native[row.key_id], sid)}\\{row.value_name or '(Default)'}"): row
        for row in rows.itertuples()
    }
    assert set(changes) <= set(by_path)
    keys = set()
    for path, lines in changes.items():
        row, last = by_path[path], lines[-1]
        assert row.evidence in ("write", "write, and read since")
        assert fold_name(row.writer) == fold_name(last["Process Name"])
        assert str(row.writer_pid) == last["PID"]
        assert row.write_time.value // 1000 == csv_time_ns(last) // 1000
        assert (row.known == "deleted") == (last["Operation"] == DELETE)
        keys.add(row.display_key)
    assert len(keys) >= 10


def test_the_log_counts_the_writes_of_each_program_as_procmon_does(capture, changes) -> None:
    log = capture.log(by="process")
    theirs = Counter(line["PID"] for lines in changes.values() for line in lines)
    ours = Counter()
    for row in log.itertuples():
        ours[str(row.pid)] += row.values_set + row.values_deleted
    assert +ours == theirs
