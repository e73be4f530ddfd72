"""A relation: rows of the engine as SQL and its columns, without Ibis."""

import re
import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import compress, repeat

import pyarrow as pa

__all__ = ["Columns", "Relation", "arrow_schema", "as_stated", "columns_of", "identifier", "quoted"]

_LIMIT = re.compile(r"\nLIMIT \d+\Z")
Columns = tuple[tuple[str, str], ...]  # name and Arrow type of each column, in order


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows of the engine: SQL and its columns.

    Attributes:
        sql: the query that returns them, in DuckDB's dialect.
        columns: the columns and their Arrow types, as a question states them.
        name: of the table or view that has just these rows; "" where there is none.
    """

    sql: str
    columns: Columns
    name: str = ""

    @classmethod
    def of_table(cls, name: str, columns: Columns) -> "Relation":
        """Return the rows of a table or view of the engine; `name` stands in SQL as it is."""
        return cls(f"SELECT * FROM {name}", columns, name)

    @property
    def schema(self) -> pa.Schema:
        """The columns as an Arrow schema."""
        return arrow_schema(self.columns)

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [name for name, _ in self.columns]

    def select(self, *names: str) -> "Relation":
        """Return some of the columns of all rows, in no order."""
        kinds = dict(self.columns)
        return Relation(
            f"SELECT {', '.join(map(identifier, names))} FROM {self.source}",
            tuple((name, kinds[name]) for name in names),
        )

    def ordered(self, by: str, names: Sequence[str] | None = None) -> "Relation":
        """Return the rows ordered by a column; `names`: some of the columns, None for all."""
        rows = self if names is None else self.select(*names)
        listed = ", ".join(map(identifier, rows.names))
        return Relation(f"SELECT {listed} FROM {self.source} ORDER BY {identifier(by)}", rows.columns)

    def limit(self, rows: int | None) -> "Relation":
        """Return the first rows, in the order of the query; None: all."""
        return self if rows is None else Relation(f"{self.sql}\nLIMIT {int(rows)}", self.columns)

    def without_limit(self) -> "Relation":
        """Return all rows of which `limit` took the first."""
        return Relation(_LIMIT.sub("", self.sql), self.columns)

    @property
    def source(self) -> str:
        """The text after FROM."""
        return self.name or f"({self.sql})"


def arrow_schema(columns: Columns) -> pa.Schema:
    """Return columns as an Arrow schema."""
    return pa.schema([pa.field(name, _arrow_types()[kind]) for name, kind in columns])


def columns_of(schema: pa.Schema | Iterable[pa.Field], changed: Mapping[str, str] | None = None) -> Columns:
    """Return the columns of an Arrow schema; `changed`: other types for some of them."""
    changed = changed or {}
    return tuple((field.name, changed.get(field.name, str(field.type))) for field in schema)


def as_stated(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the rows with the types of a schema; a column with a number that does not fit keeps its own.

    DuckDB adds integers up to 128 bits, Spark knows no unsigned integers: a question states what it returns.
    """
    columns = []
    for column, field in zip(rows.columns, schema, strict=True):
        if column.type == field.type:  # a cast that changes nothing would load Arrow's functions
            columns.append(column)
            continue
        try:
            columns.append(_cast(column, field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            columns.append(column)
    fields = [pa.field(name, column.type) for name, column in zip(rows.schema.names, columns, strict=True)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column with another type; counts without Arrow's functions, which take longer to load than most answers."""
    if kind == pa.int64() and column.type == pa.decimal128(38, 0):
        counts = [_lower_halves(chunk) for chunk in column.chunks]
        if None not in counts:
            return pa.chunked_array(counts, kind)
    return column.cast(kind)


def _lower_halves(numbers: pa.Array) -> pa.Array | None:
    """Return numbers of 128 bits as 64 where none is negative or larger; else None. What NULL stands on may be anything."""
    valid, data = numbers.buffers()
    halves = array("q", bytes(data)[: 16 * len(numbers)])
    low, high = halves[::2], halves[1::2]
    rows = repeat(1) if valid is None else [byte >> bit & 1 for byte in bytes(valid) for bit in range(8)]
    fits = not any(compress(high, rows)) and min(compress(low, rows), default=0) >= 0
    if not fits or numbers.offset or sys.byteorder == "big":
        return None
    return pa.Array.from_buffers(pa.int64(), len(numbers), [valid, pa.py_buffer(low)])


@cache
def _arrow_types() -> dict[str, pa.DataType]:
    """Return the types of question columns, by their names in Arrow."""
    plain = (
        pa.bool_(), pa.string(), pa.binary(), pa.float32(), pa.float64(), pa.timestamp("us", tz="UTC"),
        *(make() for make in (pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64)),
    )  # fmt: skip
    wide = (pa.decimal128(38, 0), pa.timestamp("us"), pa.null())
    listed = (pa.list_(kind) for kind in plain)
    return {str(kind): kind for kind in (*plain, *wide, *listed)}


def quoted(text: str) -> str:
    """Return `text` as a string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(column: str) -> str:
    """Return the name of a column or table as a quoted identifier."""
    return '"' + column.replace('"', '""') + '"'
