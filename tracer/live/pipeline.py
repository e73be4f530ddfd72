"""The live pipeline: makes named rows of a session's records, in memory that does not grow with time.

The steps are those of `tracer.ingest.pipeline`; what differs is that rows are handed out at once, so a name that
only later evidence gives is missing from them.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.decode.batch import Operations
from tracer.decode.columns import decode_operations
from tracer.decode.plans import ABSENT, PlanTables
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.etl.losses import find_unread
from tracer.etl.providers import ProviderTable
from tracer.etl.records import Records
from tracer.live.key_names import KeyNames
from tracer.live.records import RawRecord, ReorderWindow, records_from_raw
from tracer.resolve.handles import HandleLog
from tracer.resolve.losses import LossTimes
from tracer.resolve.object_ops import CLASSIC_SPACE, ObjectOps
from tracer.resolve.resolver import Resolver
from tracer.resolve.tree import KeyTree
from tracer.rows.ambiguous_names import AmbiguousNames
from tracer.rows.events import EventRows, durations, make_object_ops, time_order
from tracer.rows.process_records import process_records
from tracer.rows.process_tree import ProcessTree
from tracer.rows.processes import ProcessRecord, ProcessTable
from tracer.schema import EVENTS

__all__ = ["IN_TREE", "LIVE_COLUMNS", "LivePipeline"]

LIVE_COLUMNS = (
    "sequence", "time", "time_ns", "operation", "notify_class", "phase", "status", "key", "display_key",
    "requested_name", "value_name", "process", "pid", "thread_id", "image_path", "command_line", "user",
    "disposition", "information_class", "index", "entry_count", "data_type", "data_size", "data",
    "previous_type", "previous_size", "previous_data", "address", "name_source", "event_id", "flags", "detail",
)  # fmt: skip
IN_TREE = "in_tree"  # whether a row's process belongs to the tree that is asked for
_TEXT = pa.dictionary(pa.int32(), pa.string())
_PLAIN = pa.dictionary(pa.int8(), pa.string())
_OWN = {
    "operation": _PLAIN, "phase": _PLAIN, "name_source": _TEXT, "key": _TEXT, "display_key": _TEXT,
    "requested_name": _TEXT, "value_name": _TEXT, "process": _TEXT, "image_path": _TEXT, "command_line": _TEXT,
    "user": _TEXT, "pid": pa.uint32(), "address": pa.int64(),
}  # fmt: skip
_MOST_NAMES = 100_000  # names, keys or process lives after which a new generation begins
_MOST_LOSSES = 64
_UNDECODED = ("short_payload", "unknown_registry_event")
_LINGERS_NS = 60_000_000_000  # rows of an ended process may still come


class _NoHandleLog(HandleLog):
    """Keeps no lifetimes of handles, because live rows do not need them."""

    def grow(self, size: int) -> None:
        pass

    def seed(self, slot: int, handle: int, address: int, key: int) -> None:
        pass

    def note(self, ops: ObjectOps, **lives: object) -> None:
        pass

    def forget(self, kept: NDArray[np.bool_]) -> None:
        pass


class LivePipeline:
    """Makes rows with names of raw records.

    Args:
        seed: addresses and native paths (escaped) of objects that were open at `seed_ns`.
        processes: what a snapshot of the running processes said.
        seed_ns: when the seed was read, UTC nanoseconds; None: before the first record. Until records from
            after it have come, rows are held back: objects opened or closed meanwhile are known better from
            their records than from the seed.
        window_ns: how long records are held back so that those of other processors can be put before them.
        most_names: names, keys or processes that are remembered before all but open objects are forgotten.
        control_set: number of the current control set, for `display_key`; None if unknown.
        clock: seconds that only rise.
        tree: the processes that are asked for; rows then have the column IN_TREE. None: rows do not tell.

    Attributes:
        records, rows: how many were read, and how many rows they made.
        undecoded: registry records among them of which no row could be made: too short, or of an unknown kind.
        generations: how often everything but open objects was forgotten.
        diagnostics: everything odd that was met, counted; late records are `late_record`.
        unplaced: pids of processes with rows of which it is not known whether they belong to `tree`.
        seed_dropped: names of the seed that records from before its reading made doubtful.
    """

    def __init__(
        self,
        seed: tuple[list[int], list[str]] | None = None,
        processes: Sequence[ProcessRecord] = (),
        *,
        seed_ns: int | None = None,
        window_ns: int = 200_000_000,
        most_names: int = _MOST_NAMES,
        control_set: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        tree: ProcessTree | None = None,
    ) -> None:
        self.diagnostics = Diagnostics()
        self.records = self.rows = self.undecoded = self.generations = self.seed_dropped = 0
        self._window = ReorderWindow(window_ns, clock=clock)
        self._most = self._room = most_names
        self._control_set = control_set
        self._providers = ProviderTable()
        self._losses: list[tuple[int | None, int | None]] = []
        self._loss_times = LossTimes([])
        self._processes = ProcessTable()
        self._processes.assign(np.empty(0, np.int64), [(0, record) for record in processes])
        self._process_tree = tree
        self.unplaced: set[int] = set()
        self._begin()
        self._resolver = Resolver(self._tree, self._names.texts, self._loss_times)
        self._resolver.handles = _NoHandleLog()
        self._seed, self._seed_ns = seed, seed_ns

    @property
    def held(self) -> int:
        """How many records are held back to be put in order."""
        return len(self._window)

    @property
    def remembered(self) -> int:
        """The number of names, keys and processes in memory."""
        return len(self._names.texts) + len(self._tree) + len(self._processes)

    def push(self, raw: list[RawRecord]) -> pa.Table:
        """Take records (perhaps none) and return the rows that are ready, in time order.

        Columns are LIVE_COLUMNS, with the meaning of `tracer.schema.EVENTS` and of the view `events`;
        `address` is the kernel object used (for a successful open or create, the one it made).
        """
        waits = self._seed_ns if self._seed is not None else None
        return self._take(self._window.push(raw, hold_until_ns=waits))

    def flush(self, most: int | None = None) -> pa.Table:
        """Return the rows of all records held back, or of the `most` oldest of them."""
        if self._seed is not None:  # what it is worth shows in all that came before it
            most = None
        return self._take(self._window.flush(most))

    def note_loss(self, from_ns: int | None, to_ns: int | None) -> None:
        """Note that events were lost between two times; names from before get the flag `across_loss` after it."""
        self._losses.append((from_ns, to_ns))
        if len(self._losses) > _MOST_LOSSES:  # the two oldest as one: too wide is safe
            (start, end), (other_start, other_end), *rest = self._losses
            start = None if start is None or other_start is None else min(start, other_start)
            end = None if end is None or other_end is None else max(end, other_end)
            self._losses = [(start, end), *rest]
        self._loss_times.replace(self._losses)

    def _begin(self) -> None:
        """Begin a generation without any names."""
        self._names, self._tree = NameTable(), KeyTree()
        self._key_names = KeyNames(self._tree, self._control_set)
        self._rows = EventRows(self._names)

    def _take(self, raw: list[RawRecord]) -> pa.Table:
        if not raw:
            return _EMPTY
        self.diagnostics.count("late_record", self._window.late - self.diagnostics["late_record"])
        records = records_from_raw(raw, self._providers, self.records, self.diagnostics)
        operations = decode_operations(records, self._providers.names, self._names, [self.diagnostics])
        for loss in find_unread(records, operations.unread):  # an open or a close may be among them
            self.note_loss(loss.from_ns, loss.to_ns)
        order = time_order(records, operations)
        changes = process_records(records, operations, self._providers.names)
        process = self._processes.assign(records.pid[operations.rows[order]], changes)
        is_row = PlanTables.operation[operations.plan[order]] != ABSENT
        sequence = self.rows + np.cumsum(is_row) - is_row
        ops = make_object_ops(records, operations, order, process, sequence, self._names)
        if self._seed is not None:
            self._apply_seed(ops)
        ambiguous = AmbiguousNames(records, operations, order, self._names, [self.diagnostics])
        resolved = ambiguous.resolve(self._resolver, ops)
        self._rows.add(records, operations, order, ops, resolved, durations(records, operations, []))
        rows = self._name_rows(ops, is_row) if is_row.any() else _EMPTY
        self._renew(records, operations)
        # Last: records are read when their rows are there, whatever was raised on the way.
        self.records += len(records)
        self.rows += rows.num_rows
        self.undecoded = sum(self.diagnostics[name] for name in _UNDECODED)
        return rows

    def _apply_seed(self, ops: ObjectOps) -> None:
        """Seed the resolver, except for objects that were opened or closed before the seed was read."""
        assert self._seed is not None
        addresses, paths = self._seed
        since = self._seed_ns
        self._seed = None
        if since is not None:
            before = ops.time_ns <= since
            newer = set(ops.opened_object[before].tolist())
            newer |= set(ops.address[before & ops.closes].tolist())
            places = [place for place, address in enumerate(addresses) if address not in newer]
            self.seed_dropped = len(addresses) - len(places)
            addresses, paths = [addresses[place] for place in places], [paths[place] for place in places]
        first = int(ops.time_ns[0]) if len(ops) else 0
        self._resolver.seed(addresses, paths, first if since is None else since)

    def _name_rows(self, ops: ObjectOps, is_row: NDArray[np.bool_]) -> pa.Table:
        rows = self._rows.in_order()
        keys = _Distinct(rows.column("key_id"))
        lifetimes = _Distinct(rows.column("process_id"))
        names = self._processes.names(lifetimes.values)
        opened = ops.opened_object[is_row]
        address = np.where(opened != 0, opened, ops.address[is_row]) & ~np.uint64(CLASSIC_SPACE)
        own = {
            "key": keys.texts([self._key_names.path(node) for node in keys.values]),
            "display_key": keys.texts([self._key_names.display_path(node) for node in keys.values]),
            "name_source": self._sources(rows.column("name_source"), keys),
            "pid": pa.array([life.pid for life in names], pa.uint32()).take(lifetimes.places),
            "process": lifetimes.texts([life.image for life in names]),
            "image_path": lifetimes.texts([life.image_path for life in names]),
            "command_line": lifetimes.texts([life.command_line for life in names]),
            "user": lifetimes.texts([life.user for life in names]),
            "address": pa.array(address.view(np.int64), mask=address == 0),
        }
        columns = [own[name] if name in own else _plain(rows.column(name), name) for name in LIVE_COLUMNS]
        named = pa.table(columns, schema=_SCHEMA)
        if self._process_tree is None:
            return named
        marks = pa.array(self._mark(lifetimes.values), pa.bool_()).take(lifetimes.places)
        return named.append_column(IN_TREE, marks)

    def _mark(self, process_ids: Sequence[int]) -> list[bool]:
        """Return which lives belong to the tree that is asked for."""
        assert self._process_tree is not None
        lives = self._processes.lives
        unknown = self._process_tree.mark(lives, process_ids)
        self.unplaced.update(lives[process_id].pid for process_id in unknown)
        return [lives[process_id].in_tree for process_id in process_ids]

    def _sources(self, stored: pa.ChunkedArray, keys: "_Distinct") -> pa.Array:
        """Return each row's name source: the stored one, or the current one of keys still without a name."""
        later = keys.texts([self._key_names.source(node) for node in keys.values]).cast(pa.string())
        texts = stored.cast(pa.string()).combine_chunks()
        return pa.compute.coalesce(texts, later).dictionary_encode()

    def _renew(self, records: Records, operations: Operations) -> None:
        """Begin a new generation if too many names, keys or processes are in memory."""
        most = max(len(self._names.texts), len(self._tree), len(self._processes))
        if most <= self._room or not len(operations):
            return
        now_ns = int(records.time_ns[-1])
        self._begin()
        self._resolver.compact(self._tree, self._names.texts, now_ns)
        if self._process_tree is not None:  # while ancestors that ended are still there
            self._process_tree.mark(self._processes.lives, range(len(self._processes)))
        self._processes.forget(now_ns - _LINGERS_NS)
        self.generations += 1
        # Where open objects alone are many, the next turn comes when as many again were met.
        self._room = max(self._most, 2 * max(len(self._tree), len(self._processes)))


class _Distinct:
    """A column of numbers as its distinct values and each row's place among them (NULL where it has none)."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        encoded = column.combine_chunks().dictionary_encode()
        self.places: pa.Array = encoded.indices
        self.values: list[int] = encoded.dictionary.to_pylist()

    def texts(self, texts: Sequence[str | None]) -> pa.DictionaryArray:
        """Return a column in which each number is replaced by its text."""
        distinct = pa.array(texts, pa.string())
        if distinct.null_count:
            return distinct.take(self.places).dictionary_encode()
        return pa.DictionaryArray.from_arrays(self.places, distinct)


def _plain(column: pa.ChunkedArray, name: str) -> pa.Array:
    array = column.combine_chunks()
    return array.cast(_SCHEMA.field(name).type)


def _schema() -> pa.Schema:
    stored = EVENTS.arrow()
    return pa.schema(
        [pa.field(name, _OWN[name] if name in _OWN else stored.field(name).type) for name in LIVE_COLUMNS]
    )


_SCHEMA = _schema()
_EMPTY = _SCHEMA.empty_table()
