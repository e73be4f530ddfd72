"""The verb `export`: files, standard output, its summary, and how it fails."""

import json
from pathlib import Path

import pytest
from export_rows import rows_of, write_export_capture
from test_cli_verbs import as_on_a_terminal, invoke

from analysis.export.formats import FORMATS
from cli.exits import Exit


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export_capture(tmp_path_factory.mktemp("cli") / "host.regtrace")


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_is_written_and_summed_up(capture: Path, tmp_path: Path, to: str) -> None:
    path = tmp_path / "a.jsonl"
    ran = invoke("export", capture, "--to", to, "--operation", "write", "-o", path)
    assert ran.exit_code == Exit.OK
    assert ran.stdout == ""
    rows = len(rows_of(capture, operation="write"))
    assert f"wrote {rows} events to {path}, " in ran.stderr
    assert "cells cut, " in ran.stderr
    assert path.stat().st_size > 0


def test_standard_output_has_what_the_file_has(capture: Path, tmp_path: Path) -> None:
    invoke("export", capture, "--to", "ecs", "-o", tmp_path / "a.json", "--limit", "5")
    ran = invoke("export", capture, "--to", "ecs", "-o", "-", "--limit", "5")
    assert ran.exit_code == Exit.OK
    assert ran.stdout == (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "wrote 5 events, 5 records of what is missing" in ran.stderr


def test_times_end_with_until_because_to_is_the_format(capture: Path) -> None:
    ran = invoke(
        "export", capture, "--to", "splunk", "-o", "-", "--from", "+0.00002s", "--until", "+0.00004s"
    )
    events = [json.loads(line) for line in ran.stdout.splitlines() if "regtrace:event" in line]
    assert [one["event"]["sequence"] for one in events] == list(range(20, 41))


def test_a_lossy_capture_can_fail(capture: Path, tmp_path: Path) -> None:
    ran = invoke("export", capture, "--to", "ocsf", "-o", tmp_path / "a.jsonl", "--fail-on-loss")
    assert ran.exit_code == Exit.LOSS
    assert (tmp_path / "a.jsonl").exists()


def test_nothing_is_replaced_unasked_and_a_wrong_ending_is_said_kindly(capture: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("mine")
    ran = invoke("export", capture, "--to", "timesketch", "-o", tmp_path / "a.jsonl")
    assert (ran.exit_code, (tmp_path / "a.jsonl").read_text()) == (Exit.ERROR, "mine")
    assert (
        invoke("export", capture, "--to", "timesketch", "-o", tmp_path / "a.jsonl", "--force").exit_code
        == Exit.OK
    )
    ran = invoke("export", capture, "--to", "timesketch", "-o", tmp_path / "a.json")
    assert ran.exit_code == Exit.USAGE
    assert "takes files that end with .csv or .jsonl only" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_empty_answer_says_which_filter_leaves_nothing(capture: Path) -> None:
    ran = invoke("export", capture, "--to", "l2tcsv", "-o", "-", "--value", "nothing of this name")
    assert ran.exit_code == Exit.OK
    assert "wrote 0 events" in ran.stderr
    assert "no event fits the value nothing of this name" in ran.stderr


def test_a_terminal_of_80_columns_shows_words_only(capture: Path, tmp_path: Path) -> None:
    shown = as_on_a_terminal("export", capture, "--to", "ecs", "-o", tmp_path / "a.json")
    assert "\x1b[2J" not in shown
    assert "wrote " in shown
    assert "losses touch the time asked about" in shown
