"""An open engine: its connection, the tables and views of questions, and its release."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from analysis.engine.connection import (
    HELPERS,
    NAMED_EVENTS,
    answer,
    connect,
    create_events,
    engine_errors,
    execute,
    fetch_rows,
    stream,
)
from analysis.engine.interruption import is_busy
from analysis.engine.relation import Columns, Relation, arrow_schema
from tracer.errors import CaptureError
from tracer.files.workspace import Workspace

if TYPE_CHECKING:
    from ibis.backends.duckdb import Backend
    from ibis.expr.types import Table

__all__ = ["OpenEngine"]

_FEW_EVENTS = 200_000


class OpenEngine:
    """One locked connection; the captures of a dataset share it.

    Attributes:
        name: what it reads, for messages.
        user_view: which view `events` `analysis.engine.user_sql.open_to_users` has created; "" for none.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[duckdb.DuckDBPyConnection, Path], None],
        *,
        directories: Sequence[Path],
        events: int,
        memory_limit: str,
        threads: int | None,
        named_events: Callable[[], Relation] | None = None,
    ) -> None:
        """Connect, and let `make` create the tables.

        Args:
            name: what it reads, for messages.
            make: as of `connect`.
            directories: as of `connect`.
            events: how many events the captures have together.
            memory_limit: as of `connect`.
            threads: likewise.
            named_events: returns the event rows with their names joined; None: `make` creates their view.

        Raises:
            UsageError: the engine refuses the memory limit or the number of threads.
            CaptureError: a table cannot be read.
        """
        self.name = name
        self.user_view = ""
        self._is_small = events < _FEW_EVENTS
        self._connection, spill = connect(
            make, directories=directories, memory_limit=memory_limit, threads=threads
        )
        self._closer = weakref.finalize(self, _close, self._connection, spill)
        self._helpers: dict[tuple[str, str], str] = {}  # kind and query -> the name that stands for it
        self._numbers = count()
        self._backend: Backend | None = None
        self._named_events = named_events

    @property
    def con(self) -> duckdb.DuckDBPyConnection:
        """The connection.

        Raises:
            CaptureError: it is closed.
        """
        if not self.is_open:
            raise CaptureError(f"the capture {self.name} is closed: open it again")
        return self._connection

    @property
    def is_open(self) -> bool:
        """Whether the engine is open."""
        return self._closer.alive

    def named_events(self) -> str:
        """Return the name of the view of event rows with their names joined; most questions read stored rows, and need none."""
        if (named_events := self._named_events) is not None:
            with engine_errors():
                create_events(self.con, named_events())
            self._named_events = None
        return NAMED_EVENTS

    @property
    def backend(self) -> "Backend":
        """Ibis' backend over the connection."""
        from analysis.engine.ibis_tables import backend_of
        from analysis.engine.user_sql import open_to_users

        if self._backend is None:
            open_to_users(self)
            self._backend = backend_of(self.con)
        return self._backend

    def fetch(self, relation: Relation) -> pa.Table:
        """Return the rows of a relation, with the types that it states."""
        with engine_errors():
            return fetch_rows(self, relation, few=self._is_small)

    def stream(self, sql: str, batch_rows: int) -> pa.RecordBatchReader:
        """Run a query and return its rows as a stream of Arrow batches.

        Of few events there are few rows: they are read at once, for a stream is bound twice, and that takes longer.
        """
        with engine_errors():
            if self._is_small:
                return answer(self, sql).to_reader(batch_rows)
            return stream(self, sql, batch_rows)

    def is_empty(self, relation: Relation) -> bool:
        """Tell whether a relation has no row."""
        with engine_errors():
            return not answer(self, f"SELECT 1 FROM {relation.source} LIMIT 1").num_rows

    def count(self, relation: Relation) -> int:
        """Return how many rows a relation has."""
        with engine_errors():
            return int(answer(self, f"SELECT count(*) FROM {relation.source}").column(0)[0].as_py())

    def keep(self, kind: str, relation: Relation) -> Relation:
        """Return the rows of a relation from a temporary table, created once; for few rows.

        Args:
            kind: what they are, in one word: the table's name begins with it.
            relation: the rows.
        """

        def create(name: str) -> None:
            execute(self, f"CREATE TABLE {HELPERS}.{name} AS {relation.sql}")

        return self.named(kind, relation.sql, create, relation.columns)

    def hold(self, kind: str, key: str, make: Callable[[], pa.Table], columns: Columns) -> Relation:
        """Return the rows that `make` makes from a temporary table, created once for each key.

        Args:
            kind: as of `keep`.
            key: what the rows depend on.
            make: makes the rows.
            columns: their columns.
        """
        return self.gather(kind, key, lambda: [make()], columns)

    def gather(
        self, kind: str, key: str, make: Callable[[], Iterable[pa.Table]], columns: Columns
    ) -> Relation:
        """Return rows that come in pieces from a temporary table, created once for each key; arguments as of `hold`."""

        def create(name: str) -> None:
            table = f"{HELPERS}.{name}"
            self._write(f"CREATE TABLE {table} AS", arrow_schema(columns).empty_table())
            try:
                for piece in make():
                    self._write(f"INSERT INTO {table}", piece)
            except BaseException:
                self.con.execute(f"DROP TABLE {table}")
                raise

        return self.named(kind, key, create, columns)

    def _write(self, statement: str, rows: pa.Table) -> None:
        self.con.register("given_rows", rows)
        try:
            execute(self, f"{statement} SELECT * FROM given_rows")
        finally:
            self.con.unregister("given_rows")

    def view(self, kind: str, sql: str, columns: Columns) -> Relation:
        """Return the view of a query, created once; `kind` as of `keep`."""

        def create(name: str) -> None:
            self.con.execute(f"CREATE VIEW {HELPERS}.{name} AS {sql}")

        return self.named(kind, sql, create, columns)

    def named(self, kind: str, key: str, create: Callable[[str], None], columns: Columns) -> Relation:
        """Return the table or view that `create` creates in the schema HELPERS by name, once for each key."""
        if (kind, key) not in self._helpers:
            name = f"{kind}_{next(self._numbers)}"
            with engine_errors():
                create(name)
            self._helpers[kind, key] = f"{HELPERS}.{name}"
        return Relation.of_table(self._helpers[kind, key], columns)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Remove at the end the tables and views that are created inside: nobody asks again for what only one answer needs."""
        before = set(self._helpers)
        try:
            yield
        finally:
            for known in reversed([known for known in self._helpers if known not in before]):
                name = self._helpers.pop(known)
                if self.is_open:
                    _drop(self.con, name)

    def table(self, relation: Relation) -> "Table":
        """Return the rows of a relation as an Ibis table."""
        from analysis.engine.ibis_tables import bind, ibis_schema

        backend = self.backend  # it has the functions that the rows may be made with
        named = relation if relation.name else self.view("lazy", relation.sql, relation.columns)
        schema, _, name = named.name.rpartition(".")
        return bind(backend, name, ibis_schema(relation.columns), schema or None)

    def close(self) -> None:
        """Release the connection and the disk space it spilled to; closing twice is fine."""
        self._closer()


def _drop(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for kind in ("TABLE", "VIEW"):
        # The engine refuses to drop the one as the other.
        with suppress(duckdb.CatalogException):
            connection.execute(f"DROP {kind} IF EXISTS {name}")


def _close(connection: duckdb.DuckDBPyConnection, spill: Workspace) -> None:
    if not is_busy():  # a query that does not stop holds its connection: it would be waited for
        # After an interrupted query a thread may still ask the engine to stop: the engine then refuses to close.
        with suppress(duckdb.Error):
            connection.close()
    spill.close()
