"""Forms of text that decoded records come in, by the kind of a file: each yields tables of `tracer.raw.columns`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from tracer.diagnostics import Diagnostics
from tracer.logs.ahead import work_ahead
from tracer.logs.json_fields import JsonFields
from tracer.logs.json_texts import json_texts
from tracer.logs.utf8 import read_utf8
from tracer.raw.columns import JSON_FIELDS
from tracer.raw.positions import by_position

__all__ = ["FORMS"]

Form = Callable[[Path, int, Diagnostics], Iterator[pa.Table]]


def _json(path: Path, size: int, diagnostics: Diagnostics) -> Iterator[pa.Table]:
    def tables() -> Iterator[pa.Table]:
        with closing(JsonFields(JSON_FIELDS, diagnostics)) as parser:
            for texts in json_texts(read_utf8(path, diagnostics, size), diagnostics):
                yield parser.table(texts)

    for table in work_ahead(tables):
        yield by_position(table, diagnostics)


FORMS: Mapping[str, Form] = {"etw-json": _json}
