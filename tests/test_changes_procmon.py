"""The net changes of a real Procmon log, and its .reg files, checked against Procmon's own CSV by a plain loop."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from procmon_oracle import Rows, csv_rows, procmon_key, shown_data, type_name
from reg_reader import read_reg

import regtrace as rt
from analysis.capture import Capture
from analysis.regfile.syntax import encode_file
from tracer.registry.text import fold_name

PML = "pml/pp-LogfileTests64bitUTC"


@pytest.fixture(scope="module")
def rows(corpus: Path) -> Rows:
    return csv_rows(corpus / f"{PML}.csv.gz")


@pytest.fixture(scope="module")
def capture(procmon_capture: Path) -> Iterator[Capture]:
    with rt.open(procmon_capture) as opened:
        yield opened


@pytest.fixture(scope="module")
def sid(capture: Capture) -> str:
    users = re.findall(r"HKU\\(S-1-5-21-[0-9-]+)_Classes", "\n".join(capture.keys()["display_key"]))
    (only,) = set(users)
    return str(only)


def content(detail: str) -> str:
    """Return type, length and data of a row's column Detail."""
    return detail[detail.index("Type: ") :]


def cells(row: Any, side: str) -> str | None:
    """Return one side of a net change as Procmon would write it; None where it is not known."""
    kind, size, data = (getattr(row, f"{side}_{name}") for name in ("type", "size", "data"))
    if pd.isna(kind):
        return None
    shown = f"Type: {type_name(int(kind))}, Length: {size:,}"
    return f"{shown}, Data: {shown_data(int(kind), data)}" if data else shown


def told_by_csv(rows: Rows, start_at: int = 0, pid: str | None = None) -> dict[str, dict[str, Any]]:
    """Return path of a value (key, backslash, name) -> what became of it, for all that were written or deleted."""
    known: dict[str, tuple[str, str | None]] = {}  # the last evidence: its kind, and the content
    found: dict[str, dict[str, Any]] = {}
    new_keys: set[str] = set()
    for place, row in enumerate(rows):
        path, result, detail = fold_name(row["Path"]), row["Result"], row["Detail"]
        what = row["Operation"]
        if what == "RegCreateKey" and "REG_CREATED_NEW_KEY" in detail:
            new_keys.add(path)
        writes = what == "RegSetValue" and result == "SUCCESS"
        deletes = what == "RegDeleteValue" and result == "SUCCESS"
        if writes or deletes:
            asked = place >= start_at and pid in (None, row["PID"])
            if path in found or asked:
                new = any(path.startswith(key + "\\") for key in new_keys)
                before = known.get(path, ("absent" if new else None, None))
                entry = found.setdefault(path, {"before": before, "writes": 0, "others": False})
                entry["writes"] += asked
                entry["others"] = entry["others"] or not asked
            known[path] = ("write", content(detail)) if writes else ("absent", None)
            if path in found:
                found[path]["after"] = known[path]
        elif what == "RegQueryValue" and result == "NAME NOT FOUND":
            known[path] = ("absent", None)
        elif what in ("RegQueryValue", "RegEnumValue") and result == "SUCCESS" and "Data: " in detail:
            if what == "RegEnumValue":
                name = re.search(r"Name: (.*?), Type: ", detail)
                assert name
                path = fold_name(f"{row['Path']}\\{name[1] or '(Default)'}")
            if known.get(path) != ("write", content(detail)):
                known[path] = ("read", content(detail))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "process"), [(None, None), ("+5s", None), (None, "NOTEPAD.EXE"), (None, "Explorer.EXE")]
)
def test_every_value_ended_as_procmon_says(
    capture: Capture, rows: Rows, sid: str, start: str | None, process: str | None
) -> None:
    start_at = 0
    if start is not None:
        start_at = len(capture.timeline(end="+4.9999999s"))
        assert len(rows) - start_at == len(capture.timeline(start=start))
    pids = {row["PID"] for row in rows if process in (None, row["Process Name"])}
    pid = None if process is None else next(iter(pids))
    expected = told_by_csv(rows, start_at, pid)
    frame = capture.changes(start=start, process=process if pid is None else int(pid))
    values = frame[frame["value_name"].notna()]
    seen = set()
    for row in values.itertuples():
        path = fold_name(f"{procmon_key(row.key, sid)}\\{row.value_name or '(Default)'}")
        entry = expected[path]
        seen.add(path)
        assert row.writes == entry["writes"]
        assert row.also_by_others == entry["others"]
        assert (None if pd.isna(row.before_from) else row.before_from) == entry["before"][0]
        assert cells(row, "before") == entry["before"][1]
        assert cells(row, "after") == entry["after"][1]
    unchanged = {path for path, entry in expected.items() if entry["before"][1] == entry["after"][1]}
    # What Procmon cut at 16 bytes may differ in the rest, and is in the answer.
    assert seen >= expected.keys() - unchanged
    assert frame.attrs["notes"] == [] or len(expected.keys() - seen) == int(
        frame.attrs["notes"][0].split()[0]
    )
    assert len(seen) >= (1 if process == "NOTEPAD.EXE" else 10)


@pytest.mark.slow
def test_the_keys_that_procmon_saw_made_and_deleted(capture: Capture, rows: Rows, sid: str) -> None:
    there: dict[str, bool] = {}
    for row in rows:
        if row["Result"] == "SUCCESS":
            if row["Operation"] == "RegCreateKey" and "REG_CREATED_NEW_KEY" in row["Detail"]:
                there[fold_name(row["Path"])] = True
            elif row["Operation"] == "RegDeleteKey":
                there[fold_name(row["Path"])] = False
    frame = capture.changes()
    keys = frame[frame["value_name"].isna()]
    assert set(keys["change"]) == {"created"}
    assert {fold_name(procmon_key(key, sid)) for key in keys["key"]} == {
        key for key, is_there in there.items() if is_there
    }


@pytest.mark.slow
def test_undo_takes_back_what_was_added_and_changed_wholly(capture: Capture, sid: str) -> None:
    files = capture.reg_files(user=sid)
    frame = capture.changes()
    steps = read_reg(encode_file(files.undo))
    deleted = [step[1] for step in steps if step[0] == "delete"]
    assert len(deleted) == (frame["change"] == "created").sum()
    assert all(key.startswith("HKEY_CURRENT_USER\\") for key in deleted)
    whole = frame[(frame["change"] == "changed") & frame["complete"]]
    assert [(step[2], step[4]) for step in steps if step[0] == "set"] == [
        (row.value_name, row.before_data) for row in whole.itertuples()
    ]
    left_out = files.not_undoable
    assert len(left_out) == len(frame) - len(whole) - len(frame[frame["change"].isin(["created", "added"])])
