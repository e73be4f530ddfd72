"""The whole job, .etl to published capture, against its physical limit, in one run.

    python benchmarks/whole_job.py [--events 5000000] [--rounds 3] [--file trace.etl]

The limit is what no program that delivers the same rows can avoid: reading the file, touching its bytes
once (one memcpy), and writing the flat event table (names joined) to zstd Parquet from ready Arrow columns.
Both are measured as CPU time of the process with its threads, in turns; the job also by the clock.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks_common import describe_machine, simulated


def job(source: Path, folder: Path) -> tuple[float, float]:
    """Ingest in a process of its own; return CPU seconds, wall seconds."""
    code = (
        "import sys, time; from pathlib import Path; from tracer.ingest.pipeline import ingest; "
        "import pyarrow.parquet; wall = time.perf_counter(); cpu = time.process_time(); "
        "ingest([Path(sys.argv[1])], Path(sys.argv[2]), force=True); "
        "print(time.process_time() - cpu, time.perf_counter() - wall, "
        "open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(source), str(folder / "job.regtrace")],
        check=True, capture_output=True, text=True,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},  # as cli.app sets it
    )  # fmt: skip
    cpu, wall, rss = map(float, out.stdout.split())
    job.peak_mib = rss / 1024  # type: ignore[attr-defined]
    return cpu, wall


def limit(source: Path, folder: Path) -> dict[str, float]:
    """Return CPU seconds of reading, of one memcpy, and of writing the flat table."""
    cpu = time.process_time()
    with source.open("rb") as file:
        while file.readinto(limit.block):  # type: ignore[attr-defined]
            pass
    read = time.process_time() - cpu
    blocks = -(-source.stat().st_size // len(limit.block))  # type: ignore[attr-defined]
    target = np.empty_like(limit.block)  # type: ignore[attr-defined]
    cpu = time.process_time()
    for _ in range(blocks):
        np.copyto(target, limit.block)  # type: ignore[attr-defined]
    copy = time.process_time() - cpu
    import pyarrow.parquet as pq

    table = limit.table  # type: ignore[attr-defined]
    text = {field.name for field in table.schema if str(field.type) in ("string", "binary")}
    cpu = time.process_time()
    pq.write_table(
        table,
        folder / "flat.parquet",
        compression="zstd",
        compression_level=1,
        row_group_size=122_880,
        write_statistics=[name for name in table.column_names if name not in text],
    )
    return {"read": read, "memcpy": copy, "flat parquet": time.process_time() - cpu}


def flat_table(capture: Path):
    import regtrace as rt

    with rt.open(capture) as opened:
        # One row an operation with its names: what only repeats `status` or the process is left out.
        return (
            opened.events.order_by("sequence")
            .drop("status_name", "user", "command_line", "key_id", "process_id")
            .to_pyarrow()
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = arguments.file or simulated(folder, arguments.events)
        job(source, folder)  # warms the page cache, and compiles what is not compiled yet
        limit.block = np.zeros(16 << 20, np.uint8)  # type: ignore[attr-defined]
        limit.table = flat_table(folder / "job.regtrace")  # type: ignore[attr-defined]
        events = limit.table.num_rows  # type: ignore[attr-defined]
        jobs, limits, parts = [], [], []
        for _ in range(arguments.rounds):
            jobs.append(job(source, folder))
            parts.append(limit(source, folder))
            limits.append(sum(parts[-1].values()))
        cpu, wall = min(cpu for cpu, _ in jobs), min(wall for _, wall in jobs)
        best = min(limits)
        print(describe_machine())
        print(f"{events:,} events, {source.stat().st_size / 1e6:,.0f} MB; best of {arguments.rounds} rounds")
        print(
            f"job   {cpu / events * 1e9:7.0f} ns/event CPU, {events / wall / 1e6:.2f} M events/s by the clock, "
            f"peak {job.peak_mib:.0f} MiB"
        )  # type: ignore[attr-defined]
        print(
            f"limit {best / events * 1e9:7.0f} ns/event CPU "
            f"({', '.join(f'{part} {value / events * 1e9:.0f}' for part, value in min(parts, key=lambda p: sum(p.values())).items())})"
        )
        print(f"job / limit = {cpu / best:.2f}")


if __name__ == "__main__":
    main()
