"""A capture opened for questions: timelines, summaries and SQL, answered as pandas DataFrames."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import ibis
from ibis.expr.types import Table

from analysis.answers.keys import key_summary, sort_keys
from analysis.answers.timeline import timeline
from analysis.dataset.members import Captures, find_captures
from analysis.engine.duckdb_backend import (
    answer,
    engine_errors,
    only_reads,
    stream,
)
from analysis.engine.events_view import EVENT_COLUMNS
from analysis.engine.fetch import to_frame
from analysis.filters import Codes, Filters, Words
from analysis.questions.questions import Questions
from analysis.questions.ranges import ranges, stream_ranges
from tracer.errors import UsageError
from tracer.store.manifest import Manifest

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Capture", "open_capture"]


def open_capture(
    path: Captures, *, memory_limit: str = "4GB", threads: int | None = None, check_rows: bool = True
) -> "Capture":
    """Open a capture directory, or several as one (`analysis.dataset.dataset.Dataset`).

    Args:
        path: NAME.regtrace, as `regtrace ingest` makes it; or a folder of such, a list of them, or a
            mapping of hosts to them.
        memory_limit: what the engine may use; larger questions spill to the disk.
        threads: how many the engine may use; None for one per processor.
        check_rows: compare each part's row count with the manifest first.

    Raises:
        CaptureError: the capture is missing, incomplete, damaged or of another format.
        UsageError: the engine refuses the memory limit or the number of threads; or one capture is named
            twice, or none.
    """
    found = find_captures(path)
    if found is not None or not isinstance(path, Path | str):
        from analysis.dataset.dataset import Dataset

        return Dataset.of(
            path, found or [], memory_limit=memory_limit, threads=threads, check_rows=check_rows
        )
    directory = Path(path)
    manifest = Manifest.load(directory, check_rows=check_rows)
    return Capture(directory, manifest, memory_limit=memory_limit, threads=threads)


class Capture(Questions):
    """One capture and the engine that reads it; close it, or use it in a `with` statement.

    Attributes:
        event_columns: the columns of a timeline.
    """

    event_columns: ClassVar[tuple[str, ...]] = EVENT_COLUMNS

    def sql(self, query: str, *, limit: int | None = None) -> "pd.DataFrame":
        """Return the answer to one SQL query in DuckDB's dialect, or its first rows.

        It sees `events` (names joined), `stored_events`, and the other stored tables by their names.

        Raises:
            UsageError: the query has a mistake, or does more than read.
        """
        backend = self.engine()
        query = only_reads(backend.con, query)
        with engine_errors():
            return to_frame(answer(backend, query).slice(0, limit))

    def timeline(
        self,
        key: Words = None,
        *,
        subtree: bool = False,
        value: str | None = None,
        process: str | int | None = None,
        pid: int | Sequence[int] | None = None,
        operation: Words = None,
        status: Codes = None,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
        where: str | None = None,
        user_sid: str | None = None,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> "pd.DataFrame":
        r"""Return what happened, oldest first, to the keys and by the processes asked for.

        The filters are those of `analysis.filters.Filters`; together they narrow.

        Args:
            key: HKLM\..., \REGISTRY\..., any case, ``*`` within a component, ``**`` across components.
            subtree: also the keys below.
            value: value name or pattern; "" is the default value.
            process: image name or pattern, or a pid.
            pid: process id, or several.
            operation: set, delete, read, write, SetValueKey, ...; several separated by commas.
            status: success, error, a status name or code; several separated by commas.
            start: ISO 8601, or +90s after the first event, or -5m before the last.
            end: likewise, inclusive.
            where: an SQL condition on the columns.
            user_sid: SID whose key HKCU is.
            columns: columns to return, in this order; None for all.
            limit: the first so many rows; None for all.

        Raises:
            UsageError: a filter cannot be understood.
        """
        filters = Filters(
            key=key,
            subtree=subtree,
            value=value,
            process=process,
            pid=pid,
            operation=operation,
            status=status,
            start=start,
            end=end,
            where=where,
            user_sid=user_sid,
        )
        return self.frame(self.timeline_table(filters, columns=columns, limit=limit), filters)

    def timeline_table(
        self, filters: Filters, *, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> Table:
        """Return the timeline as a lazy Ibis table, ordered by `sequence`."""
        _check_columns(columns, limit, self.event_columns)
        return timeline(self._event_rows(filters), columns=columns, limit=limit)

    def timeline_reader(
        self,
        filters: Filters,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        batch_rows: int = 16_384,
    ) -> "pa.RecordBatchReader":
        """Return the timeline as a stream of Arrow batches, for results larger than memory."""
        if limit is None and (found := ranges(self, filters)):
            _check_columns(columns, limit, self.event_columns)
            return stream_ranges(
                self, self._event_rows(filters), found, columns or self.event_columns, batch_rows
            )
        sql = ibis.to_sql(self.timeline_table(filters, columns=columns, limit=limit), dialect="duckdb")
        with engine_errors():
            return stream(self.engine(), sql, batch_rows)

    def keys(
        self,
        under: Words = None,
        *,
        sort: str = "events",
        limit: int | None = None,
        filters: Filters | None = None,
    ) -> "pd.DataFrame":
        """Return one row per key: how often it was read, written and opened, by how many, and when.

        Args:
            under: a key or pattern; it and the keys below it. None for every key that events touch.
            sort: events, reads, writes, opens, created, failures (or errors), processes, values,
                bytes_written, last_time (largest or latest first), first_time or key.
            limit: the first so many rows; None for all.
            filters: which rows count; its key filter must be None when `under` is given.

        Raises:
            UsageError: a filter or the order cannot be understood.
        """
        return self.frame(self.keys_table(under, sort=sort, limit=limit, filters=filters), filters)

    def keys_table(
        self,
        under: Words = None,
        *,
        sort: str = "events",
        limit: int | None = None,
        filters: Filters | None = None,
    ) -> Table:
        """Return the summary of keys as a lazy, ordered Ibis table; the arguments are those of `keys`."""
        _check_columns(None, limit, ())
        filters = filters or Filters()
        if under is not None:
            if filters.key is not None:
                raise UsageError("under and filters.key are two answers to one question: give one of them")
            filters = replace(filters, key=under, subtree=True)
        summary = key_summary(self.rows(filters, joined=False), self.tables["keys"], self.usage(filters))
        ordered = sort_keys(summary, sort)
        return ordered if limit is None else ordered.limit(limit)

    def _event_rows(self, filters: Filters) -> Table:
        """Return the rows of a timeline, with the columns `event_columns`, in no order."""
        return self.rows(filters, joined=True)


def _check_columns(columns: Sequence[str] | None, limit: int | None, known: Sequence[str]) -> None:
    if limit is not None and not 0 <= limit < 2**63:
        raise UsageError(f"limit is {limit}: it must be a number of rows")
    if columns is None:
        return
    if not columns:
        raise UsageError(f"no column is named: the columns are {', '.join(known)}")
    for name in columns:
        if name not in known:
            raise UsageError(f"events have no column {name!r}: the columns are {', '.join(known)}")
