"""Phrases shipped with the package, so that usual questions need no Ibis: a file a function, a line a phrase.

They are made by `python tests/support/phrases.py`. Each file names the sources that it was made of; where one of these
has changed since, the file counts for nothing, and the question is phrased anew.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from pathlib import Path

from analysis.engine.relation import Columns

__all__ = ["FOLDER", "digest", "file_of", "find_phrase", "head_of", "is_fresh", "line_of"]

FOLDER = Path(__file__).parent / "phrased"
_ROOT = Path(__file__).resolve().parents[2]
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


def head_of(sources: Sequence[str]) -> str:
    """Return the first line of a file that is made of these sources as they are: the path and the digest of each."""
    return _MADE_OF + " ".join(f"{path} {_digest_of(path)}" for path in sources)


def is_fresh(head: str) -> bool:
    """Return whether the sources that the first line of a file names are as they were."""
    if not head.startswith(_MADE_OF):
        return False
    words = head.removeprefix(_MADE_OF).split()
    return all(_digest_of(path) == then for path, then in zip(words[::2], words[1::2], strict=False))


def line_of(arguments: str, said: tuple[str, Columns]) -> str:
    """Return the line of a phrase: the arguments of `find_phrase`, and the SQL and the columns that it returns."""
    import lzma

    sql, columns = said
    packed = lzma.compress(json.dumps([sql, columns]).encode())
    return f"{_number(arguments)} {b64encode(packed).decode()}"


def digest(content: bytes) -> str:
    """Return what stands for the content of a source."""
    return blake2b(content.replace(b"\r\n", b"\n"), digest_size=10).hexdigest()


@cache
def _digest_of(path: str) -> str:
    """Return the digest of a source, by its path from the root; empty where it is not there."""
    try:
        return digest((_ROOT / path).read_bytes())
    except OSError:
        return ""


@cache
def _phrases_of(function: str) -> dict[str, str]:
    """Return the packed phrases of a function, by the numbers of their arguments."""
    try:
        head, _, *lines = file_of(function).read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return dict(line.split(" ", 1) for line in lines) if is_fresh(head) else {}


def _number(arguments: str) -> str:
    return blake2b(arguments.encode(), digest_size=10).hexdigest()
