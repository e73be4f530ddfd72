"""A context that sees only changes, so that a question about what is known answers what was done, and by whom.

`state` of it tells for each key and value the last change that anybody was seen to make; keys under a rename keep their past,
for `state` follows renames.
"""

from collections.abc import Sequence

from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.versions.change_rows import CHANGES, changes_of

__all__ = ["changes_only"]


class _ChangesOnly(QueryContext):
    """A context whose event rows are changes."""

    def _source(self, key_ids: list[int] | Relation | None, *, joined: bool) -> Relation:
        if joined or len(self.stores) > 1:
            return super()._source(key_ids, joined=joined)
        return changes_of(self)

    def rows(self, filters: Filters, *, joined: bool = False) -> Relation:
        """Return the changes among the event rows that fit the filters."""
        found = super().rows(filters, joined=joined)
        return Relation(f"SELECT * FROM {found.source} WHERE {CHANGES}", found.columns)

    def each(self, filters: Filters) -> "Sequence[QueryContext]":
        """Return the captures to query separately, each with its changes alone."""
        several = super().each(filters)
        return [self] if list(several) == [self] else [changes_only(one) for one in several]


_KINDS: dict[type[QueryContext], type[_ChangesOnly]] = {}


def changes_only(context: QueryContext) -> QueryContext:
    """Return the context that sees only the changes of another."""
    kind = type(context)
    if kind not in _KINDS:
        _KINDS[kind] = type(f"ChangesOnly{kind.__name__}", (_ChangesOnly, kind), {})
    made: QueryContext = object.__new__(_KINDS[kind])
    made.__dict__.update(context.__dict__)
    return made
