"""Unknown keys and processes in filters: the command line refuses or warns, Python warns."""

import difflib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.engine.connection import answer, engine_errors
from analysis.engine.relation import quoted
from analysis.filters import Filters
from tracer.errors import RegtraceWarning, UsageError
from tracer.registry.paths import display_path, has_wildcard, native_path
from tracer.registry.text import escape_argument, fold_name
from tracer.registry.user_keys import user_root

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["close_keys", "unknown_key", "unknown_process", "warn_unknown"]


def close_keys(context: "QueryContext", text: str, n: int = 5) -> list[str]:
    """Return up to `n` display paths of a capture that are close to what a user wrote, best first."""
    asked, root = text, user_root(text)
    if root is not None and not root.classes and (people := context.users.people):
        text = f"HKU\\{people[0].sid}\\{root.rest}"
    try:
        wanted = fold_name(display_path(native_path(text), control_set=context.manifest.control_set))
    except UsageError:
        wanted = fold_name(escape_argument(text))
    name = wanted.rstrip("\\").rpartition("\\")[2]
    path, last = quoted(wanted), quoted(name)
    query = f"""
        SELECT min(display_path) FROM (
            SELECT display_path, folded_path,
                jaro_winkler_similarity(folded_path, {path}) AS alike,
                jaro_winkler_similarity(regexp_extract(folded_path, '[^\\\\]*$'), {last}) AS alike_name,
                contains(folded_path, {path}) OR starts_with({path}, folded_path || '\\') AS kin
            FROM keys WHERE folded_path <> {path}
        )
        WHERE kin OR (alike > 0.75 AND alike_name > 0.7)
        GROUP BY folded_path
        ORDER BY max(alike + alike_name) DESC, length(folded_path), folded_path
        LIMIT {max(0, int(n))}
    """
    if not wanted:
        return []
    with engine_errors():
        found: list[str] = answer(context.engine, query).column(0).to_pylist()
    if root is None:
        return found
    return list(map(context.users.spelling(Filters(key=asked)), found))  # as it was asked


def unknown_key(context: "QueryContext", key: str, *, subtree: bool, user: str | None = None) -> str | None:
    """Return a sentence about a key that the capture does not have; None otherwise, or for a pattern.

    Raises:
        UsageError: the key cannot be understood.
    """
    if has_wildcard(key) or context.has_key(key, subtree=subtree, user=user):
        return None
    close = close_keys(context, key, 3)
    hint = "did you mean " + " or ".join(close) if close else "see `regtrace keys` for those it has"
    return f"nothing in {context.path.name} touches a key {key}; {hint}"


def unknown_process(context: "QueryContext", filters: Filters) -> str | None:
    """Return a sentence where no process of the capture fits the filters; None otherwise."""
    if context.has_process(filters):
        return None
    with engine_errors():
        images = answer(context.engine, "SELECT DISTINCT image FROM processes").column(0).to_pylist()
    asked = [str(word) for word in (filters.process, filters.pid) if word is not None]
    by_letters = {image.lower(): image for image in images if image}
    close = difflib.get_close_matches(asked[0].lower(), sorted(by_letters), 3)
    hint = (
        "did you mean " + " or ".join(by_letters[image] for image in close) if close else "see `regtrace who`"
    )
    return f"no process in {context.path.name} is {' with pid '.join(asked)}; {hint}"


def warn_unknown(context: "QueryContext", filters: Filters, *, is_empty: bool, depth: int) -> None:
    """Warn of unknown keys and processes: an empty answer does not show that they are unknown.

    Args:
        context: the context of the question.
        filters: the filters of the question.
        is_empty: whether the answer has no row; an answer with rows proves that one of them is known.
        depth: the number of calls between the user's own line and the caller.
    """
    for sentence in _sentences(context, filters, is_empty=is_empty):
        warnings.warn(sentence, RegtraceWarning, stacklevel=depth + 2)


def _sentences(context: "QueryContext", filters: Filters, *, is_empty: bool) -> Iterator[str]:
    keys = [filters.key] if isinstance(filters.key, str) else list(filters.key or ())
    if is_empty or len(keys) > 1:
        for key in keys:
            sentence = unknown_key(context, key, subtree=filters.subtree, user=filters.user)
            if sentence:
                yield sentence
    if is_empty:
        sentence = unknown_process(context, filters)
        if sentence:
            yield sentence
