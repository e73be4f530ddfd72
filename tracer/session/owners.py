"""Owners of sessions: a session's name says the verb, the process, and when that process began.

So names of two processes never clash, of two users neither, and a session that a dead process left behind can be told
from one that is in use: Windows gives a process number again, but not with the same time of creation.
"""

import itertools
import os
import re
import struct
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from tracer.errors import RegtraceError, SessionGone
from tracer.session.options import SESSION_PREFIX, SessionStatus

__all__ = [
    "Owner", "own_session_guid", "own_session_name", "owner_of", "owner_of_guid", "owner_text", "process_began_ms",
    "stop_leftovers",
]  # fmt: skip

_NAME = re.compile(
    re.escape(SESSION_PREFIX) + r"(?P<verb>[a-z]+)-(?P<pid>[1-9][0-9]{0,9})-(?P<began>[0-9a-f]{8,16})"
    r"(?:-[0-9]{1,9})?",
    re.ASCII | re.IGNORECASE,
)
_GUID = struct.Struct("<4sIQ")  # whose it is, pid, and in 16 + 48 bits a number and when the process began
_MARK = b"rgtr"
_SAME_MS = 1000  # elsewhere than on Windows the time of creation is worked out, and may vary a little
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a session belongs to.

    Attributes:
        verb: what it does: watch, monitor.
        pid: its number.
        began_ms: when it began, milliseconds since 1970, UTC.
    """

    verb: str
    pid: int
    began_ms: int

    @property
    def sentence_part(self) -> str:
        """The owner in words: "watch of process 1234, which began 2026-11-30 10:00:00 UTC"."""
        began = datetime.fromtimestamp(self.began_ms / 1000, UTC)
        return f"{self.verb} of process {self.pid}, which began {began:%Y-%m-%d %H:%M:%S} UTC"

    def user(self) -> str | None:
        """Return the user of the process that has this pid now; None if unknown."""
        import psutil

        try:
            return psutil.Process(self.pid).username()
        except (psutil.Error, KeyError):  # KeyError: a user without a name
            return None

    def is_running(self) -> bool | None:
        """Whether that process still runs; None if unknown."""
        import psutil

        try:
            began_ms = psutil.Process(self.pid).create_time() * 1000
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        return abs(began_ms - self.began_ms) <= _SAME_MS


def own_session_name(verb: str) -> str:
    """Return a new name for a session of this process, such as regtrace-watch-1234-18f3a2b4c5d.

    Args:
        verb: what the session is for, lower-case letters.
    """
    number = next(_numbers)
    return f"{SESSION_PREFIX}{verb}-{os.getpid()}-{process_began_ms():x}" + (
        f"-{number}" if number > 1 else ""
    )


def process_began_ms() -> int:
    """Return when this process began, milliseconds since 1970, UTC."""
    import psutil

    return int(psutil.Process().create_time() * 1000)


def own_session_guid() -> uuid.UUID:
    """Return a new GUID for a session of this process; it says who owns the session.

    Sessions of fixed names are told apart by it: Windows gives it back with a session's properties (Microsoft Learn,
    QueryAllTracesW, Examples).
    """
    when = process_began_ms() << 16 | next(_numbers) & 0xFFFF
    return uuid.UUID(bytes_le=_GUID.pack(_MARK, os.getpid(), when & 2**64 - 1))


def owner_of_guid(guid: str | None) -> Owner | None:
    """Return the owner of the session with that GUID; None if the GUID does not say."""
    mark, pid, when = _GUID.unpack(uuid.UUID(guid).bytes_le) if guid else (b"", 0, 0)
    return Owner("recording", pid, when >> 16) if mark == _MARK else None


def owner_text(session: SessionStatus) -> str:
    """Return words for a session and its owner: its file, process and user, as far as known."""
    text = f"'{session.name}'" + (f", which writes {session.log_file}" if session.log_file else "")
    owner = owner_of(session.name) or owner_of_guid(session.guid)
    if owner is None:
        return f"{text}; its owner is unknown"
    runs = owner.is_running()
    state = {True: "runs", False: "is gone", None: "may still run"}[runs]
    user = owner.user() if runs else None
    return f"{text}; {owner.sentence_part}" + (f", of {user}," if user else "") + f" and {state}"


def owner_of(session_name: str) -> Owner | None:
    """Return the owner of the session of that name; None if the name does not say."""
    match = _NAME.fullmatch(session_name)
    if match is None:
        return None
    try:
        owner = Owner(match["verb"].lower(), int(match["pid"]), int(match["began"], 16))
        datetime.fromtimestamp(owner.began_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # no time at all: somebody else's name
        return None
    return owner


def stop_leftovers(
    verbs: Collection[str],
    sessions: Callable[[], Iterable[SessionStatus]],
    stop: Callable[[str], object],
) -> list[str]:
    """Stop sessions whose process ended, and return a sentence for each; others may be in use and go on.

    Args:
        verbs: of whose sessions.
        sessions: lists the sessions that run.
        stop: stops one by its name.
    """
    notes = []
    try:
        running = list(sessions())
    except RegtraceError:  # who may not list sessions may not start one either, and is told so there
        return []
    for session in running:
        owner = owner_of(session.name)
        if owner is None or owner.verb not in verbs or owner.is_running() is not False:
            continue
        whose = f"{session.name}, a {owner.sentence_part} and is gone"
        try:
            stop(session.name)
        except SessionGone:
            continue
        except RegtraceError as error:
            notes.append(f"a session left behind could not be stopped: {whose} ({error})")
        else:
            notes.append(f"a session left behind was stopped: {whose}")
    return notes
