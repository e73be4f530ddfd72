"""Recordings that run by themselves: started by one command, ended, looked at or saved by another.

The kernel writes the trace, so nothing of ours has to run meanwhile. What is not there then: polls each second
(losses are placed between the start and the end), and command lines of processes that started and ended meanwhile.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.errors import RegtraceError
from tracer.live.capture import Follow, check_target, kept_text, publish
from tracer.live.options import CAPTURE_SESSION, PROCESS_SESSION, SessionCounters, SessionStatus
from tracer.live.recorder import Recorder, Service, real_service
from tracer.live.recorder_plan import CaptureOptions, Files
from tracer.live.state import State, claim, load, release
from tracer.store.manifest import Manifest

if TYPE_CHECKING:
    from tracer.session import Session

__all__ = ["Running", "cancel", "our_sessions", "running", "snapshot", "start", "stop", "stop_named"]

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
    """Start a recording that runs until `stop` or `cancel`, and return what is known of it.

    Raises:
        PlatformError: this is not Windows, or the process is not elevated.
        RegtraceError: one sentence about what failed; nothing keeps running.
    """
    service = service or real_service()
    target = target.absolute()
    check_target(target, force=options.force)
    recorder = Recorder(options, Files(target), service)
    claim(State.of(recorder, detached=True), service)
    try:
        recorder.start()
        try:
            State.of(recorder, detached=True).save(recorder.notes.table)
            recorder.detach()
        except BaseException:
            recorder.abandon()
            raise
    except BaseException:
        release()
        raise
    return recorder


def stop(follow: Follow, *, service: Service | None = None, keep_etl: bool = False) -> tuple[Manifest, Path]:
    """End the recording that was started, and publish its capture; return it and where it is.

    Raises:
        RegtraceError: nothing is being recorded, or it cannot be published; then its trace files are kept.
    """
    service = service or real_service()
    recorder = _resume(service, keep_etl=keep_etl)
    follow(recorder.status("saving"))
    recorder.stop()
    release()
    return publish(recorder, {"ended_by": "stop", "program": None}, follow), recorder.files.target


def cancel(*, service: Service | None = None) -> Path:
    """End the recording that was started and remove its trace files; return what it would have become.

    Raises:
        RegtraceError: nothing is being recorded.
    """
    service = service or real_service()
    state = _state(detached=True)
    running_now = {session.name for session in service.sessions()}
    for name in (CAPTURE_SESSION, PROCESS_SESSION):
        if name in running_now:
            service.attach(name).stop()
    Recorder(state.options, Files(state.target), service).abandon()
    release()
    return state.target


def snapshot(follow: Follow, target: Path, *, force: bool = False, keep_etl: bool = False,
             service: Service | None = None) -> Manifest:  # fmt: skip
    """Publish what the ring of the running recording holds now, and let it go on.

    Raises:
        RegtraceError: nothing is being recorded, or it keeps no ring in memory.
    """
    service = service or real_service()
    target = target.absolute()
    state = _state(detached=None)
    if not state.options.is_in_memory:
        raise RegtraceError(
            "the recording that runs writes a file, so there is no ring to save; record with --ring SIZE for that"
        )
    check_target(target, force=force)
    options = replace(state.options, force=force, keep_etl=keep_etl)
    recorder = _attach(state, options, service)
    recorder.poll(force=True)
    files = Files(target)
    follow(recorder.status("saving"))
    recorder.files = files
    recorder.make_room()
    recorder.save(files)
    recorder.detach()
    return publish(recorder, {"ended_by": "snapshot", "program": None}, follow)


def running(*, service: Service | None = None) -> Running:
    """Return how the recording stands that was started, here or by another command of this user.

    Raises:
        RegtraceError: nothing is being recorded, or its session is gone.
    """
    service = service or real_service()
    state = _state(detached=None)
    session = _session(state, service)
    counters = session.counters()
    session.leave()
    size = Recorder(state.options, Files(state.target), service).plans[0].buffer_kib * 1024
    written = None if state.options.is_in_memory else counters.buffers_written * size
    return Running(state, max(0.0, (time.time_ns() - state.started_ns) / 1e9), counters, written)


def our_sessions(*, service: Service | None = None) -> list[SessionStatus]:
    """Return all running sessions, ours first."""
    service = service or real_service()
    return sorted(service.sessions(), key=lambda one: (not one.is_ours, one.name.lower()))


def stop_named(name: str, *, force: bool = False, service: Service | None = None) -> SessionCounters:
    """Stop a session by its name.

    Raises:
        RegtraceError: there is none, or it is not ours and `force` is not given.
    """
    service = service or real_service()
    found = next((one for one in service.sessions() if one.name.lower() == name.lower()), None)
    if found is None:
        raise RegtraceError(f"no session is called {name!r}; `regtrace sessions` lists those that run")
    if not found.is_ours and not force:
        raise RegtraceError(f"the session {found.name!r} is not of regtrace; give --force to stop it anyway")
    return service.attach(found.name).stop()


def _state(*, detached: bool | None) -> State:
    state = load()
    if state is None:
        raise RegtraceError(_NOTHING)
    if detached and state.is_owned:
        raise RegtraceError(
            f"the recording for {state.target} belongs to process {state.pid}; end it there, with Ctrl-C"
        )
    return state


def _session(state: State, service: Service) -> "Session":
    """Return the session of the recording; where it is gone the state is forgotten.

    Raises:
        RegtraceError: it does not run.
    """
    names = {session.name for session in service.sessions()}
    if CAPTURE_SESSION not in names:
        if state.is_owned:
            raise RegtraceError(f"the recording for {state.target} is about to start or to end; ask again")
        if PROCESS_SESSION in names:
            service.attach(PROCESS_SESSION).stop()
        release()
        kept = kept_text(Files(state.target))
        raise RegtraceError(
            f"the recording for {state.target} does not run any more: its session was stopped by somebody, or Windows "
            "was restarted" + (f"; {kept}" if kept else "")
        )
    return service.attach(CAPTURE_SESSION)


def _attach(state: State, options: CaptureOptions, service: Service) -> Recorder:
    _session(state, service).leave()
    return Recorder.resume(options, Files(state.target), service, state.notes())


def _resume(service: Service, *, keep_etl: bool) -> Recorder:
    state = _state(detached=True)
    return _attach(state, replace(state.options, keep_etl=keep_etl or state.options.keep_etl), service)
