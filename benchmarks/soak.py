"""Long runs: the live path at 20,000 events a second of simulated time, and questions in a loop. Memory has to stay flat.

    python benchmarks/soak.py live [--hours 24] [--minutes 60]
    python benchmarks/soak.py questions [--minutes 60]

live: records of a simulated trace come again and again with later times, 2,000 with each tenth of a simulated second, through
the watch with a double of the session; every record must be shown, filtered, or counted. It runs as fast as it can, and ends
after the simulated hours or the minutes on the clock, whichever comes first; it says how much was run.
questions: one capture, opened once, is asked one question after the other; every tenth round it is opened anew.

Memory is what the process has resident. It is flat if the median of the last quarter is within 5 % of that of the second.
Beside it stands what C's allocator has given out: where that stays and the resident memory moves, the allocator keeps pages
that nobody uses. Needs Linux (/proc, glibc).
"""

import argparse
import ctypes
import os
import statistics
import struct
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks_common import simulated

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
RATE, TICK_S = 20_000, 0.1
TICKS = 10_000_000  # of 100 ns, in a second
FLAT = 0.05


def resident() -> int:
    """Return the resident memory of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Given(ctypes.Structure):
    """What glibc's `mallinfo2` tells; `uordblks` and `hblkhd` are in use (malloc.h)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    )


def in_use() -> int:
    """Return the bytes that C's allocator has given out; 0 where it does not tell."""
    tell = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if tell is None:
        return 0
    tell.restype = _Given
    given = tell()
    return int(given.uordblks + given.hblkhd)


class Memory:
    """Readings of the resident memory, and of what is in use of it, some by some."""

    def __init__(self) -> None:
        self.readings: list[int] = []
        self.used: list[int] = []

    def note(self, what: str) -> None:
        """Take a reading."""
        self.readings.append(resident())
        self.used.append(in_use())
        print(f"{what}: {self.readings[-1] >> 20} MiB", file=sys.stderr, flush=True)

    def verdict(self) -> tuple[str, bool]:
        """Return a sentence, and whether memory was flat."""
        count = len(self.readings)
        if count < 8:
            return f"only {count} readings of memory, which tell nothing", False
        second, last = self.readings[count // 4 : count // 2], self.readings[-(count // 4) :]
        before, after = statistics.median(second), statistics.median(last)
        change = after / before - 1
        said = (
            f"memory {before / 2**20:.0f} MiB in the second quarter, {after / 2**20:.0f} MiB in the last ({change:+.1%}), "
            f"at most {max(self.readings) >> 20} MiB; given out {statistics.median(self.used[count // 4 : count // 2]) / 2**20:.0f} "
            f"and {statistics.median(self.used[-(count // 4) :]) / 2**20:.0f} MiB"
        )
        return said, abs(change) <= FLAT


def later(raw: list[Any], ticks: int) -> list[Any]:
    """Return records with their times moved on."""
    moved = []
    for head, data, items in raw:
        stamp = struct.unpack_from("<q", head, 16)[0] + ticks
        moved.append((head[:16] + struct.pack("<q", stamp) + head[24:], data, items))
    return moved


def live(hours: float, minutes: float) -> bool:
    """Run the watch."""
    import fake_session
    import pytest
    from live_raw import raw_records

    from tracer.live.row_filter import RowFilter
    from tracer.live.watch import Watch

    with tempfile.TemporaryDirectory() as folder:
        raw = list(raw_records(simulated(Path(folder), 60_000, gap_us=50.0, option_word=7)))
    each = int(RATE * TICK_S)
    raw = raw[: len(raw) // each * each]
    lap = struct.unpack_from("<q", raw[-1][0], 16)[0] - struct.unpack_from("<q", raw[0][0], 16)[0] + 1000
    stop_at, given = time.monotonic() + minutes * 60, 0
    script = fake_session.Script(tick=TICK_S)

    class Batches:
        """As a list of batches, without an end."""

        def pop(self, _: int) -> list[Any]:
            nonlocal given
            at = given % len(raw)
            given += each
            return later(raw[at : at + each], given // len(raw) * lap)

        def __bool__(self) -> bool:
            return True

    script.batches = Batches()  # type: ignore[assignment]
    patch = pytest.MonkeyPatch()
    fake_session.install(patch, script)
    memory, shown, looked = Memory(), 0, 0.0
    began = time.process_time()
    with Watch(RowFilter(), clock=lambda: script.now) as running:
        for rows in running.batches():
            shown += rows.num_rows
            if script.now - looked >= 10:
                looked = script.now
                memory.note(f"{timedelta(seconds=round(script.now))} simulated, {given:,} events")
            if script.now >= hours * 3600 or time.monotonic() >= stop_at:
                break
        for rows in running.finish():
            shown += rows.num_rows
    standing = running.status()
    patch.undo()
    counted = (
        standing.shown
        + standing.filtered
        + standing.other
        + standing.undecoded
        + standing.dropped
        + standing.unread
    )
    said, is_flat = memory.verdict()
    print(
        f"live: {given:,} events, {timedelta(seconds=round(given / RATE))} of the day at {RATE:,}/s, in "
        f"{time.process_time() - began:.0f} s of processor time; {said}; {standing.shown:,} shown, {standing.filtered:,} "
        f"filtered, {standing.other:,} others, {standing.undecoded:,} undecoded, {standing.unread:,} unread; unaccounted "
        f"{standing.received - counted:,}; not handed over {given - standing.received:,}"
    )
    return is_flat and standing.received == counted and given == standing.received and shown == standing.shown


def questions(minutes: float) -> bool:
    """Ask in a loop."""
    import regtrace as rt

    key = r"HKLM\SOFTWARE"
    asked = rounds = 0
    memory, stop_at, began = Memory(), time.monotonic() + minutes * 60, time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        source = simulated(Path(folder), 20_000, option_word=7)
        target = Path(folder) / "a.regtrace"
        rt.ingest([source], target)
        capture = rt.open(target)
        ask: list[Any] = [
            lambda: capture.timeline(limit=1000),
            lambda: capture.hot(),
            lambda: capture.errors(),
            lambda: capture.changes(),
            lambda: capture.redundant(),
            lambda: capture.handles(),
            lambda: capture.who(key=key, subtree=True),
            lambda: capture.history(key=key, subtree=True),
            lambda: capture.state(key=key, subtree=True),
            lambda: capture.sql("SELECT process, count(*) AS n FROM events GROUP BY process"),
        ]
        while time.monotonic() < stop_at:
            for question in ask:
                question()
                asked += 1
            rounds += 1
            if rounds % 10 == 0:
                capture.close()
                capture = rt.open(target)
            memory.note(f"{asked:,} questions")
        capture.close()
    said, is_flat = memory.verdict()
    print(f"questions: {asked:,} in {time.process_time() - began:.0f} s of processor time; {said}")
    return is_flat


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("live", "questions"))
    parser.add_argument("--hours", type=float, default=24, help="of simulated time")
    parser.add_argument("--minutes", type=float, default=60, help="on the clock, at most")
    given = parser.parse_args()
    return (
        0 if (live(given.hours, given.minutes) if given.what == "live" else questions(given.minutes)) else 1
    )


if __name__ == "__main__":
    sys.exit(main())
