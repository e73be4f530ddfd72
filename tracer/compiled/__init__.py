"""Twins of the hottest loops, compiled by Numba (extra `fast`): the same answers as the NumPy forms, sooner.

Nothing depends on them: where Numba is absent, or a trace is too small to pay for loading it, the NumPy forms do
the work. `tracer.kernels` chooses; `tests/test_compiled.py` holds each twin to its sibling, damaged input included.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

__all__ = ["cache_folder", "is_available", "is_kept", "kernel", "note_kept"]

_Function = TypeVar("_Function", bound=Callable[..., object])


def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def cache_folder() -> Path:
    r"""Return where compiled code is kept: $NUMBA_CACHE_DIR where it is set, else the user's folder for caches.

    That is %LOCALAPPDATA%\regtrace\compiled, ~/Library/Caches/regtrace/compiled, or $XDG_CACHE_HOME/regtrace/compiled.
    It outlives an installation, and can be written where the installation cannot.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "regtrace" / "compiled"


def is_kept() -> bool:
    """Whether an earlier run compiled these very loops for this machine and kept them."""
    return _mark().is_file()


def note_kept() -> None:
    """Note that the loops are compiled; a folder that cannot be written keeps neither them nor this."""
    mark = _mark()
    if not mark.exists():
        with contextlib.suppress(OSError):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()


def _mark() -> Path:
    """Return the file that says so; its name changes with all that makes Numba compile anew."""
    from hashlib import sha256
    from importlib.metadata import version  # not needed where a trace is small

    facts = [sys.version, version("numba"), platform.machine(), platform.node(), str(Path(__file__).parent)]
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = sha256("\n".join(facts).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return cache_folder() / f"regtrace-{digest.hexdigest()[:16]}.compiled"


def kernel(function: _Function) -> _Function:
    """Compile a function of arrays and whole numbers when it is first called; other threads run meanwhile.

    Compiled code is kept in `cache_folder`; where that cannot be written Numba looks for another place, and makes
    it anew in every process where there is none. No index is checked in it, so the function checks every one itself.
    """
    import numba

    compiled: _Function
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, str(cache_folder())
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder to keep it in
        compiled = numba.njit(nogil=True)(function)
    finally:
        numba.config.CACHE_DIR = before  # other users of Numba in this process have their own place
    return compiled
