"""Event logs as JSON, in any collector's shape: each record goes to the adapter of its provider."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.diagnostics import Diagnostics
from tracer.logs.field_paths import EVENT_FIELDS
from tracer.logs.json_fields import JsonFields
from tracer.logs.json_texts import json_texts
from tracer.logs.utf8 import read_utf8
from tracer.named.context import NamedContext
from tracer.named.rows import NamedRows
from tracer.named.sysmon import is_sysmon, sysmon_rows
from tracer.sources.inputs import SourceFile

__all__ = ["event_rows", "json_rows"]

_ADAPTERS = ((is_sysmon, sysmon_rows),)


def json_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the registry operations of a log whose records are JSON objects.

    Args:
        file: the log.
        size: bytes to read.
        context: what all files share.
        diagnostics: counts what is no registry operation, and what cannot be read.
    """
    paths = {name: (*context.options.fields.get(name, ()), *ours) for name, ours in EVENT_FIELDS.items()}
    parser = JsonFields(paths, diagnostics)
    try:
        for texts in json_texts(read_utf8(file.path, diagnostics, size), diagnostics):
            yield from event_rows(parser.table(texts), context, diagnostics)
    finally:
        parser.close()


def event_rows(fields: pa.Table, context: NamedContext, diagnostics: Diagnostics) -> Iterator[NamedRows]:
    """Yield the rows of events, given their fields (`EVENT_FIELDS`, and `offset`), each by the adapter of its provider."""
    rest = np.ones(fields.num_rows, bool)
    for choose, rows_of in _ADAPTERS:
        mine = choose(fields) & rest
        rest &= ~mine
        if mine.any():
            some = fields.filter(pa.array(mine))
            of_registry = context.of_host(some, some["Computer"], diagnostics)
            yield from rows_of(of_registry, context, diagnostics)
    others = np.flatnonzero(rest)
    if len(others):
        first = pc.min(fields["offset"].take(pa.array(others))).as_py()
        diagnostics.count("log_other_records", len(others), offset=first)
