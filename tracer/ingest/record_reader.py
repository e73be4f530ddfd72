"""A reader of records, as the pipeline needs one: of .etl files, or of their records as text."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from tracer.diagnostics import Diagnostics
from tracer.etl.logfile import LogfileHeader
from tracer.etl.losses import Loss
from tracer.etl.records import Records

__all__ = ["RecordReader"]


class RecordReader(Protocol):
    """Yields records in the order of time; `tracer.etl.reader.EtlReader` says what each attribute is."""

    losses: list[Loss]
    diagnostics: list[Diagnostics]
    bytes_done: int
    bytes_total: int

    @property
    def sources(self) -> Sequence[Any]:
        """The files; `Records.source` points into it."""

    @property
    def headers(self) -> list[LogfileHeader]:
        """The log file header of each source; empty where there are none."""

    @property
    def providers(self) -> list[str]:
        """Provider names, by number."""

    def latest(self, loss: Loss) -> int | None:
        """Return the end of a loss in the time that records are ordered by."""

    def set_backs(self) -> list[Loss]:
        """Return the times that came twice because the clock was set back."""

    def __iter__(self) -> Iterator[Records]:
        """Yield the records."""
