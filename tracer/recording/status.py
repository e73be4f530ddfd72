"""The status of this user's recording: the state file compared with the sessions that run.

A session is asked for by its name, never looked up in a list: for a process without rights Windows lists fewer
sessions and says nothing (Microsoft Learn, QueryAllTracesW, Remarks), but a question by name is answered with "not
running" or "not allowed". So "not there" and "cannot be seen" are never mixed up.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from tracer.errors import NotElevated, RegtraceError
from tracer.recording.state_file import State, load
from tracer.session.options import CAPTURE_SESSION, PROCESS_SESSION, SessionStatus
from tracer.session.owners import owner_text

__all__ = ["Find", "Kind", "RecordingStatus", "claim", "recording_status"]

Find = Callable[[str], SessionStatus | None]


class Kind(Enum):
    """Whether there is a recording, and who takes care of it."""

    NONE = "no recording of this user"
    OWNED = "a process takes care of it, or may"
    RUNNING = "its session runs, and no process takes care of it"
    ENDED = "its session is gone, and so is its process"


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """Status of this user's recording.

    Attributes:
        kind: what there is.
        state: what the state file says; None without a recording.
        sessions: its sessions that run.
        foreign: a session of a recording's name that is not of this recording: of another user, or left behind.
    """

    kind: Kind
    state: State | None
    sessions: tuple[SessionStatus, ...] = ()
    foreign: SessionStatus | None = None


def recording_status(find: Find) -> RecordingStatus:
    """Return the status of this user's recording.

    Args:
        find: returns the session of a name, None if there is none; raises NotElevated where it may not be asked.

    Raises:
        NotElevated: the sessions cannot be seen, so this is unknown.
        RegtraceError: the state file cannot be read.
    """
    state = load()
    try:
        running = [
            session for name in (CAPTURE_SESSION, PROCESS_SESSION) if (session := find(name)) is not None
        ]
    except NotElevated as error:
        raise NotElevated(_unseen_sentence(state, error)) from error
    ours = tuple(session for session in running if state is not None and state.has(session))
    foreign = next((session for session in running if session not in ours), None)
    if state is None:
        return RecordingStatus(Kind.NONE, None, foreign=foreign)
    if state.is_owned:
        return RecordingStatus(Kind.OWNED, state, ours, foreign)
    is_running = any(session.name.lower() == CAPTURE_SESSION for session in ours)
    return RecordingStatus(Kind.RUNNING if is_running else Kind.ENDED, state, ours, foreign)


def claim(state: State, find: Find, stop: Callable[[str], object]) -> None:
    """Store the state of a recording that is about to start; no session that may be in use is stopped for it.

    Args:
        state: of the new recording.
        find: as in `recording_status`.
        stop: stops a session by its name: what is left of an earlier recording of this user.

    Raises:
        RegtraceError: another recording runs, of this user or of another, or one waits to be published.
        NotElevated: the sessions cannot be seen.
        TargetError: the user's folder cannot be written.
    """
    now = recording_status(find)
    before = now.state
    if before is not None and now.kind is Kind.OWNED:
        raise RegtraceError(
            f"a recording for {before.target} is running already, by process {before.pid}; end that one first, or "
            "discard it with `regtrace cancel --force`"
        )
    if before is not None and now.kind is Kind.RUNNING:
        how = "is running already" if before.detached else "was left running by a process that is gone"
        raise RegtraceError(
            f"a recording for {before.target} {how}; end it with `regtrace stop`, or discard it with `regtrace cancel`"
        )
    if before is not None and before.has_trace():
        raise RegtraceError(
            f"a recording for {before.target} ended before it became a capture; make it one with `regtrace stop`, or "
            "discard it with `regtrace cancel`"
        )
    if now.foreign is not None:
        raise RegtraceError(
            f"another recording is running, in the session {owner_text(now.foreign)}; wait for its end, or end it with "
            f"`regtrace sessions --stop {now.foreign.name}`"
        )
    for session in now.sessions:
        stop(session.name)
    state.save()


def _unseen_sentence(state: State | None, error: NotElevated) -> str:
    what = "whether anything is being recorded"
    if state is not None:
        what = f"whether the recording for {state.target} still runs"
    return f"{what} cannot be seen, and nothing was changed: {error}"
