"""Text files in pieces of UTF-8, whatever they were written in: UTF-8, UTF-16 with its mark, or a code page.

PowerShell 5 writes UTF-16, Procmon UTF-8 with a mark; spreadsheets save CSV in the machine's code page.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tracer.diagnostics import Diagnostics

__all__ = ["read_utf8"]

PIECE = 8 << 20  # what is done once for each piece takes as long as reading 1 MiB of JSON
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CODE_PAGE = "cp1252"  # what a byte that is no UTF-8 is read as: the code page of most of Windows' languages


def read_utf8(path: Path, diagnostics: Diagnostics, size: int | None = None) -> Iterator[bytes]:
    """Yield the text of a file as valid UTF-8, in pieces that end between characters.

    A lone surrogate of UTF-16 becomes U+FFFD, and bytes that are no UTF-8 are read as the code page 1252; pieces
    with either are counted (`log_bad_text`).

    Args:
        path: the file.
        diagnostics: counts what is not valid.
        size: bytes to read; None for all.
    """
    with path.open("rb") as file:
        head = file.read(4)
        mark, encoding = next(
            ((mark, name) for mark, name in _MARKS if head.startswith(mark)), (b"", "utf-8")
        )
        file.seek(len(mark))
        rest = None if size is None else size - len(mark)
        if encoding == "utf-8":
            yield from _from_utf8(file, diagnostics, rest)
        else:
            yield from _from_utf16(file, encoding, diagnostics, rest)


def _pieces(file: IO[bytes], rest: int | None) -> Iterator[bytes]:
    while rest is None or rest > 0:
        piece = file.read(PIECE if rest is None else min(PIECE, rest))
        if not piece:
            return
        if rest is not None:
            rest -= len(piece)
        yield piece


def _from_utf8(file: IO[bytes], diagnostics: Diagnostics, rest: int | None) -> Iterator[bytes]:
    kept, at = b"", file.tell()
    for piece in _pieces(file, rest):
        joined = kept + piece if kept else piece
        end = _whole(joined)
        kept = joined[end:]
        yield _valid(joined[:end], at, diagnostics)
        at += end
    if kept:
        yield _valid(kept, at, diagnostics)


def _whole(piece: bytes) -> int:
    """Return how many bytes there are before a character that the piece cuts."""
    for back in range(1, min(4, len(piece)) + 1):
        byte = piece[-back]
        if byte & 0xC0 != 0x80:
            length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(piece) - back if length > back else len(piece)
    return len(piece)


def _valid(piece: bytes, at: int, diagnostics: Diagnostics) -> bytes:
    if piece.isascii():
        return piece
    try:
        piece.decode()
    except UnicodeDecodeError as error:
        diagnostics.count("log_bad_text", offset=at + error.start)
        return piece.decode("utf-8", "regtrace-code-page").encode()
    return piece


def _from_code_page(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode(_CODE_PAGE, "replace"), error.end


codecs.register_error("regtrace-code-page", _from_code_page)


def _from_utf16(
    file: IO[bytes], encoding: str, diagnostics: Diagnostics, rest: int | None
) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    at = file.tell()
    for piece in _pieces(file, rest):
        yield _counted(decoder.decode(piece), at, diagnostics)
        at += len(piece)
    last = decoder.decode(b"", final=True)
    if last:
        yield _counted(last, at, diagnostics)


def _counted(text: str, at: int, diagnostics: Diagnostics) -> bytes:
    diagnostics.count("log_bad_text", int("\ufffd" in text), offset=at)
    return text.encode()
