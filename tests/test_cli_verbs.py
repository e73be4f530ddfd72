"""The verbs on a small capture: what they print, in every format, and how they fail."""

import csv
import io
import json
import os
import re
import select
import subprocess
import sys
import unicodedata
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer.testing
from small_capture import HOSTILE, joined_rows, write_capture
from typer.testing import CliRunner

from analysis.answers.words import KEY_SORTS
from analysis.engine.columns import SHOWN_COLUMNS
from cli.app import app
from cli.commands.keys import Sort
from cli.output.safe import from_spreadsheet, visible
from tracer.registry.quoting import quote_name
from tracer.registry.user_keys import as_current_user
from tracer.registry.values import decode_value

ROOT = Path(__file__).resolve().parents[1]
_KEY = SHOWN_COLUMNS.index("display_key") + 1
COLUMNS = [*SHOWN_COLUMNS[:_KEY], "key_user", *SHOWN_COLUMNS[_KEY:]]
RUN = r"HKLM\SOFTWARE\Vendor\Run"


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("cli") / "small.regtrace")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("cli") / "whole.regtrace", complete=True)


def invoke(*arguments: object, **environment: str):
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace", env=environment)


def on_a_terminal(*arguments: object, columns: int = 80, **environment: str) -> str:
    """Run the command with a terminal as standard output and standard error; return what it shows."""
    pty = pytest.importorskip("pty", reason="terminals as POSIX has them")
    ours, theirs = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {
        "TERM": "xterm",
        "COLUMNS": str(columns),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "cli.app", *map(str, arguments)],
        cwd=ROOT, env=clean | environment, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            block = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            break
        if not block:
            break
        shown += block
    child.wait(timeout=60)
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def as_on_a_terminal(*arguments: object, columns: int = 80, **environment: str) -> str:
    """Do the same inside this process, which is quicker: both streams say that they are terminals."""
    settings = {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": None} | environment
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing._NamedTextIOWrapper, "isatty", lambda self: True)
        return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace", env=settings).output


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_jsonl_carries_every_column_of_every_event_in_order(capture):
    shown = invoke("timeline", capture, "-f", "jsonl")
    assert shown.exit_code == 0
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    expected = joined_rows()
    assert [row["sequence"] for row in rows] == list(range(len(expected)))
    assert all(list(row) == COLUMNS for row in rows)
    for name in ("key", "value_name", "process", "pid", "time_ns", "status", "command_line"):
        assert [row[name] for row in rows] == [row[name] for row in expected]
    assert [row["data"] for row in rows] == [
        None if row["data"] is None else row["data"].hex() for row in expected
    ]


def test_csv_carries_the_same(capture):
    shown = invoke("timeline", capture, "-f", "csv")
    rows = list(csv.DictReader(io.StringIO(shown.stdout_bytes.decode(), newline="")))
    expected = joined_rows()
    assert list(rows[0]) == [name for name in COLUMNS if name not in ("data", "previous_data")]
    assert [from_spreadsheet(row["data_text"]) for row in rows] == [
        ""
        if row["data"] is None and row["data_size"] is None
        else decode_value(row["data_type"], row["data"], row["data_size"])
        for row in expected
    ]
    raw = invoke("timeline", capture, "-f", "csv", "--raw")
    rows = list(csv.DictReader(io.StringIO(raw.stdout_bytes.decode(), newline="")))
    assert list(rows[0]) == COLUMNS
    assert [row["data"] for row in rows] == [(row["data"] or b"").hex() for row in expected]
    for name in ("key", "value_name", "process", "command_line"):
        assert [from_spreadsheet(row[name]) for row in rows] == [row[name] or "" for row in expected]
    for name in ("sequence", "time_ns", "pid", "status"):
        assert [row[name] for row in rows] == [
            "" if row[name] is None else str(row[name]) for row in expected
        ]


def test_parquet_carries_the_same_with_exact_types(capture, tmp_path):
    target = tmp_path / "all.parquet"
    shown = invoke("timeline", capture, "-o", target)
    assert shown.exit_code == 0
    assert f"wrote {len(joined_rows())} events" in shown.stderr
    table = pq.read_table(target)
    assert table.schema.names == COLUMNS
    assert str(table.schema.field("time").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("status").type) == "uint32"
    assert str(table.schema.field("data").type) == "binary"
    expected = joined_rows()
    for name in ("time_ns", "key", "value_name", "data", "status"):
        assert table.column(name).to_pylist() == [row[name] for row in expected]


def test_a_table_in_a_pipe_shortens_nothing_and_holds_nothing_that_acts(capture):
    shown = invoke("timeline", capture).stdout
    keys = [as_current_user(row["display_key"], "HKCU") for row in joined_rows() if row["display_key"]]
    assert all(visible(key) in shown for key in keys)
    unsafe = [
        c
        for c in shown
        if c not in "\t\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    ]
    assert unsafe == []
    assert "…" not in shown
    assert len(shown.splitlines()) == len(joined_rows()) + 1


def test_a_program_reads_the_cells_of_a_table_in_a_pipe(capture):
    heading, *lines = invoke("timeline", capture).stdout.splitlines()
    titles = heading.split("\t")
    cells = [dict(zip(titles, line.split("\t"), strict=True)) for line in lines]
    keys = [as_current_user(row["display_key"] or row["key"] or "", "HKCU") for row in joined_rows()]
    assert [cell["key"] for cell in cells] == [visible(quote_name(key)) if key else "" for key in keys]
    assert [cell["operation"] for cell in cells] == [row["operation"] for row in joined_rows()]
    aligned = invoke("timeline", capture, "--wide").stdout.splitlines()
    assert not any("\t" in line for line in aligned)
    assert len({line.index("operation") for line in aligned[:1]}) == 1
    assert [line.split() for line in aligned] == [
        line.replace("\t", " ").split() for line in [heading, *lines]
    ]


def test_headings_stand_once_in_a_pipe_however_long_the_table_is(capture, monkeypatch):
    whole = invoke("timeline", capture).stdout
    monkeypatch.setattr("cli.output.destination._TABLE_ROWS", 7)
    assert invoke("timeline", capture).stdout == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("show", "columns"), [(on_a_terminal, 80), (as_on_a_terminal, 80), (as_on_a_terminal, 140)]
)
def test_a_table_on_a_terminal_fits_it(capture, show, columns):
    shown = show("timeline", capture, "-q", columns=columns)
    assert "\x1b[1m" in shown
    lines = plain(shown).splitlines()
    assert len(lines) > len(joined_rows())
    for line in lines:
        assert "\x1b" not in line
        assert sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line) <= columns


def test_wide_shortens_nothing_on_a_terminal(capture):
    shown = plain(as_on_a_terminal("timeline", capture, "--wide", "-q"))
    keys = [as_current_user(row["display_key"], "HKCU") for row in joined_rows() if row["display_key"]]
    assert all(visible(key) in shown for key in keys)


def test_no_color_is_honoured(capture):
    assert "\x1b" not in as_on_a_terminal("timeline", capture, "-q", NO_COLOR="1")
    assert "\x1b" not in as_on_a_terminal("keys", capture, "-q", NO_COLOR="1")


@pytest.mark.slow
def test_hints_are_for_terminals_and_not_for_the_quiet(capture):
    assert "next: regtrace timeline" in plain(as_on_a_terminal("keys", capture, "--limit", "2"))
    assert "next:" not in as_on_a_terminal("keys", capture, "--limit", "2", "--quiet")
    assert "next:" not in invoke("keys", capture).stderr


def test_one_key_in_any_spelling_gives_its_events_only(capture):
    expected = [row["sequence"] for row in joined_rows() if row["display_key"] == RUN]
    assert expected
    for spelling in (
        RUN,
        r"hkey_local_machine\software\vendor\run",
        r"\registry\machine\SOFTWARE\Vendor\Run",
    ):
        shown = invoke("timeline", capture, "--key", spelling, "-f", "jsonl")
        assert [json.loads(line)["sequence"] for line in shown.stdout.splitlines()] == expected


def test_options_narrow(capture):
    shown = invoke("timeline", capture, "--operation", "set", "--status", "error", "-f", "jsonl")
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert {(row["operation"], row["status_name"]) for row in rows} == {("SetValueKey", "ACCESS_DENIED")}
    limited = invoke("timeline", capture, "--from", "+10s", "--to", "+20s", "--limit", "3", "-f", "jsonl")
    assert [json.loads(line)["sequence"] for line in limited.stdout.splitlines()] == [10, 11, 12]


def test_times_are_shown_in_the_zone_asked_for(capture):
    utc = invoke("timeline", capture, "--limit", "1", "-f", "jsonl").stdout
    berlin = invoke("timeline", capture, "--limit", "1", "-f", "jsonl", "--tz", "Europe/Berlin").stdout
    assert json.loads(utc)["time"] == "2024-05-01T10:00:00.000000Z"
    assert json.loads(berlin)["time"] == "2024-05-01T12:00:00.000000+02:00"
    assert json.loads(berlin)["time_ns"] == json.loads(utc)["time_ns"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key", r"HKLM\SOFTWARE\Vndor\Run"], r"did you mean HKLM\\SOFTWARE\\Vendor"),
        (["--key", r"HKXX\Software"], "not a registry path"),
        (["--tz", "Berln"], "did you mean Europe/Berlin"),
        (["--from", "yesterday"], "not a time"),
        (["--operation", "frobnicate"], "not an operation"),
        (["--status", "sad"], "not a status"),
        (["--where", "nothing = 1"], "nothing"),
        (["--where", "pid = 1; DROP TABLE keys"], "condition"),
        (["-o", "rows.docx"], "unknown format of"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(capture, arguments, words):
    shown = invoke("timeline", capture, *arguments)
    assert shown.exit_code == 2
    assert shown.stdout == ""
    assert re.search(words, shown.stderr)
    assert "Traceback" not in shown.stderr


def test_a_pattern_that_matches_nothing_is_an_empty_answer(capture):
    shown = invoke("timeline", capture, "--key", r"HKLM\Nothing*", "-f", "csv")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        ",".join(name for name in COLUMNS if name not in ("data", "previous_data"))
    ]


def test_an_existing_file_is_kept_without_force(capture, tmp_path):
    target = tmp_path / "rows.csv"
    target.write_text("precious")
    shown = invoke("timeline", capture, "-o", target)
    assert shown.exit_code == 1
    assert "--force" in shown.stderr
    assert target.read_text() == "precious"
    assert invoke("timeline", capture, "-o", target, "--force").exit_code == 0
    assert target.read_text().startswith("sequence,")


def test_a_failing_question_leaves_no_file(capture, tmp_path):
    target = tmp_path / "rows.csv"
    assert (
        invoke("timeline", capture, "--where", "CAST(operation AS INTEGER) = 1", "-o", target).exit_code != 0
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["timeline", "keys", "info"])
def test_an_incomplete_capture_warns_and_fails_only_when_asked(capture, whole, verb):
    assert "incomplete" in invoke(verb, capture, "--quiet").stderr
    assert invoke(verb, capture).exit_code == 0
    assert invoke(verb, capture, "--fail-on-loss").exit_code == 4
    if verb != "info":
        assert "incomplete" not in invoke(verb, whole).stderr
        assert invoke(verb, whole, "--fail-on-loss").exit_code == 0


@pytest.mark.parametrize("verb", ["timeline", "keys", "info"])
def test_what_is_no_capture_is_one_sentence(verb, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    for path in (tmp_path, text, tmp_path / "absent"):
        shown = invoke(verb, path)
        assert shown.exit_code == 1
        assert shown.stdout == ""
        assert shown.stderr.startswith("regtrace: ")
        assert shown.stderr.count("\n") == 1


def test_a_missing_part_is_one_sentence(tmp_path):
    broken = write_capture(tmp_path / "broken.regtrace")
    next((broken / "events").iterdir()).unlink()
    shown = invoke("timeline", broken)
    assert shown.exit_code == 1
    assert "missing" in shown.stderr


@pytest.mark.slow
def test_keys_are_summarised_in_the_order_asked_for(capture):
    shown = invoke("keys", capture, "--sort", "failures", "-f", "jsonl")
    failures = [json.loads(line)["failures"] for line in shown.stdout.splitlines()]
    assert failures == sorted(failures, reverse=True)
    assert failures[0] > 0
    below = invoke("keys", capture, "--under", r"HKLM\SOFTWARE\Vendor", "-f", "jsonl").stdout.splitlines()
    assert {json.loads(line)["display_key"] for line in below} == {r"HKLM\SOFTWARE\Vendor", RUN}


def test_the_orders_of_keys_are_those_of_the_analysis():
    assert {sort.value for sort in Sort} == set(KEY_SORTS)


def test_the_table_of_keys_fits_a_terminal_and_ends_with_the_key(capture):
    lines = plain(as_on_a_terminal("keys", capture, "-q", columns=80)).splitlines()
    heading = next(line for line in lines if line.startswith("events"))
    assert heading.endswith("key")
    assert max(map(len, lines)) <= 80


def test_info_of_a_capture_tells_names_losses_and_oddities(capture):
    shown = invoke("info", capture)
    for words in ("complete", "names: ", "losses", "sha256"):
        assert words in shown.stdout
    assert set(json.loads(invoke("info", capture, "--json").stdout)) >= {
        "totals",
        "losses",
        "diagnostics",
        "sources",
    }


def test_info_shows_hostile_facts_harmlessly(tmp_path):
    odd = write_capture(tmp_path / "odd.regtrace")
    manifest = json.loads((odd / "capture.json").read_text())
    manifest["sources"][0]["name"] = "x\x1b[2J.etl"
    (odd / "capture.json").write_text(json.dumps(manifest))
    for arguments in (["info"], ["info", "--json"]):
        assert "\x1b" not in invoke(*arguments, odd).stdout


def test_hostile_names_reach_a_csv_file_exactly(capture, tmp_path):
    target = tmp_path / "rows.csv"
    invoke("timeline", capture, "-o", target)
    with target.open(encoding="utf-8", newline="") as file:
        names = {from_spreadsheet(row["display_key"]).rpartition("\\")[2] for row in csv.DictReader(file)}
    assert set(HOSTILE) <= names


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pipes as POSIX has them")
def test_head_ends_a_timeline_quietly(capture):
    done = subprocess.run(
        f"'{sys.executable}' -m cli.app timeline '{capture}' -f jsonl | head -n 1", shell=True, cwd=ROOT,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["sequence"] == 0
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.parametrize(
    ("key", "letters"),
    [
        (r"HKLM\SOFTWARE\Hostile\100%_[a]*?{x}", r"HKLM\SOFTWARE\Hostile\100%_[a][*][?]{x}"),
        (r"hklm\software\hostile\100%_[a]*[?]{x}", r"hklm\software\hostile\100%_[a][*][?]{x}"),
        (r"HKLM\SOFTWARE\Vendor*", None),
        (r"HKLM\**\Run", None),
    ],
)
def test_a_key_that_is_named_as_a_pattern_is_written_is_said(whole, key, letters):
    said = invoke("timeline", whole, "--key", key).stderr
    assert ("has exactly this name" in said) == (letters is not None)
    if letters:
        assert f"'{letters}'" in said
        alone = invoke("timeline", whole, "--key", letters, "-f", "jsonl")
        assert alone.stderr == ""
        assert {json.loads(line)["key"] for line in alone.stdout.splitlines()} <= {
            r"\REGISTRY\MACHINE\SOFTWARE\Hostile\100%_[a]*?{x}"
        }
