"""The log file header (TRACE_LOGFILE_HEADER): the session's own description, and its clock."""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracer.registry.text import decode_name

__all__ = ["FILETIME_EPOCH", "LogfileHeader", "parse_logfile_header"]

FILETIME_EPOCH = 116_444_736_000_000_000  # 1970 in FILETIME units (100 ns since 1601)
CLOCKS = {0: "qpc", 1: "qpc", 2: "system", 3: "cycles"}
_LATEST = 2**62  # nanoseconds; year 2116: later start times are damage
_MOST = 2**63 - 1
_TICKS = 10_000_000
_MODE_KILOBYTES = 0x2000  # EVENT_TRACE_USE_KBYTES_FOR_SIZE


@dataclass(frozen=True, slots=True)
class LogfileHeader:
    """Facts of one log file header; times are UTC nanoseconds, None where the file does not say.

    `first_stamp` is the raw time stamp of the record that carried the header: the clock is anchored
    there, at `anchor_ns`, which is `start_ns` unless another session's header says it (`tracer.etl.shared_clock`). `frequency` is the clock's rate, `counter_hz` that of the performance counter, whichever
    clock the session used. `largest_file` is the limit in bytes at which a circular file wraps. BootTime is no anchor: it was seen 10 s off.
    """

    pointer_size: int
    buffer_size: int
    version: tuple[int, int]
    build: int
    cpus: int
    start_ns: int
    end_ns: int | None
    boot_ns: int | None
    mode: int
    largest_file: int | None
    buffers_written: int
    events_lost: int
    buffers_lost: int
    cpu_mhz: int
    frequency: int
    counter_hz: int | None
    clock: str
    first_stamp: int
    logger_name: str
    log_file_name: str
    clock_is_odd: bool
    anchor_ns: int

    def to_ns(self, stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return raw time stamps as UTC nanoseconds, rounded down to what the clock resolves.

        Stamps of a damaged record may lie beyond what nanoseconds can say; they are as near to it as these get,
        and do not wrap around to another time.
        """
        # What wraps around on the way comes back with the anchor, as long as the time itself can be said.
        before, after = (
            min(_MOST, ((_MOST + room) // 1_000_000_000 - 1) * self.frequency)
            for room in (self.anchor_ns, -self.anchor_ns)
        )
        lowest, highest = max(self.first_stamp - before, -_MOST), min(self.first_stamp + after, _MOST)
        if len(stamps) and (stamps.min() < lowest or stamps.max() > highest):
            stamps = stamps.clip(lowest, highest)
        ticks = stamps - np.int64(self.first_stamp)
        if self.frequency == _TICKS:
            return ticks * 100 + self.anchor_ns
        seconds, rest = np.divmod(ticks, self.frequency)
        return seconds * 1_000_000_000 + rest * 1_000_000_000 // self.frequency + self.anchor_ns

    def one_to_ns(self, stamp: int) -> int:
        """Return one raw time stamp as UTC nanoseconds."""
        return int(self.to_ns(np.array([stamp], np.int64))[0])


def _utc_ns(filetime: int) -> int | None:
    ns = (filetime - FILETIME_EPOCH) * 100
    return ns if filetime > 0 and -_LATEST < ns < _LATEST else None


def parse_logfile_header(record: bytes, pointer_size: int, stamp: int) -> LogfileHeader | None:
    """Return the header held by the payload `record` of a hook-0 record; None where it is too short."""
    wide = pointer_size == 8
    if len(record) < (0x118 if wide else 0x110):
        return None
    size, major, minor, _, _, build, cpus, end, _, most, mode, written, _, _, lost, mhz = struct.unpack_from(
        "<I4BIIqIIIIIIII", record
    )
    boot, frequency, start = struct.unpack_from("<qqq", record, 0xF8 if wide else 0xF0)
    clock, buffers_lost = struct.unpack_from("<II", record, 0x110 if wide else 0x108)
    names = record[0x118 if wide else 0x110 :]
    texts = []
    for _ in range(2):
        stop = next((at for at in range(0, len(names) - 1, 2) if names[at : at + 2] == b"\0\0"), len(names))
        texts.append(decode_name(names[:stop]))
        names = names[stop + 2 :]
    counter_hz = frequency if frequency > 0 else None
    if clock == 3:
        frequency = mhz * 1_000_000
    elif clock == 2:
        frequency = _TICKS
    start_ns = _utc_ns(start)
    # A rate beyond 9 GHz would overflow the exact arithmetic of to_ns, and no such clock exists.
    odd = start_ns is None or not 0 < frequency < 9_000_000_000
    return LogfileHeader(
        pointer_size=pointer_size,
        buffer_size=size,
        version=(major, minor),
        build=build,
        cpus=cpus,
        start_ns=start_ns or 0,
        end_ns=_utc_ns(end),
        boot_ns=_utc_ns(boot),
        mode=mode,
        largest_file=most << (10 if mode & _MODE_KILOBYTES else 20) or None,
        buffers_written=written,
        events_lost=lost,
        buffers_lost=buffers_lost,
        cpu_mhz=mhz,
        frequency=frequency if 0 < frequency < 9_000_000_000 else _TICKS,
        counter_hz=counter_hz,
        clock=CLOCKS.get(clock, "qpc"),
        first_stamp=stamp,
        logger_name=texts[0],
        log_file_name=texts[1],
        clock_is_odd=odd,
        anchor_ns=start_ns or 0,
    )
