"""The verbs `who` and `sql`: what they print in every format, and how they fail."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from small_capture import HOSTILE, KEY_PATHS, joined_rows, write_capture
from test_cli_verbs import as_on_a_terminal, invoke, plain
from typer.testing import CliRunner

from analysis.engine.fetch import fetch
from analysis.open import open_capture
from cli.app import app
from cli.tables.who import who_lines

RUN = r"HKLM\SOFTWARE\Vendor\Run"
HOSTILE_KEY = r"HKLM\SOFTWARE\Hostile"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("cli") / "small.regtrace", complete=True)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("cli") / "empty.regtrace", events=0)


@pytest.mark.slow
def test_who_says_the_same_in_every_format(capture: Path, tmp_path: Path) -> None:
    with open_capture(capture) as source:
        frame = source.who(RUN)
    rows = [json.loads(line) for line in invoke("who", capture, RUN, "-f", "jsonl").stdout.splitlines()]
    assert [row["events"] for row in rows] == list(frame["events"])
    assert list(rows[0]) == list(frame.columns)
    cells = list(csv.DictReader(io.StringIO(invoke("who", capture, RUN, "-f", "csv").stdout)))
    assert [row["first_sequence"] for row in cells] == [str(row["first_sequence"]) for row in rows]
    assert invoke("who", capture, RUN, "-o", tmp_path / "who.parquet").exit_code == 0
    stored = pq.read_table(tmp_path / "who.parquet")
    assert stored.schema.names == list(frame.columns)
    assert stored.column("last_change_sequence").to_pylist() == [row["last_change_sequence"] for row in rows]
    shown = invoke("who", capture, RUN)
    assert len(shown.stdout.splitlines()) == len(rows) + 1
    assert "setup.exe (1234)" in shown.stdout


@pytest.mark.slow
def test_who_takes_a_value_and_the_default_value(capture: Path) -> None:
    found = [
        json.loads(line)
        for line in invoke("who", capture, "HKLM", "", "--subtree", "-f", "jsonl").stdout.splitlines()
    ]
    wanted = [
        row
        for row in joined_rows()
        if row["value_name"] == ""
        and row["same_as"] is not None
        and KEY_PATHS[row["same_as"]][0].startswith("\\REGISTRY\\MACHINE")
    ]
    assert sum(row["events"] for row in found) == len(wanted) > 0
    each = invoke("who", capture, HOSTILE_KEY, "*", "--subtree", "--each", "-f", "jsonl")
    keys = {json.loads(line)["display_key"] for line in each.stdout.splitlines()}
    assert keys == {f"{HOSTILE_KEY}\\{name}" for name in HOSTILE} & {
        row["display_key"] for row in joined_rows() if row["value_name"] is not None
    }


@pytest.mark.parametrize("each", [True, False])
def test_who_fits_a_terminal_and_shows_nothing_that_acts(capture: Path, each: bool) -> None:
    with open_capture(capture) as source:
        rows = fetch(source.lazy.who(each=each))
    for width in (60, 80, 120, 250):
        lines = list(who_lines(rows, width))
        assert len(lines) > rows.num_rows
        assert not any("\x1b" in line or "\u202e" in line for line in lines)
        assert all(len(line) <= width for line in lines if line.isascii())


@pytest.mark.parametrize("verb", [["who"], ["who", "--each"], ["sql", "select * from events"]])
@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_an_empty_capture_has_an_empty_answer(empty: Path, verb: list[str], form: str) -> None:
    shown = invoke(verb[0], empty, *verb[1:], "-f", form)
    assert shown.exit_code == 0, shown.output
    assert len(shown.stdout.splitlines()) == (0 if form == "jsonl" else 1)


def test_an_empty_capture_says_so_to_a_person(empty: Path) -> None:
    assert "holds no events" in as_on_a_terminal("who", empty)
    assert "holds no events" in as_on_a_terminal("sql", empty, "select 1")


@pytest.mark.slow
def test_who_fails_kindly(capture: Path) -> None:
    for arguments, words in [
        ([r"HKLM\SOFTWARE\Vndor\Run"], "did you mean HKLM"),
        (["HKXX"], "not a registry path"),
        (["HKLM", "--from", "yesterday"], "not a time"),
        (["HKLM", "--operation", "paint"], "not an operation"),
        (["HKLM", "--where", "colour = 1"], "colour"),
    ]:
        shown = invoke("who", capture, *arguments)
        assert (shown.exit_code, words in shown.stderr) == (2, True), shown.output
    outside = invoke("who", capture, "HKLM", "--from", "2030-01-01")
    assert outside.exit_code == 0
    assert "outside the capture" in outside.stderr


def test_sql_comes_from_an_argument_a_file_and_standard_input(capture: Path, tmp_path: Path) -> None:
    query = "select count(*) as n from events -- ü"
    (tmp_path / "q.sql").write_bytes(b"\xef\xbb\xbf" + query.encode())
    asked = [
        invoke("sql", capture, query, "-f", "csv"),
        invoke("sql", capture, "--file", tmp_path / "q.sql", "-f", "csv"),
    ]
    asked.append(CliRunner().invoke(app, ["sql", str(capture), "-", "-f", "csv"], input=query))
    assert {one.stdout for one in asked} == {f"n\n{len(joined_rows())}\n"}


def test_sql_lists_the_tables(capture: Path) -> None:
    shown = invoke("sql", capture, "--tables").stdout
    assert [line.split()[0] for line in shown.splitlines()[1:4]] == ["events", "stored_events", "keys"]
    assert f"events         {len(joined_rows()):>5}" in shown or str(len(joined_rows())) in shown


def test_sql_writes_hostile_text_as_every_verb_does(capture: Path) -> None:
    query = 'select value_name as "=cmd", display_key from events where value_name is not null'
    shown = plain(as_on_a_terminal("sql", capture, query, "-q", columns=60))
    assert "\x1b" not in shown
    assert all(len(line) <= 60 for line in shown.splitlines() if line.isascii())
    cells = invoke("sql", capture, query, "-f", "csv").stdout
    assert cells.startswith('"\'=cmd",display_key\n')
    odd = invoke(
        "sql", capture, "select chr(27) || '[2J' as a, '\x85' as b, 'nan'::double as c", "-f", "jsonl"
    )
    assert odd.stdout == '{"a":"\\u001b[2J","b":"\\u0085","c":null}\n'


def test_sql_ends_at_its_time_and_leaves_no_file(capture: Path, tmp_path: Path) -> None:
    endless = "select count(*) from range(100000) a, range(100000) b, range(100000) c where a.range + b.range = c.range * 2"
    target = tmp_path / "rows.csv"
    ended = invoke("sql", capture, endless, "--timeout", "0.3", "-o", target)
    assert ended.exit_code == 1
    assert ended.stderr.startswith("regtrace: the question takes longer than 0.3 s; ")
    assert not list(tmp_path.iterdir())
    assert invoke("sql", capture, "select 42 as n", "--timeout", "60", "-f", "csv").stdout == "n\n42\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give one query"),
        (["select 1", "--tables"], "give one query"),
        (["select colour from events"], "colour"),
        (["drop view events"], "one SELECT"),
        (["select * from keyz"], "the tables are events"),
        (["--file", "/nowhere/q.sql"], "no such file"),
        (["select 1", "-f", "parquet", "-o", "/nowhere/x.parquet"], "nowhere"),
        (["selec 1"], "line 1, column 1"),
    ],
)
def test_sql_fails_in_one_sentence(capture: Path, arguments: list[str], words: str) -> None:
    shown = invoke("sql", capture, *arguments)
    assert shown.exit_code in (1, 2)
    assert words in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1


def test_a_plan_keeps_its_lines(capture: Path) -> None:
    shown = invoke("sql", capture, "explain select count(*) from keys").stdout
    assert len(shown.splitlines()) > 1
    assert "\\u{A}" not in shown
