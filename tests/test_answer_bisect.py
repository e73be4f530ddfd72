"""Which differing value parts two runs: the planted one comes first, and its file makes the failing side like the other."""

import json

import causes_page
import pytest
from hand_capture import MISSING, event, write_events
from planted_pairs import dword, planted_pair, text
from reg_reader import read_reg
from typer.testing import CliRunner

import regtrace as rt
from analysis.causes.candidates import REASONS, Candidate, Content, Parting, is_time_like, rank_candidates
from analysis.causes.trial import make_trial, parse_take
from cli.app import app
from cli.tables.bisect import bisect_lines
from tracer.errors import UsageError
from tracer.registry.text import fold_name
from tracer.scenarios import read_story, story_path

KEY = r"HKLM\SOFTWARE\V"
RECORDED = 2  # the seed of the session in docs/causes.md


def asked(tmp_path, works, fails):
    pair = [
        write_events(tmp_path / f"{name}.regtrace", rows)
        for name, rows in (("works", works), ("fails", fails))
    ]
    return [rt.open(one) for one in pair]


@pytest.mark.parametrize("seed", range(20))
def test_the_planted_value_comes_first_among_noise(tmp_path, seed):
    pair = planted_pair(seed)
    works, fails = asked(tmp_path, pair.works, pair.fails)
    with works, fails:
        found = works.bisect(fails, process="app.exe")
    assert len(found) == pair.differing
    assert (found.b_key[0], found.value_name[0]) == (pair.key, pair.value)
    assert found.weight.is_monotonic_decreasing
    # The file, read as an importer reads it, sets the value to what the working run read.
    for file, data in (("reg", pair.data[0]), ("undo", pair.data[1])):
        name = pair.key.replace("HKLM", "HKEY_LOCAL_MACHINE", 1).replace("HKU", "HKEY_USERS", 1)
        done = read_reg(found.attrs[file].encode("utf-16"))
        change = (
            ("unset", name, pair.value)
            if data is None
            else ("set", name, pair.value, data["data_type"], data["data"])
        )
        assert done == [("key", name), change]


@pytest.mark.parametrize("seed", range(5))
def test_the_cause_of_the_scenario_comes_first(tmp_path, seed):
    for name in ("works", "fails"):
        options = rt.SimulationOptions(events=500 if seed == RECORDED else 200, seed=seed)
        rt.simulate(tmp_path / f"{name}.etl", options, truth=False, scenario=name)
        rt.ingest(tmp_path / f"{name}.etl", tmp_path / f"{name}.regtrace")
    [plant] = read_story(story_path(tmp_path / "fails.etl"))["plants"]
    with rt.open(tmp_path / "works.regtrace") as works, rt.open(tmp_path / "fails.regtrace") as fails:
        found = works.bisect(fails, process="ReportViewer.exe")
        if seed == RECORDED:
            told = works.queries.bisect(fails, process="ReportViewer.exe").compare()
            lines = list(bisect_lines(told.rows, 80, found=told, names=["works.regtrace", "fails.regtrace"]))
            made = [line for line in lines if "HKU" not in line]
            assert len(made) > 20
            assert [line for line in made if line not in causes_page.recorded("bisect")] == []
    assert (found.b_key[0], found.value_name[0]) == (plant["key"], plant["value"])
    assert len(found) >= 4


BEHIND = [
    event("QueryValueKey", rf"{KEY}\Agent", "Mode", **text("safe"), process="agent.exe"),
    event("SetValueKey", rf"{KEY}\App", "Url", **text("http://safe.example"), process="agent.exe"),
    event("QueryValueKey", rf"{KEY}\App", "Url", **text("http://safe.example"), process="app.exe"),
    event("OpenKey", rf"{KEY}\Good", process="app.exe"),
]


def changed(rows, *pairs):
    """Return events with some of them replaced."""
    rows = list(rows)
    for place, row in pairs:
        rows[place] = row
    return rows


def test_what_another_program_read_before_it_wrote_the_value_stands_behind_it(tmp_path):
    fails = changed(
        BEHIND,
        (0, event("QueryValueKey", rf"{KEY}\Agent", "Mode", **text("fast"), process="agent.exe")),
        (1, event("SetValueKey", rf"{KEY}\App", "Url", **text("http://fast.example"), process="agent.exe")),
        (2, event("QueryValueKey", rf"{KEY}\App", "Url", **text("http://fast.example"), process="app.exe")),
        (3, event("OpenKey", rf"{KEY}\Bad", process="app.exe")),
    )
    works, fails = asked(tmp_path, BEHIND, fails)
    with works, fails:
        found = works.bisect(fails, process="app.exe")
        alone = works.bisect(fails, process="app.exe", limit=1)
    assert found.value_name.tolist() == ["Url", "Mode"]
    assert (found.writer[0], found.behind[1]) == ("agent.exe", 1)
    assert (found.a_text[1], found.b_text[1]) == ("safe", "fast")
    assert len(alone) == 1


def test_what_a_run_goes_on_with_speaks_for_the_value_that_names_it(tmp_path):
    def run(engine, mode):
        return [
            event("QueryValueKey", KEY, "Engine", **text(engine), process="app.exe"),
            event("QueryValueKey", KEY, "Mode", **text(mode), process="app.exe"),
            event("OpenKey", rf"HKLM\SOFTWARE\Classes\{engine}", process="app.exe"),
        ]

    works, fails = asked(tmp_path, run("Vendor.New", "abcd"), run("Vendor.Old", "efgh"))
    with works, fails:
        found = works.bisect(fails, process="app.exe")
    assert found.value_name.tolist() == ["Engine", "Mode"]
    assert "used next (40)" in found.reasons[0]


def test_a_key_that_is_missing_is_a_candidate_that_no_file_makes(tmp_path):
    def run(status):
        return [
            event("OpenKey", rf"{KEY}\Plugin", status=status, process="app.exe"),
            event("OpenKey", KEY, process="app.exe"),
        ]

    works, fails = asked(tmp_path, run(0), run(MISSING))
    with works, fails:
        found = works.bisect(fails, process="app.exe")
    assert (found.kind[0], found.a_state[0], found.b_state[0]) == ("key", "present", "absent")
    assert "by hand" in found.reg[0]
    assert "candidate 1: a key" in found.attrs["reg"]


def test_runs_that_do_not_part_say_so_and_list_what_differs(tmp_path):
    rows = [event("QueryValueKey", KEY, "x", **dword(number), process="app.exe") for number in (1, 2)]
    works, fails = asked(tmp_path, rows[:1], rows[1:])
    with works, fails:
        found = works.bisect(fails)
        same = works.bisect(rt.open(works.path), process="app.exe")
    assert found.value_name.tolist() == ["x"]
    assert any("do not part" in note for note in found.attrs["notes"])
    assert (len(same), same.attrs["reg"]) == (0, None)


def test_data_that_is_cut_is_not_written(tmp_path):
    whole, cut = text("abcdefgh"), {**text("xbcdefgh"), "data_size": 4000}
    rows = [[event("QueryValueKey", KEY, "x", **data, process="app.exe"), event("OpenKey", rf"{KEY}\{name}", process="app.exe")]
            for data, name in ((cut, "a"), (whole, "b"))]  # fmt: skip
    works, fails = asked(tmp_path, *rows)
    with works, fails:
        found = works.bisect(fails, process="app.exe")
    assert found.reg[0] == "not all of the data is known"
    assert [one[0] for one in read_reg(found.attrs["reg"].encode("utf-16"))] == []
    assert [one[0] for one in read_reg(found.attrs["undo"].encode("utf-16"))] == ["key", "set"]


def test_the_weight_is_the_sum_of_the_reasons_and_behind_stands_behind():
    def candidate(steps, **more):
        return Candidate(
            "value",
            "data",
            steps,
            1,
            (KEY, KEY),
            "x",
            Content("present", 1, 2, b"a\0"),
            Content("present", 1, 2, b"b\0"),
            **more,
        )

    parting = Parting(((), ()))
    ranked = rank_candidates(
        [candidate(100), candidate(0), candidate(0, behind=1), candidate(2, is_own=True)], parting, fold_name
    )
    assert [one.steps for one in ranked] == [0, 0, 2, 100]
    assert [one.weight for one in ranked] == [40, 35, 14, 0]
    assert ranked[1].behind == 0


@pytest.mark.parametrize(
    ("kind", "data", "is_time"),
    [
        (3, (133_000_000_000_000_000).to_bytes(8, "little"), True),
        (3, (5).to_bytes(8, "little"), False),
        (11, (1_700_000_000).to_bytes(8, "little"), True),
        (1, "2024-05-18T10:00:00\0".encode("utf-16-le"), True),
        (1, "20240518\0".encode("utf-16-le"), True),
        (1, "20249918\0".encode("utf-16-le"), False),
        (1, "2024 apples\0".encode("utf-16-le"), False),
        (4, (1_700_000_000).to_bytes(4, "little"), False),
        (1, None, False),
    ],
)
def test_times_are_told_by_their_form(kind, data, is_time):
    assert is_time_like(Content("present", kind, None if data is None else len(data), data)) is is_time


def test_candidates_are_chosen_by_their_numbers():
    assert parse_take("2,4-5", 5) == (2, 4, 5)
    assert parse_take("all", 2) == (1, 2)
    for wrong, said in (("0", "from 1"), ("x", "write 1"), ("3-2", "first before"), ("9", "no candidate 9")):
        with pytest.raises(UsageError, match=said):
            parse_take(wrong, 3)


def test_a_hostile_name_stays_one_line_of_the_file():
    name = '"\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE]'
    one = Candidate(
        "value", "data", 0, 1, (KEY, KEY), name, Content("present", 4, 4, b"\0\0\0\0"), Content("absent")
    )
    trial = make_trial([one], (1,), about=["\r\n[-HKEY_LOCAL_MACHINE\\SOFTWARE]"])
    assert not any(line.startswith("[-") for line in trial.apply.split("\r\n"))
    assert trial.left_out[0][2] == "the value's name holds a line break"


def run(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "80"})


@pytest.mark.slow
def test_the_verb_prints_a_page_and_writes_the_files(tmp_path):
    pair = planted_pair(3)
    works, fails = asked(tmp_path, pair.works, pair.fails)
    with works, fails:
        found = works.queries.bisect(fails, process="app.exe").compare()
    lines = list(bisect_lines(found.rows, 80, found=found, names=["works.regtrace", "fails.regtrace"]))
    assert max(map(len, lines)) <= 80
    for width in (40, 60):
        assert max(map(len, bisect_lines(found.rows, width, found=found, names=["w", "f"]))) <= width
    words = ("bisect", works.path, fails.path, "--process", "app.exe")
    done = run(*words, "--reg", tmp_path / "try.reg", "--undo", tmp_path / "undo.reg", "--take", "1-2")
    assert done.exit_code == 3, done.output
    assert "To try it, where it fails" in done.output
    sets = [one for one in read_reg((tmp_path / "try.reg").read_bytes()) if one[0] in ("set", "unset")]
    assert len(sets) == 2
    rows = [json.loads(line) for line in run(*words, "-f", "jsonl").stdout.splitlines()]
    assert rows[0]["value_name"] == pair.value
    assert run(*words, "--reg", tmp_path / "x.ps1").exit_code == 2
    assert run(*words, "--reg", tmp_path / "try.reg").exit_code != 3  # it is there already
    none = run("bisect", works.path, works.path, "--process", "app.exe")
    assert none.exit_code == 0
    assert "Nothing that the failing run read differently" in none.output


def test_the_page_of_causes_has_the_reasons_as_they_are():
    text = causes_page.PAGE.read_text(encoding="utf-8")
    for name, reason in REASONS.items():
        assert f"| {name} | {reason.weight} | {reason.meaning} |" in text
