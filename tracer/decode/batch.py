"""A chunk of decoded registry records: its columns, and the steps that both ways of decoding share.

`tracer.decode.spans` and `tracer.compiled.operations` are the two ways: they find where fields, names and captured
bytes are.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_bytes, from_numbers
from tracer.decode.payload import Payload, decode_payload
from tracer.decode.plans import PLANS
from tracer.decode.strings import NameTable
from tracer.diagnostics import Diagnostics
from tracer.etl.records import Records
from tracer.schema import FLAGS

__all__ = ["NONE", "Blobs", "ByteSpans", "Chunk", "Column", "Field", "Numbers", "Operations", "count_records"]

Column = NDArray[np.int64]
Numbers = NDArray[np.int32]
Field = NDArray[np.uint64] | NDArray[np.uint32]
NONE = -1  # number of a name that is not there (an empty name is EMPTY)


@dataclass(frozen=True, slots=True)
class Blobs:
    """Captured bytes: `values` holds those that are there, `place` each row's place among them or NONE."""

    values: pa.Array
    place: Numbers

    def to_pylist(self) -> list[bytes | None]:
        """Return each row's bytes; None where nothing was captured."""
        return self.values.take(from_numbers(self.place, self.place != NONE)).to_pylist()


class ByteSpans(NamedTuple):
    """Where captured bytes are: rows, rising, and for each its place in the chunk and its size, not 0."""

    rows: Column
    start: Column
    size: Column


@dataclass(frozen=True, slots=True)
class Operations:
    """Decoded registry records, position order; one row a record.

    Attributes:
        rows: the record's row in Records.
        plan: number in tracer.decode.plans.PLANS.
        fields: the fixed fields by manifest name; rows whose plan lacks a field hold 0.
        first_name, last_name: numbers in the NameTable; NONE where the plan has no such name. With one
            name it is `last_name`.
        flags: schema.FLAGS.
        data, previous: captured bytes; None where no row has any.
        payloads: whole payloads of the records read one by one (hive work), by row number here.
        unread: positions of records of known operations that are no rows, because their payload cannot be read.
    """

    rows: Column
    plan: NDArray[np.int16]
    fields: dict[str, Field]
    first_name: Numbers
    last_name: Numbers
    flags: NDArray[np.uint32]
    data: Blobs | None
    previous: Blobs | None
    payloads: dict[int, Payload]
    unread: Column = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)


def count_records(diagnostics: list[Diagnostics], name: str, records: Records, rows: Column) -> None:
    """Count records by their rows, each in the diagnostics of its source, with the first place."""
    if not len(rows):
        return
    sources = records.source[rows]
    for number in np.flatnonzero(np.bincount(sources)).tolist():
        mine = rows[sources == number]
        diagnostics[number].count(name, len(mine), offset=int(records.offset[mine].min()))


class Chunk:
    """One chunk on its way through the decoder; two forms of it say where names and captured bytes are.

    After `find`: the `fields` of all rows; `slow` for what must be read one by one; of the other rows
    the names, and where captured bytes are (`data` and `previous`).
    """

    fields: dict[str, Field]
    slow: NDArray[np.bool_]
    data: ByteSpans
    previous: ByteSpans

    def __init__(
        self,
        records: Records,
        rows: Column,
        plan: NDArray[np.int16],
        exact: NDArray[np.bool_],
        names: NameTable,
        diagnostics: list[Diagnostics],
    ) -> None:
        self.records, self.raw, self.names, self.diagnostics = records, records.raw, names, diagnostics
        self.rows, self.plan, self.exact = rows, plan.astype(np.intp), exact
        self.payload, self.end = records.payload.take(rows), records.end.take(rows)
        self.halves = self.raw.view(np.uint16)
        self.first_name = np.full(len(rows), NONE, np.int32)
        self.last_name = np.full(len(rows), NONE, np.int32)
        self.flags = np.where(exact, 0, FLAGS["layout_prefix"]).astype(np.uint32)

    def find(self) -> None:
        """Find everything that is found fast; rows are long enough for their fixed fields."""
        raise NotImplementedError

    def gather(self, spans: ByteSpans) -> pa.Array:
        """Return spans of bytes as a binary array."""
        raise NotImplementedError

    def decode(self) -> Operations:
        """Return the decoded rows."""
        self.find()
        payloads, overrides = self._read_slowly(np.flatnonzero(self.slow))
        data, previous = self._captured(overrides)
        self._flag_nuls()
        return Operations(
            self.rows,
            self.plan.astype(np.int16),
            self.fields,
            self.first_name,
            self.last_name,
            self.flags,
            data,
            previous,
            payloads,
        )

    def doubt(self, rows: Column) -> None:
        """Flag and count rows whose names can be read in another way too."""
        self.flags[rows] |= FLAGS["name_ambiguous"]
        count_records(self.diagnostics, "name_ambiguous", self.records, self.rows[rows])

    def _read_slowly(
        self, rows: Column
    ) -> tuple[dict[int, Payload], dict[int, tuple[bytes | None, bytes | None]]]:
        payloads: dict[int, Payload] = {}
        overrides: dict[int, tuple[bytes | None, bytes | None]] = {}
        for row in rows.tolist():
            plan = PLANS[self.plan[row]]
            piece = self.raw[self.payload[row] : self.end[row]].tobytes()
            read = decode_payload(plan.layout, piece, plan.pointer_size, prefix=not self.exact[row])
            if read.odd:
                count_records(self.diagnostics, "odd_payload", self.records, self.rows[row : row + 1])
            if read.ambiguous:
                self.doubt(np.array([row]))
            if plan.scalar:
                payloads[row] = read
                continue
            texts = [read.fields[field.name] for field in plan.layout.fields if field.kind == "wz"]
            numbers = [self.names.number_of_text(text) if isinstance(text, str) else NONE for text in texts]
            self.last_name[row] = numbers[-1]
            if len(numbers) == 2:
                self.first_name[row] = numbers[0]
            for name in ("PreviousDataType", "PreviousDataSize"):
                value = read.fields.get(name)
                if isinstance(value, int):
                    self.fields.setdefault(name, np.zeros(len(self.rows), np.uint32))[row] = value
            data, previous = read.fields.get("CapturedData"), read.fields.get("PreviousData")
            overrides[row] = (
                data if isinstance(data, bytes) and data else None,
                previous if isinstance(previous, bytes) and previous else None,
            )
        return payloads, overrides

    def _captured(
        self, overrides: dict[int, tuple[bytes | None, bytes | None]]
    ) -> tuple["Blobs | None", "Blobs | None"]:
        """Return captured and previous bytes; None where no row of the chunk has any."""
        out: list[Blobs | None] = []
        for column, spans, full, flag in (
            (0, self.data, "DataSize", "data_truncated"),
            (1, self.previous, "PreviousDataSize", "previous_truncated"),
        ):
            odd = {row: value for row, pair in overrides.items() if (value := pair[column]) is not None}
            rows = np.concatenate([spans.rows, np.array(list(odd), np.int64)])
            if not len(rows):
                out.append(None)
                continue
            sizes = np.concatenate([spans.size, np.array([len(value) for value in odd.values()], np.int64)])
            values = self.gather(spans) if len(spans.rows) else from_bytes([])
            if odd:
                values = pa.concat_arrays([values, from_bytes(list(odd.values()))])
            place = np.full(len(self.rows), NONE, np.int32)
            place[rows] = np.arange(len(rows))
            out.append(Blobs(values, place))
            whole = self.fields[full].take(rows) if full in self.fields else np.zeros(len(rows), np.int64)
            self.flags[rows[sizes < whole.astype(np.int64)]] |= FLAGS[flag]
        return out[0], out[1]

    def _flag_nuls(self) -> None:
        if self.names.has_nul:
            hidden = np.array(sorted(self.names.has_nul), np.int32)
            rows = np.isin(self.first_name, hidden) | np.isin(self.last_name, hidden)
            self.flags[rows] |= FLAGS["name_has_nul"]
