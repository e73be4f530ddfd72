"""A user's own SQL over the tables of a capture."""

from typing import TYPE_CHECKING

from analysis.engine.connection import answer, engine_errors
from analysis.engine.sql import read_sql
from analysis.engine.user_sql import only_reads, open_to_users
from analysis.questions.context import QueryContext
from tracer.schema import TABLES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["reader", "rows", "tables"]

_NAMES = (
    "SELECT view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main' "
    "UNION SELECT table_name FROM duckdb_tables() WHERE NOT internal AND schema_name = 'main'"
)


def rows(context: QueryContext, query: str, *, limit: int | None = None) -> "pa.Table":
    """Return the answer to one SQL query, or its first rows, with the engine's own types.

    Raises:
        UsageError: the query has a mistake, or does more than read.
    """
    query = only_reads(context.engine, query)
    with engine_errors():
        return answer(context.engine, query, few=False).slice(0, limit)


def reader(
    context: QueryContext,
    query: str,
    *,
    plain: bool = False,
    finite: bool = False,
    limit: int | None = None,
    batch_rows: int = 65_536,
) -> "pa.RecordBatchReader":
    """Return the answer to one SQL query as a stream of Arrow batches, for answers larger than memory.

    Args:
        context: the context of the question.
        query: one statement that only reads, in DuckDB's dialect.
        plain: types that only Parquet and pandas know are text (`analysis.engine.sql.read_sql`).
        finite: numbers that are infinite, or none, are NULL, for JSON.
        limit: the first so many rows; None for all.
        batch_rows: rows of a batch.

    Raises:
        UsageError: the query has a mistake, or does more than read; while the stream is read, too.
    """
    return read_sql(
        context.engine,
        query,
        tables=lambda: tables(context),
        plain=plain,
        finite=finite,
        limit=limit,
        batch_rows=batch_rows,
    )


def tables(context: QueryContext) -> tuple[str, ...]:
    """Return the names of the tables that SQL sees; `events` is the one with the names joined."""
    open_to_users(context.engine, texts=False)
    with engine_errors():
        names = answer(context.engine, _NAMES)
    found: set[str] = set(names.column(0).to_pylist())
    stored = [name for name in ("events", "stored_events", *TABLES) if name in found]
    return tuple(dict.fromkeys([*stored, *sorted(found)]))
