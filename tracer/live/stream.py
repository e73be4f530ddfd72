"""The real-time stream of a session that regtrace starts, polls for losses, and stops."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tracer.errors import RegtraceError, SessionGone
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.live.records import RawRecord
from tracer.rows.processes import ProcessRecord
from tracer.session.options import LogMode, Provider, SessionCounters, SessionOptions
from tracer.session.owners import own_session_name, stop_leftovers

__all__ = ["LiveStream", "Seed", "Surroundings"]

Seed = tuple[list[int], list[str]]  # addresses of key objects, and their native paths (escaped)
_PROCESS_KEYWORD = (
    0x10  # WINEVENT_KEYWORD_PROCESS of Microsoft-Windows-Kernel-Process: starts, stops, rundown
)
_VERBS = ("watch", "monitor")  # their sessions are useless once their process ended
_POLL = 1.0  # seconds between two looks at the session's counters
_LAST_RECORDS = 0.5  # seconds that the service may take to end its delivery when nothing reads it any more


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine as it is when a feed begins.

    Attributes:
        seed: addresses and native paths of open key objects; None if they are unknown.
        seed_ns: when the seed was read, UTC nanoseconds; None: before the first record.
        processes: the running processes.
        control_set: number of the current control set; None if unknown.
    """

    seed: Seed | None = None
    seed_ns: int | None = None
    processes: Sequence[ProcessRecord] = ()
    control_set: int | None = None


class LiveStream:
    """Records of a real-time session that lasts as long as this does; a `tracer.live.record_sources.RecordSource`.

    Args:
        verb: what the session is for; it is in its name.
        buffer_kib, smallest_count, largest_count: as in `SessionOptions`.
        queue_bytes: room for records that were not taken yet.
        clock: seconds that only rise.

    Attributes:
        session_name: no other session has it; empty before the start.
        counters: what the session said of itself last; None before the start.
        notes: what could not be had, and sessions of dead processes that were stopped, one sentence each.
        unknown: sentences on what may be missing and cannot be counted, by what they are about.
        ended_by_other: whether another program stopped the session.
        trouble: what broke the stream; None if nothing did.
    """

    def __init__(
        self,
        verb: str,
        *,
        buffer_kib: int = 256,
        smallest_count: int = 64,
        largest_count: int = 128,
        queue_bytes: int = 64 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.session_name = ""
        self.counters: SessionCounters | None = None
        self.notes: list[str] = []
        self.unknown: dict[str, str] = {}
        self.ended_by_other = False
        self.trouble: RegtraceError | None = None
        self._verb, self._queue_bytes, self._clock = verb, queue_bytes, clock
        self._sizes = {
            "buffer_kib": buffer_kib,
            "smallest_count": smallest_count,
            "largest_count": largest_count,
        }
        self._polled = clock()
        self._session: Any = None
        self._consumer: Any = None
        self._is_stopped = self._is_ended = False
        self._lock = threading.Lock()

    @property
    def dropped(self) -> int:
        """How many records found no room in our queue."""
        return 0 if self._consumer is None else int(self._consumer.dropped)

    @property
    def failures(self) -> int:
        """How many records were lost to an exception on the way into it."""
        return 0 if self._consumer is None else int(self._consumer.failures)

    @property
    def received(self) -> int:
        """How many records the service handed over, including lost ones."""
        return 0 if self._consumer is None else int(self._consumer.received)

    @property
    def queued_bytes(self) -> int | None:
        """Bytes of the records that wait in our queue; None if that is not known."""
        return getattr(self._consumer, "queued_bytes", None)

    def start(self, purpose: str, keywords: int, option_word: int) -> None:
        """Start the session, its consumer and both providers.

        Args:
            purpose: what needs Windows, for the message where this is none.
            keywords: keyword mask of the registry provider; 0 is every event.
            option_word: what it is asked for; machine-wide and lasting.

        Raises:
            PlatformError, SessionError: as `tracer.session.session.Session.start`; `stop` is to be called all the same.
        """
        from tracer.session.consumer import Consumer
        from tracer.session.session import Session, list_sessions, require_windows, stop_session

        require_windows(purpose)
        self.session_name = own_session_name(self._verb)
        self.notes += stop_leftovers(_VERBS, list_sessions, stop_session)
        self._session = Session(SessionOptions(self.session_name, LogMode.REAL_TIME, **self._sizes))  # type: ignore[arg-type]
        self._session.start()
        self._consumer = Consumer(self.session_name, most_bytes=self._queue_bytes)
        self._consumer.start()
        # Processes first: of those that start from now on nothing is missed.
        self._session.enable(Provider(KERNEL_PROCESS, any_keywords=_PROCESS_KEYWORD))
        self._session.enable(Provider(KERNEL_REGISTRY, any_keywords=keywords, option_word=option_word))
        self.counters = self._session.counters()

    def look_around(
        self,
        *,
        seed: Seed | None = None,
        processes: Sequence[ProcessRecord] | None = None,
        control_set: int | None = None,
        handles: bool = True,
    ) -> Surroundings:
        """Return the surroundings: what is not given is read from the system; a failure becomes a note.

        Args:
            seed: addresses and native paths of open objects.
            processes: the running processes.
            control_set: number of the current control set.
            handles: whether the handle table may be read, which opens processes of others.
        """
        from tracer.windows.handle_table import read_handle_table
        from tracer.windows.machine_registry import current_control_set
        from tracer.windows.process_snapshot import snapshot_processes

        seed_ns = None
        if processes is None:
            processes = self._ask(snapshot_processes, "the running processes could not be listed") or ()
        if seed is None and handles:
            table = self._ask(read_handle_table, "keys that were open before are not named")
            if table is not None:
                seed, seed_ns = (table.addresses, table.paths), table.time_ns
        if control_set is None:
            control_set = current_control_set()
        return Surroundings(seed, seed_ns, processes, control_set)

    def take(self, timeout: float) -> list[RawRecord] | None:
        """Return the records since the last call, perhaps none; None once the stream ended."""
        raw: list[RawRecord] | None = self._consumer.take(timeout)
        if raw is None and not self._is_stopped:  # it ended without us
            self.trouble = self._consumer.trouble
            self.ended_by_other = self.ended_by_other or self.trouble is None
        return raw

    def poll(self) -> None:
        """Ask the session for its counters, once a second."""
        if self._clock() - self._polled < _POLL:
            return
        self._polled = self._clock()
        with self._lock:
            if self._is_stopped:
                return
            try:
                self.counters = self._session.counters()
            except SessionGone:  # the stream says so as well, and what was counted stays
                self.ended_by_other = True
            except RegtraceError as error:
                self.unknown["counters"] = f"what the session lost: {error}"
            else:
                self.unknown.pop("counters", None)

    def stop_session(self) -> None:
        """Stop the session; records on their way still come. Counters stay if another program stopped it."""
        with self._lock:  # a look at the counters on another thread must not take the end for somebody else's
            if self._session is None or self._is_stopped:
                return
            self._is_stopped = True
            try:
                self.counters = self._session.stop() or self.counters
                self.unknown.pop("counters", None)
            except RegtraceError as error:
                self.unknown["counters"] = f"what the session lost: {error}"
            self.ended_by_other = self.ended_by_other or bool(self._session.ended_by_other)
            if self.ended_by_other:
                self.unknown["counters"] = (
                    "what the session lost in its last second: another program stopped it"
                )

    def stop(self) -> None:
        """Stop the session and end the stream; records that still come are counted, but not copied."""
        try:
            self.stop_session()
        finally:  # also where Ctrl-C comes once more
            if self._consumer is not None and not self._is_ended:
                self._is_ended = True
                self._consumer.close()
                self._consumer.wait(_LAST_RECORDS)
                with suppress(RegtraceError, OSError):
                    self._consumer.stop(_LAST_RECORDS)
                if self._consumer.is_cut:
                    self.unknown["stream"] = "how many more records the session held when the stream was left"

    def _ask(self, question: Callable[[], Any], failure: str) -> Any:  # noqa: ANN401
        try:
            return question()
        except (RegtraceError, OSError, ImportError) as error:
            self.notes.append(f"{failure}: {error}")
            return None
