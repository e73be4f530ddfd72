"""Records of CSV files as columns of text, a block of the file at a time.

A record ends with a line's end outside of quotes. Records of the right width are parsed together by Arrow. Where a
block holds any other, each of its records is looked at: a bad one is counted and costs its first line only, so that a
quote that was never closed hides nothing behind it.
"""

import csv
import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.registry.text import escape_name

__all__ = ["DELIMITERS", "csv_tables", "read_titles"]

MOST_BYTES = 1 << 20  # of one record: a longer one is a quote that was never closed
MOST_LINES = 256  # of one record, where a block is looked at record by record
BLOCK = 16 << 20  # bytes parsed at once: distinct texts are then few beside records
DELIMITERS = ",;\t"  # Procmon and portals write commas; spreadsheets what the country's settings say
_NEW_LINE, _QUOTE = b'\n"'
_Lines: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class _Form:
    """The form of a file: its delimiter, how many fields a record has, and where the wanted ones are."""

    delimiter: str
    width: int
    places: dict[str, int]


def read_titles(line: str) -> tuple[str, list[str]]:
    """Return the delimiter of a CSV file, and the titles of its columns, given its first line.

    The delimiter is the one that makes most titles.
    """
    best: tuple[str, list[str]] = (",", [])
    for delimiter in DELIMITERS:
        titles = _fields(line, delimiter) or []
        if len(titles) > len(best[1]):
            best = delimiter, [title.strip() for title in titles]
    return best


def csv_tables(
    pieces: Iterable[bytes], names: Sequence[str], diagnostics: Diagnostics, *, encoded: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield the records of a CSV file whose first line has the titles of its columns.

    Args:
        pieces: the text as UTF-8 without a mark; pieces may end anywhere.
        names: titles of the columns that are wanted, in any case.
        diagnostics: counts records with a wrong number of fields, and quotes that never close (`log_bad_record`).
        encoded: names whose columns are dictionaries (int32 to text), which is cheaper where texts come again.

    Yields:
        A text column for each name, one chunk each: NULL where the file has no such column, "" where the field is
        empty; and `offset` (int64), where each record begins, in bytes of the text. Texts are escaped
        (`tracer.registry.text`).
    """
    form: _Form | None = None
    for block, at, lines in _blocks(pieces):
        if form is not None:
            yield _table(block, at, lines, form, names, encoded, diagnostics)
            continue
        start, form = _read_form(block, names)
        if form is not None:
            rest = block[start:]
            yield _table(rest, at + start, _lines(rest), form, names, encoded, diagnostics)


def _blocks(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, int, _Lines]]:
    """Yield blocks that end with a record's end, or where none ends for long, with a line's.

    Beside each stands where it begins, and its `_lines`.
    """
    kept: list[bytes] = []
    size = at = 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size < BLOCK:
            continue
        joined = b"".join(kept)
        lines = _lines(joined)
        end = int(lines[1][-1]) if len(lines[1]) else 0
        if len(joined) - end > MOST_BYTES:
            end = joined.rfind(b"\n") + 1 or len(joined)
        yield joined[:end], at, lines
        at += end
        kept, size = [joined[end:]], len(joined) - end
    joined = b"".join(kept)
    if joined:
        joined = joined if joined.endswith(b"\n") else joined + b"\n"
        yield joined, at, _lines(joined)


def _lines(block: bytes) -> _Lines:
    """Return where each record begins and ends that ends with a line's end outside of quotes."""
    letters = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(letters == _NEW_LINE) + 1
    if not len(ends):
        return ends, ends
    starts = np.concatenate(([0], ends[:-1]))
    odd = np.bitwise_xor.reduceat((letters == _QUOTE).view(np.uint8), starts)
    # reduceat takes the last piece to the end of the block; what follows the last line's end is none of it
    odd[-1] = letters[starts[-1] : ends[-1]].tobytes().count(b'"') & 1
    ends = ends[np.bitwise_xor.accumulate(odd) == 0]
    return np.concatenate(([0], ends[:-1])).astype(np.int64), ends


def _read_form(block: bytes, names: Sequence[str]) -> tuple[int, _Form | None]:
    """Return where the records begin, and their form; None where the block has no line but empty ones."""
    start = len(block) - len(block.lstrip(b"\r\n"))
    end = block.find(b"\n", start) + 1
    if not end:
        return len(block), None
    delimiter, titles = read_titles(block[start:end].decode("utf-8", "replace").rstrip("\r\n"))
    folded = [title.casefold() for title in titles]
    places = {name: folded.index(name.casefold()) for name in names if name.casefold() in folded}
    return end, _Form(delimiter, len(titles), places)


def _table(
    block: bytes,
    at: int,
    lines: _Lines,
    form: _Form,
    names: Sequence[str],
    encoded: Collection[str],
    diagnostics: Diagnostics,
) -> pa.Table:
    starts, ends = lines
    letters = np.frombuffer(block, np.uint8)
    if len(starts):
        blank = (ends - starts == 1) | ((ends - starts == 2) & (letters[starts] == ord("\r")))
        starts = starts[~blank]
    is_whole = len(ends) and ends[-1] == len(block) and form.width  # no width: the titles were no line of CSV
    columns = _parse(block, form, encoded) if is_whole else None
    if columns is None or columns.num_rows != len(starts):
        texts, starts = _each_record(block, at, form, diagnostics)
        columns = _as_table(texts, form, encoded)
    is_odd = b"\0" in block or b"<U+" in block
    arrays = []
    for name in names:
        kind = pa.dictionary(pa.int32(), pa.string()) if name in encoded else pa.string()
        if name in form.places:
            column = columns[name].combine_chunks() if columns.num_rows else pa.nulls(0, kind)
            arrays.append(_escaped(column) if is_odd else column)
        else:
            arrays.append(pa.nulls(len(starts), kind))
    return pa.table([*arrays, pa.array(starts + at, pa.int64())], names=[*names, "offset"])


def _parse(block: bytes, form: _Form, encoded: Collection[str]) -> pa.Table | None:
    """Return the wanted columns of a block; None where a record has another number of fields."""
    bad: list[pcsv.InvalidRow] = []

    def note(row: pcsv.InvalidRow) -> str:
        bad.append(row)
        return "skip"

    by_place = {str(place): name for name, place in form.places.items()}
    dictionary = pa.dictionary(pa.int32(), pa.string())
    try:
        table = pcsv.read_csv(
            pa.BufferReader(block),
            read_options=pcsv.ReadOptions(
                column_names=[str(place) for place in range(form.width)],
                block_size=len(block) + 1,
                use_threads=False,
            ),
            parse_options=pcsv.ParseOptions(
                delimiter=form.delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pcsv.ConvertOptions(
                include_columns=list(by_place) or ["0"],  # none would mean all
                column_types={
                    place: dictionary if name in encoded else pa.string() for place, name in by_place.items()
                },
                check_utf8=False,
                strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid:  # a quote that was never closed, or no record at all
        return None
    return None if bad else table.select(list(by_place)).rename_columns(list(by_place.values()))


def _each_record(
    block: bytes, at: int, form: _Form, diagnostics: Diagnostics
) -> tuple[list[list[str]], NDArray[np.int64]]:
    """Return the records of a block with the right number of fields, looked at one by one, and where each begins."""
    lines = [line + b"\n" for line in block.removesuffix(b"\n").split(b"\n")]
    texts: list[list[str]] = []
    starts: list[int] = []
    place = number = 0
    while number < len(lines):
        line = lines[number]
        if line.strip(b"\r\n"):
            count = _closed(lines, number)
            fields = None
            if count:
                record = line if count == 1 else b"".join(lines[number : number + count])
                fields = _fields(
                    record.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r"), form.delimiter
                )
            if fields is not None and len(fields) == form.width:
                texts.append(fields)
                starts.append(place)
                place += sum(map(len, lines[number : number + count]))
                number += count
                continue
            diagnostics.count("log_bad_record", offset=at + place)
        place += len(line)
        number += 1
    return texts, np.array(starts, np.int64)


def _closed(lines: Sequence[bytes], first: int) -> int:
    """Return how many lines from `first` on make a record; 0 where its quotes do not close."""
    quotes = 0
    for count, line in enumerate(lines[first : first + MOST_LINES], 1):
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            return count
    return 0


def _fields(record: str, delimiter: str) -> list[str] | None:
    """Return the fields of one record; None where it is none."""
    try:
        rows = list(csv.reader(io.StringIO(record, newline=""), delimiter=delimiter))
    except csv.Error:  # a field of more than 128 KiB
        return None
    return rows[0] if len(rows) == 1 else None


def _as_table(texts: list[list[str]], form: _Form, encoded: Collection[str]) -> pa.Table:
    columns = {}
    for name, place in form.places.items():
        column = from_texts([fields[place] for fields in texts])
        columns[name] = column.dictionary_encode() if name in encoded else column
    return pa.table(columns)


def _escaped(column: pa.Array) -> pa.Array:
    """Return the column with its texts escaped."""
    if isinstance(column, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(column.indices, _escaped(column.dictionary))
    return from_texts([escape_name(text) for text in column.to_pylist()])
