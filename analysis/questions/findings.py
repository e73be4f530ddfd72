"""The questions about who did something, what failed, and what differs; and SQL."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Unpack

import ibis
from ibis.expr.types import Table

from analysis.engine.duckdb_backend import HELPERS, answer, engine_errors
from analysis.engine.fetch import fetch, to_frame
from analysis.filters import Filters, Words
from analysis.questions.context import OpenCapture
from tracer.errors import UsageError
from tracer.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from analysis.questions.questions import MoreFilters

__all__ = ["Findings"]

_SIDE_ROWS = "side_rows"  # view of the rows of a side that is compared
_SIDE_NAMES = "side_names"  # what keys of a side are called that pair by their meaning
_SIDE_EVERYWHERE = "side_everywhere"  # and of those that changed whole subtrees, of any key
_SIDE_DESCENT = "side_descent"  # which keys are below others, where a side needs it


class Findings(OpenCapture):
    """Questions about processes and failures, and comparisons; `analysis.questions.questions.Questions` has them too."""

    def sql_tables(self) -> tuple[str, ...]:
        """Return the names of the tables that SQL sees; `events` is the one with the names joined."""
        with engine_errors():
            names = answer(self.engine(), "SELECT view_name FROM duckdb_views() WHERE NOT internal AND "
                           "schema_name = 'main' UNION SELECT table_name FROM duckdb_tables() WHERE NOT internal "
                           "AND schema_name = 'main'")  # fmt: skip
        found: set[str] = set(names.column(0).to_pylist())
        known = [name for name in ("events", "stored_events", *TABLES) if name in found]
        return tuple(dict.fromkeys([*known, *sorted(found)]))

    def sql_reader(
        self,
        query: str,
        *,
        plain: bool = False,
        finite: bool = False,
        limit: int | None = None,
        batch_rows: int = 65_536,
    ) -> "pa.RecordBatchReader":
        """Return the answer to one SQL query as a stream of Arrow batches, for answers larger than memory.

        Args:
            query: one statement that only reads, in DuckDB's dialect.
            plain: types that only Parquet and pandas know are text (`analysis.engine.sql.read_sql`).
            finite: numbers that are infinite, or none, are NULL, for JSON.
            limit: the first so many rows; None for all.
            batch_rows: rows of a batch.

        Raises:
            UsageError: the query has a mistake, or does more than read; while the stream is read, too.
        """
        from analysis.engine.sql import read_sql

        backend = self.engine()
        return read_sql(
            backend,
            query,
            tables=self.sql_tables(),
            plain=plain,
            finite=finite,
            limit=limit,
            batch_rows=batch_rows,
        )

    def errors(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        fold: bool = True,
        harmless: bool = True,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> "pd.DataFrame":
        """Return what failed, by process, key, value and status; what matters first.

        Misses of a search that then found what it looked for are one row, and `harmless`
        (`analysis.answers.errors.errors` tells the columns).

        Args:
            key: a key or pattern, or several; None for all.
            value: a value name or pattern; None for all.
            fold: False: searches are not folded.
            harmless: False: rows all of whose misses were answered are left out.
            limit: the first so many rows; None for all.
            filters: which failures are asked for; answers to misses are looked for in all rows.

        Raises:
            UsageError: a filter cannot be understood.
        """
        asked = Filters(key=key, value=value, **filters)
        found = self.errors_table(asked, fold=fold, harmless=harmless)
        return self.frame(found if limit is None else found.limit(limit), asked)

    def errors_table(self, filters: Filters, *, fold: bool = True, harmless: bool = True) -> Table:
        """Return the answer of `errors` as a lazy, ordered Ibis table."""
        from analysis.answers.errors import errors

        everywhere = Filters(process=filters.process, pid=filters.pid)
        return errors(
            self.rows(filters, joined=False),
            self.tables["keys"],
            self.tables["processes"],
            self.rows(everywhere, joined=False),
            fold=fold,
            harmless=harmless,
        )

    def who(
        self,
        key: Words = None,
        value: str | None = None,
        *,
        each: bool = False,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> "pd.DataFrame":
        """Return which processes wrote, read, opened or missed a key or value, those that changed most first.

        Args:
            key: a key or pattern, or several; None for all.
            value: a value name or pattern; None for all, and for the rows of the key itself.
            each: one row per key, value and process (`analysis.answers.who.touched_by`) instead of one per
                process (`analysis.answers.who.who`).
            limit: the first so many rows; None for all.
            filters: which rows count.

        Raises:
            UsageError: a filter cannot be understood.
        """
        asked = Filters(key=key, value=value, **filters)
        found = self.who_table(asked, each=each)
        return self.frame(found if limit is None else found.limit(limit), asked)

    def who_table(self, filters: Filters, *, each: bool = False) -> Table:
        """Return the answer of `who` as a lazy, ordered Ibis table."""
        from analysis.answers.who import touched_by, who

        rows = self.rows(filters, joined=False)
        return (touched_by if each else who)(rows, self.tables["keys"], self.tables["processes"])

    def diff(
        self,
        other: "OpenCapture | None" = None,
        key: Words = None,
        value: str | None = None,
        *,
        fold: str | Collection[str] | None = None,
        only: str | Collection[str] | None = None,
        counts: bool = False,
        a_start: str | datetime | None = None,
        a_end: str | datetime | None = None,
        b_start: str | datetime | None = None,
        b_end: str | datetime | None = None,
        limit: int | None = None,
        **filters: "Unpack[MoreFilters]",
    ) -> "pd.DataFrame":
        """Return what differs between this capture (a) and another (b), or between two intervals.

        The columns are those of `analysis.answers.differences.differences`. A side tells what its own rows
        say: values by their last write, or where nobody wrote by the last read.

        Args:
            other: the other capture; None: this one, whose intervals are compared.
            key: a key or pattern, or several; None for all.
            value: a value name or pattern; None for all.
            fold: what differs between machines and means nothing: sid, guid, controlset, wow64, or all
                (`analysis.answers.normalize.meaning`).
            only: values, keys, processes, operations; None: all but operations.
            counts: operations and processes also differ where their numbers do.
            a_start: first time of this side (`analysis.times.parse_time`), as its own capture counts.
            a_end: last time of this side, inclusive.
            b_start: first time of the other side.
            b_end: last time of the other side.
            limit: the first so many rows; None for all.
            filters: which rows count on both sides.

        Raises:
            UsageError: a filter cannot be understood, or there is nothing to compare with.
        """
        from analysis.questions.caveats import with_doubts

        sides = self.sides(
            other,
            Filters(key=key, value=value, **filters),
            a=(a_start, a_end),
            b=(b_start, b_end),
        )
        rows = self.diff_rows(sides, fold=fold, only=only, counts=counts)
        ours, theirs = (one.doubts(asked) for one, asked in sides)
        frame = with_doubts(to_frame(rows.slice(0, limit)), ours)
        if other is not None or ours != theirs:
            said = [("a", ours.sentences), ("b", theirs.sentences)]
            frame.attrs["doubts"] = [f"{side}: {one}" for side, sentences in said for one in sentences]
        return frame

    def sides(
        self,
        other: "OpenCapture | None",
        filters: Filters,
        *,
        a: "Sequence[str | datetime | None]" = (None, None),
        b: "Sequence[str | datetime | None]" = (None, None),
    ) -> "list[tuple[OpenCapture, Filters]]":
        """Return the two captures to compare, and which of their rows; `a` and `b` are their first and last times.

        Raises:
            UsageError: both sides are the same, or one is several captures.
        """
        if other is None and tuple(a) == tuple(b):
            raise UsageError(
                "there is nothing to compare with: name a second capture, or two different intervals of one"
            )
        found: list[tuple[OpenCapture, Filters]] = []
        for capture, (start, end) in ((self, a), (other or self, b)):
            if len(capture.stores) > 1:
                raise UsageError(
                    f"{capture.path.name} is {len(capture.stores)} captures: name one capture for each side"
                )
            start = filters.start if start is None else start
            end = filters.end if end is None else end
            found.append((capture, replace(filters, start=start, end=end)))
        return found

    def diff_rows(
        self,
        sides: "Sequence[tuple[OpenCapture, Filters]]",
        *,
        fold: str | Collection[str] | None = None,
        only: str | Collection[str] | None = None,
        counts: bool = False,
    ) -> "pa.Table":
        """Return the answer of `diff` about two sides as an Arrow table."""
        from analysis.answers.diff import NAMES, candidates, parse_kinds
        from analysis.answers.differences import differences
        from analysis.answers.normalize import parse_folds
        from analysis.engine.transfer import as_view, beside, given

        folds, kinds = parse_folds(fold), parse_kinds(only)
        (ours, _), (theirs, _) = sides
        with ExitStack() as stack:
            tables = []
            for (capture, asked), names in zip(sides, _key_names(ours, theirs, folds), strict=True):
                of_side = replace(asked, value=None)
                rows, engine = capture.rows(of_side, joined=False), capture.engine()
                subtrees, everywhere, descent = capture.subtree_changes(asked)
                above = capture.tables["keys"].limit(0) if descent is None else descent
                known = (capture.tables[name].schema() for name in ("keys", "processes", "losses"))
                sql, schema = _side_query(
                    rows.schema(), *known, kinds=kinds, folds=folds, value=asked.value,
                    subtrees=subtrees, apart=everywhere is not None,
                    descent=None if descent is None else descent.schema(),
                )  # fmt: skip
                named = stack.enter_context(given(names.to_reader(), ibis.schema(NAMES), engine))
                with (
                    as_view(named, engine, _SIDE_NAMES),
                    as_view(rows, engine, _SIDE_ROWS),
                    as_view(rows if everywhere is None else everywhere, engine, _SIDE_EVERYWHERE),
                    as_view(above, engine, _SIDE_DESCENT),
                ):
                    tables.append(stack.enter_context(beside(sql, schema, engine, self.engine())))
            with engine_errors():
                values: list[Table] = []
                # In one capture a name means the same on both sides.
                for names in (
                    _value_names(tables[0], tables[1], folds) if folds and ours is not theirs else ()
                ):
                    schema = ibis.schema({"key_name": "string"} | NAMES)
                    values.append(stack.enter_context(given(names.to_reader(), schema, self.engine())))
                found = candidates(*tables, counts=counts, folds=folds, values=values)
                return differences(fetch(found), folds)


def _key_names(a: OpenCapture, b: OpenCapture, folds: Collection[str]) -> "list[pa.Table]":
    """Return for each side what its keys are called that pair by their meaning (`analysis.answers.diff.NAMES`).

    All keys of both captures are looked at, whichever are asked for: what a name means does not depend on that.
    """
    import pyarrow as pa

    from analysis.answers.diff import own_names
    from analysis.answers.pairing import paired_names

    called: Sequence[dict[str, str]] = ({}, {})
    if folds:
        with engine_errors():
            own = [fetch(own_names(one.tables["keys"])).column(0).to_pylist() for one in (a, b)]
        called = paired_names(own[0], own[1], folds)
    return [
        pa.table(
            {"own": [*one], "name": [*one.values()]},
            schema=pa.schema([("own", "string"), ("name", "string")]),
        )
        for one in called
    ]


def _value_names(a: Table, b: Table, folds: Collection[str]) -> "list[pa.Table]":
    """Return for each side what its values are called that pair by their meaning, key by key."""
    import pyarrow as pa

    from analysis.answers.diff import value_names
    from analysis.answers.pairing import paired_names

    of_keys: dict[str, tuple[list[str], list[str]]] = {}
    for side, rows in enumerate((a, b)):
        for row in fetch(value_names(rows)).to_pylist():
            of_keys.setdefault(row["key_name"], ([], []))[side].append(row["value"])
    found: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for key, names in of_keys.items():
        for side, called in enumerate(paired_names(names[0], names[1], folds)):
            found[side].extend({"key_name": key, "own": own, "name": name} for own, name in called.items())
    schema = pa.schema([(name, "string") for name in ("key_name", "own", "name")])
    return [pa.Table.from_pylist(rows, schema=schema) for rows in found]


@lru_cache(16)
def _side_query(
    rows: ibis.Schema,
    keys: ibis.Schema,
    processes: ibis.Schema,
    losses: ibis.Schema,
    *,
    kinds: tuple[str, ...],
    folds: tuple[str, ...],
    value: str | None,
    subtrees: bool,
    apart: bool,
    descent: ibis.Schema | None,
) -> tuple[str, ibis.Schema]:
    """Return what `analysis.answers.diff.side` is in SQL, and its columns: to say it once takes long."""
    from analysis.answers.diff import NAMES, side

    found = side(
        ibis.table(rows, name=_SIDE_ROWS, database=HELPERS),
        keys=ibis.table(keys, name="keys"),
        processes=ibis.table(processes, name="processes"),
        losses=ibis.table(losses, name="losses"),
        kinds=kinds,
        folds=folds,
        names=ibis.table(NAMES, name=_SIDE_NAMES, database=HELPERS) if folds else None,
        value=value,
        everywhere=ibis.table(rows, name=_SIDE_EVERYWHERE, database=HELPERS) if apart else None,
        subtrees=subtrees,
        descent=None if descent is None else ibis.table(descent, name=_SIDE_DESCENT, database=HELPERS),
    )
    return ibis.to_sql(found, dialect="duckdb"), found.schema()
