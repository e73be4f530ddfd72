"""The verb `errors`: what it prints in every format, and how it fails."""

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hand_capture import MISSING, event, write_events
from small_capture import write_capture
from test_cli_verbs import as_on_a_terminal, invoke

from analysis.engine.fetch import fetch
from analysis.open import open_capture
from cli.tables.errors import error_lines

USER = "HKU\\S-1-5-21-1-2-3-1001\\Software"
EVENTS = [
    event("OpenKey", f"{USER}\\V", status=MISSING),
    event("OpenKey", "HKLM\\SOFTWARE\\V"),
    event("SetValueKey", "HKLM\\SOFTWARE\\V", "=1+1\x1b[2J", status=0xC0000022),
    event("SetValueKey", "HKLM\\SOFTWARE\\V", "", status=0xC0000022),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("cli") / "hand.regtrace", EVENTS)


@pytest.mark.slow
def test_errors_says_the_same_in_every_format(capture: Path, tmp_path: Path) -> None:
    with open_capture(capture) as source:
        frame = source.errors()
    rows = [json.loads(line) for line in invoke("errors", capture, "-f", "jsonl").stdout.splitlines()]
    assert [row["failures"] for row in rows] == list(frame["failures"]) == [1, 1, 1]
    assert [row["chain"] for row in rows] == [None, None, "hkcu-hklm"]
    assert list(rows[0]) == list(frame.columns)
    cells = list(csv.DictReader(io.StringIO(invoke("errors", capture, "-f", "csv").stdout)))
    assert cells[0]["value_name"] == "'=1+1\x1b[2J"
    assert cells[2]["harmless"] == "true"
    assert invoke("errors", capture, "-o", tmp_path / "e.parquet").exit_code == 0
    assert pq.read_table(tmp_path / "e.parquet").column("key_id").to_pylist() == [1, 1, 0]


@pytest.mark.slow
def test_a_search_names_what_it_found_and_can_be_left_out(capture: Path) -> None:
    shown = invoke("errors", capture).stdout.splitlines()
    assert "HKCU\\Software\\V" in shown[-1]
    assert "hkcu-hklm\t-> HKLM\\SOFTWARE\\V" in shown[-1]
    assert "(default)" in shown[-2]
    assert len(invoke("errors", capture, "--no-harmless").stdout.splitlines()) == len(shown) - 1
    assert "--no-harmless" in as_on_a_terminal("errors", capture)


@pytest.mark.slow
def test_the_table_fits_a_terminal(capture: Path, tmp_path: Path) -> None:
    small = write_capture(tmp_path / "small.regtrace")
    for path in (capture, small):
        with open_capture(path) as source:
            rows = fetch(source.lazy.errors())
        for width in (60, 80, 120, 200):
            lines = list(error_lines(rows, width))
            assert len(lines) > rows.num_rows
            assert not any("\x1b" in line or "\u202e" in line for line in lines)
            assert all(len(line) <= width for line in lines if line.isascii())


@pytest.mark.slow
@pytest.mark.parametrize("form", ["table", "csv", "jsonl"])
def test_an_empty_capture_has_no_failures(tmp_path: Path, form: str) -> None:
    shown = invoke("errors", write_events(tmp_path / "none.regtrace", []), "-f", form)
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == (0 if form == "jsonl" else 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key", r"HKLM\SOFTWARE\Vv"], "did you mean HKLM"),
        (["--key", "HKXX"], "not a registry path"),
        (["--key", "HKLM", "--under", "HKLM"], "give one of them"),
        (["--from", "yesterday"], "not a time"),
        (["--status", "oops"], "not a status"),
    ],
)
def test_it_fails_kindly(capture: Path, arguments: list[str], words: str) -> None:
    shown = invoke("errors", capture, *arguments)
    assert shown.exit_code == 2
    assert words in shown.stderr
    outside = invoke("errors", capture, "--to", "2001-01-01")
    assert outside.exit_code == 0
    assert "outside the capture" in outside.stderr
