"""The CSV of `tracerpt -of CSV`: a line a record, a fixed part, and behind it the values of the payload, without names.

Its titles end with `User Data`, but a record has as many fields there as its payload. Fields are padded with spaces, texts
stand in quotes. A text with line ends goes on in the lines that follow, up to one that looks like a record: so a quote that
was never closed costs its record only.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.raw.columns import HEADER, PAYLOAD
from tracer.registry.text import escape_name

__all__ = ["csv_records"]

_MOST_LINES, _MOST_BYTES = 64, 1 << 18  # of one record
_BATCH = 20_000
# Titles in small letters, and the columns.
_TITLES = {
    "event name": "@provider",
    "type": "@name",
    "event id": "@id",
    "version": "@version",
    "opcode": "@opcode",
    "pid": "@pid",
    "tid": "@tid",
    "processor number": "@cpu",
    "clock-time": "@time",
}
_LAST, _CLOCK = "user data", "clock-time"


@dataclass(frozen=True, slots=True)
class _Form:
    """What the titles say: where header columns are, where the clock is, and how many fields stand before the payload."""

    places: dict[str, int]
    clock: int
    fixed: int

    def begins(self, line: bytes) -> bool:
        """Whether a line looks like the beginning of a record: a number is where the clock is."""
        fields = line.split(b",", self.fixed)
        return len(fields) > self.clock and fields[self.clock].strip().isdigit()


def csv_records(pieces: Iterable[bytes], diagnostics: Diagnostics) -> Iterator[pa.Table]:
    """Yield the records of a text in order, with `@fields`, and `offset` (int64).

    Args:
        pieces: the text as UTF-8; pieces may end anywhere.
        diagnostics: counts lines that are no records (`log_bad_record`).
    """
    lines = _lines(pieces)
    form = next((form for line, _ in lines if (form := _read_form(line)) is not None), None)
    if form is None:
        return
    rows: list[dict[str, str]] = []
    offsets: list[int] = []
    for fields, offset in _records(lines, form, diagnostics):
        if len(fields) < form.fixed:
            diagnostics.count("log_bad_record", offset=offset)
            continue
        row = {name: escape_name(fields[place].strip()) for name, place in form.places.items()}
        row["@fields"] = escape_name(json.dumps(fields[form.fixed :]))
        rows.append(row)
        offsets.append(offset)
        if len(rows) >= _BATCH:
            yield _table(rows, offsets)
            rows, offsets = [], []
    if rows:
        yield _table(rows, offsets)


def _read_form(line: bytes) -> _Form | None:
    """Return what a line of titles says; None where it is no such line."""
    titles = [title.strip().strip('"').lower() for title in line.decode("utf-8", "replace").split(",")]
    if _CLOCK not in titles or _LAST not in titles:
        return None
    fixed = titles.index(_LAST)
    places = {_TITLES[title]: place for place, title in enumerate(titles[:fixed]) if title in _TITLES}
    return _Form(places, titles.index(_CLOCK), fixed)


def _table(rows: Sequence[dict[str, str]], offsets: Sequence[int]) -> pa.Table:
    nothing = pa.nulls(len(rows), pa.string())
    columns = [
        from_texts([row.get(name) for row in rows]) if any(name in row for row in rows) else nothing
        for name in HEADER
    ]
    names = [*HEADER, *PAYLOAD, "offset"]
    return pa.table([*columns, *[nothing] * len(PAYLOAD), pa.array(offsets, pa.int64())], names=names)


def _records(
    lines: Iterable[tuple[bytes, int]], form: _Form, diagnostics: Diagnostics
) -> Iterator[tuple[list[str], int]]:
    """Yield the fields of each record, and where it begins."""
    waiting: list[bytes] = []
    begin = quotes = size = 0
    for line, at in lines:
        if waiting and (len(waiting) >= _MOST_LINES or size > _MOST_BYTES or form.begins(line)):
            diagnostics.count("log_bad_record", offset=begin)  # its quote was never closed
            waiting, quotes, size = [], 0, 0
        begin = begin if waiting else at
        waiting.append(line)
        quotes += line.count(b'"')
        size += len(line)
        if quotes % 2 == 0:
            yield from _one(b"".join(waiting), begin, diagnostics)
            waiting, quotes, size = [], 0, 0
    if waiting:
        diagnostics.count("log_bad_record", offset=begin)


def _one(text: bytes, at: int, diagnostics: Diagnostics) -> Iterator[tuple[list[str], int]]:
    text = text.rstrip(b"\r\n")
    if not text.strip():
        return
    try:
        # The reader takes a text for lines; given as one line with its line ends in quotes, it keeps them.
        yield next(csv.reader([text.decode()], skipinitialspace=True)), at
    except (csv.Error, StopIteration):
        diagnostics.count("log_bad_record", offset=at)


def _lines(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield lines with their ends, and where each begins; one that is too long is cut."""
    kept, at = b"", 0
    for piece in pieces:
        lines = (kept + piece).splitlines(keepends=True)
        kept = (
            lines.pop() if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) <= _MOST_BYTES else b""
        )
        for line in lines:
            yield line, at
            at += len(line)
    if kept:
        yield kept, at
