"""The filters that every question shares, as a user writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from tracer.deprecation import renamed_arguments
from tracer.errors import UsageError
from tracer.registry.terms import Codes, Words, name_regex, value_pattern

__all__ = [
    "Codes",
    "Filters",
    "Words",
    "below",
    "name_regex",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    r"""The filters of a question; every filter narrows, None does not filter.

    Attributes:
        key: a key or a pattern (`tracer.registry.paths.compile_pattern`), or several of which one must match.
        subtree: keys below a matching key fit too.
        value: value name, or a pattern with ``*`` and ``?``, any case; "" and "(default)" are the default value,
            a name in double quotes is meant letter by letter.
        process: image name, with or without ``.exe``, or a pattern with ``*`` and ``?``; digits also name a pid; text with a
            backslash is compared with the image's path.
        pid: process id, or several.
        process_tree: the same words: those processes, and all that they started, and so on down.
        operation: words separated by commas (or a list): SetValueKey, set, delete, read, write ...
        status: success, error, a status name, a hex or decimal code, separated by commas (or a list).
        start: first time (`analysis.times.parse_time`).
        end: last time, inclusive.
        where: an SQL condition on the columns of `events`.
        user: whose keys HKCU and HKCR are: a name as the capture knows it, or a SID; None: everybody's.
        noise: whether rows of what Windows does by itself (`tracer.registry.operations.NOISE`) fit too; None: as the
            question does by itself.
    """

    key: Words = None
    subtree: bool = False
    value: str | None = None
    process: str | int | None = None
    pid: int | Sequence[int] | None = None
    process_tree: str | int | None = None
    operation: Words = None
    status: Codes = None
    start: str | datetime | None = None
    end: str | datetime | None = None
    where: str | None = None
    user: str | None = None
    noise: bool | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", value_pattern(self.value))

    @property
    def keys(self) -> list[str]:
        """The keys and patterns of which one must match; none where every key fits."""
        return [self.key] if isinstance(self.key, str) else list(self.key or ())

    def of_keys(self) -> "Filters":
        """Return only the filters of keys, and of noise."""
        return Filters(key=self.key, subtree=self.subtree, user=self.user, noise=self.noise)

    def without_noise(self) -> "Filters":
        """Return the filters of a question that leaves noise out, unless the user says so or asks for some operations."""
        return self if self.noise is not None or self.operation is not None else replace(self, noise=False)

    def of_events(self) -> "Filters":
        """Return the filters of events: neither of keys nor of values."""
        return replace(self, key=None, subtree=False, user=None, value=None)

    @property
    def value_regex(self) -> str | None:
        """The regular expression of the value names (`tracer.registry.terms.name_regex`); None: all."""
        return None if self.value is None else name_regex(self.value)

    def stated(self) -> dict[str, Any]:
        """Return the filters that are set, by name."""
        every = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: word
            for name, word in every.items()
            if word is not None and (word is not False or name == "noise")
        }

    def __str__(self) -> str:
        return ", ".join(f"{name}={word!r}" for name, word in self.stated().items())


Filters.__init__ = renamed_arguments(user_sid="user")(Filters.__init__)  # type: ignore[method-assign]


def below(filters: Filters, under: Words) -> Filters:
    """Return the filters for a key and the keys below it.

    Raises:
        UsageError: they name a key already.
    """
    if under is None:
        return filters
    if filters.key is not None:
        raise UsageError("`under` and `key` are mutually exclusive; give one of them")
    return replace(filters, key=under, subtree=True)
