"""The columns `host` and `capture` of dataset answers: each capture owns a range of ids, so ids identify it."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from analysis.dataset.members import Member
from analysis.engine.columns import KINDS, LABELS, kind_of_id

__all__ = ["label_batches", "label_rows"]


def label_rows(rows: pa.Table, members: Sequence[Member]) -> pa.Table:
    """Return the rows with LABELS as first columns; rows without ids, or with LABELS already, stay as they are."""
    columns = _telling(rows.schema)
    if not columns:
        return rows
    batches = [_labelled(batch, columns, members) for batch in rows.to_batches()]
    return pa.Table.from_batches(batches, schema=_schema(rows.schema))


def label_batches(rows: pa.RecordBatchReader, members: Sequence[Member]) -> pa.RecordBatchReader:
    """Return a stream with LABELS as first columns; see `label_rows`."""
    columns = _telling(rows.schema)
    if not columns:
        return rows

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in rows:
            yield _labelled(batch, columns, members)

    return pa.RecordBatchReader.from_batches(_schema(rows.schema), batches())


def _telling(schema: pa.Schema) -> list[tuple[int, str]]:
    """Return position and kind of the columns with ids, the most reliable kind first."""
    if any(label in schema.names for label in LABELS):
        return []
    kinds = [
        (place, kind_of_id(field.name))
        for place, field in enumerate(schema)
        if pa.types.is_integer(field.type) or pa.types.is_decimal(field.type)
    ]
    id_columns = [(place, kind) for place, kind in kinds if kind is not None]
    return sorted(id_columns, key=lambda item: (KINDS.index(item[1]), item[0]))


def _schema(schema: pa.Schema) -> pa.Schema:
    return pa.schema([*(pa.field(label, pa.string()) for label in LABELS), *schema])


def _labelled(
    batch: pa.RecordBatch, columns: Sequence[tuple[int, str]], members: Sequence[Member]
) -> pa.RecordBatch:
    found = np.full(batch.num_rows, -1)
    for place, kind in columns:
        open_rows = np.flatnonzero(found < 0)
        if not len(open_rows):
            break
        ids = batch.column(place).cast(pa.int64()).take(pa.array(open_rows))
        has_id = np.asarray(ids.is_valid())
        numbers = np.asarray(ids.fill_null(0))
        first = np.array([member.first[kind] for member in members])
        found[open_rows[has_id]] = np.searchsorted(first, numbers[has_id], side="right") - 1
    places = pa.array(found, mask=found < 0)
    labels = [
        pa.array([getattr(member, label) for member in members], pa.string()).take(places) for label in LABELS
    ]
    return pa.RecordBatch.from_arrays([*labels, *batch.columns], schema=_schema(batch.schema))
