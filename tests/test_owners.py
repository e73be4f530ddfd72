"""Whose a session is: names that never clash, sessions of others left alone, and leftovers that are said."""

import os
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
from etw_double import EtwService, etw_service
from hypothesis import given
from hypothesis import strategies as st

import regtrace as rt
from tracer.checks import doctor
from tracer.errors import NotElevated, SessionError, SessionGone
from tracer.live.row_filter import RowFilter
from tracer.live.watch import Watch
from tracer.recording.status import Kind, RecordingStatus
from tracer.session.options import SessionCounters, SessionStatus
from tracer.session.owners import Owner, own_session_name, owner_of, stop_leftovers
from tracer.windows import handle_table, process_snapshot

__all__ = ["etw_service"]


def status(name: str) -> SessionStatus:
    return SessionStatus(name, None, 0x100, 64, SessionCounters(0, 0, 0, 0, 0, 0, 0))


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process that is gone."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        began_ms = int(psutil.Process(child.pid).create_time() * 1000)
    return Owner("watch", child.pid, began_ms)


def name_of(owner: Owner) -> str:
    return f"regtrace-{owner.verb}-{owner.pid}-{owner.began_ms:x}"


@pytest.fixture
def service(etw_service: EtwService, monkeypatch: pytest.MonkeyPatch) -> EtwService:
    monkeypatch.setattr(process_snapshot, "snapshot_processes", list)
    empty = handle_table.HandleTable([], [], 0, 0.0, 0, 0, 0)
    monkeypatch.setattr(handle_table, "read_handle_table", lambda: empty)
    return etw_service


def test_a_name_says_its_process_and_is_given_once():
    names = [own_session_name("watch") for _ in range(3)]
    assert len(set(names)) == 3
    for name in names:
        owner = owner_of(name)
        assert (owner.verb, owner.pid, owner.is_running()) == ("watch", os.getpid(), True)


def test_a_process_number_given_again_is_another_process():
    mine = owner_of(own_session_name("watch"))
    assert Owner("watch", mine.pid, mine.began_ms - 60_000).is_running() is False


def test_a_process_that_nobody_may_ask_is_not_known_to_be_gone(monkeypatch):
    def refuse(pid):
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", refuse)
    owner = Owner("watch", 4, 1_700_000_000_000)
    assert owner.is_running() is None
    assert stop_leftovers(("watch",), lambda: [status(name_of(owner))], pytest.fail) == []


@pytest.mark.slow
@given(
    st.one_of(
        st.text(max_size=40),
        st.from_regex(r"regtrace-[a-z]{0,6}-[0-9]{0,12}-[0-9a-f]{0,20}(-[0-9]{0,12})?", fullmatch=True),
    )
)
def test_any_name_is_read_or_is_nobodys(name):
    owner = owner_of(name)
    if owner is not None:
        assert name.lower().startswith(name_of(owner)[: len(f"regtrace-{owner.verb}-{owner.pid}-")])
        assert owner.sentence_part


@pytest.mark.parametrize("name", ["regtrace-capture", "regtrace-watch", "regtrace-boot", "NT Kernel Logger"])
def test_fixed_names_say_no_owner_and_are_left_alone(name):
    assert owner_of(name) is None
    assert stop_leftovers(("watch", "capture", "boot"), lambda: [status(name)], pytest.fail) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (None, "was stopped"),
        (NotElevated("no rights"), "could not be stopped"),
        (SessionError("busy"), "busy"),
    ],
)
def test_what_becomes_of_a_leftover_is_said(dead, error, words):
    stopped = []

    def stop(name):
        stopped.append(name)
        if error:
            raise error

    [note] = stop_leftovers(("watch",), lambda: [status(name_of(dead))], stop)
    assert stopped == [name_of(dead)]
    assert words in note
    assert str(dead.pid) in note


def test_a_leftover_that_ends_meanwhile_and_a_list_that_is_refused_are_no_trouble(dead):
    def gone(name):
        raise SessionGone("gone")

    def refused():
        raise NotElevated("no rights")

    assert stop_leftovers(("watch",), lambda: [status(name_of(dead))], gone) == []
    assert stop_leftovers(("watch",), refused, pytest.fail) == []


def test_two_watches_and_two_monitors_run_beside_each_other(service):
    first, second = (rt.Monitor(snapshot=(), seed=([], [])) for _ in range(2))
    with first, second, Watch(RowFilter()) as watch, Watch(RowFilter()) as other:
        names = {session.name for session in service.running()}
        assert names == {first.session_name, second.session_name, watch.session_name, other.session_name}
        assert len(names) == 4
        assert first.is_running
        assert second.is_running
    assert not first.ended_by_other
    assert not watch.ended_by_other


def test_the_doctor_stops_a_dead_watch_and_no_living_one(dead):
    mine = own_session_name("watch")
    stopped = []
    machine = SimpleNamespace(
        sessions=lambda: [status(mine), status(name_of(dead))],
        recording=lambda: RecordingStatus(Kind.NONE, None),
        stop=stopped.append,
    )
    assert doctor.stop_leftovers(machine) == stopped == [name_of(dead)]


def test_a_dead_watch_is_stopped_and_said_and_a_living_one_is_not(service, dead):
    living = own_session_name("watch")
    service.start_foreign(name_of(dead))
    service.start_foreign(living)
    with rt.Monitor(snapshot=(), seed=([], [])) as monitor:
        assert {session.name for session in service.running()} == {living, monitor.session_name}
    [note] = monitor.notes
    assert name_of(dead) in note
    service.start_foreign(name_of(dead))
    with Watch(RowFilter()) as watch:
        pass
    assert any(name_of(dead) in note for note in watch.notes)
    assert [session.name for session in service.running()] == [living]
