"""The first record of an .etl: TRACE_LOGFILE_HEADER and the two names, in a SYSTEM header."""

import struct

from tracer.simulate.headers import build_record

__all__ = ["logfile_record"]

_SECOND = 10_000_000  # in 100 ns
_UP_FOR = 3 * 86400 * _SECOND  # the machine was started three days before the trace
_KERNEL_PID, _KERNEL_TID = 4, 172


def _time_zone() -> bytes:
    """TIME_ZONE_INFORMATION of UTC (172 bytes, padded to 176)."""
    name = "UTC".encode("utf-16-le").ljust(64, b"\0")
    zone = struct.pack("<i64s16si64s16si", 0, name, bytes(16), 0, name, bytes(16), 0)
    return zone.ljust(176, b"\0")


def logfile_record(
    *,
    pointer_size: int,
    buffer_size: int,
    mode: int,
    cpus: int,
    build: int,
    compressed: bool,
    clock_type: int,
    frequency: int,
    mhz: int,
    start_filetime: int,
    start_ticks: int,
    end_filetime: int,
    buffers_written: int,
    events_lost: int,
    buffers_lost: int,
    maximum_mib: int,
    names: tuple[str, str],
) -> bytes:
    """Return the record; times are FILETIMEs, `start_ticks` is the record's own raw time stamp.

    Version 2.0 says compressed, buffers over 1 MiB or more than 256 processors; otherwise it is 1.5.
    """
    version = (2, 0) if compressed or buffer_size > 1 << 20 or cpus > 256 else (1, 5)
    fixed = struct.pack(
        "<IBBBBIIqIIIIIIII", buffer_size, *version, 1, 5, build, cpus, end_filetime, 156250, maximum_mib,
        mode,
        buffers_written, 1, pointer_size, events_lost, mhz,
    )  # fmt: skip
    slots = struct.pack("<QQ" if pointer_size == 8 else "<II", 0, 5)
    times = struct.pack(
        "<qqqII", start_filetime - _UP_FOR, frequency, start_filetime, clock_type, buffers_lost
    )
    texts = b"".join(name.encode("utf-16-le", "surrogatepass") + b"\0\0" for name in names)
    payload = fixed + slots + _time_zone() + times + texts
    return build_record("system", provider=0, opcode=0, version=2, pid=_KERNEL_PID, tid=_KERNEL_TID,
                        ticks=start_ticks, payload=payload, pointer_size=pointer_size)  # fmt: skip
