"""The verb `slow`: its page at several widths, every format, and how it fails."""

import csv
import json
from pathlib import Path

import pytest
from hand_capture import MISSING, event, write_events
from test_cli_verbs import as_on_a_terminal, invoke

from analysis.open import open_capture
from analysis.questions.slow import SLOW
from cli.exits import Exit
from cli.tables.slow import slow_lines

V = "HKLM\\SOFTWARE\\Vendor"
LONG = f"{V}\\" + "long" * 40
FORMULA = "=1+1\x1b[2J"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    events = [
        event(
            "QueryValueKey",
            LONG,
            FORMULA,
            information_class=2,
            at_us=100 * n,
            duration_ns=1_500 * (n + 1),
            process="app.exe",
        )
        for n in range(5)
    ]
    events += [
        event("OpenKey", f"{V}\\{n}", status=MISSING, at_us=900 + n, duration_ns=2_000, process="app.exe")
        for n in range(3)
    ]
    events += [event("OpenKey", V, at_us=2000, duration_ns=9_000_000, process="other.exe")]
    return write_events(tmp_path_factory.mktemp("cli") / "a.regtrace", events)


@pytest.mark.slow
def test_every_format_has_every_row(capture: Path, tmp_path: Path) -> None:
    shown = invoke("slow", capture, "--process", "app.exe", "-f", "jsonl")
    assert shown.exit_code == Exit.OK
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert list(rows[0]) == list(SLOW)
    assert invoke("slow", capture, "--process", "app.exe", "-o", tmp_path / "a.csv").exit_code == Exit.OK
    cells = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["section"] for row in cells] == [row["section"] for row in rows]
    assert "'" + FORMULA in {row["value_name"] for row in cells}


@pytest.mark.slow
def test_the_page_reads_like_a_page(capture: Path) -> None:
    lines = invoke("slow", capture, "--process", "app.exe").stdout.splitlines()
    assert lines[:3] == [
        "app.exe in a.regtrace",
        "8 operations in 904 us, from the first to the end of the last",
        "26.5 us of it in the registry (2.9 %)",
    ]
    assert [line for line in lines if line and not line.startswith(" ")][3:] == [
        "28.5 us over all threads, which the shares below are of", "What was done", "Keys", "What need not be",
        "The worst reads of these", "Where most is looked for in vain", "The worst stretches of 1.00 ms",
        "How long operations take",
    ]  # fmt: skip
    cells = [line.split() for line in lines]
    assert ["21.0", "us", "73.6", "%", "4", "repeated"] in [line[:6] for line in cells]
    assert "=1+1\\u{1B}[2J" in " ".join(lines)
    assert any(line[:4] == ["1", "us", "3", "us"] for line in cells)


@pytest.mark.slow
@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_page_fits_a_terminal(capture: Path, width: int) -> None:
    with open_capture(capture) as opened:
        rows = opened.queries.slow().to_arrow()
    lines = [*slow_lines(rows, width, what="x" * 200)]
    assert max(map(len, lines)) <= width
    assert any("longlong" in line for line in lines)


def test_mistakes_and_empty_pages_say_so(capture: Path) -> None:
    assert invoke("slow", capture, "--most", "0").exit_code == Exit.USAGE
    shown = invoke("slow", capture, "--process", "nobody.exe")
    assert "no process in a.regtrace is called nobody.exe" in shown.stderr
    assert "0 operations" in shown.stdout
    assert "0 operations" in as_on_a_terminal("slow", capture, "--operation", "write")


@pytest.mark.slow
def test_a_page_is_shown_as_a_whole(capture: Path) -> None:
    shown = as_on_a_terminal("slow", capture)  # more rows than the head of a table on a terminal
    assert "How long operations take" in shown
    assert "--limit N shows" not in shown
