"""Where a live pipeline takes its records from: a consumer of a session, or batches that are at hand."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from tracer.live.records import RawRecord

__all__ = ["Batches", "RecordSource"]


class RecordSource(Protocol):
    """Where records come from: `tracer.session.Consumer`, or a test's own."""

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
    """Batches of records as a source; it ends with the last one."""

    def __init__(self, batches: Iterable[list[RawRecord]]) -> None:
        self._batches: Iterator[list[RawRecord]] = iter(batches)
        self.dropped = self.failures = 0

    def take(self, timeout: float) -> list[RawRecord] | None:  # noqa: ARG002
        """Return the next batch at once."""
        return next(self._batches, None)

    def stop(self) -> None:
        """Do nothing: the batches end by themselves."""
