"""The filters that every question shares: what a user may say, and what it means for rows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from ibis.expr.types import BooleanValue, Table

from analysis.events import is_failure
from tracer.errors import UsageError
from tracer.operations import OPERATIONS, find_operations
from tracer.paths import escape_argument
from tracer.statuses import STATUSES, find_status
from tracer.text import fold_name

__all__ = ["Codes", "Filters", "Words", "find_processes", "name_regex", "operation_names", "status_condition"]

Words = str | Sequence[str] | None
Codes = str | int | Sequence[str | int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    r"""What rows are asked for; every filter narrows, None asks nothing.

    Attributes:
        key: a key or a pattern (`tracer.paths.compile_pattern`), or several of which one must match.
        subtree: keys below a matching key are asked for too.
        value: value name, or a pattern with ``*`` and ``?``, any case; "" is the default value.
        process: image name, or a pattern with ``*`` and ``?``; digits also name a pid; text with a
            backslash is compared with the image's path.
        pid: process id, or several.
        operation: words separated by commas (or a list): SetValueKey, set, delete, read, write ...
        status: success, error, a status name, a hex or decimal code, separated by commas (or a list).
        start: first time (`analysis.times.parse_time`).
        end: last time, inclusive.
        where: an SQL condition on the columns of `events`.
        user_sid: SID whose key HKCU is.
    """

    key: Words = None
    subtree: bool = False
    value: str | None = None
    process: str | int | None = None
    pid: int | Sequence[int] | None = None
    operation: Words = None
    status: Codes = None
    start: str | datetime | None = None
    end: str | datetime | None = None
    where: str | None = None
    user_sid: str | None = None

    def __str__(self) -> str:
        stated = [(item.name, getattr(self, item.name)) for item in fields(self)]
        return ", ".join(
            f"{name}={value!r}" for name, value in stated if value is not None and value is not False
        )


def name_regex(pattern: str, *, whole: bool = True) -> str:
    r"""Return a regular expression for names, by the registry's folding and without folding the names.

    ``*`` stands for any run of characters, ``?`` for one; ``[*]``, ``[?]`` and ``[[]`` for the character.
    With `whole` it must match the name from end to end, in RE2's and Java's syntax; without, it is for
    Python's `re.fullmatch`.
    """
    out = []
    for match in re.finditer(r"\[([*?\[])\]|(.)", escape_argument(pattern), re.DOTALL):
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


def operation_names(words: Words) -> tuple[str, ...] | None:
    """Return the operations that a user's words stand for; None where there are none.

    Raises:
        UsageError: a word stands for no operation.
    """
    if words is None:
        return None
    names: dict[str, None] = {}
    for word in _split(words):
        found = find_operations(str(word))
        if not found:
            known = ", ".join(operation.short for operation in OPERATIONS)
            raise UsageError(f"{word!r} is no operation: the words are read, write, delete, enum, {known}")
        names.update(dict.fromkeys(found))
    return tuple(names)


def status_condition(table: Table, words: Codes) -> BooleanValue:
    """Return the condition for rows whose status is one of those a user named; an unknown status is none.

    Raises:
        UsageError: a word stands for no status.
    """
    column = table["status"]
    condition = None
    codes: list[int] = []
    for word in [words] if isinstance(words, int) else _split(words or ()):
        lowered = str(word).strip().lower()
        if lowered in ("success", "ok"):
            one = column < 0x80000000
        elif lowered in ("error", "errors", "failure", "failed"):
            one = is_failure(column)
        else:
            code = find_status(str(word))
            if code is None:
                raise UsageError(
                    f"{word!r} is no status: write success, error, {_examples(lowered)} or 0xC0000034"
                )
            codes.append(code)
            continue
        condition = one if condition is None else condition | one
    if codes:
        listed = column.isin(codes)
        condition = listed if condition is None else condition | listed
    if condition is None:
        raise UsageError("no status is named: write success, error, a status name or a code")
    return condition


def find_processes(processes: Table, process: str | int | None, pid: int | Sequence[int] | None) -> Table:
    """Return the rows of `processes` that a user named by image or pid."""
    if isinstance(process, str):
        column = processes["image_path" if "\\" in process else "image"]
        named = column.re_search(name_regex(process)).fill_null(False)
        if process.isascii() and process.isdigit() and int(process) < 2**32:
            named = named | (processes["pid"] == int(process))
        processes = processes.filter(named)
    elif process is not None:
        processes = processes.filter(processes["pid"] == process)
    if pid is not None:
        pids = [pid] if isinstance(pid, int) else pid
        processes = processes.filter(processes["pid"].isin([one for one in pids if 0 <= one < 2**32]))
    return processes


def _split(words: Sequence[str | int] | str) -> Sequence[str | int]:
    return [word for word in words.split(",") if word.strip()] if isinstance(words, str) else words


def _escape(letter: str) -> str:
    return "\\" + letter if re.fullmatch(r"[!-/:-@\[-`{-~]", letter) else letter


def _examples(word: str) -> str:
    from difflib import get_close_matches

    return ", ".join(get_close_matches(word.upper(), STATUSES.values(), n=2, cutoff=0.6) or ["ACCESS_DENIED"])
