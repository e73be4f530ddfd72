"""Run lazy questions and return their data, with every number exact.

DuckDB's `.df()` and Ibis' own fetch from Spark turn integers with NULLs into float64, which rounds beyond
2**53. Everything here goes through Arrow instead, and the pandas types say what the data is: times are
datetime64[us, UTC], integers stay integers with <NA>, text is pandas' string, bytes are bytes.
"""

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.engine.relation import as_stated

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["collect", "fetch", "to_frame"]


def collect(table: "Table") -> "pd.DataFrame":
    """Run an Ibis table expression on its engine and return the rows as a DataFrame with exact types."""
    return to_frame(fetch(table))


def fetch(table: "Table") -> pa.Table:
    """Run an Ibis table expression on any engine and return Arrow.

    The types are those that the expression states, whatever the engine has for them: Spark knows no unsigned
    integers, DuckDB adds integers up to 128 bits.
    """
    import ibis

    from analysis.engine.interruption import interruptible

    backend = table.get_backend()
    if backend.name == "duckdb":
        sql = ibis.to_sql(table, dialect="duckdb")
        cursor = backend.con.cursor()  # held by name: older engines close a cursor that nobody holds
        rows = interruptible(cursor, lambda: cursor.sql(sql).to_arrow_table())
    elif backend.name == "pyspark":
        # Not table.to_pyarrow(): on Spark that goes through pandas, and integers with NULLs become floats.
        rows = _in_utc(backend._session.sql(_spark_sql(backend, table)).toArrow())
    else:
        rows = table.to_pyarrow()
    return as_stated(rows, table.schema().to_pyarrow())


def to_frame(table: pa.Table) -> "pd.DataFrame":
    """Return an Arrow table as a DataFrame with exact types; column order and names are kept."""
    import pandas as pd

    def honest(kind: pa.DataType) -> "pd.ArrowDtype | None":
        return pd.ArrowDtype(kind) if pa.types.is_integer(kind) or pa.types.is_boolean(kind) else None

    frame: pd.DataFrame = _whole_numbers(table).to_pandas(types_mapper=honest)
    return frame


def _spark_sql(backend: Any, table: "Table") -> str:  # noqa: ANN401  (Ibis' backend for Spark)
    """Return the query in Spark's dialect."""
    from sqlglot import exp

    kinds = exp.DataType.Type
    signed = {
        kinds.UTINYINT: kinds.SMALLINT,
        kinds.USMALLINT: kinds.INT,
        kinds.UINT: kinds.BIGINT,
    }
    tree = backend.compiler.to_sqlglot(_counted_for_spark(table).unbind())
    for kind in tree.find_all(exp.DataType):
        kind.set("this", signed.get(kind.this, kind.this))
    sql: str = tree.sql(dialect=backend.dialect)
    return sql


def _counted_for_spark(table: "Table") -> "Table":
    """Return the expression for Spark: a count condition that is NULL counts as false.

    Ibis writes `count(where=...)` for Spark as a sum of the condition, which is NULL, not 0, where all are.
    """
    from ibis.expr import operations as ops

    def sure(node: Any, changed: "dict[str, Any] | None") -> Any:  # noqa: ANN401  (any node of a question)
        if isinstance(node, ops.CountStar) and node.where is not None:
            known = dict(zip(node.__argnames__, node.__args__, strict=True)) | (changed or {})
            where = ops.Coalesce((known["where"], ops.Literal(False, "boolean")))
            return ops.CountStar(known["arg"], where=where)
        return node.__recreate__(changed) if changed else node

    found: Table = table.op().replace(sure).to_expr()
    return found


def _whole_numbers(table: pa.Table) -> pa.Table:
    """Turn decimals without a fraction into int64 where they fit: DuckDB sums integers as 128 bits."""
    for place, column in enumerate(table.schema):
        if pa.types.is_decimal(column.type) and column.type.scale == 0:
            try:
                whole = table.column(place).cast(pa.int64())
            except pa.ArrowInvalid:
                continue
            table = table.set_column(place, column.name, whole)
    return table


def _in_utc(table: pa.Table) -> pa.Table:
    """Mark times without a zone as UTC, as every time of a capture is."""
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            aware = table.column(place).cast(pa.timestamp(column.type.unit, tz="UTC"))
            table = table.set_column(place, column.name, aware)
    return table
