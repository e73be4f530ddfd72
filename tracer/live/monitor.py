"""Callbacks over live events: names the records of a real-time session and gives them to callbacks."""

import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from tracer.callbacks.registrations import DEFAULT_ALTITUDE, Callback, Registration, Registrations
from tracer.callbacks.selection import Names, Notifies, Processes
from tracer.deprecation import renamed_arguments
from tracer.errors import RegtraceError, UsageError
from tracer.live.feed import LiveFeed
from tracer.live.record_sources import PIECE, RecordSource, as_source
from tracer.live.records import RawRecord
from tracer.live.row_filter import RowFilter
from tracer.live.stream import LiveStream, Surroundings
from tracer.registry.operations import find_operations
from tracer.registry.terms import Words
from tracer.rows.processes import ProcessRecord
from tracer.rows.row_groups import SOURCE_TEXTS
from tracer.session.options import ALL_OPTIONS, KEYWORDS, SessionCounters, keyword_mask

__all__ = ["Monitor"]

_THREAD = "regtrace-monitor"
_TURN = 0.25  # seconds for which a turn waits for records
_PATIENCE = 10.0  # seconds that the rest of a stream may take once its session was stopped
_LAST_TURN = 2.0  # seconds for the callback that runs when that time is over


class Monitor:
    r"""Calls callbacks for registry operations as they happen; use it in a `with` statement.

        with Monitor(key=[r"HKLM\SOFTWARE\**\Run*"]) as monitor:
            cookie = monitor.register(on_change, notify=[Notify.PostSetValueKey])
            monitor.wait(60)

    What is registered before entering misses nothing; later, a callback gets what comes from then on.

    Callbacks run one after the other on the monitor's own thread, about a second after the fact, and a slow one
    holds up the rest; what finds no room meanwhile is counted (`dropped`). They observe: they can neither
    block nor change an operation. A name that only later evidence gives is missing here and in a replay is not.
    Leaving stops the session and delivers what came until then, for ten seconds at most. Every record that came is
    one of `delivered`, `filtered`, `other`, `undecoded`, `dropped`, `waiting` and, at the end, `unread`. Where anything
    is missing, leaving notes it and warns of it (RuntimeWarning).

    Args:
        key: only this key or pattern, or several; None for all.
        process: only these image names, patterns, image paths or pids; None for all.
        operation: only these, as `--operation` takes them; None for all. Fewer cost the system less.
        option_word: names (0x1), data (0x2), data before (0x4): of the machine, and it stays after the session.
        subtree: also the keys below `key`.
        user: SID of the user whose keys HKCU and HKCR are; None: everybody's with a profile.
        registrations: callbacks that were registered before; shared, not copied.
        control_set: number of the current control set; None asks the system.
        source: records from elsewhere, for which no session is started; batches or a `RecordSource`.
        seed: addresses and native paths of open objects; None reads the handle table (with a session), which opens
            processes of others: ([], []) leaves it out.
        snapshot: what runs; None asks the system (with a session).

    Attributes:
        registrations: the callbacks.
        notes: sentences on what could not be had (names of objects open before, processes), on sessions
            of dead processes that were stopped, and on what was missed.
        delivered: operations for which at least one callback was called.
        filtered: operations that no callback wanted, or that the monitor's own filters left out.

    Raises:
        UsageError: a filter cannot be understood.
        PlatformError: on entering: this is no Windows, or rights are missing.
        SessionError: on entering: the session cannot be started.
    """

    @renamed_arguments(keys="key", processes="process", operations="operation", user_sid="user")
    def __init__(
        self,
        key: Names = None,
        process: Processes = None,
        operation: Words = None,
        option_word: int = ALL_OPTIONS,
        *,
        subtree: bool = False,
        user: str | None = None,
        registrations: Registrations | None = None,
        control_set: int | None = None,
        source: RecordSource | Iterable[list[RawRecord]] | None = None,
        seed: tuple[list[int], list[str]] | None = None,
        snapshot: Sequence[ProcessRecord] | None = None,
    ) -> None:
        self.registrations = Registrations() if registrations is None else registrations
        self.notes: list[str] = []
        self.delivered = self.filtered = 0
        self._operations = _reported(operation)
        self._filter = RowFilter(key=key, process=process, operation=operation, subtree=subtree, user=user)
        self._option_word = option_word
        self._seed, self._snapshot, self._control_set = seed, snapshot, control_set
        self._stream = LiveStream("monitor", buffer_kib=64) if source is None else None
        self._source: RecordSource = self._stream or as_source(source)
        self._unknown = {} if self._stream is None else self._stream.unknown
        self._feed = LiveFeed(self._source, self._stream)
        self._thread: threading.Thread | None = None
        self._ended, self._hurry = threading.Event(), threading.Event()
        self._error: BaseException | None = None

    @renamed_arguments(keys="key", processes="process", user_sid="user")
    def register(
        self,
        callback: Callback,
        *,
        notify: Notifies = None,
        key: Names = None,
        process: Processes = None,
        altitude: str = DEFAULT_ALTITUDE,
        subtree: bool = False,
        user: str | None = None,
    ) -> int:
        """Register a callback and return its cookie; see `tracer.callbacks.registrations.Registrations.register`."""
        return self.registrations.register(
            callback,
            notify=notify,
            key=key,
            process=process,
            altitude=altitude,
            subtree=subtree,
            user=user,
        )

    def unregister(self, cookie: int) -> None:
        """Remove a callback; see `tracer.callbacks.registrations.Registrations.unregister`."""
        self.registrations.unregister(cookie)

    def __getitem__(self, cookie: int) -> Registration:
        return self.registrations[cookie]

    @property
    def is_running(self) -> bool:
        """Whether events may still come."""
        return self._thread is not None and not self._ended.is_set()

    @property
    def ended_by_other(self) -> bool:
        """Whether another program stopped the session; known once the monitor was left."""
        return self._stream is not None and self._stream.ended_by_other

    @property
    def session_name(self) -> str | None:
        """Its session's name, which no other monitor has; None without a session."""
        return None if self._stream is None else self._stream.session_name

    @property
    def counters(self) -> SessionCounters | None:
        """What the session said of itself last; None without a session."""
        return None if self._stream is None else self._stream.counters

    @property
    def failures(self) -> int:
        """How many calls of callbacks raised an exception (`Registration.last_error` has the last one)."""
        return self.registrations.failures

    @property
    def dropped(self) -> int:
        """How many records were lost because callbacks did not keep up."""
        return self._feed.dropped

    @property
    def received(self) -> int:
        """How many records came, of any kind, including those that were lost afterwards."""
        return self._feed.received

    @property
    def other(self) -> int:
        """How many records were no operations: starts of processes, rundowns, the header of the stream."""
        return self._feed.other

    @property
    def undecoded(self) -> int:
        """How many registry records could not be read."""
        return self._feed.undecoded

    @property
    def waiting(self) -> int:
        """How many records wait to be read or delivered; 0 once the monitor ended."""
        return 0 if self._ended.is_set() else self._feed.pending(self.filtered + self.delivered)

    @property
    def unread(self) -> int:
        """How many records were not delivered before the monitor ended; 0 until then."""
        return self._feed.pending(self.filtered + self.delivered) if self._ended.is_set() else 0

    @property
    def lost(self) -> bool:
        """Whether anything was lost or may have been: in the session, before the callbacks, or at the end."""
        by_session = self.counters is not None and self.counters.lost
        return bool(self.dropped or self.undecoded or self.unread or by_session or self._unknown)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the stream ends, which it does when the session is stopped; Ctrl-C ends the wait.

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
            remaining = _TURN if end is None else min(_TURN, end - time.monotonic())
            if remaining <= 0 or self._ended.wait(remaining):
                break
        if self._error is not None:
            raise RegtraceError(
                f"the monitor stopped, because events could not be read or delivered: {self._error!r:.200}"
            ) from self._error
        return self._ended.is_set()

    def __enter__(self) -> Self:
        if self._thread is not None:
            raise UsageError("this monitor was used before; make a new one")
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        problems, losses = self._stop(), self._loss_sentences()
        self.notes += losses
        self.registrations.warn_of_failures()
        if losses:
            warnings.warn("; ".join(losses), RuntimeWarning, stacklevel=2)
        if error is not None:
            return
        if problems:
            raise problems[0]
        self.wait(0)  # raises what ended the stream

    def _start(self) -> None:
        if self._stream is None:
            surroundings = Surroundings(self._seed, None, self._snapshot or (), self._control_set)
        else:
            self.notes = self._stream.notes
            self._stream.start("a monitor", keyword_mask(self._operations), self._option_word)
            surroundings = self._stream.look_around(
                seed=self._seed, processes=self._snapshot, control_set=self._control_set
            )
        self._feed.begin(surroundings)
        self._thread = threading.Thread(target=self._run, name=_THREAD, daemon=True)
        self._thread.start()

    def _stop(self) -> list[Exception]:
        """Stop every part, even where one fails, and return the errors; records already there are delivered."""
        problems: list[Exception] = []

        def attempt(step: Callable[[], object]) -> None:
            try:
                step()
            except Exception as error:  # noqa: BLE001  (every other part must be stopped all the same)
                problems.append(error)

        try:
            attempt(self._source.stop if self._stream is None else self._stream.stop_session)
            self._join(_PATIENCE)
        finally:  # also where Ctrl-C interrupts the wait
            self._hurry.set()
            try:
                if self._stream is not None:
                    attempt(self._stream.stop)
                self._join(_LAST_TURN)
            finally:
                self._ended.set()
        if self._thread is not None and self._error is None:
            attempt(self._feed.count_remaining)
        return problems

    def _loss_sentences(self) -> list[str]:
        """Return sentences that say what was not delivered or may be missing."""
        counters = self.counters
        parts = [
            f"{count:,} {what}"
            for count, what in (
                (counters.events_lost if counters else 0, "events lost by the session"),
                (counters.buffers_lost if counters else 0, "whole buffers lost by the session"),
                (self.dropped, "records for which the queue had no room"),
                (self.undecoded, "registry records that could not be read"),
                (self.unread, "records not delivered when the monitor was left"),
            )
            if count
        ]
        sentences = [f"the monitor missed {', '.join(parts)}"] if parts else []
        return sentences + [f"it is not known {sentence}" for sentence in self._unknown.values()]

    def _join(self, seconds: float) -> None:
        """Wait for the thread, unless this is the thread itself (a callback that leaves the monitor)."""
        if self._thread not in (None, threading.current_thread()) and self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        pipeline = self._feed.pipeline
        try:
            while not self._hurry.is_set():
                raw = self._feed.take(_TURN)
                if raw is None:
                    self._error = None if self._stream is None else self._stream.trouble
                    break
                self._dispatch(pipeline.push(raw))
            while pipeline.held and not self._hurry.is_set():
                self._dispatch(pipeline.flush(PIECE))
        except BaseException as error:  # noqa: BLE001  (raised by wait() and when the monitor is left)
            self._error = error
        finally:
            self._ended.set()

    def _dispatch(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        passed = self._filter.apply(rows, control_set=self._feed.control_set)
        self.filtered += rows.num_rows - passed.num_rows
        if passed.num_rows:
            etw = pa.array(np.zeros(passed.num_rows, np.int8))
            source = pa.DictionaryArray.from_arrays(etw, pa.array(SOURCE_TEXTS[:1]))
            self._deliver(passed.append_column("source", source))

    def _deliver(self, rows: pa.Table) -> None:
        """Call the callbacks that want rows, and count the rows that none of them wanted."""
        called = 0
        for notification in self.registrations.deliver(rows, control_set=self._feed.control_set):
            called += 1
            self.delivered += 1
            if self._hurry.is_set():  # the monitor was left, and callbacks are too slow for the rest
                sequences = rows.column("sequence").to_numpy()
                past = int(np.searchsorted(sequences, notification.sequence)) + 1
                self.filtered += past - called
                return
        self.filtered += rows.num_rows - called


def _reported(words: Words) -> list[str] | None:
    """Return the operations that words name and the provider reports; None for all."""
    if words is None:
        return None
    word_list = words.split(",") if isinstance(words, str) else words
    names = []
    for word in word_list:
        operations = [name for name in find_operations(word) if name in KEYWORDS]
        if not operations:
            raise UsageError(
                f"ETW reports no operation {word!r}; use one of set, delete, create, open, close, query, enum, read, write"
            )
        names += operations
    return names
