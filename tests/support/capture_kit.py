"""What the tests of recording share: a trace to play, a system that stands for Windows, and the verbs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tracer.recording.recorder import Service
from tracer.rows.processes import ProcessRecord
from tracer.session import session
from tracer.simulate import simulate
from tracer.simulate.options import SimulationOptions
from tracer.windows import rights
from tracer.windows.handle_table import HandleTable

__all__ = ["RECORDING_VERBS", "Machine", "make_trace", "once_recording", "use_machine"]

RECORDING_VERBS = ("capture", "start", "stop", "status", "cancel", "snapshot", "sessions")


def make_trace(path: Path, **options: Any) -> Path:
    simulate(path, SimulationOptions(**({"events": 3000, "foreign": 0.0} | options)))
    return path


@dataclass
class Machine:
    """The system around the tracing service: no handle table is read and no real process looked at."""

    handles: HandleTable | Exception | None = None
    processes: list[ProcessRecord] = field(default_factory=list)
    calls: int = 0
    before_call: Callable[[str], None] | None = None

    def service(self) -> Service:
        def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                self.calls += 1
                if self.before_call:
                    self.before_call(name)
                return function(*arguments)

            return call

        return Service(
            session=counted("session", session.Session),
            attach=counted("attach", session.Session.attach),
            find=counted("find", session.find_session),
            sessions=counted("sessions", session.list_sessions),
            sees_all=counted("sees_all", rights.sees_all_sessions),
            handles=counted("handles", self._handles),
            processes=counted("processes", lambda: list(self.processes)),
            pids=counted("pids", lambda: [record.pid for record in self.processes]),
        )

    def _handles(self) -> HandleTable:
        if isinstance(self.handles, Exception):
            raise self.handles
        return self.handles or HandleTable([], [], time.time_ns(), 0.01, 0, 0, 0)


def use_machine(monkeypatch: pytest.MonkeyPatch, folder: Path, machine: Machine) -> None:
    """Let the verbs find the machine, and keep what is running in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(folder / "state"))
    monkeypatch.setattr("tracer.recording.recorder.real_service", machine.service)


def once_recording(action: Callable[[], None], stop: threading.Event) -> Callable[[Any], None]:
    """Return a progress callback that acts when the recording runs, and then ends it."""

    def follow(status: Any) -> None:
        if getattr(status, "phase", "") == "recording" and not stop.is_set():
            action()
            stop.set()

    return follow
