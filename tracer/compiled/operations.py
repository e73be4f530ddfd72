"""Twin of the column decoder: finds fields, names and captured bytes record by record, in one pass.

Rows that `tracer.decode.columns` leaves to the slow reading are left to it here as well.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.compiled.names import CompiledNameTable
from tracer.compiled.unaligned import load, store
from tracer.decode.batch import ByteSpans, Chunk
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
_PLAN, _FIELD = np.nonzero(_OFFSETS.T >= 0)
_ONES, _TOPS = np.uint64(0x0001000100010001), np.uint64(0x8000800080008000)  # of four 16-bit units


class _Plans(NamedTuple):
    """How to read each plan: its fixed fields stand from `first[plan]` to `first[plan + 1]` of `field`, `offset`, `width`."""

    first: NDArray[np.int64]
    field: NDArray[np.int64]
    offset: NDArray[np.int64]
    width: NDArray[np.int64]
    fixed: NDArray[np.int64]
    names: NDArray[np.int64]
    tail: NDArray[np.int64]
    scalar: NDArray[np.bool_]


_PLANS = _Plans(
    np.searchsorted(_PLAN, np.arange(_OFFSETS.shape[1] + 1)),
    _FIELD,
    _OFFSETS[_FIELD, _PLAN],
    _WIDTHS[_FIELD, _PLAN],
    PlanTables.fixed,
    PlanTables.names,
    PlanTables.tail,
    PlanTables.scalar,
)


class _Rows(NamedTuple):
    """The records: where their payloads begin, where they end, their plans, and whether these fit exactly."""

    payload: NDArray[np.int64]
    end: NDArray[np.int64]
    plan: NDArray[np.intp]
    exact: NDArray[np.bool_]


class _Found(NamedTuple):
    """What is filled in: fields (`slots` says in which row of `longs` or `words` each is), names, and spans of four kinds."""

    slots: NDArray[np.int64]
    longs: NDArray[np.uint64]
    words: NDArray[np.uint32]
    previous: NDArray[np.uint32]
    first_name: NDArray[np.int32]
    last_name: NDArray[np.int32]
    slow: NDArray[np.bool_]
    doubts: NDArray[np.int64]
    first: ByteSpans
    last: ByteSpans
    data: ByteSpans
    old: ByteSpans


def _first(spans: ByteSpans, count: int) -> ByteSpans:
    return ByteSpans(*(column[:count] for column in spans))


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
        found = _Found(
            slots, longs, words, previous, self.first_name, self.last_name, self.slow, np.empty(count, np.int64),
            *(ByteSpans(*np.empty((3, count), np.int64)) for _ in range(4)),
        )  # fmt: skip
        rows = _Rows(self.payload, self.end, self.plan, self.exact)
        firsts, lasts, datas, olds, doubted, has_previous = _find(self.raw, rows, _PLANS, found)
        self.fields = {
            name: (longs if name in LONG_FIELDS else words)[slot]
            for name, slot in zip(_FIELDS, slots.tolist(), strict=True)
        }
        if has_previous:
            self.fields["PreviousDataType"], self.fields["PreviousDataSize"] = previous
        self.names.encode_into(self.first_name, self.raw, _first(found.first, firsts))
        self.names.encode_into(self.last_name, self.raw, _first(found.last, lasts))
        self.data, self.previous = _first(found.data, datas), _first(found.old, olds)
        self.doubt(found.doubts[:doubted])

    def gather(self, spans: ByteSpans) -> pa.Array:
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
def _put(spans, place, row, start, size):
    spans.rows[place], spans.start[place], spans.size[place] = row, start, size


@kernel
def _find(raw, rows, plans, found):
    """Fill in `found` for each record; returns how many of each kind of span there are."""
    words, halves = raw.view(np.uint32), raw.view(np.uint16)
    firsts = lasts = datas = olds = doubted = 0
    has_previous = False
    for row in range(len(rows.payload)):
        payload, end, plan, exact = rows.payload[row], rows.end[row], rows.plan[row], rows.exact[row]
        data_size = 0
        for at_field in range(plans.first[plan], plans.first[plan + 1]):
            field = plans.field[at_field]
            place = payload + plans.offset[at_field] >> 2
            if field < _LONGS:
                value = np.uint64(words[place])
                if plans.width[at_field] == 8:
                    value |= np.uint64(words[place + 1]) << np.uint64(32)
                found.longs[found.slots[field], row] = value
            else:
                found.words[found.slots[field], row] = words[place]
                if field == _DATA_SIZE:
                    data_size = np.int64(words[place])
        names, tail = plans.names[plan], plans.tail[plan]
        if plans.scalar[plan] or names == 0:
            found.slow[row] = plans.scalar[plan]
            continue
        start = payload + plans.fixed[plan] >> 1
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
                    found.previous[0, row], found.previous[1, row] = _long(raw, stop), full
                    good = _is_likely(previous_size, full)
                    whole = whole and _is_copy(previous_size, full)
                    reached = stop + 10 + previous_size
            slow = not (good and (reached == end if exact else reached <= end))
            # Would a later NUL end the name as well? Rules 1 to 4 of tracer.decode.payload. With one count, or no byte captured,
            # nothing else that fits could end at the payload's end.
            captured = tail == 2 and size + previous_size > 0
            if not slow and exact and captured and (names == 2 or first_end > start):
                other = _another_pair_fits(raw, last_end + 1, end, data_size, whole)
        found.slow[row] = slow
        if slow:
            continue
        if names == 2:
            found.first_name[row] = EMPTY
            if first_end > start:
                _put(found.first, firsts, row, start * 2, (first_end - start) * 2)
                firsts += 1
        found.last_name[row] = EMPTY
        if last_end > last_start:
            _put(found.last, lasts, row, last_start * 2, (last_end - last_start) * 2)
            lasts += 1
        if size:
            _put(found.data, datas, row, at + 2, size)
            datas += 1
        if previous_size:
            _put(found.old, olds, row, stop + 10, previous_size)
            olds += 1
        if other:
            found.doubts[doubted] = row
            doubted += 1
    return firsts, lasts, datas, olds, doubted, has_previous
