"""Twin of `tracer.etl.walk`: record after record, buffer after buffer; and of the sort by time."""

import numpy as np
from numpy.typing import NDArray

from tracer.compiled import kernel
from tracer.etl.headers import SIZE_AT_4, SMALLEST
from tracer.etl.walk import Walk

__all__ = ["stable_argsort", "walk"]

Positions = NDArray[np.int64]
_FILLER = 0xFFFFFFFF
_SMALLEST_RECORD = 8  # a WPP message; records stand 8-aligned
_LIKELY_RECORD = 96  # bytes, on average and with room to spare
_DIGIT_BITS = 11  # so many counters stay in the nearest cache
_DIGITS = 1 << _DIGIT_BITS


def walk(raw: NDArray[np.uint8], starts: Positions, ends: Positions) -> Walk:
    """Return the records between `starts` and `ends`, as `tracer.etl.walk.walk` does."""
    room = int((ends - starts).clip(0).sum()) // _LIKELY_RECORD + len(starts)
    while True:
        start, size, mark = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
        bad = np.empty(len(starts), np.int64)
        found, stopped = _walk(
            raw.view(np.uint32),
            raw.view(np.uint16),
            starts,
            ends,
            SIZE_AT_4,
            SMALLEST,
            start,
            size,
            mark,
            bad,
        )
        if found >= 0:
            return Walk(start[:found], size[:found], mark[:found], bad[:stopped])
        room *= _LIKELY_RECORD // _SMALLEST_RECORD


@kernel
def _walk(words, halves, starts, ends, size_at_4, smallest, start, size, mark, bad):
    found = 0
    stopped = 0
    for lane in range(len(starts)):
        at, end = starts[lane], ends[lane]
        while at + 8 <= end:
            first = np.int64(words[at >> 2])
            upper = first >> 16
            length = np.int64(halves[(at >> 1) + 2]) if size_at_4[upper] else first & 0xFFFF
            if length < smallest[upper] or at + length > end:
                if first != _FILLER:
                    bad[stopped] = at
                    stopped += 1
                break
            if found == len(start):
                return -1, 0
            start[found], size[found], mark[found] = at, length, upper
            found += 1
            at += length + 7 & ~7
    return found, stopped


def stable_argsort(numbers: NDArray[np.int64]) -> Positions:
    """Return the permutation that sorts `numbers`, none of them negative; equal ones keep their order."""
    order = np.arange(len(numbers))
    if len(numbers):
        rest, other, numbers_other = numbers.copy(), np.empty_like(order), np.empty_like(numbers)
        order = _sort(rest, order, numbers_other, other, int(numbers.max()))
    return order


@kernel
def _sort(numbers, order, numbers_other, order_other, largest):
    counts = np.empty(_DIGITS, np.int64)
    while largest:
        counts[:] = 0
        for number in numbers:
            counts[number & _DIGITS - 1] += 1
        place = 0
        for digit in range(_DIGITS):
            count = counts[digit]
            counts[digit] = place
            place += count
        for row in range(len(numbers)):
            number = numbers[row]
            place = counts[number & _DIGITS - 1]
            counts[number & _DIGITS - 1] = place + 1
            numbers_other[place] = number >> _DIGIT_BITS
            order_other[place] = order[row]
        numbers, numbers_other = numbers_other, numbers
        order, order_other = order_other, order
        largest >>= _DIGIT_BITS
    return order
