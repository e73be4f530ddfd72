"""Decoding by columns: finds fields, names and captured bytes of all records of a chunk at once, in NumPy.

`tracer.decode.payload` states the rules; `tracer.compiled.operations` says the same record by record.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.columns.arrays import from_bytes
from tracer.decode.batch import ByteSpans, Chunk, Column, Field
from tracer.decode.payload import CAPTURE_LIMIT
from tracer.decode.plans import LONG_FIELDS, PLANS, PlanTables
from tracer.decode.strings import EMPTY, NulFinder, gapped

__all__ = ["ColumnChunk"]


class ColumnChunk(Chunk):
    """A chunk whose rows are found all at once; they are in position order."""

    def find(self) -> None:
        """Read fixed fields, find names and captured bytes."""
        self.nuls = NulFinder(self.raw)
        plans = np.flatnonzero(np.bincount(self.plan, minlength=len(PLANS)))
        self.mixed_widths = len(plans) > 0 and not PlanTables.wide[plans].all()
        longs = np.zeros(len(self.rows), np.uint64)
        words = np.zeros(len(self.rows), np.uint32)
        self.fields = {
            name: self._field(name, offsets)
            if (offsets[plans] >= 0).any()
            else longs
            if name in LONG_FIELDS
            else words
            for name, offsets in PlanTables.offsets.items()
        }
        self._find_names()
        self._find_tails()
        scalar = PlanTables.scalar.take(self.plan)
        fast = ~self.slow & ~scalar & (PlanTables.names.take(self.plan) > 0)
        self.slow |= scalar
        self._encode_names(fast)
        data, previous = (np.flatnonzero((size > 0) & fast) for size in (self.data_size, self.previous_size))
        self.data = ByteSpans(data, self.data_start[data], self.data_size[data])
        self.previous = ByteSpans(previous, self.previous_start[previous], self.previous_size[previous])

    def gather(self, spans: ByteSpans) -> pa.Array:
        """Return spans of bytes as a binary array."""
        ends = spans.start + spans.size
        if len(spans.rows) == 1:  # there is no gap to drop, so nothing would be copied
            return from_bytes([self.raw[spans.start[0] : ends[0]].tobytes()])
        return gapped(self.raw, spans.start, ends).drop_null()

    def _field(self, name: str, offsets: Column) -> Field:
        """Read one fixed field of every record that has it."""
        at = offsets[self.plan]
        mine = np.flatnonzero(at >= 0)
        whole = len(mine) == len(at)
        place = self.payload + at if whole else self.payload[mine] + at[mine]
        if name in LONG_FIELDS:
            value = self.raw.view(np.uint64)[place >> 3]
            if self.mixed_widths and name != "InitialTime":
                narrow = ~PlanTables.wide[self.plan if whole else self.plan[mine]]
                value = np.where(narrow, self.raw.view(np.uint32)[place >> 2], value)
        else:
            value = self.raw.view(np.uint32)[place >> 2]
        if whole:
            return value
        column = np.zeros(len(at), value.dtype)
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
        twice, whole = tail == 2, size == most
        previous_at, previous_size = stop + 10, np.zeros(len(rows), np.int64)
        pair = np.flatnonzero(twice & good)
        if len(pair):
            fits = stop[pair] + 10 <= end[pair]
            previous_size[pair] = np.where(fits, self._word(np.where(fits, stop[pair] + 8, 0)), 0)
            full = np.where(fits, self._long(np.where(fits, stop[pair] + 4, 0)), 0)
            copied = previous_size[pair] == np.minimum(full, CAPTURE_LIMIT)
            good[pair] &= fits & (copied | (previous_size[pair] == 0))
            whole[pair] &= copied
            self._previous(rows[pair], stop[pair], fits)
        reached = np.where(twice, previous_at + previous_size, stop)
        exact = self.exact[rows]
        good &= np.where(exact, reached == end, reached <= end)
        self.slow[rows[~good]] = True
        columns = np.zeros((4, len(self.rows)), np.int64)
        columns[:, rows] = np.where(good, (at + 2, size, previous_at, previous_size), 0)
        self.data_start, self.data_size, self.previous_start, self.previous_size = columns
        # With one count, or no byte captured, nothing else that fits could end at the payload's end.
        flagged = good & exact & twice & (size + previous_size > 0)
        self._flag_other_readings(rows[flagged], whole[flagged])

    def _previous(self, rows: Column, at: Column, fits: NDArray[np.bool_]) -> None:
        for name, offset in (("PreviousDataType", 0), ("PreviousDataSize", 4)):
            column = self.fields.setdefault(name, np.zeros(len(self.rows), np.uint32))
            column[rows] = np.where(fits, self._long(np.where(fits, at + offset, 0)), 0)

    def _word(self, at: Column) -> Column:
        """Read u16 at any place."""
        return self.raw[at].astype(np.int64) | self.raw[at + 1].astype(np.int64) << 8

    def _long(self, at: Column) -> Column:
        """Read u32 at any place."""
        return self._word(at) | self._word(at + 2) << 16

    def _flag_other_readings(self, rows: Column, whole: NDArray[np.bool_]) -> None:
        """Flag rows (two counts) in which a later NUL would end the name as well: rules 1 to 4 of tracer.decode.payload.

        `whole` says which of them captured all they could: what contradicts them must have, too.
        """
        # One name before a tail is a path: where it is empty, nothing else can be meant.
        possible = (PlanTables.names[self.plan[rows]] == 2) | (self.first_end[rows] > self.first_start[rows])
        rows, whole = rows[possible], whole[possible]
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
        fits = ((size == most) | (size == 0) & ~whole[owner]) & (stop + 10 <= end)
        owner, stop, end = owner[fits], stop[fits], end[fits]
        previous, full = self._word(stop + 8), self._long(stop + 4)
        copied = previous == np.minimum(full, CAPTURE_LIMIT)
        match = (copied | (previous == 0) & ~whole[owner]) & (stop + 10 + previous == end)
        self.doubt(rows[np.bincount(owner[match], minlength=len(rows)) > 0])

    def _encode_names(self, fast: NDArray[np.bool_]) -> None:
        two = fast & (PlanTables.names[self.plan] == 2)
        self.first_name[two], self.last_name[fast] = EMPTY, EMPTY
        # Most first names are empty; both kinds of spans go in one rising list.
        first = np.flatnonzero(two & (self.first_end > self.first_start))
        last = np.flatnonzero(fast & (self.last_end > self.last_start))
        if not len(first):
            self.last_name[last] = self.names.encode_spans(
                self.raw, self.last_start[last] * 2, self.last_end[last] * 2
            )
            return
        starts = np.concatenate([self.first_start[first], self.last_start[last]])
        ends = np.concatenate([self.first_end[first], self.last_end[last]])
        rising = np.argsort(starts, kind="stable")
        numbers = np.empty(len(starts), np.int32)
        numbers[rising] = self.names.encode_spans(self.raw, starts[rising] * 2, ends[rising] * 2)
        self.first_name[first], self.last_name[last] = numbers[: len(first)], numbers[len(first) :]
