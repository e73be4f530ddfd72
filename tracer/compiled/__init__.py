"""Twins of the hottest loops, compiled by Numba (extra `fast`): the same answers as the NumPy forms, sooner.

Nothing depends on them: where Numba is absent, or a trace is too small to pay for loading it, the NumPy
forms do the work. `tests/test_compiled.py` holds each twin to its sibling, damaged input included.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TypeVar

__all__ = ["WORTH_BYTES", "is_available", "kernel"]

# Loading the compiled code takes about a second, and ten or more where it has to be compiled first.
WORTH_BYTES = 256 << 20

_Function = TypeVar("_Function", bound=Callable[..., object])


def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def kernel(function: _Function) -> _Function:
    """Compile a function of arrays and whole numbers; other threads run meanwhile.

    Compiled code is kept beside the source or in the user's cache folder, and made anew in every process
    where neither can be written. No index is checked in it, so the function checks every one itself.
    """
    import numba

    compiled: _Function
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep it in
        compiled = numba.njit(nogil=True)(function)
    return compiled
