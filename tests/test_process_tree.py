"""The filter of process trees: a process, what it started, and so on down; as a loop over parents finds them."""

import csv
import io
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from live_raw import raw_records
from typer.testing import CliRunner

import regtrace as rt
from analysis.filters import Filters
from cli.app import app
from tracer.etl.providers import KERNEL_PROCESS
from tracer.live.pipeline import IN_TREE, LivePipeline
from tracer.rows.process_tree import ProcessTree
from tracer.rows.processes import ProcessRecord, ProcessTable
from tracer.scenarios import read_story, story_path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("tree")
    rt.simulate(folder / "a.etl", rt.SimulationOptions(events=2000), scenario="persistence")
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    with rt.open(folder / "a.regtrace") as capture:
        yield capture, read_story(story_path(folder / "a.etl"))


def descendants(story: dict, pid: int) -> set[int]:
    found = {pid}
    for one in story["processes"]:  # parents come before their children
        if one["parent"] in found:
            found.add(one["pid"])
    return found


@pytest.mark.parametrize(
    "image", ["wscript.exe", "powershell.exe", "reg.exe", "explorer.exe", "services.exe"]
)
def test_a_tree_is_the_process_and_what_it_started(recorded, image: str) -> None:
    capture, story = recorded
    roots = [one["pid"] for one in story["processes"] if one["image"] == image]
    wanted = set().union(*(descendants(story, pid) for pid in roots))
    rows = capture.timeline()
    asked = capture.timeline(process_tree=image)
    assert set(asked["pid"]) == wanted & set(rows["pid"])
    assert len(asked) == int(rows["pid"].isin(wanted).sum())
    by_pid = capture.timeline(process_tree=roots[0])
    assert set(by_pid["pid"]) == descendants(story, roots[0]) & set(rows["pid"])


def test_it_narrows_with_the_other_filters_and_in_every_question(recorded) -> None:
    capture, story = recorded
    script = next(one["pid"] for one in story["processes"] if one["image"] == "wscript.exe")
    pids = descendants(story, script)
    narrowed = capture.where(process_tree="wscript.exe")
    assert set(narrowed.who()["pid"]) <= pids
    assert set(narrowed.changes()["pid"]) <= pids
    assert set(capture.timeline(process_tree="wscript.exe", process="reg.exe")["process"]) == {"reg.exe"}
    assert set(narrowed.errors()["pid"]) <= pids
    assert narrowed.hot(by="process")["events"].sum() == len(narrowed.timeline(noise=False))


def test_an_unknown_root_is_said(recorded) -> None:
    capture, _ = recorded
    with pytest.warns(rt.RegtraceWarning if hasattr(rt, "RegtraceWarning") else UserWarning, match="wscrypt"):
        assert not len(capture.timeline(process_tree="wscrypt.exe"))
    assert Filters(process_tree="a.exe").stated() == {"process_tree": "a.exe"}


@pytest.mark.parametrize("most_names", [100_000, 50])
@pytest.mark.parametrize("image", ["wscript.exe", "powershell.exe", "explorer.exe"])
def test_live_rows_tell_the_tree_that_the_story_tells(recorded, image: str, most_names: int) -> None:
    capture, story = recorded
    raw = list(raw_records(capture.path.parent / "a.etl"))
    roots = [one["pid"] for one in story["processes"] if one["image"] == image]
    wanted = set().union(*(descendants(story, pid) for pid in roots))
    snapshot = [  # what runs before the trace begins is told by a snapshot of the processes
        ProcessRecord("rundown", "snapshot", 0, one["pid"], one["parent"], one["image"], start_ns=place + 1)
        for place, one in enumerate(story["processes"])
        if one["pid"] in started_before(raw, story)
    ]
    pipeline = LivePipeline(processes=snapshot, tree=ProcessTree(image), most_names=most_names)
    rows = pa.concat_tables(
        [*(pipeline.push(raw[at : at + 300]) for at in range(0, len(raw), 300)), pipeline.flush()]
    )
    told = {
        (pid, marked) for pid, marked in zip(rows["pid"].to_pylist(), rows[IN_TREE].to_pylist(), strict=True)
    }
    assert told == {(pid, pid in wanted) for pid in rows["pid"].unique().to_pylist()}
    assert (pipeline.generations > 0) == (most_names == 50)


def started_before(raw: list, story: dict) -> set[int]:
    """Return the pids of the story without a start record in the trace."""
    started = {
        int.from_bytes(data[:4], "little")
        for header, data, _ in raw
        if header[24:40] == uuid.UUID(KERNEL_PROCESS).bytes_le
        and int.from_bytes(header[40:42], "little") == 1
    }
    return {one["pid"] for one in story["processes"]} - started


def record(kind: str, pid: int, parent: int | None, image: str | None, start: int | None) -> ProcessRecord:
    return ProcessRecord(
        kind,
        "snapshot" if kind == "rundown" else KERNEL_PROCESS,
        start or 0,
        pid,
        parent,
        image,
        start_ns=start,
    )


def marks(tree: ProcessTree, table: ProcessTable) -> tuple[set[int], set[int]]:
    unknown = tree.mark(table.lives, range(len(table)))
    return {life.pid for life in table.lives if life.in_tree}, {table.lives[one].pid for one in unknown}


def assign(table: ProcessTable, *records: ProcessRecord) -> None:
    table.assign(np.empty(0, np.int64), [(0, one) for one in records])


def test_a_tree_of_running_processes_follows_the_snapshot_and_says_what_is_unknown() -> None:
    table = ProcessTable()
    assign(
        table,
        record("rundown", 4, None, "System", None),
        record("rundown", 8, 4, "smss.exe", 5),
        record("rundown", 50, 40, "setup.exe", 100),  # the process 40 has ended
        record("rundown", 60, 50, "child.exe", 110),
        record("rundown", 70, 50, "older.exe", 90),  # it started before the 50 that runs now: of another 50
    )
    tree = ProcessTree("setup")
    assert marks(tree, table) == ({50, 60}, {70})
    assign(table, record("start", 80, 60, "grandchild.exe", 200), record("stop", 60, None, None, None))
    assign(table, record("start", 90, 77, "orphan.exe", 210))
    assert marks(tree, table) == ({50, 60, 80}, {70, 90})
    assert marks(ProcessTree("80"), table) == ({50, 60, 80}, {70, 90})  # marks stay


def test_a_process_that_gets_the_id_of_a_parent_later_is_no_parent() -> None:
    table = ProcessTable()
    assign(table, record("rundown", 50, None, "a.exe", 1), record("start", 60, 50, "child.exe", 2))
    assign(table, record("stop", 50, None, None, None), record("start", 50, 4, "setup.exe", 3))
    assert marks(ProcessTree("setup.exe"), table)[0] == {50}


def test_the_page_of_slow_is_about_the_tree_that_is_asked_for(recorded) -> None:
    capture, story = recorded
    root = next(one["pid"] for one in story["processes"] if one["image"] == "wscript.exe")
    rows = capture.timeline()
    wanted = int(rows["pid"].isin(descendants(story, root)).sum())
    result = CliRunner().invoke(app, ["slow", str(capture.path), "--tree", "wscript.exe", "-f", "csv"])
    wall = next(row for row in csv.DictReader(io.StringIO(result.stdout)) if row["name"] == "wall")
    assert int(wall["events"]) == wanted
    page = CliRunner().invoke(app, ["slow", str(capture.path), "--tree", "wscript.exe"]).stdout
    assert page.startswith("wscript.exe and what it started in a.regtrace")
