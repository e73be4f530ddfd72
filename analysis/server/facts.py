"""What captures hold, as rows: facts, losses and counters, for the tool `info`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from analysis.card import facts
from analysis.engine.connection import answer, engine_errors

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["FACTS", "facts_of"]

FACTS = ("capture", "about", "says", "count", "from", "to", "evidence")


def facts_of(context: "QueryContext") -> list[dict[str, Any]]:
    """Return the facts of each capture, by number, then the losses and the counters of all of them."""
    return [*_facts(context), *_losses(context), *_counters(context)]


def _facts(context: "QueryContext") -> Iterator[dict[str, Any]]:
    for number, (path, manifest) in enumerate(context.stores, 1):
        yield {"capture": number, "about": "name", "says": path.name}
        for about, says in facts(manifest).items():
            yield {"capture": number, "about": about, "says": says}


def _losses(context: "QueryContext") -> Iterator[dict[str, Any]]:
    query = (
        f'SELECT kind, "count", make_timestamp_ns(from_ns)::VARCHAR AS "from", make_timestamp_ns(to_ns)::VARCHAR AS "to", '
        f"evidence FROM {context.relation('losses').source} ORDER BY from_ns NULLS FIRST, to_ns, kind"
    )
    yield from _rows(context, query, lambda row: f"loss: {row['kind']}")


def _counters(context: "QueryContext") -> Iterator[dict[str, Any]]:
    query = (
        'SELECT name, meaning AS says, sum("count")::BIGINT AS "count" FROM '
        f"{context.relation('diagnostics').source} GROUP BY ALL ORDER BY 3 DESC, 1"
    )
    yield from _rows(context, query, lambda row: f"counter: {row['name']}")


def _rows(context: "QueryContext", query: str, about: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401  (a function)
    with engine_errors():
        found = answer(context.engine, query).to_pylist()
    for row in found:
        yield {"about": about(row)} | {
            name: value for name, value in row.items() if name in FACTS and value is not None
        }
