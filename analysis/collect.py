"""From a lazy question to data in hand, without changing a single number.

DuckDB's `.df()` and Ibis' own fetch from Spark turn integers with NULLs into float64, which rounds beyond
2**53. Everything here goes through Arrow instead, and the pandas types say what the data is: times are
datetime64[us, UTC], integers stay integers with <NA>, text is pandas' string, bytes are bytes.
"""

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["collect", "fetch", "to_frame"]


def collect(table: "Table") -> "pd.DataFrame":
    """Run an Ibis table expression on its engine and return the rows as a DataFrame with exact types."""
    return to_frame(fetch(table))


def fetch(table: "Table") -> pa.Table:
    """Run an Ibis table expression and return Arrow; the one place that knows how each engine is read."""
    import ibis

    backend = table.get_backend()
    sql = ibis.to_sql(table, dialect=backend.name)
    if backend.name == "duckdb":
        cursor = backend.con.cursor()  # held by name: older engines close a cursor that nobody holds
        return cursor.sql(sql).to_arrow_table()
    if backend.name == "pyspark":
        # Not table.to_pyarrow(): on Spark that goes through pandas, and integers with NULLs become floats.
        return _in_utc(backend._session.sql(sql).toArrow())
    return table.to_pyarrow()


def to_frame(table: pa.Table) -> "pd.DataFrame":
    """Return an Arrow table as a DataFrame with exact types; column order and names are kept."""
    import pandas as pd

    def honest(kind: pa.DataType) -> "pd.ArrowDtype | None":
        return pd.ArrowDtype(kind) if pa.types.is_integer(kind) or pa.types.is_boolean(kind) else None

    frame: pd.DataFrame = _whole_numbers(table).to_pandas(types_mapper=honest)
    return frame


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
    """Say of times without a zone that they are UTC, as every time of a capture is."""
    for place, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            aware = table.column(place).cast(pa.timestamp(column.type.unit, tz="UTC"))
            table = table.set_column(place, column.name, aware)
    return table
