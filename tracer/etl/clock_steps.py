"""Steps of a system clock that was set back: where they are, and the order in which records were logged.

Traces may be stamped with the system time, which people, services and hypervisors set; performance counters
cannot be set. Within one processor's buffers the order is that of logging (seen in every buffer of some 45 public traces), so where the
time goes back there, the clock was set. Records get a second time to be ordered by, the time a clock would show that
was never set back: the stamp, and by how much the clock was set back so far. What a record shows stays as recorded.

The rule, buffer after buffer in the order of their numbers:

1. Each processor counts how often the clock was set back: a record earlier than the one before it counts one, and so
   does a first record that is earlier than the beginning of the session.
2. A buffer is numbered when it is taken into use. So one with a higher number than a buffer that followed a buffer of
   its processor which ended after the clock was set back for the n-th time, holds only records from after that.
3. The n-th setting is by as much as the processor says that saw most of it: every processor's records stay in order.
   The true amount is larger by the time that passed between the two records.

A processor that was silent while the clock was set, and whose buffer was in use before and after, does not show it: its
records are ordered as if the clock had not been set yet. A clock set forward looks like time in which nothing happened.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tracer.etl.buffers import BUFFER_HEADER, Buffer, BufferFile
from tracer.etl.headers import MESSAGE, MESSAGE_MARK, TIME_AT
from tracer.etl.walk import walk
from tracer.etl.xpress import inflate

__all__ = ["ClockSteps", "Run", "Step", "find_clock_steps", "order_runs"]

Column = NDArray[np.int64]
_CHUNK_BYTES = 8 << 20
_SPARE = 128


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one buffer between which time does not go back: raw stamps, and where the first one stands."""

    first: int
    last: int
    offset: int


@dataclass(frozen=True, slots=True)
class Step:
    """One setting of the clock: the latest time shown before, the earliest after, and by how much at least."""

    before_ns: int
    after_ns: int
    by_ns: int
    offset: int


@dataclass(frozen=True, slots=True)
class ClockSteps:
    """What is added to the times of a trace's records to order them, by where they stand (in nanoseconds)."""

    offsets: Column
    shifts: Column
    steps: list[Step]

    def shift(self, offsets: Column) -> Column:
        """Return the shift of the records at these offsets."""
        return self.shifts[np.searchsorted(self.offsets, offsets, side="right") - 1]


@dataclass(slots=True)
class _Epochs:
    """How often the clock was set back, as far as the buffers so far tell."""

    amounts: list[int] = field(default_factory=lambda: [0])  # by how much in all, by number of settings
    before: dict[int, int] = field(default_factory=dict)
    after: dict[int, int] = field(default_factory=dict)
    offset: dict[int, int] = field(default_factory=dict)
    seen: list[tuple[int, int, int, int]] = field(default_factory=list)

    def note(self, old: int, before: int, new: int, after: int, offset: int) -> None:
        """Note that a stamp `before` at the setting `old` came before a stamp `after` at the setting `new`."""
        self.seen.append((old, before, new, after))
        if new > old:
            self.before[new] = max(before, self.before.get(new, before))
            self.after[new] = min(after, self.after.get(new, after))
            self.offset[new] = min(offset, self.offset.get(new, offset))

    def settle(self) -> list[int]:
        """Return by how much the clock was set back in all, by number of settings."""
        for new in range(1, max(self.before, default=0) + 1):
            least = [self.amounts[old] + b - a for old, b, n, a in self.seen if n == new and old < new]
            self.amounts.append(max([self.amounts[-1], *least]))
        return self.amounts


def order_runs(
    buffers: Sequence[tuple[Buffer, Sequence[Run]]], began: int
) -> tuple[list[list[int]], _Epochs]:
    """Return how often the clock had been set back at each run of each buffer.

    Args:
        buffers: each with its runs, in the order of the buffers' numbers.
        began: stamp at which the session began.
    """
    found = _Epochs()
    numbers: list[list[int]] = []
    last: dict[int, tuple[int, int]] = {}  # processor -> setting and stamp of its last record
    floor = pending = 0  # what buffers of lower numbers prove of this one
    at = -1
    for buffer, runs in buffers:
        if buffer.sequence != at:
            floor, at = max(floor, pending), buffer.sequence
        number, before = last.get(buffer.cpu, (0, began))
        pending = max(pending, number)
        mine = []
        for run in runs:
            old = number
            number = max(number + (run.first < before), floor)
            found.note(old, before, number, run.first, run.offset)
            mine.append(number)
            before = run.last
        last[buffer.cpu] = number, before
        numbers.append(mine)
    return numbers, found


def find_clock_steps(trace: BufferFile) -> ClockSteps | None:
    """Return where the clock of a trace was set back; None where it cannot be set, or never was.

    The trace is read for that once more, its time stamps only.
    """
    if trace.header.clock != "system":
        return None
    usable = [b for b in trace.buffers if b.filled > BUFFER_HEADER and b.at not in trace.repeated]
    buffers = sorted(_runs(trace, usable), key=lambda one: (one[0].sequence, one[0].at))
    if not any(one.last > other.first for one, other in _neighbours(buffers, trace.header.first_stamp)):
        return None
    numbers, found = order_runs(buffers, trace.header.first_stamp)
    ns = 1_000_000_000 // trace.header.frequency
    amounts = [amount * ns for amount in found.settle()]
    places = [(run.offset, amounts[number]) for (_, runs), mine in zip(buffers, numbers, strict=True)
              for run, number in zip(runs, mine, strict=True)]  # fmt: skip
    places.sort()
    to_ns = trace.header.one_to_ns
    steps = [
        Step(to_ns(found.before[n]), to_ns(found.after[n]), amounts[n] - amounts[n - 1], found.offset[n])
        for n in range(1, len(amounts))
        if n in found.before
    ]
    return ClockSteps(
        np.array([-1, *(offset for offset, _ in places)]),
        np.array([0, *(shift for _, shift in places)]),
        steps,
    )


def _neighbours(buffers: Sequence[tuple[Buffer, Sequence[Run]]], began: int) -> Iterator[tuple[Run, Run]]:
    """Yield each run of a processor with the one before it."""
    last: dict[int, Run] = {}
    for buffer, runs in buffers:
        for run in runs:
            yield last.get(buffer.cpu, Run(began, began, 0)), run
            last[buffer.cpu] = run


def _runs(trace: BufferFile, buffers: Sequence[Buffer]) -> Iterator[tuple[Buffer, list[Run]]]:
    """Yield every buffer with its runs."""
    at = 0
    while at < len(buffers):
        until, room = at, 0
        while until < len(buffers) and (until == at or room < _CHUNK_BYTES):
            room += buffers[until].filled + 7 & ~7
            until += 1
        yield from zip(buffers[at:until], _chunk_runs(trace, buffers[at:until], room), strict=True)
        at = until


def _chunk_runs(trace: BufferFile, buffers: Sequence[Buffer], room: int) -> list[list[Run]]:
    raw = np.zeros(room + _SPARE + 7 & ~7, np.uint8)
    starts, ends = [], []
    at = 0
    for buffer in buffers:
        trace.file.seek(buffer.at + BUFFER_HEADER)
        body: bytes | None = trace.file.read(buffer.size - BUFFER_HEADER)
        if body is not None and buffer.compressed:
            body = inflate(body, buffer.filled - BUFFER_HEADER)
        body = (body or b"")[: buffer.filled - BUFFER_HEADER]
        raw[at : at + len(body)] = np.frombuffer(body, np.uint8)
        starts.append(at)
        ends.append(at + len(body))
        at += len(body) + 7 & ~7
    found = walk(raw, np.array(starts, np.int64), np.array(ends, np.int64))
    kind = np.where(found.mark >> 8 == MESSAGE_MARK, MESSAGE, found.mark & 0xFF)
    stamped = kind != MESSAGE  # a message is as late as the record before it
    start = found.start[stamped]
    stamps = raw.view(np.int64).take(start + TIME_AT.take(kind[stamped]) >> 3)
    bounds = np.searchsorted(start, [*starts, at])
    runs = []
    for number, buffer in enumerate(buffers):
        mine = slice(int(bounds[number]), int(bounds[number + 1]))
        times, places = stamps[mine], start[mine] - starts[number] + buffer.place + BUFFER_HEADER
        breaks = [0, *(np.flatnonzero(times[1:] < times[:-1]) + 1).tolist(), len(times)]
        runs.append(
            [Run(int(times[a]), int(times[b - 1]), int(places[a])) for a, b in pairwise(breaks) if b > a]
        )
    return runs
