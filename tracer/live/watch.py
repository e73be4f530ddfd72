"""A watch: a real-time session whose records are named and filtered as they come, with every loss counted."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from tracer.errors import RegtraceError
from tracer.live.feed import LiveFeed
from tracer.live.pipeline import IN_TREE
from tracer.live.record_sources import PIECE
from tracer.live.row_filter import RowFilter
from tracer.live.stream import LiveStream
from tracer.rows.process_tree import ProcessTree
from tracer.session.options import ALL_OPTIONS, KEYWORDS, OPTION_NAMES, keyword_mask

__all__ = ["QUEUE_BYTES", "Watch", "WatchStatus", "watched_keywords"]

_TURN = 0.1  # seconds for which records are waited for
_LEAST_PIECE, _PIECE_SECONDS = 1_000, 0.3  # how many at least, and how long a piece is to take, shown and all
_LAST_PIECE = 5_000  # records that go through it at once where the end was asked for
QUEUE_BYTES = 256 << 20  # room for the seconds it takes to look around, and for those a busy machine takes
_PATIENCE = 1.0  # seconds for what is still on its way once the end was asked for; the rest is counted
_PATIENCE_HELD = 0.5  # seconds more for records that were read and only wait to be put in order


@dataclass(frozen=True, slots=True)
class WatchStatus:
    """Counts of a watch at one moment.

    The parts of `received` are `shown`, `filtered`, `other`, `undecoded`, `dropped`, `waiting` and `unread`.

    Attributes:
        seconds: since it began.
        received: records that the service handed over, of any kind, including lost ones.
        events: registry operations named so far. shown: those handed on. filtered: those that fit no filter.
        other: records that are no operations: starts of processes, rundowns, the header of the stream.
        undecoded: registry records of which no row could be made.
        rate: records that came in each of the last seconds, on average.
        buffers: (in use, all) of the session; None if it was not asked yet.
        waiting: records that came and were not read yet; 0 once the watch is over.
        unread: records that came and were never read, since the watch ended before; 0 until then.
        queue_bytes: bytes of records that wait in our queue; None if that is not known.
        lost: events that found no room in the session. lost_buffers: buffers that no consumer took in time.
        dropped: records that found no room in our own queue, or failed on the way into it.
        late: records that came too late to be put in order.
        unknown: sentences on what may be missing and cannot be counted.
        unplaced: processes with operations that were left out, of which it is not known whether they belong to the tree
            of processes that is asked for: what started them is unknown, or had ended before.
    """

    seconds: float
    received: int
    events: int
    shown: int
    filtered: int
    other: int
    undecoded: int
    rate: float
    buffers: tuple[int, int] | None
    waiting: int
    unread: int
    queue_bytes: int | None
    lost: int
    lost_buffers: int
    dropped: int
    late: int
    unknown: tuple[str, ...] = ()
    unplaced: int = 0

    @property
    def is_lossy(self) -> bool:
        """Whether anything is missing or may be missing."""
        counted = self.lost or self.lost_buffers or self.dropped or self.unread or self.undecoded
        return bool(counted or self.unknown)


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
        handles: whether the handle table is read for names of open keys, which opens processes of others.
        control_set: number of the current control set; None asks the system.
        clock: seconds that only rise.
        tree: which processes' rows are shown, and of which that they started; None: of every process.

    Attributes:
        has_started: whether it was entered: its session ran, and its records were taken.
    """

    def __init__(
        self,
        rows: RowFilter,
        *,
        data: bool = True,
        handles: bool = True,
        control_set: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        tree: ProcessTree | None = None,
    ) -> None:
        self._filter, self._data, self._control_set, self._clock = rows, data, control_set, clock
        self._handles = handles
        self._stream = LiveStream("watch", largest_count=256, queue_bytes=QUEUE_BYTES, clock=clock)
        self._feed = LiveFeed(self._stream, self._stream, clock, tree=tree)
        self._shown = self._filtered = 0
        self._piece = _LEAST_PIECE  # until the pace is known
        self._began = clock()
        self._recent: deque[tuple[float, int]] = deque([(self._began, 0)], maxlen=600)
        self.has_started = self._is_over = self._is_closed = False

    def __enter__(self) -> Self:
        word = ALL_OPTIONS if self._data else OPTION_NAMES
        try:
            self._stream.start("regtrace watch", watched_keywords(self._filter.operations), word)
            self._feed.begin(self._stream.look_around(control_set=self._control_set, handles=self._handles))
        except BaseException:
            self._close()
            raise
        self._began = self._clock()
        self._recent = deque([(self._began, self._feed.received)], maxlen=600)
        self.has_started = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    @property
    def session_name(self) -> str:
        """Its session's name, which no other watch has."""
        return self._stream.session_name

    @property
    def notes(self) -> list[str]:
        """Sentences on what could not be read, and on sessions of ended processes that were stopped."""
        return self._stream.notes

    @property
    def ended_by_other(self) -> bool:
        """Whether another program stopped the session."""
        return self._stream.ended_by_other

    @property
    def trouble(self) -> RegtraceError | None:
        """What broke the stream; None if nothing did."""
        return self._stream.trouble

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows that pass the filter as they come, or an empty table when none came for a while.

        It ends when the session does. Whoever leaves it early calls `finish` for what was on its way, or
        finds it counted as `unread`. Columns are `tracer.live.pipeline.LIVE_COLUMNS`.
        """
        while not self._is_over:
            raw = self._feed.take(_TURN, self._piece)
            start = self._clock()
            if raw is None:
                self._is_over = True
            else:
                yield self._rows(raw)
                self._note_pace(len(raw), self._clock() - start)

    def finish(self) -> Iterator[pa.Table]:
        """Stop the session and yield the rows that still arrive within a second; the rest is counted."""
        if not self.has_started or self._is_closed:
            return
        end = self._clock() + _PATIENCE
        self._stream.stop_session()
        self._feed.note_losses()
        while not self._is_over and self._clock() < end:
            raw = self._feed.take(_TURN, min(self._piece, _LAST_PIECE))
            start = self._clock()
            if raw is None:
                self._is_over = True
            else:
                yield self._rows(raw)
                self._note_pace(len(raw), self._clock() - start)
        self._stream.stop()
        while self._feed.pipeline.held and self._clock() < end + _PATIENCE_HELD:
            self._feed.note_losses()
            yield self._pass(self._feed.pipeline.flush(min(self._piece, _LAST_PIECE)))
        self._is_closed = True

    def withdraw(self, rows: int) -> None:
        """Subtract rows that were yielded but could not be shown."""
        self._shown -= rows

    def status(self) -> WatchStatus:
        """Return the counts of the watch now."""
        counters, feed, now = self._stream.counters, self._feed, self._clock()
        since, before = self._recent[0]
        pending = feed.pending(self._filtered + self._shown)
        return WatchStatus(
            seconds=now - self._began,
            received=feed.received,
            events=feed.pipeline.rows,
            shown=self._shown,
            filtered=self._filtered,
            other=feed.other,
            undecoded=feed.undecoded,
            rate=(self._recent[-1][1] - before) / max(now - since, _TURN),
            buffers=(counters.buffers - counters.free_buffers, counters.buffers) if counters else None,
            waiting=0 if self._is_closed else pending,
            unread=pending if self._is_closed else 0,
            queue_bytes=self._stream.queued_bytes,
            lost=counters.events_lost if counters else 0,
            lost_buffers=counters.buffers_lost if counters else 0,
            dropped=feed.dropped,
            late=feed.pipeline.diagnostics["late_record"],
            unknown=tuple(self._stream.unknown.values()),
            unplaced=len(feed.pipeline.unplaced),
        )

    def _note_pace(self, records: int, seconds: float) -> None:
        """Adapt the size of pieces to the pace, because the end is noticed only between pieces."""
        if records >= _LEAST_PIECE and seconds > 0:
            self._piece = min(max(int(records * _PIECE_SECONDS / seconds), _LEAST_PIECE), PIECE)

    def _rows(self, raw: list[Any]) -> pa.Table:
        if raw:
            self._recent.append((self._clock(), self._feed.received))
        while len(self._recent) > 2 and self._recent[0][0] < self._recent[-1][0] - 3:
            self._recent.popleft()
        return self._pass(self._feed.pipeline.push(raw))

    def _pass(self, rows: pa.Table) -> pa.Table:
        """Return the rows that are shown, and count them and the others."""
        among = rows
        if IN_TREE in rows.column_names:
            among = rows.filter(rows.column(IN_TREE)).drop_columns([IN_TREE])
        passed = self._filter.apply(among, control_set=self._feed.control_set)
        self._filtered += rows.num_rows - passed.num_rows
        self._shown += passed.num_rows
        return passed

    def _close(self) -> None:
        """Stop everything; a failure here does not replace an earlier exception."""
        try:
            with suppress(RegtraceError, OSError):
                self._stream.stop()
        finally:
            self._is_closed = True
