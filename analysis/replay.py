"""Stored captures as notifications, in order: the callbacks of a live monitor over recorded events.

Any source will do (ETW, the classic logger, Procmon). One part is in memory at a time, and of the names of keys
and processes each is in memory once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.dataset.members import find_captures, local_captures
from analysis.times import parse_time
from tracer.callbacks.notification_rows import COLUMNS, make_notifications
from tracer.callbacks.notifications import Notification
from tracer.callbacks.registrations import Registrations
from tracer.callbacks.selection import Names, Selection
from tracer.deprecation import renamed_arguments
from tracer.errors import CaptureError
from tracer.registry.user_keys import user_root
from tracer.schema import EVENTS, OF_VALUES, STRUCTURED, TABLES
from tracer.store.manifest import STRUCTURES, Manifest
from tracer.store.reader import table_files

if TYPE_CHECKING:
    from analysis.capture import Capture

__all__ = ["replay"]

_BLOBS = ("data", "previous_data")
_LINKS = ("key_id", "process_id", "handle_id")
_LIGHT = [name for name in EVENTS.names if name in (COLUMNS | set(_LINKS)) - set(_BLOBS)]
_FEW_HANDLES = 1 << 22  # up to so many lives of handles are kept in memory; more are looked up part by part


@renamed_arguments(keys="key", until="end", user_sid="user")
def replay(
    capture: "Capture | Path | str",
    registrations: Registrations | None = None,
    *,
    key: Names = None,
    start: str | datetime | None = None,
    end: str | datetime | None = None,
    subtree: bool = False,
    user: str | None = None,
) -> Iterator[Notification]:
    r"""Yield events as notifications, in the order of `sequence`.

    With `registrations`, each callback is called with what it wants, as a live monitor calls it, and a
    notification is yielded after its callbacks were called; what no callback wants is not yielded. An exception
    in a callback does not end the replay: it is counted and warned of (`tracer.callbacks.registrations.Registrations.register`).

        for notification in replay("install.regtrace", registrations):
            ...

    Args:
        capture: a capture directory, a folder of captures, or what `open_capture` opened; several captures
            come one after the other.
        registrations: callbacks; None yields every notification.
        key: only this key (HKLM\..., with ``*`` and ``**``), or several; None for all.
        start: first time: ISO 8601, ``+90s`` after the first event, ``-5m`` before the last; None for all.
        end: last time, inclusive; None for all.
        subtree: also the keys below `key`.
        user: SID of the user whose keys HKCU and HKCR are; None: everybody's with a profile.

    Raises:
        CaptureError: the capture is missing, incomplete, damaged or of another format.
        UsageError: a filter cannot be understood.
    """
    stores = _stores(capture) if isinstance(capture, str | Path) else capture.context.stores
    shows_user = any(manifest.shows_user for _, manifest in stores)
    selection = _selection(capture, key, subtree=subtree, user=user, shows_user=shows_user)
    parts = [part for _, manifest in stores for part in manifest.parts]
    first_ns = min((part["first_ns"] for part in parts), default=None)
    last_ns = max((part["last_ns"] for part in parts), default=None)
    times = [
        None if time is None else parse_time(time, first_ns=first_ns, last_ns=last_ns, end=is_end)
        for time, is_end in ((start, False), (end, True))
    ]
    return _one_by_one(stores, registrations, selection, times[0], times[1])


def _selection(
    capture: "Capture | Path | str", key: Names, *, subtree: bool, user: str | None, shows_user: bool
) -> Selection:
    """Return the selection of keys; what users are called, and short ids, are looked up in the capture."""
    texts = [key] if isinstance(key, str) else list(key or ())
    if not any(user_root(text) or text.startswith("#") for text in texts):
        return Selection(key=key, subtree=subtree, user=user, shows_user=shows_user)
    from analysis.open import open_capture

    with nullcontext(capture) if not isinstance(capture, str | Path) else open_capture(capture) as opened:
        context = opened.context
        return Selection(
            key=[context.literal_key(text) for text in texts],
            subtree=subtree,
            user=user,
            shows_user=shows_user,
            sids=lambda word: [one.sid for one in context.users.meant(word)],
        )


def _one_by_one(
    stores: Sequence[tuple[Path, Manifest]],
    registrations: Registrations | None,
    selection: Selection,
    start_ns: int | None,
    end_ns: int | None,
) -> Iterator[Notification]:
    try:
        for directory, manifest in stores:
            reader = _Reader(directory, manifest)
            yield from _notifications(reader, registrations, selection, start_ns, end_ns)
    finally:  # also where the replay is left before its end
        if registrations is not None:
            registrations.warn_of_failures()


def _stores(path: Path | str) -> list[tuple[Path, Manifest]]:
    """Return the captures at a path."""
    place = local_captures(path)
    captures = find_captures(place)
    if captures is None:
        captures = [(Path(place), None)]  # type: ignore[arg-type]  # one that is no folder of captures
    directories = [directory for directory, _ in captures]
    return [(directory, Manifest.load(directory)) for directory in directories]


def _notifications(
    reader: "_Reader",
    registrations: Registrations | None,
    selection: Selection,
    start_ns: int | None,
    end_ns: int | None,
) -> Iterator[Notification]:
    control_set = reader.manifest.control_set
    for parts in _slices(reader.manifest.parts):
        if start_ns is not None and all(part["last_ns"] < start_ns for part in parts):
            continue
        if end_ns is not None and all(part["first_ns"] > end_ns for part in parts):
            continue
        rows = reader.read(parts, selection, start_ns, end_ns)
        if registrations is None:
            yield from make_notifications(rows)
        else:
            yield from registrations.deliver(rows, control_set=control_set)


def _slices(parts: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield parts in the order of sequence; overlapping parts come together (ours never overlap)."""
    together: list[dict[str, Any]] = []
    for part in sorted(parts, key=lambda part: part["first_sequence"]):
        if together and part["first_sequence"] > max(each["last_sequence"] for each in together):
            yield together
            together = []
        together.append(part)
    if together:
        yield together


class _Reader:
    """The rows of a capture with their names."""

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self._directory = directory
        self._files = table_files(directory, manifest)
        self._keys = self._names("keys", ["key_id", "path", "display_path", "name_source"])
        self._processes = self._names("processes", ["process_id", "pid", "image", "image_path"])
        self._few = manifest.tables["handles"]["rows"] <= _FEW_HANDLES
        self._addresses: pa.Table | None = None

    def read(
        self, parts: list[dict[str, Any]], selection: Selection, start_ns: int | None, end_ns: int | None
    ) -> pa.Table:
        """Return the rows of some parts that fit, by sequence, with their names."""
        tables = [self._part(self._directory / part["file"], selection, start_ns, end_ns) for part in parts]
        rows = pa.concat_tables(tables)
        rows = rows.take(pc.sort_indices(rows, sort_keys=[("sequence", "ascending")]))
        handles = rows.column("handle_id")
        return rows.append_column("address", self._handles(handles)).drop_columns(list(_LINKS))

    def _part(self, path: Path, selection: Selection, start_ns: int | None, end_ns: int | None) -> pa.Table:
        """Return the rows of one part that fit; captured bytes are read for these only."""
        with _damage(path), pq.ParquetFile(path) as file:
            rows = _as_stored(file.read(columns=_LIGHT), "events", _LIGHT)
            rows = self._named(rows)
            mask = selection.match(rows, control_set=self.manifest.control_set)
            times = rows.column("time_ns").to_numpy()
            if start_ns is not None:
                mask &= times >= start_ns
            if end_ns is not None:
                mask &= times <= end_ns
            places = np.flatnonzero(mask)
            if len(places) < len(mask):
                rows = rows.take(pa.array(places))
            blobs, start = [], 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                here = places[(places >= start) & (places < start + size)] - start
                start += size
                if len(here):
                    some = _as_stored(file.read_row_group(group, columns=list(_BLOBS)), "events", _BLOBS)
                    blobs.append(some.take(pa.array(here)))
        joined = pa.concat_tables(blobs) if blobs else None
        for name in _BLOBS:
            column = pa.nulls(0, pa.binary()) if joined is None else joined.column(name)
            rows = rows.append_column(name, column)
        return _without_structures(rows) if self.manifest.data_of_reads == STRUCTURES else rows

    def _named(self, rows: pa.Table) -> pa.Table:
        """Join the names of keys and processes; `name_source` as the view `events` has it."""
        keys = _places(rows.column("key_id"), self._keys.column("key_id"))
        processes = _places(rows.column("process_id"), self._processes.column("process_id"))
        of_key = self._keys.column("name_source").take(keys)
        has_key = pc.is_valid(rows.column("key_id"))
        unnamed = pc.if_else(has_key, pa.scalar("none"), pa.scalar(None, pa.string()))
        row_source = rows.column("name_source")
        source = pc.if_else(has_key, pc.coalesce(row_source, of_key, unnamed), row_source)
        rows = rows.set_column(rows.schema.get_field_index("name_source"), "name_source", source)
        rows = rows.append_column("key", self._keys.column("path").take(keys))
        rows = rows.append_column("display_key", self._keys.column("display_path").take(keys))
        rows = rows.append_column("process", self._processes.column("image").take(processes))
        rows = rows.append_column("image_path", self._processes.column("image_path").take(processes))
        return rows.append_column("pid", self._processes.column("pid").take(processes))

    def _names(self, table: str, columns: list[str]) -> pa.Table:
        [path] = self._files[table]
        with _damage(path):
            return _as_stored(pq.read_table(path, columns=columns), table, columns).combine_chunks()

    def _handles(self, ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the addresses of handle lives; NULL where the life is missing."""
        if self._addresses is None:
            wanted = None if self._few else pc.unique(ids)
            addresses = self._lives(wanted)
            if self._few:
                self._addresses = addresses
        else:
            addresses = self._addresses
        return addresses.column("address").take(_places(ids, addresses.column("handle_id")))

    def _lives(self, wanted: pa.Array | None) -> pa.Table:
        columns = ["handle_id", "address"]
        [path] = self._files["handles"]
        parts = [TABLES["handles"].arrow().empty_table().select(columns)]
        with _damage(path), pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                lives = _as_stored(file.read_row_group(group, columns=columns), "handles", columns)
                if wanted is not None:
                    lives = lives.filter(pc.is_in(lives.column("handle_id"), value_set=wanted))
                parts.append(lives)
            lives = pa.concat_tables(parts).combine_chunks()
            return lives.take(pc.sort_indices(lives.column("handle_id")))


def _without_structures(rows: pa.Table) -> pa.Table:
    """Return rows of an older capture without the data of reads that is no value's."""
    of_value = pc.invert(pc.is_in(rows.column("operation"), value_set=pa.array(STRUCTURED)))
    for name in OF_VALUES:
        column = rows.column(name)
        of_values = pc.if_else(of_value, column, pa.scalar(None, column.type))
        rows = rows.set_column(rows.schema.get_field_index(name), name, of_values)
    return rows


def _places(ids: pa.ChunkedArray, table_ids: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the index of each id in `table_ids`; NULL where it is missing."""
    count = len(table_ids)
    if pc.all(pc.equal(table_ids, pa.array(np.arange(count), table_ids.type))).as_py():
        # Ours count from 0, which needs no look-up.
        inside = pc.and_(pc.greater_equal(ids, 0), pc.less(ids, count))
        return pc.if_else(inside, ids, pa.scalar(None, ids.type))
    return pc.index_in(ids, value_set=table_ids)


def _as_stored(rows: pa.Table, table: str, columns: Sequence[str]) -> pa.Table:
    """Return columns with the types of the schema: a reader may have changed them."""
    stated = TABLES[table].arrow()
    return rows.select(list(columns)).cast(pa.schema([stated.field(name) for name in columns]))


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn Arrow's error about an unreadable file into one sentence."""
    try:
        yield
    except (OSError, pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        raise CaptureError(f"{path} is damaged: run the ingest again ({str(error)[:200]})") from error
