"""Detached recordings: one command starts them, another stops, shows or saves them.

The kernel writes the trace, so nothing of ours has to run meanwhile. What is not there then: polls each second
(losses are placed between the start and the end), and command lines of processes that started and ended meanwhile.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from tracer.errors import RegtraceError
from tracer.recording.capture import Follow, check_target, publish
from tracer.recording.recorder import Recorder, Service, real_service
from tracer.recording.session_plan import CaptureOptions, Files
from tracer.recording.state_file import State, load, release
from tracer.recording.status import Kind, RecordingStatus, claim, recording_status
from tracer.recording.trace_files import put_back
from tracer.session.options import CAPTURE_SESSION, SessionCounters, SessionStatus
from tracer.session.owners import owner_of, owner_of_guid, owner_text
from tracer.store.manifest import Manifest

__all__ = ["Running", "cancel", "our_sessions", "running", "snapshot", "start", "stop", "stop_by_name"]

_NOTHING = "nothing is being recorded; `regtrace start` or `regtrace capture` begin a recording"


@dataclass(frozen=True, slots=True)
class Running:
    """A recording that runs.

    Attributes:
        state: what was asked for.
        seconds: since it started.
        counters: what its session for registry events says now.
        bytes: size of what was written, at most; None for a recording in memory.
    """

    state: State
    seconds: float
    counters: SessionCounters
    bytes: int | None


def start(options: CaptureOptions, target: Path, *, service: Service | None = None) -> Recorder:
    """Start a recording that runs until `stop` or `cancel`, and return its recorder.

    Raises:
        PlatformError: this is not Windows, or the process is not elevated.
        RegtraceError: one sentence about what failed; nothing keeps running.
    """
    service = service or real_service()
    target = target.absolute()
    check_target(target, force=options.force)
    recorder = Recorder(options, Files(target), service)
    claim(State.of(recorder, detached=True), service.find, lambda name: service.attach(name).stop())
    try:
        recorder.start()
        try:
            State.of(recorder, detached=True).save(recorder.log.table)
            recorder.detach()
        except BaseException:
            recorder.abandon()
            raise
    except BaseException:
        release()
        raise
    return recorder


def stop(follow: Follow, *, service: Service | None = None, keep_etl: bool = False) -> tuple[Manifest, Path]:
    """Stop the running recording and publish its capture; return its manifest and path.

    A recording whose session is gone (stopped by another program, or its process died while it made the capture) is
    published of what it wrote.

    Raises:
        RegtraceError: nothing is being recorded, or it cannot be published; then its trace files are kept.
        NotElevated: its session may not be asked; it goes on, and is not forgotten.
    """
    service = service or real_service()
    now = _own(service)
    state = _state_of(now)
    options = replace(state.options, keep_etl=keep_etl or state.options.keep_etl)
    if now.kind is Kind.ENDED:
        recorder = Recorder.ended(options, Files(state.target), service, state.log(), state.ended_ns)
        _stop_sessions(now, service)
        ended_by = state.ended_by or "other"
    else:
        recorder = Recorder.resume(options, Files(state.target), service, state.log())
        follow(recorder.status("saving"))
        recorder.stop()
        ended_by = "other" if recorder.gone else "stop"
        State.of(recorder, detached=True, ended_by=ended_by).save(recorder.log.table)
    try:
        return publish(recorder, {"ended_by": ended_by, "program": None}, follow), recorder.files.target
    finally:
        release()


def cancel(*, service: Service | None = None, force: bool = False) -> Path | None:
    """Stop the running recording and remove its trace files; return the path its capture would have had.

    Args:
        service: replaces the system in tests; None is this machine.
        force: also where a process still takes care of it, and where what is known of it cannot be read: then
            that is forgotten, no session is stopped, and None is returned.

    Raises:
        RegtraceError: nothing is being recorded.
        NotElevated: its session may not be asked; it goes on, and is not forgotten.
    """
    service = service or real_service()
    if force and not _is_readable():
        release()
        return None
    now = _own(service, force=force)
    state = _state_of(now)
    _stop_sessions(now, service)
    Recorder(state.options, Files(state.target), service).abandon()
    release()
    return state.target


def snapshot(follow: Follow, target: Path, *, force: bool = False, keep_etl: bool = False,
             service: Service | None = None) -> Manifest:  # fmt: skip
    """Publish what the ring of the running recording holds now; the recording goes on.

    Raises:
        RegtraceError: nothing is being recorded, or it keeps no ring in memory.
    """
    service = service or real_service()
    target = target.absolute()
    state = _running_state(service)
    if not state.options.is_in_memory:
        raise RegtraceError(
            "the running recording writes a file, so there is no ring to save; record with --ring SIZE to take snapshots"
        )
    check_target(target, force=force)
    options = replace(state.options, force=force, keep_etl=keep_etl)
    recorder = Recorder.resume(options, Files(state.target), service, state.log())
    recorder.poll(force=True)
    files = Files(target)
    follow(recorder.status("saving"))
    recorder.files = files
    recorder.make_room()
    try:
        recorder.save(files)
    except BaseException:
        for path in files.traces:
            path.unlink(missing_ok=True)
        put_back(files.outputs)
        raise
    recorder.detach()
    return publish(recorder, {"ended_by": "snapshot", "program": None}, follow)


def running(*, service: Service | None = None) -> Running:
    """Return the running recording of this user.

    Raises:
        RegtraceError: nothing is being recorded, or its session is gone.
        NotElevated: its session may not be asked, so this is unknown.
    """
    service = service or real_service()
    state = _running_state(service)
    session = service.attach(CAPTURE_SESSION)
    counters = session.counters()
    session.leave()
    size = Recorder(state.options, Files(state.target), service).plans[0].buffer_kib * 1024
    bytes_written = None if state.options.is_in_memory else counters.buffers_written * size
    return Running(state, max(0.0, (time.time_ns() - state.started_ns) / 1e9), counters, bytes_written)


def our_sessions(*, service: Service | None = None) -> tuple[list[SessionStatus], bool | None]:
    """Return the running sessions, ours first, and whether these are all (None: unknown)."""
    service = service or real_service()
    sessions = sorted(service.sessions(), key=lambda one: (not one.is_ours, one.name.lower()))
    return sessions, service.sees_all()


def stop_by_name(name: str, *, force: bool = False, service: Service | None = None) -> SessionCounters:
    """Stop a session by its name.

    Raises:
        RegtraceError: there is none, or it is not ours or in use by another process and `force` is not given.
        NotElevated: this process may not ask.
    """
    service = service or real_service()
    session = service.find(name)
    if session is None:
        raise RegtraceError(f"no session is called {name!r}; `regtrace sessions` lists those that run")
    if not session.is_ours and not force:
        raise RegtraceError(
            f"regtrace did not start the session {session.name!r}; give --force to stop it anyway"
        )
    owner = owner_of(session.name) or owner_of_guid(session.guid)
    if owner is not None and owner.is_running() is not False and not force:
        raise RegtraceError(f"the session {owner_text(session)}; end that, or give --force to stop it anyway")
    return service.attach(session.name).stop()


def _is_readable() -> bool:
    try:
        load()
    except RegtraceError:
        return False
    return True


def _state_of(now: RecordingStatus) -> State:
    """Return the state of this user's recording.

    Raises:
        RegtraceError: nothing of this user is being recorded.
    """
    if now.state is None:
        raise RegtraceError(
            _NOTHING
            if now.foreign is None
            else f"nothing is being recorded by this user; another recording runs in the session {owner_text(now.foreign)}"
        )
    return now.state


def _own(service: Service, *, force: bool = False) -> RecordingStatus:
    """Return the status of the recording, if this command may end it.

    Raises:
        RegtraceError: there is none, or a process takes care of it.
    """
    now = recording_status(service.find)
    state = _state_of(now)
    if now.kind is Kind.OWNED and not force:
        raise RegtraceError(
            f"the recording for {state.target} belongs to process {state.pid}; end it there, with Ctrl-C, or discard it "
            "with `regtrace cancel --force`"
        )
    return now


def _running_state(service: Service) -> State:
    """Return the state of the recording whose session runs.

    Raises:
        RegtraceError: there is none.
    """
    now = recording_status(service.find)
    state = _state_of(now)
    if any(session.name.lower() == CAPTURE_SESSION for session in now.sessions):
        return state
    if now.kind is Kind.OWNED:
        raise RegtraceError(
            f"the recording for {state.target} is about to start or to end; try again in a moment"
        )
    advice = "; `regtrace stop` makes a capture of what it wrote, `regtrace cancel` discards it"
    if not state.has_trace():
        _stop_sessions(now, service)
        put_back(Files(state.target).outputs)
        release()
        advice = "; it left no trace"
    raise RegtraceError(
        f"the recording for {state.target} does not run any more: another program stopped its session, or Windows "
        f"was restarted{advice}"
    )


def _stop_sessions(now: RecordingStatus, service: Service) -> None:
    """Stop the sessions of a recording, but no other session that took its name since."""
    for session in now.sessions:
        service.attach(session.name).stop()
