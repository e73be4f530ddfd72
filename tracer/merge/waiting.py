"""Rows that become a part of other rows: they wait on the disk until the row that takes from them is written."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.schema import EVENTS

__all__ = ["WaitingRows", "write_waiting"]

Column = NDArray[np.int64]


class WaitingRows:
    """Rows on the disk, by the sequence of the row that takes from them."""

    def __init__(self, batches: list[pa.RecordBatch], sequence: Column) -> None:
        """Take the rows and, of each, the sequence that the row which takes from it has."""
        self._batches = batches
        self._order = np.argsort(sequence, kind="stable")
        self._sequence = sequence[self._order]
        self._ends = np.cumsum([batch.num_rows for batch in batches]).astype(np.int64)

    def take(self, begin: int, end: int) -> tuple[pa.Table, Column]:
        """Return the rows of sequences from `begin` up to and without `end`, and these sequences.

        Rows of one sequence stand in the order in which they were written.
        """
        some = slice(*np.searchsorted(self._sequence, [begin, end]).tolist())
        rows = self._order[some]
        of_batch = np.searchsorted(self._ends, rows, side="right")
        tables, places = [EVENTS.arrow().empty_table()], [np.zeros(0, np.int64)]
        for number in np.unique(of_batch).tolist():
            mine = np.flatnonzero(of_batch == number)
            batch = self._batches[number]
            first = int(self._ends[number]) - batch.num_rows
            tables.append(pa.Table.from_batches([batch.take(pa.array(rows[mine] - first))]))
            places.append(mine)
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables(tables).take(pa.array(back)), self._sequence[some]


@contextmanager
def write_waiting(path: Path, rows: Iterator[pa.Table]) -> Iterator[list[pa.RecordBatch]]:
    """Write rows to a file, and give its batches, which stay on the disk, for as long as the context lasts."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, EVENTS.arrow()) as out:
        for table in rows:
            if table.num_rows:
                out.write_table(table.combine_chunks(), max_chunksize=table.num_rows)
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        yield [reader.get_batch(number) for number in range(reader.num_record_batches)]
