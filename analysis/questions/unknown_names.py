"""Unknown keys and processes in filters: the command line refuses or warns, Python warns."""

import difflib
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.engine.connection import answer, engine_errors
from analysis.filters import Filters
from tracer.errors import RegtraceWarning
from tracer.registry.paths import has_wildcard

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["unknown_key", "unknown_process", "warn_unknown"]


def unknown_key(context: "QueryContext", key: str, *, subtree: bool, user_sid: str | None) -> str | None:
    """Return a sentence about a key that the capture does not have; None otherwise, or for a pattern.

    Raises:
        UsageError: the key cannot be understood.
    """
    if has_wildcard(key) or context.has_key(key, subtree=subtree, user_sid=user_sid):
        return None
    close = context.suggest_keys(key, 3)
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
            sentence = unknown_key(context, key, subtree=filters.subtree, user_sid=filters.user_sid)
            if sentence:
                yield sentence
    if is_empty:
        sentence = unknown_process(context, filters)
        if sentence:
            yield sentence
