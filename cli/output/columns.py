"""Text of columns whose type a format lacks: times, bytes, addresses, lists.

CSV, JSONL and tables share these rules; Parquet keeps the types and needs none of them.

* times: ISO-8601 with microseconds, ``Z`` for UTC, else the zone's offset; only what is shown changes;
* bytes: lower-case hex, two digits a byte, nothing between them;
* kernel addresses (the 64-bit columns named in ADDRESSES): ``0x`` and hex digits, because that is how
  debuggers write them and because spreadsheets and JavaScript round such numbers;
* all other integers stay integers; NULL stays NULL.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

import pyarrow as pa

__all__ = [
    "ADDRESSES",
    "hex_address",
    "host_cells",
    "is_text",
    "plain_batch",
    "plain_schema",
    "text_cells",
    "times_as_text",
]

ADDRESSES = frozenset(
    {
        # of a capture's tables
        "address",
        "event_key",
        "process_start_key",
        "stack",
        # of the records a dump shows
        "BaseObject",
        "DirectoryTableBase",
        "Hive",
        "KeyHandle",
        "KeyObject",
        "Notification",
        "PageDirectoryBase",
        "UniqueProcessKey",
    }
)

_MANY = 4096  # rows, from which loading NumPy pays


def hex_address(value: int) -> str:
    """Return a 64-bit pattern, given signed or unsigned, as text.

    >>> hex_address(-1)
    '0xffffffffffffffff'
    """
    return f"0x{value & 0xFFFFFFFFFFFFFFFF:x}"


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds untrusted text."""
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (hasattr(pa.types, "is_string_view") and pa.types.is_string_view(kind))
    )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema that `plain_batch` gives: integers, booleans, floats and text only."""
    return pa.schema([pa.field(field.name, _plain_type(field)) for field in schema])


def plain_batch(batch: pa.RecordBatch, zone: tzinfo = UTC) -> pa.RecordBatch:
    """Return `batch` with times, bytes, addresses and lists written as text; order and NULLs are kept."""
    arrays = [_plain(batch.column(index), field, zone) for index, field in enumerate(batch.schema)]
    return pa.RecordBatch.from_arrays(arrays, schema=plain_schema(batch.schema))


def _plain_type(field: pa.Field) -> pa.DataType:
    kind = _value_type(field.type)
    stays = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return kind if stays and not _is_address(field.name, kind) else pa.string()


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_address(name: str, kind: pa.DataType) -> bool:
    return name in ADDRESSES and bool(pa.types.is_uint64(kind) or pa.types.is_int64(kind))


def _plain(array: pa.Array, field: pa.Field, zone: tzinfo) -> pa.Array:
    kind = _value_type(field.type)
    if pa.types.is_dictionary(field.type):
        array = array.cast(kind)
    if _is_address(field.name, kind):
        return _texts([None if value is None else hex_address(value) for value in array.to_pylist()])
    if pa.types.is_timestamp(kind):
        return times_as_text(array, zone)
    if _is_bytes(kind):
        return _texts([None if value is None else value.hex() for value in array.to_pylist()])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _texts(
            [None if values is None else _list_as_text(values, field) for values in array.to_pylist()]
        )
    target = _plain_type(field)
    return array if array.type == target else array.cast(target)


def _is_bytes(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    )


def _list_as_text(values: Sequence[object], field: pa.Field) -> str:
    # Spaces, because a list in CSV must not look like more columns.
    if _is_address(field.name, field.type.value_type):
        return " ".join("" if value is None else hex_address(int(str(value))) for value in values)
    return " ".join("" if value is None else str(value) for value in values)


def _texts(values: Sequence[str | None]) -> pa.Array:
    return pa.array(values, pa.string())


def times_as_text(array: pa.Array, zone: tzinfo = UTC) -> pa.Array:
    """Return timestamps as ISO-8601 text with microseconds and an offset (Z for UTC)."""
    if array.type.unit != "us":
        array = array.cast(pa.timestamp("us", array.type.tz))
    if zone is UTC and len(array) > _MANY:
        return _many_times_as_text(array)
    texts: dict[int | None, str | None] = {None: None}
    for value in set(microseconds := array.view(pa.int64()).to_pylist()) - {None}:
        texts[value] = _local(value, zone)
    return _texts([texts[value] for value in microseconds])


def _many_times_as_text(array: pa.Array) -> pa.Array:
    """Return times (UTC) as text by NumPy, which writes a million in the time isoformat() writes fifty thousand."""
    import numpy as np

    from tracer.columns.arrays import to_numbers

    numbers = to_numbers(array.view(pa.int64())).view("datetime64[us]")
    texts = np.char.add(np.datetime_as_string(numbers, unit="us"), "Z").tolist()
    if array.null_count:
        return _texts(
            [text if known else None for text, known in zip(texts, array.is_valid().to_pylist(), strict=True)]
        )
    return _texts(texts)


def _local(microseconds: int, zone: tzinfo) -> str:
    seconds, rest = divmod(microseconds, 1_000_000)
    try:
        text = (
            datetime.fromtimestamp(seconds, zone).replace(microsecond=rest).isoformat(timespec="microseconds")
        )
    except (OverflowError, ValueError, OSError):  # a damaged clock: years that the calendar does not have
        import numpy as np

        return f"{np.datetime64(microseconds, 'us')}Z"
    return f"{text.removesuffix('+00:00')}Z" if zone is UTC else text


def text_cells(rows: pa.Table, name: str, *, zone: tzinfo = UTC) -> list[str]:
    """Return a column as text: "" for NULL, and for every row where the table has no such column."""
    if name not in rows.schema.names:
        return [""] * rows.num_rows
    cells: list[str] = []
    for batch in rows.select([name]).to_batches():
        values = plain_batch(batch, zone).column(0).to_pylist()
        cells += ["" if value is None else str(value) for value in values]
    return cells


def host_cells(rows: pa.Table) -> list[str]:
    """Return the host or capture of each row of a dataset; none for one capture.

    It is the host, or the capture's own name where several captures are of one host.
    """
    if not {"host", "capture"} <= set(rows.schema.names):
        return []
    hosts, captures = text_cells(rows, "host"), text_cells(rows, "capture")
    several = len(set(zip(hosts, captures, strict=True))) > len(set(hosts))
    return captures if several else hosts
