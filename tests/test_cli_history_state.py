"""`regtrace history` and `regtrace state`: what they print, in every format, and how they fail."""

import csv
import io
import json
import os
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import typer.testing
from plain_rows import simulated
from small_capture import write_capture
from typer.testing import CliRunner

from analysis.answers.contents import HISTORY_COLUMNS, STATE_COLUMNS
from analysis.open import open_capture
from cli.app import app
from cli.output.safe import from_spreadsheet
from cli.tables.history import content_cell
from tracer.registry.value_columns import names_with_texts

COLUMNS = {
    verb: tuple(
        one
        for name in names_with_texts(columns)
        for one in ([name, "key_user"] if name == "display_key" else [name])
    )
    for verb, columns in (("history", HISTORY_COLUMNS), ("state", STATE_COLUMNS))
}
ASKED = {"history": ("**",), "state": ("--at", "+3s")}


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"events": 1500, "nul_names": 0.05, "hostile_names": 0.2, "lost_buffers": 0.05}
    return simulated(tmp_path_factory.mktemp("cli"), seed=31, buffer_size=8192, **options)


@pytest.fixture(scope="module")
def answers(capture: Path) -> dict[str, list[dict[str, Any]]]:
    with open_capture(capture) as opened:
        frames = {"history": opened.history("**"), "state": opened.state(at="+3s")}
    return {
        verb: frame.astype(object).where(frame.notna(), None).to_dict("records")
        for verb, frame in frames.items()
    }


def invoke(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments], prog_name="regtrace")


def on_a_terminal(columns: int, *arguments: object) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing._NamedTextIOWrapper, "isatty", lambda self: True)
        patch.delenv("NO_COLOR", raising=False)
        environment = {"TERM": "xterm", "COLUMNS": str(columns), "NO_COLOR": "1"}
        return CliRunner().invoke(app, [str(one) for one in arguments], env=os.environ | environment).output


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["history", "state"])
def test_every_format_carries_the_answer_bytes_as_bytes(capture, answers, verb, tmp_path):
    wanted, asked = answers[verb], ASKED[verb]
    assert len(wanted) > 30
    rows = [json.loads(line) for line in invoke(verb, capture, *asked, "-f", "jsonl").stdout.splitlines()]
    assert all(tuple(row) == COLUMNS[verb] for row in rows)
    shown = invoke(verb, capture, *asked, "-f", "csv").stdout_bytes.decode()
    cells = list(csv.DictReader(io.StringIO(shown, newline="")))
    assert invoke(verb, capture, *asked, "-o", tmp_path / "a.parquet").exit_code == 0
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.names == list(COLUMNS[verb])
    text, data = ("new_text", "new_data") if verb == "history" else ("text", "data")
    assert str(table.schema.field(data).type) == "binary"
    assert len(rows) == len(cells) == table.num_rows == len(wanted)
    for name in ("sequence", "key_id", "value_name", text):
        assert [row[name] for row in rows] == table.column(name).to_pylist() == [row[name] for row in wanted]
        assert [from_spreadsheet(cell[name]) for cell in cells] == [
            "" if row[name] is None else str(row[name]) for row in wanted
        ]
    assert table.column(data).to_pylist() == [row[data] for row in wanted]
    assert [row[data] for row in rows] == [
        row[data] and row[data].hex() if row[data] != b"" else "" for row in wanted
    ]


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("verb", ["history", "state"])
def test_a_table_fits_its_terminal_and_holds_nothing_that_acts(capture, answers, verb, columns):
    shown = on_a_terminal(columns, verb, capture, *ASKED[verb], "-q")
    lines = [line for line in shown.splitlines() if not line.startswith("regtrace:")]
    assert len(lines) >= len(answers[verb])
    wide = {letter for line in lines for letter in line if unicodedata.east_asian_width(letter) in "WF"}
    assert wide or max(map(len, lines)) <= columns
    unsafe = [
        c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    ]
    assert unsafe == []


@pytest.mark.slow
def test_a_table_of_history_says_old_and_new_and_what_is_doubtful(capture, answers):
    rows = answers["history"]
    lines = invoke("history", capture, "**").stdout.splitlines()[1:]
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        cell = content_cell(row["new_type"], row["new_data"], row["new_size"])
        assert cell in line if cell.isprintable() else True
        if row["done"] is False:
            assert row["status_name"] in line
        if row["old_from"] == "absent":
            assert "(none)" in line
    assert any(row["across_loss"] for row in rows)
    shown = on_a_terminal(120, "history", capture, "**")
    assert "x: events may have been lost" in shown


@pytest.mark.slow
def test_a_narrow_table_says_what_failed_and_shows_data_below_only_of_what_was_done(capture, answers):
    failed = on_a_terminal(90, "history", capture, "**", "--status", "error", "-q")
    assert "set: ACC" in failed
    assert re.search(r"^ +[-+] ", failed, re.MULTILINE) is None
    shown = [line.strip() for line in on_a_terminal(90, "history", capture, "**", "-q").splitlines()]
    signs = Counter(line[0] for line in shown if re.match(r"[-+] ", line))
    done = [row for row in answers["history"] if row["done"] is not False]
    assert signs["-"] == sum(row["old_from"] != "absent" for row in done)
    content = ("new_type", "new_data", "new_size")
    written = [row for row in done if row["operation"] == "SetValueKey"]
    assert signs["+"] == sum(any(row[name] is not None for name in content) for row in written) > 20


def test_a_table_of_state_says_what_was_known_before_a_loss(capture, answers):
    lines = invoke("state", capture, "--at", "+3s").stdout.splitlines()[1:]
    for line, row in zip(lines, answers["state"], strict=True):
        is_unknown = row["known"] == "unknown" and row["last_known"] is not None
        word = f"unknown (was: {row['last_known']})" if is_unknown else row["known"]
        assert word in line


@pytest.mark.slow
def test_doubts_are_said_below_the_answer(capture):
    assert "losses touch" in on_a_terminal(400, "history", capture, "**")
    for verb in ("history", "state"):
        assert invoke(verb, capture, *ASKED[verb], "--fail-on-loss").exit_code == 4


def test_a_key_nobody_touched_is_a_mistake_with_a_hint(capture):
    for arguments in (("history", capture, "HKLM\\SOFTWAER"), ("state", capture, "--key", "HKLM\\SOFTWAER")):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "did you mean HKLM\\SOFTWARE" in result.stderr


@pytest.mark.slow
def test_a_time_outside_the_capture_is_said(capture):
    before = invoke("state", capture, "--at", "2001-01-01T00:00:00Z")
    assert before.exit_code == 0
    assert "the interval is outside the capture" in before.stderr
    assert "after the last event" in on_a_terminal(400, "state", capture, "--at", "2100-01-01T00:00:00Z")
    assert "not a time" in invoke("state", capture, "--at", "noon").stderr
    assert (
        "is outside the capture" in invoke("history", capture, "**", "--from", "2100-01-01T00:00:00Z").stderr
    )


@pytest.mark.slow
def test_an_empty_capture_has_an_empty_answer(tmp_path):
    empty = write_capture(tmp_path / "empty.regtrace", events=0)
    for verb in ("history", "state"):
        result = invoke(verb, empty, *ASKED[verb], "-f", "csv")
        assert result.exit_code == 0
        columns = [name for name in COLUMNS[verb] if name.rpartition("_")[2] != "data"]
        assert result.stdout.splitlines() == [",".join(columns)]
        assert "holds no events" in on_a_terminal(80, verb, empty, *ASKED[verb])
