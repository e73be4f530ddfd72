"""Contents of values by column: rows of answers in batches, and values as text."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from tracer.registry.values import decode_value

__all__ = ["OWN", "by_batch", "value_texts"]

OWN = ("own_type", "own_size", "own_data")  # type, size and data of the event by which a value is known
_ROWS = 65_536


def by_batch(
    rows: pa.Table,
    names: Sequence[str],
    function: Callable[[dict[str, pa.Array]], dict[str, pa.Array]],
) -> pa.Table:
    """Return a table of the columns `names`; `function` makes them from batches of rows."""
    batches = rows.combine_chunks().to_batches(max_chunksize=_ROWS)
    if not batches:
        batches = [pa.RecordBatch.from_pylist([], rows.schema)]
    made = [function(dict(zip(rows.schema.names, batch.columns, strict=True))) for batch in batches]
    return pa.Table.from_batches([pa.RecordBatch.from_pydict({n: one[n] for n in names}) for one in made])


def value_texts(kind: pa.Array, data: pa.Array, size: pa.Array) -> pa.Array:
    """Return values as text (`tracer.registry.values.decode_value`); NULL where nothing is known."""
    seen: dict[tuple[int | None, bytes | None, int | None], str | None] = {(None, None, None): None}
    texts = []
    for value in zip(kind.to_pylist(), data.to_pylist(), size.to_pylist(), strict=True):
        if value not in seen:
            number, content_, length = value
            # Nothing was captured of what has no bytes because there is nothing.
            seen[value] = decode_value(number, b"" if content_ is None and length == 0 else content_, length)
        texts.append(seen[value])
    return pa.array(texts, pa.string())
