"""Twin of the column decoder: finds fields, names and captured bytes record by record, in one pass.

Rows that `tracer.decode.columns` leaves to the slow reading are left to it here as well.
"""

import numpy as np
import pyarrow as pa

from tracer.compiled import kernel
from tracer.compiled.names import CompiledNameTable
from tracer.compiled.unaligned import load, store
from tracer.decode.batch import Chunk, Spans
from tracer.decode.payload import CAPTURE_LIMIT
from tracer.decode.plans import FIXED_FIELDS, LONG_FIELDS, PlanTables
from tracer.decode.strings import EMPTY

__all__ = ["CompiledChunk"]

_FIELDS = sorted(FIXED_FIELDS, key=lambda name: name not in LONG_FIELDS)
_MOST_FIELDS, _LONGS = len(_FIELDS), len(LONG_FIELDS)
_DATA_SIZE = _FIELDS.index("DataSize")
_OFFSETS = np.stack([PlanTables.offsets[name] for name in _FIELDS])
_IS_LONG = np.arange(_MOST_FIELDS) < _LONGS
_POINTER_SIZES = np.where(PlanTables.wide, 8, 4)
_WIDTHS = np.stack(
    [np.full(len(PlanTables.wide), 8) if name == "InitialTime" else _POINTER_SIZES for name in _FIELDS]
)
# The fields that a plan has, one plan after the other: plan `n` has those from _FIRST[n] to _FIRST[n + 1].
_PLAN, _FIELD = np.nonzero(_OFFSETS.T >= 0)
_FIRST = np.searchsorted(_PLAN, np.arange(_OFFSETS.shape[1] + 1))
_OFFSET, _WIDTH = _OFFSETS[_FIELD, _PLAN], _WIDTHS[_FIELD, _PLAN]
_ONES, _TOPS = np.uint64(0x0001000100010001), np.uint64(0x8000800080008000)  # of four 16-bit units


class CompiledChunk(Chunk):
    """A chunk whose rows are found one after the other, in any order."""

    names: CompiledNameTable

    def find(self) -> None:
        """Find everything that is found fast."""
        count = len(self.rows)
        plans = np.flatnonzero(np.bincount(self.plan, minlength=len(PlanTables.fixed)))
        present = (_OFFSETS[:, plans] >= 0).any(1)
        slots = np.where(present & _IS_LONG, np.cumsum(present & _IS_LONG), 0)
        slots += np.where(present & ~_IS_LONG, np.cumsum(present & ~_IS_LONG), 0)  # 0: no plan here has it
        longs = np.zeros((int((present & _IS_LONG).sum()) + 1, count), np.uint64)
        words = np.zeros((int((present & ~_IS_LONG).sum()) + 1, count), np.uint32)
        previous = np.zeros((2, count), np.uint32)
        self.slow = np.empty(count, bool)
        spans = np.empty((12, count), np.int64)
        doubts = np.empty(count, np.int64)
        firsts, lasts, datas, olds, doubted, has_previous = _find(
            self.raw.view(np.uint32), self.halves, self.raw, self.payload, self.end, self.plan, self.exact,
            _FIRST, _FIELD, _OFFSET, _WIDTH, slots, PlanTables.fixed, PlanTables.names, PlanTables.tail, PlanTables.scalar,
            longs, words, self.first_name, self.last_name, previous, self.slow, doubts, *spans,
        )  # fmt: skip
        self.fields = {
            name: (longs if name in LONG_FIELDS else words)[slot]
            for name, slot in zip(_FIELDS, slots.tolist(), strict=True)
        }
        if has_previous:
            self.fields["PreviousDataType"], self.fields["PreviousDataSize"] = previous
        self.names.encode_into(self.first_name, self.raw, Spans(*spans[0:3, :firsts]))
        self.names.encode_into(self.last_name, self.raw, Spans(*spans[3:6, :lasts]))
        self.data, self.previous = Spans(*spans[6:9, :datas]), Spans(*spans[9:12, :olds])
        self.doubt(doubts[:doubted])

    def gather(self, spans: Spans) -> pa.Array:
        """Return spans of bytes as a binary array."""
        offsets = np.zeros(len(spans.size) + 1, np.int32)
        np.cumsum(spans.size, out=offsets[1:])
        out = np.empty(int(offsets[-1]) + 8, np.uint8)
        _copy(self.raw, spans.start, offsets, out)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
        return pa.BinaryArray.from_buffers(pa.binary(), len(spans.size), buffers)


@kernel
def _copy(raw, start, offsets, out):
    """Copy in steps of eight bytes; what is written too far is overwritten by the next row."""
    for row in range(len(start)):
        begin, to = start[row], np.int64(offsets[row])
        for at in range(0, np.int64(offsets[row + 1]) - to, 8):
            store(out, to + at, load(raw, begin + at))


@kernel
def _word(raw, at):
    return np.int64(load(raw, at) & np.uint64(0xFFFF))


@kernel
def _long(raw, at):
    return np.int64(load(raw, at) & np.uint64(0xFFFFFFFF))


@kernel
def _is_copy(size, full):
    """Whether a captured count is what the provider would have copied."""
    return size == min(full, CAPTURE_LIMIT)


@kernel
def _is_likely(size, full):
    """Whether a captured count is 0 or what the provider would have copied."""
    return size == 0 or _is_copy(size, full)


@kernel
def _next_nul(raw, at, limit):
    while at + 4 <= limit:
        units = load(raw, at * 2)
        if (units - _ONES) & ~units & _TOPS != 0:  # one of the four is 0
            break
        at += 4
    while at < limit and load(raw, at * 2) & np.uint64(0xFFFF) != 0:
        at += 1
    return at


@kernel
def _another_pair_fits(raw, unit, end, data_size, whole):
    """Whether a NUL from `unit` on could end the name just as well, with both counts behind it; `whole`: of all bytes."""
    limit = end - 12 >> 1  # units behind which both counts, a type and a size can stand
    while True:
        unit = _next_nul(raw, unit, limit)
        if unit >= limit:
            return False
        at = (unit + 1) * 2
        size = _word(raw, at)
        stop = at + 2 + size
        if (_is_copy(size, data_size) or (size == 0 and not whole)) and stop + 10 <= end:
            previous = _word(raw, stop + 8)
            fits = _is_copy(previous, _long(raw, stop + 4)) or (previous == 0 and not whole)
            if fits and stop + 10 + previous == end:
                return True
        unit += 1


@kernel
def _find(
    words, halves, raw, payloads, ends, plans, exacts,
    first_fields, fields, offsets, widths, slots, fixed, name_counts, tail_counts, scalars,
    long_fields, word_fields, first_names, last_names, previous, slows, doubts,
    first_row, first_start, first_size, last_row, last_start_at, last_size,
    data_row, data_start, data_length, previous_row, previous_start, previous_length,
):  # fmt: skip
    """Fill in everything about each record; returns how many of each kind of span there are."""
    firsts = lasts = datas = olds = doubted = 0
    has_previous = False
    for row in range(len(payloads)):
        payload, end, plan, exact = payloads[row], ends[row], plans[row], exacts[row]
        data_size = 0
        for at_field in range(first_fields[plan], first_fields[plan + 1]):
            field = fields[at_field]
            place = payload + offsets[at_field] >> 2
            if field < _LONGS:
                value = np.uint64(words[place])
                if widths[at_field] == 8:
                    value |= np.uint64(words[place + 1]) << np.uint64(32)
                long_fields[slots[field], row] = value
            else:
                word_fields[slots[field], row] = words[place]
                if field == _DATA_SIZE:
                    data_size = np.int64(words[place])
        names, tail = name_counts[plan], tail_counts[plan]
        if scalars[plan] or names == 0:
            slows[row] = scalars[plan]
            continue
        start = payload + fixed[plan] >> 1
        limit = end >> 1
        first_end = min(_next_nul(raw, start, limit), limit)
        last_start, last_end = start, first_end
        if names == 2:
            last_start = min(first_end + 1, limit)
            last_end = min(_next_nul(raw, last_start, limit), limit)
        slow = first_end >= limit or last_end >= limit
        if tail == 0 and exact:  # the last name runs to the payload's final NUL
            final = limit - 1
            slow = slow or end & 1 != 0 or halves[final] != 0
            if last_end < final:
                if not slow:
                    last_end = final
                # A filled first name followed by a name with NULs can be parted in more than one place.
                slow = slow or (names == 2 and first_end > start)
        size = previous_size = 0
        at = (last_end + 1) * 2
        stop = at + 2
        other = whole = False
        if tail > 0 and not slow:
            good = at + 2 <= end
            size = np.int64(halves[at >> 1]) if good else 0
            stop += size
            good = good and stop <= end and _is_likely(size, data_size)
            whole = good and _is_copy(size, data_size)
            reached = stop
            if tail == 2 and good:
                good = stop + 10 <= end
                if good:
                    has_previous = True
                    previous_size, full = _word(raw, stop + 8), _long(raw, stop + 4)
                    previous[0, row], previous[1, row] = _long(raw, stop), full
                    good = _is_likely(previous_size, full)
                    whole = whole and _is_copy(previous_size, full)
                    reached = stop + 10 + previous_size
            slow = not (good and (reached == end if exact else reached <= end))
            # Would a later NUL end the name as well? Rules 1 to 4 of tracer.decode.payload. With one count, or no byte captured,
            # nothing else that fits could end at the payload's end.
            captured = tail == 2 and size + previous_size > 0
            if not slow and exact and captured and (names == 2 or first_end > start):
                other = _another_pair_fits(raw, last_end + 1, end, data_size, whole)
        slows[row] = slow
        if slow:
            continue
        if names == 2:
            first_names[row] = EMPTY
            if first_end > start:
                first_row[firsts], first_start[firsts], first_size[firsts] = (
                    row,
                    start * 2,
                    (first_end - start) * 2,
                )
                firsts += 1
        last_names[row] = EMPTY
        if last_end > last_start:
            last_row[lasts], last_start_at[lasts], last_size[lasts] = (
                row,
                last_start * 2,
                (last_end - last_start) * 2,
            )
            lasts += 1
        if size:
            data_row[datas], data_start[datas], data_length[datas] = row, at + 2, size
            datas += 1
        if previous_size:
            previous_row[olds], previous_start[olds], previous_length[olds] = row, stop + 10, previous_size
            olds += 1
        if other:
            doubts[doubted] = row
            doubted += 1
    return firsts, lasts, datas, olds, doubted, has_previous
