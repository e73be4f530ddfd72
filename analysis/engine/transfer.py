"""Rows of one engine, or of this program, as a relation of another engine, in bounded memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from analysis.engine.connection import HELPERS, engine_errors, execute
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Columns, Relation, columns_of, quoted

__all__ = ["copied", "given"]

_BATCH_ROWS = 65_536


@contextmanager
def copied(relation: Relation, source: OpenEngine, engine: OpenEngine) -> Iterator[Relation]:
    """Copy the rows of a relation to another engine, or a table of its own, for the length of a block; the query runs once."""
    if source is engine:
        with engine_errors(), _table(relation, engine) as rows:
            yield rows
        return
    with _stored(source.stream(relation.sql, _BATCH_ROWS), relation.columns, engine) as rows:
        yield rows


@contextmanager
def _table(relation: Relation, engine: OpenEngine) -> Iterator[Relation]:
    name = f"{HELPERS}.copied_{uuid4().hex}"
    execute(engine, f"CREATE TABLE {name} AS {relation.sql}")
    try:
        yield Relation.of_table(name, relation.columns)
    finally:
        engine.con.execute(f"DROP TABLE {name}")


@contextmanager
def given(rows: pa.Table, engine: OpenEngine) -> Iterator[Relation]:
    """Copy Arrow rows to an engine for the length of a block."""
    with _stored(rows.to_reader(), columns_of(rows.schema), engine) as found:
        yield found


@contextmanager
def _stored(rows: pa.RecordBatchReader, columns: Columns, engine: OpenEngine) -> Iterator[Relation]:
    import pyarrow.parquet as pq

    name = f"{HELPERS}.given_{uuid4().hex}"
    with engine_errors():
        found = engine.con.cursor().execute("SELECT current_setting('temp_directory')").fetchone()
        assert found is not None
        path = Path(found[0]) / f"{name}.parquet"  # where the engine may read, even where it is locked
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with pq.ParquetWriter(path, rows.schema) as writer:
                for batch in rows:
                    writer.write_batch(batch)
            engine.con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{quoted(str(path))}])")
            yield Relation.of_table(name, columns)
            engine.con.execute(f"DROP VIEW {name}")
        finally:
            path.unlink(missing_ok=True)
