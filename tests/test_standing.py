"""A recording is never forgotten on a doubt, never taken for another's, and every lock has a verb that opens it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from capture_kit import Machine, make_trace, use_machine
from etw_double import EtwService, etw_service
from typer.testing import CliRunner

from cli.app import app
from tracer.errors import NotElevated
from tracer.recording import capture
from tracer.recording.state_file import load, state_folder
from tracer.recording.status import Kind, recording_status
from tracer.session.options import CAPTURE_SESSION, PROCESS_SESSION, LogMode, SessionOptions
from tracer.session.owners import own_session_guid, owner_of_guid
from tracer.session.session import Session, find_session, list_sessions
from tracer.store.manifest import Manifest

__all__ = ["etw_service"]

VERBS = (("status",), ("stop",), ("cancel",), ("cancel", "--force"), ("snapshot",), ("capture",), ("start",))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.chdir(tmp_path)
    system = Machine()
    use_machine(monkeypatch, tmp_path, system)
    return system


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "sim.etl", events=2000)


@pytest.fixture(scope="module")
def living() -> Iterator[psutil.Process]:
    """A process that runs, and is not this one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield psutil.Process(child.pid)
        child.stdin.close()


def run(*arguments: str):
    return CliRunner().invoke(app, ["-q", *arguments], prog_name="regtrace")


def other_user(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the verbs be those of another user of this machine, in a folder of their own."""
    folder.mkdir()
    for name in ("XDG_STATE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder / "state"))
    monkeypatch.chdir(folder)


# ---------------------------------------------------------------------- without rights


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("orphan", [False, True])
def test_no_verb_of_a_normal_prompt_forgets_or_ends_a_recording(
    etw_service: EtwService, machine, trace, tmp_path, verb, orphan
):
    ring = ("--ring", "16MB") if verb == ("snapshot",) else ()
    assert run("start", "-o", "d.regtrace", *ring).exit_code == 0
    etw_service.play(trace)
    if orphan:
        replace(load(), detached=False, pid=2**22 + 1).save()
    before, file = load(), (state_folder() / "recording.json").read_bytes()
    etw_service.elevated = False
    result = run(*verb)
    assert result.exit_code == 5
    assert "d.regtrace" in result.stderr
    assert "cannot be seen" in result.stderr
    assert "Run as administrator" in result.stderr
    assert load() == before
    assert (state_folder() / "recording.json").read_bytes() == file
    assert len(etw_service.sessions) == 2
    etw_service.elevated = True
    assert run("stop").exit_code == 0
    assert Manifest.load(tmp_path / "d.regtrace").totals["events"] == 2000


def test_windows_that_refuses_before_it_looks_is_a_doubt_as_well(etw_service, machine):
    etw_service.elevated, etw_service.denied_before_lookup = False, True
    result = run("status")
    assert result.exit_code == 5
    assert "whether anything is being recorded cannot be seen" in result.stderr


def test_by_name_not_allowed_is_not_the_same_as_not_there(etw_service):
    etw_service.start_foreign(CAPTURE_SESSION)
    assert find_session(CAPTURE_SESSION.upper()).name == CAPTURE_SESSION
    assert find_session("regtrace-nobody") is None
    etw_service.elevated = False
    assert list_sessions() == []  # the list says nothing of it
    with pytest.raises(NotElevated):
        find_session(CAPTURE_SESSION)


def test_a_list_that_may_be_short_says_so(etw_service, machine):
    etw_service.start_foreign("somebody")
    assert run("sessions").stderr == ""
    etw_service.elevated = False
    shown = run("sessions")
    assert "somebody" not in shown.stdout
    assert "some sessions only, or none" in shown.stderr
    assert json.loads(run("sessions", "--json").stdout) == []
    result = run("sessions", "--stop", "somebody", "--force")
    assert result.exit_code == 5
    assert "no session is called" not in result.stderr
    assert etw_service.sessions


def test_an_older_system_that_takes_no_long_list_is_asked_for_a_short_one(etw_service):
    etw_service.largest_array = 64
    etw_service.start_foreign("somebody")
    assert [one.name for one in list_sessions()] == ["somebody"]


# ---------------------------------------------------------------------- processes, and numbers given again


@pytest.mark.parametrize("began", ["stored", "not stored"])
def test_a_process_number_that_was_given_again_locks_nobody_out(
    etw_service, machine, tmp_path, trace, living, began
):
    run("start", "-o", "d.regtrace")
    etw_service.play(trace)
    hour = 3_600_000
    facts = {"began_ms": int(living.create_time() * 1000) - hour} if began == "stored" else {
        "began_ms": None, "started_ns": int((living.create_time() - 3600) * 1e9)
    }  # fmt: skip
    replace(load(), detached=False, pid=living.pid, **facts).save()
    assert recording_status(find_session).kind is Kind.RUNNING
    assert "was left running by a process that is gone" in run("capture").stderr
    assert run("stop").exit_code == 0
    assert Manifest.load(tmp_path / "d.regtrace").totals["events"] == 2000


def test_a_process_that_hangs_has_a_way_out(etw_service, machine, living):
    run("start", "-o", "d.regtrace")
    replace(load(), detached=False, pid=living.pid, began_ms=int(living.create_time() * 1000)).save()
    for verb in ("stop", "cancel"):
        assert "`regtrace cancel --force`" in run(verb).stderr
    assert run("cancel", "--force").exit_code == 0
    assert etw_service.sessions == {}
    assert load() is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', '{"version": 1}', "\udc80"])
def test_word_of_a_recording_that_cannot_be_read_is_no_word_of_none(etw_service, machine, text):
    run("start", "-o", "d.regtrace")
    path = state_folder() / "recording.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for verb in ("status", "stop", "cancel", "capture", "start"):
        result = run(verb)
        assert result.exit_code == 1
        assert "recording.json" in result.stderr
        assert "`regtrace cancel --force`" in result.stderr
    assert len(etw_service.sessions) == 2
    assert run("cancel", "--force").exit_code == 0
    assert not path.exists()
    assert len(etw_service.sessions) == 2  # it may be of somebody
    assert "regtrace sessions --stop regtrace-capture" in run("capture").stderr


def test_a_state_of_an_earlier_version_is_read(etw_service, machine):
    run("start", "-o", "d.regtrace")
    path = state_folder() / "recording.json"
    values = json.loads(path.read_text())
    for name in ("began_ms", "session_guids", "ended_ns", "ended_by"):
        del values[name]
    path.write_text(json.dumps(values))
    assert recording_status(find_session).kind is Kind.RUNNING
    assert run("stop").exit_code == 0


# ---------------------------------------------------------------------- other users


def test_two_users_do_not_end_each_others_recordings(etw_service, machine, tmp_path, trace, monkeypatch):
    run("start", "-o", "a.regtrace")
    running = dict(etw_service.sessions)
    with monkeypatch.context() as patch:
        other_user(patch, tmp_path / "bob")
        for verb in ("capture", "start"):
            result = run(verb, "-o", "b.regtrace")
            assert result.exit_code == 1
            assert f"writes {tmp_path / 'a.etl'}; recording of process {os.getpid()}" in result.stderr
        for verb in ("status", "stop", "cancel"):
            result = run(verb)
            assert result.exit_code == 1
            assert "nothing is being recorded by this user; another recording runs" in result.stderr
        result = run("sessions", "--stop", CAPTURE_SESSION)  # its process is this one, and runs
        assert "give --force" in result.stderr
        assert run("doctor", "--fix").exit_code in (0, 3)
    assert etw_service.sessions == running
    etw_service.play(trace)
    assert run("stop").exit_code == 0
    assert Manifest.load(tmp_path / "a.regtrace").totals["events"] == 2000


@pytest.mark.parametrize("verb", ["stop", "cancel"])
def test_a_session_that_took_the_name_since_is_not_ours_to_end(etw_service, machine, tmp_path, trace, verb):
    run("start", "-o", "a.regtrace")
    etw_service.play(trace)
    for name in (CAPTURE_SESSION, PROCESS_SESSION):
        etw_service.stop_externally(name)
        etw_service.start_foreign(name)
    assert recording_status(find_session).kind is Kind.ENDED
    assert run(verb).exit_code == 0
    assert {*etw_service.sessions} == {CAPTURE_SESSION, PROCESS_SESSION}
    assert (tmp_path / "a.regtrace").exists() == (verb == "stop")


def test_a_session_says_whose_it_is(etw_service):
    with Session(SessionOptions("regtrace-x", LogMode.REAL_TIME)) as one:
        owner = owner_of_guid(find_session(one.name).guid)
        assert (owner.pid, owner.is_running()) == (os.getpid(), True)
        assert owner.user()
    assert len({own_session_guid() for _ in range(3)}) == 3
    assert owner_of_guid(None) is None
    assert owner_of_guid("70eb4f03-c1de-4f73-a051-33d13d5413bd") is None


def test_what_a_start_left_of_the_same_recording_is_stopped(etw_service, machine, tmp_path):
    run("start", "--ring", "1MB", "-o", "a.regtrace")
    etw_service.stop_externally(CAPTURE_SESSION)
    result = run("start", "-o", "b.regtrace")
    assert result.exit_code == 0, result.stderr
    assert load().target.name == "b.regtrace"
    assert run("cancel").exit_code == 0
    assert etw_service.sessions == {}


# ---------------------------------------------------------------------- a process that dies while it publishes


def test_a_process_that_dies_while_it_makes_the_capture_leaves_all_that_is_needed(
    etw_service, machine, tmp_path, trace, monkeypatch
):
    class Died(BaseException):
        """Stands for the end of the process."""

    def die(*_, **__):
        raise Died

    def follow(status):
        if getattr(status, "phase", "") == "recording":
            etw_service.play(trace)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(capture, "ingest", die)
        patch.setattr(capture, "release", lambda: None)  # a dead process does not tidy up
        with pytest.raises(Died):
            capture.record(
                capture.CaptureOptions(), tmp_path / "a.regtrace", stop=threading.Event(), progress=follow,
                service=machine.service(),
            )  # fmt: skip
    replace(load(), pid=2**22 + 1).save()
    assert recording_status(find_session).kind is Kind.ENDED
    assert "ended before it became a capture" in run("start").stderr
    assert run("stop").exit_code == 0
    said = Manifest.load(tmp_path / "a.regtrace")
    assert said.totals["events"] == 2000
    assert said.settings["recording"]["ended_by"] == "stop"
    assert said.settings["recording"]["seed"]["read"] == "start"


def test_standing_says_what_it_cannot_see(etw_service, machine):
    etw_service.elevated, etw_service.denied_before_lookup = False, True
    with pytest.raises(NotElevated, match="nothing was changed"):
        recording_status(find_session)
