"""A capture opened for questions: timelines, summaries and SQL, answered as pandas DataFrames."""

import shutil
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from analysis.card import card_html, card_text, facts
from analysis.collect import to_frame
from analysis.engine import (
    HELPERS,
    answer,
    bound,
    condition_view,
    connect,
    engine_errors,
    only_reads,
    quoted,
    stream,
)
from analysis.events import EVENT_COLUMNS
from analysis.filters import Codes, Filters, Words, find_processes
from analysis.keys import key_summary, sort_keys
from analysis.timeline import chosen, timeline
from analysis.times import parse_time
from tracer.errors import CaptureError, UsageError
from tracer.paths import compile_pattern, display_path, escape_argument, native_path
from tracer.schema import TABLES
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files
from tracer.text import fold_name

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Capture", "open_capture"]

_FEW_KEYS = 16  # up to so many ids go into the query as a list, which prunes row groups; more are joined


def open_capture(
    path: Path | str, *, memory_limit: str = "4GB", threads: int | None = None, check_rows: bool = True
) -> "Capture":
    """Open a capture directory.

    Args:
        path: NAME.regtrace, as `regtrace ingest` makes it.
        memory_limit: what the engine may use; larger questions spill to the disk.
        threads: how many the engine may use; None for one per processor.
        check_rows: compare each part's row count with the manifest first.

    Raises:
        CaptureError: the capture is missing, incomplete, damaged or of another format.
        UsageError: the engine refuses the memory limit or the number of threads.
    """
    directory = Path(path)
    manifest = Manifest.load(directory, check_rows=check_rows)
    return Capture(directory, manifest, memory_limit=memory_limit, threads=threads)


class Capture:
    """One capture and the engine that reads it; close it, or use it in a `with` statement.

    Attributes:
        path: the directory.
        manifest: what `capture.json` says.
        backend: the Ibis backend, for questions this class does not know.
    """

    def __init__(self, path: Path, manifest: Manifest, *, memory_limit: str, threads: int | None) -> None:
        self.path = path
        self.manifest = manifest
        files = table_files(path.absolute(), manifest)
        self.backend, spill = connect(files, memory_limit=memory_limit, threads=threads)
        self._closer = weakref.finalize(self, _close, self.backend, spill)
        self._helpers: dict[str, str] = {}  # question -> name of the table or view that answers it

    @property
    def tables(self) -> Mapping[str, Table]:
        """The stored tables as Ibis tables, by name; the stored event rows are `stored_events`."""
        names = ["stored_events" if name == "events" else name for name in TABLES]
        return MappingProxyType({name: bound(self._open(), name) for name in names})

    @property
    def events(self) -> Table:
        """The event rows with the names of keys and processes joined (`analysis.events.EVENT_COLUMNS`)."""
        return bound(self._open(), "events")

    def sql(self, query: str) -> "pd.DataFrame":
        """Return the answer to one SQL query in DuckDB's dialect.

        It sees `events` (names joined), `stored_events`, and the other stored tables by their names.

        Raises:
            UsageError: the query has a mistake, or does more than read.
        """
        backend = self._open()
        query = only_reads(backend.con, query)
        with engine_errors():
            return to_frame(answer(backend, query))

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
        return self._frame(self.timeline_table(filters, columns=columns, limit=limit))

    def timeline_table(
        self, filters: Filters, *, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> Table:
        """Return the timeline as a lazy Ibis table, ordered by `sequence`."""
        _check_columns(columns, limit)
        return timeline(self._filtered(filters, joined=True), columns=columns, limit=limit)

    def timeline_reader(
        self,
        filters: Filters,
        *,
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        batch_rows: int = 65_536,
    ) -> "pa.RecordBatchReader":
        """Return the timeline as a stream of Arrow batches, for results larger than memory."""
        sql = ibis.to_sql(self.timeline_table(filters, columns=columns, limit=limit), dialect="duckdb")
        with engine_errors():
            return stream(self._open(), sql, batch_rows)

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
        return self._frame(self.keys_table(under, sort=sort, limit=limit, filters=filters))

    def keys_table(
        self,
        under: Words = None,
        *,
        sort: str = "events",
        limit: int | None = None,
        filters: Filters | None = None,
    ) -> Table:
        """Return the summary of keys as a lazy, ordered Ibis table; the arguments are those of `keys`."""
        _check_columns(None, limit)
        filters = filters or Filters()
        if under is not None:
            if filters.key is not None:
                raise UsageError("under and filters.key are two answers to one question: give one of them")
            filters = replace(filters, key=under, subtree=True)
        summary = key_summary(self._filtered(filters, joined=False), bound(self._open(), "keys"))
        ordered = sort_keys(summary, sort)
        return ordered if limit is None else ordered.limit(limit)

    def suggest_keys(self, text: str, n: int = 5) -> list[str]:
        """Return up to `n` display paths of this capture that are close to what a user wrote, best first."""
        try:
            wanted = fold_name(display_path(native_path(text), control_set=self.manifest.control_set))
        except UsageError:
            wanted = fold_name(escape_argument(text))
        name = wanted.rstrip("\\").rpartition("\\")[2]
        path, last = quoted(wanted), quoted(name)
        query = f"""
            SELECT min(display_path) FROM (
                SELECT display_path, folded_path,
                    jaro_winkler_similarity(folded_path, {path}) AS alike,
                    jaro_winkler_similarity(regexp_extract(folded_path, '[^\\\\]*$'), {last}) AS alike_name,
                    contains(folded_path, {path}) OR starts_with({path}, folded_path || '\\') AS kin
                FROM keys WHERE folded_path <> {path}
            )
            WHERE kin OR (alike > 0.75 AND alike_name > 0.7)
            GROUP BY folded_path
            ORDER BY max(alike + alike_name) DESC, length(folded_path), folded_path
            LIMIT {max(0, int(n))}
        """
        if not wanted:
            return []
        with engine_errors():
            found: list[str] = answer(self._open(), query).column(0).to_pylist()
        return found

    def info(self) -> dict[str, Any]:
        """Return what is known about the capture as JSON values: the manifest, losses and diagnostics."""
        known = self.manifest.as_dict()
        for name in ("losses", "diagnostics"):
            with engine_errors():
                known[name] = answer(self._open(), f"SELECT * FROM {name}").to_pylist()
        return known

    def close(self) -> None:
        """Let go of the engine and of the disk space it spilled to; closing twice is fine."""
        self._closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return card_text(self.path.name, facts(self.manifest, closed=not self._closer.alive))

    def _repr_html_(self) -> str:
        return card_html(str(self.path), facts(self.manifest, closed=not self._closer.alive))

    def _open(self) -> Backend:
        """Return the backend of a capture that is still open."""
        if not self._closer.alive:
            raise CaptureError(f"the capture {self.path.name} is closed: open it again")
        return self.backend

    def _frame(self, table: Table) -> "pd.DataFrame":
        sql = ibis.to_sql(table, dialect="duckdb")
        with engine_errors():
            return to_frame(answer(self._open(), sql))

    def _filtered(self, filters: Filters, *, joined: bool) -> Table:
        """Return the event rows that fit, with the names joined or as stored."""
        backend = self._open()
        processes = None
        if filters.process is not None or filters.pid is not None:
            processes = find_processes(bound(backend, "processes"), filters.process, filters.pid)
        first_ns = min((part["first_ns"] for part in self.manifest.parts), default=None)
        last_ns = max((part["last_ns"] for part in self.manifest.parts), default=None)
        start_ns, end_ns = (
            None
            if time is None
            else _in_range(parse_time(time, first_ns=first_ns, last_ns=last_ns, end=is_end))
            for time, is_end in ((filters.start, False), (filters.end, True))
        )
        if filters.where is not None:
            events = self._fitting(filters.where)
        else:
            events = bound(backend, "events" if joined else "stored_events")
        return chosen(
            events,
            key_ids=self._key_ids(filters),
            processes=processes,
            value=filters.value,
            operation=filters.operation,
            status=filters.status,
            start_ns=start_ns,
            end_ns=end_ns,
        )

    def _fitting(self, condition: str) -> Table:
        """Return the rows of `events` that fit a user's SQL condition."""
        backend = self._open()
        name = self._helpers.get(condition)
        if name is None:
            name = f"where_{len(self._helpers)}"
            condition_view(backend.con, name, condition)
            self._helpers[condition] = name
        return bound(backend, "events", name)

    def _key_ids(self, filters: Filters) -> list[int] | Table | None:
        """Return the keys asked for and all that are grouped with them; None where every key is."""
        if filters.key is None:
            return None
        texts = [filters.key] if isinstance(filters.key, str) else list(filters.key)
        control_set = self.manifest.control_set
        patterns = [
            compile_pattern(text, control_set=control_set, user_sid=filters.user_sid, subtree=filters.subtree)
            for text in texts
        ]
        condition = " OR ".join(pattern.sql("folded_path") for pattern in patterns) or "false"
        query = f"SELECT key_id FROM keys WHERE same_as IN (SELECT same_as FROM keys WHERE {condition})"
        backend = self._open()
        with engine_errors("the key pattern cannot be used"):
            if query not in self._helpers:
                name = f"keys_{len(self._helpers)}"
                backend.con.execute(f"CREATE TABLE {HELPERS}.{name} AS {query} ORDER BY key_id")
                self._helpers[query] = name
            some = f"SELECT key_id FROM {HELPERS}.{self._helpers[query]} LIMIT {_FEW_KEYS + 1}"
            ids: list[int] = answer(backend, some).column(0).to_pylist()
        if len(ids) <= _FEW_KEYS:
            return ids
        return bound(backend, "keys", self._helpers[query]).select("key_id")


def _close(backend: Backend, spill: Path) -> None:
    backend.disconnect()
    shutil.rmtree(spill, ignore_errors=True)


def _in_range(nanoseconds: int) -> int:
    """Return a time that the column can be compared with: years before 1677 and after 2262 are its ends."""
    return max(-(2**63), min(nanoseconds, 2**63 - 1))


def _check_columns(columns: Sequence[str] | None, limit: int | None) -> None:
    if limit is not None and not 0 <= limit < 2**63:
        raise UsageError(f"limit is {limit}: it must be a number of rows")
    if columns is None:
        return
    if not columns:
        raise UsageError(f"no column is named: the columns are {', '.join(EVENT_COLUMNS)}")
    for name in columns:
        if name not in EVENT_COLUMNS:
            raise UsageError(f"events have no column {name!r}: the columns are {', '.join(EVENT_COLUMNS)}")
