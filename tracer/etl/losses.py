"""Losses that an .etl file itself reports: header counters, buffer flags, a wrap, a cut."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from tracer.diagnostics import Diagnostics
from tracer.etl.buffers import BUFFER_HEADER, BUFFER_LOST, EVENTS_LOST, Buffer, BufferFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tracer.etl.records import Records

__all__ = ["Loss", "find_losses", "find_unread"]

_MOST_UNREAD = 64  # records of a chunk that are placed one by one

_FLAGS = ((EVENTS_LOST, "events", "events_lost_flag"), (BUFFER_LOST, "buffers", "buffer_lost_flag"))


@dataclass(frozen=True, slots=True)
class Loss:
    """Something missing: `kind` is events, buffers or damage; None means not known (see schema.LOSSES)."""

    source: int
    kind: str
    count: int | None
    from_ns: int | None
    to_ns: int | None
    cpu: int | None
    evidence: str


def find_losses(source: int, file: BufferFile, diagnostics: Diagnostics) -> list[Loss]:
    """Return the losses of one file as far as its headers tell them, and count them.

    A loss is placed between neighbouring buffers where a buffer says so; a mere total could be anywhere.
    """
    flagged = list(_flagged(source, file, diagnostics))
    losses = [*_counted(source, file, diagnostics, {loss.kind for loss in flagged}), *flagged]
    header, buffers = file.header, file.buffers[1:]  # the first buffer holds the session's own records
    if file.circular and buffers and file.size + header.buffer_size > (header.largest_file or 0):
        until = header.one_to_ns(_overwritten_until(buffers))
        losses.append(
            Loss(source, "buffers", None, None, until, None, "circular file: older buffers were overwritten")
        )
    if header.end_ns is None:
        diagnostics.count("unfinalised_file")
        since = _all_written(file, buffers)
        losses.append(
            Loss(
                source,
                "buffers",
                None,
                since,
                None,
                None,
                "never stopped: buffers still in memory are missing",
            )
        )
    elif not file.circular and header.buffers_written > len(file.buffers):
        missing = header.buffers_written - len(file.buffers)
        diagnostics.count("missing_buffers", missing)
        before, after = _around(file, file.at + file.size)
        losses.append(
            Loss(
                source,
                "buffers",
                missing,
                before,
                after,
                None,
                f"log file header: {header.buffers_written} buffers were written",
            )
        )
    for start, end in file.gaps:
        before, after = _around(file, start)
        losses.append(
            Loss(
                source,
                "damage",
                end - start,
                before,
                after,
                None,
                f"no buffer can be read at offset {start}",
            )
        )
    if header.clock_is_odd:
        diagnostics.count("odd_clock", offset=BUFFER_HEADER)
    for buffer in file.buffers:
        if buffer.cut:
            first, last = _ns(file, buffer.stamp), header.one_to_ns(buffer.flushed)
            losses.append(
                Loss(
                    source,
                    "damage",
                    None,
                    first,
                    last,
                    buffer.cpu,
                    f"the file ends inside the buffer at offset {buffer.at}",
                )
            )
    return losses


def find_unread(records: "Records", rows: "NDArray[np.int64]") -> list[Loss]:
    """Return what is lost with records whose payloads cannot be read, `rows`: each at its time, many as one."""
    losses = []
    for source in np.flatnonzero(np.bincount(records.source[rows])).tolist():
        mine = rows[records.source[rows] == source]
        # One order for both forms of reading: rows of a batch stand in that of the file, or of time.
        mine = mine[np.lexsort((records.offset[mine], records.time_ns[mine]))]
        for some in mine.reshape(-1, 1) if len(mine) <= _MOST_UNREAD else [mine]:
            times, what = records.time_ns[some], f"at offset {int(records.offset[some].min())}"
            evidence = f"the payload of the registry record {what} cannot be read"
            if len(some) > 1:
                evidence = f"the payloads of {len(some):,} registry records from {what.removeprefix('at ')} on cannot be read"
            losses.append(Loss(source, "damage", None, int(times.min()), int(times.max()), None, evidence))
    return losses


def _all_written(file: BufferFile, buffers: Sequence[Buffer]) -> int | None:
    """Return the time until which every processor's records are in `buffers`; None where one has none."""
    last: dict[int, int] = {}
    for buffer in buffers:
        last[buffer.cpu] = max(buffer.flushed, last.get(buffer.cpu, buffer.flushed))
    # A processor that filled no buffer yet may hold records from the beginning on.
    return file.header.one_to_ns(min(last.values())) if last and len(last) >= file.header.cpus else None


def _around(file: BufferFile, at: int) -> tuple[int | None, int | None]:
    """Return the times between which a buffer missing at the offset `at` was filled, as its neighbours tell."""
    buffers = file.buffers[1:]
    if file.circular or any(above.flushed < below.flushed for below, above in pairwise(buffers)):
        return None, None  # the order in the file is not that of time
    after = next((buffer.flushed for buffer in buffers if buffer.at > at), None)
    until = None if after is None else file.header.one_to_ns(after)
    return _all_written(file, [buffer for buffer in buffers if buffer.at < at]), until


def _overwritten_until(buffers: Sequence[Buffer]) -> int:
    """Return the raw time by which everything that a wrap overwrote had been filled.

    Buffers are overwritten in the order they were written; where that is the order of time, what is gone is
    older than the oldest of what is left. Where buffers were written out of order their numbers tell: those
    beyond the last missing number are all there.
    """
    numbers = sorted(buffer.sequence for buffer in buffers)
    missing = max(
        (above - 1 for below, above in pairwise(numbers) if above > below + 1), default=numbers[0] - 1
    )
    return min(buffer.flushed for buffer in buffers if buffer.sequence > missing)


def _counted(source: int, file: BufferFile, diagnostics: Diagnostics, placed: set[str]) -> Iterator[Loss]:
    """Yield the header's totals; those of a kind that buffers place lie there, or after the last buffers."""
    last = {buffer.cpu: buffer.flushed for buffer in sorted(file.buffers[1:], key=lambda b: b.flushed)}
    tail = file.header.one_to_ns(min(last.values())) if last else None
    for kind, lost in (("events", file.header.events_lost), ("buffers", file.header.buffers_lost)):
        if lost:
            diagnostics.count(f"header_{kind}_lost", lost)
            since = tail if kind in placed else None
            where = (
                "; flagged buffers say where, but for what the last buffers could not say"
                if kind in placed
                else ""
            )
            yield Loss(source, kind, lost, since, None, None, f"log file header: {kind} lost{where}")


def _flagged(source: int, file: BufferFile, diagnostics: Diagnostics) -> Iterator[Loss]:
    before: dict[int, Buffer] = {}
    for buffer in sorted(file.buffers, key=lambda b: (b.flushed, b.at)):
        for bit, kind, name in _FLAGS:
            if buffer.flags & bit and buffer.at not in file.repeated:
                diagnostics.count(name, offset=buffer.at)
                previous = before.get(buffer.cpu)
                # Events are lost between the last record that found room before and the buffer's writing;
                # the first record of the buffer before is surely earlier.
                since = _ns(file, previous.stamp) if previous else None
                until = file.header.one_to_ns(buffer.flushed)
                yield Loss(
                    source, kind, None, since, until, buffer.cpu, f"flag of the buffer at offset {buffer.at}"
                )
        before[buffer.cpu] = buffer


def _ns(file: BufferFile, stamp: int | None) -> int | None:
    return None if stamp is None else file.header.one_to_ns(stamp)
