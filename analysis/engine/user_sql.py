"""What somebody's own SQL sees of a capture: the view `events` with texts of values, behind the guard."""

from collections.abc import Iterator
from typing import Any, Protocol

import duckdb

from analysis.engine.connection import HELPERS, NAMED_EVENTS, engine_errors
from analysis.engine.interruption import interruptible
from analysis.engine.relation import Relation, identifier
from analysis.engine.sql_guard import check_query, nodes
from analysis.engine.value_functions import MADE_COLUMNS, register_functions, relation_with_texts
from tracer.errors import UsageError
from tracer.registry.text import escape_argument
from tracer.registry.value_columns import FUNCTIONS

__all__ = ["condition_view", "only_reads", "open_to_users"]


# Expressions, and other parts of a query, which read no column but those that they name.
_EXPRESSIONS = frozenset(
    {
        "BETWEEN", "CASE", "CAST", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION", "OPERATOR", "SUBQUERY",
        "TYPE", "WINDOW",
    }
)  # fmt: skip
_PARTS = frozenset(
    {
        None, "ASCENDING", "BASE_TABLE", "DESCENDING", "DISTINCT_MODIFIER", "EMPTY", "JOIN", "LIMIT_MODIFIER",
        "ORDER_DEFAULT", "ORDER_MODIFIER", "SELECT_NODE", "SET_OPERATION_NODE", "SUBQUERY",
    }
)  # fmt: skip
# What makes texts, and the tables in which the engine lists the columns that there are.
_TEXTS = frozenset({*MADE_COLUMNS, *FUNCTIONS, "columns", "duckdb_columns", "duckdb_tables", "tables"})


class _Engine(Protocol):
    """What of an engine (`analysis.engine.open_engine.OpenEngine`) is needed here.

    Attributes:
        user_view: the view `events` that `open_to_users` has created: "" for none, "plain", or "texts" with texts of values.
    """

    user_view: str

    @property
    def con(self) -> duckdb.DuckDBPyConnection: ...

    def named_events(self) -> str: ...


def open_to_users(engine: _Engine, *, texts: bool = True) -> None:
    """Create what somebody's own SQL may name: the view `events`, with texts of values and the functions that make them.

    No question needs them.

    Args:
        engine: the engine.
        texts: False where a query needs no texts of values (`_needs_texts`): with the functions the engine loads NumPy, which
            takes longer than most answers.
    """
    done = engine.user_view
    if done == "texts" or (done and not texts):
        return
    connection = engine.con
    with engine_errors():
        if not texts:
            connection.execute(f"CREATE VIEW main.events AS SELECT * FROM {engine.named_events()}")
        else:
            register_functions(connection)
            empty = connection.execute(f"SELECT * FROM {engine.named_events()} LIMIT 0")
            described = empty.description or []
            empty.fetchall()  # a result that is not at its end keeps the connection from other work
            events = Relation.of_table(NAMED_EVENTS, tuple((name, str(kind)) for name, kind, *_ in described))
            connection.execute(f"CREATE OR REPLACE VIEW main.events AS {relation_with_texts(events).sql}")
    engine.user_view = "texts" if texts else "plain"


def condition_view(engine: _Engine, name: str, condition: str) -> None:
    """Create the view `name`: the rows of `events` that fit a user's SQL condition.

    Raises:
        UsageError: the condition is not one expression over the columns of `events`; the message shows where.
    """
    condition = escape_argument(condition)
    if not condition.strip():
        raise UsageError("the condition is empty; give one SQL expression")
    open_to_users(engine)
    connection = engine.con
    made = ", ".join(map(identifier, MADE_COLUMNS))
    query = f"SELECT * EXCLUDE ({made}) FROM main.events WHERE (\n{condition}\n)"
    with engine_errors("the condition cannot be used"):
        statements = connection.extract_statements(query)
        duckdb.SQLExpression(condition)  # one expression, and nothing that closes the bracket
        if len(statements) != 1:
            raise UsageError("the condition cannot be used: it must be one SQL expression")
        check_query(connection.cursor(), query)  # a part of it might read files
        view = f"CREATE VIEW {HELPERS}.{name} AS {query}"
        interruptible(connection, lambda: connection.execute(view))


def only_reads(engine: _Engine, query: str) -> str:
    """Return the query, escaped; raise UsageError unless it is a single statement that only reads tables."""
    open_to_users(engine, texts=False)
    query = escape_argument(query)
    with engine_errors("the query cannot be used"):
        tree = check_query(engine.con.cursor(), query)
    if _needs_texts(tree):
        open_to_users(engine)
    return query


def _needs_texts(tree: dict[str, Any]) -> bool:
    """Tell whether a query may read a column, or call a function, that makes texts of values.

    False only where each of its parts is of a kind that reads no column but those which it names, and none of the names is one
    of these, or of a whole row.
    """
    tables = [node for node in nodes(tree) if "class" not in node]
    rows = {str(node.get(name)).lower() for node in tables for name in ("alias", "table_name")}
    for node in nodes(tree):
        if "class" in node and node["class"] not in _EXPRESSIONS:
            return True
        if "class" not in node and node.get("type") not in _PARTS:
            return True
        if node.get("ref_type", "REGULAR") != "REGULAR":  # a NATURAL join is of all columns
            return True
        if node.get("class") == "COLUMN_REF" and str(node["column_names"][-1]).lower() in rows:
            return True
        if any(str(word).lower() in _TEXTS for word in _words(node)):
            return True
    return False


def _words(node: dict[str, Any]) -> Iterator[object]:
    """Yield the words of a node that are no nodes of their own."""
    for part in node.values():
        yield from part if isinstance(part, list) else [part]
