"""SQL functions of registry values, and the columns that they make of others.

    type_name(type)                             REG_SZ and so on
    value_text(type, data, size)                the data as text
    value_meaning(key, value_name, type, data)  what well-known data says

They run in Python, on whole vectors, and only where a query names them or the columns that they make.
"""

from typing import TYPE_CHECKING, Any

from analysis.engine.columns import EVENT_COLUMNS, SHOWN_COLUMNS
from analysis.engine.relation import Relation, identifier
from tracer.registry.value_columns import FUNCTIONS, makers_of, names_with_texts

if TYPE_CHECKING:
    import duckdb

__all__ = ["MADE_COLUMNS", "register_functions", "relation_with_texts"]

_INPUTS = {
    "type_name": ["BIGINT"],
    "value_text": ["BIGINT", "BLOB", "BIGINT"],
    "value_meaning": ["VARCHAR", "VARCHAR", "BIGINT", "BLOB"],
}
MADE_COLUMNS = tuple(name for name in SHOWN_COLUMNS if name not in EVENT_COLUMNS)


def register_functions(connection: "duckdb.DuckDBPyConnection") -> None:
    """Register the functions with a connection; its cursors have them too."""
    # The engine counts the parameters of a function.
    functions: dict[str, Any] = {
        "type_name": lambda kinds: _call("type_name", kinds),
        "value_text": lambda kinds, data, sizes: _call("value_text", kinds, data, sizes),
        "value_meaning": lambda keys, names, kinds, data: _call("value_meaning", keys, names, kinds, data),
    }
    for name, function in functions.items():
        connection.create_function(
            name, function, _INPUTS[name], "VARCHAR", type="arrow", null_handling="special"
        )


def relation_with_texts(rows: Relation) -> Relation:
    """Return rows with the columns that `tracer.registry.value_columns.with_texts` adds, made by the engine."""
    kinds = dict(rows.columns)
    made = {
        name: f"{function}({', '.join(map(identifier, inputs))})"
        for name, (function, *inputs) in makers_of(rows.names).items()
    }
    names = names_with_texts(rows.names)
    listed = (identifier(name) if name in kinds else f"{made[name]} AS {identifier(name)}" for name in names)
    return Relation(
        f"SELECT {', '.join(listed)} FROM {rows.source}",
        tuple((name, kinds.get(name, "string")) for name in names),
    )


def _call(name: str, *columns: Any) -> Any:  # noqa: ANN401
    return FUNCTIONS[name](
        *(column.combine_chunks() if hasattr(column, "combine_chunks") else column for column in columns)
    )
