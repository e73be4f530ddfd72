"""A process that Windows ends without Python's own ways: sessions end first, and what was recorded can be published."""

import sys
import threading
from pathlib import Path

import pytest
from capture_kit import Machine, make_trace, use_machine
from etw_double import EtwService, etw_service
from typer.testing import CliRunner

from cli.app import app, main
from cli.recording.interrupts import StopEvent, graceful
from tracer.session.options import LogMode, SessionOptions
from tracer.session.session import Session
from tracer.store.manifest import Manifest
from tracer.windows import exit_handlers
from tracer.windows.exit_handlers import CONSOLE_ENDS, before_console_ends, console_event

__all__ = ["etw_service"]

CLOSE = CONSOLE_ENDS[0]


@pytest.mark.parametrize("event", CONSOLE_ENDS)
def test_a_closed_console_a_logoff_and_a_shutdown_stop_sessions(etw_service: EtwService, event: int) -> None:
    session = Session(SessionOptions("regtrace-watch-1-00000001", LogMode.REAL_TIME))
    session.start()
    assert console_event(event) == 0  # Windows goes on to end the process
    assert etw_service.sessions == {}


def test_an_exit_without_pythons_own_ways_ends_sessions_too(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[object] = []
    monkeypatch.setattr("cli.app.os._exit", lambda code: left.append((code, dict(etw_service.sessions))))
    Session(SessionOptions("regtrace-x", LogMode.REAL_TIME)).start()
    monkeypatch.setattr("cli.app.app", interrupted)
    main([])
    assert left == [(130, {})]


def interrupted(**_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("event", [0, 1])
def test_ctrl_c_and_break_are_left_to_python(etw_service: EtwService, event: int) -> None:
    with Session(SessionOptions("regtrace-x", LogMode.REAL_TIME)):
        assert console_event(event) == 0
        assert etw_service.sessions


def test_a_recording_that_was_left_to_itself_goes_on(etw_service: EtwService) -> None:
    session = Session(SessionOptions("regtrace-x", LogMode.REAL_TIME))
    session.start()
    session.leave()
    console_event(CLOSE)
    assert etw_service.sessions


def test_windows_calls_us_only_as_long_as_there_is_something_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[object] = []

    def add(handle):
        handlers.append(handle)
        return lambda: handlers.remove(handle)

    monkeypatch.setattr(exit_handlers, "add_console_handler", add)
    exit_handlers.remember("a", lambda: None)
    with before_console_ends(lambda: None):
        exit_handlers.forget("a")
        exit_handlers.forget("a")
        assert handlers == [console_event]
    assert handlers == []


def test_what_asks_to_finish_comes_before_what_ends_at_once() -> None:
    order: list[str] = []
    with before_console_ends(lambda: order.append("finish")):
        exit_handlers.remember("a", lambda: order.append("end"))
        console_event(CLOSE)
        exit_handlers.forget("a")
    assert order == ["finish", "end"]


def test_the_handler_waits_for_the_end_of_the_block() -> None:
    stop, order = StopEvent(), []
    with graceful(stop):
        closer = threading.Thread(target=lambda: (console_event(CLOSE), order.append("process ends")))
        closer.start()
        assert stop.wait(10)
        order.append("block ends")
    closer.join(10)
    assert order == ["block ends", "process ends"]


@pytest.mark.parametrize("ring", [False, True])
def test_a_closed_console_ends_a_recording_and_its_capture_is_made(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ring: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    machine = Machine()
    use_machine(monkeypatch, tmp_path, machine)
    trace = make_trace(tmp_path / "sim.etl", events=1000)
    closers: list[threading.Thread] = []

    def close(what: str) -> None:
        if what == "pids" and not closers:  # it records
            etw_service.play(trace)
            closers.append(threading.Thread(target=console_event, args=(CLOSE,)))
            closers[0].start()

    machine.before_call = close
    size = ("--ring", "16MB") if ring else ()
    result = CliRunner().invoke(app, ["capture", "-o", "a.regtrace", *size], prog_name="regtrace")
    closers[0].join(10)
    assert result.exit_code == 130, result.stderr
    assert Manifest.load(tmp_path / "a.regtrace").totals["events"] == 1000
    assert etw_service.sessions == {}


@pytest.mark.skipif(sys.platform != "win32", reason="registers with Windows")
def test_windows_takes_the_handler_and_gives_it_back() -> None:
    undo = exit_handlers.add_console_handler(console_event)
    assert undo()
