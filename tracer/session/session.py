"""A tracing session: start, enable providers, query, save and stop; only this room uses pywintrace.

It decodes nothing. pywintrace serves for structures and for starting (TraceProperties, EventProvider, ProviderInfo,
ProviderParameters, EventConsumer). What it swallows is checked here: every status is looked at, a session of
another party is never attached to or stopped, a failing step stops what was started, and the numbers of
a session that does not run are an error, not zeros. Sessions outlive processes, so whatever this
process started is stopped when it exits, unless it was left to itself with `leave`.
"""

import ctypes
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tracer.errors import PlatformError, RegtraceError, SessionError, SessionGone
from tracer.session.answer import Answer
from tracer.session.control import FLUSH, QUERY, STOP, all_sessions, check_same, control
from tracer.session.errors import ALREADY_EXISTS, INVALID_PARAMETER, error_for
from tracer.session.options import (
    SESSION_PREFIX,
    LogMode,
    Provider,
    SessionCounters,
    SessionOptions,
    SessionStatus,
)
from tracer.session.owners import own_session_guid, owner_text
from tracer.session.raw_queue import RawRecord
from tracer.session.request import (
    enable_provider,
    preserved_root_logger,
    request_rundown,
    start_properties,
    status_of,
)
from tracer.windows import exit_handlers, rights
from tracer.windows.system_calls import PROFILE, privilege

__all__ = [
    "RawRecord",
    "Session",
    "find_session",
    "is_64_bit",
    "is_supported",
    "list_sessions",
    "pywintrace",
    "require_windows",
    "stop_session",
]

_TAKEN_TRIES, _TAKEN_SECONDS = (
    10,
    0.1,
)  # a name is free some 0.1 s after its session was stopped, as others saw


def is_supported() -> bool:
    """Return whether this system has the tracing service."""
    return sys.platform == "win32"


def pause(seconds: float) -> None:
    """Wait before a retry; tests replace it."""
    time.sleep(seconds)


def require_windows(what: str) -> None:
    """Do nothing on 64-bit Windows with a 64-bit Python.

    Raises:
        PlatformError: this is another system, or Python is a 32-bit program.
    """
    if not is_supported():
        raise PlatformError(f"{what} needs Windows; traces that were captured there can be read here")
    if not is_64_bit():
        # The structures are those of 64-bit programs: read as such, Windows' 32-bit ones are memory of others.
        raise PlatformError(
            f"{what} needs a 64-bit Python, this one is a 32-bit program; install a 64-bit Python and regtrace there"
        )


def is_64_bit() -> bool:
    """Return whether this Python is a 64-bit program."""
    return ctypes.sizeof(ctypes.c_void_p) == 8


class Session:
    """A session that this process starts, or attaches to while it runs.

    Attributes:
        name: its name.
        running: whether it was started or found, and neither stopped by us nor known to be gone.
        ended_by_other: whether another program stopped it while we counted on it.
        left_over: whether `start` had to stop a session of ours that an earlier process left behind.
    """

    def __init__(self, options: SessionOptions) -> None:
        self.options = options
        self.name = options.name
        self.running = False
        self.ended_by_other = False
        self.left_over = False
        self._guid = own_session_guid()  # tells our session from a later one of the same name
        self._handle = 0
        self._stopping = False  # an interrupted stop has stopped it all the same
        self._last: SessionCounters | None = None
        self._references: list[object] = []  # memory that Windows was given addresses of
        self._lock = threading.RLock()

    @property
    def guid(self) -> str:
        """Its GUID, which says who owns it (tracer.session.owners)."""
        return str(self._guid)

    @classmethod
    def attach(cls, name: str) -> Self:
        """Return the running session of that name, even if another program started it; it is not stopped at exit.

        Raises:
            SessionGone: it does not run.
        """
        require_windows("attaching to a session")
        answer = control(pywintrace(), name, QUERY, "find")
        session = cls(SessionOptions(name=name, mode=LogMode.REAL_TIME))
        session._guid, session._handle = answer.guid, answer.handle
        session.running, session._last = True, answer.counters
        return session

    def __enter__(self) -> Self:
        try:
            if not self.running:
                self.start()
            return self
        except BaseException:  # an interrupt right after the start
            self._abandon()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the session; with `takes_over` a running one of the same name is stopped first, once.

        Raises:
            SessionError: it runs already or was started before; a name clash with a session of somebody else;
                a file, disk, limit or setting that Windows refuses.
            NotElevated: the process lacks the rights.
        """
        require_windows("starting a tracing session")
        if self._handle:
            raise SessionError(f"session '{self.name}' was started before; make a new Session")
        if not self.name.lower().startswith(SESSION_PREFIX):
            raise SessionError(
                f"cannot start session '{self.name}': names of regtrace's sessions begin with '{SESSION_PREFIX}'; choose such a name"
            )
        exit_handlers.remember(self, self._abandon)
        try:
            code = self._try_start()
            if code == ALREADY_EXISTS:
                self._stop_holder()
                for _ in range(_TAKEN_TRIES):
                    if (code := self._try_start()) != ALREADY_EXISTS:
                        break
                    pause(_TAKEN_SECONDS)
            self.running = not code
        except BaseException:  # an interrupt may come between Windows' start and our knowing of it
            self._abandon()
            raise
        if code:
            exit_handlers.forget(self)
            raise self._start_error(code)

    def _stop_holder(self) -> None:
        """Stop the session that has our name, if it is not in use.

        Raises:
            SessionError: it may not; the sentence says whose it is.
        """
        holder = find_session(self.name)
        if holder is None:
            return  # it was stopped a moment ago, and its name is taken a little longer
        if not self.options.takes_over:
            raise SessionError(
                f"cannot start session '{self.name}': one of that name is running, {owner_text(holder)}; wait for its "
                f"end, or end it with `regtrace sessions --stop {self.name}`",
                ALREADY_EXISTS,
            )
        with suppress(SessionGone):  # it ended by itself in between
            control(pywintrace(), self.name, STOP, "stop the leftover")
            self.left_over = True

    def _start_error(self, code: int) -> RegtraceError:
        about = "system logger" if self.options.classic_flags else "session"
        folder = rights.forbidden_folder(self.options.log_file)
        return error_for(
            code, "start", self.name, about=about, elevated=rights.is_elevated(), forbidden_folder=folder
        )

    def _abandon(self) -> None:
        """Stop the session if it runs, regardless of the state known here."""
        with suppress(RegtraceError, OSError):
            self.running = True
            self._ask(STOP, "stop")
        self.running = False
        exit_handlers.forget(self)

    def _try_start(self) -> int:
        etw = pywintrace()
        properties = start_properties(etw, self.options, self._guid)
        starter = etw.EventProvider(self.name, properties, [])
        with privilege(PROFILE) if self.options.classic_flags else nullcontext():
            code = status_of(starter.start)
        if not code:
            self._handle = int(starter.session_handle.value)
            self._last = Answer(bytes(properties._buf)).counters
            self._references.append(properties)
        return code

    def enable(self, provider: Provider) -> None:
        """Enable a provider; a later call for the same provider replaces the earlier one.

        The option word and filters go in one call. UNCONFIRMED whether Windows takes an option word together with
        other filters, so a refusal is answered with two calls: the word is kept machine-wide, and only the filters
        of the last call count.

        Raises:
            NotElevated, SessionError: as `start`; the session is stopped then.
        """
        etw, word = pywintrace(), provider.option_word is not None
        try:
            code = enable_provider(etw, self._handle, provider, self._references)
            if code == INVALID_PARAMETER and word and (provider.event_ids or provider.stack_ids):
                code = enable_provider(etw, self._handle, provider, self._references, filters=False)
                code = code or enable_provider(etw, self._handle, provider, self._references, word=False)
        except BaseException:
            self._give_up()
            raise
        if code:
            self._give_up()
            raise error_for(
                code,
                f"enable provider {provider.guid} in",
                self.name,
                about="provider",
                elevated=rights.is_elevated(),
            )

    def _give_up(self) -> None:
        with suppress(RegtraceError):
            self.stop()

    def request_rundown(self) -> bool:
        """Have the system logger report all key control blocks now.

        Returns False if it cannot: no classic session, or Windows refuses.

        Raises:
            SessionError: Windows took the flags away and does not take them back, so nothing would be recorded.
        """
        if not self.options.classic_flags or not self.running:
            return False
        return request_rundown(pywintrace(), self._handle, self.options.classic_flags, pause)

    def counters(self) -> SessionCounters:
        """Return the current counters of the session.

        Raises:
            SessionGone: it does not run, or another session has its name.
        """
        with self._lock:
            self._last = self._ask(QUERY, "ask").counters
            return self._last

    def flush(self) -> None:
        """Deliver full and partly filled buffers now.

        Raises:
            SessionGone, SessionError: it does not run, or Windows refuses.
        """
        self._ask(FLUSH, "flush")

    def save(self, path: Path) -> None:
        """Save the memory of a BUFFERING session to an .etl file; the session goes on.

        Raises:
            SessionGone, SessionError: it does not run, or the file cannot be written.
        """
        self._ask(FLUSH, "save", path)

    def stop(self) -> SessionCounters:
        """Stop the session and return its last counters; a second call returns them again.

        Where another program stopped it these are the last that were asked for, and `ended_by_other` is set.

        Raises:
            SessionError: it was never started, or Windows refuses to stop it.
        """
        with self._lock:
            if not self.running and not self._handle:
                return self._last_counters()
            if self.running:
                with suppress(SessionGone):
                    self._last = self._ask(STOP, "stop").counters
                    self.running = False
            exit_handlers.forget(self)
            return self._last_counters()

    def leave(self) -> None:
        """Let the session go on after this process; it is found again by its name with `attach`."""
        exit_handlers.forget(self)

    def _ask(self, code: int, doing: str, path: Path | None = None) -> Answer:
        if not self.running:
            raise SessionGone(f"cannot {doing} session '{self.name}': it is not running; start it again")
        try:
            # By name, and only while the name is still that of our session: numbers and names are used again.
            answer = control(pywintrace(), self.name, QUERY, doing)
            check_same(self.name, self._guid, answer.guid, doing)
            self._stopping = code == STOP
            return answer if code == QUERY else control(pywintrace(), self.name, code, doing, path)
        except SessionGone:
            self.running = False
            self.ended_by_other = not self._stopping
            exit_handlers.forget(self)
            raise

    def _last_counters(self) -> SessionCounters:
        if self._last is None:
            raise SessionError(f"session '{self.name}' was never started")
        return self._last


def list_sessions() -> list[SessionStatus]:
    """Return the running sessions that this process may see; Windows silently leaves out the others.

    Raises:
        SessionError: Windows refuses.
    """
    require_windows("listing sessions")
    return all_sessions(pywintrace())


def find_session(name: str) -> SessionStatus | None:
    """Return the running session of that name; None if there is none.

    Raises:
        NotElevated: this process may not ask, so this is unknown.
        SessionError: Windows refuses.
    """
    require_windows("asking for a session")
    try:
        return control(pywintrace(), name, QUERY, "ask for").status()
    except SessionGone:
        return None


def stop_session(name: str) -> SessionCounters:
    """Stop the running session of that name, even if another program started it, and return its last counters.

    Raises:
        SessionGone: it does not run.
        NotElevated, SessionError: Windows refuses.
    """
    require_windows("stopping a session")
    return control(pywintrace(), name, STOP, "stop").counters


# ---------------------------------------------------------------------- pywintrace


class _Etw:
    """The names of pywintrace that are used here, from whichever of its modules they are in."""

    def __init__(self) -> None:
        from etw import etw, evntcons, evntprov, evntrace  # noqa: TID251

        self.library: Any = evntrace.ct.windll.advapi32
        self._sources = (etw, evntcons, evntprov, evntrace, evntrace.ct)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        for source in self._sources:
            if hasattr(source, name):
                return getattr(source, name)
        raise AttributeError(name)


def pywintrace() -> _Etw:
    """Import pywintrace, without what it does to the root logger."""
    with preserved_root_logger():
        return _Etw()
