"""Logs of several computers, taken apart once and kept on the disk: each capture of one computer reads its own records.

What is kept are records as text columns, before an adapter makes rows of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.diagnostics import Diagnostics
from tracer.named.rows import NamedRows
from tracer.sources.description import FileState

__all__ = ["KeptLog", "LogKeeper", "RowsOf"]

RowsOf = Callable[..., Iterator[NamedRows]]  # (records, context, diagnostics) -> their rows


@dataclass(frozen=True, slots=True)
class _Records:
    """Some records of one computer: one batch of the file.

    Attributes:
        batch: which batch of the log they are of.
        rows_of: makes rows of them.
        computer: as they spell it; None: they do not say.
        count: how many.
    """

    batch: int
    rows_of: RowsOf
    computer: str | None
    count: int


@dataclass(frozen=True, slots=True)
class KeptLog:
    """One log, taken apart.

    Attributes:
        diagnostics: what was counted on the way to the records.
        facts: what the log says of itself.
        losses: rows of the table `losses` without their `source_id`.
        state: of the file when reading began.
        sha256: of the file, in hex.
    """

    diagnostics: Diagnostics
    facts: dict[str, Any]
    losses: list[dict[str, Any]]
    state: FileState
    sha256: str
    _path: Path
    _records: list[_Records]

    def records(self, wants: Callable[[str | None], bool]) -> Iterator[tuple[RowsOf, pa.Table]]:
        """Yield the records of the computers that are wanted in the order of the log, and what makes rows of them."""
        if not self._records:
            return
        reader = pa.ipc.open_file(pa.memory_map(str(self._path)))
        mine = (
            (number, some)
            for number, some in enumerate(self._records)
            if some.computer is not None and wants(some.computer)
        )
        for (_, rows_of), pieces in groupby(mine, key=lambda one: (one[1].batch, one[1].rows_of)):
            batches = [reader.get_batch(number) for number, _ in pieces]
            table = pa.Table.from_batches(batches)
            yield rows_of, table if len(batches) == 1 else table.sort_by("offset")

    @property
    def computers(self) -> Iterator[tuple[str | None, int]]:
        """The computer of some records, as they spell it, and how many these are."""
        return ((some.computer, some.count) for some in self._records)


class LogKeeper:
    """Writes the records of one log."""

    def __init__(self, path: Path, say: Callable[[int], None]) -> None:
        """Take where to write, and what is told how many records there are, after every batch."""
        self._path, self._say = path, say
        self._records: list[_Records] = []
        self._batches = 0
        self._sink: pa.OSFile | None = None
        self._out: pa.ipc.RecordBatchFileWriter | None = None

    def keep(self, records: pa.Table, computer: pa.ChunkedArray, rows_of: RowsOf) -> None:
        """Keep records of a batch.

        Args:
            records: text columns, and `offset`.
            computer: of each record; NULL where it does not say.
            rows_of: makes rows of them.
        """
        encoded = computer.combine_chunks().dictionary_encode()
        names: list[str | None] = [*encoded.dictionary.to_pylist(), None]
        codes = pc.fill_null(encoded.indices, len(names) - 1).to_numpy(zero_copy_only=False)
        if self._out is None:
            self._sink = pa.OSFile(str(self._path), "wb")
            self._out = pa.ipc.new_file(self._sink, records.schema)
        for code in np.unique(codes).tolist():
            some = records.filter(pa.array(codes == code)).combine_chunks()
            self._out.write_table(some, max_chunksize=max(some.num_rows, 1))
            self._records.append(_Records(self._batches, rows_of, names[code], some.num_rows))
        self._batches += 1
        self._say(sum(some.count for some in self._records))

    def close(self) -> None:
        """End the file."""
        if self._out is not None and self._sink is not None:
            self._out.close()
            self._sink.close()  # Windows removes no file that is open

    def finish(
        self,
        diagnostics: Diagnostics,
        facts: dict[str, Any],
        losses: list[dict[str, Any]],
        state: FileState,
        sha256: str,
    ) -> KeptLog:
        """Return the log, with what `KeptLog` says of it; after `close`."""
        return KeptLog(diagnostics, facts, losses, state, sha256, self._path, self._records)
