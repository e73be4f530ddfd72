"""Phrases shipped with the package, so that usual questions need no Ibis: a file a function, a line a phrase.

They are made by `python tests/support/phrases.py`. Each file says which sources it was made of; where these have changed since, it
counts for nothing, and the question is phrased anew.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path

from analysis.engine.relation import Columns

__all__ = ["FOLDER", "file_of", "find_phrase", "fingerprint", "text_of"]

FOLDER = Path(__file__).parent / "phrased"
_ROOT = Path(__file__).resolve().parents[2]
# What the text of a phrase and the form of its file depend on, besides its arguments and Ibis.
_SOURCES = (
    "analysis/answers",
    "analysis/expressions",
    "analysis/engine/kept_phrases.py",
    "analysis/engine/phrases.py",
    "tracer/registry/ntstatus.py",
    "tracer/registry/operations.py",
    "tracer/registry/text.py",
    "tracer/schema.py",
)
_MADE_OF = "made of "


def find_phrase(function: str, arguments: str) -> tuple[str, Columns] | None:
    """Return the SQL and the columns of a function with these arguments; None where they are not shipped."""
    packed = _phrases_of(function).get(_number(arguments))
    if packed is None:
        return None
    try:
        import lzma  # what repeats in SQL stands far apart: a third of what zlib leaves
    except ImportError:  # some Pythons are built without it; there Ibis says everything
        return None
    sql, columns = json.loads(lzma.decompress(b64decode(packed)))
    return sql, tuple((name, kind) for name, kind in columns)


def file_of(function: str) -> Path:
    """Return the file with the phrases of a function."""
    return FOLDER / f"{function.removeprefix('analysis.').replace(':', '.')}.txt"


def text_of(phrases: Mapping[str, tuple[str, Columns]]) -> str:
    """Return the text of a file; `phrases`: SQL and columns by the arguments of `find_phrase`."""
    import lzma

    lines = [f"{_MADE_OF}{fingerprint()} by tests/support/phrases.py: do not edit"]
    for arguments in sorted(phrases, key=_number):
        sql, columns = phrases[arguments]
        packed = lzma.compress(json.dumps([sql, columns]).encode())
        lines.append(f"{_number(arguments)} {b64encode(packed).decode()}")
    return "\n".join(lines) + "\n"


@cache
def fingerprint() -> str:
    """Return a digest of the current sources of the phrases."""
    found = blake2b(digest_size=12)
    for path in _source_files():
        found.update(path.name.encode() + path.read_bytes().replace(b"\r\n", b"\n"))
    return found.hexdigest()


@cache
def _phrases_of(function: str) -> dict[str, str]:
    """Return the packed phrases of a function, by the numbers of their arguments."""
    try:
        head, *lines = file_of(function).read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    if not head.startswith(f"{_MADE_OF}{fingerprint()} "):
        return {}
    return dict(line.split(" ", 1) for line in lines)


def _source_files() -> Iterator[Path]:
    for place in _SOURCES:
        path = _ROOT / place
        yield from sorted(path.glob("*.py")) if path.is_dir() else [path]


def _number(arguments: str) -> str:
    return blake2b(arguments.encode(), digest_size=10).hexdigest()
