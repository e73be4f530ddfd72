"""Procmon's XML: its processes and its events, as the columns that its CSV has.

The names of elements are those that public readers of such exports expect; they are the titles of columns with
underscores. UNCONFIRMED on a real export.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import pyarrow as pa

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.logs.ahead import work_ahead
from tracer.logs.utf8 import read_utf8
from tracer.logs.xml_elements import Element, elements
from tracer.named.context import NamedContext
from tracer.named.procmon_text import COLUMNS, ProcmonRows
from tracer.named.rows import NamedRows
from tracer.sources.inputs import SourceFile

__all__ = ["procmon_xml_rows"]

_BATCH = 40_000
_EVENTS = b"<eventlist"
_REGISTRY = b"<Operation>Reg"
# What stands in an element process of the list, by the column of events that it is.
_OF_PROCESS = {
    "PID": "ProcessId", "Process Name": "ProcessName", "Image Path": "ImagePath", "Command Line": "CommandLine",
    "User": "Owner", "Parent PID": "ParentProcessId",
}  # fmt: skip
_OTHER_NAMES = {"threadid": "TID", "user": "User"}
_MODULES, _STACK = b"<modulelist", b"<stack"


def procmon_xml_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the registry operations of a log that Procmon saved as XML.

    Args:
        file: the log.
        size: bytes to read.
        context: what all files share.
        diagnostics: counts what is no registry operation, and what cannot be read.

    Raises:
        SourceError: it declares a document type, or has no operation, path or time.
    """
    reader = ProcmonRows(file, "procmon-xml", context, diagnostics)
    for fields in work_ahead(lambda: _tables(file, size, diagnostics), waiting=1):
        yield reader.rows(fields)


def _tables(file: SourceFile, size: int, diagnostics: Diagnostics) -> Iterator[pa.Table]:
    pieces = iter(read_utf8(file.path, diagnostics, size))
    head = next(pieces, b"")
    if b"<!DOCTYPE" in head[: head.find(b"<process")] or b"<!ENTITY" in head[: head.find(b"<process")]:
        raise SourceError(
            f"{file.shown}: this XML declares a document type, which no export of Procmon does; save the log again"
        )
    stream = _Stream(chain([head], pieces))
    processes = _processes(elements(stream.until(_EVENTS), b"process", diagnostics))
    columns: dict[str, str | None] = {}
    rows: list[dict[str, str]] = []
    offsets: list[int] = []
    start = stream.at
    for event in elements(stream.rest(), b"event", diagnostics):
        if _REGISTRY not in event.body:
            diagnostics.count("log_other_records", offset=start + event.offset)
            continue
        fields = event.children(_STACK)
        if fields is None:
            diagnostics.count("log_bad_record", offset=start + event.offset)
            continue
        row = _row(fields, columns, processes)
        rows.append(row)
        offsets.append(start + event.offset)
        if len(rows) >= _BATCH:
            yield _table(rows, offsets, diagnostics)
            rows, offsets = [], []
    if rows:
        yield _table(rows, offsets, diagnostics)


class _Stream:
    """Pieces of a text, read up to a mark and then on."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._kept = pieces, b""
        self.at = 0  # where what was not yielded begins

    def until(self, mark: bytes) -> Iterator[bytes]:
        """Yield what stands before the mark."""
        for piece in self._pieces:
            self._kept += piece
            place = self._kept.find(mark)
            end = place if place >= 0 else max(0, len(self._kept) - len(mark))
            before, self._kept = self._kept[:end], self._kept[end:]
            self.at += end
            yield before
            if place >= 0:
                return

    def rest(self) -> Iterator[bytes]:
        """Yield all that was not yielded."""
        kept, self._kept = self._kept, b""
        yield kept
        yield from self._pieces


def _processes(listed: Iterable[Element]) -> dict[str, dict[str, str]]:
    """Return the columns of each process, by its index."""
    processes = {}
    for element in listed:
        fields = element.children(_MODULES) or {}
        if index := fields.get("ProcessIndex", "").strip():
            processes[index] = {
                column: fields[name] for column, name in _OF_PROCESS.items() if fields.get(name)
            }
    return processes


def _row(
    fields: Mapping[str, str], columns: dict[str, str | None], processes: Mapping[str, dict[str, str]]
) -> dict[str, str]:
    """Return the columns of an event; `columns` remembers which element is which column."""
    for name in fields.keys() - columns.keys():
        columns[name] = _column(name)
    row = {column: text for name, text in fields.items() if (column := columns[name]) is not None}
    process = processes.get(row.get("ProcessIndex", "").strip())
    return row if process is None else {**process, **row}


def _column(name: str) -> str | None:
    """Return the column that an element is: its title without what no name of an element can hold."""
    bare = re.sub("[^a-z0-9]", "", name.lower())
    for column in COLUMNS:
        if re.sub("[^a-z0-9]", "", column.lower()) == bare:
            return column
    return _OTHER_NAMES.get(bare)


def _table(rows: list[dict[str, str]], offsets: list[int], diagnostics: Diagnostics) -> pa.Table:
    arrays = []
    for name in COLUMNS:
        texts = from_texts([row.get(name) for row in rows])
        if name == "Time of Day":
            arrays.append(texts)
            continue
        encoded = texts.dictionary_encode()
        words = encoded.dictionary.to_pylist()
        mended = [_decoded_once_more(word) for word in words]
        if mended != words:
            diagnostics.count(
                "procmon_encoded_twice", sum(a != b for a, b in zip(words, mended, strict=True))
            )
            encoded = pa.DictionaryArray.from_arrays(encoded.indices, from_texts(mended))
        arrays.append(encoded)
    return pa.table([*arrays, pa.array(offsets, pa.int64())], names=[*COLUMNS, "offset"])


def _decoded_once_more(text: str) -> str:
    """Return a text that was encoded as UTF-8 twice as it was meant; any other stays as it is."""
    if text.isascii():
        return text
    try:
        raw = b"".join(
            bytes([ord(letter)]) if ord(letter) < 0x100 else letter.encode("cp1252") for letter in text
        )
        return raw.decode()
    except UnicodeError:
        return text
