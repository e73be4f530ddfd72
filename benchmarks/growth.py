"""How cost and memory grow with the file: the whole job at two sizes, in one run.

    python benchmarks/growth.py [--small 1000000] [--large 20000000] [--compressed]

With --compressed: the same events in a plain and in an XPRESS-compressed file.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks_common import describe_machine, simulated
from whole_job import job


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compressed", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.compressed:
            cases = {
                "plain": (simulated(folder, arguments.small), arguments.small),
                "compressed": (simulated(folder, arguments.small + 1, compressed=True), arguments.small + 1),
            }
        else:
            cases = {f"{n:,} events": (simulated(folder, n), n) for n in (arguments.small, arguments.large)}
        best: dict[str, float] = dict.fromkeys(cases, float("inf"))
        peak: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for case, (path, events) in cases.items():
                cpu, _ = job(path, folder)
                best[case] = min(best[case], cpu / events * 1e9)
                peak[case] = job.peak_mib  # type: ignore[attr-defined]
        print(describe_machine())
        first = next(iter(best.values()))
        for case, cost in best.items():
            print(f"{case:18} {cost:6.0f} ns/event CPU  {cost / first:5.2f} x  peak {peak[case]:.0f} MiB")


if __name__ == "__main__":
    main()
