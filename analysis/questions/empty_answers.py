"""Why an answer is empty: which of its filters leaves nothing, found by leaving out one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.filters import Filters
from analysis.questions.unknown_names import unknown_key, unknown_process
from tracer.registry.ntstatus import find_status
from tracer.registry.operations import find_operations
from tracer.sources.abilities import ABILITIES, cannot_report, never, tells_failures

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["filter_words", "why_empty"]


def why_empty(context: "QueryContext", filters: Filters, needs: str = "") -> str | None:
    """Return the sentence on what leaves an answer without rows; None where no filter does, or another sentence says it.

    Unknown keys and processes have sentences of their own (`analysis.questions.unknown_names`).

    Args:
        context: the context of the question.
        filters: the filters of the question, to which it gave no row.
        needs: what the question is about (`analysis.questions.query.Query.needs`).
    """
    if sentence := _never_recorded(context, filters, needs):
        return sentence
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


def _never_recorded(context: "QueryContext", filters: Filters, needs: str) -> str | None:
    """Return the sentence on what no source of the capture records; None where one may have recorded it."""
    sources = {word for _, manifest in context.stores for word in manifest.row_sources}
    if not sources <= ABILITIES.keys():
        return None
    if needs == "handles":
        return never(sources, "handles") if not any(ABILITIES[word].handles for word in sources) else None
    if needs == "failures" or _asks_failures(filters):
        return tells_failures(sources)
    if needs == "reads":
        return never(sources, "reads") if cannot_report(sources, find_operations("reads")) else None
    return cannot_report(sources, _asked_operations(filters))


def _asks_failures(filters: Filters) -> bool:
    """Whether the filters leave failures only."""
    words = _listed(filters.status)
    codes = [word if isinstance(word, int) else find_status(word) for word in words]
    return bool(codes) and all(code is not None and code != 0 for code in codes)


def _asked_operations(filters: Filters) -> set[str]:
    return {name for word in _listed(filters.operation) for name in find_operations(str(word))}


def _listed(words: Sequence[str | int] | str | int | None) -> Sequence[str | int]:
    if words is None:
        return ()
    return [words] if isinstance(words, str | int) else words


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
        if words := _listed(getattr(filters, name)):
            yield f"the {name} {', '.join(map(str, words))}", (name,)
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
