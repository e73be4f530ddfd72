"""What Ibis said in an earlier test, or an earlier run: phrases on disk, for questions that the package has none of.

Tests ask in ways that nobody asks, and Ibis takes longer to say such a question than the engine to answer it. As with
the phrases of the package, the sources that a phrase was made of stand for it: where one changes, it is made anew.
"""

import json
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from phrase_sources import sources_of

from analysis.engine import kept_phrases, phrases
from analysis.engine.relation import Columns

__all__ = ["forget_old", "said_once", "startup", "use_folder"]

_DAY_S = 86_400
_Find = Callable[[str, str], tuple[str, Columns] | None]


def use_folder(folder: Path) -> None:
    """Let this process find phrases in the folder, and keep there what it has to phrase."""
    module: Any = phrases
    find: _Find = module.find_phrase

    def find_here(function: str, arguments: str) -> tuple[str, Columns] | None:
        return find(function, arguments) or _read(_file_of(folder, function, arguments))

    def keep(function: str, arguments: str, said: tuple[str, Columns]) -> None:
        if (path := _file_of(folder, function, arguments)) is not None:
            _write(path, said)

    module.find_phrase = find_here
    phrases.listeners.append(keep)


def said_once(
    folder: Path | None, function: str, arguments: str, say: Callable[[], tuple[str, Columns]]
) -> tuple[str, Columns]:
    """Return what `say` returns of a function with these arguments, from the folder where it was said before."""
    path = None if folder is None else _file_of(folder, function, arguments)
    if (said := _read(path)) is None:
        said = say()
        if path is not None:
            _write(path, said)
    return said


def startup(folder: Path) -> str:
    """Return what another Python runs first, to use the folder too."""
    here = Path(__file__).parent
    return f"""
import sys
sys.path[:0] = [{str(here)!r}, {str(here.parents[1])!r}]
from pathlib import Path
from phrase_cache import use_folder
use_folder(Path({str(folder)!r}))
del sys.path[:2]
"""


def forget_old(folder: Path, days: float = 7) -> None:
    """Remove what was not used for some days."""
    for path in folder.iterdir():
        with suppress(OSError):  # another process may be quicker
            if path.stat().st_mtime < time.time() - days * _DAY_S:
                path.unlink()


def _read(path: Path | None) -> tuple[str, Columns] | None:
    if path is None:
        return None
    try:
        sql, columns = json.loads(zlib.decompress(path.read_bytes()))
        path.touch()
    except OSError:
        return None
    return sql, tuple((name, kind) for name, kind in columns)


def _write(path: Path, said: tuple[str, Columns]) -> None:
    new = path.with_name(f"{path.name}.{uuid4().hex}")  # other processes write the same one
    new.write_bytes(zlib.compress(json.dumps(said).encode(), 1))
    new.replace(path)


def _file_of(folder: Path, function: str, arguments: str) -> Path | None:
    module, _, _ = function.partition(":")
    if not module.startswith("analysis."):
        return None  # a test's own
    return folder / kept_phrases.digest(f"{_made_of(module)} {function} {arguments}".encode())


@cache
def _made_of(module: str) -> str:
    """Return what the phrases of a module depend on, besides their arguments."""
    makers = (f"{name} {version(name)}" for name in ("ibis-framework", "sqlglot"))
    return " ".join([kept_phrases.head_of(sources_of(module)), *makers])
