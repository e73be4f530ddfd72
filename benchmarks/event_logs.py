"""Records of an event log: ours, in children that can be killed, against the library's own `records_json`, in one run.

    python benchmarks/event_logs.py [--chunks 1600] [--rounds 3] [--like FILE.evtx]

The log is one full chunk repeated. With `--like` it is the first chunk of a real log with at least two records, filled
up with copies of its last one; without it, one of tests/support/evtx_writer.py. All take turns; of each the best
round is shown: records by the clock, and by processor time of this process and its children.
"""

import argparse
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks_common import describe_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from evtx_writer import BLOCK, CHUNK, RECORDS_AT, header, sysmon_like, with_checksums, write_log


def full_chunk(like: Path | None) -> bytes:
    if like is None:
        return write_log([sysmon_like(number) for number in range(1, 1000)], template=True).chunks[0]
    chunk = bytearray(like.read_bytes()[BLOCK : BLOCK + CHUNK])
    at, end = RECORDS_AT, struct.unpack_from("<I", chunk, 0x30)[0]
    while at + (size := struct.unpack_from("<I", chunk, at + 4)[0]) < end:
        at += size
    assert at > RECORDS_AT, f"{like} has one record in its first chunk, and that defines what copies refer to"
    record, identifier = bytes(chunk[at : at + size]), struct.unpack_from("<Q", chunk, at + 8)[0]
    while at + 2 * size <= CHUNK:
        at, identifier = at + size, identifier + 1
        chunk[at : at + size] = record
        struct.pack_into("<Q", chunk, at + 8, identifier)
    struct.pack_into("<Q", chunk, 0x10, identifier)
    struct.pack_into("<Q", chunk, 0x20, identifier)
    struct.pack_into("<II", chunk, 0x2C, at, at + size)
    return with_checksums(bytes(chunk))


def library(threads: int) -> Callable[[Path], int]:
    def read(path: Path) -> int:
        from evtx import PyEvtxParser

        return sum(1 for _ in PyEvtxParser(str(path), threads).records_json())

    return read


def ours(children: int) -> Callable[[Path], int]:
    def read(path: Path) -> int:
        from tracer.diagnostics import Diagnostics
        from tracer.evtx.reader import EvtxReader

        reader = EvtxReader(path, path.name, Diagnostics(), children=children)
        return sum(len(batch) for batch in reader.batches())

    return read


READERS = {
    "records_json, 1 thread": library(1),
    "records_json, 2 threads": library(2),
    "EvtxReader, 1 child": ours(1),
    "EvtxReader, 2 children": ours(2),
}


def processor_s() -> float:
    return sum(os.times()[:4])  # this process and the children that ended


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chunks", type=int, default=1600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--like", type=Path)
    arguments = parser.parse_args()
    best = {name: [0.0, 0.0] for name in READERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.evtx"
        path.write_bytes(header(arguments.chunks) + full_chunk(arguments.like) * arguments.chunks)
        counts = set()
        for _ in range(arguments.rounds):
            for name, read in READERS.items():
                wall, processor = time.perf_counter(), processor_s()
                counts.add(count := read(path))
                rates = count / (time.perf_counter() - wall), count / (processor_s() - processor)
                best[name] = [max(pair) for pair in zip(best[name], rates, strict=True)]
        assert len(counts) == 1, counts
        print(f"{counts.pop():,} records, {path.stat().st_size / 1e6:.1f} MB; {describe_machine()}")
    base = best["records_json, 2 threads"]
    print(f"{'':24} {'records/s':>12} {'':>6} {'by processor':>14}")
    for name, (wall_rate, processor_rate) in best.items():
        print(
            f"{name:24} {wall_rate:12,.0f} {wall_rate / base[0]:5.2f}x {processor_rate:13,.0f} {processor_rate / base[1]:5.2f}x"
        )


if __name__ == "__main__":
    main()
