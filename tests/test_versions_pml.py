"""Blame, log and checkout of a real Procmon log, against the CSV that Procmon itself wrote of it."""

import re
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from procmon_oracle import Rows, csv_rows, csv_time_ns, procmon_key, shown_data, shown_value, type_name

import regtrace as rt
from tracer.registry.text import fold_name

LOG = "pml/pp-LogfileTests64bitUTC"
SET, DELETE = "RegSetValue", "RegDeleteValue"
LISTED = re.compile(r"Index: [\d,]+, Name: (.*?), (?=Type: )", re.DOTALL)
NOTHING = "nothing"  # a value is there, and what it holds was not told


@pytest.fixture(scope="module")
def capture(procmon_capture: Path):
    with rt.open(procmon_capture) as opened:
        yield opened


@pytest.fixture(scope="module")
def changes(corpus: Path):
    """The successful writes and deletes of values, by folded path, oldest first."""
    found = defaultdict(list)
    for line in sorted(csv_rows(corpus / f"{LOG}.csv.gz"), key=csv_time_ns):
        if line["Operation"] in (SET, DELETE) and line["Result"] == "SUCCESS":
            found[fold_name(line["Path"])].append(line)
    return found


@pytest.mark.slow
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


def values_told(lines: Rows) -> dict[str, tuple[str, str, str] | str | None]:
    """Return what the lines of the CSV tell last of each value: type, length and data as Procmon shows them; None: it is gone."""
    last: dict[str, tuple[str, str, str] | str | None] = {}
    for line in lines:
        operation, result, path = line["Operation"], line["Result"], fold_name(line["Path"])
        if result == "SUCCESS" and operation == "RegDeleteKey":
            last |= {below: None for below in last if below.startswith(path + "\\")}
        elif result == "SUCCESS" and operation == "RegEnumValue":
            if name := LISTED.match(line["Detail"]):
                last[f"{path}\\{fold_name(name[1] or '(Default)')}"] = shown_value(line["Detail"]) or NOTHING
        elif (result == "SUCCESS" and operation == DELETE) or (
            result == "NAME NOT FOUND" and operation in ("RegQueryValue", DELETE)
        ):
            last[path] = None
        elif result == "SUCCESS" and operation in ("RegQueryValue", SET):
            shown = shown_value(line["Detail"])
            before = None if operation == SET else last.get(path)
            last[path] = shown or before or NOTHING
    return last


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.4, 1.0])
def test_a_checkout_holds_what_the_csv_tells_last_of_each_value(capture, corpus, part: float) -> None:
    lines = sorted(csv_rows(corpus / f"{LOG}.csv.gz"), key=csv_time_ns)
    end_ns = csv_time_ns(lines[int(part * len(lines)) - 1])
    theirs = values_told([line for line in lines if csv_time_ns(line) <= end_ns])
    made = capture.checkout(
        at=datetime.fromtimestamp(end_ns // 10**9, UTC) + timedelta(microseconds=end_ns % 10**9 // 1000 + 1)
    )
    native = dict(capture.sql("SELECT display_path, path FROM keys").itertuples(index=False))
    (sid, _), *_ = Counter(re.findall(r"(?m)^HKU\\(S-1-5-21-[0-9-]+)\\", "\n".join(made.keys))).most_common(1)

    def path_of(key: str, value: str) -> str:
        return fold_name(f"{procmon_key(native[key], sid)}\\{value or '(Default)'}")

    ours = {
        path_of(key, value.name): (
            type_name(value.kind),
            f"{len(value.data):,}",
            shown_data(value.kind, value.data),
        )
        for key, values in made.keys.items()
        for value in values
    }
    unknown = {
        path_of(row["display_key"], row["value_name"])
        for row in made.unknown.to_pylist()
        if row["value_name"] is not None
    }
    assert {path for path, told in theirs.items() if told} == ours.keys() | unknown
    shown = {path: told for path, told in theirs.items() if told and told != NOTHING and path in ours}
    assert {path: ours[path] for path in shown} == shown
    assert all(not ours[path][2] for path in ours.keys() - shown.keys())
    assert len(shown) > 250
