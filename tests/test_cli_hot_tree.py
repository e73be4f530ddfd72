"""`regtrace hot` and `regtrace tree`: what they print, in every format and width, and how they fail."""

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer.testing
from small_capture import HOSTILE, write_capture
from typer.testing import CliRunner

from analysis.answers.words import HOT_BY, HOT_SORTS, TREE_SORTS
from analysis.open import open_capture
from cli.app import app
from cli.commands.hot import By
from cli.commands.hot import Sort as HotSort
from cli.commands.tree import Sort as TreeSort
from cli.output.safe import from_spreadsheet

ASKED = [["hot"], ["hot", "--by", "second"], ["hot", "--by", "storm", "--min-count", "1"], ["tree"]]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("cli") / "small.regtrace")


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace")


def on_a_terminal(*arguments: object, columns: int = 80) -> str:
    settings = {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": None}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing._NamedTextIOWrapper, "isatty", lambda self: True)
        shown = (
            CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace", env=settings).output
        )
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def test_words_of_options_are_those_of_the_analysis():
    assert {by.value for by in By} == {*HOT_BY, "storm"}
    assert [sort.value for sort in HotSort] == list(HOT_SORTS)
    assert [sort.value for sort in TreeSort] == list(TREE_SORTS)


@pytest.mark.slow
@pytest.mark.parametrize("asked", [ASKED[1], ASKED[3]])
def test_every_format_carries_the_same_rows(capture, asked, tmp_path):
    verb, *options = asked
    lines = invoke(verb, capture, *options, "-f", "jsonl").stdout.splitlines()
    rows = [json.loads(line) for line in lines]
    table = list(csv.DictReader(io.StringIO(invoke(verb, capture, *options, "-f", "csv").stdout, newline="")))
    target = tmp_path / "rows.parquet"
    assert invoke(verb, capture, *options, "-o", target).exit_code == 0
    whole = pq.read_table(target)
    name = next(name for name in ("display_key", "top_key") if name in whole.schema.names)
    assert [row[name] for row in rows] == whole.column(name).to_pylist()
    assert [from_spreadsheet(row[name]) or None for row in table] == whole.column(name).to_pylist()
    assert list(table[0]) == whole.schema.names
    assert str(whole.schema.field("first_time").type) == "timestamp[us, tz=UTC]"


@pytest.mark.slow
def test_a_table_is_short_where_files_are_whole(capture):
    with open_capture(capture) as opened:
        keys = len(opened.hot())
    assert keys > 20
    assert len(invoke("hot", capture, "-f", "jsonl").stdout.splitlines()) == keys
    assert len(invoke("hot", capture).stdout.splitlines()) == 21
    assert len(invoke("hot", capture, "--limit", 3).stdout.splitlines()) == 4


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "asked"), [
    *((80, asked) for asked in ASKED), (120, ["hot", "--by", "process"]), (200, ["tree", "--sort", "failures"]),
])  # fmt: skip
def test_a_table_fits_the_terminal(capture, asked, columns):
    verb, *options = asked
    lines = on_a_terminal(verb, capture, *options, "-q", columns=columns).splitlines()
    table = [line for line in lines if not line.startswith(("regtrace:", "  "))]
    assert max(map(len, table)) <= columns
    assert "Traceback" not in "".join(lines)
    assert len(lines) > 3


@pytest.mark.slow
def test_a_tree_is_indented_and_a_sorted_one_is_not(capture):
    lines = on_a_terminal("tree", capture, "--under", r"HKLM\SOFTWARE", "--depth", 1, "-q", columns=120)
    assert re.search(r"  HKLM\\SOFTWARE\n", lines)
    assert re.search(r"    Vendor\n", lines)
    assert r"HKLM\SOFTWARE\Vendor" in on_a_terminal("tree", capture, "--sort", "events", "-q", columns=120)


def test_hostile_names_do_not_reach_a_terminal(capture):
    shown = on_a_terminal("tree", capture, "--depth", 3, "-q", columns=200)
    assert HOSTILE[0] in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["hot", "tree"])
def test_doubts_and_kind_failures(capture, verb, tmp_path):
    assert "loss touches the time" in on_a_terminal(verb, capture)
    unknown = invoke(verb, capture, "--under", r"HKLM\Nothing")
    assert unknown.exit_code == 2
    assert "nothing in" in unknown.stderr
    both = invoke(verb, capture, "--under", "HKLM", "--key", "HKLM")
    assert both.exit_code == 2
    outside = invoke(verb, capture, "--from", "2030-01-01", "--fail-on-loss")
    assert outside.exit_code == 4
    assert "outside" in outside.stderr
    nothing = write_capture(tmp_path / "empty.regtrace", events=0)
    shown = on_a_terminal(verb, nothing)
    assert "holds no events" in shown
    assert "Traceback" not in shown


def test_mistakes_are_one_sentence(capture):
    for arguments in (["hot", "--every", "soon"], ["hot", "--gap", "0s"], ["tree", "--depth", "99"]):
        verb, *options = arguments
        shown = invoke(verb, capture, *options)
        assert shown.exit_code == 2
        assert shown.stdout == ""
        assert "Traceback" not in shown.stderr


def test_no_storm_says_how_to_look_for_smaller_ones(capture):
    shown = on_a_terminal("hot", capture, "--by", "storm")
    assert "no storm fits" in shown
    assert "--min-count 2" in shown
    with open_capture(capture) as opened:
        assert opened.lazy.hot(by="storm").count().to_pyarrow().as_py() == 0
