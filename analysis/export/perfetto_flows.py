"""Which read came next: of each write of a value, the first read of it by another process before the next write."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.engine.relation import Relation
from analysis.export.perfetto_events import Ints

if TYPE_CHECKING:
    from analysis.filters import Filters
    from analysis.questions.context import QueryContext

__all__ = ["Flows"]

# Names of values compare without case; of letters beyond ASCII only those that are spelled alike are taken for one, so that
# no arrow is wrong.
_SAME_VALUE = (
    "CASE WHEN bit_length(value_name) = 8 * length(value_name) THEN upper(value_name) ELSE value_name END"
)


class Flows:
    """The arrows of a trace; two numbers in memory for each."""

    def __init__(self, context: "QueryContext", filters: "Filters") -> None:
        """Find them; other filters than those of keys do not hide the writes between."""
        rows = context.rows(filters.of_keys())
        keys = context.relation("keys")
        query = f"""
            WITH used AS (
                SELECT e.sequence, k.same_as AS key, {_SAME_VALUE} AS value, e.process_id,
                       e.operation = 'SetValueKey' AS is_write
                FROM {rows.source} AS e JOIN {keys.source} AS k ON e.key_id = k.key_id
                WHERE e.value_name IS NOT NULL AND e.status = 0
                    AND e.operation IN ('SetValueKey', 'QueryValueKey', 'EnumerateValueKey')
            ), after AS (
                SELECT sequence, process_id, is_write, last_value(CASE WHEN is_write THEN sequence END IGNORE NULLS)
                       OVER (PARTITION BY key, value ORDER BY sequence ROWS UNBOUNDED PRECEDING) AS written
                FROM used
            )
            SELECT r.written, min(r.sequence) AS read
            FROM after AS r JOIN after AS w ON r.written = w.sequence
            WHERE NOT r.is_write AND r.process_id <> w.process_id
            GROUP BY r.written ORDER BY r.written
        """
        found = context.engine.fetch(Relation(query, (("written", "int64"), ("read", "int64"))))
        self._writes = found.column(0).to_numpy().astype(np.int64)
        reads = found.column(1).to_numpy().astype(np.int64)
        order = np.argsort(reads, kind="stable")
        self._reads, self._numbers = reads[order], order + 1

    def __len__(self) -> int:
        return len(self._writes)

    def of_writes(self, sequences: Ints) -> Ints:
        """Return the number of the arrow that begins at each row; 0 where none does."""
        places = np.minimum(np.searchsorted(self._writes, sequences), max(len(self._writes) - 1, 0))
        if not len(self._writes):
            return np.zeros(len(sequences), np.int64)
        return np.where(self._writes[places] == sequences, places + 1, 0)

    def of_reads(self, sequences: Ints) -> Ints:
        """Return the number of the arrow that ends at each row; 0 where none does."""
        if not len(self._reads):
            return np.zeros(len(sequences), np.int64)
        places = np.minimum(np.searchsorted(self._reads, sequences), len(self._reads) - 1)
        return np.where(self._reads[places] == sequences, self._numbers[places], 0)
