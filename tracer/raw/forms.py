"""Forms of text that decoded records come in, by the kind of a file: each yields tables of `tracer.raw.columns`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tracer.diagnostics import Diagnostics
from tracer.logs.ahead import work_ahead
from tracer.logs.json_fields import JsonFields
from tracer.logs.json_texts import json_texts
from tracer.logs.utf8 import read_utf8
from tracer.logs.xml_events import xml_events
from tracer.raw.columns import HEADER, JSON_FIELDS, PAYLOAD, SPELLINGS, XML_SYSTEM
from tracer.raw.positions import by_position
from tracer.raw.tracerpt import csv_records

__all__ = ["FORMS"]

Form = Callable[[Path, int, Diagnostics], Iterator[pa.Table]]
_SPELT = [name for names in SPELLINGS.values() for name in names]


def _json(path: Path, size: int, diagnostics: Diagnostics) -> Iterator[pa.Table]:
    """Yield the records of JSON objects."""

    def tables() -> Iterator[pa.Table]:
        with closing(JsonFields(JSON_FIELDS, diagnostics)) as parser:
            for texts in json_texts(read_utf8(path, diagnostics, size), diagnostics):
                yield parser.table(texts)

    for table in work_ahead(tables):
        yield by_position(table, diagnostics)


def _xml(path: Path, size: int, diagnostics: Diagnostics) -> Iterator[pa.Table]:
    """Yield the records of elements Event."""
    pieces = read_utf8(path, diagnostics, size)
    for table in xml_events(pieces, [*HEADER, *_SPELT], diagnostics, XML_SYSTEM):
        columns = [table[name] for name in HEADER]
        for name in PAYLOAD:
            spelt = [table[one] for one in SPELLINGS[name.lower()]]
            columns.append(spelt[0] if len(spelt) == 1 else pc.coalesce(*spelt))
        yield pa.table([*columns, table["offset"]], names=[*HEADER, *PAYLOAD, "offset"])


def _csv(path: Path, size: int, diagnostics: Diagnostics) -> Iterator[pa.Table]:
    """Yield the records of tracerpt's CSV."""
    for table in csv_records(read_utf8(path, diagnostics, size), diagnostics):
        yield by_position(table, diagnostics)


FORMS: Mapping[str, Form] = {
    "etw-json": _json,
    "etw-xml": _xml,
    "etw-csv": _csv,
}  # RAW_ETW of tracer.sources.kinds
