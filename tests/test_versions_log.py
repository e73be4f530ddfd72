"""Change sets: whose changes are one set, what it is called, and what it did, against a plain loop and against the truth."""

import json
import shutil
import sys
from collections import defaultdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import versions_demo
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import regtrace as rt
from analysis.versions.change_rows import OPERATIONS
from analysis.versions.change_sets import Grouping, change_sets
from analysis.versions.graph import branches_of
from analysis.versions.patch import patch_of
from analysis.versions.show import query
from analysis.versions.trees import roots_of
from cli.app import app
from tracer.errors import UsageError
from tracer.scenarios import read_story, simulate_scenario, story_path
from tracer.simulate import SimulationOptions

KEY = r"HKLM\SOFTWARE\Vendor"


def process(number: int, parent: int | None, start_ns: int | None) -> dict[str, Any]:
    return {"process_id": number, "parent_id": parent, "start_ns": start_ns}


def test_a_program_belongs_to_its_topmost_new_ancestor_that_made_changes() -> None:
    lives = [process(0, None, 5), process(1, 0, 100), process(2, 1, 110), process(3, 2, 120)]
    assert roots_of(lives, {0, 1, 2, 3}, 100) == {0: 0, 1: 1, 2: 1, 3: 1}
    assert roots_of(lives, {0, 3}, 100) == {0: 0, 3: 3}, "the only changer above ran before the capture"
    assert roots_of(lives, {1, 3}, 100) == {1: 1, 3: 1}, "2 made no change, and is passed over"


def test_a_process_of_unknown_start_is_a_root_and_a_circle_of_parents_ends() -> None:
    assert roots_of([process(0, None, None), process(1, 0, 200)], {0, 1}, 100) == {0: 0, 1: 1}
    assert roots_of([process(0, 1, 200), process(1, 0, 200)], {0, 1}, 100) in ({0: 1, 1: 0}, {0: 0, 1: 0})


@pytest.fixture(scope="module", params=["installer", "persistence", "works", "fails"])
def story(request, tmp_path_factory):
    """A capture of a scenario, and its story."""
    folder = tmp_path_factory.mktemp(request.param)
    simulate_scenario(folder / "s.etl", request.param, SimulationOptions(events=1200, seed=5))
    rt.ingest(folder / "s.etl", folder / "s.regtrace")
    with rt.open(folder / "s.regtrace") as capture:
        yield capture, read_story(story_path(folder / "s.etl"))


@cache
def members_of(capture: rt.Capture) -> Any:
    """Return the change sets of a story, which several tests look at."""
    return capture.queries.log().log().members


@cache
def plain_facts(capture: rt.Capture) -> tuple[Any, dict[int, Any], int]:
    """Return the changes of a capture, its processes by number, and the time of its first row."""
    rows = capture.sql(
        "SELECT sequence, time_ns, process_id FROM stored_events WHERE status = 0 AND (operation IN ('SetValueKey', "
        "'DeleteValueKey', 'DeleteKey', 'RenameKey') OR operation = 'CreateKey' AND disposition = 1) ORDER BY sequence"
    )
    people = {one.process_id: one for one in capture.sql("SELECT * FROM processes").itertuples()}
    return rows, people, capture.sql("SELECT min(time_ns) AS ns FROM stored_events")["ns"][0]


def plain_sets(capture: rt.Capture, pause_ns: int, *, by_tree: bool) -> list[list[int]]:
    """Return the sequences of each change set, by a loop over the changes; the statement of the rule."""
    rows, people, first_ns = plain_facts(capture)
    changers = set(rows["process_id"])

    def root(number: int) -> int:
        line = [number]
        while by_tree and people[line[-1]].start_ns >= first_ns and people[line[-1]].parent_id in people:
            line.append(people[line[-1]].parent_id)
        new = [one for one in line if people[one].start_ns >= first_ns and one in changers]
        return new[-1] if new else number

    open_sets: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    found = []
    for row in rows.itertuples():
        tree = root(row.process_id)
        if tree not in last or row.time_ns - last[tree] > pause_ns:
            open_sets[tree] = []
            found.append(open_sets[tree])
        open_sets[tree].append(row.sequence)
        last[tree] = row.time_ns
    return found


@pytest.mark.parametrize("by", ["tree", "process"])
@pytest.mark.parametrize("pause_ns", [0, 3_000_000, 200_000_000, 2_000_000_000])
def test_change_sets_are_those_of_a_plain_loop(story, pause_ns: int, by: str) -> None:
    capture, _ = story
    sets = change_sets(capture.context, Grouping(pause_ns, by))
    found = [sets.rows.sequence[sets.places(number)].tolist() for number in range(len(sets))]
    assert found == plain_sets(capture, pause_ns, by_tree=by == "tree")


def test_the_log_counts_each_change_of_the_story_once_and_says_who(story) -> None:
    capture, told = story
    log = capture.log()
    rows = capture.sql(
        "SELECT sequence, pid FROM events WHERE status = 0 AND operation IN ('SetValueKey', 'DeleteValueKey', 'DeleteKey')"
    )
    assert log["values_set"].sum() == sum(one["after"] is not None for one in told["changes"])
    assert log["keys_deleted"].sum() == sum(one["value"] is None for one in told["changes"])
    assert (log["changes"] == log["all_changes"]).all()
    assert log["last_sequence"].is_monotonic_decreasing
    members = members_of(capture)
    pids = {one["pid"]: one for one in told["processes"]}
    for member in members:
        branches = list(branches_of(member))
        own = member.sets.rows.sequence[member.sets.places(member.number)]
        assert sum(branch.changes for branch in branches) == len(own)
        by_pid = {branch.pid: branch.changes for branch in branches if branch.changes}
        changed = rows[rows["sequence"].isin(own)]["pid"].value_counts().to_dict()
        assert all(by_pid[pid] >= count for pid, count in changed.items())
        for branch in branches:
            if branch.path:  # a child of the tree: the story says that somebody of the tree started it
                assert pids[branch.pid]["parent"] in {one.pid for one in branches}


def test_filters_choose_sets_by_their_changes_and_leave_the_sets_alone(story) -> None:
    capture, _ = story
    every = capture.log().set_index("change_set")
    top = every["display_key"].iloc[0].rpartition("\\")[0]
    some = capture.log(under=top).set_index("change_set")
    none = every.index.difference(some.index)
    assert len(some)
    assert (some["all_changes"] == every["all_changes"][some.index]).all()
    fits = {
        row.sequence
        for row in capture.timeline(top, subtree=True, operation="write", status="success").itertuples()
        if row.operation in OPERATIONS
    }
    for member in members_of(capture):
        own = set(member.sets.rows.sequence[member.sets.places(member.number)].tolist())
        assert len(own & fits) == (0 if member.name in none else some["changes"][member.name])


def test_the_names_of_change_sets_are_the_same_in_a_capture_made_anew(tmp_path: Path) -> None:
    changes = [
        event("SetValueKey", KEY, "A", data=b"1\0", data_type=1, data_size=2, at_us=10),
        event("SetValueKey", KEY + r"\Below", "B", data=b"2\0", data_type=1, data_size=2, at_us=20),
        event("CreateKey", KEY + r"\Made", disposition=1, process="b.exe", at_us=30),
        event("RenameKey", KEY + r"\Made", requested_name="Moved", process="b.exe", at_us=40),
    ]
    reads = [event("QueryKey", key, at_us=0) for key in (KEY + r"\Made", KEY + r"\Below", r"HKLM\Other")]
    names, numbers = [], []
    for name, events in (("plain", changes), ("others", [*reads, *changes])):
        with rt.open(write_events(tmp_path / name, events)) as capture:
            log = capture.log()
            names.append(log["change_set"].tolist())
            numbers.append(capture.sql("SELECT key_id FROM keys WHERE name = 'Made'")["key_id"].tolist())
    assert numbers[0] != numbers[1], "the keys have the same numbers: this proves nothing"
    assert names[0] == names[1]
    assert len(set(names[0])) == 2
    for at, change in (
        (0, {"data": b"9\0"}), (0, {"value_name": "C"}), (0, {"data_type": 2}), (0, {"at_us": 9}), (1, {"key": KEY + r"\Else"}),
        (3, {"requested_name": "Away"}),
    ):  # fmt: skip
        other = [{**one, **change} if place == at else one for place, one in enumerate(changes)]
        with rt.open(write_events(tmp_path / f"other{at}{change}".replace("/", "_"), other)) as capture:
            assert set(capture.log()["change_set"]) != set(names[0]), change


@pytest.mark.slow
def test_of_many_captures_each_set_has_its_host_and_the_name_that_it_has_alone(tmp_path: Path) -> None:
    made = [
        event("CreateKey", KEY, disposition=1, at_us=1),
        event("SetValueKey", KEY, "A", data_type=1, data_size=0, at_us=2),
    ]
    more = [*made, event("SetValueKey", KEY, "B", data_type=1, data_size=0, process="b.exe", at_us=9)]
    alone = {}
    for name, events in (("one", made), ("two", more)):
        with rt.open(write_events(tmp_path / "all" / f"{name}.regtrace", events)) as capture:
            alone[name] = set(capture.log()["change_set"])
    with rt.open(tmp_path / "all") as capture:
        log, blame = capture.log(), capture.blame(KEY).dropna(subset="value_name")
        shown = capture.show((alone["two"] - alone["one"]).pop())
        with pytest.raises(UsageError, match="change sets begin with"):
            capture.show((alone["two"] & alone["one"]).pop())
    assert {name: set(rows["change_set"]) for name, rows in log.groupby("capture")} == alone
    assert shown["value_name"].tolist() == ["B"]
    assert blame.groupby("capture").size().to_dict() == {"one": 1, "two": 2}


@pytest.mark.slow
@pytest.mark.parametrize("story", ["persistence"], indirect=True)
def test_a_much_older_capture_beside_it_changes_no_set_of_a_capture(story, tmp_path: Path) -> None:
    """Which processes ran before a capture is told by that capture alone."""
    capture, _ = story
    shutil.copytree(capture.path, tmp_path / "new.regtrace")
    old = event("SetValueKey", KEY, "A", data_type=1, data_size=0, at_us=-(10**6) * 86_400 * 3650)
    write_events(tmp_path / "old.regtrace", [old])
    with rt.open(tmp_path) as both:
        log = both.log()
        blame = both.blame(r"HKLM\SOFTWARE").dropna(subset="change_set")
    alone = capture.log()
    assert set(log["change_set"][log["capture"] == "new"]) == set(alone["change_set"])
    assert set(blame["change_set"][blame["capture"] == "new"]) <= set(alone["change_set"])


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5_000_000)), min_size=1, max_size=12),
    st.integers(0, 3_000_000),
)
def test_no_pause_within_a_set_is_too_long_and_between_two_of_a_tree_all_are(
    tmp_path_factory, steps, pause_us
) -> None:
    at_us, events = 0, []
    for who, gap_us in steps:
        at_us += gap_us
        events.append(
            event("SetValueKey", KEY, "A", process=f"{who}.exe", at_us=at_us, data_size=0, data_type=1)
        )
    with rt.open(write_events(tmp_path_factory.mktemp("pause") / "a", events)) as capture:
        sets = change_sets(capture.context, Grouping(pause_us * 1000))
    by_root = defaultdict(list)
    for number in range(len(sets)):
        times = sets.rows.time_ns[sets.places(number)]
        assert not len(times) > 1 or np.diff(times).max() <= pause_us * 1000
        by_root[int(sets.roots[number])].append((times[0], times[-1]))
    for spans in by_root.values():
        assert all(later[0] - earlier[1] > pause_us * 1000 for earlier, later in pairwise(spans))
    assert len(sets.rows.sequence) == len(steps)


def test_what_may_have_been_a_change_is_in_no_set_and_is_said(tmp_path: Path) -> None:
    events = [
        event("SetValueKey", KEY, "A", data_type=1, data_size=0),
        event("SetValueKey", KEY, "A", status=None),
        event("SetValueKey", KEY, "A", status=0xC0000022),
        event("CreateKey", KEY + r"\New", disposition=None),
        event("CreateKey", KEY, disposition=2),
    ]
    with rt.open(write_events(tmp_path / "a", events)) as capture:
        log = capture.log()
    assert log["all_changes"].tolist() == [1]
    assert any("2 operations may have been changes" in doubt for doubt in log.attrs["doubts"])


def test_show_tells_what_the_story_says_of_each_value(story) -> None:
    """Before and after of each value of a set: what the story has before its first change and after its last."""
    capture, told = story
    sequences = capture.sql(
        "SELECT sequence FROM stored_events WHERE status = 0 AND operation = 'SetValueKey' ORDER BY sequence"
    )["sequence"].tolist()
    writes = [one for one in told["changes"] if one["after"] is not None]
    assert len(sequences) == len(writes)
    by_sequence = dict(zip(sequences, writes, strict=True))
    checked = 0
    for member in members_of(capture)[:4]:
        shown = capture.show(member.name[:12])
        own = set(member.sets.rows.sequence[member.sets.places(member.number)].tolist())
        for row in shown.itertuples():
            if row.change not in ("set", "added", "changed"):
                continue
            first, last = by_sequence[row.first_sequence], by_sequence[row.last_sequence]
            assert {row.first_sequence, row.last_sequence} <= own
            if not row.also_by_others:
                assert row.after_data.hex() == last["after"]["hex"]
            if row.before_from == "absent":
                assert first["before"] is None
            elif row.before_from is not None and isinstance(row.before_data, bytes):
                assert first["before"]["hex"] == row.before_data.hex()
            checked += 1
    assert checked


@pytest.mark.parametrize("story", ["installer", "works"], indirect=True)
def test_a_patch_of_many_sets_says_what_show_says_of_each(story) -> None:
    capture, _ = story
    members = capture.queries.log(limit=3).log().members
    patch = patch_of(capture.context, members).to_pylist()
    names = (
        "display_key",
        "value_name",
        "change",
        "before_from",
        "before_type",
        "before_data",
        "after_type",
        "after_data",
    )
    for member in members:
        shown = query(capture.context, member.name).to_arrow().to_pylist()
        theirs = {tuple(row[name] for name in names) for row in shown if not row["also_by_others"]}
        others = {(row["display_key"], row["value_name"]) for row in shown if row["also_by_others"]}
        ours = {
            tuple(row[name] for name in names)
            for row in patch
            if row["change_set"] == member.name and (row["display_key"], row["value_name"]) not in others
        }
        assert ours == theirs


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), prog_name="regtrace", env={"COLUMNS": "80"})


@pytest.mark.slow
@pytest.mark.parametrize("story", ["persistence"], indirect=True)
def test_the_verbs_print_the_same_as_python_and_refuse_what_is_no_name(story, tmp_path: Path) -> None:
    capture, _ = story
    path = str(capture.path)
    shown = run("log", path, "-f", "jsonl")
    assert shown.exit_code == 0, shown.stderr
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["change_set"] for row in rows] == capture.log()["change_set"].tolist()
    name = max(rows, key=lambda row: row["changes"])["change_set"]
    for arguments in (("log", path), ("log", path, "-p"), ("log", path, "--graph"), ("show", path, name[:9])):
        table = run(*arguments)
        assert table.exit_code == 0, table.stderr
        assert name[:8] in table.stdout
    files = run(
        "show", path, name, "--reg", str(tmp_path / "a.reg"), "--ps1", str(tmp_path / "a.ps1"), "-f", "csv"
    )
    assert files.exit_code == 0, files.stderr
    assert (tmp_path / "a.reg").read_bytes().startswith(b"\xff\xfe")
    assert name in (tmp_path / "a.ps1").read_text()
    for word, said in (
        ("zz", "is no name of a change set"),
        ("f" * 40, "has no change set"),
        ("", "is no name"),
    ):
        refused = run("show", path, word)
        assert refused.exit_code == 2
        assert said in " ".join(refused.stderr.split())
    assert run("log", path, "--graph", "-f", "csv").exit_code == 2
    with pytest.raises(UsageError, match="out of range"):
        capture.log(pause=-1)
    with pytest.raises(UsageError, match="is no grouping"):
        capture.log(by="thread")


@pytest.mark.skipif(sys.platform == "win32", reason="sessions are recorded on a pseudo-terminal")
def test_the_sessions_of_the_page_are_what_the_program_shows(tmp_path: Path) -> None:
    versions_demo.make_capture(tmp_path)
    told = versions_demo.sessions()
    assert {command.split()[0] for command in told} == {"log", "show", "blame"}
    command = next(one for one in told if one.startswith("show"))
    assert versions_demo.shown(command, tmp_path) == told[command]
    assert all(len(line) <= versions_demo.COLUMNS for text in told.values() for line in text.split("\n")[1:])
