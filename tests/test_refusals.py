"""What Windows refuses is said with its cause and a remedy that can help; what is asked to be left out is left out."""

import os
from pathlib import Path

import pytest
from capture_kit import Machine, make_trace, use_machine
from etw_double import EtwService, etw_service
from etw_double_records import Enabled
from typer.testing import CliRunner

from cli.app import app
from tracer.errors import NotElevated, PlatformError, SessionError, SessionLimit, TargetError
from tracer.live.row_filter import RowFilter
from tracer.live.watch import Watch
from tracer.recording import recorder
from tracer.registry.text import plural
from tracer.session import session
from tracer.session.consumer import Consumer
from tracer.session.options import CLASSIC_FLAGS, LogMode, Provider, SessionOptions
from tracer.session.session import Session
from tracer.store.manifest import Manifest
from tracer.windows.handle_table import HandleTable

__all__ = ["etw_service"]

REAL_SERVICE = recorder.real_service
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
LIVE = SessionOptions("regtrace-x", LogMode.REAL_TIME)
CLASSIC = SessionOptions("regtrace-x", LogMode.REAL_TIME, classic_flags=CLASSIC_FLAGS)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "pause", lambda _: None)
    system = Machine()
    use_machine(monkeypatch, tmp_path, system)
    return system


def run(*arguments: str):
    return CliRunner().invoke(app, [*arguments], prog_name="regtrace")


def test_no_room_has_three_causes_with_a_remedy_each(etw_service: EtwService) -> None:
    sentences = []
    etw_service.limit = 0
    with pytest.raises(SessionLimit) as caught:
        Session(LIVE).start()
    sentences.append(str(caught.value))
    etw_service.limit, etw_service.system_limit = 64, 0
    with pytest.raises(SessionLimit) as caught:
        Session(CLASSIC).start()
    sentences.append(str(caught.value))
    for number in range(8):
        etw_service.start_foreign(f"other {number}").providers[REGISTRY] = Enabled(0xFF, 0, 0)
    with pytest.raises(SessionLimit) as caught, Session(LIVE) as running:
        running.enable(Provider(REGISTRY))
    sentences.append(str(caught.value))
    assert ["eight system loggers" in sentence for sentence in sentences] == [False, True, False]
    assert ["this provider" in sentence for sentence in sentences] == [False, False, True]
    assert "EtwMaxLoggers" in sentences[0]


def test_a_folder_that_may_not_be_written_is_no_reason_to_elevate(
    etw_service: EtwService, machine, tmp_path
) -> None:
    etw_service.forbidden_folders.add(str(tmp_path))
    result = run("-q", "capture", "-o", "a.regtrace")
    assert result.exit_code == 1
    assert f"may not write to the folder {tmp_path}" in result.stderr
    assert "administrator" not in result.stderr


def test_an_elevated_user_is_not_told_to_elevate(etw_service: EtwService) -> None:
    etw_service.fail("StartTraceW", 5)
    with pytest.raises(NotElevated) as caught:
        Session(LIVE).start()
    assert "has administrator rights already" in str(caught.value)
    assert "Run as" not in str(caught.value)
    etw_service.elevated = False
    with pytest.raises(NotElevated, match="Run as administrator"):
        Session(LIVE).start()


def test_a_snapshot_into_a_file_of_another_session_says_so(etw_service: EtwService, tmp_path) -> None:
    etw_service.start_foreign("other", log_file=str(tmp_path / "x.etl"))
    with (
        Session(SessionOptions("regtrace-x", LogMode.BUFFERING)) as running,
        pytest.raises(SessionError, match="another session writes to that file"),
    ):
        running.save(tmp_path / "x.etl")


def test_a_largest_size_that_the_disk_has_not_is_said_before_windows_does(
    etw_service: EtwService, machine, monkeypatch
) -> None:
    usage = type("Usage", (), {"free": 5 << 30})
    monkeypatch.setattr("tracer.recording.recorder.shutil.disk_usage", lambda _: usage)
    result = run("-q", "capture", "--max-size", "10GB", "-o", "a.regtrace")
    assert result.exit_code == TargetError.exit_code
    assert "give a smaller size" in result.stderr
    assert not [call for call in etw_service.calls if call[0] == "StartTraceW"]


# ---------------------------------------------------------------------- the classic logger


def test_flags_that_windows_does_not_take_back_are_an_error_and_no_empty_recording(
    etw_service: EtwService, machine, tmp_path
) -> None:
    etw_service.fail("TraceSetInformation", 1314, times=9, after=1)
    result = run("-q", "capture", "--classic", "-o", "a.regtrace", "--duration", "1s")
    assert result.exit_code == 1
    assert "it would record nothing" in result.stderr
    assert etw_service.sessions == {}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_flags_that_are_taken_back_late_are_good(etw_service: EtwService, monkeypatch) -> None:
    monkeypatch.setattr(session, "pause", lambda _: None)
    etw_service.fail("TraceSetInformation", 5, times=2, after=1)
    with Session(CLASSIC) as running:
        assert running.request_rundown()
        assert etw_service.running()[0].flags == CLASSIC_FLAGS


def test_flags_that_were_never_taken_away_are_as_they_were(etw_service: EtwService) -> None:
    with Session(CLASSIC) as running:
        etw_service.profile_privilege = False
        assert not running.request_rundown()
        assert etw_service.running()[0].flags == CLASSIC_FLAGS


def test_a_missing_privilege_is_named(etw_service: EtwService) -> None:
    etw_service.profile_privilege = False
    with pytest.raises(NotElevated, match="SeSystemProfilePrivilege"):
        Session(CLASSIC).start()


# ---------------------------------------------------------------------- what is refused or left out


def test_a_32_bit_python_is_refused(etw_service: EtwService, machine, monkeypatch) -> None:
    monkeypatch.setattr(session, "is_64_bit", lambda: False)
    for verb in ("capture", "start", "status", "sessions"):
        monkeypatch.setattr("tracer.recording.recorder.real_service", REAL_SERVICE)
        result = run(verb)
        assert result.exit_code == PlatformError.exit_code
        assert "needs a 64-bit Python" in result.stderr
    assert etw_service.calls == []


def test_the_handle_table_is_left_out_where_that_is_asked(etw_service: EtwService, machine, tmp_path) -> None:
    asked: list[str] = []
    machine.before_call = asked.append
    result = run("capture", "--no-handles", "--duration", "0.1s", "-o", "a.regtrace")
    assert result.exit_code == 0, result.stderr
    assert "handles" not in asked
    assert "the handle table was left out, as asked" in result.stderr
    said = Manifest.load(tmp_path / "a.regtrace").settings["recording"]
    assert said["handles"] is False
    assert said["seed"] == {"read": None, "failed": "the handle table was left out, as asked"}
    assert run("start", "--no-handles", "--ring", "1MB").exit_code == 0
    assert run("stop").exit_code == 0
    assert "handles" not in asked


@pytest.mark.parametrize("handles", [True, False])
def test_a_watch_leaves_it_out_too(etw_service: EtwService, monkeypatch, handles: bool) -> None:
    asked: list[bool] = []
    monkeypatch.setattr("tracer.windows.process_snapshot.snapshot_processes", list)
    monkeypatch.setattr(
        "tracer.windows.handle_table.read_handle_table",
        lambda: asked.append(True) or HandleTable([], [], 0, 0.0, 0, 0, 0),
    )
    with Watch(RowFilter(), handles=handles):
        pass
    assert asked == [True] * handles


@pytest.mark.skipif(os.name == "nt", reason="the double cannot set Windows' last error")
def test_an_elevated_user_who_may_not_read_in_real_time_is_not_told_to_elevate(
    etw_service: EtwService,
) -> None:
    etw_service.start_foreign("regtrace-x")
    etw_service.fail("OpenTraceW", 5)
    with pytest.raises(NotElevated, match="has administrator rights already"):
        Consumer("regtrace-x").start()


# ---------------------------------------------------------------------- words


@pytest.mark.parametrize("verb", ["capture", "start"])
def test_what_is_said_has_happened(etw_service: EtwService, machine, verb: str) -> None:
    etw_service.fail("EnableTraceEx2", 87, times=9)
    result = run(verb, "-o", "a.regtrace")
    assert result.exit_code == 1
    assert "now reports" not in result.stderr
    etw_service._failures.clear()
    more = ("--duration", "0.1s") if verb == "capture" else ()
    result = run(verb, "-o", "a.regtrace", *more)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("now reports") == 1
    assert verb == "capture" or run("cancel").exit_code == 0


def test_a_session_that_was_full_was_not_stopped_by_somebody(
    etw_service: EtwService, machine, tmp_path, monkeypatch
) -> None:
    trace = make_trace(tmp_path / "sim.etl", events=9000, option_word=7)
    plan = "tracer.recording.recorder.plan_sessions"
    from dataclasses import replace

    from tracer.recording.session_plan import plan_sessions

    def small(*arguments):
        main, aside = plan_sessions(*arguments)
        return replace(main, largest_mib=1), aside

    monkeypatch.setattr(plan, small)
    played: list[str] = []

    def play(what: str) -> None:
        if what == "pids" and not played:
            played.append(what)
            etw_service.play(trace)

    machine.before_call = play
    result = run("capture", "--max-size", "1GB", "-o", "a.regtrace")
    assert result.exit_code == 0, result.stderr
    assert Manifest.load(tmp_path / "a.regtrace").settings["recording"]["ended_by"] == "size"


@pytest.mark.parametrize(
    ("count", "noun", "words"),
    [(1, "process", "1 process"), (3, "process", "3 processes"), (2, "day", "2 days")],
)
def test_one_is_not_many(count: int, noun: str, words: str) -> None:
    assert plural(count, noun) == words
