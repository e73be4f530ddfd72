"""Records to published tables: .etl files, or what reads like them (`tracer.ingest.record_reader`)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracer.baseline.doubts import hive_doubt
from tracer.decode.batch import Operations
from tracer.decode.columns import decode_operations
from tracer.decode.plans import ABSENT, PlanTables
from tracer.diagnostics import Diagnostics
from tracer.etl.buffers import BufferFile
from tracer.etl.extended import gather_items
from tracer.etl.losses import find_unread
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_REGISTRY, PROVIDER_NAMES
from tracer.etl.reader import EtlReader
from tracer.etl.records import Records
from tracer.ingest.absence import OperationCounts
from tracer.ingest.kernels import Kernels, choose_kernels, note_compiled
from tracer.ingest.option_word import OptionWordStats
from tracer.ingest.recording_facts import LiveFacts, place_losses
from tracer.ingest.seed import read_seed, unchanged_objects
from tracer.progress import Progress
from tracer.registry.image_paths import drives_in, with_dos_paths
from tracer.resolve.catalog import Catalog
from tracer.resolve.losses import LossTimes
from tracer.resolve.object_ops import DEFERRED, SOURCES, Resolved
from tracer.resolve.resolver import Resolver
from tracer.rows.ambiguous_names import AmbiguousNames
from tracer.rows.double_reports import DoubleReports, Pairs, merge_reports, reports_of
from tracer.rows.events import EventRows, Order, durations, make_object_ops, time_order
from tracer.rows.process_records import process_records
from tracer.rows.processes import ProcessTable
from tracer.schema import COUNTERS, LOSSES, SIMULATED_NAME
from tracer.sources.description import FileState, Source, sha256_of_first
from tracer.sources.inputs import SourceFile
from tracer.sources.machines import check_one_machine, etl_machine
from tracer.sources.notes import notes
from tracer.store.manifest import Manifest
from tracer.store.writer import PART_ROWS, ROW_GROUP, CaptureWriter

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline
    from tracer.ingest.record_reader import RecordReader

__all__ = ["EtlIngest"]


class EtlIngest:
    """One run over .etl files; `tracer.ingest.raw` runs it over their records as text."""

    def __init__(
        self,
        files: list[SourceFile],
        left_out: list[str],
        writer: CaptureWriter,
        seed: Path | None,
        control_set: int | None,
        progress: Callable[[Progress], None] | None,
        kernels: Kernels | None,
        live: LiveFacts | None,
        baseline: "Baseline | None",
    ) -> None:
        self.baseline = baseline
        self.live, self.option_word = live, OptionWordStats()
        self.seen = sorted(live.processes, key=lambda seen: seen.time_ns) if live else []
        self.paths, self.left_out = [file.path for file in files], left_out
        self.files = dict(zip(self.paths, files, strict=True))
        self.writer, self.progress, self.seed = writer, progress, seed
        self.control_set = control_set
        self.size = sum(path.stat().st_size for path in self.paths)
        self.kernels = choose_kernels(self.size, self._say) if kernels is None else kernels
        self.processes = ProcessTable()
        self.reports = DoubleReports()
        self.counts = OperationCounts()
        self.events = self.records = 0
        self.deferred = np.zeros(0, np.int64)
        self.sure = np.zeros(len(SOURCES), np.int64)
        self.keyless = 0
        self.first_ns: dict[int, int] = {}
        self.last_ns: dict[int, int] = {}

    def run(self) -> Manifest:
        """Read the files, and publish the capture."""
        with (
            ThreadPoolExecutor(1, "regtrace-sha256") as hashing,
            self.open() as reader,
        ):
            self.diagnostics, self.reader = reader.diagnostics, reader
            self.note_files(hashing)
            self.losses, self.losses_known = LossTimes([]), 0
            self.names, self.tree = self.kernels.name_table(), self.kernels.resolve.key_tree()
            self.resolver = Resolver(self.tree, self.names.texts, self.losses, self.kernels.resolve)
            self.rows = EventRows(self.names)
            if self.live is not None:
                reader.losses[:] = place_losses(reader.losses, self.live.losses)
            addresses, seeded = self._read_seed()
            if addresses:
                self.resolver.seed(addresses, seeded, self.begin_ns())
            for records in reader:
                self._batch(reader, records)
                if self.progress:
                    self.progress(Progress(reader.bytes_done, reader.bytes_total, self.events))
            self._flush()
            self.processes.assign(np.zeros(0, np.int64), [(0, seen) for seen in self.seen])
            manifest = self._publish(reader)
        note_compiled(self.kernels)
        return manifest

    def open(self) -> AbstractContextManager["RecordReader"]:
        """Return what reads the files."""
        diagnostics = [Diagnostics() for _ in self.paths]
        return EtlReader(self.paths, diagnostics, reuse=True, kernels=self.kernels.read)

    def note_files(self, hashing: ThreadPoolExecutor) -> None:
        """Check that the files are of one machine, note what they are now, and begin their digests."""
        traces = self.reader.sources
        check_one_machine([etl_machine(trace.name, trace.header) for trace in traces])
        self.states = {trace.path: FileState.of(trace.file) for trace in traces}
        self.sizes = {
            trace.path: trace.at + trace.size for trace in traces
        }  # the last one ends with the file
        self.digests = {
            trace.path: hashing.submit(sha256_of_first, trace.file, self.sizes[trace.path])
            for trace in traces
            if not trace.at
        }

    def begin_ns(self) -> int:
        """Return when the recording began, in UTC nanoseconds."""
        return min(header.start_ns for header in self.reader.headers)

    def clock(self) -> tuple[int | None, str]:
        """Return the build of Windows, where that is known, and the clock of the times."""
        return self.reader.headers[0].build, self.reader.headers[0].clock

    def host(self) -> str | None:
        """Return the computer's name; no .etl says it."""
        return None

    def count_files(self) -> None:
        """Count what is odd about the files themselves."""
        for trace, each in zip(self.reader.sources, self.diagnostics, strict=True):
            if not trace.at:
                each.count("copied_source", len(self.files[trace.path].copies))
                each.count("source_changed", int(self._has_changed(trace)))

    def _say(self, sentence: str) -> None:
        if self.progress:
            self.progress(Progress(0, self.size, 0, sentence))

    def _read_seed(self) -> tuple[list[int], list[str]]:
        if self.seed is not None:
            return read_seed(self.seed)
        if self.live is None or self.live.seed is None:
            return [], []
        return unchanged_objects(self.paths, *self.live.seed, self.live.seed_ns or 0)

    def _batch(self, reader: "RecordReader", records: Records) -> None:
        self.records += len(records)
        self._note_times(records)
        operations = decode_operations(
            records, reader.providers, self.names, self.diagnostics, self.kernels.chunk
        )
        reader.losses += find_unread(records, operations.unread)
        if len(reader.losses) != self.losses_known:
            self.losses_known = len(reader.losses)
            self.losses.replace((loss.from_ns, reader.latest(loss)) for loss in reader.losses)
        self._note_foreign(reader, records, operations)
        order = time_order(records, operations)
        process = self._assign_processes(reader, records, operations, order)
        self.counts.add(operations.plan)
        duration = durations(records, operations, reader.headers)
        pairs = self._pair_reports(reader, records, operations, order, duration)
        is_row = PlanTables.operation[operations.plan[order]] != ABSENT
        if pairs is not None:
            is_row[pairs.classic] = False
        sequence = self.events + np.cumsum(is_row) - is_row
        ops = make_object_ops(records, operations, order, process, sequence, self.names)
        ambiguous = AmbiguousNames(records, operations, order, self.names, self.diagnostics)
        resolved = ambiguous.resolve(self.resolver, ops)
        self._count_names(resolved, is_row)
        if self.live is not None:
            self.option_word.add(operations)
        self._note_control_set(operations)
        repeated = None
        if pairs is not None:
            repeated = merge_reports(pairs, operations, order, duration, ops, resolved, self.tree)
        self.rows.add(records, operations, order, ops, resolved, duration, repeated)
        self.events += int(is_row.sum())
        if len(records.extended):
            numbers = np.full(len(records), -1)
            numbers[operations.rows[order]] = np.where(is_row, sequence, -1)
            self.writer.append("extended", gather_items(records.raw, records.extended, numbers))
        lives = self.resolver.handles.drain()
        if lives is not None:
            self.writer.append("handles", [lives])
        if self.rows.rows >= PART_ROWS:
            self._flush()

    def _flush(self) -> None:
        part = self.rows.take()
        if part.rows:
            self.writer.write_part(lambda: part.row_groups(ROW_GROUP), part.rows)

    def _note_times(self, records: Records) -> None:
        for number in np.flatnonzero(np.bincount(records.source)).tolist():
            whole = len(self.diagnostics) == 1
            times = records.time_ns if whole else records.time_ns[records.source == number]
            self.first_ns.setdefault(number, int(times.min()))
            self.last_ns[number] = max(int(times.max()), self.last_ns.get(number, int(times.max())))

    def _note_foreign(self, reader: "RecordReader", records: Records, operations: Operations) -> None:
        strange = np.array([name not in PROVIDER_NAMES for name in reader.providers] + [True])
        foreign = strange.take(records.provider)  # -1, no provider, is the last
        rundown = np.flatnonzero(PlanTables.operation[operations.plan] == ABSENT)
        for number, found in enumerate(self.diagnostics):
            mine = records.source == number
            found.count("foreign_records", int((foreign & mine).sum()))
            if len(rundown):
                found.count("rundown_records", int(mine[operations.rows[rundown]].sum()))

    def _assign_processes(
        self, reader: "RecordReader", records: Records, operations: Operations, order: Order
    ) -> NDArray[np.int32]:
        found = process_records(records, operations, reader.providers)
        rows = operations.rows[order]
        if self.seen and self.seen[0].time_ns <= int(records.time_ns.max()):
            times = records.time_ns[rows]
            due = [seen for seen in self.seen if seen.time_ns <= int(records.time_ns.max())]
            self.seen = self.seen[len(due) :]
            found += [(int(np.searchsorted(times, seen.time_ns)), seen) for seen in due]
            found.sort(key=lambda one: (one[0], one[1].time_ns))
        return self.processes.assign(records.pid[rows], found)

    def _pair_reports(
        self,
        reader: "RecordReader",
        records: Records,
        operations: Operations,
        order: Order,
        duration: NDArray[np.int64] | None,
    ) -> Pairs | None:
        """Return which operations both providers reported; None where the trace has not both."""
        if not {KERNEL_REGISTRY, CLASSIC_REGISTRY} <= set(reader.providers):
            return None
        pairs = self.reports.find(reports_of(records, operations, order, duration))
        self.diagnostics[0].count("double_reports", len(pairs.classic))
        self.diagnostics[0].count("single_reports", pairs.alone)
        return pairs

    def _count_names(self, resolved: Resolved, is_row: NDArray[np.bool_]) -> None:
        source, key = resolved.source[is_row], resolved.key[is_row]
        self.sure += np.bincount(source[source >= 0], minlength=len(SOURCES))
        waiting = key[(source == DEFERRED) & (key >= 0)]
        self.keyless += int((key < 0).sum())
        if len(waiting):
            more = np.bincount(waiting, minlength=len(self.deferred))
            more[: len(self.deferred)] += self.deferred
            self.deferred = more
        across = int(resolved.across_loss[is_row].sum())
        self.diagnostics[0].count("rows_across_loss", across)

    def _note_control_set(self, operations: Operations) -> None:
        for payload in operations.payloads.values():
            number = payload.fields.get("CurrentControlSet")
            if isinstance(number, int) and self.control_set is None:
                self.control_set = number

    def _publish(self, reader: "RecordReader") -> Manifest:
        writer, found = self.writer, self.diagnostics[0]
        writer.append("handles", [self.resolver.handles.finish()])
        self.tree.bind_same()
        hives: list[dict[str, Any]] = []
        if self.baseline is not None:
            self.control_set = self.control_set or self.baseline.control_set
            hives = self.baseline.write(
                writer,
                self.tree,
                first_ns=min(self.first_ns.values(), default=None),
                control_set=self.control_set,
                source_id=len(reader.sources),
            )
        catalog = Catalog(self.tree, control_set=self.control_set)
        writer.append("keys", catalog.tables())
        drives = drives_in(self.live.settings) if self.live else {}
        writer.append("processes", [with_dos_paths(self.processes.arrow(), drives)])
        later = sum(node in self.tree.bound for node in self.tree.objects)
        found.count("late_named_objects", later)
        found.count("unnamed_objects", len(self.tree.objects) - later)
        found.count("key_too_long", len(self.tree.too_long))
        found.count("seed_conflict", self.resolver.seed_conflicts)
        self.count_files()
        losses = [
            {"source_id": loss.source, **{n: getattr(loss, n) for n in LOSSES.names if n != "source_id"}}
            for loss in [*reader.losses, *reader.set_backs(), *(self.live.blind if self.live else ())]
        ]
        writer.append_rows("losses", losses)
        sure = {name: int(count) for name, count in zip(SOURCES, self.sure, strict=True) if count}
        named = {**sure, **catalog.count_sources(self.deferred)}
        whole = Diagnostics()
        self.counts.find_absent(whole, unnamed=named.get("partial", 0) + named.get("none", 0))
        rows = [row for number, counters in enumerate(self.diagnostics) for row in counters.rows(number)]
        rows += whole.rows(None)
        writer.append_rows("diagnostics", rows)
        build, clock = self.clock()
        host = self.host()
        settings: dict[str, Any] = {"seed": self.seed.name if self.seed else None}
        if host is not None:
            settings["host"] = host
        copies = {file.name: list(file.copies) for file in self.files.values() if file.copies}
        if copies:
            settings["copies"] = copies
        names = [self.files[trace.path].name for trace in reader.sources]
        settings["notes"] = [
            *self.left_out,
            *notes([*names, "the recording"], [*self.diagnostics, whole]),
            *filter(None, map(hive_doubt, hives)),
        ]
        if self.live is not None:
            counters = [dict.fromkeys(COUNTERS.names) | row for row in self.live.counters]
            writer.append_rows("counters", counters)
            settings["recording"] = {
                **self.live.settings,
                "seed": self.live.seed_facts,
                "arrived": self.option_word.as_dict(),
            }
        lossy = any(row["severity"] == "loss" for row in rows)
        return writer.publish(
            Manifest(
                complete=not reader.losses and not lossy,
                windows_build=build,
                clock=clock,
                control_set=self.control_set,
                sources=[*(self.source(number) for number in range(len(reader.sources))), *hives],
                settings=settings,
                totals={
                    "events": self.events,
                    "records": self.records,
                    "keys": len(self.tree),
                    "processes": len(self.processes),
                    "rows_without_key": self.keyless,
                    "names": named,
                },
            )
        )

    def _has_changed(self, trace: BufferFile) -> bool:
        state = self.states[trace.path]
        return state.size != self.sizes[trace.path] or FileState.of(trace.file) != state

    def source(self, number: int) -> dict[str, Any]:
        """Return a source's entry in the manifest."""
        trace = self.reader.sources[number]
        file, header = self.files[trace.path], trace.header
        facts = asdict(header)
        facts["version"] = ".".join(map(str, header.version))
        if trace.at:
            facts["offset"] = trace.at
        return Source(
            source_id=number,
            name=file.name,
            kind="etl",
            size=self.sizes[file.path],
            sha256=self.digests[file.path].result(),
            first_ns=self.first_ns.get(number),
            last_ns=self.last_ns.get(number),
            simulated=header.logger_name.startswith(SIMULATED_NAME),
            facts=facts,
            wrapper=file.wrapper,
        ).as_dict()
