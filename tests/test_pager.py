"""Long tables on a terminal: the pager, its absence, its early end; and the line that shows that something is awaited."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_capture import write_capture

from cli.output import waiting as waiting_module
from cli.output.console import console
from cli.output.waiting import Waiting

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
EVENTS = 120


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("pager") / "small.regtrace", events=EVENTS, complete=True)


def start(*arguments: object, pager: str | None, lines: int = 24) -> tuple[subprocess.Popen[bytes], int]:
    """Run a verb on a terminal of its own, and return it with the terminal's other end."""
    ours, theirs = os.openpty()
    environment = dict(os.environ, LINES=str(lines), COLUMNS="100", TERM="xterm", NO_COLOR="1")
    environment.pop("PAGER", None)
    if pager is not None:
        environment["PAGER"] = pager
    command = [sys.executable, "-m", "cli.app", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment, start_new_session=True
    )
    os.close(theirs)
    return process, ours


def all_of(process: subprocess.Popen[bytes], terminal: int) -> list[str]:
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65_536)
        except OSError:  # nobody has the other end any more
            break
        if not shown:
            break
    process.wait(20)
    os.close(terminal)
    return shown.decode().replace("\r\n", "\n").splitlines()


def ask(*arguments: object, pager: str | None, lines: int = 24) -> tuple[int, list[str]]:
    process, terminal = start(*arguments, pager=pager, lines=lines)
    shown = all_of(process, terminal)
    return process.returncode, shown


@pytest.mark.slow
def test_a_long_table_goes_through_the_pager_whole_and_its_count_follows(capture: Path) -> None:
    code, shown = ask("timeline", capture, pager="sed s/^/paged:/")
    assert code == 0
    assert len([line for line in shown if line.startswith("paged:  ")]) >= EVENTS
    assert shown[-1] == f"{EVENTS} events"


@pytest.mark.slow
def test_a_table_that_fits_the_screen_needs_no_pager(capture: Path) -> None:
    code, shown = ask("timeline", capture, "--limit", 3, pager="sed s/^/paged:/")
    assert code == 0
    assert not any(line.startswith("paged:") for line in shown)


@pytest.mark.slow
def test_leaving_the_pager_early_is_no_failure_and_tells_no_number(capture: Path) -> None:
    long = "SELECT range, repeat('x', 80) AS x FROM range(60000)"
    code, shown = ask("sql", capture, long, pager="head -n 4")
    assert code == 0
    assert sum("xxxx" in line for line in shown) == 3
    assert not any(" rows" in line or "Traceback" in line or "Broken" in line for line in shown)


@pytest.mark.slow
@pytest.mark.parametrize("pager", ["no-such-program", "", "cat", "'", None])
def test_without_a_pager_the_first_rows_and_the_number_of_all_are_shown(
    capture: Path, pager: str | None
) -> None:
    options = ["--no-pager"] if pager is None else []
    code, shown = ask("timeline", capture, *options, pager=pager)
    assert code == 0
    assert any(line.startswith(f"20 of {EVENTS} events") for line in shown)
    assert len([line for line in shown if line.startswith("  ")]) <= 22


@pytest.mark.slow
def test_ctrl_c_while_the_pager_is_fed_ends_both(capture: Path) -> None:
    endless = "SELECT range, repeat('x', 200) AS x FROM range(100000000)"
    process, terminal = start(
        "sql", capture, endless, pager="sh -c 'trap \"\" INT; head -n 1; sleep 1; cat >/dev/null'"
    )
    os.read(terminal, 1)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    shown = all_of(process, terminal)
    assert time.monotonic() - began < 10
    assert process.returncode == 130
    assert any("interrupted" in line for line in shown)
    assert not any("Traceback" in line for line in shown)


@pytest.mark.slow
def test_into_a_pipe_a_table_is_whole(capture: Path) -> None:
    command = [sys.executable, "-m", "cli.app", "timeline", str(capture)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    assert len(shown.stdout.splitlines()) == EVENTS + 1
    assert shown.stderr == b""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_short_wait_is_not_shown(monkeypatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    line = Waiting()
    line.begin()
    line.end()
    line.end()
    assert stderr.getvalue() == ""
    assert not [thread for thread in threading.enumerate() if thread.name == "regtrace-waiting"]


def test_a_wait_is_shown_with_its_time_and_wiped_before_words(monkeypatch) -> None:
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(waiting_module, "_AFTER", 0.0)
    line = Waiting(clock=iter(range(0, 10_000, 3)).__next__)
    line.begin()
    until = time.monotonic() + 5
    while "working" not in stderr.getvalue() and time.monotonic() < until:
        time.sleep(0.01)
    console.say("a result")
    line.end()
    shown = stderr.getvalue()
    assert "\r| working, 3 s\x1b[K" in shown
    assert "\r\x1b[Ka result\n" in shown
    assert shown.endswith(("a result\n", "\r\x1b[K"))


@pytest.mark.parametrize("where", ["pipe", "quiet"])
def test_nothing_is_drawn_where_nobody_looks(monkeypatch, where: str) -> None:
    stderr = io.StringIO() if where == "pipe" else Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(console, "quiet", where == "quiet")
    monkeypatch.setattr(waiting_module, "_AFTER", 0.0)
    line = Waiting()
    line.begin()
    time.sleep(0.05)
    line.end()
    assert stderr.getvalue() == ""
