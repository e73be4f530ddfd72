"""Long timelines, read one range of `sequence` after another, so that no engine sorts all rows in memory.

The parts of a capture follow each other in `sequence`, so each is sorted by itself and the whole is in order.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from analysis.engine.relation import Relation, identifier
from analysis.filters import Filters

if TYPE_CHECKING:
    from analysis.questions.context import QueryContext

__all__ = ["ranges", "stream_ranges"]

_MANY_ROWS = 100_000  # fewer are sorted at once: every range costs a query
_RANGE_ROWS = 40_000  # a quarter of a part; with all names joined some 50 MiB while it is sorted


def ranges(context: "QueryContext", filters: Filters) -> list[tuple[int, int]]:
    """Return first and last `sequence` of each range of a long timeline; no range for a short timeline.

    Args:
        context: one or several captures; several have no parts that follow each other.
        filters: what the timeline is of.
    """
    parts = context.manifest.parts
    if len(context.stores) > 1 or not context.has_many_rows(filters, _MANY_ROWS):
        return []
    found = sorted((part["first_sequence"], part["last_sequence"]) for part in parts)
    if any(last >= first for (_, last), (first, _) in itertools.pairwise(found)):
        return []
    return [
        (begin, min(begin + _RANGE_ROWS - 1, last))
        for first, last in found
        for begin in range(first, last + 1, _RANGE_ROWS)
    ]


def stream_ranges(
    context: "QueryContext",
    rows: Relation,
    found: Sequence[tuple[int, int]],
    columns: Sequence[str],
    batch_rows: int,
) -> pa.RecordBatchReader:
    """Return rows by `sequence`, as a stream that holds one range at a time.

    Args:
        context: whose engine reads.
        rows: event rows in no order.
        found: what `ranges` returned.
        columns: what to return.
        batch_rows: rows of a batch.
    """
    sql = rows.select(*dict.fromkeys([*columns, "sequence"])).sql
    listed = ", ".join(map(identifier, columns))

    def of(first: int, last: int) -> pa.RecordBatchReader:
        asked = f"SELECT {listed} FROM ({sql}) WHERE sequence BETWEEN {first} AND {last} ORDER BY sequence"
        return context.engine.stream(asked, batch_rows)

    start = of(*found[0])

    def batches() -> Iterator[pa.RecordBatch]:
        yield from start
        for each in found[1:]:
            yield from of(*each)

    return pa.RecordBatchReader.from_batches(start.schema, batches())
