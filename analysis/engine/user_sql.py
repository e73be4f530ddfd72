"""What somebody's own SQL sees of a capture: the view `events` with texts of values, behind the guard."""

from typing import Protocol

import duckdb

from analysis.engine.connection import HELPERS, NAMED_EVENTS, engine_errors
from analysis.engine.interruption import interruptible
from analysis.engine.relation import Relation, identifier
from analysis.engine.sql_guard import check_query
from analysis.engine.value_functions import MADE_COLUMNS, register_functions, relation_with_texts
from tracer.errors import UsageError
from tracer.registry.text import escape_argument

__all__ = ["condition_view", "only_reads", "open_to_users"]


class _Engine(Protocol):
    """What of an engine (`analysis.engine.open_engine.OpenEngine`) is needed here."""

    @property
    def con(self) -> duckdb.DuckDBPyConnection: ...

    def named_events(self) -> str: ...


def open_to_users(engine: _Engine) -> None:
    """Create what somebody's own SQL may name: the functions of values, and the view `events` with texts of values.

    No question needs them, and with the functions the engine loads NumPy, which takes longer than most answers.
    """
    shown = "SELECT 1 FROM duckdb_views() WHERE schema_name = 'main' AND view_name = 'events'"
    connection = engine.con
    with engine_errors():
        # All rows are fetched: a result that is not at its end keeps the connection from other work.
        if connection.execute(shown).fetchall():
            return
        register_functions(connection)
        empty = connection.execute(f"SELECT * FROM {engine.named_events()} LIMIT 0")
        described = empty.description or []
        empty.fetchall()
        events = Relation.of_table(NAMED_EVENTS, tuple((name, str(kind)) for name, kind, *_ in described))
        connection.execute(f"CREATE VIEW main.events AS {relation_with_texts(events).sql}")


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
    open_to_users(engine)
    query = escape_argument(query)
    with engine_errors("the query cannot be used"):
        check_query(engine.con.cursor(), query)
    return query
