"""What a user's query may do: read the tables of the capture, and nothing of the machine."""

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from tracer.errors import UsageError

__all__ = ["check_query"]

_READING = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
# Functions that stand where a table stands. The others read files, or addresses in memory.
_TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns",
        "duckdb_functions",
        "duckdb_keywords",
        "duckdb_settings",
        "duckdb_tables",
        "duckdb_types",
        "duckdb_views",
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
_FILE = re.compile(r"[./\\:]")  # no table of a capture has such a name, but files and addresses have
_EXPLAIN = re.compile(
    r"\s*EXPLAIN(?:\s+ANALYZE)?\b(?:\s*\((?:[\w\s,]*)\)(?=\s*\S))?", re.ASCII | re.IGNORECASE
)
_ADVICE = "it must be one SELECT (or WITH, DESCRIBE, SUMMARIZE, EXPLAIN)"


def check_query(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise UsageError unless the query is one statement that only reads tables.

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
        check_query(connection, query[begin.end() :])
        return
    if kind == duckdb.StatementType.MULTI:  # a PIVOT that must first look which columns there are
        raise UsageError("the query cannot be used: a PIVOT must name its columns: ON column IN (...)")
    if kind != duckdb.StatementType.SELECT:
        raise UsageError(f"the query cannot be used: {_ADVICE}")
    text = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    try:
        tree = json.loads(text[0]) if text else {"error": True}
    except RecursionError:
        raise UsageError("the query cannot be used: it is nested too deeply") from None
    if tree["error"]:
        raise UsageError(f"the query cannot be used: {_ADVICE}")
    for node in _nodes(tree):
        _check_node(node)


def _check_node(node: dict[str, Any]) -> None:
    kind = str(node.get("type"))
    if kind.endswith("_NODE") and kind not in _READING:
        raise UsageError(f"the query cannot be used: {_ADVICE}, and none of its parts may write")
    if kind == "TABLE_FUNCTION":
        name = str(node.get("function", {}).get("function_name"))
        if name.lower() not in _TABLE_FUNCTIONS:
            raise UsageError(
                f"the query cannot be used: {name}() reads what is not in the capture, or writes"
            )
    if kind in ("BASE_TABLE", "SHOW_REF") and _FILE.search(str(node.get("table_name", ""))):
        raise UsageError(
            f"the query cannot be used: {node['table_name']!r} is no table of the capture, and files are not read"
        )


def _nodes(tree: object) -> Iterator[dict[str, Any]]:
    """Yield every object of a JSON tree; without recursion, for a query may be nested deeply."""
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
