"""A Procmon log as a source: facts of its header, its processes, and batches of event rows."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError
from tracer.pml.contents import Contents
from tracer.pml.events import HEAD, read_heads
from tracer.pml.header import HEADER_SIZE, LOG_START, Bytes, Header, read_header
from tracer.pml.index import CHUNK, EventIndex, index_events
from tracer.pml.names import KeyNames, KeyTreeLike, find_user_sid
from tracer.pml.processes import (
    Process,
    complete,
    process_table,
    read_processes,
)
from tracer.pml.rows import RowReader
from tracer.sources.machines import Machine

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PmlFile"]

_SIGNATURE = ("date", "thread", "operation", "result", "duration")


class PmlFile:
    """One Procmon log, read in place; in memory are one part of it and its distinct names.

    Attributes:
        facts: what the header says of machine and file (`tracer.pml.header.Header.facts`), and hkcu_sid: the
            SID whose hive the file's HKCU is, None if nothing in it says so.
    """

    def __init__(self, path: Path, diagnostics: Diagnostics) -> None:
        """Open the file and read it once, to find its operations, names and processes.

        Args:
            path: the log.
            diagnostics: where everything odd is counted.

        Raises:
            SourceError: it is no Procmon log, or nothing in it can be read.
        """
        self._diagnostics = diagnostics
        self._raw = _open(path)
        self._header: Header = read_header(self._raw, path)
        _refuse_joined(self._raw, self._header, path)
        self._index: EventIndex = index_events(self._raw, self._header, diagnostics)
        if not (self._index.events or self._header.is_empty):
            raise SourceError(
                f"{path} should hold {self._header.events} events, but none can be read from offset "
                f"0x{HEADER_SIZE:X} on; copy it again, or open it in Procmon and save it as PML."
            )
        answers = [name for _, name in self._index.answers]
        self._user_sid = find_user_sid(answers)
        self.facts: dict[str, object] = {**self._header.facts(), "hkcu_sid": self._user_sid}
        self._processes = self._read_processes()

    def machine(self, source: str) -> Machine:
        """Return the machine that the header describes; `source` is the name of the file in messages."""
        header = self._header
        return Machine(
            source,
            computer=header.computer_name or None,
            build=header.windows[2] or None,
            processors=header.processors or None,
            bits=8 * header.pointer_size,
        )

    def dates(self) -> NDArray[np.int64]:
        """Return the time of each operation, as FILETIMEs in their order."""
        return self._heads()["date"].astype(np.int64)

    def signatures(self, rows: NDArray[np.bool_]) -> set[tuple[int, ...]]:
        """Return a signature for each of these operations that is the same in every log of the machine."""
        heads = self._heads()
        return set(zip(*(heads[name][rows].tolist() for name in _SIGNATURE), strict=True))

    def leave_out(self, rows: NDArray[np.bool_]) -> None:
        """Leave these operations out of `batches`, because another log holds them."""
        index = self._index
        self._index = replace(index, offsets=index.offsets[~rows], paths=index.paths[~rows])

    def _heads(self) -> NDArray[np.void]:
        heads = np.empty(len(self._index.offsets), HEAD)
        for start in range(0, len(heads), CHUNK):
            offsets = self._index.offsets[start : start + CHUNK]
            self._raw.load(offsets)
            heads[start : start + CHUNK] = read_heads(self._raw, offsets)
        return heads

    def processes(self, source_id: int, first_process_id: int) -> "pa.Table":
        """Return the file's processes as rows of the table `processes`, numbered from `first_process_id`.

        Processes that events name but nothing describes are rows too (source none), so that what one of
        them did stays together.
        """
        return process_table(self._processes, source_id, first_process_id)

    def batches(
        self, tree: KeyTreeLike, *, source_id: int, first_process_id: int, first_sequence: int
    ) -> Iterator["pa.RecordBatch"]:
        """Yield every registry operation as a row of the table `events`, in the order of time.

        Args:
            tree: where keys get their key_id (`tracer.resolve.tree.KeyTree`).
            source_id: position of this file among the sources.
            first_process_id: the number given to `processes`.
            first_sequence: sequence of the first row.
        """
        names = KeyNames(self._index.texts, self._index.is_key, tree=tree, user_sid=self._user_sid)
        indexes = np.array([process.index for process in self._processes], np.uint32)
        reader = RowReader(self._raw, self._header, self._index, names, indexes, self._diagnostics)
        yield from reader.batches(
            source_id=source_id, first_process_id=first_process_id, first_sequence=first_sequence
        )
        self._diagnostics.count("pml_user_unknown", len(names.below_unknown_user))

    def _read_processes(self) -> list[Process]:
        processes, unknown = complete(
            read_processes(self._raw, self._header, self._diagnostics),
            used=self._index.processes.tolist(),
            births=self._index.births,
            exits=self._index.exits,
        )
        self._diagnostics.count("pml_unknown_process", unknown)
        return processes


def _refuse_joined(raw: Bytes, header: Header, path: Path) -> None:
    """Refuse a file in which another log follows the first one: it would be ignored silently."""
    tables = HEADER_SIZE <= header.strings_at < len(raw)
    at = raw.find(LOG_START, header.strings_at) if tables else -1
    if at >= 0 and len(raw) - at >= HEADER_SIZE:
        raise SourceError(
            f"{path}: a further Procmon log begins at offset 0x{at:X}: logs were joined into one file; "
            "give each log as its own file."
        )


def _open(path: Path) -> Contents:
    contents = Contents(path)
    if not len(contents):
        raise SourceError(f"{path} is empty (0 bytes); copy it again from where it was recorded.")
    return contents
