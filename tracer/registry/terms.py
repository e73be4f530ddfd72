"""Users' words for operations, statuses and names, with one meaning everywhere."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tracer.errors import UsageError
from tracer.registry.ntstatus import STATUSES, find_status
from tracer.registry.operations import GROUPS, OPERATIONS, PROCMON_NAMES, Case, find_cases, merge_cases
from tracer.registry.quoting import as_pattern
from tracer.registry.suggestions import advice
from tracer.registry.text import escape_argument, fold_name

__all__ = [
    "Codes",
    "StatusWords",
    "Words",
    "all_status_words",
    "name_regex",
    "operation_cases",
    "operation_names",
    "operation_words",
    "process_regex",
    "status_words",
    "value_pattern",
]

Words = str | Sequence[str] | None
Codes = str | int | Sequence[str | int] | None


def name_regex(pattern: str, *, whole: bool = True) -> str:
    r"""Return a regular expression that matches names by the registry's folding, without folding them first.

    ``*`` stands for any run of characters, ``?`` for one; ``[*]``, ``[?]`` and ``[[]`` for the character. What
    stands in double quotes is meant letter by letter.
    With `whole` it must match the name from end to end, in RE2's and Java's syntax; without, it is for
    Python's `re.fullmatch`.
    """
    out = []
    for match in re.finditer(r"\[([*?\[])\]|(.)", escape_argument(as_pattern(pattern)), re.DOTALL):
        literal, letter = match.groups()
        if letter == "*":
            out.append("(?s:.*)")
        elif letter == "?":
            out.append("(?s:.)")
        else:
            upper = fold_name(literal or letter)
            # The folding pairs one upper with one lower case letter, so these are all of its spellings.
            spellings = sorted({upper, *(low for low in (upper.lower(),) if fold_name(low) == upper)})
            out.append(
                "|".join(map(_escape, spellings)) if len(spellings) == 1 else f"[{''.join(spellings)}]"
            )
    body = "".join(out)
    return rf"\A(?:{body})\z" if whole else body


def value_pattern(word: str) -> str:
    """Return the pattern of value names for a word; (default) is the default value, as in registry editors.

    >>> value_pattern("(Default)"), value_pattern("Run*"), value_pattern('"(default)"')
    ('', 'Run*', '"(default)"')
    """
    return "" if word.lower() == "(default)" else word


def operation_words() -> list[str]:
    """Return every word for operations that people type: short ones, those of groups, the provider's, Procmon's."""
    groups = [word for group in GROUPS.values() for word in (group.word, group.name) if word]
    names = [name for operation in OPERATIONS for name in (operation.short, operation.name)]
    return list(dict.fromkeys([*groups, *names, *PROCMON_NAMES]))


def operation_cases(words: Words) -> tuple[Case, ...] | None:
    """Return the cases that a user's words for operations name; None if there are no words.

    Raises:
        UsageError: a word is not an operation.
    """
    if words is None:
        return None
    cases: list[Case] = []
    for word in _split(words):
        matching = find_cases(str(word))
        if not matching:
            said = advice(str(word), operation_words(), see="`regtrace list operations`")
            raise UsageError(f"{word!r} is not an operation; {said}")
        cases += matching
    return merge_cases(cases)


def operation_names(words: Words) -> tuple[str, ...] | None:
    """Return the operations of the cases that a user's words name; None if there are no words.

    Raises:
        UsageError: a word is not an operation.
    """
    cases = operation_cases(words)
    return None if cases is None else tuple(dict.fromkeys(name for case in cases for name in case.operations))


class StatusWords(NamedTuple):
    """Statuses that a user named: success, failures (`is_failure`), and single codes."""

    success: bool
    failure: bool
    codes: tuple[int, ...]


def all_status_words() -> list[str]:
    """Return every word for statuses that people type; codes are understood too."""
    short = [name.removeprefix("OBJECT_") for name in STATUSES.values()]
    return list(dict.fromkeys(["success", "error", *STATUSES.values(), *short]))


def status_words(words: Codes) -> StatusWords:
    """Return the statuses that a user's words name.

    Raises:
        UsageError: a word is not a status, or there is none.
    """
    success = failure = False
    codes: list[int] = []
    for word in [words] if isinstance(words, int) else _split(words or ()):
        lowered = str(word).strip().lower()
        if lowered in ("success", "ok"):
            success = True
        elif lowered in ("error", "errors", "failure", "failed"):
            failure = True
        else:
            code = find_status(str(word))
            if code is None:
                said = advice(lowered.replace(" ", "_"), all_status_words(), see="`regtrace list statuses`")
                raise UsageError(f"{word!r} is not a status; {said}")
            codes.append(code)
    if not (success or failure or codes):
        raise UsageError("no status is given; use success, error, a status name or a code")
    return StatusWords(success, failure, tuple(codes))


def _split(words: Sequence[str | int] | str) -> Sequence[str | int]:
    return [word for word in words.split(",") if word.strip()] if isinstance(words, str) else words


def process_regex(pattern: str, *, whole: bool = True) -> str:
    r"""Return the regular expression of image names (`name_regex`); one without a dot fits with ``.exe`` too.

    >>> bool(re.fullmatch(process_regex("explorer", whole=False), "Explorer.EXE"))
    True
    """
    name = pattern.rpartition("\\")[2]
    body = name_regex(pattern, whole=False)
    if "." not in name and name and '"' not in pattern:
        body += name_regex(".exe", whole=False).join(("(?:", ")?"))
    return rf"\A(?:{body})\z" if whole else body


def _escape(letter: str) -> str:
    return "\\" + letter if re.fullmatch(r"[!-/:-@\[-`{-~]", letter) else letter
