"""DuckDB as a parser of JSON: statements about some objects, each planned once for all logs of this process.

A plan takes as long as reading half a MiB. So a statement is prepared, and its table `rows` is a window on whatever is
asked about next. Nothing in these statements gains by being optimized, which is most of what is left to do for a
prepared one.
"""

from functools import cache
from typing import Any

import duckdb
import pyarrow as pa

__all__ = ["ROWS", "JsonEngine"]

ROWS = pa.schema([pa.field("json", pa.string()), pa.field("offset", pa.int64())])
_MOST_PREPARED = 100
_AT_ONCE = (
    256  # rows: the parser makes its trees for so many, and some hundred KiB stay in the processor's cache
)
# Before DuckDB 2.0 an object that was registered is read once, so that statements cannot be prepared.
_PREPARES = int(duckdb.__version__.partition(".")[0]) >= 2
_idle: list["JsonEngine"] = []  # appending and taking away are atomic


class JsonEngine:
    """One connection of the process's parser, for one thread at a time."""

    def __init__(self) -> None:
        """Open it; `take` is for users."""
        self._connection = _database().cursor()
        self._rows = _Rows()
        self._prepared: dict[str, str] = {}
        if _PREPARES:
            self._connection.register("rows", self._rows)

    @classmethod
    def take(cls) -> "JsonEngine":
        """Return one that nobody uses, or a new one."""
        try:
            return _idle.pop()
        except IndexError:
            return cls()

    def give_back(self) -> None:
        """Let others use it."""
        _idle.append(self)

    def ask(self, statement: str, rows: pa.Table) -> pa.Table:
        """Return the answer of a statement about `rows`.

        Args:
            statement: a SELECT.
            rows: the objects, and where each begins (`ROWS`).

        Raises:
            duckdb.Error: an object is no JSON, for one.
        """
        rows = pa.Table.from_batches(rows.cast(ROWS).to_batches(max_chunksize=_AT_ONCE), ROWS)
        if not _PREPARES:
            self._connection.register("rows", rows)
            try:
                return self._connection.sql(statement).to_arrow_table()
            finally:
                self._connection.unregister("rows")
        self._rows.table = rows
        try:
            return self._connection.sql(f"EXECUTE {self._prepare(statement)}").to_arrow_table()
        finally:
            self._rows.table = _NONE

    def _prepare(self, statement: str) -> str:
        """Return the name of the prepared statement."""
        name = self._prepared.get(statement)
        if name is None:
            if len(self._prepared) >= _MOST_PREPARED:
                for one in self._prepared.values():
                    self._connection.execute(f"DEALLOCATE {one}")
                self._prepared.clear()
            name = f"statement_{len(self._prepared)}"
            self._connection.execute(f"PREPARE {name} AS {statement}")
            self._prepared[statement] = name
        return name


_NONE = ROWS.empty_table()


class _Rows:
    """What the engine reads as the table `rows`: another one each time."""

    def __init__(self) -> None:
        self.table = _NONE

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:  # noqa: ANN401 - capsules have no type
        return self.table.__arrow_c_stream__(requested_schema)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the parser of all logs; to start one takes longer than to read a small log."""
    # A log is a stranger's text: the parser reads memory and nothing else.
    config: dict[str, Any] = {"threads": 1, "enable_external_access": False, "lock_configuration": True}
    return duckdb.connect(config={**config, "enable_optimizer": False} if _PREPARES else config)
