"""Payloads whose values come without names, in the order of the layout: `Properties` of Get-WinEvent, tracerpt's CSV."""

import json
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.columns.arrays import from_texts
from tracer.decode.layouts import LAYOUTS, Layout
from tracer.diagnostics import Diagnostics
from tracer.raw.columns import COLUMN, payload_names
from tracer.raw.identity import UNKNOWN, Identity, identify
from tracer.registry.text import escape_name, unescape_name

__all__ = ["by_position"]


def by_position(records: pa.Table, diagnostics: Diagnostics) -> pa.Table:
    """Return the records with the values of their column `@fields` under the names of the layout.

    A list that cannot be read is counted (`raw_odd_list`); the record stays, without fields.
    """
    listed = np.flatnonzero(records["@fields"].is_valid().to_numpy())
    if not len(listed):
        return records
    kinds, place = identify(records)
    texts = records["@fields"].take(pa.array(listed)).to_pylist()
    columns: dict[str, list[str | None]] = {}
    for row, text in zip(listed.tolist(), texts, strict=True):
        kind = kinds[place[row]]
        if kind is None:
            continue
        values = _values(text)
        if values is None:
            diagnostics.count("raw_odd_list", offset=records["offset"][row].as_py())
            continue
        for name, value in zip(_names(kind, len(values)), values, strict=False):
            if name not in columns:
                columns[name] = [None] * records.num_rows
            columns[name][row] = value
    for name, cells in columns.items():
        merged = pc.coalesce(from_texts(cells), records[name].combine_chunks())
        records = records.set_column(records.column_names.index(name), name, merged)
    return records


@lru_cache(4096)
def _names(kind: Identity, count: int) -> tuple[str, ...]:
    """Return the columns of the fields of a record that has so many values; empty where its layout is not known."""
    layout = _layout(kind, count)
    return () if layout is None else tuple(COLUMN[name] for name in payload_names(layout))


def _layout(kind: Identity, count: int) -> Layout | None:
    """Return the layout of the version that is stated; else the newest that has as many fields, or no more."""
    versions = {
        version: layout
        for (provider, id_, version), layout in LAYOUTS.items()
        if (provider, id_) == (kind.provider, kind.id)
    }
    if kind.version != UNKNOWN and kind.version in versions:
        return versions[kind.version]
    fitting = [version for version in versions if len(payload_names(versions[version])) <= count]
    if kind.version != UNKNOWN or not fitting:
        return versions[max(versions)] if versions else None
    return versions[max(fitting)]


def _values(text: str) -> list[str | None] | None:
    try:
        items = json.loads(unescape_name(text), strict=False)  # an unescaped NUL is a control character
    except (ValueError, RecursionError):
        return None
    if not isinstance(items, list):
        return None
    return [_text(item.get("Value") if isinstance(item, dict) else item) for item in items]


def _text(value: object) -> str | None:
    if isinstance(value, dict) and isinstance(
        value.get("value"), list
    ):  # how Windows PowerShell writes an array
        value = value["value"]
    if value is None or isinstance(value, str):
        return None if value is None else escape_name(value)
    return json.dumps(value)
