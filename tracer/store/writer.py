"""The writer of a capture: writes into a workspace beside it, and renames it into place at the end.

So a capture is there whole or not at all, and several runs for one place do not see each other; a killed run leaves a
workspace that the next one clears away.
"""

import contextlib
import inspect
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.columns.arrays import from_numbers, from_rows, read_numbers
from tracer.columns.sorting import stable_argsort
from tracer.errors import TargetError
from tracer.files.targets import Slot, check_apart
from tracer.files.workspace import remove_dead
from tracer.registry.operations import COUNTS_VERSION
from tracer.schema import OPTIONAL, TABLES, USAGE
from tracer.store.manifest import MANIFEST_NAME, Manifest
from tracer.store.usage import Usage

__all__ = ["PART_ROWS", "ROW_GROUP", "CaptureWriter", "sorted_row_groups"]

PART_ROWS = 150_000  # a part holds at least this many; two are in memory at most
ROW_GROUP = 196_608  # so that most parts are one: each costs a reader what a thousand rows do
# Numbers that differ from row to row pack best as differences, which zstd cannot make smaller; everything
# else repeats and is worth a dictionary. Statistics serve key_id (pruning, by page too) and the order columns only: on text they
# cost more than all.
_DELTA = (
    "sequence", "time", "time_ns", "handle_id", "record_offset", "address", "opened_sequence", "opened_ns",
    "position", "closed_sequence", "closed_ns", "first_sequence", "last_sequence", "first_ns", "last_ns",
)  # fmt: skip
# These hardly repeat, or are one value throughout: a dictionary would only be built and thrown away.
_PLAIN = ("key_id", "source_id", "flags", "data", "previous_data")
_STATISTICS = ["key_id", "sequence", "time_ns", "process_id"]
# A path asked for is looked up among all of them: a Bloom filter tells which row groups cannot hold it. An older pyarrow makes
# none, and readers do without.
_LOOKED_UP = "folded_path"
_PART = re.compile(r"events/part-\d+\.parquet")
_OF_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave in any folder
_MAKES_BLOOM_FILTERS = "bloom_filter_options" in inspect.signature(pq.ParquetWriter.__init__).parameters


class CaptureWriter:
    """Writes parts and tables for `target`; nothing appears there before `publish`.

    Parts are written on a thread of their own (Arrow leaves the interpreter free), one at a time.

    Raises:
        TargetError: the target exists and `force` is not given, it is or holds a source, or the disk refuses.
    """

    def __init__(self, target: Path, *, force: bool = False, sources: Sequence[Path] = ()) -> None:
        self.target = target
        self._parts: list[dict[str, Any]] = []
        self._operations: Counter[str] = Counter()
        self._tables: dict[str, dict[str, Any]] = {}
        self._open: dict[str, pq.ParquetWriter] = {}
        self._usage = Usage()
        self._pending: Future[None] | None = None
        with _disk(target):
            check_apart(target, sources)
            place = Slot(target).path
            if not place.parent.is_dir():
                raise TargetError(
                    f"{target} cannot be made: there is no folder {target.parent}; make it first"
                )
            remove_dead(
                place.parent
            )  # a run that was killed may have put the old capture aside: now it is back
            self._slot = Slot(target)
            _check_replaceable(target, place, force=force)
            self._workspace = self._slot.workspace()
            self._partial = self._workspace.path / "capture"
            try:
                (self._partial / "events").mkdir(parents=True)
            except BaseException:
                self._workspace.close()
                raise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="regtrace-parts")

    def write_part(self, row_groups: Callable[[], Iterable[pa.Table]], rows: int) -> None:
        """Write one part of `rows` rows, sorted by (key_id, sequence).

        `row_groups()` runs on the thread and returns at least one table, each of at most ROW_GROUP rows. A
        dictionary is written whole with its row group, so it should hold what that row group needs.
        Waits for the part before, so at most two parts are in memory.
        """
        self._wait()
        self._pending = self._pool.submit(self._write_part, row_groups, rows)

    def append(self, name: str, tables: Iterable[pa.Table]) -> None:
        """Append rows to the table `name`, on the writing thread."""
        for table in tables:
            self._wait()
            self._pending = self._pool.submit(self._append, name, table)

    def append_rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Append rows given one by one to the table `name`, which is written even without rows."""
        self.append(name, [from_rows(rows, TABLES[name].arrow())])

    def _append(self, name: str, table: pa.Table) -> None:
        with _disk(self.target):
            if name not in self._open:
                self._open[name] = pq.ParquetWriter(
                    self._partial / f"{name}.parquet", table.schema, **_options(table.schema, table.num_rows)
                )
                self._tables[name] = {
                    "file": f"{name}.parquet",
                    "rows": 0,
                    "columns": len(TABLES[name].names),
                }
            self._open[name].write_table(table, ROW_GROUP)
            self._tables[name]["rows"] += table.num_rows

    def usage(self) -> pa.Table:
        """Return the table `usage` of the parts that were written so far."""
        self._wait()
        return self._usage.arrow()

    def publish(self, manifest: Manifest) -> Manifest:
        """Finish all files, write the manifest (parts, tables and operations filled in) and rename the capture into place."""
        self._wait()
        self.append(USAGE.name, [self._usage.arrow()])
        for name in TABLES:
            if name != "events" and name not in OPTIONAL and name not in self._tables:
                self.append_rows(name, [])
        self._wait()
        with _disk(self.target):
            for writer in self._open.values():
                writer.close()
            self._open.clear()
            manifest.parts[:] = self._parts
            manifest.totals["operations"] = dict(sorted(self._operations.items()))
            manifest.totals["unclear_writes"] = self._usage.total("unclear_writes")
            self._tables[USAGE.name]["counts_version"] = COUNTS_VERSION
            manifest.tables.update({name: self._tables[name] for name in TABLES if name in self._tables})
            for entry in manifest.files():
                entry["bytes"] = _sync(self._partial / entry["file"])
            manifest.save(self._partial)
            with self._slot.publishing():
                self._rename()
        return manifest

    def publish_made(self, capture: Path) -> Manifest:
        """Rename a whole capture into place that was made beside the target; what was written here is dropped."""
        with _disk(self.target):
            shutil.rmtree(self._partial)
            capture.rename(self._partial)
            with self._slot.publishing():
                self._rename()
        return Manifest.load(self.target)

    def _rename(self) -> None:
        place, replaced = self._slot.path, self._workspace.replaced
        if place.exists():
            place.rename(replaced)
        try:
            self._partial.rename(place)
        except OSError:
            with contextlib.suppress(OSError):
                replaced.rename(place)
            raise

    def close(self) -> None:
        """Stop, and remove what was not published."""
        with contextlib.suppress(Exception):
            self._wait()
        self._pool.shutdown()
        for writer in self._open.values():
            with contextlib.suppress(OSError, pa.ArrowException):
                writer.close()
        self._workspace.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write_part(self, row_groups: Callable[[], Iterable[pa.Table]], rows: int) -> None:
        file = f"events/part-{len(self._parts):05}.parquet"
        spans: dict[str, list[int]] = {"sequence": [], "ns": []}
        with contextlib.ExitStack() as stack:
            stack.enter_context(_disk(self.target))
            writer = None
            for table in row_groups():
                if writer is None:
                    writer = stack.enter_context(
                        pq.ParquetWriter(self._partial / file, table.schema, **_options(table.schema))
                    )
                writer.write_table(table)
                self._usage.add(table)
                for each in pa.compute.value_counts(table["operation"]).to_pylist():
                    self._operations[each["values"]] += each["counts"]
                for name, column in (("sequence", "sequence"), ("ns", "time_ns")):
                    span = pa.compute.min_max(table[column]).as_py()
                    spans[name] += [span["min"], span["max"]]
        first = {f"first_{name}": min(values) for name, values in spans.items()}
        last = {f"last_{name}": max(values) for name, values in spans.items()}
        self._parts.append({"file": file, "rows": rows, **first, **last})


def sorted_row_groups(table: pa.Table) -> Iterator[pa.Table]:
    """Yield event rows, which are in the order of time, as row groups sorted by (key_id, sequence); rows without a key first."""
    keys = read_numbers(table["key_id"].combine_chunks()).or_else(-1).astype(np.int64)
    order = stable_argsort(keys + 1)
    for some in np.array_split(order, -(-len(order) // ROW_GROUP)):
        yield table.take(from_numbers(some))


def _options(schema: pa.Schema, rows: int = 0) -> dict[str, Any]:
    """Return the Parquet options of a table with about so many rows in a row group."""
    bloom = {}
    if _MAKES_BLOOM_FILTERS and rows and _LOOKED_UP in schema.names:
        bloom["bloom_filter_options"] = {_LOOKED_UP: {"ndv": rows, "fpp": 0.01}}
    delta = [name for name in _DELTA if name in schema.names]
    return {
        "compression": {name: "none" if name in delta else "zstd" for name in schema.names},
        "compression_level": {name: 1 for name in schema.names if name not in delta},
        "use_dictionary": [name for name in schema.names if name not in delta and name not in _PLAIN],
        "column_encoding": dict.fromkeys(delta, "DELTA_BINARY_PACKED") or None,
        "write_statistics": [name for name in _STATISTICS if name in schema.names],
        "store_schema": False,
        "write_page_index": True,
        "version": "2.6",
        **bloom,
    }


def _check_replaceable(target: Path, place: Path, *, force: bool) -> None:
    """Raise unless nothing exists there, or --force is given for a capture without files of others."""
    if not os.path.lexists(place):
        return
    if not force:
        raise TargetError(f"{target} exists; choose another name or replace it with --force")
    if not place.is_dir() or (any(place.iterdir()) and not (place / MANIFEST_NAME).exists()):
        raise TargetError(f"{target} is not a capture, so --force does not replace it; choose another name")
    others = _files_of_others(place)
    if others:
        raise TargetError(
            f"{target} also holds {others[0]}, which no ingest wrote, so --force does not replace it; move that elsewhere first"
        )


def _files_of_others(place: Path) -> list[str]:
    """Return the files in a capture that no ingest wrote, because --force must not delete them."""
    own = {
        MANIFEST_NAME,
        f"{MANIFEST_NAME}.tmp",
        "events",
        *(f"{name}.parquet" for name in TABLES),
        *_OF_SYSTEMS,
    }
    files = [path.relative_to(place) for path in sorted(place.rglob("*"))]
    return [
        path.as_posix()
        for path in files
        if path.as_posix() not in own and not _PART.fullmatch(path.as_posix())
    ]


def _sync(path: Path) -> int:
    """Make a file durable and return its size."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk(target: Path) -> Any:  # noqa: ANN401
    try:
        yield
    except OSError as error:
        raise TargetError(
            f"{target} cannot be written: {error.strerror or error}; nothing was published"
        ) from error
