"""Operations on each key and the keys below it, down to a depth."""

from analysis.answers.words import TREE_SORTS, check_word
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation
from analysis.filters import Filters
from analysis.questions.context import QueryContext
from analysis.questions.query import Query, check_limit, together

__all__ = ["query"]


def query(
    context: QueryContext, filters: Filters, *, depth: int = 2, sort: str = "path", limit: int | None = None
) -> Query:
    """Return the query; the columns are those of `analysis.answers.tree.subtrees`.

    Args:
        context: the context of the question.
        filters: which rows count (noise does not, unless they say so); a subtree is where the tree begins.
        depth: levels below that; the last one counts everything below it.
        sort: a word of TREE_SORTS.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter, the order or the depth cannot be understood.
    """
    check_word(sort, TREE_SORTS, "order")
    check_limit(limit)
    filters = filters.without_noise()
    answers = [_tree(one, filters, depth, sort) for one in context.each(filters)]
    return Query(context, filters, together(answers, () if sort == "path" else (sort,), limit=limit))


def _tree(context: QueryContext, filters: Filters, depth: int, sort: str) -> Relation:
    tops, levels = None, [1]
    if filters.key is not None and filters.subtree:
        ids = context.key_ids(Filters(key=filters.key, user=filters.user))
        tops = phrase(
            "analysis.answers.tree:tops_of",
            keys=context.relation("keys"),
            key_ids=_as_relation(ids or [], context),
        )
        found = Relation(f"SELECT DISTINCT levels FROM {tops.source} ORDER BY ALL", (("levels", "int64"),))
        levels = context.engine.fetch(found).column(0).to_pylist()
    return phrase(
        "analysis.answers.tree:subtrees",
        options={"depth": depth, "top_levels": tuple(levels), "sort": sort},
        events=context.rows(filters),
        keys=context.relation("keys"),
        usage=context.usage(filters),
        tops=tops,
    )


def _as_relation(key_ids: list[int] | Relation, context: QueryContext) -> Relation:
    """Return ids as a relation with the column `key_id`."""
    if isinstance(key_ids, Relation):
        return key_ids
    kind = dict(context.relation("keys").columns)["key_id"]
    listed = ", ".join(str(int(number)) for number in key_ids)
    query = f"SELECT unnest([{listed}]::BIGINT[]) AS key_id"
    return Relation(query, (("key_id", kind),))
