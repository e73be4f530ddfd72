"""Event logs as JSON or XML, in any collector's shape: each record goes to the adapter of its provider."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.diagnostics import Diagnostics
from tracer.logs.ahead import map_ahead, work_ahead
from tracer.logs.field_paths import CONDITIONS, EVENT_FIELDS, RARE_FIELDS, FieldPaths
from tracer.logs.json_fields import JsonFields
from tracer.logs.json_texts import JsonTexts, json_texts
from tracer.logs.nested_fields import NESTED, with_nested
from tracer.logs.utf8 import read_utf8
from tracer.logs.xml_events import xml_events
from tracer.named.context import NamedContext
from tracer.named.rows import NamedRows
from tracer.named.security import is_security, security_rows
from tracer.named.sysmon import is_sysmon, sysmon_rows
from tracer.sources.inputs import SourceFile

__all__ = ["event_rows", "evtx_rows", "json_rows", "xml_rows"]

_ADAPTERS = ((is_sysmon, sysmon_rows), (is_security, security_rows))


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
    paths = {**_paths(context), **RARE_FIELDS}
    texts = json_texts(read_utf8(file.path, diagnostics, size), diagnostics)
    with (
        closing(JsonFields(paths, diagnostics, CONDITIONS)) as parser,
        closing(map_ahead(parser.table, texts)) as tables,  # its threads end before others get the engines
    ):
        for fields in tables:
            yield from event_rows(with_nested(fields), context, diagnostics)


def xml_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the registry operations of a log whose records are XML elements; arguments as for `json_rows`."""
    for fields in xml_events(
        read_utf8(file.path, diagnostics, size),
        [*EVENT_FIELDS, *(RARE_FIELDS.keys() - {NESTED})],
        diagnostics,
    ):
        yield from event_rows(fields, context, diagnostics)


def evtx_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the registry operations of a Windows event log (.evtx); arguments as for `json_rows`."""
    from tracer.evtx.reader import EvtxReader

    reader = EvtxReader(file.path, file.shown, diagnostics, size=size)

    def tables() -> Iterator[pa.Table]:
        with (
            closing(JsonFields(_paths(context), diagnostics, CONDITIONS)) as parser,
            closing(reader.batches()) as batches,
        ):
            for batch in batches:
                texts = JsonTexts(
                    pa.chunked_array([batch["json"].cast(pa.string())]), batch["offset"].to_numpy()
                )
                nothing = pa.nulls(batch.num_rows, pa.string())
                table = parser.table(texts)
                for name in RARE_FIELDS.keys() - {NESTED}:
                    table = table.append_column(name, nothing.slice(0, table.num_rows))
                yield table

    for fields in work_ahead(tables):
        yield from event_rows(fields, context, diagnostics)
    context.facts |= reader.facts
    context.losses += [
        {
            "kind": "damage",
            "count": loss.size_bytes,
            "from_ns": loss.from_ns,
            "to_ns": loss.to_ns,
            "cpu": None,
            "evidence": f"offset 0x{loss.offset:X}: {loss.reason}",
        }
        for loss in reader.losses
    ]


def _paths(context: NamedContext) -> FieldPaths:
    """Return the paths of each field, the user's before ours."""
    return {name: (*context.options.fields.get(name, ()), *ours) for name, ours in EVENT_FIELDS.items()}


def event_rows(fields: pa.Table, context: NamedContext, diagnostics: Diagnostics) -> Iterator[NamedRows]:
    """Yield the rows of events, given their fields (`EVENT_FIELDS`, `RARE_FIELDS` and `offset`), each by the adapter of its provider."""
    rest = np.ones(fields.num_rows, bool)
    for choose, rows_of in _ADAPTERS:
        mine = choose(fields) & rest
        rest &= ~mine
        if mine.any():
            some = fields if mine.all() else fields.filter(pa.array(mine))
            yield from context.rows_of_host(some, some["Computer"], rows_of, diagnostics)
    others = np.flatnonzero(rest)
    if len(others):
        first = pc.min(fields["offset"].take(pa.array(others))).as_py()
        diagnostics.count("log_other_records", len(others), offset=first)
