"""The truth beside a simulated trace: what really happened, and what a reader of the file can know.

Rows are collected while the trace is made and finished afterwards, because what got lost, and which name
can be known from evidence that comes later, is certain only at the end. So a first file holds the rows as
they came, and a second pass, vectorised and one row group at a time, adds the verdicts.
"""

from array import array
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tracer.registry.operations import BY_NAME
from tracer.simulate.container import Clock, Placement
from tracer.simulate.record_flags import (
    CLOSES,
    EVIDENCE_ONLY,
    NAMES_BASE,
    NAMES_LIFE,
    OPENS,
    OWN_NAME,
    UNDER_BASE,
)

__all__ = [
    "OPERATION_NAMES",
    "TRUTH_COLUMNS",
    "TruthWriter",
]

# Event id -> operation, in the manifest's order; the classic opcodes are translated to these ids.
OPERATION_NAMES = (
    "CreateKey", "OpenKey", "DeleteKey", "QueryKey", "SetValueKey", "DeleteValueKey", "QueryValueKey",
    "EnumerateKey",
    "EnumerateValueKey", "QueryMultipleValueKey", "SetInformationKey", "FlushKey", "CloseKey",
    "QuerySecurityKey",
    "SetSecurityKey",
)  # fmt: skip
assert all(name in BY_NAME for name in OPERATION_NAMES)

TRUTH_COLUMNS = {
    "number": "position in true order, from 0; time order too, but for late closes",
    "time_ns": "UTC, nanoseconds since 1970, rounded down to the nanosecond",
    "ticks": "raw time stamp",
    "pid": "process",
    "tid": "thread",
    "cpu": "processor",
    "operation": "as tracer.registry.operations names it",
    "status": "NTSTATUS in the record",
    "key_object": "object (classic: control block) in the record, 64-bit pattern; 0 for an open that failed",
    "base_object": "object an open or create was relative to; 0 for none",
    "path": "true native path of the key acted on, links followed, escaped",
    "spelled_path": "that path as the requests spelled it: through links, in their case",
    "value_name": "escaped; NULL where the operation has no value",
    "requested_name": "what an open or create asked for, escaped; else NULL",
    "data": "SetValueKey: all the data written; reads: all the data returned, NULL when not captured",
    "previous_data": "SetValueKey: all the data there was before; NULL for none",
    "option_word": "the provider's option word in force",
    "life": "number of the object's life; NULL for an open without an object",
    "base_life": "the same for base_object",
    "knowable": "whether the file alone names the key: by the record itself, by an earlier or a later one",
    "knowable_with_seed": "the same with the seed table",
    "blurred": "the file cannot tell the object from an earlier one at its address, since records were lost",
    "lost": "the record is not in the file",
    "record_offset": "where in the file the record starts (were no buffer compressed); NULL when lost",
}
_KINDS = (
    ("ticks", pa.int64()), ("pid", pa.uint32()), ("tid", pa.uint32()), ("cpu", pa.int16()), ("id",
                                                                                             pa.int16()),
    ("status", pa.uint32()), ("key_object", pa.uint64()), ("base_object", pa.uint64()), ("path", pa.string()),
    ("spelled_path", pa.string()), ("value_name", pa.string()), ("requested_name", pa.string()),
    ("data", pa.binary()), ("previous_data", pa.binary()), ("option_word", pa.uint8()), ("life", pa.int32()),
    ("base_life", pa.int32()), ("kind", pa.uint8()), ("buffer", pa.int32()), ("place", pa.int32()),
    ("size", pa.int32()),
)  # fmt: skip
_FIRST = pa.schema([pa.field(name, kind) for name, kind in _KINDS])
_GROUP = 65_536  # rows
_Array = np.ndarray[Any, np.dtype[Any]]
_EPOCH_FILETIME = 116_444_736_000_000_000  # 1970 in 100 ns since 1601
_DICTIONARY = ["operation", "path", "spelled_path", "value_name", "requested_name"]


class TruthWriter:
    """Collects rows (tuples in the order of the first file) and writes the truth at the end.

    Attributes:
        keeps: whether rows are kept: whoever makes very many asks first.
        count: rows of operations so far.

    Args:
        path: file to write; None forgets the rows.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[tuple[object, ...]] = []
        self._first = path.with_name(path.name + ".first") if path else None
        self._writer: pq.ParquetWriter | None = None
        self.keeps = path is not None
        self.count = 0

    def add(self, row: tuple[object, ...]) -> None:
        """Add a row."""
        if self._path is None:
            self.count += 1
            return
        self.count += 1
        self._rows.append(row)
        if len(self._rows) >= _GROUP:
            self._spill()

    def add_evidence(self, row: tuple[object, ...]) -> None:
        """Add a record that is no operation; its row is used for the verdicts only."""
        if self._path is not None:
            self._rows.append(row)

    def finish(
        self, placement: Placement, *, clock: Clock, previous: list[int], preopened: list[int]
    ) -> None:
        """Write the truth.

        Args:
            placement: what became of the buffers.
            clock: turns time stamps into times.
            previous: life -> the life before it at its address, or -1.
            preopened: lives that a seed table names.
        """
        if self._path is None or self._first is None:
            return
        self._spill()
        assert self._writer is not None
        self._writer.close()
        limits = np.frombuffer(placement.limits, np.int64) if isinstance(placement.limits, array) else None
        assert limits is not None
        verdicts = _Verdicts(previous, preopened, limits)
        for group in self._groups(["life", "base_life", "kind", "buffer", "place", "size"]):
            verdicts.learn(group)
        verdicts.conclude()
        offsets = np.frombuffer(placement.offsets, np.int64)
        number = 0
        with pq.ParquetWriter(
            self._path,
            _final_schema(),
            compression="zstd",
            use_dictionary=_DICTIONARY,
            write_statistics=False,
        ) as out:
            for group in self._groups(None):
                table = _finish_group(group, verdicts, offsets, clock, number)
                number += table.num_rows
                out.write_table(table, row_group_size=_GROUP)
        self.count = number
        self._first.unlink()

    def _spill(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._first, _FIRST, compression="none", use_dictionary=False, write_statistics=False
            )
        # One pass per column: zip(*rows) takes four times as long, for it holds every row at once.
        arrays = [
            pa.array(list(map(itemgetter(place), self._rows)), kind) for place, (_, kind) in enumerate(_KINDS)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=_FIRST), row_group_size=_GROUP)
        self._rows = []

    def _groups(self, columns: list[str] | None) -> Iterator[pa.Table]:
        with pq.ParquetFile(self._first) as file:
            for place in range(file.num_row_groups):
                yield file.read_row_group(place, columns=columns)


class _Verdicts:
    """What a reader of the file can know about each lifetime of each object."""

    def __init__(self, previous: list[int], preopened: list[int], limits: _Array) -> None:
        lives = len(previous)
        self.previous = np.array(previous, np.int32)
        self.limits = limits
        self.has_name = np.zeros(lives, bool)
        self.seeded = np.zeros(lives, bool)
        self.seeded[preopened] = True
        self.blurred = np.zeros(lives, bool)
        self._opened, self._closed = np.zeros(lives, bool), np.zeros(lives, bool)
        self._opened[preopened] = True
        self._base = np.full(lives, -1, np.int32)

    def survives(self, group: pa.Table) -> _Array:
        """Return whether each record is in the file."""
        buffer = _numbers(group, "buffer")
        ends = _numbers(group, "place") + _numbers(group, "size")
        return (buffer >= 0) & (ends <= self.limits[np.maximum(buffer, 0)])

    def learn(self, group: pa.Table) -> None:
        """Add the evidence of some rows."""
        here = self.survives(group)
        life, base, kind = (_numbers(group, name)[here] for name in ("life", "base_life", "kind"))
        self.has_name[life[(kind & NAMES_LIFE) > 0]] = True
        self.has_name[base[(kind & NAMES_BASE) > 0]] = True
        self._opened[life[(kind & OPENS) > 0]] = True
        self._closed[life[(kind & CLOSES) > 0]] = True
        relative = (kind & (OPENS | UNDER_BASE)) == OPENS | UNDER_BASE
        self._base[life[relative]] = base[relative]

    def conclude(self) -> None:
        """Follow the evidence from each base to the keys opened from it."""
        unopened = ~self._opened & (self.previous >= 0)
        self.blurred |= unopened
        before = self.previous[unopened]
        self.blurred[before[~self._closed[before]]] = True
        self.seeded |= self.has_name
        for flags in (self.has_name, self.seeded, self.blurred):
            while True:
                more = ~flags & (self._base >= 0) & flags[self._base]
                if not more.any():
                    break
                flags |= more

    def rows(self, flags: _Array, group: pa.Table) -> _Array:
        """Return whether `flags` holds for the key of each row, apart from the record's own name."""
        life, base, kind = (_numbers(group, name) for name in ("life", "base_life", "kind"))
        under = (kind & UNDER_BASE > 0) & (base >= 0)
        flags = np.append(flags, False)  # life -1
        row_flags: _Array = flags[life] | (under & flags[base])
        return row_flags


def _numbers(group: pa.Table, name: str) -> _Array:
    numbers: _Array = group.column(name).to_numpy()
    return numbers


def _final_schema() -> pa.Schema:
    kinds = dict(_KINDS)
    own = {
        "number": pa.int64(), "time_ns": pa.int64(), "operation": pa.string(), "key_object": pa.int64(),
        "base_object": pa.int64(), "life": pa.int64(), "base_life": pa.int64(), "knowable": pa.bool_(),
        "knowable_with_seed": pa.bool_(), "blurred": pa.bool_(), "lost": pa.bool_(),
        "record_offset": pa.int64(),
    }  # fmt: skip
    return pa.schema([pa.field(name, own.get(name) or kinds[name]) for name in TRUTH_COLUMNS])


def _times(clock: Clock, ticks: _Array) -> _Array:
    """Return exact UTC nanoseconds of raw time stamps, in steps that fit 64 bits."""
    rate = {2: 10_000_000, 3: clock.mhz * 1_000_000}.get(clock.type, clock.frequency)
    seconds, rest = np.divmod(ticks - clock.start_ticks, rate)
    start = (clock.start_filetime - _EPOCH_FILETIME) * 100
    times: _Array = start + seconds * 1_000_000_000 + rest * 1_000_000_000 // rate
    return times


def _finish_group(
    group: pa.Table, verdicts: _Verdicts, offsets: _Array, clock: Clock, number: int
) -> pa.Table:
    group = group.filter(pa.array(_numbers(group, "kind") & EVIDENCE_ONLY == 0))
    here = verdicts.survives(group)
    own = _numbers(group, "kind") & OWN_NAME > 0
    ticks, ids = _numbers(group, "ticks"), _numbers(group, "id")
    place = offsets[np.maximum(_numbers(group, "buffer"), 0)] + _numbers(group, "place")
    names = pa.array(OPERATION_NAMES).take(pa.array(ids - 1)).cast(pa.string())
    columns: dict[str, object] = {
        "number": np.arange(number, number + len(ids)),
        "time_ns": _times(clock, ticks),
        "operation": names,
        "key_object": _numbers(group, "key_object").view(np.int64),
        "base_object": _numbers(group, "base_object").view(np.int64),
        "life": _or_null(_numbers(group, "life")),
        "base_life": _or_null(_numbers(group, "base_life")),
        "knowable": here & (own | verdicts.rows(verdicts.has_name, group)),
        "knowable_with_seed": here & (own | verdicts.rows(verdicts.seeded, group)),
        "blurred": ~own & verdicts.rows(verdicts.blurred, group),
        "lost": ~here,
        "record_offset": pa.array(place, mask=~here),
    }
    return pa.table(
        [columns[name] if name in columns else group.column(name) for name in TRUTH_COLUMNS],
        schema=_final_schema(),
    )


def _or_null(lives: _Array) -> pa.Array:
    return pa.array(lives.astype(np.int64), mask=lives < 0)
