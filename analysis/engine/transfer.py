"""Rows of one engine, or of this program, as a relation of another engine, in bounded memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pyarrow as pa

from analysis.engine.connection import HELPERS, engine_errors
from analysis.engine.interruption import beside
from analysis.engine.open_engine import OpenEngine
from analysis.engine.relation import Columns, Relation, columns_of, quoted

__all__ = ["copied", "given", "kept_beside"]

_BATCH_ROWS = 65_536


@contextmanager
def copied(relation: Relation, source: OpenEngine, engine: OpenEngine) -> Iterator[Relation]:
    """Copy the rows of a relation to another engine, or a table of its own, for the length of a block; the query runs once."""
    if source is engine:
        with kept_beside([relation], engine) as (rows,):
            yield rows
        return
    with _stored(source.stream(relation.sql, _BATCH_ROWS), relation.columns, engine) as rows:
        yield rows


@contextmanager
def kept_beside(relations: Sequence[Relation], engine: OpenEngine) -> Iterator[list[Relation]]:
    """Keep the rows of relations of one engine in tables for the length of a block; the queries run beside each other.

    An engine plans each query on one thread, which takes most of the time where rows are few.
    """
    names = [f"{HELPERS}.copied_{uuid4().hex}" for _ in relations]
    cursors = [engine.con.cursor() for _ in relations]

    def create(number: int) -> None:
        cursors[number].execute(f"CREATE TABLE {names[number]} AS {relations[number].sql}")

    try:
        with engine_errors():
            beside(cursors, create)
        yield [
            Relation.of_table(name, relation.columns) for name, relation in zip(names, relations, strict=True)
        ]
    finally:
        for name in names:
            engine.con.execute(f"DROP TABLE IF EXISTS {name}")


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
