"""Named sources to a published capture.

Every file is read once, and its rows wait on the disk as they are named: which keys there are is known only at the
end, and rows of several files get one order by time. In memory are a time for each row, and a part.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.baseline.doubts import hive_doubt
from tracer.columns.sorting import stable_argsort
from tracer.diagnostics import Diagnostics
from tracer.files.workspace import Workspace
from tracer.named.context import NamedContext, NamedOptions
from tracer.named.defender import defender_csv_rows, defender_json_rows
from tracer.named.event_logs import evtx_rows, json_rows, xml_rows
from tracer.named.handles import Followed, HandleFollower
from tracer.named.procmon_text import procmon_csv_rows
from tracer.named.procmon_xml import procmon_xml_rows
from tracer.named.rows import SCHEMA, NamedRows
from tracer.named.targets import KnownKeys, Targets, native
from tracer.progress import Progress
from tracer.registry.image_paths import with_dos_paths
from tracer.registry.operations import BY_NAME
from tracer.resolve.catalog import Catalog
from tracer.resolve.tree import KeyTree
from tracer.schema import EVENTS, FLAGS
from tracer.sources.description import FileState, Source, sha256_of_first
from tracer.sources.inputs import SourceFile
from tracer.sources.notes import notes
from tracer.store.manifest import Manifest
from tracer.store.writer import PART_ROWS, CaptureWriter, sorted_row_groups

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline

__all__ = ["OF_HOSTS", "READERS", "ingest_named"]

Reader = Callable[[SourceFile, int, NamedContext, Diagnostics], Iterator[NamedRows]]
READERS: Mapping[str, Reader] = {
    "defender-csv": defender_csv_rows,
    "defender-json": defender_json_rows,
    "evtx": evtx_rows,
    "json": json_rows,
    "procmon-csv": procmon_csv_rows,
    "procmon-xml": procmon_xml_rows,
    "xml": xml_rows,
}  # by the kind of a file
OF_HOSTS = frozenset({"defender-csv", "defender-json", "evtx", "json", "xml"})  # whose records name computers

_UNSURE = FLAGS["name_ambiguous"] | FLAGS["path_split"]
_EVENTS = EVENTS.arrow()
_COPIED = [name for name in SCHEMA.names if name in EVENTS.names and name not in ("value_name", "flags")]


def ingest_named(
    sources: Sequence[SourceFile],
    writer: CaptureWriter,
    *,
    options: NamedOptions,
    known: KnownKeys,
    control_set: int | None,
    left_out: Sequence[str],
    progress: Callable[[Progress], None] | None,
    baseline: "Baseline | None" = None,
) -> Manifest:
    """Read logs of named sources, and publish them as one capture.

    Args:
        sources: the files.
        writer: where rows go.
        options: what the user said of the files.
        known: keys that other sources know; keys that these files know are added.
        control_set: which ControlSet00N is CurrentControlSet, where that is known.
        left_out: a sentence for each folder or archive of which something is no source.
        progress: called after every batch.
        baseline: hives of the machine; None: none was given.

    Raises:
        SourceError: a file is not readable at all.
        TargetError: the capture cannot be written.
        UsageError: the records are of several computers, and the user chose none.
    """
    with Workspace(writer.target.parent) as workspace:
        run = _NamedIngest(writer, workspace.path, options, known, progress)
        total = sum(source.path.stat().st_size for source in sources)
        for number, source in enumerate(sources):
            run.read(number, source, total)
        return run.publish(control_set, left_out, baseline)


class _NamedIngest:
    """One ingest: rows wait in files until all are read."""

    def __init__(
        self,
        writer: CaptureWriter,
        folder: Path,
        options: NamedOptions,
        known: KnownKeys,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._writer, self._folder, self._progress = writer, folder, progress
        self._known = known
        self._times: list[NDArray[np.int64]] = []
        self._batches: list[pa.RecordBatch] = []  # on the disk, and read where they are looked at
        self._of_source: list[int] = []  # the source of each batch
        self._context = NamedContext(options)
        self._diagnostics: list[Diagnostics] = []
        self._sources: list[dict[str, Any]] = []
        self._names: list[str] = []
        self._losses: list[dict[str, Any]] = []
        self._copies: dict[str, list[str]] = {}
        self._bytes = self._rows = 0

    def read(self, number: int, source: SourceFile, total: int) -> None:
        """Read one file, and keep its rows."""
        diagnostics = Diagnostics()
        self._diagnostics.append(diagnostics)
        self._names.append(source.name)
        if source.copies:
            self._copies[source.name] = list(source.copies)
        diagnostics.count("copied_source", len(source.copies))
        with source.path.open("rb") as file:
            began = FileState.of(file)
        if source.path in self._context.options.kept:
            began = self._context.options.kept[source.path].state
        waiting = self._folder / f"{number}.arrow"
        with pa.OSFile(str(waiting), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as out:
            for rows in self._read(source, began.size, diagnostics):
                if rows.num_rows:
                    self._learn_keys(rows)
                    self._times.append(rows["time_ns"].combine_chunks().to_numpy())
                    out.write_table(rows, max_chunksize=rows.num_rows)
                    self._rows += rows.num_rows
                self._say(total)
        self._losses += [{**loss, "source_id": number} for loss in self._context.losses]
        facts, self._context.facts, self._context.losses = self._context.facts, {}, []
        reader = pa.ipc.open_file(pa.memory_map(str(waiting)))
        self._batches += [reader.get_batch(place) for place in range(reader.num_record_batches)]
        self._of_source += [number] * reader.num_record_batches
        kept = self._context.options.kept.get(source.path)
        with source.path.open("rb") as file:
            digest = sha256_of_first(file, began.size) if kept is None else kept.sha256
            diagnostics.count("source_changed", int(FileState.of(file) != began))
        self._bytes += began.size
        self._say(total)
        mine = self._times[len(self._times) - reader.num_record_batches :]
        self._sources.append(
            Source(
                number,
                source.name,
                source.kind,
                began.size,
                digest,
                min((int(times.min()) for times in mine), default=None),
                max((int(times.max()) for times in mine), default=None),
                False,
                facts,  # `publish` adds how many rows stay
                source.wrapper,
            ).as_dict()
        )

    def _read(self, source: SourceFile, size: int, diagnostics: Diagnostics) -> Iterator[NamedRows]:
        """Yield the rows of one file, or those of its records that were kept."""
        context = self._context
        kept = context.options.kept.get(source.path)
        if kept is None:
            yield from READERS[source.kind](source, size, context, diagnostics)
            return
        for name, times, offset in kept.diagnostics:
            diagnostics.count(name, times, offset=offset)
        context.facts, context.losses = dict(kept.facts), [*kept.losses]
        for computer, count in kept.computers:
            if context.hosts.wants(computer):
                context.hosts.count(computer or "", count)
            else:
                diagnostics.count("log_other_hosts", count)
        for rows_of, records in kept.records(context.hosts.wants):
            yield from rows_of(records, context, diagnostics)

    def _say(self, total: int) -> None:
        if self._progress:
            self._progress(Progress(self._bytes, total, self._rows))

    def _learn_keys(self, rows: pa.Table) -> None:
        """Note the keys that operations on keys name."""
        of_keys = pc.and_(pc.invert(rows["has_value"]), pc.not_equal(rows["operation"], "CreateOrDelete"))
        self._known.add(native(name) for name in pc.unique(rows["path"].filter(of_keys)).to_pylist() if name)

    def publish(
        self, control_set: int | None, left_out: Sequence[str], baseline: "Baseline | None"
    ) -> Manifest:
        """Write all rows in the order of time, and publish the capture."""
        host = self._context.hosts.check()
        tree = KeyTree()
        targets = Targets(tree, self._known)
        times = np.concatenate(self._times) if self._times else np.zeros(0, np.int64)
        order = (
            stable_argsort(times - times.min()) if len(times) else np.empty(0, np.int64)
        )  # some are before 1970
        count = keyless = 0
        names: Counter[str] = Counter()
        by_source = [Counter[str]() for _ in self._sources]
        follower = HandleFollower()
        for start in range(0, len(order), PART_ROWS):
            table = self._events(self._take(order[start : start + PART_ROWS]), count, targets, follower)
            self._writer.append("handles", follower.ended())
            count += table.num_rows
            keyless += table["name_source"].null_count
            for counted in table["name_source"].drop_null().value_counts().to_pylist():
                names[counted["values"]] += counted["counts"]
            for number, mine in enumerate(by_source):
                of_source = table["source"].filter(pc.equal(table["source_id"], number))
                mine.update({one["values"]: one["counts"] for one in of_source.value_counts().to_pylist()})
            self._count_unsure(table)
            if table.num_rows:
                self._writer.write_part(partial(sorted_row_groups, table), table.num_rows)
        self._writer.append("handles", follower.ended(all_rows_seen=True))
        for number, mine in enumerate(by_source):
            counts = {"registry_operations": mine.total(), "rows_by_source": dict(mine)}
            self._sources[number]["facts"] = self._sources[number]["facts"] | counts
            self._diagnostics[number].count("log_no_registry_events", int(not mine))
        hives: list[dict[str, Any]] = []
        if baseline is not None:
            control_set = control_set or baseline.control_set
            hives = baseline.write(
                self._writer,
                tree,
                first_ns=int(times.min()) if len(times) else None,
                control_set=control_set,
                source_id=len(self._sources),
            )
        catalog = Catalog(tree, control_set=control_set)
        self._writer.append("keys", catalog.tables())
        self._writer.append("processes", [with_dos_paths(self._context.actors.table())])
        rows_ = [row for number, found in enumerate(self._diagnostics) for row in found.rows(number)]
        self._writer.append_rows("diagnostics", rows_)
        self._writer.append_rows("losses", self._losses)
        settings: dict[str, Any] = {
            "notes": [
                *left_out,
                *notes(self._names, self._diagnostics),
                *filter(None, map(hive_doubt, hives)),
            ]
        }
        if self._copies:
            settings["copies"] = self._copies
        if host is not None:
            settings["host"] = host
        return self._writer.publish(
            Manifest(
                complete=not self._losses and not any(row["severity"] == "loss" for row in rows_),
                clock="system",
                control_set=control_set,
                sources=[*self._sources, *hives],
                settings=settings,
                totals={
                    "events": count,
                    "records": count,
                    "keys": len(tree),
                    "processes": len(self._context.actors),
                    "rows_without_key": keyless,
                    "names": dict(names),
                },
            )
        )

    def _take(self, rows: NDArray[np.int64]) -> pa.Table:
        """Return rows by their numbers, with their `source_id`."""
        ends = np.cumsum([batch.num_rows for batch in self._batches])
        of_batch = np.searchsorted(ends, rows, side="right")
        tables, places = [], []
        for number in np.unique(of_batch).tolist():
            mine = np.flatnonzero(of_batch == number)
            batch = self._batches[number]
            first = int(ends[number]) - batch.num_rows
            some = pa.Table.from_batches([batch.take(pa.array(rows[mine] - first))])
            source = pa.repeat(pa.scalar(self._of_source[number], pa.int16()), len(mine))
            tables.append(some.append_column("source_id", source))
            places.append(mine)
        back = np.argsort(np.concatenate(places), kind="stable")
        return pa.concat_tables(tables).take(pa.array(back))

    def _events(self, rows: pa.Table, first: int, targets: Targets, follower: HandleFollower) -> pa.Table:
        """Return rows as rows of the table `events`, with keys, value names and handles; some are left out."""
        key, value, is_sure = _names(rows, targets)
        followed = follower.follow(rows, key, first)
        key, handle_id = followed.key, followed.handle_id
        if not followed.kept.all():
            self._count_left_out(rows, followed)
            stay = pa.array(followed.kept)
            rows, value = rows.filter(stay), value.filter(stay)
            key, handle_id, is_sure = key[followed.kept], handle_id[followed.kept], is_sure[followed.kept]
        by_handle = pa.array(followed.by_handle[followed.kept])
        count = rows.num_rows
        time_ns = rows["time_ns"].combine_chunks()
        operations = rows["operation"].combine_chunks().dictionary_encode()
        known = [BY_NAME[name] for name in operations.dictionary.to_pylist()]
        flags = rows["flags"].combine_chunks().to_numpy() | np.where(is_sure, 0, _UNSURE).astype(np.uint32)
        has_key = key >= 0
        columns: dict[str, Any] = {name: rows[name].combine_chunks() for name in _COPIED}
        columns |= {
            "sequence": pa.array(np.arange(first, first + count)),
            "time": pc.divide(time_ns, 1000).cast(pa.timestamp("us", tz="UTC")),
            "process_id": rows["actor"].combine_chunks(),
            "notify_class": pa.array([one.notify_class for one in known], pa.int16()).take(
                operations.indices
            ),
            "phase": pa.array([one.phase for one in known], pa.string()).take(operations.indices),
            "key_id": pa.array(key, mask=~has_key),
            "value_name": value,
            "handle_id": pa.array(handle_id, mask=handle_id < 0),
            "name_source": pc.if_else(pa.array(has_key), pc.if_else(by_handle, "open", "event"), None),
            "flags": pa.array(flags),
            "source_id": rows["source_id"].combine_chunks(),
        }
        arrays = [
            columns[field.name] if field.name in columns else pa.nulls(count, field.type) for field in _EVENTS
        ]
        return pa.Table.from_arrays(
            [array.cast(field.type) for array, field in zip(arrays, _EVENTS, strict=True)], schema=_EVENTS
        )

    def _count_left_out(self, rows: pa.Table, followed: Followed) -> None:
        """Count the closes and deletes of handles of which nothing says that they are a key's."""
        others = rows["other_object"].combine_chunks().to_numpy(zero_copy_only=False)
        mine = rows.filter(pa.array(~followed.kept & ~others))
        for number in pc.unique(mine["source_id"]).to_pylist():
            some = mine.filter(pc.equal(mine["source_id"], number))
            first = pc.min(some["record_offset"]).as_py()
            self._diagnostics[number].count("log_unknown_handles", some.num_rows, offset=first)

    def _count_unsure(self, table: pa.Table) -> None:
        unsure = pc.not_equal(
            pc.bit_wise_and(table["flags"], pa.scalar(_UNSURE, pa.uint32())), pa.scalar(0, pa.uint32())
        )
        for counted in table["source_id"].filter(unsure).value_counts().to_pylist():
            self._diagnostics[counted["values"]].count("log_unclear_value", counted["counts"])


def _names(rows: pa.Table, targets: Targets) -> tuple[NDArray[np.int32], pa.Array, NDArray[np.bool_]]:
    """Return of each row the key_id (-1: none), the value's name, and whether where the key ends is sure."""
    has_value = rows["has_value"].combine_chunks().to_numpy(zero_copy_only=False)
    encoded = rows["path"].combine_chunks().dictionary_encode()
    places = pc.fill_null(encoded.indices, len(encoded.dictionary)).to_numpy().astype(np.int64)
    paths: list[str] = encoded.dictionary.to_pylist()
    given = rows["value_name"].combine_chunks()
    key = np.full(len(places), -1, np.int32)
    is_sure = np.ones(len(places), bool)
    whole = np.full(len(paths) + 1, -1, np.int32)
    for place in np.unique(places[~has_value]).tolist():
        if place < len(paths):
            whole[place] = targets.key(paths[place])
    key[~has_value] = whole[places[~has_value]]
    if not has_value.any():
        return key, given, is_sure
    split = [
        targets.value(paths[place]) if place < len(paths) else (-1, "", True)
        for place in np.unique(places[has_value]).tolist()
    ]
    _, at = np.unique(places[has_value], return_inverse=True)
    key[has_value] = np.array([one[0] for one in split], np.int32)[at]
    is_sure[has_value] = np.array([one[2] for one in split], bool)[at]
    names = pa.array([one[1] for one in split], pa.string()).take(pa.array(at))
    with_path = pc.if_else(pa.array(key[has_value] >= 0), names, None)
    return key, pc.replace_with_mask(given, pa.array(has_value), with_path), is_sure
