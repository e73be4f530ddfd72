"""Several captures of one host to one: keys, processes, handles and rows numbered anew, in one order by time."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.baseline.doubts import hive_doubt
from tracer.columns.arrays import from_numbers, read_numbers
from tracer.columns.sorting import stable_argsort
from tracer.merge.keys import join_keys
from tracer.merge.machines import check_members
from tracer.merge.member import Member, RowStream
from tracer.merge.order import merged_sequences
from tracer.merge.processes import Life, join_processes
from tracer.progress import Progress
from tracer.resolve.catalog import Catalog
from tracer.store.manifest import Manifest
from tracer.store.writer import PART_ROWS, ROW_GROUP, CaptureWriter

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline

__all__ = ["merge_captures"]

Column = NDArray[np.int64]
_SEQUENCES = ("opened_sequence", "closed_sequence", "first_sequence", "last_sequence")


def merge_captures(
    paths: Sequence[Path],
    writer: CaptureWriter,
    *,
    control_set: int | None = None,
    left_out: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    baseline: "Baseline | None" = None,
) -> Manifest:
    """Merge captures of one host, and publish them as one.

    Args:
        paths: the captures; at one time the rows of an earlier one come first, and its spelling of a key is shown.
        writer: where rows go.
        control_set: which ControlSet00N is CurrentControlSet, where the user knows it.
        left_out: sentences on what was not read, for the manifest.
        progress: called after every part.
        baseline: hives of the host; None: none was given.

    Raises:
        TargetError: the capture cannot be written.
        UsageError: the captures are proved to be of different machines or boots.
    """
    members = [Member(path) for path in paths]
    check_members([member.manifest for member in members])
    return _Merge(members, writer, control_set, progress, baseline).run(left_out)


class _Merge:
    """One merge: what is numbered anew, and the numbers."""

    def __init__(
        self,
        members: Sequence[Member],
        writer: CaptureWriter,
        control_set: int | None,
        progress: Callable[[Progress], None] | None,
        baseline: "Baseline | None",
    ) -> None:
        self._baseline = baseline
        self._members, self._writer, self._progress = members, writer, progress
        stated = [member.manifest.control_set for member in members]
        if baseline is not None:
            stated.append(baseline.control_set)
        self._control_set = next((one for one in [control_set, *stated] if one is not None), None)
        counts = [len(member.manifest.sources) for member in members]
        self._first_source = [0, *np.cumsum(counts).tolist()]
        handles = [int(member.numbers_of("handles", "handle_id").max(initial=-1)) + 1 for member in members]
        self._first_handle = [0, *np.cumsum(handles).tolist()]

    def run(self, left_out: Sequence[str]) -> Manifest:
        tree, self._keys = join_keys(self._members)
        named = None if self._baseline is None else self._baseline.name_keys(tree)
        catalog = Catalog(tree, control_set=self._control_set)
        sources: list[str | None] = []
        for table in catalog.tables():
            sources += table["name_source"].to_pylist()
            self._writer.append("keys", [table])
        self._key_sources = pa.array(sources, pa.string())
        times = [member.numbers("time_ns") for member in self._members]
        processes, self._processes = join_processes(
            [_lives(number, member, times[number]) for number, member in enumerate(self._members)]
        )
        self._writer.append("processes", [processes])
        self._sequences = merged_sequences(times)
        total = sum(len(own) for own in times)
        names, keyless = self._write_events(total)
        self._write_handles(total)
        for number, member in enumerate(self._members):
            self._write_others(number, member)
        hives: list[dict[str, Any]] = []
        if named is not None:
            hives = named.write(
                self._writer,
                first_ns=min((int(own.min()) for own in times if len(own)), default=None),
                control_set=self._control_set,
                source_id=self._first_source[-1],
            )
        return self._writer.publish(
            self._manifest(
                left_out,
                hives,
                {
                    "events": total,
                    "records": sum(member.manifest.totals.get("records", 0) for member in self._members),
                    "keys": len(tree),
                    "processes": processes.num_rows,
                    "rows_without_key": keyless,
                    "names": names,
                },
            )
        )

    def _write_events(self, total: int) -> tuple[dict[str, int], int]:
        """Write all rows in their new order; return rows by name source, and how many have no key."""
        streams = [RowStream(member) for member in self._members]
        names: Counter[str] = Counter()
        keyless = 0
        for start in range(0, total, PART_ROWS):
            pieces = []
            for number, stream in enumerate(streams):
                end = int(np.searchsorted(self._sequences[number], start + PART_ROWS))
                pieces.append(self._renumbered(number, stream.take(end)))
            table = pa.concat_tables(pieces).combine_chunks()
            keys = read_numbers(table["key_id"].combine_chunks())
            keyless += int(np.count_nonzero(~keys.is_valid))
            shown = pa.compute.coalesce(
                table["name_source"].combine_chunks(),
                self._key_sources.take(table["key_id"].combine_chunks()),
                pa.scalar("none"),
            ).filter(pa.array(keys.is_valid))
            for counted in shown.value_counts().to_pylist():
                names[counted["values"]] += counted["counts"]
            self._write(table, keys.or_else(-1).astype(np.int64))
            if self._progress:
                self._progress(Progress(start + table.num_rows, total, start + table.num_rows, "merging"))
        return dict(names), keyless

    def _renumbered(self, number: int, rows: pa.Table) -> pa.Table:
        """Return rows of a member with the numbers of the merged capture."""
        sequence = read_numbers(rows["sequence"].combine_chunks()).values
        return _replaced(
            rows,
            {
                "sequence": from_numbers(self._sequences[number][sequence]),
                "key_id": _mapped(rows["key_id"], self._keys[number]),
                "process_id": _mapped(rows["process_id"], self._processes[number]),
                "handle_id": _moved(rows["handle_id"], self._first_handle[number]),
                "source_id": _moved(rows["source_id"], self._first_source[number]),
            },
        )

    def _write(self, table: pa.Table, keys: Column) -> None:
        order = stable_argsort(read_numbers(table["sequence"].combine_chunks()).values)
        order = order[stable_argsort(keys[order] + 1)]

        def row_groups() -> Iterator[pa.Table]:
            for some in np.array_split(order, -(-len(order) // ROW_GROUP)):
                yield table.take(from_numbers(some))

        self._writer.write_part(row_groups, table.num_rows)

    def _write_handles(self, total: int) -> None:
        """Write the lives of all objects; a sequence after a capture's last row is one after all rows."""
        for number, member in enumerate(self._members):
            sequences = np.append(self._sequences[number], total)
            for table in member.slices("handles"):
                changed = {
                    "handle_id": _moved(table["handle_id"], self._first_handle[number]),
                    "key_id": _mapped(table["key_id"], self._keys[number]),
                    "process_id": _mapped(table["process_id"], self._processes[number]),
                } | {name: _mapped(table[name], sequences) for name in _SEQUENCES}
                self._writer.append("handles", [_replaced(table, changed)])

    def _write_others(self, number: int, member: Member) -> None:
        """Write what a capture says of its rows and sources."""
        for table in member.slices("extended"):
            sequence = _mapped(table["sequence"], self._sequences[number])
            self._writer.append("extended", [_replaced(table, {"sequence": sequence})])
        for name in ("losses", "diagnostics", "counters"):
            table = member.table(name)
            if table.num_rows:
                source = _moved(table["source_id"], self._first_source[number])
                self._writer.append(name, [_replaced(table, {"source_id": source})])

    def _manifest(
        self, left_out: Sequence[str], hives: list[dict[str, Any]], totals: dict[str, Any]
    ) -> Manifest:
        manifests = [member.manifest for member in self._members]
        settings: dict[str, Any] = {}
        for manifest in manifests:
            settings |= {
                name: value for name, value in manifest.settings.items() if settings.get(name) is None
            }
        copies = {name: value for one in manifests for name, value in one.settings.get("copies", {}).items()}
        settings["notes"] = [
            *left_out,
            *(note for one in manifests for note in one.settings["notes"]),
            *filter(None, map(hive_doubt, hives)),
        ]
        if copies:
            settings["copies"] = copies
        clocks = {manifest.clock for manifest in manifests}
        builds = [one.windows_build for one in manifests if one.windows_build is not None]
        return Manifest(
            complete=all(manifest.complete for manifest in manifests),
            windows_build=builds[0] if builds else None,
            clock=clocks.pop() if len(clocks) == 1 else None,
            control_set=self._control_set,
            sources=[
                source | {"source_id": first + source["source_id"]}
                for first, manifest in zip(self._first_source, manifests, strict=False)
                for source in manifest.sources
            ]
            + hives,
            settings=settings,
            totals=totals,
        )


def _lives(number: int, member: Member, times: Column) -> list[Life]:
    """Return the processes of a capture, and when each had its rows."""
    rows = member.table("processes").to_pylist()
    process = member.numbers("process_id")
    first = np.full(len(rows), np.iinfo(np.int64).max)
    last = np.full(len(rows), np.iinfo(np.int64).min)
    some = np.flatnonzero(process >= 0)
    np.minimum.at(first, process[some], times[some])
    np.maximum.at(last, process[some], times[some])
    return [
        Life(
            number,
            row,
            *((None, None) if first[place] > last[place] else (int(first[place]), int(last[place]))),
        )
        for place, row in enumerate(rows)
    ]


def _mapped(column: pa.ChunkedArray, new: NDArray[Any]) -> pa.Array:
    """Return the new number of each old one; NULL stays."""
    old = read_numbers(column.combine_chunks())
    if not len(new):
        return pa.nulls(len(column), column.type)
    return from_numbers(new[np.where(old.is_valid, old.values, 0)], old.is_valid).cast(column.type)


def _moved(column: pa.ChunkedArray, by: int) -> pa.Array:
    """Return numbers that count from `by` instead of 0; NULL stays."""
    old = read_numbers(column.combine_chunks())
    return from_numbers(old.values + old.values.dtype.type(by), old.is_valid)


def _replaced(table: pa.Table, columns: dict[str, pa.Array]) -> pa.Table:
    """Return the table with other columns in the place of some."""
    return pa.Table.from_arrays(
        [columns.get(name, table[name]) for name in table.column_names], schema=table.schema
    )
