"""Ibis over an open and locked connection: its backend, and relations as Ibis tables.

Only what asks with Ibis itself needs this: a user's own expressions, charts, lazy answers.
"""

from typing import Any

import duckdb
import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.expr import operations as ops
from ibis.expr.types import Table

from analysis.engine.interruption import batches_of, interruptible
from analysis.engine.relation import Columns, arrow_schema

__all__ = ["backend_of", "bind", "ibis_schema"]


def backend_of(connection: duckdb.DuckDBPyConnection) -> Backend:
    """Return Ibis' backend over a connection, without changes to the connection's settings."""
    return InterruptibleBackend.from_connection(connection)


def ibis_schema(columns: Columns) -> ibis.Schema:
    """Return the Ibis schema of columns."""
    return ibis.Schema.from_pyarrow(arrow_schema(columns))


def bind(backend: Backend, name: str, schema: ibis.Schema, database: str | None) -> Table:
    """Return a table or view of the engine with these columns as an Ibis table."""
    # Not backend.table(name): that asks the engine for what is known, with a method newer engines warn of.
    namespace = ops.Namespace(database=database)
    return ops.DatabaseTable(name, schema=schema, source=backend, namespace=namespace).to_expr()


class _Locked:
    """Read-only settings of a locked connection: Ibis sets some that are already in effect."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401
        row = self._connection.cursor().execute("SELECT current_setting($1)", [name]).fetchone()
        return None if row is None else row[0]

    def __setitem__(self, name: str, setting: object) -> None:
        """Do nothing: `analysis.engine.connection.connect` has already set it."""


class InterruptibleBackend(Backend):  # type: ignore[misc]  # Ibis has no types
    """Ibis' DuckDB backend with queries that Ctrl-C interrupts, for programs that use Ibis themselves."""

    @property
    def settings(self) -> _Locked:
        """The settings of the connection, which is locked."""
        return _Locked(self.con)

    def to_pyarrow(self, expr: Any, /, **how: Any) -> Any:  # noqa: ANN401
        return interruptible(self.con, lambda: super(InterruptibleBackend, self).to_pyarrow(expr, **how))

    def execute(self, expr: Any, /, **how: Any) -> Any:  # noqa: ANN401
        return interruptible(self.con, lambda: super(InterruptibleBackend, self).execute(expr, **how))

    def raw_sql(self, query: Any, **how: Any) -> Any:  # noqa: ANN401
        return interruptible(self.con, lambda: super(InterruptibleBackend, self).raw_sql(query, **how))

    def to_pyarrow_batches(self, expr: Any, /, **how: Any) -> pa.RecordBatchReader:  # noqa: ANN401
        reader = super().to_pyarrow_batches(expr, **how)
        return pa.RecordBatchReader.from_batches(reader.schema, batches_of(self.con, reader))
