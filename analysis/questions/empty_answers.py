"""Why an answer is empty: which of its filters leaves nothing, found by leaving out one after the other."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.filters import Filters
from analysis.questions.unknown_names import unknown_key, unknown_process

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["filter_words", "why_empty"]


def why_empty(context: "QueryContext", filters: Filters) -> str | None:
    """Return the sentence on what leaves an answer without rows; None where no filter does, or another sentence says it.

    Unknown keys and processes have sentences of their own (`analysis.questions.unknown_names`).

    Args:
        context: the context of the question.
        filters: the filters of the question, to which it gave no row.
    """
    parts = dict(filter_words(filters))
    if not parts or _is_unknown(context, filters):
        return None
    if _has_rows(context, filters):
        return "events fit the filters, but none of them makes a row of this answer"
    if filters.key is not None and not filters.subtree and _has_rows(context, replace(filters, subtree=True)):
        return f"no event fits {_all(parts)} itself; events of the keys below it do (--subtree, subtree=True)"
    if len(parts) == 1:
        return f"no event fits {_all(parts)}"
    enough = [words for words in parts if _has_rows(context, without(filters, *parts[words]))]
    if enough:
        return f"no event fits all filters; without {' or without '.join(enough)} some would"
    alone = [words for words, names in parts.items() if not _has_rows(context, _only(filters, names))]
    if alone:
        below = ""
        if filters.key is not None and _has_rows(
            context, replace(_only(filters, ("key", "user")), subtree=True)
        ):
            below = "; keys below it have some (--subtree, subtree=True)" * (next(iter(parts)) in alone)
        return f"no event at all fits {' nor '.join(alone)}{below}"
    return f"no event fits all filters ({_all(parts)}), and to leave out one of them is not enough"


def filter_words(filters: Filters) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the filters that are set, each in words and with the names of its fields."""
    if filters.key is not None:
        yield f"the key {' or '.join(filters.keys)}", ("key", "subtree", "user")
    if filters.value is not None:
        yield f"the value {filters.value or '(default)'}", ("value",)
    if filters.process is not None or filters.pid is not None:
        asked = " and ".join(str(one) for one in (filters.process, filters.pid) if one is not None)
        yield f"the process {asked}", ("process", "pid")
    if filters.process_tree is not None:
        yield f"the process {filters.process_tree} and what it started", ("process_tree",)
    for name in ("operation", "status"):
        words = getattr(filters, name)
        if words is not None:
            listed = [words] if isinstance(words, str | int) else words
            yield f"the {name} {', '.join(map(str, listed))}", (name,)
    if filters.start is not None:
        yield f"the first time {filters.start}", ("start",)
    if filters.end is not None:
        yield f"the last time {filters.end}", ("end",)
    if filters.where is not None:
        yield f"the condition {filters.where}", ("where",)
    if filters.noise is False:
        yield "that a program asked for it (noise left out)", ("noise",)


def without(filters: Filters, *names: str) -> Filters:
    """Return filters without some of them."""
    plain = Filters()
    return replace(filters, **{name: getattr(plain, name) for name in names})


def _only(filters: Filters, names: tuple[str, ...]) -> Filters:
    return replace(Filters(), **{name: getattr(filters, name) for name in names})


def _all(parts: dict[str, tuple[str, ...]]) -> str:
    return " and ".join(parts)


def _has_rows(context: "QueryContext", filters: Filters) -> bool:
    return not context.engine.is_empty(context.rows(filters))


def _is_unknown(context: "QueryContext", filters: Filters) -> bool:
    return unknown_process(context, filters) is not None or any(
        unknown_key(context, key, subtree=filters.subtree, user=filters.user) for key in filters.keys
    )
