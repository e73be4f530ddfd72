"""The tables of captures on a user's Spark session: the same questions, beyond one machine.

Spark is not imported here: the session is handed in. Ibis (extra `spark`) says how questions read on it, and
`analysis.engine.fetch.fetch` brings answers back with the types that DuckDB gives them.
"""

import tempfile
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
from ibis.expr.types import Table

from analysis.dataset.members import Captures, Member, find_captures, load_members, local_captures
from analysis.dataset.scans import with_first_ids, write_forms
from analysis.engine.columns import IDS, LABELS, columns_of_many, columns_of_one, stored_name
from analysis.engine.ibis_tables import bind, ibis_schema
from analysis.expressions.events_view import join_names
from tracer.schema import OF_VALUES, STRUCTURED, TABLES
from tracer.schema import Table as StoredTable
from tracer.store.manifest import STRUCTURES
from tracer.store.reader import table_files

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["tables_on_spark"]

_SPARK_TYPES = {  # unsigned numbers have no type of their own there
    "timestamp": "timestamp",
    "text": "string",
    "bytes": "binary",
    "addresses": "array<bigint>",
    "boolean": "boolean",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint16": "int",
    "uint32": "bigint",
}
_GLOB = "\\[]{}*?,"
_number = count()


def tables_on_spark(session: "SparkSession", captures: Captures) -> Mapping[str, Table]:
    """Return the tables of captures as Ibis tables on Spark, by name.

    They are what `Capture.tables` gives on DuckDB: the stored tables (the event rows are `stored_events`) for
    the functions of `analysis.answers`, `analysis.answers.keys` and `analysis.answers.timeline`; and `events`, with the names
    joined. Of several captures the ids are shifted as in a dataset, and `events` has the columns `host` and
    `capture` first. Nothing is read before an answer is fetched. The tables live in a new session of the
    same Spark application, so the caller's own keeps its settings and views.

        tables = tables_on_spark(session, "fleet")
        collect(key_summary(tables["stored_events"], tables["keys"]))

    Args:
        session: a running Spark session, whose driver and workers see the captures under the same paths.
        captures: one capture, or several, as `analysis.open.open_capture` takes them.

    Raises:
        CaptureError: a capture is missing, incomplete, damaged or of another format.
        UsageError: no capture is named, or one is named twice.
    """
    captures = local_captures(captures)
    captures_with_hosts = find_captures(captures)
    several = captures_with_hosts is not None
    members = load_members(captures_with_hosts or [(Path(captures), None)], check_rows=True)  # type: ignore[arg-type]
    if several:
        with duckdb.connect() as connection, tempfile.TemporaryDirectory() as folder:
            write_forms(connection, Path(folder))
            members = with_first_ids(members, connection, Path(folder))
    session = session.newSession()
    backend = ibis.pyspark.connect(session)
    columns = columns_of_many(labelled=True) if several else columns_of_one()
    tables = {}
    prefix = f"regtrace_{next(_number)}_"
    for name, table in TABLES.items():
        stored = stored_name(name)
        frames = [_frame(session, table, member, labelled=several) for member in members]
        _union(frames).createOrReplaceTempView(prefix + stored)
        tables[stored] = bind(backend, prefix + stored, ibis_schema(columns[stored]), None)
    labels = LABELS if several else ()
    labelled = tables["stored_events"]
    plain = {name: table.drop(*labels) if labels else table for name, table in tables.items()}
    events = join_names(labelled, plain["keys"], plain["processes"], first=labels)
    return MappingProxyType(plain | {"events": events})


def _frame(session: "SparkSession", table: StoredTable, member: Member, *, labelled: bool) -> "DataFrame":
    """Return one table of one capture; `labelled`: with host and name, and with shifted ids."""
    from pyspark.sql import functions

    files = table_files(member.path.absolute(), member.manifest)[table.name]
    if files:
        rows = session.read.parquet(*map(_location, files))
    else:
        kinds = ", ".join(f"`{column.name}` {_SPARK_TYPES[column.kind]}" for column in table.columns)
        rows = session.createDataFrame([], kinds)
    columns: list[Any] = []
    for column in table.columns:
        kind = IDS[table.name].get(column.name) if labelled else None
        value = functions.col(f"`{column.name}`")
        if column.name in OF_VALUES and member.manifest.data_of_reads == STRUCTURES:
            value = functions.when(~functions.col("operation").isin(*STRUCTURED), value)
        if kind is not None:
            value = value.cast("bigint") + functions.lit(member.first[kind]).cast("bigint")
        else:
            value = value.cast(_SPARK_TYPES[column.kind])
        columns.append(value.alias(column.name))
    if labelled:
        columns = [functions.lit(getattr(member, label)).alias(label) for label in LABELS] + columns
    return rows.select(*columns)


def _union(frames: "list[DataFrame]") -> "DataFrame":
    """Return the rows of all, joined by halves: a chain makes a deep plan."""
    if len(frames) == 1:
        return frames[0]
    half = len(frames) // 2
    return _union(frames[:half]).union(_union(frames[half:]))


def _location(file: Path) -> str:
    r"""Return the location of a file for Spark, with patterns escaped, such as `a[1]*`.

    >>> _location(Path("/a[1]/b.parquet"))
    'file:///a\\[1\\]/b.parquet'
    """
    path = "".join(f"\\{letter}" if letter in _GLOB else letter for letter in file.as_posix())
    return f"file://{path}" if path.startswith("/") else f"file:///{path}"
