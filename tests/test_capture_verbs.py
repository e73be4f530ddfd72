"""The verbs that record: capture, start, stop, status, cancel, snapshot, sessions."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from capture_kit import RECORDING_VERBS, Machine, make_trace, use_machine
from etw_double import EtwService, etw_service
from typer.testing import CliRunner

from cli.app import VERBS, app
from cli.recording import messages
from cli.recording.interrupts import StopEvent
from cli.recording.options import default_target, read_size
from tracer.errors import UsageError
from tracer.recording.recorder import RecorderStatus
from tracer.recording.state_file import load
from tracer.session import session
from tracer.store.manifest import Manifest
from tracer.windows.handle_table import HandleTable

__all__ = ["etw_service"]

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    found = Machine()
    use_machine(monkeypatch, tmp_path, found)
    monkeypatch.chdir(tmp_path)
    return found


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "sim.etl", events=3000)


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="regtrace")


def play_when_recording(monkeypatch: pytest.MonkeyPatch, action) -> None:
    """Do something once, when the status line hears that the recording runs."""
    real, done = messages.RecordingLine.__call__, []

    def hear(self, status):
        if getattr(status, "phase", "") == "recording" and not done:
            done.append(True)
            action()
        real(self, status)

    monkeypatch.setattr(messages.RecordingLine, "__call__", hear)


@pytest.mark.parametrize("verb", RECORDING_VERBS)
def test_elsewhere_each_says_in_one_sentence_that_it_needs_windows(monkeypatch, verb):
    monkeypatch.setattr("tracer.session.session.is_supported", lambda: False)
    result = run(verb)
    assert result.exit_code == 5
    assert "needs Windows" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize("verb", RECORDING_VERBS)
def test_each_has_help_and_examples(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert VERBS[verb].summary in " ".join(result.stdout.split())


# ---------------------------------------------------------------- capture


def test_capture_around_a_program_tells_its_exit_code(etw_service, machine, tmp_path, trace, monkeypatch):
    play_when_recording(monkeypatch, lambda: etw_service.play(trace))
    result = run(
        "capture",
        "-o",
        "p.regtrace",
        "--",
        sys.executable,
        "-c",
        "import time; time.sleep(0.5); raise SystemExit(7)",
    )
    assert result.exit_code == 0, result.stderr
    assert "ended with exit code 7" in result.stderr
    assert "3,000 events" in result.stderr
    assert "exact" in result.stderr
    assert "losses: none" in result.stderr
    assert Manifest.load(tmp_path / "p.regtrace").settings["recording"]["program"]["exit_code"] == 7
    shown = run("info", "p.regtrace").stdout
    assert "ended with exit code 7" in shown
    assert "0x7 (names, data, previous)" in shown


def test_capture_says_that_the_option_word_is_machine_wide_and_stays(etw_service, machine):
    result = run("capture", "--duration", "0.1s", "-o", "a.regtrace")
    assert "option word 0x7" in result.stderr
    assert "every trace on this machine, and it stays so" in result.stderr
    assert "option word 0x1" in run("capture", "--duration", "0.1s", "-o", "b.regtrace", "--no-data").stderr
    assert etw_service.option_words


def test_capture_names_its_file_by_utc_time_by_default(etw_service, machine, tmp_path):
    assert run("capture", "--duration", "0.1s").exit_code == 0
    (made,) = tmp_path.glob("*.regtrace")
    assert made.match("capture-????????T??????Z.regtrace")
    assert default_target().suffix == ".regtrace"


def test_losses_are_in_the_summary_and_can_set_the_exit_code(etw_service, machine, trace, monkeypatch):
    def action():
        etw_service.play(trace)
        etw_service.lose(events=1200, buffers=1)

    play_when_recording(monkeypatch, action)
    result = run("capture", "--duration", "0.3s", "-o", "a.regtrace", "--fail-on-loss")
    assert result.exit_code == 4
    assert "2,400 events and 2 buffers lost, so the capture is incomplete" in result.stderr


def test_what_the_handle_table_told_is_said(etw_service, machine):
    machine.handles = HandleTable(
        [8, 16], ["\\REGISTRY\\MACHINE", "\\REGISTRY\\USER"], time.time_ns(), 0.1, 5, 1, 3
    )
    words = run("capture", "--duration", "0.1s", "-o", "a.regtrace").stderr
    assert "open keys: 2 named" in words
    assert "3 without a name, 1 process refused" in words


def test_a_refused_handle_table_is_a_warning(etw_service, machine):
    machine.handles = OSError(5, "no handles today")
    result = run("capture", "--duration", "0.1s", "-o", "a.regtrace")
    assert result.exit_code == 0
    assert "no handles today" in result.stderr


def test_without_elevation_capture_is_one_sentence_and_exit_code_5(etw_service, machine):
    etw_service.elevated = False
    result = run("-q", "capture", "-o", "a.regtrace")
    assert result.exit_code == 5
    assert len(result.stderr.splitlines()) == 1
    assert "administrator" in result.stderr.lower()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--operation", "rename"), "does not report RenameKey"),
        (("--operation", "nonsense"), "is not an operation"),
        (("--ring", "big"), "is no size"),
        (("--duration", "soon"), "is no length of time"),
        (("--ring", "1MB", "--max-size", "1MB"), "a ring and a largest size exclude each other"),
        (("--ring-on-disk",), "--ring SIZE"),
        (("--children",), "after --"),
        (("--classic", "--operation", "set"), "filter the capture instead"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_starts(etw_service, machine, arguments, words):
    result = run("capture", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not [call for call in etw_service.calls if call[0] == "StartTraceW"]


def test_a_recording_that_runs_already_is_named(etw_service, machine):
    assert run("start", "-o", "first.regtrace").exit_code == 0
    result = run("-q", "capture", "-o", "second.regtrace")
    assert result.exit_code == 1
    assert "first.regtrace is running already" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "regtrace-capture" in etw_service.sessions
    assert run("cancel").exit_code == 0


def steps_to_ctrl_c(monkeypatch: pytest.MonkeyPatch, machine: Machine, at: int) -> list[str]:
    """Send SIGINT to ourselves at the step numbered `at`, from 1; return the list that steps are added to."""
    steps: list[str] = []

    def step(what: str) -> None:
        steps.append(what)
        if len(steps) == at:
            signal.raise_signal(signal.SIGINT)

    def noting(name: str, method):
        def call(self, *arguments):
            step(f"before {name}")
            answer = method(self, *arguments)
            step(f"after {name}")
            return answer

        return call

    for name in ("start", "enable", "counters", "stop"):
        monkeypatch.setattr(session.Session, name, noting(name, getattr(session.Session, name)))
    monkeypatch.setattr(messages.RecordingLine, "__call__", noting("status", messages.RecordingLine.__call__))
    machine.before_call = step
    return steps


@pytest.mark.parametrize("at", range(1, 51))
def test_one_ctrl_c_at_any_moment_publishes_and_returns_130(etw_service, machine, tmp_path, monkeypatch, at):
    # 26 steps until it records, then a few each second; the last ones stop, save and read
    steps = steps_to_ctrl_c(monkeypatch, machine, at)
    monkeypatch.setattr("tracer.recording.capture._STEP_SECONDS", 0.02)
    limit = ("--duration", "0.1s") if at > 30 else ()
    result = run("capture", "-o", "a.regtrace", *limit)
    if len(steps) < at:
        assert result.exit_code == 0  # it was over before
    else:
        assert result.exit_code == 130, (result.stderr, steps[at - 1])
    assert etw_service.sessions == {}
    said = Manifest.load(tmp_path / "a.regtrace").settings["recording"]
    assert said["ended_by"] in ("stop", "duration")
    assert limit or said["ended_by"] == "stop"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("phase", ["starting", "recording", "saving", "reading"])
def test_ctrl_c_in_every_phase_publishes_and_returns_130(etw_service, machine, tmp_path, monkeypatch, phase):
    real, met = messages.RecordingLine.__call__, []

    def hear(self, status):
        now = getattr(status, "phase", "reading")
        if now == phase and not met:
            met.append(now)
            signal.raise_signal(signal.SIGINT)
        real(self, status)

    monkeypatch.setattr(messages.RecordingLine, "__call__", hear)
    result = run("capture", "--duration", "0.1s", "-o", "a.regtrace")
    assert met == [phase]
    assert result.exit_code == 130
    assert etw_service.sessions == {}
    assert Manifest.load(tmp_path / "a.regtrace")


def test_a_second_ctrl_c_gives_up_and_leaves_no_session(etw_service, machine, tmp_path):
    def interrupt(what):
        if what == "handles":
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    machine.before_call = interrupt
    result = run("capture", "-o", "a.regtrace")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert etw_service.sessions == {}
    assert not (tmp_path / "a.regtrace").exists()


def test_a_second_ctrl_c_while_it_reads_keeps_the_trace_and_says_how_to_go_on(
    etw_service, machine, tmp_path, monkeypatch, trace
):
    real = messages.RecordingLine.__call__

    def hear(self, status):
        real(self, status)
        if getattr(status, "phase", "") == "recording":
            etw_service.play(trace)
            signal.raise_signal(signal.SIGINT)
        elif not hasattr(status, "phase"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(messages.RecordingLine, "__call__", hear)
    result = run("capture", "-o", "a.regtrace")
    assert result.exit_code == 130
    assert "the trace is kept" in result.stderr
    assert (tmp_path / "a.etl").stat().st_size
    assert not (tmp_path / "a.regtrace").exists()
    assert etw_service.sessions == {}


_CHILD = """
import sys, threading
sys.path[:0] = [{root!r}, {tests!r}]
import pytest, etw_double
from pathlib import Path
from capture_kit import Machine, use_machine
patch = pytest.MonkeyPatch()
service = etw_double.install(patch)
use_machine(patch, Path.cwd(), Machine())
import os
leave = os._exit
os._exit = lambda code: (print("left:", sorted(service.sessions), flush=True), leave(code))
from cli.recording import messages
real = messages.RecordingLine.__call__
def hear(self, status):
    real(self, status)
    print(getattr(status, "phase", "reading"), flush=True)
messages.RecordingLine.__call__ = hear
from cli.app import main
main(["capture", "-o", "a.regtrace"])
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="sends itself alarms")
def test_a_signal_that_comes_at_any_moment_of_a_wait_ends_it():
    # threading.Event hangs here within a few thousand rounds: its lock is held by the thread that is interrupted
    previous = signal.getsignal(signal.SIGALRM)
    try:
        for number in range(3000):
            stop = StopEvent()
            signal.signal(signal.SIGALRM, lambda *_, stop=stop: stop.set())
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + (number % 97) * 1e-6)
            while not stop.wait(0.000001):
                pass
            assert stop.is_set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_an_event_that_nobody_sets_is_waited_for_as_long_as_asked():
    stop, began = StopEvent(), time.monotonic()
    assert not stop.wait(0.12)
    assert 0.12 <= time.monotonic() - began < 10
    stop.set()
    assert stop.wait()
    stop.clear()
    assert not stop.is_set()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a POSIX signal")
def test_a_real_signal_ends_it_gracefully(tmp_path):
    code = _CHILD.format(root=str(ROOT), tests=str(ROOT / "tests" / "support"))
    child = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    guard = threading.Timer(60, child.kill)
    guard.start()
    try:
        for line in child.stdout:
            if line == "recording\n":
                child.send_signal(signal.SIGINT)
                break
        rest, words = child.communicate()
    finally:
        guard.cancel()
    assert child.returncode == 130, words
    assert "left: []" in rest
    assert Manifest.load(tmp_path / "a.regtrace").settings["recording"]["ended_by"] == "stop"


# ---------------------------------------------------------------- detached


def test_start_status_stop_make_the_same_capture(etw_service: EtwService, machine, tmp_path, trace):
    result = run("start", "-o", "d.regtrace")
    assert result.exit_code == 0, result.stderr
    etw_service.play(trace)
    etw_service.lose(events=5, name="regtrace-capture")
    shown = run("status")
    assert shown.exit_code == 0, shown.stderr
    assert "5 events" in shown.stdout
    facts = json.loads(run("status", "--json").stdout)
    assert (facts["events_lost"], facts["started_by"]) == (5, "regtrace start")
    result = run("stop")
    assert result.exit_code == 0, result.stderr
    assert "5 events lost" in result.stderr
    manifest = Manifest.load(tmp_path / "d.regtrace")
    assert manifest.totals["events"] == 3000
    assert not manifest.complete
    assert etw_service.sessions == {}
    assert load() is None
    assert {path.name for path in tmp_path.iterdir()} == {"d.regtrace", "state"}


@pytest.mark.parametrize("left", [("d.etl", "d.processes.etl"), ("d.processes.etl",), ()])
def test_a_stop_that_was_killed_after_it_had_published_is_finished_by_the_next(
    etw_service, machine, tmp_path, trace, left
):
    run("start", "-o", "d.regtrace")
    etw_service.play(trace)
    state = {path: path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert run("stop").exit_code == 0
    published = (tmp_path / "d.regtrace" / "capture.json").read_bytes()
    for path, content in state.items():  # what the first one would have removed
        path.write_bytes(content)
    for name in left:
        (tmp_path / name).write_bytes(trace.read_bytes())
    (tmp_path / ".regtrace-0123456789abcdef").mkdir()
    result = run("stop")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "d.regtrace" / "capture.json").read_bytes() == published
    assert load() is None
    assert {path.name for path in tmp_path.iterdir()} == {"d.regtrace", "state"}


def test_a_started_recording_is_not_stopped_when_its_command_ends(etw_service, machine, monkeypatch):
    registered = []
    monkeypatch.setattr("tracer.windows.exit_handlers.atexit.register", registered.append)
    monkeypatch.setattr("tracer.windows.exit_handlers.atexit.unregister", lambda _: registered.clear())
    assert run("start").exit_code == 0
    assert registered == []
    assert run("cancel").exit_code == 0


def test_names_read_at_start_serve_at_the_end(etw_service, machine, tmp_path):
    import pyarrow.parquet as pq

    trace = make_trace(tmp_path / "sim.etl", seed_table=True)
    seed = pq.read_table(tmp_path / "sim.seed.parquet").to_pydict()
    machine.handles = HandleTable([a & 2**64 - 1 for a in seed["address"]], seed["path"], 1, 0.1, 9, 0, 0)
    run("start", "-o", "d.regtrace")
    etw_service.play(trace)
    assert run("stop", "--keep-etl").exit_code == 0
    assert Manifest.load(tmp_path / "d.regtrace").totals["names"]["seed"] > 0
    assert (tmp_path / "d.etl").exists()


def test_what_a_killed_capture_left_running_can_still_be_published(
    etw_service, machine, tmp_path, trace, monkeypatch
):
    run("start", "-o", "d.regtrace")
    etw_service.play(trace)
    gone = 2**22 + 1  # no process has this id
    replace(load(), detached=False, pid=gone).save()
    result = run("capture", "-o", "other.regtrace")
    assert "was left running by a process that is gone" in result.stderr
    assert "regtrace-capture" in etw_service.sessions
    assert run("stop").exit_code == 0
    assert Manifest.load(tmp_path / "d.regtrace").totals["events"] == 3000


def parent() -> dict[str, int]:
    """A process that runs, and is not this one."""
    return {
        "pid": os.getppid(),
        "began_ms": int(psutil.Process(os.getppid()).create_time() * 1000),
    }


def test_a_recording_that_another_process_takes_care_of_is_left_to_it(etw_service, machine):
    run("start", "-o", "d.regtrace")
    replace(load(), detached=False, **parent()).save()
    for verb in ("stop", "cancel"):
        assert f"belongs to process {os.getppid()}" in run(verb).stderr
    assert f"by process {os.getppid()}" in run("capture", "-o", "other.regtrace").stderr
    assert f"process {os.getppid()}" in run("status").stdout
    replace(load(), detached=True).save()
    assert run("cancel").exit_code == 0


def test_cancel_leaves_nothing(etw_service, machine, tmp_path, trace):
    run("start", "-o", "d.regtrace")
    etw_service.play(trace)
    result = run("cancel")
    assert result.exit_code == 0, result.stderr
    assert etw_service.sessions == {}
    assert {path.name for path in tmp_path.iterdir()} == {"state"}
    assert load() is None


@pytest.mark.parametrize("verb", ["stop", "status", "cancel", "snapshot"])
def test_where_nothing_is_recorded_each_says_so(etw_service, machine, verb):
    result = run(verb)
    assert result.exit_code == 1
    assert "nothing is being recorded" in result.stderr


def test_a_recording_whose_session_is_gone_is_published_of_what_it_wrote(
    etw_service, machine, tmp_path, trace
):
    run("start", "-o", "d.regtrace")
    etw_service.play(trace)
    etw_service.stop_externally("regtrace-capture")
    result = run("status")
    assert result.exit_code == 1
    assert "does not run any more" in result.stderr
    assert "`regtrace stop`" in result.stderr
    assert "`regtrace stop`" in run("-q", "capture", "-o", "other.regtrace").stderr
    result = run("stop")
    assert result.exit_code == 0, result.stderr
    assert "somebody else stopped its session" in result.stderr
    assert Manifest.load(tmp_path / "d.regtrace").totals["events"] == 3000
    assert etw_service.sessions == {}
    assert "nothing is being recorded" in run("stop").stderr


def test_a_recording_that_left_nothing_is_no_lock(etw_service, machine, tmp_path):
    run("start", "--ring", "1MB", "-o", "d.regtrace")
    etw_service.stop_externally("regtrace-capture")
    result = run("status")
    assert "it left no trace" in result.stderr
    assert etw_service.sessions == {}
    assert "nothing is being recorded" in run("status").stderr


def test_snapshot_saves_the_ring_and_the_recording_goes_on(etw_service, machine, tmp_path, trace):
    assert run("start", "--ring", "16MB", "-o", "ring.regtrace").exit_code == 0
    etw_service.play(trace)
    for name in ("one", "two"):
        result = run("snapshot", "-o", f"{name}.regtrace")
        assert result.exit_code == 0, result.stderr
        assert Manifest.load(tmp_path / f"{name}.regtrace").totals["events"] == 3000
    assert "in memory" in run("status").stdout
    assert run("stop").exit_code == 0
    assert Manifest.load(tmp_path / "ring.regtrace").totals["events"] == 3000
    assert etw_service.sessions == {}


def test_there_is_no_snapshot_of_a_recording_without_a_ring(etw_service, machine):
    run("start")
    result = run("snapshot")
    assert result.exit_code == 1
    assert "--ring SIZE" in result.stderr
    run("cancel")


# ---------------------------------------------------------------- sessions


def test_sessions_lists_ours_first(etw_service, machine):
    etw_service.start_foreign("AAA")
    run("start")
    lines = run("sessions").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["regtrace-capture", "regtrace-processes", "AAA"]
    assert json.loads(run("sessions", "--json").stdout)[2]["is_ours"] is False
    run("cancel")


def test_only_our_own_sessions_are_stopped_unless_forced(etw_service, machine):
    etw_service.start_foreign("AAA")
    etw_service.start_foreign("regtrace-capture")
    result = run("sessions", "--stop", "AAA")
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert run("sessions", "--stop", "REGTRACE-capture").exit_code == 0
    assert {*etw_service.sessions} == {"aaa"}
    assert run("sessions", "--stop", "AAA", "--force").exit_code == 0
    assert etw_service.sessions == {}
    assert "no session is called" in run("sessions", "--stop", "AAA").stderr


# ---------------------------------------------------------------- words


def test_the_line_shows_losses_first():
    plain, lost = messages.status_text(RecorderStatus("recording", 12.0, 34, 8_500_000, 5, 0))
    assert (plain, lost) == ("recording: 12.0 s, 34 buffers written (8.5 MB)", "LOST 5 events ")
    plain, lost = messages.status_text(RecorderStatus("recording", 12.0))
    assert (plain, lost) == ("recording: 12.0 s, in memory, nothing lost", "")


@pytest.mark.parametrize(
    ("text", "mib"), [("256MB", 256), ("2GB", 2048), ("1 GiB", 1024), ("500", 500), ("1K", 1)]
)
def test_sizes_are_read(text, mib):
    assert read_size(text, "--ring") == mib


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1TB", "1 2MB", "1e3"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="is no size"):
        read_size(text, "--ring")
