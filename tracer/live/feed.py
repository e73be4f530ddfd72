"""The feed of live records: takes them from a source, notes losses, and counts what became of each."""

import time
from collections.abc import Callable

from tracer.live.pipeline import LivePipeline
from tracer.live.record_sources import PIECE, Intake, RecordSource
from tracer.live.records import RawRecord
from tracer.live.stream import LiveStream, Surroundings
from tracer.rows.process_tree import ProcessTree
from tracer.session.options import SessionCounters

__all__ = ["LiveFeed"]


class LiveFeed:
    """Takes records of a source, tells the pipeline about losses, and counts what became of every record.

    Args:
        source: where the records come from.
        stream: the source as the stream of a session, whose counters are asked for; None without a session.
        clock: seconds that only rise.
        tree: as of `tracer.live.pipeline.LivePipeline`.

    Attributes:
        pipeline: what makes rows of the records; `begin` makes the one that knows the surroundings.
        control_set: number of the current control set; None if unknown.
    """

    def __init__(
        self,
        source: RecordSource,
        stream: LiveStream | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        tree: ProcessTree | None = None,
    ) -> None:
        self._source, self._stream, self._clock, self._tree = source, stream, clock, tree
        self._intake = Intake(source)
        self.begin(Surroundings())

    def begin(self, surroundings: Surroundings) -> None:
        """Make a pipeline that knows these surroundings."""
        self.control_set = surroundings.control_set
        self.pipeline = LivePipeline(
            surroundings.seed,
            surroundings.processes,
            seed_ns=surroundings.seed_ns,
            control_set=surroundings.control_set,
            clock=self._clock,
            tree=self._tree,
        )
        self._last_counters, self._last_dropped = self.counters, 0

    @property
    def counters(self) -> SessionCounters | None:
        """What the session said of itself last; None without a session."""
        return None if self._stream is None else self._stream.counters

    @property
    def received(self) -> int:
        """How many records came, of any kind, including those that were lost afterwards."""
        return self._intake.received

    @property
    def dropped(self) -> int:
        """How many records found no room in our queue, or failed on the way into it."""
        return self._source.dropped + self._source.failures

    @property
    def undecoded(self) -> int:
        """How many registry records could not be read."""
        return self.pipeline.undecoded

    @property
    def other(self) -> int:
        """How many records are no operations: starts of processes, rundowns, the header of the stream."""
        return self.pipeline.records - self.pipeline.rows - self.pipeline.undecoded

    def pending(self, delivered: int) -> int:
        """Return how many records came and were neither counted as lost nor among the `delivered` rows.

        It is what remains of all that came, so no record can be left out, whoever leaves the feed, and where.
        """
        return self.received - self.dropped - self.other - self.undecoded - delivered

    def take(self, timeout: float, most: int = PIECE) -> list[RawRecord] | None:
        """Return the next records, perhaps none; None once the source ended and all were taken.

        Args:
            timeout: seconds to wait at most where nothing is there.
            most: how many at most.
        """
        raw = self._intake.piece(timeout, most)
        if self._stream is not None:
            self._stream.poll()
        self.note_losses()
        return raw

    def note_losses(self) -> None:
        """Tell the pipeline what was lost since the last call, because a loss makes earlier names unsure."""
        before, now = self._last_counters, self.counters
        lost = before is not None and now is not None and now.missing > before.missing
        if lost or self.dropped > self._last_dropped:
            end_ns = None if now is before or now is None else now.time_ns
            self.pipeline.note_loss(before.time_ns if before else None, end_ns)
        self._last_counters, self._last_dropped = now, self.dropped

    def count_remaining(self) -> None:
        """Count the records that a stopped source still holds, if the source does not count them itself."""
        self._intake.count_remaining()
