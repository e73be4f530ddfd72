"""Answers of one engine as tables of another: each runs what it must, and the rows go through a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend
from ibis.expr.types import Table

from analysis.engine.duckdb_backend import HELPERS, bind, engine_errors, quoted, stream

__all__ = ["as_view", "beside", "given"]

_BATCH_ROWS = 65_536


@contextmanager
def as_view(table: Table, backend: Backend, name: str) -> Iterator[None]:
    """Let the engine know the rows of an Ibis expression by a name in the schema HELPERS, in the block."""
    with engine_errors():
        sql = ibis.to_sql(table, dialect="duckdb")
        backend.con.execute(f"CREATE OR REPLACE VIEW {HELPERS}.{name} AS {sql}")
    try:
        yield
    finally:
        backend.con.execute(f"DROP VIEW IF EXISTS {HELPERS}.{name}")


@contextmanager
def beside(sql: str, schema: ibis.Schema, source: Backend, backend: Backend) -> Iterator[Table]:
    """Give one engine the rows of another's query, in the block; memory stays bounded.

    Args:
        sql: the query.
        schema: the columns of its answer.
        source: the engine that runs the query, once.
        backend: the engine that needs the rows; it may be the same.
    """
    reader = stream(source, sql, _BATCH_ROWS)
    with given(reader, schema, backend) as table:
        yield table


@contextmanager
def given(rows: pa.RecordBatchReader, schema: ibis.Schema, backend: Backend) -> Iterator[Table]:
    """Give an engine rows that come as a stream, in the block; `schema`: their columns."""
    name = f"beside_{uuid4().hex}"
    with engine_errors():
        found = backend.con.cursor().execute("SELECT current_setting('temp_directory')").fetchone()
        assert found is not None
        path = Path(found[0]) / f"{name}.parquet"  # where the engine may read, even where it is locked
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with pq.ParquetWriter(path, rows.schema) as writer:
                for batch in rows:
                    writer.write_batch(batch)
            query = f"SELECT * FROM read_parquet([{quoted(str(path))}])"
            backend.con.execute(f"CREATE VIEW {HELPERS}.{name} AS {query}")
            yield bind(backend, name, schema, HELPERS)
            backend.con.execute(f"DROP VIEW {HELPERS}.{name}")
        finally:
            path.unlink(missing_ok=True)
