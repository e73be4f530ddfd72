"""log2timeline's CSV (l2tcsv): 17 columns, as older timeline tools read them.

Unknown is `-`, the format's own word for it. One event is one line: a line break in a text is written as on a terminal.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from analysis.export.flat import flag_names
from analysis.export.json_text import decoded
from analysis.export.messages import cut_rows, messages
from analysis.export.notices import Notice
from analysis.export.records import Records, utc_ns
from analysis.export.rows import Rows
from analysis.export.timesketch import NOTICES, described
from tracer.registry.operations import GROUPS
from tracer.registry.safe_text import guarded_cells, spreadsheet_safe

__all__ = ["COLUMNS", "L2tCsv", "macb"]

COLUMNS = {  # column -> what it is made of, for the documents
    "date": "`time`, MM/DD/YYYY",
    "time": "`time`, HH:MM:SS",
    "timezone": "always UTC",
    "MACB": "M where the registry was changed, B where a key was made, else A",
    "source": "always REG",
    "sourcetype": "`source`",
    "type": "what happened at that time, as Timesketch's `timestamp_desc`",
    "user": "`processes.user`",
    "host": "`host`",
    "short": "`operation` and `display_key`",
    "desc": "a sentence of operation, key, value, data, status, process",
    "version": "always 2",
    "filename": "`capture`",
    "inode": "`key_id`",
    "notes": "`name_source` where it is none or partial, and the names of `flags`",
    "format": "always regtrace",
    "extra": "`sequence`, `time_ns`, `pid`, `tid`, `duration_ns`",
}
_UNKNOWN = "-"
_CHANGES = {name for case in GROUPS["writes"].cases for name in case.operations} - {"CreateKey"}
_CREATED = 1  # REG_CREATED_NEW_KEY (winnt.h)
_UNNAMED = ("none", "partial")


def macb(operation: str, disposition: int | None) -> str:
    """Return the four letters of what an operation did: modified, accessed, changed, born.

    >>> macb("SetValueKey", None), macb("CreateKey", 1), macb("QueryKey", None)
    ('M...', '...B', '.A..')
    """
    if operation == "CreateKey" and disposition == _CREATED:
        return "...B"
    return "M..." if operation in _CHANGES else ".A.."


def one_line(text: str) -> str:
    r"""Return a text with its line breaks written as on a terminal.

    >>> one_line("a\nb")
    'a\\u{A}b'
    """
    if "\n" not in text and "\r" not in text:
        return text
    return text.replace("\r", "\\u{D}").replace("\n", "\\u{A}")


class L2tCsv:
    """A timeline as l2tcsv; first the notices, as lines of their own."""

    def __init__(self, records: Records) -> None:
        """Write `records`."""
        self._records = records

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield the heading and the notices."""
        yield (",".join(COLUMNS) + "\n").encode()
        for notice in self._records.notices():
            yield _notice_line(notice)

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield the lines of rows."""
        self._records.tally.cut += cut_rows(rows)
        cells = dict(zip(COLUMNS, _cells(rows), strict=True))
        lines = pa.BufferOutputStream()
        options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
        pyarrow.csv.write_csv(pa.RecordBatch.from_pydict(cells), lines, options)
        yield memoryview(lines.getvalue())

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield nothing."""
        yield from ()


def _cells(rows: Rows) -> Iterator[pa.Array]:
    length = len(rows)
    times = rows.iso_times(
        ""
    )  # of a damaged clock, a year may have five digits: the time counts from the end
    yield decoded(_told_days(pc.utf8_slice_codeunits(times, 0, -16)))
    yield pc.utf8_slice_codeunits(times, -15, -7)
    yield _same("UTC", length)
    yield decoded(rows.told(("operation", "disposition"), macb))
    yield _same("REG", length)
    yield decoded(rows.told("source", lambda source: f"Registry trace: {one_line(source)}"))
    yield decoded(rows.told("operation", described))
    yield _known(rows.of_process(_user))
    yield _known(rows.told("host", _safe))
    yield decoded(rows.told(("operation", "display_key"), _short))
    yield guarded_cells(messages(rows, one_line))
    yield pa.repeat(pa.scalar(2, pa.int64()), length)
    yield decoded(rows.told("capture", _safe))
    yield pc.coalesce(rows.numbers("key_id"), pa.scalar(_UNKNOWN))
    yield decoded(rows.told(("name_source", "flags"), _notes))
    yield _same("regtrace", length)
    yield _extra(rows)


def _told_days(days: pa.Array) -> pa.DictionaryArray:
    coded = days.dictionary_encode()
    return pa.DictionaryArray.from_arrays(
        coded.indices, pa.array(map(_day, coded.dictionary.to_pylist()), pa.string())
    )


def _day(iso: str) -> str:
    """Return an ISO 8601 date as MM/DD/YYYY."""
    year, month, day = iso.rsplit("-", 2)
    return f"{month}/{day}/{year}"


def _same(text: str, length: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), length)


def _known(texts: pa.DictionaryArray) -> pa.Array:
    return pc.coalesce(decoded(texts), pa.scalar(_UNKNOWN))


def _safe(text: str) -> str:
    return spreadsheet_safe(one_line(text))


def _user(one: Mapping[str, Any]) -> str | None:
    return _safe(one["user"]) if one["user"] else None


def _short(operation: str, key: str | None) -> str:
    return one_line(operation if key is None else f"{operation} {key}")


def _notes(name_source: str | None, flags: int | None) -> str:
    words = [f"name: {name_source}"] if name_source in _UNNAMED else []
    names = flag_names(flags) if flags else None
    return ", ".join([*words, *(names.split(",") if names else [])]) or _UNKNOWN


def _extra(rows: Rows) -> pa.Array:
    columns = ("sequence", "time_ns", "tid", "duration_ns")
    parts = [_labelled(f"{name}: ", rows.numbers(name)) for name in columns]
    parts.append(decoded(rows.of_process(_pid)))
    return pc.binary_join_element_wise(*parts, "; ", null_handling="skip")


def _pid(one: Mapping[str, Any]) -> str:
    return f"pid: {one['pid']}"


def _labelled(label: str, numbers: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(label, numbers, "")


def _notice_line(notice: Notice) -> bytes:
    moment = utc_ns(notice.time_ns)
    day, clock = moment.split("T")
    known = {"from_ns": notice.start_ns, "to_ns": notice.end_ns, "count": notice.count}
    extra = "; ".join(f"{name}: {value}" for name, value in known.items() if value is not None) or _UNKNOWN
    cells = (_day(day), clock[:8], "UTC", "....", "REG", "Registry trace", NOTICES[notice.kind], _UNKNOWN,
             notice.host or _UNKNOWN, NOTICES[notice.kind], notice.sentence, "2", notice.capture or _UNKNOWN, _UNKNOWN,
             "notice", "regtrace", extra)  # fmt: skip
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return line.getvalue().encode()


def _cell(text: str) -> str:
    return text if text in (_UNKNOWN, "....") else _safe(text)
