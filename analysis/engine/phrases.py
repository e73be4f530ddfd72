"""The SQL of Ibis functions, compiled once and cached by the columns of their tables and their options.

Ibis takes longer to say a question than the engine to answer it, and what it says does not depend on the data. So a
function of `analysis` is called with tables that only have columns, and with placeholders for numbers and texts; its SQL is
kept, and filled in where it is used. `analysis.engine.kept_phrases` has those that the package brings along.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from analysis.engine.kept_phrases import find_phrase
from analysis.engine.relation import Columns, Relation, arrow_schema, columns_of, quoted

if TYPE_CHECKING:
    from ibis.expr.types import Table

__all__ = ["Value", "listeners", "phrase", "say"]

Value = int | str | Sequence[int] | Sequence[str]

_NUMBER = 4_321_987_654_000_000_000  # a number nobody asks for; its middle says which value it stands for
_STEP = 1_000_000
# Who wants to hear what had to be phrased, for `tests/support/phrases.py`: function, arguments, SQL and columns.
listeners: list[Callable[[str, str, tuple[str, Columns]], None]] = []
_KEPT = 512  # phrases that one program keeps
_MARK = re.compile(r"\"\$(?P<table>\w+)\"|'\$(?P<text>\w+)\$'|\b4321987654(?P<number>\d{3})000000\b")


def phrase(
    function: str,
    *,
    options: Mapping[str, Hashable] | None = None,
    values: Mapping[str, Value | None] | None = None,
    **tables: Relation | None,
) -> Relation:
    """Return the result of a function of tables, as SQL.

    Args:
        function: `module:name`; it takes Ibis tables and returns one.
        options: further arguments on which its SQL depends: words, flags, tuples of these.
        values: further arguments that only stand in its SQL as they are: a number, a text, or several of either.
            Python must not look at them, nor reckon with them (a test asks each function with two of each). None is
            handed on as it is.
        tables: the arguments that are tables; None is handed on as it is.
    """
    options, values = options or {}, values or {}
    given = {name: value for name, value in values.items() if value is not None}
    sql, columns = _phrased(
        function,
        tuple((name, None if table is None else table.columns) for name, table in tables.items()),
        tuple(sorted(options.items())),
        tuple(sorted((name, _kind(value)) for name, value in given.items())),
        tuple(sorted(values.keys() - given.keys())),
    )
    return Relation(
        _filled(sql, {name: one for name, one in tables.items() if one is not None}, given), columns
    )


@lru_cache(_KEPT)
def _phrased(
    function: str,
    tables: tuple[tuple[str, Columns | None], ...],
    options: tuple[tuple[str, Hashable], ...],
    kinds: tuple[tuple[str, str], ...],
    without: tuple[str, ...],
) -> tuple[str, Columns]:
    arguments = repr((tables, options, kinds, without))
    kept = find_phrase(function, arguments)
    if kept is not None:
        return kept
    said = say(function, tables, options, kinds, without)
    for listener in listeners:
        listener(function, arguments, said)
    return said


def say(
    function: str,
    tables: tuple[tuple[str, Columns | None], ...],
    options: tuple[tuple[str, Hashable], ...],
    kinds: tuple[tuple[str, str], ...],
    without: tuple[str, ...],
) -> tuple[str, Columns]:
    """Return the SQL of a function with placeholders, and its columns: the slow way, by Ibis."""
    import ibis

    module, _, name = function.partition(":")
    build = getattr(import_module(module), name)
    unbound = {
        table: None if columns is None else ibis.table(ibis.Schema.from_pyarrow(arrow_schema(columns)), name=f"${table}")
        for table, columns in tables
    }  # fmt: skip
    marks = {value: _mark(place, value, kind) for place, (value, kind) in enumerate(kinds)}
    found = build(**unbound, **dict(options), **marks, **dict.fromkeys(without))
    sql = str(ibis.to_sql(_selected(found), dialect="duckdb", pretty=False))
    return sql, columns_of(found.schema().to_pyarrow())


def _selected(table: "Table") -> "Table":
    """Return the expression with a select of the other columns in place of each `drop`.

    What several parts of a question start from Ibis says once, by a name, where it is a select, a join or the like. What
    stands under a `drop` it says again in each of them.
    """
    from ibis.expr import operations as ops

    def select(node: Any, changed: "dict[str, Any] | None") -> Any:  # noqa: ANN401  (any node of a question)
        if isinstance(node, ops.DropColumns):
            rest = [name for name in node.schema if name not in node.columns_to_drop]
            parent = changed["parent"] if changed else node.parent
            return ops.Project(parent, {name: ops.Field(parent, name) for name in rest})
        return node.__recreate__(changed) if changed else node

    selected: Table = table.op().replace(select).to_expr()
    return selected


def _kind(value: Value) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, int):
        return "number"
    return "texts" if value and isinstance(value[0], str) else "numbers"


def _mark(place: int, name: str, kind: str) -> Any:  # noqa: ANN401  (what the function expects)
    mark = f"${name}$" if kind.startswith("text") else _NUMBER + place * _STEP
    return [mark] if kind.endswith("s") else mark


def _filled(sql: str, tables: Mapping[str, Relation], values: Mapping[str, Value]) -> str:
    """Return the SQL with its placeholders replaced."""
    numbers = sorted(values)

    def fill(found: re.Match[str]) -> str:
        if found["table"]:
            return tables[found["table"]].name or found[0]
        value = values[found["text"] or numbers[int(found["number"])]]
        several = [value] if isinstance(value, str | int) else value
        return ", ".join(_literal(one) for one in several)

    filled = _MARK.sub(fill, sql)
    named = [f'"${name}" AS ({table.sql})' for name, table in tables.items() if not table.name]
    if not named:
        return filled
    listed = ",\n".join(named)
    if filled.startswith("WITH "):
        return f"WITH {listed}, {filled.removeprefix('WITH ')}"
    return f"WITH {listed}\n{filled}"


def _literal(value: int | str) -> str:
    return str(int(value)) if isinstance(value, int) else quoted(value)
