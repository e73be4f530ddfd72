"""The embedded engine: one locked DuckDB connection that sees the tables of a capture, or of several."""

import glob
import re
import tempfile
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from analysis.engine.columns import columns_of_one, joined, stored_name
from analysis.engine.interruption import batches_of, interruptible
from analysis.engine.relation import Relation, as_stated, identifier, quoted
from tracer.errors import CaptureError, RegtraceError, UsageError, reason_of
from tracer.files.workspace import Workspace
from tracer.registry.suggestions import closest
from tracer.schema import EVENTS, OF_VALUES, STRUCTURED, TABLES, Table
from tracer.store.manifest import STRUCTURES, Manifest

__all__ = [
    "HELPERS",
    "NAMED_EVENTS",
    "Engine",
    "answer",
    "connect",
    "create_events",
    "engine_errors",
    "events_of_one",
    "execute",
    "fetch_rows",
    "make_tables",
    "missing_column",
    "reader_of",
    "rows_of",
    "scan",
    "stream",
    "way_of_reading",
    "without_rows",
]

NAMED_EVENTS = "regtrace.named_events"
HELPERS = "regtrace"  # schema of what questions need on the way; not temporary, for cursors must see it

_SQL_TYPES = {
    "timestamp": "TIMESTAMPTZ",
    "text": "VARCHAR",
    "bytes": "BLOB",
    "addresses": "BIGINT[]",
    "boolean": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
}
# What the engine says of a damaged file, in the class that it has for mistakes in SQL. A user's SQL cannot name files.
_DAMAGED = (
    "Invalid Input Error: Invalid string encoding found in Parquet file",
    "Invalid Input Error: Failed to read file",
)
_MOST_ROWS = 2**40  # of an estimate, which a stranger's manifest makes
_LOCATION = re.compile(r"LINE \d+: ")


# Whatever a statement says, the engine itself neither fetches nor loads an extension, nor reads the secrets that a user keeps
# for it, nor looks names up among the variables of the calling program.
_CLOSED = (
    "python_enable_replacements", "python_scan_all_frames", "autoinstall_known_extensions",
    "autoload_known_extensions", "allow_community_extensions", "allow_persistent_secrets",
)  # fmt: skip


class Engine(Protocol):
    """An owner of a connection: our engine, or Ibis' backend over it."""

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The connection."""


def connect(
    make: Callable[[duckdb.DuckDBPyConnection, Path], None],
    *,
    directories: Sequence[Path],
    memory_limit: str,
    threads: int | None,
) -> tuple[duckdb.DuckDBPyConnection, Workspace]:
    """Return a locked connection with the tables that `make` creates, and its folder for spilled data.

    Args:
        make: makes the tables; it gets a folder of the engine's own, which is removed with it.
        directories: the captures: nothing but what lies in them, and in that folder, can be read later on.
        memory_limit: what the engine may use.
        threads: how many it may use; None for one per processor.

    Raises:
        UsageError: the memory limit or the number of threads is not one.
    """
    spill = Workspace(Path(tempfile.gettempdir()))
    settings: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": str(spill.path / "spill")}
    if threads is not None:
        settings["threads"] = threads
    try:
        connection = duckdb.connect(config=settings)
    except duckdb.Error as error:
        spill.close()
        raise UsageError(
            f"the engine refuses memory_limit={memory_limit!r}, threads={threads!r}: {error}"
        ) from error
    try:
        with engine_errors():
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            # A question reads the same files several times.
            connection.execute("SET parquet_metadata_cache = true")
            # The system keeps pages of files that are read again: a second copy of them would fill the memory.
            connection.execute("SET enable_external_file_cache = false")
            for setting in _CLOSED:
                connection.execute(f"SET {setting} = false")
            connection.execute(f"CREATE SCHEMA {HELPERS}")
            forms = spill.path / "forms"
            forms.mkdir()
            make(connection, forms)
            _lock(connection, [*directories, forms])
    except BaseException:
        connection.close()
        spill.close()
        raise
    return connection, spill


def make_tables(
    connection: duckdb.DuckDBPyConnection, files: dict[str, list[Path]], manifest: Manifest
) -> None:
    """Create the tables of one capture in the engine.

    The stored tables have their own names, except that the stored event rows are `stored_events`: `create_events` creates
    the view with the names joined.
    """
    for name, table in TABLES.items():
        try:
            with engine_errors(f"the table {name} cannot be read"):
                connection.execute(f"CREATE VIEW {stored_name(name)} AS {scan(table, files[name], manifest)}")
        except UsageError as error:  # the words are ours, so it is the file that lacks a column
            first = str(error).partition("\n")[0]
            raise CaptureError(f"{first}; run the ingest again") from error


def events_of_one() -> Relation:
    """Return the event rows of one capture, with the names joined."""
    columns = columns_of_one()
    return joined(
        *(Relation.of_table(name, columns[name]) for name in ("stored_events", "keys", "processes"))
    )


def create_events(connection: duckdb.DuckDBPyConnection, events: Relation) -> None:
    """Create the events that questions read (NAMED_EVENTS), where they are not there yet.

    `analysis.engine.user_sql` creates what users see of them.
    """
    connection.execute(f"CREATE VIEW IF NOT EXISTS {NAMED_EVENTS} AS {events.sql}")


def _lock(connection: duckdb.DuckDBPyConnection, directories: Sequence[Path]) -> None:
    """Restrict the engine to files in some directories and its own; no network.

    This cannot be undone, and it comes before a user's first word: what `analysis.engine.sql_guard` refuses by name would not
    be read here either.
    """
    spellings = {spelled(directory.absolute()) for directory in directories for spelled in (str, _as_pattern)}
    reached = ", ".join(map(quoted, sorted(spellings)))
    with engine_errors("the engine cannot be locked"):
        connection.execute(f"SET allowed_directories = [{reached}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")


def without_rows(table: Table) -> str:
    """Return a query that returns no rows, with the columns of a table."""
    columns = [
        f"CAST(NULL AS {_SQL_TYPES[column.kind]}) AS {identifier(column.name)}" for column in table.columns
    ]
    return f"SELECT {', '.join(columns)} WHERE false"


def way_of_reading(table: Table, manifest: Manifest) -> Hashable:
    """Return what decides how `scan` reads the files of a table: those of which it is the same can be one scan."""
    return table is EVENTS and manifest.data_of_reads == STRUCTURES, manifest.columns_without(table.name)


def scan(
    table: Table,
    files: Sequence[Path],
    manifest: Manifest,
    *,
    more: tuple[str, ...] = (),
    rows: int | None = None,
) -> str:
    """Return the query that reads a table from its files; a table without files is empty.

    Args:
        table: the table.
        files: its files.
        manifest: of the capture; of several, `way_of_reading` is the same.
        more: further columns that the engine has of each row.
        rows: as of `rows_of`.
    """
    if not files:
        return without_rows(table)
    columns = [identifier(column.name) for column in table.columns]
    if table is EVENTS and manifest.data_of_reads == STRUCTURES:
        reads = ", ".join(map(quoted, STRUCTURED))
        unknown = f"CASE WHEN operation NOT IN ({reads}) THEN {{0}} END AS {{0}}"
        named = zip(table.names, columns, strict=True)
        columns = [unknown.format(column) if name in OF_VALUES else column for name, column in named]
    for place, column in enumerate(table.columns):
        if column.name in manifest.columns_without(table.name):
            columns[place] = f"CAST(NULL AS {_SQL_TYPES[column.kind]}) AS {identifier(column.name)}"
    return f"SELECT {', '.join((*columns, *more))} FROM {rows_of(files, rows)}"


def rows_of(files: Sequence[Path], rows: int | None = None) -> str:
    """Return the text after FROM that reads files, which have the columns of the first.

    Args:
        files: the files.
        rows: about how many rows they have; None: the engine guesses from the first file. It plans joins by this number.
    """
    # The names come from the manifest; a folder called a[1]* must not become a pattern, or host=x a column.
    listed = ", ".join(quoted(_as_pattern(file)) for file in files)
    estimate = "" if rows is None else f", explicit_cardinality = {min(max(rows, 1), _MOST_ROWS)}"
    return f"read_parquet([{listed}], hive_partitioning = false{estimate})"


def _as_pattern(path: Path) -> str:
    """Return the path with its pattern characters escaped."""
    return glob.escape(str(path)) if set(str(path)) & set("*?[") else str(path)


_NO_COLUMN = re.compile(r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"')


@contextmanager
def engine_errors(what: str = "the query cannot be run") -> Iterator[None]:
    """Turn the engine's errors into ours: a user's mistake, a file that changed, or too little memory."""
    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise RegtraceError(
            f"{what}: {reason_of(error)}; open the capture with a larger memory_limit"
        ) from error
    except duckdb.PermissionException as error:  # the lock, where `analysis.engine.sql_guard` did not see it
        raise UsageError(f"{what}: it reaches for what is not in the capture: {reason_of(error)}") from error
    except duckdb.IOException as error:
        raise CaptureError(f"{what}, a file of the capture cannot be read: {reason_of(error)}") from error
    except duckdb.ProgrammingError as error:
        if str(error).startswith(_DAMAGED):
            raise CaptureError(
                f"{what}, a file of the capture is damaged: {reason_of(error)}; run the ingest again"
            ) from error
        raise UsageError(f"{what}: {_located(str(error))}") from error
    except (duckdb.DataError, duckdb.NotSupportedError) as error:
        raise UsageError(f"{what}: {_located(str(error))}") from error
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except duckdb.InvalidInputException as error:
        raise UsageError(f"{what}: {reason_of(error)}") from error
    except UnicodeDecodeError as error:  # DuckDB's own message quotes data, and cuts it inside a letter
        start = error.object[: error.start].decode("utf-8", "replace").partition("\n")[0]
        raise UsageError(f"{what}: {start}...") from error
    except duckdb.Error as error:  # what has no class of its own: bytes that no reader expects
        raise CaptureError(
            f"{what}, a file of the capture is damaged: {reason_of(error)}; run the ingest again"
        ) from error


def _located(message: str) -> str:
    """Return the engine's message without its line number, which counts lines the user did not write."""
    if said := missing_column(message):
        return said
    lines = []
    shift = 0
    for line in message.splitlines():
        place = _LOCATION.match(line)
        if place:
            shift = place.end()
            line = line[shift:]
        elif shift and set(line.strip()) == {"^"}:
            line = line[shift:]
        lines.append(line)
    return "\n".join(line for line in lines if line.strip())


def missing_column(message: str) -> str | None:
    """Return the sentence on a column that the engine did not find, with those close to it; None for other messages."""
    found = _NO_COLUMN.search(message)
    if found is None:
        return None
    column = found[1] or found[2]
    named = re.findall(r'"([^"]+)"', message.partition("andidate bindings: ")[2].split("\n")[0])
    close = closest(column, named or [name for columns in columns_of_one().values() for name, _ in columns])
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else "`regtrace schema` tells the columns of each table"
    )
    return f"there is no column {column}; {hint}"


def answer(engine: Engine, sql: str, *, few: bool = True) -> pa.Table:
    """Run a query on a new cursor, which does not disturb open streams.

    Args:
        engine: the engine.
        sql: the query.
        few: whether its rows are certainly few: then a long query takes three quarters of the time.
    """
    cursor = engine.con.cursor()  # held by name: older engines close a cursor that nobody holds
    run = _few_rows if few else _all_rows
    rows: pa.Table = interruptible(cursor, lambda: run(cursor, sql))
    return rows


def _all_rows(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    return cursor.sql(sql).to_arrow_table()


def _few_rows(cursor: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """Return the rows of a query that is parsed and bound once: `sql` does both twice, for its columns and to run it."""
    cursor.execute(sql)
    read = getattr(cursor, "to_arrow_table", None) or cursor.fetch_arrow_table  # its name changed
    with warnings.catch_warnings():
        # Only this: where threads overlap, a filter may outlive them.
        warnings.filterwarnings("ignore", "Arrow output on a DB-API result makes an extra copy")
        return read()


def fetch_rows(engine: Engine, relation: Relation, *, few: bool = False) -> pa.Table:
    """Run the query of a relation and return its rows, with the types that it states; `few` as of `answer`."""
    return as_stated(answer(engine, relation.sql, few=few), relation.schema)


def execute(engine: Engine, sql: str) -> None:
    """Run a long statement that returns no rows."""
    interruptible(engine.con, lambda: engine.con.execute(sql))


def stream(engine: Engine, sql: str, batch_rows: int) -> pa.RecordBatchReader:
    """Run a query and return its rows as a stream of Arrow batches."""
    cursor = engine.con.cursor()

    def begin() -> pa.RecordBatchReader:
        return reader_of(cursor.sql(sql), batch_rows)

    reader = interruptible(cursor, begin)

    def batches() -> Iterator[pa.RecordBatch]:
        yield from batches_of(cursor, reader)
        cursor.close()

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def reader_of(relation: duckdb.DuckDBPyRelation, batch_rows: int) -> pa.RecordBatchReader:
    """Return the rows of a query as the engine's own stream of Arrow batches."""
    read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader  # its name changed
    reader: pa.RecordBatchReader = read(batch_rows)
    return reader
