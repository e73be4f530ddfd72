"""The records of an export: a timeline as batches of rows with host and processes, and what is said of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from analysis.dataset.members import host_of
from analysis.engine.columns import LABELS
from analysis.engine.connection import engine_errors
from analysis.export.notices import Notice, find_notices
from analysis.export.rows import Processes, Rows
from analysis.questions import timeline
from tracer.errors import RegtraceError, UsageError

if TYPE_CHECKING:
    from analysis.filters import Filters
    from analysis.questions.context import QueryContext

__all__ = ["Export", "Exported", "Options", "Records", "utc_ns"]

_BATCH_ROWS = 4_096  # JSON is joined in several steps, each of which holds a batch whole
_BATCH_BYTES = 32 << 20  # a batch with longer data is halved
# Columns of a timeline that no format has, or that stand in the processes once for each.
_OTHERS = ("notify_class", "phase", "process", "pid", "user", "command_line", "entry_count", "previous_meaning", "cpu",
           "source_id", "record_offset")  # fmt: skip
_UNNAMED = ("none", "partial")


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may choose of a format.

    Attributes:
        index: of Elastic, or of Splunk; None: the format's own.
        sourcetype: of Splunk; None: the format's own.
        csv: whether Timesketch gets CSV; else JSON lines.
    """

    index: str | None = None
    sourcetype: str | None = None
    csv: bool = False


@dataclass(slots=True)
class Exported:
    """What became of the rows of an export.

    Attributes:
        rows: event rows that were written.
        notices: records beside them that say what is missing (`analysis.export.notices`).
        cut: cells that were cut at a limit of the format.
        unnamed: rows with a key of which only the end of the name is known, or nothing.
        left_out: rows that the format cannot say.
        notes: other sentences.
    """

    rows: int = 0
    notices: int = 0
    cut: int = 0
    unnamed: int = 0
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


class Export(Protocol):
    """A format at work: what it writes before, of, and behind the rows."""

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield what stands before the rows."""

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield a batch of rows."""

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield what stands behind the rows."""


class Records:
    """The rows of an export and their surroundings.

    Attributes:
        context: one or several captures.
        filters: the filters of the rows.
        host: the machine of a single capture; None where it is not known, or there are several.
        options: what a user chose.
        tally: counts what is written.
        processes: the processes of the captures.
        is_dataset: whether there are several captures.
        is_limited: whether the first rows only are asked for.
    """

    def __init__(
        self, context: "QueryContext", filters: "Filters", options: Options, *, limit: int | None = None
    ) -> None:
        """Ask for the rows.

        Raises:
            UsageError: a filter cannot be understood.
        """
        self.context, self.filters, self.options = context, filters, options
        self.is_limited = limit is not None
        self.tally = Exported()
        self.is_dataset = LABELS[0] in context.event_columns
        self.host = None if self.is_dataset else host_of(context.manifest)
        self.processes = Processes(context.engine.fetch(context.relation("processes")))
        columns = [name for name in timeline.timeline_columns(context) if name not in _OTHERS]
        self._query = timeline.query(context, filters, columns=columns, limit=limit)

    def notices(self) -> Iterator[Notice]:
        """Yield what is said of the rows, and count it."""
        for notice in find_notices(self.context, self.filters, self.host):
            self.tally.notices += 1
            yield notice

    def batches(self) -> Iterator[Rows]:
        """Yield the rows in order, a batch at a time, and count them."""
        with engine_errors():
            for batch in _read(self._query.reader(_BATCH_ROWS)):
                pa.default_memory_pool().release_unused()  # else Arrow keeps what its largest step took
                for part in _small(batch):
                    rows = Rows(self._labelled(part), self.processes)
                    self.tally.rows += len(rows)
                    unnamed = pc.is_in(rows["name_source"], pa.array(_UNNAMED))
                    self.tally.unnamed += pc.sum(unnamed).as_py() or 0
                    yield rows

    def _labelled(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self.is_dataset:
            return batch
        labels = (self.host, self.context.path.name)
        columns = [_same(label, batch.num_rows) for label in labels]
        return pa.RecordBatch.from_arrays([*columns, *batch.columns], names=[*LABELS, *batch.schema.names])


def _read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a stream; what the engine says while it is read becomes an error of ours."""
    try:
        yield from reader
    except pa.ArrowException as error:
        text = str(error).strip().partition("\n")[0]
        kind = UsageError if "Conversion" in text or "Invalid" in text else RegtraceError
        raise kind(f"the query cannot be run: {text}") from error


def utc_ns(time_ns: int) -> str:
    """Return a time as ISO 8601 with microseconds, without its zone, which is UTC.

    >>> utc_ns(1_735_526_400_000_012_345)
    '2024-12-30T02:40:00.000012'
    """
    texts = pa.array([time_ns // 1000], pa.timestamp("us")).cast(pa.string())
    return str(texts[0].as_py()).replace(" ", "T", 1)


def _same(label: str | None, length: int) -> pa.DictionaryArray:
    indices = pa.nulls(length, pa.int32()) if label is None else pa.repeat(pa.scalar(0, pa.int32()), length)
    return pa.DictionaryArray.from_arrays(indices, pa.array([label or ""], pa.string()))


def _small(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in parts whose texts fit into memory, and into Arrow's arrays of text."""
    if batch.num_rows > 1 and batch.nbytes > _BATCH_BYTES:
        half = batch.num_rows // 2
        yield from _small(batch.slice(0, half))
        yield from _small(batch.slice(half))
    elif batch.num_rows:
        yield batch
