"""Sources of live records, and the intake that takes records from them in pieces and counts them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, cast

from tracer.live.records import RawRecord

__all__ = ["PIECE", "Batches", "Intake", "RecordSource", "as_source"]

PIECE = 20_000  # records that go through a pipeline at once; between two pieces an end is obeyed


class RecordSource(Protocol):
    """Where records come from: `tracer.session.consumer.Consumer`, or a test's own.

    One that has an attribute `received` counts by it all that came so far, taken or not; of another one, what it
    still holds at the end is taken and counted.
    """

    @property
    def dropped(self) -> int:
        """How many records found no room."""
        ...

    @property
    def failures(self) -> int:
        """How many records were lost to an exception."""
        ...

    def take(self, timeout: float) -> list[RawRecord] | None:
        """Return the records since the last call, perhaps none; None once the stream ended."""
        ...

    def stop(self) -> None:
        """End the stream; what came until then can still be taken."""
        ...


class Batches:
    """Batches of records as a source; it ends with the last one.

    Attributes:
        received: records of all batches of a sequence; of an iterator, of those that were taken, since the others stay
            with whoever has it.
    """

    def __init__(self, batches: Iterable[list[RawRecord]]) -> None:
        self._batches: Iterator[list[RawRecord]] = iter(batches)
        self._is_counted = isinstance(batches, Sequence)
        self.received = sum(map(len, batches)) if isinstance(batches, Sequence) else 0
        self.dropped = self.failures = 0

    def take(self, timeout: float) -> list[RawRecord] | None:  # noqa: ARG002
        """Return the next batch at once."""
        batch = next(self._batches, None)
        if batch is not None and not self._is_counted:
            self.received += len(batch)
        return batch

    def stop(self) -> None:
        """Do nothing: the batches end by themselves."""


def as_source(records: RecordSource | Iterable[list[RawRecord]] | None) -> RecordSource:
    """Return a source as it is, and batches as a source."""
    return cast(RecordSource, records) if hasattr(records, "take") else Batches(records or ())


class Intake:
    """Hands out the records of a source in pieces, and counts all of them."""

    def __init__(self, source: RecordSource) -> None:
        self._source = source
        self._batch: list[RawRecord] = []
        self._place = self._taken = 0

    @property
    def received(self) -> int:
        """How many records the source received so far, including those that were lost afterwards."""
        counted = getattr(self._source, "received", None)
        if counted is not None:
            return int(counted)
        return self._taken + self._source.dropped + self._source.failures

    def piece(self, timeout: float, most: int = PIECE) -> list[RawRecord] | None:
        """Return the next records, perhaps none; None once the stream ended and all were handed out.

        Args:
            timeout: seconds to wait at most where nothing is there.
            most: how many at most.
        """
        if self._place >= len(self._batch):
            batch = self._source.take(timeout)
            if batch is None:
                return None
            self._batch, self._place = batch, 0
            self._taken += len(batch)
        piece = self._batch[self._place : self._place + most]
        self._place += len(piece)
        return piece

    def count_remaining(self) -> None:
        """Count the records that a stopped source still holds, if the source does not count them itself."""
        if getattr(self._source, "received", None) is None:
            while batch := self._source.take(0):
                self._taken += len(batch)
