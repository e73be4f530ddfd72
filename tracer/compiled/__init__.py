"""Twins of the hottest loops, compiled by Numba (extra `fast`): the same answers as the NumPy forms, sooner.

Nothing depends on them: where Numba is absent, or a trace is too small to pay for loading it, the NumPy forms do
the work. `tracer.ingest.kernels` chooses; `tests/test_compiled.py` holds each twin to its sibling, damaged input included.
"""

import contextlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

__all__ = ["cache_folder", "is_available", "is_kept", "kernel", "note_kept"]

_MARK = "complete"  # a file that stands in a folder of loops that were all compiled
_LONG_SECONDS = 90 * 24 * 3600

_Function = TypeVar("_Function", bound=Callable[..., object])


def is_available() -> bool:
    """Whether Numba is installed."""
    return find_spec("numba") is not None


def cache_folder() -> Path:
    r"""Return where compiled code is kept: in $NUMBA_CACHE_DIR where it is set, else in the user's folder for caches.

    That is %LOCALAPPDATA%\regtrace\compiled, ~/Library/Caches/regtrace/compiled, or $XDG_CACHE_HOME/regtrace/compiled.
    It outlives an installation, and can be written where the installation cannot. Every state of the sources has a
    folder of its own in it: Numba cannot even look into a cache that names classes which are gone, and does not see
    that a constant of another module has changed.
    """
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        base = Path(given)
    elif sys.platform == "win32":
        base = (
            Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
            / "regtrace"
            / "compiled"
        )
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches" / "regtrace" / "compiled"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regtrace" / "compiled"
    return base / f"loops-{_fingerprint()}"


@cache
def _fingerprint() -> str:
    """Return what changes with all that makes it necessary to compile anew."""
    from hashlib import sha256
    from importlib.metadata import version  # not needed where a trace is small

    tracer = Path(__file__).parents[1]
    facts = [
        sys.version,
        version("numba"),
        version("numpy"),
        platform.machine(),
        platform.node(),
        str(tracer),
    ]
    digest = sha256("\n".join(facts).encode())
    for room in ("compiled", "decode", "etl", "resolve"):
        for source in sorted((tracer / room).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def is_kept() -> bool:
    """Whether an earlier run compiled these very loops for this machine and kept them."""
    return (cache_folder() / _MARK).is_file()


def note_kept() -> None:
    """Note that the loops are compiled and were used; a folder that cannot be written keeps neither them nor this.

    Loops of other states of the sources that nobody has used for a long time are removed.
    """
    folder = cache_folder()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MARK).touch()
        for mark in folder.parent.glob(f"loops-*/{_MARK}"):
            if time.time() - mark.stat().st_mtime > _LONG_SECONDS:
                shutil.rmtree(mark.parent, ignore_errors=True)


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
