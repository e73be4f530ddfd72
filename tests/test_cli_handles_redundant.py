"""`regtrace handles` and `regtrace redundant`: what they print, in every format and width, and how they fail."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from plain_rows import simulated
from small_capture import write_capture
from test_cli_hot_tree import invoke, on_a_terminal

from cli.output.amounts import duration_text

VERBS = [["handles"], ["handles", "--by", "key"], ["redundant"]]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(
        tmp_path_factory.mktemp("cli"), seed=3, events=1500, keys=30, lost_buffers=0.1, buffer_size=8192
    )


@pytest.mark.slow
@pytest.mark.parametrize("asked", VERBS[1:])
def test_every_format_carries_the_same_rows(capture, asked, tmp_path):
    verb, *options = asked
    target = tmp_path / "rows.parquet"
    assert invoke(verb, capture, *options, "-o", target).exit_code == 0
    whole = pq.read_table(target)
    rows = [json.loads(line) for line in invoke(verb, capture, *options, "-f", "jsonl").stdout.splitlines()]
    assert [row["first_sequence"] for row in rows] == whole.column("first_sequence").to_pylist()
    assert [row["display_key"] for row in rows] == whole.column("display_key").to_pylist()
    assert list(rows[0]) == whole.schema.names
    assert len(rows) > 20
    assert len(invoke(verb, capture, *options).stdout.splitlines()) in (21, 22, 23)  # with its legend


@pytest.mark.slow
@pytest.mark.parametrize(("columns", "asked"), [(80, VERBS[0]), (80, VERBS[1]), (170, VERBS[2])])
def test_a_table_fits_the_terminal_and_says_what_is_doubtful(capture, columns, asked):
    verb, *options = asked
    lines = on_a_terminal(verb, capture, *options, "-q", columns=columns).splitlines()
    table = [line for line in lines if not line.startswith(("regtrace:", "  ", "x: ", "u: ", "c: "))]
    assert max(map(len, table)) <= columns
    assert any("may have been" in line for line in lines if line.startswith(("x: ", "u: ")))


@pytest.mark.slow
def test_problems_and_polling_narrow(capture):
    whole = invoke("handles", capture, "-f", "jsonl").stdout.splitlines()
    problems = invoke("handles", capture, "--problems", "--late", "1s", "-f", "jsonl").stdout.splitlines()
    assert 0 < len(problems) < len(whole)
    assert "closed" not in {json.loads(line)["verdict"] for line in problems}
    polled = invoke("redundant", capture, "--polling", "-f", "jsonl").stdout.splitlines()
    assert all(json.loads(line)["period_ns"] >= 10**7 for line in polled)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["handles", "redundant"])
def test_failures_are_kind(capture, verb, tmp_path):
    unknown = invoke(verb, capture, "--under", r"HKLM\Nothing")
    assert unknown.exit_code == 2
    assert "nothing in" in unknown.stderr
    outside = invoke(verb, capture, "--from", "2030-01-01", "--fail-on-loss")
    assert outside.exit_code == 4
    assert "outside" in outside.stderr
    shown = on_a_terminal(verb, write_capture(tmp_path / "empty.regtrace", events=0))
    assert "holds no events" in shown
    assert "Traceback" not in shown
    assert invoke("handles", capture, "--late", "soon").exit_code == 2


def test_a_source_without_key_objects_is_said_to_have_none(tmp_path):
    shown = invoke("handles", write_capture(tmp_path / "small.regtrace"))
    assert shown.exit_code == 0
    assert "records no key objects" in shown.stderr


def test_lengths_of_time_are_short():
    texts = [
        duration_text(number) for number in (0, 999, 1000, 1_234_567, 999_949_999, 61 * 10**9, 3_700 * 10**9)
    ]
    assert texts == ["0 ns", "999 ns", "1.00 us", "1.23 ms", "1000 ms", "1m01s", "1h01m"]
