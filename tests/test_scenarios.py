"""Scenarios: the trace holds the story, and answers find in it what the story says was put there."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.scenarios import SCENARIOS, read_story, simulate_scenario, story_path
from tracer.simulate import SimulationOptions, truth_path

OPTIONS = SimulationOptions(events=3000, seed=3)


@pytest.fixture(scope="module", params=list(SCENARIOS))
def recorded(request, tmp_path_factory):
    """A capture of each scenario, and its story."""
    folder = tmp_path_factory.mktemp(request.param)
    trace = folder / "story.etl"
    simulate_scenario(trace, request.param, OPTIONS)
    rt.ingest(trace, folder / "story.regtrace")
    with rt.open(folder / "story.regtrace") as capture:
        yield capture, read_story(story_path(trace))


def pids(story: dict, *, in_story: bool = True) -> set[int]:
    return {one["pid"] for one in story["processes"] if one["in_story"] >= in_story}


def test_the_capture_is_simulated_named_and_whole(recorded) -> None:
    capture, story = recorded
    facts = capture.info()
    assert story["simulated"]
    assert facts["sources"][0]["simulated"]
    assert not facts["losses"]
    named = capture.sql("SELECT count(*) FILTER (WHERE name_source = 'none') AS rows FROM events")
    assert named["rows"][0] == 0


def test_every_process_of_the_story_is_in_the_capture(recorded) -> None:
    capture, story = recorded
    processes = capture.sql("SELECT pid, image, command_line, user FROM processes WHERE image IS NOT NULL")
    rows = {row.pid: row for row in processes.itertuples()}
    for one in story["processes"]:
        row = rows[one["pid"]]
        assert fold_name(row.image.rpartition("\\")[2]) == fold_name(one["image"])
        assert row.command_line == one["command_line"]
        assert row.user == one["user"]


def test_each_change_of_the_story_is_a_row_and_no_other_is(recorded) -> None:
    capture, story = recorded
    rows = capture.sql(
        "SELECT path, value_name, operation, pid, data FROM events JOIN keys USING (key_id) WHERE status = 0 "
        "AND operation IN ('SetValueKey', 'DeleteValueKey', 'DeleteKey') ORDER BY sequence"
    )
    seen = [
        (fold_name(row.path), row.value_name if row.operation != "DeleteKey" else None, row.pid, bytes(row.data).hex() if row.operation == "SetValueKey" else None)
        for row in rows.itertuples()
    ]  # fmt: skip
    true = [
        (fold_name(one["path"]), one["value"], one["pid"], one["after"]["hex"] if one["after"] else None)
        for one in story["changes"]
        # The delete of a key takes its values along; the trace has one row for it.
        if one["value"] is None or one["after"] is not None or not _went_with_its_key(story, one)
    ]
    assert [(_without_links(path, story), *rest) for path, *rest in seen] == true


def _without_links(path: str, story: dict) -> str:
    """Return a folded path as the registry has it: the trace may show the way through a link."""
    users = {fold_name(one["user"]) for one in story["processes"]}
    links = {
        f"\\REGISTRY\\USER\\{sid}\\SOFTWARE\\CLASSES": f"\\REGISTRY\\USER\\{sid}_CLASSES" for sid in users
    }
    links["\\REGISTRY\\MACHINE\\SYSTEM\\CURRENTCONTROLSET"] = "\\REGISTRY\\MACHINE\\SYSTEM\\CONTROLSET001"
    for link, target in links.items():
        if path == link or path.startswith(f"{link}\\"):
            return target + path[len(link) :]
    return path


def _went_with_its_key(story: dict, change: dict) -> bool:
    place = story["changes"].index(change)
    for later in story["changes"][place:]:
        if later["path"] != change["path"] or later["pid"] != change["pid"]:
            return False
        if later["value"] is None:
            return True
    return False


def test_everything_planted_is_there(recorded) -> None:
    capture, story = recorded
    assert story["plants"]
    for plant in story["plants"]:
        filters = {} if plant["value"] is None else {"value": plant["value"] or ""}
        subtree = plant["what"] in ("search", "services started", "rolled back")
        rows = capture.timeline(plant["path"], subtree=subtree, **filters)
        if plant["what"] in ("redundant read", "polling"):
            reads = rows[(rows["operation"] == "QueryValueKey") & rows["pid"].isin(pids(story))]
            assert len(reads) == plant["count"]
        elif plant["what"] == "search":
            assert plant["count"]
        else:
            assert len(rows), plant


def test_what_was_rolled_back_is_no_net_change(tmp_path: Path) -> None:
    simulate_scenario(tmp_path / "a.etl", "installer", OPTIONS)
    rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace")
    story = read_story(story_path(tmp_path / "a.etl"))
    with rt.open(tmp_path / "a.regtrace") as capture:
        changes = capture.changes()
        gone = [plant for plant in story["plants"] if plant["what"] == "rolled back"]
        assert gone
        for plant in gone:
            stays = changes[
                changes["display_key"].str.contains("ContosoSync")
                & ~changes["change"].isin(("unchanged", "transient"))
            ]
            values = stays[stays["change"].isin(("added", "changed", "set"))]
            assert not len(values), plant


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        simulate_scenario(tmp_path / f"{name}.etl", "works", replace(OPTIONS, seed=seed))
    first, second, other = ((tmp_path / f"{name}.etl") for name in "abc")
    assert first.read_bytes() != other.read_bytes()
    assert story_path(first).read_text() == story_path(second).read_text()
    truths = [pq.read_table(truth_path(path)) for path in (first, second)]
    assert truths[0].equals(truths[1])


@pytest.mark.parametrize("seed", range(5))
def test_a_pair_of_runs_differs_in_its_cause(tmp_path: Path, seed: int) -> None:
    data = []
    for name in ("works", "fails"):
        trace = tmp_path / f"{name}.etl"
        simulate_scenario(trace, name, replace(OPTIONS, seed=seed))
        rt.ingest(trace, tmp_path / f"{name}.regtrace")
        cause = next(one for one in read_story(story_path(trace))["plants"] if one["what"] == "cause")
        with rt.open(tmp_path / f"{name}.regtrace") as capture:
            rows = capture.timeline(
                cause["path"], value=cause["value"], process="ReportViewer.exe", operation="read"
            )
            data.append([None if row is None else bytes(row) for row in rows["data"]])
    assert data[0] != data[1]


def test_a_scenario_of_the_kernel_logger(tmp_path: Path) -> None:
    simulate_scenario(tmp_path / "a.etl", "boot", replace(OPTIONS, classic=True))
    manifest = rt.ingest(tmp_path / "a.etl", tmp_path / "a.regtrace")
    assert manifest.totals["events"] > 2000


def test_what_a_scenario_does_not_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--keys, --hostile-names"):
        simulate_scenario(tmp_path / "a.etl", "boot", replace(OPTIONS, keys=9, hostile_names=0.5))
    with pytest.raises(UsageError, match="unknown scenario 'boot!'; the scenarios are installer"):
        simulate_scenario(tmp_path / "a.etl", "boot!", OPTIONS)
    assert not list(tmp_path.iterdir())


def test_the_command_line_writes_the_story_too(tmp_path: Path) -> None:
    target = tmp_path / "a.etl"
    arguments = ["simulate", "-o", str(target), "--scenario", "works", "-n", "500"]
    shown = CliRunner().invoke(app, arguments, prog_name="regtrace")
    assert shown.exit_code == 0, shown.stderr
    assert "a.story.json" in shown.stderr
    assert SCENARIOS["works"].summary in " ".join(shown.stderr.split())
    assert json.loads(story_path(target).read_text())["scenario"] == "works"
    target.unlink()
    again = CliRunner().invoke(app, arguments, prog_name="regtrace")
    assert again.exit_code == 1
    assert "a.truth.parquet" in again.stderr
