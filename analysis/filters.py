"""The filters that every question shares: what a user may say, and what it means for rows."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from ibis.expr.types import BooleanValue, Table

from analysis.engine.events_view import is_failure
from tracer.errors import UsageError
from tracer.registry.ntstatus import NOT_SUCCESS
from tracer.registry.terms import Codes, Words, name_regex, operation_cases, status_words, value_pattern

__all__ = [
    "Codes",
    "Filters",
    "Words",
    "below",
    "find_processes",
    "name_regex",
    "operation_cases",
    "status_condition",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    r"""What rows are asked for; every filter narrows, None asks nothing.

    Attributes:
        key: a key or a pattern (`tracer.registry.paths.compile_pattern`), or several of which one must match.
        subtree: keys below a matching key are asked for too.
        value: value name, or a pattern with ``*`` and ``?``, any case; "" and "(default)" are the default value,
            a name in double quotes is meant letter by letter.
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

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", value_pattern(self.value))

    def of_keys(self) -> "Filters":
        """Return what is asked of keys alone."""
        return Filters(key=self.key, subtree=self.subtree, user_sid=self.user_sid)

    def of_events(self) -> "Filters":
        """Return what is asked neither of keys nor of values."""
        return replace(self, key=None, subtree=False, user_sid=None, value=None)

    def __str__(self) -> str:
        stated = [(item.name, getattr(self, item.name)) for item in fields(self)]
        return ", ".join(
            f"{name}={value!r}" for name, value in stated if value is not None and value is not False
        )


def below(filters: Filters, under: Words) -> Filters:
    """Return the filters for a key and the keys below it.

    Raises:
        UsageError: they name a key already.
    """
    if under is None:
        return filters
    if filters.key is not None:
        raise UsageError("under and key are two answers to one question: give one of them")
    return replace(filters, key=under, subtree=True)


def status_condition(table: Table, words: Codes) -> BooleanValue:
    """Return the condition for rows whose status is one of those a user named; an unknown status is none.

    Raises:
        UsageError: a word stands for no status.
    """
    column, words_for = table["status"], status_words(words)
    condition = None
    if words_for.success:
        condition = column < NOT_SUCCESS
    if words_for.failure:
        condition = is_failure(column) if condition is None else condition | is_failure(column)
    if words_for.codes:
        listed = column.isin(words_for.codes)
        condition = listed if condition is None else condition | listed
    assert condition is not None
    return condition


def find_processes(processes: Table, process: str | int | None, pid: int | Sequence[int] | None) -> Table:
    """Return the rows of `processes` that a user named by image or pid."""
    if isinstance(process, str):
        column = processes["image_path" if "\\" in process else "image"]
        named = column.re_search(name_regex(process)).fill_null(False)
        if process.isascii() and process.isdigit() and len(process) <= 10 and int(process) < 2**32:
            named = named | (processes["pid"] == int(process))
        processes = processes.filter(named)
    elif process is not None:
        processes = processes.filter(processes["pid"] == process)
    if pid is not None:
        pids = [pid] if isinstance(pid, int) else pid
        processes = processes.filter(processes["pid"].isin([one for one in pids if 0 <= one < 2**32]))
    return processes
