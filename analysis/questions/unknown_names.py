"""Unknown keys and processes in filters: the command line refuses or warns, Python warns."""

import re
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

from analysis.engine.connection import answer, engine_errors
from analysis.engine.relation import quoted
from analysis.filters import Filters
from analysis.questions.key_conditions import key_number
from tracer.errors import RegtraceWarning, UsageError
from tracer.registry.paths import display_path, has_wildcard, native_path
from tracer.registry.suggestions import closest
from tracer.registry.text import escape_argument, fold_name
from tracer.registry.user_keys import user_root

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["close_keys", "unknown_key", "unknown_process", "warn_unknown"]

_CONTROL_SET = re.compile(r"(?i)\\SYSTEM\\((?:Current)?ControlSet(?:[0-9]{3})?)(?=\\|$)")
_IN_PATHS = r"^HKLM\\SYSTEM\\(CURRENTCONTROLSET|CONTROLSET[0-9]{3})(?:\\|$)"
_LIKE = 0.75  # Jaro-Winkler similarity from which on a name is worth a suggestion


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
    """Return a sentence about a key that the capture does not have, or a pattern that fits none; None otherwise.

    Raises:
        UsageError: the key cannot be understood.
    """
    if context.has_key(key, subtree=subtree, user=user):
        return None
    name = context.path.name
    if key_number(key) is not None:
        return f"no key in {name} has the id {key}; the column key_id has the ids"
    others = _other_control_sets(context, key, subtree=subtree, user=user)
    if has_wildcard(key):
        if others:
            return f"no key in {name} fits {key}; it does not tell which control set was the current one: try {' or '.join(others)}"
        near = _nearest(context, key, user)
        return f"no key in {name} fits {key}; " + (
            f"the nearest is {near}" if near else "see `regtrace keys`"
        )
    if others:
        return (
            f"nothing in {name} touches a key {key}; it does not tell which control set was the current one, and has "
            f"{' and '.join(others)}"
        )
    close = close_keys(context, key, 3)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `regtrace keys` for those it has"
    return f"nothing in {name} touches a key {key}; {hint}"


def _other_control_sets(context: "QueryContext", key: str, *, subtree: bool, user: str | None) -> list[str]:
    """Return spellings of a key in other control sets that a capture has, where it does not tell which was the current one.

    CurrentControlSet is a link to one of the others, which only those know who saw it followed.
    """
    found = _CONTROL_SET.search(key)
    if found is None or context.manifest.control_set is not None:
        return []
    named = f"SELECT DISTINCT regexp_extract(folded_path, {quoted(_IN_PATHS)}, 1) FROM keys"
    with engine_errors():
        names = answer(context.engine, named).column(0).to_pylist()
    shown = [
        "CurrentControlSet" if one.startswith("CURRENT") else f"ControlSet{one[-3:]}"
        for one in sorted(names)
        if one
    ]
    spelled = [
        key[: found.start(1)] + one + key[found.end(1) :] for one in shown if one.upper() != found[1].upper()
    ]
    return [one for one in spelled if context.has_key(one, subtree=subtree, user=user)]


def _nearest(context: "QueryContext", pattern: str, user: str | None) -> str | None:
    """Return the display path that comes nearest to a pattern: where it fits no more, the likest name below."""
    parts = pattern.split("\\")
    for count in range(len(parts) - 1, 0, -1):
        above, part = "\\".join(parts[:count]), parts[count]
        condition = context.key_condition([above], True, user) if _is_key(context, above, user) else None
        if condition is None:
            continue
        likeness = (
            f"jaro_winkler_similarity(regexp_extract(folded_path, '[^\\\\]*$'), {quoted(fold_name(part))})"
        )
        query = (
            f"SELECT display_path FROM keys WHERE ({condition}) AND {likeness} > {_LIKE} "
            f"ORDER BY {likeness} DESC, length(folded_path), folded_path LIMIT 1"
        )
        if has_wildcard(part):
            query = f"SELECT display_path FROM keys WHERE {context.key_condition([above], False, user)} ORDER BY folded_path LIMIT 1"
        with engine_errors():
            found = answer(context.engine, query).column(0).to_pylist()
        if found and "\\" in found[0]:
            return context.users.spelling(Filters())(found[0])
    return None


def _is_key(context: "QueryContext", text: str, user: str | None) -> bool:
    try:
        return context.has_key(text, user=user)
    except UsageError:
        return False


def unknown_process(context: "QueryContext", filters: Filters) -> str | None:
    """Return a sentence where no process of the capture fits the filters; None otherwise."""
    if context.has_process(filters):
        return None
    with engine_errors():
        images = (
            answer(context.engine, "SELECT DISTINCT image FROM processes ORDER BY image")
            .column(0)
            .to_pylist()
        )
    by_word = {
        image.removesuffix(image[-4:]) if image.lower().endswith(".exe") else image: image
        for image in images
        if image
    }
    word = None if filters.process is None else str(filters.process)
    asked = [] if word is None else [f"is called {word}" + " or has this id" * word.isdigit()]
    asked += [] if filters.pid is None else [f"has the id {filters.pid}"]
    if filters.process_tree is not None:
        asked.append(f"is, or was started by, {filters.process_tree}")
    stem = str(word or filters.process_tree or "").rpartition("\\")[2].lower().removesuffix(".exe")
    close = closest(stem, by_word) if stem else []
    hint = (
        f"did you mean {' or '.join(by_word[one] for one in close)}?"
        if close
        else "see `regtrace hot --by process`"
    )
    return f"no process in {context.path.name} {' and '.join(asked)}; {hint}"


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
    if is_empty or len(filters.keys) > 1:
        for key in filters.keys:
            sentence = unknown_key(context, key, subtree=filters.subtree, user=filters.user)
            if sentence:
                yield sentence
    if is_empty:
        sentence = unknown_process(context, filters)
        if sentence:
            yield sentence
