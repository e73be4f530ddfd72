"""A member: one of the captures that are merged, with its rows in their own order."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tracer.columns.arrays import from_numbers, read_numbers
from tracer.columns.sorting import stable_argsort
from tracer.schema import EVENTS, TABLES
from tracer.store.manifest import Manifest
from tracer.store.reader import event_files, table_files

__all__ = ["Member", "RowStream"]


class Member:
    """One capture.

    Attributes:
        path: its folder.
        manifest: its manifest.
        rows: how many event rows it has; their sequences are 0 to rows - 1.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = Manifest.load(path)
        self.rows: int = sum(part["rows"] for part in self.manifest.parts)
        self._tables = table_files(path, self.manifest)

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a table other than `events`; without rows where the capture has none."""
        files = self._tables[name]
        if not files:
            empty = TABLES[name].arrow().empty_table()
            return empty if columns is None else empty.select(columns)
        return pq.read_table(files[0], columns=None if columns is None else list(columns))

    def slices(self, name: str) -> Iterator[pa.Table]:
        """Yield such a table a row group at a time."""
        for path in self._tables[name]:
            with pq.ParquetFile(path) as file:
                for number in range(file.num_row_groups):
                    yield file.read_row_group(number).cast(TABLES[name].arrow())

    def numbers_of(self, name: str, column: str) -> NDArray[np.int64]:
        """Return a column of numbers of such a table; -1 where it is NULL."""
        table = self.table(name, [column])
        return read_numbers(table[column].combine_chunks()).or_else(-1).astype(np.int64)

    def parts(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the parts of `events` with some columns, each in the order of `sequence`, which comes along."""
        for file in event_files(self.path, self.manifest):
            table = pq.read_table(file, columns=[*columns, *({"sequence"} - set(columns))])
            sequence = read_numbers(table["sequence"].combine_chunks()).values
            yield table.take(from_numbers(stable_argsort(sequence)))

    def numbers(self, name: str, unknown: int = -1) -> NDArray[np.int64]:
        """Return a column of numbers of all rows, in the order of `sequence`."""
        found = np.empty(self.rows, np.int64)
        first = 0
        for part in self.parts([name]):
            found[first : first + part.num_rows] = read_numbers(part[name].combine_chunks()).or_else(unknown)
            first += part.num_rows
        return found


class RowStream:
    """The rows of a member from the first to the last, a piece at a time; not more than a part waits in memory."""

    def __init__(self, member: Member) -> None:
        self._parts = member.parts(EVENTS.names)
        self._waiting: list[pa.Table] = []
        self._first = 0  # sequence of the first row that waits

    def take(self, end: int) -> pa.Table:
        """Return the next rows, up to and without the sequence `end`."""
        wanted, pieces = end - self._first, []
        while wanted > 0:
            if not self._waiting:
                self._waiting.append(next(self._parts).select(EVENTS.names).cast(EVENTS.arrow()))
            table = self._waiting.pop()
            pieces.append(table.slice(0, wanted))
            if table.num_rows > wanted:
                self._waiting.append(table.slice(wanted))
            wanted -= pieces[-1].num_rows
        self._first = max(self._first, end)
        return pa.concat_tables(pieces) if pieces else EVENTS.arrow().empty_table()
