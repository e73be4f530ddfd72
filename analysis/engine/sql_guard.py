"""The guard of a user's SQL: it may read the tables of the capture, and nothing else of the machine."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import duckdb

from tracer.errors import UsageError

__all__ = ["check_query", "nodes"]

_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
# Functions that stand where a table stands. The others read files, or addresses in memory, or tell paths and settings.
_TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_tables",
        "duckdb_types",
        "generate_series",
        "icu_calendar_names",
        "json_each",
        "json_tree",
        "pg_timezone_names",
        "pragma_table_info",
        "pragma_version",
        "range",
        "repeat",
        "repeat_row",
        "summary",
        "unnest",
    }
)
# Functions that stand where a value stands, yet tell settings, read what their text says, or write to the engine's log.
_REFUSED = frozenset(
    {"current_setting", "getenv", "json_serialize_plan", "nextval", "pg_get_viewdef", "setval", "write_log"}
)
# Tables that every engine has: what it says of tables and columns. The others tell paths, secrets or settings.
_OF_ENGINE = frozenset(
    {
        ("information_schema", "columns"),
        ("information_schema", "schemata"),
        ("information_schema", "tables"),
        ("main", "duckdb_columns"),
        ("main", "duckdb_tables"),
        ("main", "duckdb_types"),
    }
)
_LISTS = frozenset({"tables", "__show_tables_expanded"})  # SHOW TABLES, SHOW ALL TABLES, DESCRIBE
_FILE = re.compile(r"[./\\:]")  # no table of a capture has such a name, but files and addresses have
_EXPLAIN = re.compile(
    r"\s*EXPLAIN(?:\s+ANALYZE)?\b(?:\s*\((?:[\w\s,]*)\)(?=\s*\S))?", re.ASCII | re.IGNORECASE
)
_ADVICE = "it must be one SELECT (or WITH, DESCRIBE, SUMMARIZE, EXPLAIN)"


def check_query(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    """Return the engine's own tree of a query; raise UsageError unless it is one statement that only reads tables.

    Args:
        connection: the engine, whose own parser is asked.
        query: what the user wrote, escaped.

    Raises:
        UsageError: it writes, reads files, or is several statements.
        duckdb.Error: it cannot be parsed.
    """
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        several = "it is empty" if not statements else "these are several statements"
        raise UsageError(f"the query cannot be used: {several}, and {_ADVICE}")
    kind = statements[0].type
    if kind == duckdb.StatementType.EXPLAIN:
        begin = _EXPLAIN.match(query)
        if begin is None:
            raise UsageError("the query cannot be used: EXPLAIN must stand first, before a SELECT")
        return check_query(connection, query[begin.end() :])
    if kind == duckdb.StatementType.MULTI:  # a PIVOT that must first look which columns there are
        raise UsageError("the query cannot be used: a PIVOT must name its columns: ON column IN (...)")
    if kind != duckdb.StatementType.SELECT:
        raise UsageError(f"the query cannot be used: {_ADVICE}")
    text = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    try:
        tree: dict[str, Any] = json.loads(text[0]) if text else {"error": True}
    except RecursionError:
        raise UsageError("the query cannot be used: it is nested too deeply") from None
    if tree["error"]:
        raise UsageError(f"the query cannot be used: {_ADVICE}")
    tables = _known_tables(connection)
    for node in nodes(tree):
        _check_node(node, tables)
    return tree


_Tables = dict[tuple[str, ...], bool]


def _known_tables(connection: duckdb.DuckDBPyConnection) -> _Tables:
    """Return by name whether a user may read it: names in small letters, alone and qualified."""
    rows = connection.execute(
        "SELECT database_name, schema_name, table_name, internal FROM duckdb_tables() "
        "UNION ALL SELECT database_name, schema_name, view_name, internal FROM duckdb_views()"
    ).fetchall()
    names: _Tables = {}
    for catalog, schema, table, is_of_engine in sorted(
        rows, key=lambda row: not row[3]
    ):  # ours come last, and count
        path = (catalog.lower(), schema.lower(), table.lower())
        is_allowed = not is_of_engine or path[1:] in _OF_ENGINE
        spellings = [path, path[1:], (path[0], path[2])]
        names |= dict.fromkeys(
            [*spellings, path[2:]] if schema in ("main", "pg_catalog") else spellings, is_allowed
        )
    return names


def _check_node(node: dict[str, Any], tables: _Tables) -> None:
    kind = str(node.get("type"))
    if kind.endswith("_NODE") and kind not in _READING:
        raise UsageError(f"the query cannot be used: {_ADVICE}, and none of its parts may write")
    if kind == "TABLE_FUNCTION":
        _check_function(node.get("function", {}), is_allowed=lambda name: name in _TABLE_FUNCTIONS)
    elif node.get("class") == "FUNCTION":
        _check_function(node, is_allowed=lambda name: name not in _REFUSED)
    elif kind == "BASE_TABLE" or (kind == "SHOW_REF" and node.get("table_name")):
        _check_table(node, tables)


def _check_function(node: dict[str, Any], is_allowed: Callable[[str], bool]) -> None:
    name = str(node.get("function_name"))
    if not is_allowed(name.lower()):
        raise UsageError(f"the query cannot be used: {name}() reads what is not in the capture, or writes")


def _check_table(node: dict[str, Any], tables: _Tables) -> None:
    """Raise unless a name is one of a table of the capture.

    A name that stands alone and looks like no file may be one that the query itself gave, or a mistake: the engine knows.
    A qualified one may not: what no catalog has, the engine joins with dots and takes for a file.
    """
    path = [str(node.get(part, "")) for part in ("catalog_name", "schema_name", "table_name")]
    path = [part for part in path if part]
    if node.get("type") == "SHOW_REF":
        path[-1] = path[-1].strip('"')
        if len(path) == 1 and path[0] in _LISTS:
            return
    is_own_or_wrong = len(path) == 1 and not _FILE.search(path[0]) and node.get("type") != "SHOW_REF"
    if tables.get(tuple(part.lower() for part in path), is_own_or_wrong):
        return
    shown = ".".join(path)
    raise UsageError(
        f"the query cannot be used: {shown!r} is no table of the capture, and files and addresses are not read"
    )


def nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON tree, without recursion: a query may be nested deeply."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
