"""A watch: a real-time session of our own, its records named and filtered as they come, and every loss counted.

It was exercised with a double of the tracing service and under Wine, not yet on Windows itself.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from tracer.decode.layouts import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.errors import RegtraceError
from tracer.live.options import (
    ALL_OPTIONS,
    KEYWORDS,
    OPTION_NAMES,
    LogMode,
    Provider,
    SessionCounters,
    SessionOptions,
    keyword_mask,
)
from tracer.live.owners import own_session_name, stop_leftovers
from tracer.live.pipeline import LivePipeline
from tracer.live.registry import current_control_set
from tracer.live.row_filter import RowFilter

__all__ = ["QUEUE_BYTES", "Watch", "WatchStatus", "watched_keywords"]

_PROCESS_KEYWORD = 0x10  # WINEVENT_KEYWORD_PROCESS: starts, stops, rundown
_TURN = 0.1  # seconds for which records are waited for
_POLL = 1.0  # seconds between two looks at the session's counters
_PIECE = 20_000  # records that go through the pipeline at once; memory follows it, not the queue
QUEUE_BYTES = 256 << 20  # room for the seconds it takes to look around, and for those a busy machine takes
_PATIENCE = 10.0  # seconds that the rest of a stream may take once its session was stopped


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """How a watch stands.

    Attributes:
        seconds: since it began.
        received: records that came, of whatever kind.
        events: registry operations named so far. shown: those that the filters let through.
        rate: records that came in each of the last seconds, on average.
        buffers: (in use, all) of the session; None where it was not asked yet.
        held: records held back to be put in order.
        queue_bytes: bytes of records that wait in our queue; None where that is not known.
        lost: events that found no room in the session. lost_buffers: buffers that nobody took in time.
        dropped: records that found no room in our own queue, or failed on the way into it.
        late: records that came too late to be put in order.
    """

    seconds: float
    received: int
    events: int
    shown: int
    rate: float
    buffers: tuple[int, int] | None
    held: int
    queue_bytes: int | None
    lost: int
    lost_buffers: int
    dropped: int
    late: int

    @property
    def is_lossy(self) -> bool:
        """Whether anything is missing."""
        return bool(self.lost or self.lost_buffers or self.dropped)


def watched_keywords(operations: tuple[str, ...] | None) -> int:
    """Return the keyword mask that makes the provider report `operations` (None: all) and what names them.

    Operations without a keyword of their own (hive work) are reported with every keyword only: mask 0.
    """
    if operations is not None and not set(operations) <= set(KEYWORDS):
        return 0
    return keyword_mask(operations)


class Watch:
    """A running watch; use it in a `with` statement. The session is stopped whatever happens.

    Args:
        rows: which rows are shown.
        data: whether the provider is asked for data of values. That setting is machine-wide and lasts.
        control_set: number of the current control set; None asks the system.
        clock: seconds that only rise.

    Attributes:
        session_name: its session's, which no other watch has.
        notes: what could not be had, and sessions of dead watches that were stopped, one sentence each.
        ended_by_other: whether somebody else stopped the session.
    """

    def __init__(
        self,
        rows: RowFilter,
        *,
        data: bool = True,
        control_set: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._filter, self._data, self._control_set, self._clock = rows, data, control_set, clock
        self._session: Any = None
        self._consumer: Any = None
        self._pipeline = LivePipeline(clock=clock)
        self.session_name = own_session_name("watch")
        self.notes: list[str] = []
        self.ended_by_other = False
        self._counters: SessionCounters | None = None
        self._dropped = self._shown = self._received = 0
        self._began = self._polled = clock()
        self._recent: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=600)
        self._over = False

    def __enter__(self) -> Self:
        from tracer.session import Consumer, Session, list_sessions, require_windows, stop_session

        require_windows("regtrace watch")
        self.notes += stop_leftovers(("watch", "monitor"), list_sessions, stop_session)
        try:
            self._session = Session(
                SessionOptions(self.session_name, LogMode.REAL_TIME, smallest_count=64, largest_count=256)
            )
            self._session.start()
            self._consumer = Consumer(self.session_name, most_bytes=QUEUE_BYTES)
            self._consumer.start()
            # Processes first: of those that start from now on nothing is missed.
            self._session.enable(Provider(KERNEL_PROCESS, any_keywords=_PROCESS_KEYWORD))
            word = ALL_OPTIONS if self._data else OPTION_NAMES
            keywords = watched_keywords(self._filter.operations)
            self._session.enable(Provider(KERNEL_REGISTRY, any_keywords=keywords, option_word=word))
            self._counters = self._session.counters()
            self._look_around()
        except BaseException:
            self._close()
            raise
        self._began = self._polled = self._clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows that were asked for as they come, and an empty table where a while brought none.

        It ends when the session does. Columns are `tracer.live.pipeline.LIVE_COLUMNS`.
        """
        while not self._over:
            raw = self._consumer.take(_TURN)
            self._poll()
            if raw is None:
                self.ended_by_other = True
                self._over = True
                break
            yield from self._rows(raw)

    def finish(self) -> Iterator[pa.Table]:
        """Stop the session and yield the rows that were still on their way."""
        if self._session is None:
            return
        self._note(self._session.stop())
        self.ended_by_other = self.ended_by_other or bool(self._session.ended_by_other)
        end = self._clock() + _PATIENCE
        while not self._over and self._clock() < end:
            raw = self._consumer.take(_TURN)
            if raw is None:
                self._over = True
            else:
                yield from self._rows(raw)
        self._note(self._counters)
        yield self._chosen(self._pipeline.flush())

    def status(self) -> WatchStatus:
        """Return how the watch stands now."""
        counters, now = self._counters, self._clock()
        since, before = self._recent[0]
        span = max(now - since, _TURN)
        return WatchStatus(
            seconds=now - self._began,
            received=self._received,
            events=self._pipeline.rows,
            shown=self._shown,
            rate=(self._received - before) / span,
            buffers=(counters.buffers - counters.free_buffers, counters.buffers) if counters else None,
            held=self._pipeline.held,
            queue_bytes=getattr(self._consumer, "queued_bytes", None),
            lost=counters.events_lost if counters else 0,
            lost_buffers=counters.real_time_buffers_lost + counters.log_buffers_lost if counters else 0,
            dropped=self._dropped,
            late=self._pipeline.diagnostics["late_record"],
        )

    def _look_around(self) -> None:
        """Read which processes run and which keys are open, and make the pipeline that knows of them."""
        processes = self._ask(_snapshot, "the running processes could not be listed") or ()
        table = self._ask(_handle_table, "keys that were open before are not named")
        seed = (table.addresses, table.paths) if table is not None else None
        seed_ns = table.time_ns if table is not None else None
        if self._control_set is None:
            self._control_set = current_control_set()
        self._pipeline = LivePipeline(
            seed, processes, seed_ns=seed_ns, control_set=self._control_set, clock=self._clock
        )

    def _ask(self, question: Callable[[], Any], trouble: str) -> Any:  # noqa: ANN401
        """Return an answer without which the watch is poorer, but works; None and a note where there is none."""
        try:
            return question()
        except (RegtraceError, OSError, ImportError) as error:
            self.notes.append(f"{trouble}: {error}")
            return None

    def _rows(self, raw: list[Any]) -> Iterator[pa.Table]:
        self._received += len(raw)
        self._recent.append((self._clock(), self._received))
        while len(self._recent) > 2 and self._recent[0][0] < self._recent[-1][0] - 3:
            self._recent.popleft()
        for start in range(0, max(len(raw), 1), _PIECE):
            yield self._chosen(self._pipeline.push(raw[start : start + _PIECE]))

    def _chosen(self, rows: pa.Table) -> pa.Table:
        chosen = self._filter.chosen(rows, control_set=self._control_set)
        self._shown += chosen.num_rows
        return chosen

    def _poll(self) -> None:
        """Ask the session for its counters once a second."""
        if self._clock() - self._polled < _POLL:
            return
        self._polled = self._clock()
        try:
            self._note(self._session.counters())
        except RegtraceError:  # it is gone: the stream says so as well, and what was counted stays
            self.ended_by_other = True

    def _note(self, counters: SessionCounters | None) -> None:
        """Note what was lost since the last look: names from before it are no longer sure."""
        before = self._counters
        dropped = self._consumer.dropped + self._consumer.failures if self._consumer is not None else 0
        counters = counters or before
        worse = dropped > self._dropped or (
            counters is not None and before is not None and _losses(counters) > _losses(before)
        )
        if worse:
            until = None if counters is before or counters is None else counters.time_ns
            self._pipeline.note_loss(before.time_ns if before else None, until)
        self._dropped, self._counters = dropped, counters

    def _close(self) -> None:
        """Stop everything; what goes wrong on the way hides nothing that came before it."""
        for part in (self._session, self._consumer):
            if part is not None:
                with suppress(RegtraceError, OSError):
                    part.stop()


def _losses(counters: SessionCounters) -> int:
    return counters.events_lost + counters.log_buffers_lost + counters.real_time_buffers_lost


def _snapshot() -> Any:  # noqa: ANN401
    from tracer.live.process_snapshot import snapshot_processes

    return snapshot_processes()


def _handle_table() -> Any:  # noqa: ANN401
    from tracer.live.handle_table import read_handle_table

    return read_handle_table()
