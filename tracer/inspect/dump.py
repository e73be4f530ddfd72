"""Dump: every record of a trace before resolution, in time order, with the fields of the known payloads.

One record, one row, nothing left out: header facts as columns, known payloads under their manifest or MOF
names, and the raw bytes of every payload that its fields do not account for to the last byte.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tracer.decode.layouts import LAYOUTS, Layout, find_layout
from tracer.decode.payload import COUNT_NAMES, Value, decode_payload
from tracer.diagnostics import Diagnostics
from tracer.errors import UsageError
from tracer.etl.headers import header_name
from tracer.etl.providers import PROVIDER_NAMES
from tracer.etl.reader import EtlReader
from tracer.etl.records import Records

__all__ = ["dump", "dump_schema", "find_provider"]

_ROWS = 1 << 14  # rows a table: what stands in memory decoded at once

_HEADER_COLUMNS = (
    pa.field("offset", pa.int64()),
    pa.field("header_type", pa.string()),
    pa.field("provider", pa.string()),
    pa.field("id", pa.int32()),
    pa.field("opcode", pa.int16()),
    pa.field("version", pa.int16()),
    pa.field("cpu", pa.int16()),
    pa.field("pid", pa.int64()),
    pa.field("tid", pa.int64()),
    pa.field("time_ns", pa.int64()),
)
_TYPES = {
    "u8": pa.uint8(),
    "u16": pa.uint16(),
    "u32": pa.uint32(),
    "psize": pa.uint32(),
    "i64": pa.int64(),
    "u64": pa.uint64(),
    "filetime": pa.uint64(),
    "ptr": pa.uint64(),
    "captured": pa.binary(),
}  # everything else is text
_GUID = re.compile(r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?", re.IGNORECASE)
_STAND_IN = re.compile(r"hook-group-0x[0-9a-f]{2}|wpp-message|error-record")


def find_provider(word: str) -> str:
    """Return the provider a user's word names, as the column `provider` has it.

    Accepts a GUID (any case, with or without braces), the name of a known provider, or what stands for
    a provider in the column (hook-group-0x05, wpp-message).

    Raises:
        UsageError: it is none of these.
    """
    found = _GUID.fullmatch(word.strip())
    if found:
        return found[1].lower()
    lowered = word.strip().lower()
    for guid, name in PROVIDER_NAMES.items():
        if lowered == name.lower():
            return guid
    if _STAND_IN.fullmatch(lowered):
        return lowered
    known = ", ".join(PROVIDER_NAMES.values())
    raise UsageError(f"{word!r} names no provider; give its GUID, or one of: {known}")


def dump_schema(providers: Sequence[str] | None = None, *, sources: int = 1) -> pa.Schema:
    """Return the columns of a dump: the header's, then every field the chosen providers may have.

    Args:
        providers: as the column `provider` has them; None for all.
        sources: number of files read; with several, the first column says which (`source`, from 0).
    """
    fields: dict[str, pa.DataType] = {}
    for layout in LAYOUTS.values():
        if providers is not None and layout.provider not in providers:
            continue
        for field in layout.fields:
            if field.kind == "captured":
                fields[COUNT_NAMES[field.name]] = pa.uint16()
            kind = _TYPES.get(field.kind, pa.string())
            before = fields.get(field.name)
            # A name with two widths in different records gets the wider one.
            if before is None or (pa.types.is_integer(kind) and kind.bit_width > before.bit_width):
                fields[field.name] = kind
    first = [pa.field("source", pa.int16())] if sources > 1 else []
    known = [pa.field(name, kind) for name, kind in fields.items()]
    return pa.schema([*first, *_HEADER_COLUMNS, *known, pa.field("payload", pa.binary())])


def dump(
    paths: Sequence[Path],
    *,
    providers: Sequence[str] | None = None,
    diagnostics: Sequence[Diagnostics] | None = None,
) -> Iterator[pa.Table]:
    """Yield every record of one or several .etl files in time order, as tables of `dump_schema`.

    id is NULL for classic events, pid and tid where the header has none. Text is escaped
    (`tracer.registry.text`). `payload` holds the raw bytes where the payload is unknown, or where its fields do
    not account for all of them; else NULL.

    Args:
        paths: the files; several are merged by time.
        providers: only records of these (see `find_provider`); None for all.
        diagnostics: one for each file, to count what is odd; None to count nowhere.

    Raises:
        SourceError: a file is no .etl file.
        UsageError: a word in `providers` names no provider.
    """
    wanted = None if providers is None else [find_provider(word) for word in providers]
    schema = dump_schema(wanted, sources=len(paths))
    with EtlReader(paths, diagnostics or [Diagnostics() for _ in paths]) as reader:
        for records in reader:
            order = records.order
            if wanted is not None:
                chosen = [number for number, name in enumerate(reader.providers) if name in wanted]
                order = order[np.isin(records.provider[order], chosen)]
            for at in range(0, len(order), _ROWS):
                yield _table(records, order[at : at + _ROWS], reader.providers, schema)


def _table(records: Records, rows: np.ndarray, names: Sequence[str], schema: pa.Schema) -> pa.Table:
    kinds = np.unique(records.kind[rows])
    header_types = pa.DictionaryArray.from_arrays(
        pa.array(np.searchsorted(kinds, records.kind[rows]), pa.int32()), [header_name(int(k)) for k in kinds]
    )
    providers = pa.DictionaryArray.from_arrays(pa.array(records.provider[rows], pa.int32()), list(names))
    columns: dict[str, pa.Array] = {
        "source": pa.array(records.source[rows], pa.int16()),
        "header_type": header_types.cast(pa.string()),
        "provider": providers.cast(pa.string()),
    }
    for name in ("offset", "opcode", "version", "cpu", "time_ns"):
        columns[name] = pa.array(getattr(records, name)[rows], schema.field(name).type)
    for name in ("id", "pid", "tid"):
        values = getattr(records, name)[rows]
        columns[name] = pa.array(values, schema.field(name).type, mask=values < 0)
    for name, cells in _payloads(records, rows, names).items():
        values = [None] * len(rows)
        for row, value in cells:
            values[row] = value
        columns[name] = pa.array(values, schema.field(name).type)
    arrays = [
        columns[field.name] if field.name in columns else pa.nulls(len(rows), field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _payloads(records: Records, rows: np.ndarray, names: Sequence[str]) -> dict[str, list[tuple[int, Value]]]:
    """Return the payload fields of the rows: name -> (place among the rows, value); absent ones left out."""
    layouts: dict[tuple[int, int, int], tuple[Layout | None, bool]] = {}
    cells: dict[str, list[tuple[int, Value]]] = {"payload": []}
    raw = records.raw.data
    events = np.where(records.id[rows] >= 0, records.id[rows], records.opcode[rows])
    facts = zip(
        records.provider[rows].tolist(),
        events.tolist(),
        records.version[rows].tolist(),
        records.payload[rows].tolist(),
        records.end[rows].tolist(),
        records.pointer_size[rows].tolist(),
        strict=True,
    )
    for row, (provider, event, version, start, end, pointer_size) in enumerate(facts):
        key = (provider, event, version)
        if key not in layouts:
            layouts[key] = find_layout(names[provider], event, version)
        layout, exact = layouts[key]
        payload = bytes(raw[start:end])
        if layout is not None:
            found = decode_payload(layout, payload, pointer_size, prefix=not exact)
            for name, value in found.fields.items():
                if value is not None:
                    cells.setdefault(name, []).append((row, value))
            if found.used == len(payload) and not found.odd and not found.short:
                continue
        cells["payload"].append((row, payload))
    return cells
