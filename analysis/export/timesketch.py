"""Timesketch: CSV or JSON lines with `message`, `datetime`, `timestamp` and `timestamp_desc`.

What it reads is said in its guide "Import data from JSON/CSV": the file ends with .csv or .jsonl, `datetime` is ISO 8601
with a zone, `timestamp` is microseconds since 1970. Of a text beyond 32,766 bytes its keyword field is dropped, so such
texts are cut here, and counted.
"""

import csv
import io
import json
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from analysis.export.flat import FLAT, flat_pieces
from analysis.export.json_text import braced, decoded, inner, members, quoted
from analysis.export.messages import cut_rows, cut_text, messages
from analysis.export.notices import Notice
from analysis.export.records import Records, utc_ns
from analysis.export.rows import Rows, mapped, text_bytes
from tracer.registry.safe_text import guarded_cells, spreadsheet_safe

__all__ = ["CELL_BYTES", "COLUMNS", "DESCRIPTIONS", "NOTICES", "Timesketch", "described"]

CELL_BYTES = 32_766
DESCRIPTIONS = {  # operation -> timestamp_desc: what happened at that time
    "SetValueKey": "Registry Value Set",
    "DeleteValueKey": "Registry Value Deleted",
    "QueryValueKey": "Registry Value Read",
    "EnumerateValueKey": "Registry Value Read",
    "QueryMultipleValueKey": "Registry Value Read",
    "CreateKey": "Registry Key Created or Opened",
    "OpenKey": "Registry Key Opened",
    "CloseKey": "Registry Key Closed",
    "DeleteKey": "Registry Key Deleted",
    "RenameKey": "Registry Key Renamed",
    "QueryKey": "Registry Key Read",
    "EnumerateKey": "Registry Key Read",
    "SetInformationKey": "Registry Key Information Set",
    "SetSecurityKey": "Registry Key Security Set",
    "QuerySecurityKey": "Registry Key Security Read",
    "LoadKey": "Registry Hive Loaded",
    "UnloadKey": "Registry Hive Unloaded",
}
_OTHERS = "Registry Operation"
NOTICES = {  # kind of a notice -> timestamp_desc
    "loss": "Registry Trace: Events Lost",
    "blind": "Registry Trace: Names Not Known Yet",
    "clock": "Registry Trace: Clock Set Back",
    "doubt": "Registry Trace: Doubt",
    "source": "Registry Trace: Blind Spot of a Source",
}
_REQUIRED = ("message", "datetime", "timestamp", "timestamp_desc")
_OF_NOTICES = ("notice", "notice_end", "notice_count")
COLUMNS = (*_REQUIRED, *(field.name for field in FLAT), *_OF_NOTICES)


def described(operation: str) -> str:
    """Return what happened at the time of an operation."""
    return DESCRIPTIONS.get(operation, _OTHERS)


class Timesketch:
    """A timeline for Timesketch; first the notices, as rows of their own."""

    def __init__(self, records: Records) -> None:
        """Write `records`."""
        self._records = records
        self._csv = records.options.csv

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield the heading and the notices."""
        if self._csv:
            yield (",".join(COLUMNS) + "\n").encode()
        for notice in self._records.notices():
            fields = _notice_fields(notice)
            yield (
                _csv_line(fields) if self._csv else json.dumps(fields, separators=(",", ":")).encode() + b"\n"
            )

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield the lines of rows."""
        self._records.tally.cut += cut_rows(rows) + _cut_cells(rows)
        yield self._as_csv(rows) if self._csv else _as_json(rows)

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield nothing."""
        yield from ()

    def _as_csv(self, rows: Rows) -> memoryview:
        cells: list[pa.Array] = [
            messages(rows),
            rows.iso_times("+00:00"),
            pc.cast(rows["time"], pa.int64()),
            decoded(rows.told("operation", described)),
        ]
        for field in FLAT:
            made = field.cells(rows)
            if field.is_text:
                made = mapped(made, _shortened)
                made = pa.DictionaryArray.from_arrays(made.indices, guarded_cells(made.dictionary))
                cells.append(decoded(made))
            else:
                cells.append(decoded(made).cast(pa.int64()))
        cells += [pa.nulls(len(rows), pa.int64()) for _ in _OF_NOTICES]
        cells[0] = guarded_cells(cells[0])
        lines = pa.BufferOutputStream()
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
        pyarrow.csv.write_csv(pa.RecordBatch.from_arrays(cells, names=list(COLUMNS)), lines, options)
        return memoryview(lines.getvalue())


def _as_json(rows: Rows) -> memoryview:
    pieces = {
        "message": pc.binary_join_element_wise('"', messages(rows, inner), '"', ""),
        "datetime": pc.binary_join_element_wise('"', rows.iso_times("+00:00"), '"', ""),
        "timestamp": pc.cast(rows["time"], pa.int64()).cast(pa.string()),
        "timestamp_desc": rows.told("operation", lambda operation: quoted(described(operation))),
    }
    pieces |= flat_pieces(rows, _shortened)
    return text_bytes(pc.binary_join_element_wise(braced(members(pieces)), "\n", ""))


def _shortened(text: str) -> str:
    return cut_text(text, CELL_BYTES)


def _cut_cells(rows: Rows) -> int:
    """Return how many cells of the rows are longer than Timesketch's limit."""
    found = 0
    for field in FLAT:
        if field.is_text:
            cells = field.cells(rows)
            longer = pc.greater(pc.binary_length(cells.dictionary), CELL_BYTES)
            if pc.any(longer).as_py():
                found += pc.sum(longer.take(cells.indices)).as_py() or 0
    return found


def _notice_fields(notice: Notice) -> dict[str, str | int]:
    """Return the fields of a notice; those that are not known are left out."""
    fields: dict[str, str | int | None] = {
        "message": cut_text(notice.sentence, CELL_BYTES),
        "datetime": utc_ns(notice.time_ns) + "+00:00",
        "timestamp": notice.time_ns // 1000,
        "timestamp_desc": NOTICES[notice.kind],
        "hostname": notice.host,
        "capture": notice.capture,
        "notice": notice.kind,
        "notice_end": None if notice.end_ns is None else utc_ns(notice.end_ns) + "+00:00",
        "notice_count": notice.count,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _csv_line(fields: dict[str, str | int]) -> bytes:
    line = io.StringIO()
    cells = (fields.get(name) for name in COLUMNS)
    safe = [spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(line, quoting=csv.QUOTE_STRINGS if hasattr(csv, "QUOTE_STRINGS") else csv.QUOTE_MINIMAL,
               lineterminator="\n").writerow(safe)  # fmt: skip
    return line.getvalue().encode()
