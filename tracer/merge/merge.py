"""Several captures of one host to one: keys, processes, handles and rows numbered anew, in one order by time.

Reports of one operation by several sources become one row, unless the user wants them apart. In memory are some numbers
for each row (when it was, and where it stands among all), and a part.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.baseline.doubts import hive_doubt
from tracer.columns.arrays import from_numbers, read_numbers
from tracer.columns.sorting import stable_argsort
from tracer.diagnostics import Diagnostics
from tracer.merge.keys import join_keys
from tracer.merge.links import Links, find_links
from tracer.merge.machines import check_members
from tracer.merge.member import Member, RowStream
from tracer.merge.one_row import fill_rows
from tracer.merge.order import merged_sequences
from tracer.merge.processes import Life, join_processes
from tracer.merge.reports import Keys, find_owners
from tracer.merge.waiting import WaitingRows, write_waiting
from tracer.progress import Progress
from tracer.resolve.catalog import Catalog
from tracer.store.manifest import Manifest
from tracer.store.writer import PART_ROWS, CaptureWriter, sorted_row_groups

if TYPE_CHECKING:
    from tracer.baseline.capture_tables import Baseline

__all__ = ["merge_captures"]

Column = NDArray[np.int64]
_SEQUENCES = ("opened_sequence", "closed_sequence", "first_sequence", "last_sequence")


def merge_captures(
    paths: Sequence[Path],
    writer: CaptureWriter,
    *,
    link: bool = True,
    control_set: int | None = None,
    left_out: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
    baseline: "Baseline | None" = None,
) -> Manifest:
    """Merge captures of one host, and publish them as one.

    Args:
        paths: the captures; at one time the rows of an earlier one come first, and its spelling of a key is shown. Beside
            the first of them a file is written and removed again.
        writer: where rows go.
        link: whether reports of one operation by several sources become one row.
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
    return _Merge(members, writer, control_set, progress, baseline).run(link, left_out)


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
        self._first_row = [0, *np.cumsum([member.rows for member in members]).tolist()]

    def run(self, link: bool, left_out: Sequence[str]) -> Manifest:
        keys = self._join_keys()
        self._keys = keys.new
        times = [member.numbers("time_ns") for member in self._members]
        process = [member.numbers("process_id") for member in self._members]
        links = find_links(self._members, keys) if link else Links(np.arange(self._first_row[-1]))
        processes, self._processes = join_processes(
            [_lives(*one) for one in zip(self._members, times, process, strict=True)],
            _same_processes(
                links, process, [member.manifest.totals["processes"] for member in self._members]
            ),
        )
        self._writer.append("processes", [processes])
        self._number_rows(times, links)
        total = int(np.count_nonzero(~links.goes))
        beside = self._members[0].path.with_suffix(".linked")
        with write_waiting(beside, self._linked_rows()) as batches:
            gone = np.concatenate([own[goes] for own, goes in zip(self._sequences, self._goes, strict=True)])
            names, keyless = self._write_events(total, WaitingRows(batches, gone), keys.owner >= 0)
        beside.unlink()
        self._write_handles(total)
        for number, member in enumerate(self._members):
            self._write_others(number, member)
        hives: list[dict[str, Any]] = []
        if self._named is not None:
            hives = self._named.write(
                self._writer,
                first_ns=min((int(own.min()) for own in times if len(own)), default=None),
                control_set=self._control_set,
                source_id=self._first_source[-1],
            )
        if link:
            self._writer.append_rows("diagnostics", _counts(links))
        return self._writer.publish(
            self._manifest(
                left_out,
                hives,
                links if link else None,
                {
                    "events": total,
                    "records": sum(member.manifest.totals.get("records", 0) for member in self._members),
                    "keys": len(keys.same_as),
                    "processes": processes.num_rows,
                    "rows_without_key": keyless,
                    "names": names,
                },
            )
        )

    def _join_keys(self) -> Keys:
        """Write the keys of all captures, and return them."""
        tree, new = join_keys(self._members)
        self._named = None if self._baseline is None else self._baseline.name_keys(tree)
        same_as, folded, sources = [np.zeros(0, np.int32)], [], []
        for table in Catalog(tree, control_set=self._control_set).tables():
            same_as.append(read_numbers(table["same_as"].combine_chunks()).values)
            named = table["name_source"].to_pylist()
            sources += named
            folded += [
                None if source in ("none", "partial") else path
                for source, path in zip(named, table["folded_path"].to_pylist(), strict=True)
            ]
            self._writer.append("keys", [table])
        self._key_sources = pa.array(sources, pa.string())
        return Keys(new, np.concatenate(same_as), folded, find_owners(folded))

    def _number_rows(self, times: Sequence[Column], links: Links) -> None:
        """Give each row its place among those that stay; what goes has the sequence of the row that it becomes a part of."""
        rank = np.concatenate(merged_sequences(times))
        goes = links.goes
        stays = np.empty(len(rank), np.int64)
        stays[rank] = ~goes
        place = (np.cumsum(stays) - stays)[rank]
        sequence = np.where(goes, place[links.row_of], place)
        bounds = self._first_row[1:-1]
        self._goes = np.split(goes, bounds)
        self._places = np.split(place, bounds)
        self._sequences = np.split(sequence, bounds)

    def _linked_rows(self) -> Iterator[pa.Table]:
        """Yield the rows that become a part of others, those of a source that says more of an operation first."""
        for number, member in enumerate(self._members):
            if not self._goes[number].any():
                continue
            stream = RowStream(member)
            for end in (*range(PART_ROWS, member.rows, PART_ROWS), member.rows):
                rows = stream.take(end)
                yield self._renumbered(number, rows.filter(self._goes[number][end - rows.num_rows : end]))

    def _write_events(
        self, total: int, linked: WaitingRows, is_owned: NDArray[np.bool_]
    ) -> tuple[dict[str, int], int]:
        """Write all rows in their new order; return rows by name source, and how many have no key."""
        streams = [RowStream(member) for member in self._members]
        size = sum(source["size"] for member in self._members for source in member.manifest.sources)
        names: Counter[str] = Counter()
        keyless = 0
        for start in range(0, total, PART_ROWS):
            pieces = []
            for number, stream in enumerate(streams):
                end = int(np.searchsorted(self._places[number], start + PART_ROWS))
                rows = stream.take(end)
                stays = ~self._goes[number][end - rows.num_rows : end]
                pieces.append(self._renumbered(number, rows.filter(stays)))
            table = pa.concat_tables(pieces).combine_chunks()
            table = table.take(
                from_numbers(stable_argsort(read_numbers(table["sequence"].combine_chunks()).values))
            )
            more, sequence = linked.take(start, start + PART_ROWS)
            if more.num_rows:
                table = fill_rows(table, more, sequence - start, is_owned)
            keys = read_numbers(table["key_id"].combine_chunks())
            keyless += int(np.count_nonzero(~keys.is_valid))
            shown = pc.coalesce(
                table["name_source"].combine_chunks(),
                self._key_sources.take(table["key_id"].combine_chunks()),
                pa.scalar("none"),
            ).filter(pa.array(keys.is_valid))
            for counted in shown.value_counts().to_pylist():
                names[counted["values"]] += counted["counts"]
            self._writer.write_part(partial(sorted_row_groups, table), table.num_rows)
            if self._progress:
                self._progress(Progress(size, size, start + table.num_rows))
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
        self,
        left_out: Sequence[str],
        hives: list[dict[str, Any]],
        links: Links | None,
        totals: dict[str, Any],
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
        if links is not None:
            settings["links"] = [link.as_dict() for link in links.pairs]
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


def _lives(member: Member, times: Column, process: Column) -> list[Life]:
    """Return the processes of a capture, and when each had its rows."""
    rows = member.table("processes").to_pylist()
    first = np.full(len(rows), np.iinfo(np.int64).max)
    last = np.full(len(rows), np.iinfo(np.int64).min)
    some = np.flatnonzero(process >= 0)
    np.minimum.at(first, process[some], times[some])
    np.maximum.at(last, process[some], times[some])
    return [
        Life(row, *((None, None) if first[place] > last[place] else (int(first[place]), int(last[place]))))
        for place, row in enumerate(rows)
    ]


def _same_processes(links: Links, process: Sequence[Column], counts: Sequence[int]) -> list[tuple[int, int]]:
    """Return the processes of linked rows, pair by pair, numbered through all captures."""
    firsts = np.cumsum([0, *counts[:-1]])
    every = np.concatenate(
        [np.where(own < 0, -1, own + first) for own, first in zip(process, firsts, strict=True)]
    )
    gone = np.flatnonzero(links.goes)
    pairs = np.stack([every[gone], every[links.row_of[gone]]], axis=1)
    return [(one, other) for one, other in np.unique(pairs[(pairs >= 0).all(axis=1)], axis=0).tolist()]


def _counts(links: Links) -> list[dict[str, Any]]:
    """Return what was linked as rows of the table `diagnostics`."""
    found = Diagnostics()
    found.count("linked_reports", int(np.count_nonzero(links.goes)))
    found.count("unlinked_reports", sum(links.alone.values()))
    return found.rows(None)


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
