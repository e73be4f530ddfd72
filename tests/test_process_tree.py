"""The filter of process trees: a process, what it started, and so on down; as a loop over parents finds them."""

from pathlib import Path

import pytest

import regtrace as rt
from analysis.filters import Filters
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
