"""A context in which filters mean chosen rows, whatever they say: for questions that found keys and events themselves."""

from collections.abc import Sequence

from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext

__all__ = ["with_chosen_keys"]


class _ChosenKeys(QueryContext):
    """A context in which a filter of keys means the keys of a table."""

    _chosen: Relation
    _events: Relation | None

    def key_ids(self, filters: Filters) -> list[int] | Relation | None:
        """Return the keys of the table; None where the filters name none."""
        return None if filters.key is None else self._chosen

    def _fitting(self, condition: str) -> Relation:
        return super()._fitting(condition) if self._events is None else self._events

    def each(self, filters: Filters) -> "Sequence[QueryContext]":
        """Return this context alone."""
        del filters
        return [self]


_KINDS: dict[type[QueryContext], type[_ChosenKeys]] = {}


def with_chosen_keys(context: QueryContext, keys: Relation, events: Relation | None = None) -> QueryContext:
    """Return the context of one capture in which each filter of keys means these, and each condition these events.

    Args:
        context: the context.
        keys: a relation with the column `key_id`: every spelling of the keys.
        events: stored event rows, which every condition (`where`) means; None: it means what it says.
    """
    kind = type(context)
    if kind not in _KINDS:
        _KINDS[kind] = type(f"ChosenKeys{kind.__name__}", (_ChosenKeys, kind), {})
    made: _ChosenKeys = object.__new__(_KINDS[kind])
    made.__dict__.update(context.__dict__)
    made._chosen, made._events = keys, events
    return made
