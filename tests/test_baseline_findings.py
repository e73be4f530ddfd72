"""Where hives and trace differ: last writes that nobody was seen to make, and keys that no hive holds."""

import json
from pathlib import Path
from typing import Any

import hive_writer
import pml_writer as pml
import pytest
import sysmon_records
from hive_writer import Key
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.registry.operations import BY_NAME
from tracer.resolve.tree import KeyTree

SECOND = 10_000_000  # of a FILETIME
VENDOR = r"HKLM\SOFTWARE\Vendor"
OLD = pml.FILETIME_2020 - 3600 * SECOND


def at(seconds: float) -> int:
    return int(seconds * SECOND)


def make(folder: Path, *events: pml.Event, written: dict[str, float], **options: Any) -> Path:
    """Make a capture of events between 0 and 100 s, and a SOFTWARE hive with keys that were written at these seconds."""
    whole = [pml.opened(VENDOR, time=0), *events, pml.opened(VENDOR, time=at(100))]
    (folder / "a.pml").write_bytes(pml.write_log(whole).raw)
    root = Key("ROOT", written=OLD)
    root.below("Vendor")
    for path, seconds in written.items():
        root.below(path).written = pml.FILETIME_2020 + at(seconds)
    (folder / "SOFTWARE").write_bytes(hive_writer.hive(root, **options))
    rt.ingest(
        folder / "a.pml",
        folder / "a.regtrace",
        baseline=[f"{folder / 'SOFTWARE'}=HKLM\\SOFTWARE"],
        force=True,
    )
    return folder / "a.regtrace"


def findings(path: Path, **asked: Any) -> dict[str, str]:
    with rt.open(path) as capture:
        rows = capture.baseline(**asked)
        return dict(zip(rows["display_key"], rows["finding"], strict=True))


@pytest.mark.slow
def test_a_last_write_without_a_change_is_unseen(tmp_path: Path) -> None:
    written = {
        r"Vendor\Set": 10.0,  # a value was set at 10.2 s
        r"Vendor\Parent": 20.0,  # a key below was deleted then
        r"Vendor\Unseen": 30.0,
        r"Vendor\Earlier": 40.0,  # a value was set at 35 s
        r"Vendor\After": 200.0,
        r"Vendor\Before": -5.0,
    }
    events = [
        pml.value_set(VENDOR + r"\Set\V", b"\1", time=at(10.2)),
        pml.Event(pml.DELETE_KEY, VENDOR + r"\Parent\Gone", time=at(20)),
        pml.value_set(VENDOR + r"\Earlier\V", b"\1", time=at(35)),
    ]
    path = make(tmp_path, *events, written=written)
    assert findings(path) == {VENDOR + r"\Unseen": "unseen", VENDOR + r"\Earlier": "unseen"}
    assert findings(path, tolerance_s=0.1).keys() == {
        VENDOR + rf"\{name}" for name in ("Set", "Unseen", "Earlier")
    }
    assert findings(path, tolerance_s=6).keys() == {VENDOR + r"\Unseen"}
    assert findings(path, under=VENDOR + r"\Earlier").keys() == {VENDOR + r"\Earlier"}
    with rt.open(path) as capture:
        rows = capture.baseline(key=VENDOR + r"\Earlier")
        assert rows["last_written"][0].isoformat() == "2020-01-01T00:00:40+00:00"
        assert rows["last_change"][0].isoformat() == "2020-01-01T00:00:35+00:00"
        assert rows["hive"].tolist() == ["SOFTWARE"]
        assert any("newer than the trace" in doubt for doubt in rows.attrs["doubts"])


@pytest.mark.slow
def test_a_failed_write_is_no_change(tmp_path: Path) -> None:
    denied = pml.value_set(VENDOR + r"\Key\V", b"\1", time=at(10), result=0xC0000022)
    assert findings(make(tmp_path, denied, written={r"Vendor\Key": 10.0})) == {VENDOR + r"\Key": "unseen"}


@pytest.mark.slow
def test_where_events_may_be_missing_nothing_is_said_to_be_unseen(tmp_path: Path) -> None:
    unknown = pml.Event(99, VENDOR + r"\Key", time=at(10))  # an operation that nobody knows, of whatever key
    path = make(tmp_path, unknown, written={r"Vendor\Key": 30.0})
    assert findings(path) == {VENDOR + r"\Key": "lost"}


@pytest.mark.slow
def test_keys_in_use_that_no_hive_holds_are_listed(tmp_path: Path) -> None:
    volatile = pml.opened(VENDOR + r"\Volatile", time=at(5))
    missing = pml.opened(VENDOR + r"\Missing", time=at(6), result=0xC0000034)
    path = make(tmp_path, volatile, missing, written={})
    assert findings(path) == {VENDOR + r"\Volatile": "in_memory"}


@pytest.mark.slow
def test_the_verb_lists_hives_and_findings(tmp_path: Path) -> None:
    path = make(tmp_path, written={r"Vendor\Unseen": 30.0})
    result = CliRunner().invoke(app, ["baseline", str(path)])
    assert result.exit_code == 0, result.output
    assert (
        r"SOFTWARE at \REGISTRY\MACHINE\SOFTWARE: 3 keys, 0 values; last written 2020-01-01" in result.stderr
    )
    assert "unseen" in result.stdout
    assert r"HKLM\SOFTWARE\Vendor\Unseen" in result.stdout
    result = CliRunner().invoke(app, ["baseline", str(path), "--format", "jsonl"])
    assert '"finding":"unseen"' in result.stdout.replace(" ", "")
    result = CliRunner().invoke(app, ["info", str(path)])
    assert r"\REGISTRY\MACHINE\SOFTWARE" in result.stdout


@pytest.mark.slow
def test_a_capture_without_hives_says_how_to_give_them(tmp_path: Path) -> None:
    (tmp_path / "a.pml").write_bytes(pml.write_log([pml.opened(VENDOR)]).raw)
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    with rt.open(tmp_path / "a.regtrace") as capture, pytest.raises(rt.UsageError, match="--baseline HIVE"):
        capture.baseline()


@pytest.mark.slow
def test_a_user_has_the_name_of_the_profile_in_the_hive(tmp_path: Path) -> None:
    sid = "S-1-5-21-1-2-3-1001"
    (tmp_path / "a.pml").write_bytes(pml.write_log([pml.opened(rf"HKU\{sid}\Software")]).raw)
    root = Key("ROOT", written=OLD)
    profile = root.below(rf"Microsoft\Windows NT\CurrentVersion\ProfileList\{sid}")
    profile.values.append(("ProfileImagePath", 2, "C:\\Users\\tony\0".encode("utf-16-le")))
    (tmp_path / "SOFTWARE").write_bytes(hive_writer.hive(root))
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace", baseline=[tmp_path / "SOFTWARE"])
    with rt.open(tmp_path / "a.regtrace") as capture:
        assert [str(user) for user in capture.context.users.users] == [f"tony ({sid})"]


@pytest.mark.slow
def test_children_of_both_trees_are_the_same() -> None:
    compiled = pytest.importorskip("tracer.compiled.tree").CompiledKeyTree
    import numpy as np

    trees = (KeyTree(), compiled())
    names = ["a", "B", "A", "b", "ß", "x" * 300]
    for tree in trees:
        root = tree.rooted("\\REGISTRY\\MACHINE")
        first = tree.children(np.full(len(names), root, np.int32), names)
        assert first[0] == first[2]
        tree.children(first, names[::-1])
    assert trees[0].names == trees[1].names
    assert list(trees[0].parents) == list(trees[1].parents)


@pytest.mark.slow
def test_the_keys_of_a_hive_tell_where_key_and_value_of_a_log_part(tmp_path: Path) -> None:
    target = r"HKLM\System\CurrentControlSet\Services\X"
    records = [
        sysmon_records.event("SetValue", target + r"\Sub\Value", Details="DWORD (0x00000001)"),
        sysmon_records.event("SetValue", target + r"\Start", Details="DWORD (0x00000003)"),
    ]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    root = Key("ROOT", written=OLD)
    root.below("Select").values.append(("Current", 4, b"\1\0\0\0"))
    root.below("Setup")
    root.below(r"ControlSet001\Services\X").values.append(("Start", 4, b"\2\0\0\0"))
    (tmp_path / "SYSTEM").write_bytes(hive_writer.hive(root))
    rt.ingest(tmp_path / "log.jsonl", tmp_path / "with.regtrace", baseline=[tmp_path / "SYSTEM"])
    rt.ingest(tmp_path / "log.jsonl", tmp_path / "without.regtrace")
    found = {}
    for name in ("with", "without"):
        with rt.open(tmp_path / f"{name}.regtrace") as capture:
            rows = capture.timeline(operation="set")
            found[name] = list(zip(rows["display_key"].str.upper(), rows["value_name"], strict=True))
            if name == "with":
                history = capture.history()
                state = capture.state(key=target, value="start", at="2021-01-01T00:00:00Z")
    shown = target.upper()
    assert found["without"] == [(shown + r"\SUB", "Value"), (shown, "Start")]
    assert found["with"] == [(shown, r"Sub\Value"), (shown, "Start")]
    assert history["old_from"].tolist() == ["absent", "baseline"]
    assert history["old_text"].tolist()[1] == "2"
    assert state["known"].tolist() == ["baseline"]


def test_what_sets_the_last_write_of_a_key_are_operations():
    """A word that is none would let every change of its kind look like one that nobody saw."""
    from analysis.questions import last_writes

    assert {*last_writes._OWN, *last_writes._OF_PARENT} <= set(BY_NAME)
