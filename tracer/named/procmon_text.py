"""Procmon's logs as it exports them (CSV, XML): the registry operations in them as rows.

An export is what Procmon's window shows. Compared with the log (.pml) of the same operations, row by row, it lacks: dates
where the column Date & Time is off, the time zone, the SID of HKCU, what Detail leaves out (`tracer.named.procmon_details`),
and whatever column was off when it was saved.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.logs.ahead import work_ahead
from tracer.logs.csv_fields import csv_tables
from tracer.logs.utf8 import read_utf8
from tracer.named.context import NamedContext
from tracer.named.local_times import LocalClock, durations, numbers
from tracer.named.procmon_details import Detail, read_detail
from tracer.named.rows import NamedRows, make_rows
from tracer.registry.ntstatus import find_status
from tracer.registry.operations import PROCMON_NAMES
from tracer.schema import FLAGS
from tracer.sources.inputs import SourceFile

__all__ = ["COLUMNS", "ProcmonRows", "procmon_csv_rows"]

# The columns that are read, as Procmon titles them; of the others nothing becomes a row. ProcessIndex is in XML only.
COLUMNS = (
    "Time of Day", "Date & Time", "Process Name", "PID", "TID", "Operation", "Path", "Result", "Detail", "Duration",
    "Image Path", "Command Line", "User", "Session", "Parent PID", "ProcessIndex",
)  # fmt: skip
_NEEDED = ("Operation", "Path")
_ALL_DIFFERENT = ("Time of Day",)  # of no use as dictionaries
_PROCESS = (
    "PID",
    "Process Name",
    "Image Path",
    "Command Line",
    "User",
    "Session",
    "Parent PID",
    "ProcessIndex",
)
_VALUE_OPERATIONS = frozenset({"SetValueKey", "QueryValueKey", "DeleteValueKey"})
_REMEMBERED = 1 << 16  # distinct Details that are kept between batches

Int64s = NDArray[np.int64]


def procmon_csv_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the registry operations of a log that Procmon saved as CSV.

    Args:
        file: the log.
        size: bytes to read.
        context: what all files share.
        diagnostics: counts what is no registry operation, and what cannot be read.

    Raises:
        SourceError: it has no column with the operation, the path or the time.
    """
    reader = ProcmonRows(file, "procmon-csv", context, diagnostics)
    encoded = [name for name in COLUMNS if name not in _ALL_DIFFERENT]

    def tables() -> Iterator[pa.Table]:
        return csv_tables(read_utf8(file.path, diagnostics, size), COLUMNS, diagnostics, encoded=encoded)

    for fields in work_ahead(tables, waiting=1):
        yield reader.rows(fields)


class ProcmonRows:
    """Makes rows of one export's columns, in the order of the export."""

    def __init__(
        self, file: SourceFile, source: str, context: NamedContext, diagnostics: Diagnostics
    ) -> None:
        """Begin an export; `source` is the word of its rows."""
        self._file, self._source = file, source
        self._context, self._diagnostics = context, diagnostics
        options = context.options
        self._clock = LocalClock(options.day, options.zone, _modified_ns(file), diagnostics)
        self._details: dict[tuple[str, str], Detail] = {}

    def rows(self, fields: pa.Table) -> NamedRows:
        """Return the rows of some records.

        Args:
            fields: COLUMNS, each one chunk: `Time of Day` as text, the others as dictionaries of text, all NULL where the export
                has no such column; and `offset`.

        Raises:
            SourceError: a column is missing without which nothing is known.
        """
        if not fields.num_rows:
            return make_rows(0, {"source": self._source})
        columns: dict[str, pa.Array] = {name: fields[name].chunk(0) for name in fields.column_names}
        lacking = [name for name in _NEEDED if _is_absent(columns[name])]
        if _is_absent(columns["Time of Day"]) and _is_absent(columns["Date & Time"]):
            lacking.append("Time of Day")
        if lacking:
            raise SourceError(
                f"{self._file.shown}: this Procmon export has no column {lacking[0]!r}; switch it on under Options, Select "
                "Columns, and save the log again"
            )
        names = [PROCMON_NAMES.get(text) for text in columns["Operation"].dictionary.to_pylist()]
        is_registry = _taken(np.array([name is not None for name in names], bool), columns["Operation"])
        others = np.flatnonzero(~is_registry)
        if len(others):
            first = columns["offset"][int(others[0])].as_py()
            self._diagnostics.count("log_other_records", len(others), offset=first)
        times, has_time = self._times(columns)
        keep = is_registry & has_time
        lost = np.flatnonzero(is_registry & ~has_time)
        if len(lost):
            first = columns["offset"][int(lost[0])].as_py()
            self._diagnostics.count("log_no_time", len(lost), offset=first)
        if not keep.all():
            chosen = pa.array(keep)
            columns = {name: column.filter(chosen) for name, column in columns.items()}
            times = times[keep]
        return self._rows(columns, times, names)

    def _times(self, columns: Mapping[str, pa.Array]) -> tuple[Int64s, NDArray[np.bool_]]:
        of_day, dates = columns["Time of Day"], columns["Date & Time"]
        return self._clock.times(None if _is_absent(of_day) else of_day, None if _is_absent(dates) else dates)

    def _rows(self, columns: Mapping[str, pa.Array], times: Int64s, names: Sequence[str | None]) -> NamedRows:
        operation = pa.DictionaryArray.from_arrays(columns["Operation"].indices, from_texts(names))
        has_value = _taken(np.array([name in _VALUE_OPERATIONS for name in names], bool), operation)
        path = _plain(columns["Path"])
        duration, is_known = _mapped(columns["Duration"], durations)
        thread, has_thread = _mapped(columns["TID"], numbers)
        status, results = self._statuses(columns["Result"])
        return make_rows(
            len(times),
            {
                "time_ns": times,
                "actor": self._actors(columns),
                "thread_id": pa.array(thread, mask=~has_thread | (thread >= 1 << 32)),
                "operation": _plain(operation),
                "status": status,
                "path": pc.if_else(pc.equal(path, ""), None, path),
                "has_value": pa.array(has_value),
                "duration_ns": pa.array(duration, mask=~is_known),
                "source": self._source,
                "record_offset": columns["offset"],
                **self._of_details(operation, columns["Detail"], results),
            },
        )

    def _statuses(self, results: pa.DictionaryArray) -> tuple[pa.Array, pa.DictionaryArray]:
        """Return the status of each row, and the results that are no known status (NULL elsewhere)."""
        words: list[str] = results.dictionary.to_pylist()
        codes = [find_status(word) if word else None for word in words]
        strange = [word if word and code is None else None for word, code in zip(words, codes, strict=True)]
        status = pa.array(codes, pa.uint32()).take(results.indices)
        return status, pa.DictionaryArray.from_arrays(results.indices, from_texts(strange))

    def _of_details(
        self, operation: pa.DictionaryArray, details: pa.DictionaryArray, results: pa.DictionaryArray
    ) -> dict[str, pa.Array]:
        """Return the columns that Detail fills: each distinct one is read once."""
        first, places = _distinct((operation, details, results))
        rows = pa.array(first)
        found = [
            self._detail(name, text or "", result)
            for name, text, result in zip(
                _plain(operation.take(rows)).to_pylist(),
                _plain(details.take(rows)).to_pylist(),
                _plain(results.take(rows)).to_pylist(),
                strict=True,
            )
        ]
        self._count(found, places)
        at = pa.array(places)
        flags = np.array([FLAGS["data_truncated"] * one.is_cut for one in found], np.uint32)
        numbers_ = {
            name: pa.array([getattr(one, name) for one in found], pa.uint32()).take(at)
            for name in ("disposition", "information_class", "index", "data_type", "data_size")
        }
        texts = {
            "value_name": from_texts([one.value_name for one in found]).take(at),
            "requested_name": from_texts([one.requested_name for one in found]).take(at),
            "detail": from_texts([one.json for one in found]).take(at),
        }
        data = pa.array([one.data for one in found], pa.binary()).take(at)
        return {**numbers_, **texts, "data": data, "flags": pa.array(flags[places])}

    def _detail(self, operation: str, text: str, result: str | None) -> Detail:
        if result is not None:  # not kept: it is no known word
            detail = read_detail(operation, text)
            detail.is_clear, detail.fields["Result"] = False, result
            return detail
        key = operation, text
        known = self._details.get(key)
        if known is None:
            if len(self._details) >= _REMEMBERED:
                self._details.clear()
            known = self._details[key] = read_detail(operation, text)
        return known

    def _count(self, details: Sequence[Detail], places: Int64s) -> None:
        rows = np.bincount(places, minlength=len(details))
        for name, marks in (
            ("procmon_unclear_detail", [not one.is_clear for one in details]),
            ("procmon_joined_strings", [one.is_joined for one in details]),
        ):
            self._diagnostics.count(name, int(rows[np.array(marks, bool)].sum()))

    def _actors(self, columns: Mapping[str, pa.Array]) -> pa.Array:
        """Return the number of each row's process; rows are of one where all that is said of it is equal."""
        first, places = _distinct([columns[name] for name in _PROCESS if not _is_absent(columns[name])])
        if not len(first):
            return pa.nulls(len(places), pa.int32())
        some = {name: _plain(columns[name].take(pa.array(first))) for name in _PROCESS}
        texts = {name: pc.if_else(pc.equal(column, ""), None, column) for name, column in some.items()}
        facts = {
            "pid": _small(texts["PID"]),
            "parent_pid": _small(texts["Parent PID"]),
            "session_id": _small(texts["Session"]),
            "name": texts["Process Name"],
            "image_path": texts["Image Path"],
            "command_line": texts["Command Line"],
            "user": texts["User"],
        }
        numbers_ = self._context.actors.number("procmon", texts, facts)
        return numbers_.take(pa.array(places))


def _is_absent(column: pa.Array) -> bool:
    return column.null_count == len(column)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _taken(marks: NDArray[np.bool_], column: pa.DictionaryArray) -> NDArray[np.bool_]:
    """Return the mark of each row's word; False where the row has none."""
    places = column.indices.fill_null(len(marks)).to_numpy(zero_copy_only=False)
    return np.append(marks, False)[places]


def _mapped(
    column: pa.Array, read: Callable[[pa.StringArray], tuple[Int64s, NDArray[np.bool_]]]
) -> tuple[Int64s, NDArray[np.bool_]]:
    """Return what `read` says of each row's word."""
    values, known = read(column.dictionary)
    places = column.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.append(values, 0)[places], np.append(known, False)[places]


def _small(texts: pa.Array) -> pa.Array:
    values, known = numbers(texts)
    return pa.array(values, pa.int64(), mask=~known | (values >= 1 << 32)).cast(pa.uint32())


def _distinct(columns: Iterable[pa.DictionaryArray]) -> tuple[Int64s, Int64s]:
    """Return one row of each distinct combination of words, and which of these each row is."""
    first, places = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for number, column in enumerate(columns):
        words = len(column.dictionary) + 1
        codes = column.indices.fill_null(words - 1).to_numpy(zero_copy_only=False).astype(np.int64)
        joined = codes if number == 0 else places * words + codes
        _, first, places = np.unique(joined, return_index=True, return_inverse=True)
    return first, places.ravel()


def _modified_ns(file: SourceFile) -> int:
    """Return when the file that the user named was last written to; of an archive, when that was."""
    path = Path(file.shown)
    for place in (path, *path.parents):
        if place.is_file():
            return place.stat().st_mtime_ns
    return file.path.stat().st_mtime_ns
