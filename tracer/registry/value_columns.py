"""Values by column: the type of each by name and its data as text, beside type, size and data, as Arrow arrays.

A capture repeats few contents many times, so each distinct one of many is decoded once.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

__all__ = [
    "FEW_ROWS",
    "FUNCTIONS",
    "distinct_rows",
    "makers_of",
    "map_rows",
    "names_with_texts",
    "raw_columns",
    "stored_names",
    "type_names",
    "value_meanings",
    "value_texts",
    "with_texts",
]

_SHORT = 512  # bytes of data that are worth remembering; longer data is decoded each time
_REMEMBERED = 20_000
FEW_ROWS = 5_000  # Arrow's functions take longer to load than so many rows, one by one
_Rows = TypeVar("_Rows", pa.Table, pa.RecordBatch)


class _Columns(NamedTuple):
    """The names of the columns of one value in the rows of an answer."""

    kind: str
    size: str
    data: str
    type_name: str
    text: str
    meaning: str
    key: str = "display_key"
    value_name: str = "value_name"


def _prefixed(prefix: str, key: str = "display_key") -> _Columns:
    kind, size, data, name, text, meaning = (
        f"{prefix}{name}" for name in ("type", "size", "data", "type_name", "text", "meaning")
    )
    return _Columns(kind, size, data, name, text, meaning, key)


_DATA = _Columns("data_type", "data_size", "data", "data_type_name", "data_text", "data_meaning")
_VALUES = (
    _DATA,
    _DATA._replace(key="last_change_key", value_name="last_change_value"),
    *map(_prefixed, ("previous_", "new_", "old_", "before_", "after_", "")),
    _prefixed("a_", "a_key"),
    _prefixed("b_", "b_key"),
)


def names_with_texts(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that `with_texts` gives rows with these columns.

    >>> names_with_texts(["pid", "data_type", "data_size", "data"])
    ('pid', 'data_type', 'data_type_name', 'data_size', 'data_text', 'data')
    >>> names_with_texts(["display_key", "value_name", "type", "size", "data"])[2:]
    ('type', 'type_name', 'size', 'text', 'meaning', 'data')
    """
    return _with_new(tuple(names))


def stored_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that rows need so that `with_texts` can make the columns `names`.

    >>> stored_names(["data_text", "pid"])
    ('data_type', 'data_size', 'data', 'pid')
    """
    needed: dict[str, None] = {}
    for name in names:
        made = next(
            (value for value in _VALUES if name in (value.type_name, value.text, value.meaning)), None
        )
        if made is None:
            needed[name] = None
            continue
        needed |= dict.fromkeys([made.kind, made.size, made.data])
        if name == made.meaning:
            needed |= dict.fromkeys([made.key, made.value_name])
    return tuple(needed)


def raw_columns(names: Sequence[str]) -> frozenset[str]:
    """Return the columns of bytes among these, beside which their text stands."""
    return frozenset(value.data for value in _values_of(names) if value.text in names)


def with_texts(rows: _Rows, columns: Sequence[str] | None = None) -> _Rows:
    """Return the rows with the type of each value by name (`data_type_name`) and its data as text (`data_text`).

    Each stands behind the number, or the size, that it is made of: `previous_text` behind `previous_size`, and so on. Rows
    that name key and value also have what well-known data means (`data_meaning`; `tracer.registry.decoders`).
    Columns that the rows have already stay as they are.

    Args:
        rows: rows of an answer.
        columns: the columns to return, of those; None for all.
    """
    schema = _schema(rows.schema, columns)
    makers = makers_of(rows.schema.names)
    made = [
        rows.column(name) if name in rows.schema.names else _by_chunk(rows, *makers[name])
        for name in schema.names
    ]
    return type(rows).from_arrays(made, schema=schema)


def makers_of(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return what the columns that `with_texts` adds to rows are made of: a function of FUNCTIONS, and its columns."""
    makers: dict[str, tuple[str, ...]] = {}
    for value in _values_of(names):
        makers[value.type_name] = ("type_name", value.kind)
        makers[value.text] = ("value_text", value.kind, value.data, value.size)
        makers[value.meaning] = ("value_meaning", value.key, value.value_name, value.kind, value.data)
    return makers


def type_names(kinds: pa.Array) -> pa.Array:
    """Return registry value types by name (`tracer.registry.values.type_name`); NULL for NULL."""
    from tracer.registry.values import type_name

    names = cache(type_name)
    return map_rows(lambda kind: None if kind is None else names(kind), kinds)


def value_texts(kinds: pa.Array, data: pa.Array, sizes: pa.Array) -> pa.Array:
    """Return values as text (`tracer.registry.values.decode_value`); NULL where neither data nor its size is known."""
    if data.null_count == len(data) and sizes.null_count == len(sizes):
        return pa.nulls(len(data), pa.string())
    return map_rows(_text, kinds, data, sizes)


def value_meanings(keys: pa.Array, value_names: pa.Array, kinds: pa.Array, data: pa.Array) -> pa.Array:
    """Return what well-known data means (`tracer.registry.decoders.data_meaning`); NULL where no decoder reads it."""
    if data.null_count == len(data):
        return pa.nulls(len(data), pa.string())
    from tracer.registry.decoders import data_meaning, may_fit_key, may_fit_value

    columns = (keys, value_names, kinds, data)
    if len(data) <= FEW_ROWS:
        return map_rows(data_meaning, *columns)
    import pyarrow.compute as pc

    # Few rows have a decoder; whether one may have is told once for each key and each name of a value.
    places = pc.indices_nonzero(data.is_valid())
    held = [column.take(places) for column in columns]
    fits = pc.or_(_whether(may_fit_key, held[0]), _whether(may_fit_value, held[1]))
    places = places.filter(fits)
    found = [data_meaning(*row) for row in _rows([column.filter(fits) for column in held])]
    return _spread(found, places, len(data))


def map_rows(function: Callable[..., str | None], *columns: pa.Array) -> pa.Array:
    """Return what a function makes of each row of some columns, as text; of many rows it is asked once for all alike.

    Args:
        function: gets a value of each column, None for NULL, and returns a text or None.
        columns: columns of the same length.
    """
    if len(columns[0]) <= FEW_ROWS:
        return pa.array([function(*row) for row in _rows(columns)], pa.string())
    distinct, places = distinct_rows(columns)
    return pa.array([function(*row) for row in _rows(distinct)], pa.string()).take(places)


def _rows(columns: Sequence[pa.Array]) -> Any:  # noqa: ANN401  (tuples of what the columns hold)
    return zip(*(column.to_pylist() for column in columns), strict=True)


def distinct_rows(columns: Sequence[pa.Array]) -> tuple[list[pa.Array], pa.Array]:
    """Return the distinct rows of some columns, and for each row which of them it is."""
    import pyarrow.compute as pc

    places, kept = None, []
    for column in columns:
        encoded = column.dictionary_encode()
        own = encoded.indices.cast("int64").fill_null(len(encoded.dictionary))
        values = pa.concat_arrays([encoded.dictionary, pa.nulls(1, column.type)])
        if places is None:
            places, kept = own, [values]
            continue
        # As many combinations as there are rows at most, so the products stay small.
        both = pc.add(pc.multiply(places, len(values)), own).dictionary_encode()
        before = pc.divide(both.dictionary, len(values))
        own = pc.subtract(both.dictionary, pc.multiply(before, len(values)))
        kept = [*(column.take(before) for column in kept), values.take(own)]
        places = both.indices.cast("int64")
    return kept, places


def _whether(tells: Callable[[str], bool], texts: pa.Array) -> pa.Array:
    """Return what a function says of each text, False for NULL; each distinct one is asked about once."""
    encoded = texts.dictionary_encode()
    said = pa.array([tells(text) for text in encoded.dictionary.to_pylist()], pa.bool_())
    return said.take(encoded.indices).fill_null(False)


def _spread(texts: Sequence[str | None], places: pa.Array, length: int) -> pa.Array:
    """Return a column of a length with texts at some places, in order, and NULL elsewhere."""
    column: list[str | None] = [None] * length
    for place, text in zip(places.to_pylist(), texts, strict=True):
        column[place] = text
    return pa.array(column, pa.string())


FUNCTIONS: dict[str, Callable[..., pa.Array]] = {
    "type_name": type_names,
    "value_text": value_texts,
    "value_meaning": value_meanings,
}


def _text(kind: int | None, data: bytes | None, size: int | None) -> str | None:
    if data is None and size is None:
        return None
    is_long = data is not None and len(data) > _SHORT
    return _decoded(kind, data, size) if is_long else _short_text(kind, data, size)


def _decoded(kind: int | None, data: bytes | None, size: int | None) -> str:
    from tracer.registry.values import decode_value  # every verb loads this module, few decode anything

    return decode_value(kind, data, size)


_short_text = lru_cache(_REMEMBERED)(_decoded)


@cache
def _with_new(names: tuple[str, ...]) -> tuple[str, ...]:
    after: dict[str, list[str]] = {}
    for value in _values_of(names):
        after[value.kind] = [value.type_name]
        last = value.text if value.text in names else value.size
        after[last] = [value.text] if last == value.size else []
        if {value.key, value.value_name} <= set(names):
            after[last].append(value.meaning)
    placed = [made for name in names for made in (name, *after.get(name, ()))]
    return tuple(dict.fromkeys(placed))


def _values_of(names: Sequence[str]) -> list[_Columns]:
    """Return the values whose type, size and data stand in columns of these names."""
    fitting = [value for value in _VALUES if {value.kind, value.size, value.data} <= set(names)]
    # Of two that have the same columns, the one whose key the rows name.
    named = [value for value in fitting if {value.key, value.value_name} <= set(names)]
    return list({value.data: value for value in (*fitting, *named)}.values())


def _schema(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    names = names_with_texts(schema.names) if columns is None else columns
    fields = [schema.field(name) if name in schema.names else pa.field(name, pa.string()) for name in names]
    return pa.schema(fields, schema.metadata)


def _by_chunk(rows: pa.Table | pa.RecordBatch, name: str, *names: str) -> pa.Array | pa.ChunkedArray:
    """Return what a function makes of columns; of a table as one chunk for each of its batches."""
    function = FUNCTIONS[name]
    if isinstance(rows, pa.RecordBatch):
        return function(*(rows.column(name) for name in names))
    made = [function(*(batch.column(name) for name in names)) for batch in rows.to_batches()]
    return pa.chunked_array(made, pa.string())
