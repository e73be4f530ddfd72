"""Fields that a record has as a list of names and texts, or as XML in a string: converters of XML write events so.

These records are few or a whole log; each is looked at by itself, so only those come here whose fields are in no
usual place.
"""

import json
import re
from collections.abc import Iterator
from xml.sax.saxutils import unescape

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.columns.arrays import from_texts
from tracer.registry.text import escape_name

__all__ = ["NESTED", "with_nested"]

NESTED = "Nested"  # the column that holds such a list or string
_DATA = re.compile(r"""<Data\s+Name=(?:"([^"]*)"|'([^']*)')\s*(?:/>|>([^<]*)</Data>)""")
_MORE = {"&quot;": '"', "&apos;": "'", "&#xD;": "\r", "&#xA;": "\n", "&#13;": "\r", "&#10;": "\n"}
_NAMES = ("@Name", "Name", "name", "-Name", "_Name")
_TEXTS = ("#text", "text", "Value", "value", "content", "$", "_text", "@Value")
_MOST_DEPTH = 12


def with_nested(fields: pa.Table) -> pa.Table:
    """Return the fields without the column NESTED, and with what it says where a field was NULL.

    Args:
        fields: text columns, among them NESTED: NULL, or JSON or XML with the event's data.
    """
    nested = fields[NESTED].combine_chunks()
    fields = fields.drop_columns([NESTED])
    rows = pc.indices_nonzero(nested.is_valid())
    if not len(rows):
        return fields
    found = [dict(_pairs(text)) for text in nested.take(rows).to_pylist()]
    mask = pa.array(np.isin(np.arange(fields.num_rows), rows.to_numpy()))
    for name in {name for each in found for name in each} & set(fields.column_names) - {"offset"}:
        column = fields[name].combine_chunks()
        old = column.take(rows).to_pylist()
        texts = [was if was is not None else each.get(name) for was, each in zip(old, found, strict=True)]
        place = fields.column_names.index(name)
        fields = fields.set_column(place, name, pc.replace_with_mask(column, mask, from_texts(texts)))
    return fields


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield names and texts."""
    if text.lstrip().startswith("<"):
        for double, single, content in _DATA.findall(text):
            yield double or single, escape_name(unescape(content, _MORE))
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from _walk(value, _MOST_DEPTH)


def _walk(value: object, depth: int) -> Iterator[tuple[str, str]]:
    if depth and isinstance(value, list):
        for item in value:
            yield from _walk(item, depth - 1)
    elif depth and isinstance(value, dict):
        attributes = value.get("#attributes")
        named = value | attributes if isinstance(attributes, dict) else value
        name = next((named[one] for one in _NAMES if isinstance(named.get(one), str)), None)
        content = next((named[one] for one in _TEXTS if isinstance(named.get(one), str | int)), None)
        if name is not None:
            if content is not None:
                yield name, escape_name(str(content))
            return
        for item in value.values():
            yield from _walk(item, depth - 1)
    elif isinstance(value, str) and value.lstrip().startswith("<"):
        yield from _pairs(value)
