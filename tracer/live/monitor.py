"""Callbacks over live events: a real-time session, its records named as they come, and who wants them called.

It was exercised with a double of the tracing service and under Wine, not yet on Windows itself.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.callbacks import DEFAULT_ALTITUDE, Callback, Registration, Registrations
from tracer.decode.layouts import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.errors import RegtraceError, UsageError
from tracer.live.options import (
    ALL_OPTIONS,
    KEYWORDS,
    LogMode,
    Provider,
    SessionCounters,
    SessionOptions,
    keyword_mask,
)
from tracer.live.owners import own_session_name, stop_leftovers
from tracer.live.pipeline import LivePipeline
from tracer.live.record_sources import Batches, RecordSource
from tracer.live.records import RawRecord
from tracer.live.registry import current_control_set
from tracer.operations import find_operations
from tracer.parts import SOURCE_TEXTS
from tracer.paths import display_paths
from tracer.processes import ProcessRecord
from tracer.selection import Names, Notifies, Processes, Selection

__all__ = ["Monitor"]

_THREAD = "regtrace-monitor"
_PROCESS_KEYWORD = 0x10  # WINEVENT_KEYWORD_PROCESS of Microsoft-Windows-Kernel-Process
_TURN = 0.25  # seconds for which a turn waits for records
_POLL = 1.0  # seconds between two looks at the session's counters
_PATIENCE = 10.0  # seconds that the rest of a stream may take once its session was stopped
_LAST_TURN = 2.0  # seconds for the callback that runs when that time is over


class Monitor:
    r"""Calls callbacks with what happens to the registry, as it happens; use it in a `with` statement.

        with Monitor(keys=[r"HKLM\SOFTWARE\**\Run*"]) as monitor:
            cookie = monitor.register(on_change, notify=[Notify.PostSetValueKey])
            monitor.wait(60)

    What is registered before entering misses nothing; later, a callback gets what comes from then on.

    Callbacks run one after the other on the monitor's own thread, about a second after the fact, and a slow one
    holds up the rest; what finds no room meanwhile is counted (`dropped`). They observe: they can neither
    block nor change an operation. A name that only later evidence gives is missing here and in a replay is not.
    Leaving stops the session and delivers what came until then, for ten seconds at most.

    Args:
        keys: only these keys or patterns; None for all.
        processes: only these image names, patterns or pids; None for all.
        operations: only these, as `--operation` takes them; None for all. Fewer cost the system less.
        option_word: names (0x1), data (0x2), data before (0x4): of the machine, and it stays after the session.
        subtree: also the keys below `keys`.
        user_sid: SID whose key HKCU is.
        registrations: callbacks that were registered before; shared, not copied.
        control_set: number of the current control set; None asks the system.
        source: records from elsewhere, for which no session is started; batches or a `RecordSource`.
        seed: addresses and native paths of open objects; None reads the handle table (with a session).
        snapshot: what runs; None asks the system (with a session).

    Attributes:
        registrations: the callbacks.
        session_name: its session's, which no other monitor has.
        counters: what the session said of itself last; None without a session.
        notes: sentences on what could not be had (names of objects open before, processes), and on sessions
            of dead processes that were stopped.

    Raises:
        UsageError: a filter cannot be understood.
        PlatformError: on entering: this is no Windows, or rights are missing.
        SessionError: on entering: the session cannot be started.
    """

    def __init__(
        self,
        keys: Names = None,
        processes: Processes = None,
        operations: str | Sequence[str] | None = None,
        option_word: int = ALL_OPTIONS,
        *,
        subtree: bool = False,
        user_sid: str | None = None,
        registrations: Registrations | None = None,
        control_set: int | None = None,
        source: RecordSource | Iterable[list[RawRecord]] | None = None,
        seed: tuple[list[int], list[str]] | None = None,
        snapshot: Sequence[ProcessRecord] | None = None,
    ) -> None:
        self.registrations = Registrations() if registrations is None else registrations
        self.session_name = own_session_name("monitor") if source is None else ""
        self.counters: SessionCounters | None = None
        self.notes: list[str] = []
        self._selection = Selection(keys=keys, processes=processes, subtree=subtree, user_sid=user_sid)
        self._operations = _reported(operations)
        self._option_word = option_word
        self._control_set = control_set
        self._given, self._seed, self._snapshot = source, seed, snapshot
        self._seed_ns: int | None = None
        self._source: RecordSource | None = None
        self._session: Any = None
        self._thread: threading.Thread | None = None
        self._ended, self._hurry = threading.Event(), threading.Event()
        self._error: Exception | None = None
        self._polled = 0.0
        self._dropped = 0

    def register(
        self,
        callback: Callback,
        *,
        notify: Notifies = None,
        keys: Names = None,
        processes: Processes = None,
        altitude: str = DEFAULT_ALTITUDE,
        subtree: bool = False,
        user_sid: str | None = None,
    ) -> int:
        """Register a callback and return its cookie; see `tracer.callbacks.Registrations.register`."""
        return self.registrations.register(
            callback,
            notify=notify,
            keys=keys,
            processes=processes,
            altitude=altitude,
            subtree=subtree,
            user_sid=user_sid,
        )

    def unregister(self, cookie: int) -> None:
        """Take a callback out; see `tracer.callbacks.Registrations.unregister`."""
        self.registrations.unregister(cookie)

    def __getitem__(self, cookie: int) -> Registration:
        return self.registrations[cookie]

    @property
    def is_running(self) -> bool:
        """Whether events may still come."""
        return self._thread is not None and not self._ended.is_set()

    @property
    def ended_by_other(self) -> bool:
        """Whether somebody else stopped the session; known once the monitor was left."""
        return self._session is not None and bool(self._session.ended_by_other)

    @property
    def failures(self) -> int:
        """How many calls of callbacks raised an exception (`Registration.last_error` has the last one)."""
        return self.registrations.failures

    @property
    def dropped(self) -> int:
        """How many records were lost because callbacks did not keep up."""
        source = self._source
        return 0 if source is None else source.dropped + source.failures

    @property
    def lost(self) -> bool:
        """Whether anything was lost so far: by the session, or on the way to the callbacks."""
        return bool(self.dropped or (self.counters is not None and self.counters.lost))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the stream ends, which it does when somebody stops the session; Ctrl-C ends the wait.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Returns:
            Whether the stream ended.

        Raises:
            RegtraceError: events could not be read any further.
        """
        end = None if timeout is None else time.monotonic() + timeout
        # In turns: on Windows Ctrl-C does not interrupt a wait without an end.
        while not self._ended.is_set():
            left = _TURN if end is None else min(_TURN, end - time.monotonic())
            if left <= 0 or self._ended.wait(left):
                break
        if self._error is not None:
            raise RegtraceError(f"the monitor cannot go on: {self._error!r:.200}") from self._error
        return self._ended.is_set()

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise UsageError("a monitor is used once: make a new one")
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        problems = self._stop()
        if error is not None:
            return
        if problems:
            raise problems[0]
        self.wait(0)  # raises what ended the stream

    def _start(self) -> None:
        if self._given is None:
            self._start_session()
        elif hasattr(self._given, "take"):
            self._source = cast(RecordSource, self._given)
        else:
            self._source = Batches(self._given)
        pipeline = LivePipeline(self._seed, self._snapshot or (), seed_ns=self._seed_ns)
        if self._control_set is None and self._given is None:
            self._control_set = current_control_set()
        self._thread = threading.Thread(
            target=self._run, args=(pipeline, self._source), name=_THREAD, daemon=True
        )
        self._thread.start()

    def _start_session(self) -> None:
        """Start a session, a consumer of it, and read what is open and what runs."""
        from tracer.session import Consumer, Session, list_sessions, require_windows, stop_session

        require_windows("a monitor")
        self.notes += stop_leftovers(("watch", "monitor"), list_sessions, stop_session)
        self._session = Session(SessionOptions(self.session_name, LogMode.REAL_TIME, buffer_kib=64))
        self._session.start()
        # Processes first: of those that start now nothing is missed.
        self._session.enable(Provider(KERNEL_PROCESS, any_keywords=_PROCESS_KEYWORD))
        keywords = keyword_mask(self._operations)
        self._session.enable(Provider(KERNEL_REGISTRY, any_keywords=keywords, option_word=self._option_word))
        consumer = Consumer(self.session_name)
        self._source = consumer
        consumer.start()
        self.counters = self._session.counters()
        if self._snapshot is None:
            self._snapshot = self._ask(_snapshot, "running processes could not be listed")
        if self._seed is None:
            table = self._ask(_handle_table, "objects open before could not be named")
            if table is not None:
                self._seed, self._seed_ns = (table.addresses, table.paths), table.time_ns

    def _ask(self, question: Callable[[], Any], trouble: str) -> Any:  # noqa: ANN401
        """Return an answer without which the monitor is poorer, but works; None and a note where there is none."""
        try:
            return question()
        except (RegtraceError, OSError, ImportError) as error:
            self.notes.append(f"{trouble}: {error}")
            return None

    def _stop(self) -> list[Exception]:
        """Stop everything, whatever fails, and return what failed; the rest of the stream is still delivered."""
        problems: list[Exception] = []

        def attempt(step: Callable[[], object]) -> None:
            try:
                step()
            except Exception as error:  # noqa: BLE001  (every other part must be stopped all the same)
                problems.append(error)

        if self._session is not None:
            attempt(self._end_session)
        elif self._source is not None:
            attempt(self._source.stop)
        try:
            self._join(_PATIENCE)
        finally:
            self._hurry.set()
            if self._source is not None and self._session is not None:
                attempt(self._source.stop)
            self._join(_LAST_TURN)
            self._ended.set()
        return problems

    def _end_session(self) -> None:
        self.counters = self._session.stop() or self.counters

    def _join(self, seconds: float) -> None:
        """Wait for the thread, unless it is the one that asks (a callback that leaves the monitor)."""
        if self._thread not in (None, threading.current_thread()) and self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self, pipeline: LivePipeline, source: RecordSource) -> None:
        try:
            while not self._hurry.is_set():
                raw = source.take(_TURN)
                self._dispatch(pipeline.flush() if raw is None else pipeline.push(raw))
                self._poll(pipeline)
                if raw is None:
                    break
        except Exception as error:  # noqa: BLE001  (told by wait() and when the monitor is left)
            self._error = error
        finally:
            self._ended.set()

    def _dispatch(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        mask = self._selection.wanted(rows, control_set=self._control_set)
        if self._operations is not None:
            kinds = rows.column("operation").cast(pa.string())
            mask &= pc.is_in(kinds, value_set=pa.array(self._operations)).to_numpy()
        if not mask.all():
            rows = rows.take(pa.array(np.flatnonzero(mask)))
        if not rows.num_rows:
            return
        if self._control_set is not None:
            keys = rows.column("key").combine_chunks()
            shown = pa.array(display_paths(keys.dictionary, control_set=self._control_set), pa.string())
            displayed = pa.DictionaryArray.from_arrays(keys.indices, shown)
            rows = rows.set_column(rows.schema.get_field_index("display_key"), "display_key", displayed)
        source = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(rows.num_rows, np.int8)), pa.array(SOURCE_TEXTS[:1])
        )
        rows = rows.append_column("source", source)
        for _ in self.registrations.deliver(rows, control_set=self._control_set):
            if self._hurry.is_set():  # the monitor was left, and callbacks are too slow for the rest
                return

    def _poll(self, pipeline: LivePipeline) -> None:
        """Look at the counters, once a second, and tell the pipeline of losses between two looks."""
        now = time.monotonic()
        if self._session is None or now - self._polled < _POLL or self._hurry.is_set():
            return
        self._polled = now
        before, dropped = self.counters, self.dropped
        try:
            self.counters = self._session.counters()
        except RegtraceError:  # the session is gone; the stream will end, and stop() tells who did it
            return
        if before is not None and (_lost(self.counters) > _lost(before) or dropped > self._dropped):
            pipeline.note_loss(before.time_ns, self.counters.time_ns)
        self._dropped = dropped


def _reported(words: str | Sequence[str] | None) -> list[str] | None:
    """Return the operations that words stand for and the provider reports; None for all."""
    if words is None:
        return None
    listed = words.split(",") if isinstance(words, str) else words
    names = []
    for word in listed:
        found = [name for name in find_operations(word) if name in KEYWORDS]
        if not found:
            raise UsageError(
                f"{word!r} is no operation that ETW reports: write set, delete, create, read, ..."
            )
        names += found
    return names


def _lost(counters: SessionCounters) -> int:
    return counters.events_lost + counters.log_buffers_lost + counters.real_time_buffers_lost


def _snapshot() -> Any:  # noqa: ANN401
    from tracer.live.process_snapshot import snapshot_processes

    return snapshot_processes()


def _handle_table() -> Any:  # noqa: ANN401
    from tracer.live.handle_table import read_handle_table

    return read_handle_table()
