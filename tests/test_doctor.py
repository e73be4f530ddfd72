"""The doctor: each thing that can be wrong is found, said in one sentence, and told what to do about."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from tracer.checks import doctor
from tracer.checks.doctor import STATES, Finding, examine, stop_leftovers
from tracer.checks.host_checks import Machine
from tracer.checks.selftest import Report
from tracer.errors import NotElevated, PlatformError, SessionError
from tracer.recording.autologger import BOOT_SESSION, BootStatus
from tracer.recording.session_plan import CaptureOptions
from tracer.recording.state_file import State
from tracer.recording.status import Kind, RecordingStatus
from tracer.session.options import (
    CAPTURE_SESSION,
    PROCESS_SESSION,
    SessionCounters,
    SessionStatus,
)
from tracer.session.owners import own_session_guid
from tracer.windows import rights, system_calls
from tracer.windows.handle_table import HandleTable

GIB = 1 << 30
WATCH_SESSION = "regtrace-watch"  # as versions of before named it
TABLE = HandleTable([1, 2], ["a", "b"], 0, 0.14, 3, 1, 1, privileged=True)
REPORT = Report([], 0, True, 2, True, True, True)


def session(name: str) -> SessionStatus:
    return SessionStatus(name, None, 0x100, 64, SessionCounters(0, 0, 0, 0, 0, 2, 2))


class Healthy(Machine):
    """A machine where all is well; tests change one thing."""

    supported, elevated, version, limit, free, table = True, True, "0.2.0", None, 100 * GIB, TABLE
    bits64, windows_build, numba, sees_all = True, 26100, True, True
    now = RecordingStatus(Kind.NONE, None)
    boot_state = BootStatus(False, None, None, None, ())

    def __init__(self, *names: str, **changes: object) -> None:
        self.running = [session(name) for name in ("EventLog-System", *names)]
        self.stopped: list[str] = []
        for name, value in changes.items():
            assert hasattr(type(self), name)
            setattr(self, name, value)

    def is_supported(self):
        return self.supported

    def system(self):
        return "Windows 11" if self.supported else "Linux 6"

    def build(self):
        return self.windows_build

    def is_elevated(self):
        return self.elevated

    def is_64_bit(self):
        return self.bits64

    def pywintrace_version(self):
        return self.version

    def sessions(self):
        return list(self.running)

    def session_limit(self):
        return self.limit

    def stop(self, name):
        self.stopped.append(name)

    def recording(self):
        return self.now

    def sees_all_sessions(self):
        return self.sees_all

    def forget_recording(self):
        self.stopped.append("state")

    def free_bytes(self, folder):
        return self.free

    def handle_table(self):
        if isinstance(self.table, Exception):
            raise self.table
        return self.table

    def boot(self):
        return self.boot_state

    def has_numba(self):
        return self.numba


def states(machine: Machine, report: Report | None = REPORT) -> dict[str, str]:
    return {finding.name: finding.state for finding in examine(machine, Path(), report)}


def state(**changes: object) -> State:
    """What is known of a recording whose process is gone."""
    facts = {"detached": False, "pid": 2**22 + 1, "target": Path("none/a.regtrace"), "started_ns": 0}
    return State(options=CaptureOptions(), **(facts | changes))


def invoke(*arguments: object):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)], prog_name="regtrace")


def test_a_healthy_machine_has_no_trouble():
    assert set(states(Healthy()).values()) == {"ok"}


@pytest.mark.parametrize(
    ("changes", "name", "expected", "word"),
    [
        ({"elevated": False}, "rights", "fail", "not elevated"),
        ({"now": RecordingStatus(Kind.RUNNING, state(detached=True))}, "recording", "ok", "is running"),
        ({"now": RecordingStatus(Kind.RUNNING, state())}, "recording", "warn", "left running by a process that is gone"),
        ({"now": RecordingStatus(Kind.OWNED, state())}, "recording", "ok", "process 4194305 records"),
        ({"now": RecordingStatus(Kind.ENDED, state())}, "recording", "warn", "left no trace"),
        ({"now": RecordingStatus(Kind.NONE, None, (), session(CAPTURE_SESSION))}, "recording", "warn", "its owner is unknown"),
        ({"elevated": None}, "rights", "unknown", "it is unknown whether"),
        ({"version": None}, "pywintrace", "fail", "not installed"),
        ({"limit": 2}, "sessions", "fail", "1 of 2"),
        ({"limit": 4}, "sessions", "warn", "1 of 4"),
        ({"windows_build": 7601}, "system", "warn", "7601"),
        ({"bits64": False}, "system", "fail", "32-bit"),
        ({"free": 100 << 20}, "disk", "fail", "GiB free"),
        ({"free": GIB}, "disk", "warn", "1.0 GiB free"),
        ({"table": HandleTable([], [], 0, 0.1, 9, 0, 0, hidden=9)}, "handle table", "warn", "hides the addresses of 9"),
        ({"table": HandleTable([1], ["a"], 0, 0.1, 9, 7, 3)}, "handle table", "warn", "7 processes refused"),
        ({"table": PlatformError("refused (0xC0000022)")}, "handle table", "unknown", "0xC0000022"),
        ({"table": OSError(5, "odd")}, "handle table", "unknown", "odd"),
        ({"boot_state": BootStatus(True, 161, {}, None, ())}, "boot trace", "warn", "161"),
        ({"boot_state": BootStatus(True, 0, {}, session(BOOT_SESSION), ())}, "boot trace", "warn", "still running"),
        ({"boot_state": BootStatus(True, 0, {}, None, ())}, "boot trace", "ok", "every boot"),
    ],
)  # fmt: skip
def test_one_thing_that_is_wrong_is_one_finding(changes, name, expected, word):
    found = examine(Healthy(**changes), Path(), REPORT)
    troubled = [finding for finding in found if finding.state != "ok" or finding.name == name]
    assert [(finding.name, finding.state) for finding in troubled] == [(name, expected)]
    assert word in troubled[0].sentence
    assert "\n" not in troubled[0].sentence
    assert expected != "fail" or troubled[0].advice


def test_sessions_that_a_crash_left_behind_are_found_and_others_are_not():
    found = {
        f.name: f for f in examine(Healthy(CAPTURE_SESSION, WATCH_SESSION, BOOT_SESSION), Path(), REPORT)
    }
    assert found["leftovers"].state == "warn"
    assert CAPTURE_SESSION not in found["leftovers"].sentence  # perhaps of another user
    assert WATCH_SESSION in found["leftovers"].sentence
    assert BOOT_SESSION not in found["leftovers"].sentence
    assert "EventLog" not in found["leftovers"].sentence
    assert "--fix" in found["leftovers"].advice


@pytest.mark.parametrize("kind", [Kind.NONE, Kind.OWNED, Kind.RUNNING])
def test_the_sessions_of_a_recording_are_no_leftovers(kind):
    # Of another user, of a process, or what `regtrace stop` can still make a capture of
    both = (session(CAPTURE_SESSION), session(PROCESS_SESSION))
    now = RecordingStatus(kind, None if kind is Kind.NONE else state(), () if kind is Kind.NONE else both)
    machine = Healthy(CAPTURE_SESSION, PROCESS_SESSION, now=now)
    assert states(machine)["leftovers"] == "ok"
    assert stop_leftovers(machine) == []
    assert machine.stopped == []


def test_what_is_left_of_a_recording_that_ended_is_stopped_and_forgotten():
    now = RecordingStatus(Kind.ENDED, state(), (session(PROCESS_SESSION),))
    machine = Healthy(PROCESS_SESSION, now=now)
    assert states(machine)["leftovers"] == "warn"
    assert stop_leftovers(machine) == [PROCESS_SESSION]
    assert machine.stopped == [PROCESS_SESSION, "state"]


def test_a_recording_that_left_a_trace_is_not_forgotten(tmp_path):
    (tmp_path / "a.etl").write_bytes(b"trace")
    machine = Healthy(now=RecordingStatus(Kind.ENDED, state(target=tmp_path / "a.regtrace")))
    (finding,) = [f for f in examine(machine, Path(), REPORT) if f.name == "recording"]
    assert (finding.state, "`regtrace stop`" in finding.advice) == ("warn", True)
    stop_leftovers(machine)
    assert machine.stopped == []


def test_a_session_of_a_process_that_runs_is_no_leftover():
    machine = Healthy(WATCH_SESSION)
    machine.running[-1] = replace(machine.running[-1], guid=str(own_session_guid()))
    assert stop_leftovers(machine) == []


def test_what_this_user_cannot_see_is_unknown_and_no_good_news():
    shown = states(Healthy(sees_all=False))
    assert (shown["sessions"], shown["leftovers"]) == ("unknown", "unknown")
    assert states(Healthy(sees_all=None))["leftovers"] == "unknown"
    assert states(Healthy(WATCH_SESSION, sees_all=False))["leftovers"] == "warn"


def test_a_recording_that_cannot_be_seen_is_unknown():
    machine = Healthy()

    def refuse():
        raise NotElevated("whether the recording runs cannot be seen")

    machine.recording = refuse
    assert states(machine)["recording"] == "unknown"


def test_fixing_stops_leftovers_and_nothing_else():
    machine = Healthy(WATCH_SESSION, CAPTURE_SESSION, BOOT_SESSION, "other")
    assert stop_leftovers(machine) == [WATCH_SESSION]
    assert machine.stopped == [WATCH_SESSION]


def test_sessions_that_cannot_be_listed_are_unknown_and_the_rest_is_checked():
    machine = Healthy()

    def refuses():
        raise NotElevated("listing sessions is refused")

    machine.sessions = refuses
    found = states(machine)
    assert (found["sessions"], found["leftovers"]) == ("unknown", "unknown")
    assert found["disk"] == "ok"


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (None, {"value data": "unknown"}),
        (REPORT, {"value data": "ok", "self-test": "ok"}),
        (
            Report([], 0, True, 2, True, False, False, ["no data"]),
            {"value data": "warn", "self-test": "warn"},
        ),
        (
            Report([], 0, True, 2, True, True, False, ["no previous"]),
            {"value data": "warn", "self-test": "warn"},
        ),
        (Report([], 0, True, 2, None, None, None, ["nothing"]), {"value data": "fail"}),
        (NotElevated("access is denied"), {"self-test": "fail"}),
    ],
)
def test_whether_values_arrive_is_known_from_the_self_test_only(report, expected):
    found = states(Healthy(), report)
    assert {name: state for name, state in found.items() if name in ("value data", "self-test")} == expected


def test_elsewhere_only_what_makes_sense_is_checked():
    found = states(Healthy(supported=False), None)
    assert found == {"system": "warn", "disk": "ok", "compiled loops": "ok"}


def test_without_numba_nothing_is_wrong():
    assert states(Healthy(numba=False))["compiled loops"] == "ok"


def test_the_command_prints_findings_and_returns_3_for_trouble(monkeypatch):
    monkeypatch.setattr(doctor, "Machine", lambda: Healthy(elevated=False))
    shown = invoke()
    assert shown.exit_code == 3
    assert "fail     rights: this process is not elevated" in shown.stdout
    assert "Run as administrator" in shown.stdout


def test_the_command_returns_0_where_all_is_well_unknowns_included(monkeypatch):
    monkeypatch.setattr(doctor, "Machine", Healthy)
    shown = invoke()
    assert shown.exit_code == 0
    assert "unknown  value data" in shown.stdout


def test_json_has_every_finding_with_every_field(monkeypatch):
    monkeypatch.setattr(doctor, "Machine", Healthy)
    found = json.loads(invoke("--json").stdout)
    assert [finding["name"] for finding in found] == [f.name for f in examine(Healthy(), Path())]
    assert all(set(finding) == {"name", "state", "sentence", "advice"} for finding in found)
    assert all(finding["state"] in STATES for finding in found)


def test_a_folder_that_is_none_is_a_usage_error(tmp_path):
    shown = invoke(tmp_path / "none")
    assert shown.exit_code == 2
    assert "no folder" in shown.stderr


def test_fix_says_what_it_stopped_and_then_looks_again(monkeypatch):
    machine = Healthy(WATCH_SESSION)
    machine.stop = lambda name: machine.running.pop()
    monkeypatch.setattr(doctor, "Machine", lambda: machine)
    shown = invoke("--fix")
    assert shown.exit_code == 0
    assert WATCH_SESSION in shown.stderr
    assert "ok       leftovers" in shown.stdout
    assert "no session to stop" in invoke("--fix").stderr


def test_a_session_that_cannot_be_stopped_is_one_sentence(monkeypatch):
    machine = Healthy(WATCH_SESSION)

    def refuses(name):
        raise SessionError(f"cannot stop session '{name}'")

    machine.stop = refuses
    monkeypatch.setattr(doctor, "Machine", lambda: machine)
    shown = invoke("--fix")
    assert shown.exit_code == 1
    assert "cannot stop" in shown.stderr


def test_names_of_sessions_cannot_write_to_the_terminal(monkeypatch):
    monkeypatch.setattr(doctor, "Machine", lambda: Healthy("regtrace-\x1b[2J"))
    assert "\x1b" not in invoke().output


@pytest.mark.skipif(sys.platform == "win32", reason="this is Windows")
def test_this_machine_is_told_that_capture_needs_windows():
    shown = invoke()
    assert shown.exit_code == 3
    assert "capturing needs Windows" in shown.stdout
    assert invoke("--fix").exit_code == 5
    assert "needs Windows" in invoke("--selftest").stdout


@pytest.mark.skipif(sys.platform != "win32", reason="asks Windows")
def test_this_machine_answers_every_question():
    machine = Machine()
    assert machine.is_supported()
    assert machine.build() > 6000
    assert machine.is_elevated() in (True, False)
    assert machine.pywintrace_version() is not None
    assert machine.session_limit() is None or machine.session_limit() >= 32
    assert machine.free_bytes(Path()) > 0
    assert machine.boot().running is None
    assert machine.sees_all_sessions() in (True, False)
    assert rights._is_performance_log_user() in (True, False)
    with system_calls.privilege(system_calls.PROFILE) as is_on:
        assert is_on in (True, False)


def test_a_finding_knows_whether_it_is_trouble():
    assert [state for state in STATES if Finding("x", state, "y").is_problem] == ["warn", "fail"]
