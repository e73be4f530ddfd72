"""What `regtrace watch` keeps up with: events offered at a steady rate for some seconds, through the real queue.

    python benchmarks/watch.py [--rate 100000] [--seconds 10] [--show all|errors|key|table]

A thread calls the consumer's callback for records of a simulated trace that lie in memory, as the tracing
service does; they are copied, queued, named, filtered and written as JSON lines (or drawn as a table) to nowhere.
What found no room is counted. The same records come again with later times; memory should stay where it is.
"""

import argparse
import io
import os
import sys
import tempfile
import threading
import time
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from benchmarks_common import describe_machine

sys.path[:0] = [str(folder := Path(__file__).resolve().parents[1]), str(folder / "tests" / "support")]

from live_raw import raw_records  # noqa: E402

from cli.output.jsonl import write_jsonl  # noqa: E402
from cli.output.watch_rows import line_rows  # noqa: E402
from cli.tables.watch import WatchView  # noqa: E402
from tracer.live.row_filter import RowFilter  # noqa: E402
from tracer.live.watch import QUEUE_BYTES, Watch  # noqa: E402
from tracer.session.options import SessionCounters  # noqa: E402
from tracer.session.raw_queue import RawQueue  # noqa: E402
from tracer.simulate import SimulationOptions, simulate  # noqa: E402

FILTERS = {"all": {}, "table": {}, "errors": {"status": "error"}, "key": {"key": ["HKLM\\SOFTWARE\\**"]}}


def in_memory(events: int):
    """Return EVENT_RECORDs as an array of 112 bytes each, their times, and what keeps their data alive."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.etl"
        simulate(path, SimulationOptions(events=events, gap_us=10, option_word=7, foreign=0), truth=False)
        raw = list(raw_records(path))
    blob = np.frombuffer(b"".join(data for _, data, _ in raw) + b"\0", np.uint8).copy()
    sizes = np.array([len(data) for _, data, _ in raw])
    records = np.frombuffer(b"".join(head for head, _, _ in raw), np.uint8).reshape(-1, 112).copy()
    records[:, 96:104] = (
        (blob.ctypes.data + np.cumsum(sizes) - sizes).astype(np.uint64)[:, None].view(np.uint8)
    )
    return records, records[:, 16:24].view(np.int64)[:, 0], blob


class Offer(threading.Thread):
    """Calls the callback at a steady rate."""

    def __init__(self, queue: RawQueue, events: int, rate: int, seconds: int) -> None:
        super().__init__(daemon=True)
        self.queue, self.rate, self.seconds = queue, rate, seconds
        self.records, self.times, self.blob = in_memory(events)
        self.offered = self.behind = 0

    def run(self) -> None:
        base, count = self.records.ctypes.data, len(self.records)
        span = int(self.times.max() - self.times.min()) + 100
        begun = time.perf_counter()
        call, step = self.queue.on_record, 500
        while self.offered < self.rate * self.seconds:
            if self.offered and self.offered % count < step:
                self.times += span  # the next round
            place = self.offered % count
            for at in range(base + place * 112, base + min(place + step, count) * 112, 112):
                call(at)
            self.offered += min(step, count - place)
            ahead = begun + self.offered / self.rate - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
        self.took = time.perf_counter() - begun
        self.queue.end()


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=int, default=100_000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--show", choices=FILTERS, default="errors")
    asked = parser.parse_args()
    queue = RawQueue(QUEUE_BYTES)
    offer = Offer(queue, 200_000, asked.rate, asked.seconds)
    watch = Watch(RowFilter(**FILTERS[asked.show]))
    zeros = SessionCounters(0, 0, 0, 0, 0, 64, 64)
    watch._stream._session = SimpleNamespace(counters=lambda: zeros, stop=lambda: zeros, ended_by_other=False)
    queue.trouble, queue.is_cut = None, False
    queue.wait = queue.stop = lambda *_: None
    watch._stream._consumer, watch.has_started = queue, True
    stream, view = io.BytesIO(), None
    if asked.show == "table":
        from rich.console import Console

        view = WatchView(UTC, console=Console(file=io.StringIO(), width=120, height=40, force_terminal=True))
    offer.start()
    begun, cpu, next_look = time.perf_counter(), time.process_time(), 1.0
    memory, dropped = [], []

    def take(rows) -> None:
        if view is not None:
            view.show(rows, watch.status())
            view._console.file.seek(0)
            view._console.file.truncate()
        elif rows.num_rows:
            write_jsonl(line_rows(rows).to_reader(), stream)
            stream.seek(0)
            stream.truncate()

    for rows in watch.batches():
        take(rows)
        if time.perf_counter() - begun > next_look:
            memory.append(resident_mib())
            dropped.append(queue.dropped)
            next_look += 1
    for rows in watch.finish():
        take(rows)
    standing = watch.status()
    wall = time.perf_counter() - begun
    print(describe_machine())
    print(
        f"offered {offer.offered:,} in {offer.took:.1f} s ({offer.offered / offer.took:,.0f}/s), done after {wall:.1f} s"
    )
    print(f"named {standing.events:,}, shown {standing.shown:,}, dropped {queue.dropped:,}, late {standing.late:,}, "
          f"failures {queue.failures}, generations {watch._feed.pipeline.generations}")  # fmt: skip
    records = watch._feed.pipeline.records
    print(f"records through the pipeline {records:,} + dropped {queue.dropped:,} + unread {standing.unread:,} = offered: "
          f"{records + queue.dropped + standing.unread == offer.offered}")  # fmt: skip
    print(f"processor {(time.process_time() - cpu) / wall:.0%} of one core (the offering thread included)")
    print("dropped so far, second by second:", *dropped)
    print("resident MiB, second by second:", " ".join(f"{size:.0f}" for size in memory))


if __name__ == "__main__":
    main()
