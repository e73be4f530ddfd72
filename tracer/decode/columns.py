"""Registry records of a chunk to columns, all at once.

`tracer.decode.payload` states the rule for names and reads one record; this module reads all of them and
hands over only what is rare: hive work, names with embedded NULs, payloads that do not fit.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.decode.layouts import CLASSIC_REGISTRY, KERNEL_REGISTRY
from tracer.decode.payload import CAPTURE_LIMIT, Payload, decode_payload
from tracer.decode.plans import ABSENT, PLANS, PlanTables, find_plans
from tracer.decode.strings import EMPTY, NameTable, NulFinder, encode_spans, gapped
from tracer.diagnostics import Diagnostics
from tracer.etl.records import Records
from tracer.schema import FLAGS

__all__ = ["NONE", "Blobs", "Operations", "decode_operations"]

Column = NDArray[np.int64]
Numbers = NDArray[np.int32]
_LONG_FIELDS = frozenset({"BaseObject", "KeyObject", "KeyHandle", "InitialTime"})
NONE = -1  # number of a name that is not there (an empty name is EMPTY)


@dataclass(frozen=True, slots=True)
class Blobs:
    """Captured bytes: `values` holds those that are there, `place` each row's place among them or NONE."""

    values: pa.Array
    place: Numbers

    def to_pylist(self) -> list[bytes | None]:
        """Return each row's bytes; None where nothing was captured."""
        return self.values.take(pa.array(self.place, mask=self.place == NONE)).to_pylist()


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
    """

    rows: Column
    plan: NDArray[np.int16]
    fields: dict[str, NDArray[np.uint64]]
    first_name: Numbers
    last_name: Numbers
    flags: NDArray[np.uint32]
    data: Blobs | None
    previous: Blobs | None
    payloads: dict[int, Payload]

    def __len__(self) -> int:
        return len(self.rows)


def decode_operations(
    records: Records, providers: list[str], names: NameTable, diagnostics: list[Diagnostics]
) -> Operations:
    """Decode the registry records among `records`; diagnostics are one a source."""
    rows, plan, exact = _registry_rows(records, providers, diagnostics)
    payload = records.payload[rows]
    end = records.end[rows]
    enough = payload + PlanTables.fixed[plan] <= end
    if not enough.all():
        _count(diagnostics, "short_payload", records, rows[~enough & ~PlanTables.scalar[plan]])
        enough |= PlanTables.scalar[plan]
        rows, plan, exact, payload, end = (x[enough] for x in (rows, plan, exact, payload, end))
    chunk = _Chunk(records, rows, plan, exact, payload, end, names, diagnostics)
    return chunk.decode()


def _registry_rows(
    records: Records, providers: list[str], diagnostics: list[Diagnostics]
) -> tuple[Column, NDArray[np.int16], NDArray[np.bool_]]:
    """Return rows of known registry events, their plans, and whether the layout fits their version."""
    manifest = providers.index(KERNEL_REGISTRY) if KERNEL_REGISTRY in providers else ABSENT
    classic = providers.index(CLASSIC_REGISTRY) if CLASSIC_REGISTRY in providers else ABSENT
    is_classic = records.provider == classic
    rows = np.flatnonzero(is_classic | (records.provider == manifest))
    is_classic = is_classic[rows]
    plan, exact = find_plans(
        is_classic,
        records.pointer_size[rows] == 8,
        records.version[rows],
        np.where(is_classic, records.opcode[rows], records.id[rows]),
    )
    known = plan != ABSENT
    if not known.all():
        _count(diagnostics, "unknown_registry_event", records, rows[~known])
        rows, plan, exact = rows[known], plan[known], exact[known]
    if not exact.all():
        _count(diagnostics, "unknown_event_version", records, rows[~exact])
    # Items that did not parse leave no trustworthy payload.
    sound = records.items[rows] != -2
    return (rows, plan, exact) if sound.all() else (rows[sound], plan[sound], exact[sound])


def _count(diagnostics: list[Diagnostics], name: str, records: Records, rows: Column) -> None:
    if not len(rows):
        return
    sources = records.source[rows]
    for number in np.unique(sources).tolist():
        mine = rows[sources == number]
        diagnostics[number].count(name, len(mine), offset=int(records.offset[mine[0]]))


class _Chunk:
    """One chunk on its way through the decoder."""

    def __init__(
        self,
        records: Records,
        rows: Column,
        plan: NDArray[np.int16],
        exact: NDArray[np.bool_],
        payload: Column,
        end: Column,
        names: NameTable,
        diagnostics: list[Diagnostics],
    ) -> None:
        self.records, self.raw, self.names, self.diagnostics = records, records.raw, names, diagnostics
        self.rows, self.plan, self.exact = rows, plan.astype(np.intp), exact
        self.payload, self.end = payload, end
        self.halves = self.raw.view(np.uint16)
        self.nuls = NulFinder(self.raw)
        self.first_name = np.full(len(rows), NONE, np.int32)
        self.last_name = np.full(len(rows), NONE, np.int32)
        self.flags = np.where(exact, 0, FLAGS["layout_prefix"]).astype(np.uint32)
        plans = np.flatnonzero(np.bincount(plan, minlength=len(PLANS)))
        self.mixed_widths = len(plans) > 0 and not PlanTables.wide[plans].all()
        nowhere = np.zeros(len(rows), np.uint64)
        self.fields = {
            name: self._field(name, offsets) if (offsets[plans] >= 0).any() else nowhere
            for name, offsets in PlanTables.offsets.items()
        }

    def decode(self) -> Operations:
        self._find_names()
        self._find_tails()
        slow = np.flatnonzero(self.slow | PlanTables.scalar[self.plan])
        fast = ~self.slow & ~PlanTables.scalar[self.plan] & (PlanTables.names[self.plan] > 0)
        self._encode_names(fast)
        payloads, overrides = self._read_slowly(slow)
        data, previous = self._captured(fast, overrides)
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

    def _field(self, name: str, offsets: Column) -> NDArray[np.uint64]:
        """Read one fixed field of every record that has it."""
        at = offsets[self.plan]
        mine = np.flatnonzero(at >= 0)
        whole = len(mine) == len(at)
        place = self.payload + at if whole else self.payload[mine] + at[mine]
        if name in _LONG_FIELDS:
            value = self.raw.view(np.uint64)[place >> 3]
            if self.mixed_widths and name != "InitialTime":
                narrow = ~PlanTables.wide[self.plan if whole else self.plan[mine]]
                value = np.where(narrow, self.raw.view(np.uint32)[place >> 2], value)
        else:
            value = self.raw.view(np.uint32)[place >> 2].astype(np.uint64)
        if whole:
            return value
        column = np.zeros(len(at), np.uint64)
        column[mine] = value
        return column

    def _find_names(self) -> None:
        """Find both names' spans in 16-bit units; rows that need the slow reading are marked."""
        count = PlanTables.names[self.plan]
        two = count == 2
        start = self.payload + PlanTables.fixed[self.plan] >> 1
        limit = self.end >> 1  # units that lie wholly inside the record
        first_end = np.minimum(self.nuls.next(start), limit)
        self.first_start, self.first_end = start, first_end
        self.last_start = np.where(two, np.minimum(first_end + 1, limit), start)
        self.last_end = first_end.copy()
        rows = np.flatnonzero(two)
        if len(rows):
            self.last_end[rows] = np.minimum(self.nuls.next(self.last_start[rows]), limit[rows])
        slow = (count > 0) & ((first_end >= limit) | (self.last_end >= limit))
        # Without a tail the last name runs to the payload's final NUL.
        bare = (PlanTables.tail[self.plan] == 0) & (count > 0) & self.exact
        final = limit - 1
        slow |= bare & ((self.end & 1 != 0) | (self.halves[final] != 0))
        hidden = bare & (self.last_end < final)
        self.last_end = np.where(hidden & ~slow, final, self.last_end)
        # A filled first name followed by a name with NULs can be parted in more than one place.
        slow |= hidden & two & (first_end > start)
        self.slow = slow

    def _find_tails(self) -> None:
        """Read counts of captured bytes; what does not fit exactly, as expected, is left to the slow reading."""
        self.data_start = self.data_size = self.previous_start = self.previous_size = np.zeros(
            len(self.rows), np.int64
        )
        rows = np.flatnonzero((PlanTables.tail[self.plan] > 0) & ~self.slow)
        if not len(rows):
            return
        end, tail = self.end[rows], PlanTables.tail[self.plan[rows]]
        at = (self.last_end[rows] + 1) * 2
        room = at + 2 <= end
        size = np.where(room, self.halves[np.where(room, at, 0) >> 1], 0).astype(np.int64)
        stop = at + 2 + size
        most = np.minimum(self.fields["DataSize"][rows].astype(np.int64), CAPTURE_LIMIT)
        good = room & (stop <= end) & ((size == 0) | (size == most))
        twice = tail == 2
        previous_at, previous_size = stop + 10, np.zeros(len(rows), np.int64)
        pair = np.flatnonzero(twice & good)
        if len(pair):
            fits = stop[pair] + 10 <= end[pair]
            previous_size[pair] = np.where(fits, self._word(np.where(fits, stop[pair] + 8, 0)), 0)
            full = np.where(fits, self._long(np.where(fits, stop[pair] + 4, 0)), 0)
            likely = (previous_size[pair] == 0) | (previous_size[pair] == np.minimum(full, CAPTURE_LIMIT))
            good[pair] &= fits & likely
            self._previous(rows[pair], stop[pair], fits)
        reached = np.where(twice, previous_at + previous_size, stop)
        exact = self.exact[rows]
        good &= np.where(exact, reached == end, reached <= end)
        self.slow[rows[~good]] = True
        columns = np.zeros((4, len(self.rows)), np.int64)
        columns[:, rows] = np.where(good, (at + 2, size, previous_at, previous_size), 0)
        self.data_start, self.data_size, self.previous_start, self.previous_size = columns
        self._flag_other_readings(rows[good & exact & (size + previous_size > 0)])

    def _previous(self, rows: Column, at: Column, fits: NDArray[np.bool_]) -> None:
        for name, offset in (("PreviousDataType", 0), ("PreviousDataSize", 4)):
            column = self.fields.setdefault(name, np.zeros(len(self.rows), np.uint64))
            column[rows] = np.where(fits, self._long(np.where(fits, at + offset, 0)), 0)

    def _word(self, at: Column) -> Column:
        """Read u16 at any place."""
        return self.raw[at].astype(np.int64) | self.raw[at + 1].astype(np.int64) << 8

    def _long(self, at: Column) -> Column:
        """Read u32 at any place."""
        return self._word(at) | self._word(at + 2) << 16

    def _flag_other_readings(self, rows: Column) -> None:
        """Flag rows in which a later NUL would end the name as well: rules 1 to 4 of tracer.decode.payload."""
        # One name before a tail is a path: where it is empty, nothing else can be meant.
        rows = rows[
            (PlanTables.names[self.plan[rows]] == 2) | (self.first_end[rows] > self.first_start[rows])
        ]
        twice = PlanTables.tail[self.plan[rows]] == 2
        # With one count the only other reading is that nothing was captured: it ends at two last zero units.
        once = rows[~twice]
        last = self.end[once] - 2 >> 1
        nothing = (self.end[once] & 1 == 0) & (self.halves[last] == 0) & (self.halves[last - 1] == 0)
        ambiguous = [once[nothing & (last - 1 > self.last_end[once])], self._other_pairs(rows[twice])]
        self._ambiguous(np.concatenate(ambiguous))

    def _other_pairs(self, rows: Column) -> Column:
        """Return those of `rows` (two counts) in which a later NUL fits both counts."""
        begin = self.last_end[rows] + 1
        length = np.maximum((self.end[rows] >> 1) - begin, 0)
        owner = np.repeat(np.arange(len(rows)), length)
        unit = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - length, length) + begin[owner]
        nul = self.halves[unit] == 0
        owner, at = owner[nul], (unit[nul] + 1) * 2
        row = rows[owner]
        end = self.end[row]
        room = at + 12 <= end
        owner, at, row, end = owner[room], at[room], row[room], end[room]
        size = self._word(at)
        stop = at + 2 + size
        most = np.minimum(self.fields["DataSize"][row].astype(np.int64), CAPTURE_LIMIT)
        fits = ((size == 0) | (size == most)) & (stop + 10 <= end)
        owner, stop, end = owner[fits], stop[fits], end[fits]
        previous, full = self._word(stop + 8), self._long(stop + 4)
        match = ((previous == 0) | (previous == np.minimum(full, CAPTURE_LIMIT))) & (
            stop + 10 + previous == end
        )
        return rows[np.bincount(owner[match], minlength=len(rows)) > 0]

    def _ambiguous(self, rows: Column) -> None:
        rows = np.sort(rows)
        self.flags[rows] |= FLAGS["name_ambiguous"]
        _count(self.diagnostics, "name_ambiguous", self.records, self.rows[rows])

    def _encode_names(self, fast: NDArray[np.bool_]) -> None:
        two = fast & (PlanTables.names[self.plan] == 2)
        self.first_name[two], self.last_name[fast] = EMPTY, EMPTY
        # Most first names are empty; both kinds of spans go in one rising list.
        first = np.flatnonzero(two & (self.first_end > self.first_start))
        last = np.flatnonzero(fast & (self.last_end > self.last_start))
        if not len(first):
            self.last_name[last] = encode_spans(
                self.raw, self.last_start[last] * 2, self.last_end[last] * 2, self.names
            )
            return
        starts = np.concatenate([self.first_start[first], self.last_start[last]])
        ends = np.concatenate([self.first_end[first], self.last_end[last]])
        rising = np.argsort(starts, kind="stable")
        numbers = np.empty(len(starts), np.int32)
        numbers[rising] = encode_spans(self.raw, starts[rising] * 2, ends[rising] * 2, self.names)
        self.first_name[first], self.last_name[last] = numbers[: len(first)], numbers[len(first) :]

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
                _count(self.diagnostics, "odd_payload", self.records, self.rows[row : row + 1])
            if read.ambiguous:
                self._ambiguous(np.array([row]))
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
                    self.fields.setdefault(name, np.zeros(len(self.rows), np.uint64))[row] = value
            data, previous = read.fields.get("CapturedData"), read.fields.get("PreviousData")
            overrides[row] = (
                data if isinstance(data, bytes) and data else None,
                previous if isinstance(previous, bytes) and previous else None,
            )
        return payloads, overrides

    def _captured(
        self, fast: NDArray[np.bool_], overrides: dict[int, tuple[bytes | None, bytes | None]]
    ) -> tuple["Blobs | None", "Blobs | None"]:
        """Return captured and previous bytes; None where no row of the chunk has any."""
        out: list[Blobs | None] = []
        for column, start, size, full, flag in (
            (0, self.data_start, self.data_size, "DataSize", "data_truncated"),
            (1, self.previous_start, self.previous_size, "PreviousDataSize", "previous_truncated"),
        ):
            odd = {row: value for row, pair in overrides.items() if (value := pair[column]) is not None}
            filled = np.flatnonzero((size > 0) & fast)
            if not len(filled) and not odd:
                out.append(None)
                continue
            place = np.full(len(self.rows), NONE, np.int32)
            place[filled] = np.arange(len(filled))
            values = pa.array([], pa.binary())
            if len(filled):
                values = gapped(self.raw, start[filled], (start + size)[filled]).drop_null()
            length = np.where(place >= 0, size, 0)
            if odd:
                rows = list(odd)
                place[rows], length[rows] = (
                    len(filled) + np.arange(len(odd)),
                    [len(value) for value in odd.values()],
                )
                values = pa.concat_arrays([values, pa.array(list(odd.values()), pa.binary())])
            out.append(Blobs(values, place))
            whole = self.fields.get(full, np.zeros(len(self.rows), np.uint64)).astype(np.int64)
            self.flags[(length > 0) & (length < whole)] |= FLAGS[flag]
        return out[0], out[1]

    def _flag_nuls(self) -> None:
        if self.names.has_nul:
            hidden = np.array(sorted(self.names.has_nul), np.int32)
            rows = np.isin(self.first_name, hidden) | np.isin(self.last_name, hidden)
            self.flags[rows] |= FLAGS["name_has_nul"]
