"""Procmon .pml files to a published capture."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tracer.baseline.doubts import hive_doubt
from tracer.diagnostics import COUNTERS, Diagnostics
from tracer.pml.file import PmlFile
from tracer.pml.overlap import order_logs
from tracer.pml.renames import name_subkeys, renames_of
from tracer.progress import Progress
from tracer.registry.image_paths import with_dos_paths
from tracer.resolve.catalog import Catalog
from tracer.resolve.tree import KeyTree
from tracer.schema import LOSSES
from tracer.sources.description import FileState, Source, sha256_of_first
from tracer.sources.inputs import SourceFile
from tracer.sources.machines import check_one_machine
from tracer.sources.notes import notes
from tracer.store.manifest import Manifest
from tracer.store.writer import PART_ROWS, CaptureWriter, sorted_row_groups

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline

__all__ = ["ingest_pml"]


def ingest_pml(
    sources: Sequence[SourceFile],
    writer: CaptureWriter,
    *,
    control_set: int | None,
    progress: Callable[[Progress], None] | None,
    left_out: Sequence[str],
    baseline: "Baseline | None" = None,
) -> Manifest:
    """Read Procmon files, the oldest first, and publish them as one capture.

    Args:
        sources: the files.
        writer: where rows go.
        control_set: which ControlSet00N is CurrentControlSet, where the user knows it.
        progress: called after every batch.
        left_out: a sentence for each folder or archive of which something is no source.
        baseline: hives of the machine; None: none was given.

    Raises:
        SourceError: a file is not readable at all.
        TargetError: the capture cannot be written.
        UsageError: the files are of several computers, or hold different operations of one time.
    """
    run = _PmlIngest(writer, progress)
    diagnostics = [Diagnostics() for _ in sources]
    states = {source.path: _state(source) for source in sources}
    files = [PmlFile(source.path, found) for source, found in zip(sources, diagnostics, strict=True)]
    check_one_machine([file.machine(source.shown) for source, file in zip(sources, files, strict=True)])
    order = order_logs([source.shown for source in sources], files, diagnostics)
    sources, files, diagnostics = (
        [sources[at] for at in order],
        [files[at] for at in order],
        [diagnostics[at] for at in order],
    )
    for source, found in zip(sources, diagnostics, strict=True):
        found.count("copied_source", len(source.copies))
    total = sum(source.path.stat().st_size for source in sources)
    entries = [run.add(number, sources[number], file, total) for number, file in enumerate(files)]
    for source, entry, found in zip(sources, entries, diagnostics, strict=True):
        began = states[source.path]
        with source.path.open("rb") as file:
            entry["sha256"] = sha256_of_first(file, began.size)
        entry["size"] = began.size
        found.count("source_changed", int(_state(source) != began))
    if not any(entry["facts"]["registry_operations"] for entry in entries):
        diagnostics[0].count("pml_no_registry_events")
    sentences = notes([source.name for source in sources], diagnostics)
    settings: dict[str, Any] = {"notes": [*left_out, *sentences]}
    copies = {source.name: list(source.copies) for source in sources if source.copies}
    if copies:
        settings["copies"] = copies
    return run.publish(entries, diagnostics, control_set, settings, baseline)


def _state(source: SourceFile) -> FileState:
    with source.path.open("rb") as file:
        return FileState.of(file)


class _PmlIngest:
    """One ingest: collects rows until they make a part."""

    def __init__(self, writer: CaptureWriter, progress: Callable[[Progress], None] | None) -> None:
        self._writer, self._progress = writer, progress
        self._tree = KeyTree()
        self._events = self._processes = self._keyless = self._bytes = 0
        self._waiting: list[pa.RecordBatch] = []
        self._renames: list[tuple[int, str]] = []

    def add(self, number: int, source: SourceFile, file: PmlFile, total: int) -> dict[str, Any]:
        """Read one file; return its entry in the manifest."""
        first_ns = last_ns = None
        processes = file.processes(number, self._processes)
        before = self._events
        batches = file.batches(
            self._tree, source_id=number, first_process_id=self._processes, first_sequence=self._events
        )
        for batch in batches:
            times = pc.min_max(batch["time_ns"]).as_py()
            first_ns = times["min"] if first_ns is None else min(first_ns, times["min"])
            last_ns = times["max"] if last_ns is None else max(last_ns, times["max"])
            self._events += batch.num_rows
            self._keyless += batch["key_id"].null_count
            self._waiting.append(batch)
            self._renames += renames_of(batch)
            if sum(waiting.num_rows for waiting in self._waiting) >= PART_ROWS:
                self._flush()
            if self._progress:
                self._progress(Progress(self._bytes, total, self._events))
        self._writer.append("processes", [with_dos_paths(processes)])
        self._processes += processes.num_rows
        size = source.path.stat().st_size
        self._bytes += size
        if self._progress:
            self._progress(Progress(self._bytes, total, self._events))
        facts = {**file.facts, "registry_operations": self._events - before}
        return Source(
            number,
            source.name,
            "pml",
            size,
            "",  # of what was there at the beginning, when that is known to be all
            first_ns,
            last_ns,
            False,
            facts,
            source.wrapper,
        ).as_dict()

    def publish(
        self,
        sources: list[dict[str, Any]],
        diagnostics: Sequence[Diagnostics],
        control_set: int | None,
        settings: dict[str, Any],
        baseline: "Baseline | None",
    ) -> Manifest:
        """Write the remaining rows and publish the capture."""
        self._flush()
        name_subkeys(self._tree, self._renames)
        hives: list[dict[str, Any]] = []
        if baseline is not None:
            control_set = control_set or baseline.control_set
            times = [source["first_ns"] for source in sources if source["first_ns"] is not None]
            hives = baseline.write(
                self._writer,
                self._tree,
                first_ns=min(times, default=None),
                control_set=control_set,
                source_id=len(sources),
            )
        catalog = Catalog(self._tree, control_set=control_set)
        self._writer.append("keys", catalog.tables())
        rows = [row for number, counters in enumerate(diagnostics) for row in counters.rows(number)]
        self._writer.append_rows("diagnostics", rows)
        losses = [
            loss
            for source, found in zip(sources, diagnostics, strict=True)
            for loss in _losses(source, found)
        ]
        self._writer.append_rows("losses", losses)
        settings["notes"] += filter(None, map(hive_doubt, hives))
        builds = {source["facts"].get("windows_build") for source in sources}
        build = builds.pop() if len(builds) == 1 else None
        return self._writer.publish(
            Manifest(
                complete=not any(row["severity"] == "loss" for row in rows),
                windows_build=build if isinstance(build, int) else None,
                clock="procmon",
                control_set=control_set,
                sources=[*sources, *hives],
                settings=settings,
                totals={
                    "events": self._events,
                    "records": self._events,
                    "keys": len(self._tree),
                    "processes": self._processes,
                    "rows_without_key": self._keyless,
                    "names": {"event": self._events - self._keyless} if self._events > self._keyless else {},
                },
            )
        )

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        rows = sum(batch.num_rows for batch in waiting)
        if rows:
            table = pa.Table.from_batches(waiting).combine_chunks()
            self._writer.write_part(lambda: sorted_row_groups(table), rows)


def _losses(source: dict[str, Any], diagnostics: Diagnostics) -> Iterator[dict[str, Any]]:
    """Yield rows of the table `losses`: a cut log lacks its end, unreadable events could be anywhere."""
    unknown = dict.fromkeys(LOSSES.names) | {"source_id": source["source_id"], "kind": "damage"}
    if diagnostics["pml_cut"]:
        evidence = f"the log was cut: {diagnostics['pml_cut']:,} events or more are missing"
        yield unknown | {"from_ns": source["last_ns"], "evidence": evidence}
    for name in ("pml_bad_event", "pml_unknown_operation"):
        if diagnostics[name]:
            yield unknown | {"evidence": f"{diagnostics[name]:,} times: {COUNTERS[name].meaning}"}
