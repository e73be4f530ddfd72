"""Answers to a user's SQL as a stream, with writable types and clear errors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from analysis.engine.connection import engine_errors, missing_column, reader_of
from analysis.engine.interruption import batches_of, interruptible, is_busy
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import identifier
from analysis.engine.user_sql import only_reads
from tracer.errors import CaptureError, RegtraceError, UsageError

__all__ = ["read_sql"]

_STAY = frozenset(
    {
        "bigint", "blob", "boolean", "double", "enum", "float", "integer", "smallint", "timestamp with time zone",
        "tinyint", "ubigint", "uinteger", "usmallint", "utinyint", "uuid", "varchar",
    }
)  # fmt: skip
_STAY_IN_PARQUET = _STAY | {
    "date", "decimal", "time", "timestamp", "timestamp_ms", "timestamp_ns", "timestamp_s",
}  # fmt: skip
_HUGE = ("hugeint", "uhugeint")
_NESTED = ("array", "list", "map", "struct")
_AS_JSON = (*_NESTED, "union", "variant")


def read_sql(
    engine: OpenEngine,
    query: str,
    *,
    tables: Callable[[], Sequence[str]],
    plain: bool = False,
    finite: bool = False,
    limit: int | None = None,
    batch_rows: int = 65_536,
) -> pa.RecordBatchReader:
    """Run a query that only reads and return its rows as a stream of Arrow batches; memory stays bounded.

    What no format holds is text: intervals, bits, unions, numbers of any length; sums of integers are int64
    as long as they fit. Of columns with one name all but the first get a number.

    Args:
        engine: the engine.
        query: one statement in DuckDB's dialect.
        tables: returns the names of the tables there are, for the message about one there is not.
        plain: the rows go where there are no types: dates, decimals, times without a zone and arrays are text
            too, and what is nested is JSON text.
        finite: numbers that are infinite, or none, are NULL: JSON cannot hold them.
        limit: the first so many rows; None for all.
        batch_rows: rows of a batch.

    Raises:
        UsageError: the query has a mistake, or does more than read. While the stream is read, too.
    """
    with _one_sentence(tables):
        query = only_reads(engine, query)
        cursor = engine.con.cursor()
        with engine_errors():
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            relation = interruptible(cursor, lambda: cursor.sql(query))
    with _one_sentence(tables, located=False), engine_errors():  # places are no longer the user's
        relation = relation.project(", ".join(_columns(relation, plain=plain, finite=finite)))
        if limit is not None:
            relation = relation.limit(limit)
        reader = interruptible(cursor, lambda: reader_of(relation, batch_rows))

    def batches() -> Iterator[pa.RecordBatch]:
        with _one_sentence(tables, located=False), engine_errors():
            try:
                yield from batches_of(cursor, reader)
            except (pa.ArrowException, OSError) as error:  # what the engine says while it is being read
                raise _of_stream(str(error)) from error
            finally:
                if not is_busy():
                    cursor.close()

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _columns(relation: duckdb.DuckDBPyRelation, *, plain: bool, finite: bool) -> list[str]:
    """Return the SQL expression of each column of an answer."""
    names: set[str] = set()
    columns = []
    for place, (name, kind) in enumerate(zip(relation.columns, relation.types, strict=True), 1):
        spelled, number = name, 0
        while spelled.lower() in names:
            number += 1
            spelled = f"{name}_{number}"
        names.add(spelled.lower())
        written = _written(f"#{place}", kind, plain=plain)
        if finite and kind.id in ("double", "float"):
            written = f"CASE WHEN isfinite({written}) THEN {written} END"
        columns.append(f"{written} AS {identifier(spelled)}")
    return columns


def _written(column: str, kind: Any, *, plain: bool) -> str:  # noqa: ANN401
    if kind.id in _HUGE:
        return f"CAST({column} AS BIGINT)"
    if _stays(kind, plain=plain):
        return column
    if kind.id in _AS_JSON:
        return f"CAST(to_json({column}) AS VARCHAR)"
    return f"CAST({column} AS VARCHAR)"


def _stays(kind: Any, *, plain: bool) -> bool:  # noqa: ANN401
    if kind.id not in _NESTED:
        return kind.id in (_STAY if plain else _STAY_IN_PARQUET)
    inner = [child for _, child in kind.children if not isinstance(child, int)]
    if plain:
        return kind.id == "list" and inner[0].id not in _NESTED and _stays(inner[0], plain=True)
    return all(_stays(child, plain=False) for child in inner)


def _of_stream(text: str) -> RegtraceError:
    text = text.strip()
    first = text.partition("\n")[0]
    if "IO Error" in text:
        return CaptureError(f"the query cannot be run, a file of the capture cannot be read: {first}")
    if "Out of Memory" in text:
        return RegtraceError(f"the query cannot be run: {first}; narrow it, or ask for fewer columns")
    return UsageError(f"the query cannot be run: {text}")


@contextmanager
def _one_sentence(tables: Callable[[], Sequence[str]], *, located: bool = True) -> Iterator[None]:
    """Turn the engine's error of several lines into one sentence, with the place of the error."""
    try:
        yield
    except UsageError as error:
        cause = error.__cause__
        told = str(cause) if isinstance(cause, duckdb.Error | pa.ArrowException | OSError) else None
        if told is None:
            raise
        what = str(error).partition(": ")[0]
        if said := missing_column(told):
            raise UsageError(f"{what}: {said}") from cause
        raise UsageError(f"{what}: {_sentence(told, located=located)}{_hint(told, tables)}") from cause


def _sentence(told: str, *, located: bool = True) -> str:
    r"""Return an engine's message in one line: the error and its place.

    >>> _sentence('Parser Error: syntax error at or near "fro"\n\nLINE 1: select a fro v\n                 ^')
    'syntax error at or near "fro" (line 1, column 10)'
    """
    text, _, excerpt = told.partition("\n\nLINE ")
    kind, colon, rest = text.strip().partition(" Error: ")
    lines = [line.strip() for line in (rest if colon and len(kind) < 40 else text).splitlines()]
    said = [line.rstrip("?;!:. ") for line in lines if line]
    sentence = "; ".join([*said[:1], *(line[:1].lower() + line[1:] for line in said[1:])])
    number, _, shown = excerpt.partition(": ")
    quoted, _, below = shown.partition("\n")
    if not located or not number.isdigit() or "^" not in below:
        return sentence
    column = below.index("^") - len(f"LINE {number}: ")
    if quoted.startswith("..."):  # the engine shows a part of a long line
        near = quoted[max(column, 0) :][:30].split("\n")[0]
        return f"{sentence} (line {number}, at {near!r})"
    return f"{sentence} (line {number}, column {column + 1})"


def _hint(told: str, tables: Callable[[], Sequence[str]]) -> str:
    if told.startswith("Catalog Error: Table"):
        return f"; the tables are {', '.join(tables())}"
    return ""
