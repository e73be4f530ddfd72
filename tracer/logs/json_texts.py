"""The JSON objects of a text, each as text of its own: lines, an array, or objects one after the other.

Which form a text has is decided by its first object: where a line holds one object from its brace to its end, lines
are read, and a bad one spoils no other. Everything else (arrays, objects over many lines, with or without text
between them) is cut where braces that are not inside a string close; an object that never closes hides what follows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics

__all__ = ["MOST_BYTES", "JsonTexts", "json_texts"]

MOST_BYTES = 16 << 20  # of one object: a longer one is damage, or made to fill memory
_NEW_LINE, _QUOTE, _BACKSLASH = b'\n"\\'
_OPEN, _CLOSE = b"{}"
_STRETCH = 1 << 17
_SPACE = np.zeros(256, bool)
_SPACE[list(b" \t\r\n")] = True
Offsets = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class JsonTexts:
    """Some objects of a file.

    Attributes:
        texts: one string an object (UTF-8, not checked to be JSON), in one or two pieces.
        offsets: where each begins, in bytes of the text as UTF-8 without a mark.
    """

    texts: pa.ChunkedArray
    offsets: Offsets


def json_texts(pieces: Iterable[bytes], diagnostics: Diagnostics) -> Iterator[JsonTexts]:
    """Yield the objects of a text in order.

    Args:
        pieces: the text as UTF-8; pieces may end anywhere.
        diagnostics: counts objects that are too long, or cut (`log_bad_record`).
    """
    pieces = iter(pieces)
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= MOST_BYTES or b"\n" in head.lstrip():
            break
    if _has_lines(head):
        yield from _lines(_chain(head, pieces), diagnostics)
    else:
        yield from _objects(_chain(head, pieces), diagnostics)


def _chain(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces


def _has_lines(head: bytes) -> bool:
    line = head.lstrip().partition(b"\n")[0].strip()
    return line.startswith(b"{") and line.endswith(b"}")


def _lines(pieces: Iterable[bytes], diagnostics: Diagnostics) -> Iterator[JsonTexts]:
    kept, at = b"", 0
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if not end:
            kept += piece
            if len(kept) > MOST_BYTES:
                diagnostics.count("log_bad_record", offset=at)
                at += len(kept)
                kept = b""
            continue
        # The line that the last piece cut is put together; the others are not copied.
        first = piece.index(b"\n") + 1 if kept else 0
        head = _cut_lines(kept + piece[:first], 0, first + len(kept), at, diagnostics)
        at += len(kept)
        rest = _cut_lines(piece, first, end, at, diagnostics)
        yield JsonTexts(
            pa.chunked_array([*head.texts.chunks, *rest.texts.chunks], pa.string()),
            np.concatenate((head.offsets, rest.offsets)),
        )
        at += end
        kept = piece[end:]
    if kept.strip():
        yield _cut_lines(kept + b"\n", 0, len(kept) + 1, at, diagnostics)


def _cut_lines(block: bytes, begin: int, end: int, at: int, diagnostics: Diagnostics) -> JsonTexts:
    """Return the lines of a block from `begin` to `end`, which is the end of a line, without empty ones; the block is at `at`."""
    letters = np.frombuffer(block, np.uint8)
    ends = _line_ends(letters, begin, end)
    starts = np.concatenate(([begin], ends[:-1] + 1)) if len(ends) else ends
    blank = ends - starts < 2
    short = np.flatnonzero(blank & (ends > starts))  # one character: a carriage return, or a digit
    blank[short] = _SPACE[letters[starts[short]]]
    if (ends - starts).max(initial=0) > MOST_BYTES:
        long = ends - starts > MOST_BYTES
        for start in starts[long].tolist():
            diagnostics.count("log_bad_record", offset=at + start)
        blank |= long
    return _cut(block, starts[~blank], ends[~blank], at)


def _line_ends(letters: NDArray[np.uint8], begin: int, end: int) -> Offsets:
    """Return where lines end, looked for in stretches that stay in the processor's cache."""
    found = [
        np.flatnonzero(letters[place : min(place + _STRETCH, end)] == _NEW_LINE) + place
        for place in range(begin, end, _STRETCH)
    ]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _cut(block: bytes, starts: Offsets, ends: Offsets, at: int) -> JsonTexts:
    """Return the pieces of a block as strings."""
    sizes = ends - starts
    offsets = np.zeros(len(starts) + 1, np.int32)
    if len(starts) and np.array_equal(starts[1:], ends[:-1] + 1):
        # The pieces touch but for the character between them, which stays with the one before: JSON allows space.
        offsets[:-1], offsets[-1] = starts, ends[-1]
        data = pa.py_buffer(block)
    else:
        np.cumsum(sizes, out=offsets[1:])
        data = pa.py_buffer(
            b"".join(block[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True))
        )
    texts = pa.StringArray.from_buffers(len(starts), pa.py_buffer(offsets), data)
    return JsonTexts(pa.chunked_array([texts]), starts.astype(np.int64) + at)


def _objects(pieces: Iterable[bytes], diagnostics: Diagnostics) -> Iterator[JsonTexts]:
    kept, at = b"", 0
    for piece in pieces:
        block = kept + piece
        starts, ends, used = _outermost(block)
        if len(starts):
            yield _cut(block, starts, ends, at)
        kept = block[used:]
        at += used
        if len(kept) > MOST_BYTES:
            diagnostics.count("log_bad_record", offset=at)
            # Go on behind its brace: what it holds may be objects of their own.
            kept, at = kept[1:], at + 1
            lost = kept.find(b"\n{")
            skipped = len(kept) if lost < 0 else lost + 1
            kept, at = kept[skipped:], at + skipped
    if b"{" in kept:
        diagnostics.count("log_bad_record", offset=at + kept.index(b"{"))


def _outermost(block: bytes) -> tuple[Offsets, Offsets, int]:
    """Return where the outermost objects of a block start and end, and how many bytes need not be seen again.

    A block begins outside of any object.
    """
    letters = np.frombuffer(block, np.uint8)
    begin = block.find(b"{")
    if begin < 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), len(block)
    quotes = np.flatnonzero(letters == _QUOTE)
    quotes = quotes[(quotes > begin) & ~_escaped(letters, quotes)]
    braces = np.flatnonzero((letters == _OPEN) | (letters == _CLOSE))
    # A brace is inside a string where the number of quotes before it is odd. Text between objects has no quotes.
    braces = braces[np.searchsorted(quotes, braces) % 2 == 0]
    steps = np.where(letters[braces] == _OPEN, 1, -1)
    depth = np.cumsum(steps)
    starts = braces[(depth == 1) & (steps == 1)]
    ends = braces[(depth == 0) & (steps == -1)] + 1
    whole = min(len(starts), len(ends))
    if (depth < 0).any():  # a brace closes what none opened: leave what follows to the next look
        first = int(np.flatnonzero(depth < 0)[0])
        whole = min(whole, int((ends <= braces[first]).sum()))
        return starts[:whole], ends[:whole], int(braces[first]) + 1
    used = int(starts[whole]) if whole < len(starts) else len(block)
    return starts[:whole], ends[:whole], used


def _escaped(letters: NDArray[np.uint8], places: Offsets) -> NDArray[np.bool_]:
    """Return which characters an odd number of backslashes stands before."""
    odd = np.zeros(len(places), bool)
    suspects = np.flatnonzero((places > 0) & (letters[np.maximum(places - 1, 0)] == _BACKSLASH))
    if len(suspects):
        # The last character before each that is no backslash; a run of backslashes begins behind it.
        others = np.flatnonzero(letters != _BACKSLASH)
        before = others[np.maximum(np.searchsorted(others, places[suspects]) - 1, 0)]
        before = np.where(before < places[suspects], before, -1)
        odd[suspects] = (places[suspects] - before - 1) % 2 == 1
    return odd
