"""The filters of questions as keyword arguments, for type checkers, `help` and tab completion."""

import inspect
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from analysis.filters import Filters
from tracer.deprecation import renamed_arguments
from tracer.errors import UsageError
from tracer.registry.terms import Codes, Words

__all__ = ["FilterWords", "MoreFilters", "ValueFilters", "merged_filters", "shows_filters"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class MoreFilters(TypedDict, total=False):
    """The filters of `FilterWords` except key and value, for questions that have these as parameters."""

    subtree: bool
    process: str | int | None
    pid: int | Sequence[int] | None
    process_tree: str | int | None
    operation: Words
    status: Codes
    start: str | datetime | None
    end: str | datetime | None
    where: str | None
    user: str | None
    noise: bool | None


class ValueFilters(MoreFilters, total=False):
    """The filters of `FilterWords` except key, for questions that have it as a parameter."""

    value: str | None


class FilterWords(ValueFilters, total=False):
    """The filters of `analysis.filters.Filters` as keyword arguments; an omitted one does not filter."""

    key: Words


def shows_filters(function: _Function) -> _Function:
    """Give a function with `**filters` a signature that lists every filter; old names of filters still work."""
    signature = inspect.signature(function)
    function = renamed_arguments(user_sid="user")(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    spelled = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=False if name == "subtree" else None,
            annotation=kind,
        )
        for name, kind in FilterWords.__annotations__.items()
        if name not in signature.parameters
    ]
    function.__signature__ = signature.replace(parameters=[*own, *spelled])  # type: ignore[attr-defined]
    return function


def merged_filters(standing: Filters, asked: Filters) -> Filters:
    """Return both filters together.

    Raises:
        UsageError: both set the same filter, to different words.
    """
    before, more = standing.stated(), asked.stated()
    for name in before.keys() & more.keys():
        if before[name] != more[name]:
            raise UsageError(
                f"conflicting {name}: the capture has the filter {before[name]!r} already, not {more[name]!r}"
            )
    return Filters(**(before | more))
