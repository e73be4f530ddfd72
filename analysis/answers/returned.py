"""Rows of answers in batches of columns."""

from collections.abc import Callable, Sequence

import pyarrow as pa

__all__ = ["OWN", "by_batch"]

OWN = ("own_type", "own_size", "own_data")  # type, size and data of the event by which a value is known
_ROWS = 65_536


def by_batch(
    rows: pa.Table,
    names: Sequence[str],
    function: Callable[[dict[str, pa.Array]], dict[str, pa.Array]],
) -> pa.Table:
    """Return a table of the columns `names`; `function` makes them from batches of rows."""
    batches = rows.to_batches(max_chunksize=_ROWS)
    if not batches:
        batches = [pa.RecordBatch.from_pylist([], rows.schema)]
    made = [function(dict(zip(rows.schema.names, batch.columns, strict=True))) for batch in batches]
    return pa.Table.from_batches([pa.RecordBatch.from_pydict({n: one[n] for n in names}) for one in made])
