"""Old names of public arguments: they still work, with a warning that says the new name."""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

__all__ = ["renamed_arguments"]

_F = TypeVar("_F", bound=Callable[..., Any])


def renamed_arguments(**new_names: str) -> Callable[[_F], _F]:
    """Return a decorator that hands on each old keyword argument (`old="new"`) under its new name, and warns."""

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def call(*args: Any, **arguments: Any) -> Any:  # noqa: ANN401
            for old in new_names.keys() & arguments.keys():
                new = new_names[old]
                if new in arguments:
                    raise TypeError(f"{old!r} is the old name of {new!r}: give only {new!r}")
                warnings.warn(f"the argument {old!r} is now called {new!r}", DeprecationWarning, stacklevel=2)
                arguments[new] = arguments.pop(old)
            return function(*args, **arguments)

        return cast(_F, call)

    return decorate
