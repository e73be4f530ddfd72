"""Causes: seconds and peak memory of `why` at depth 3, for the values that are written most often.

    python benchmarks/causes.py [--events 2000000] [--capture HOST.regtrace] [--values 5]

The first question sorts the reads and writes of the capture into memory; those after it find them there. Both are shown, by
processor time and by the clock, without opening the capture.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks_common import describe_machine, simulated

import regtrace as rt


def peak_mib() -> float:
    """Return the peak memory of this process alone."""
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    """Ask, and print what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--capture", type=Path)
    parser.add_argument("--values", type=int, default=5)
    asked = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        capture = asked.capture
        if capture is None:
            capture = Path(folder) / "simulated.regtrace"
            rt.ingest(simulated(Path(folder), asked.events), capture)
        with rt.open(capture) as opened:
            values = opened.sql(
                "SELECT key_id, value_name, count(*) AS writes FROM events WHERE operation = 'SetValueKey' AND status = 0 "
                "AND regexp_full_match(value_name, '[A-Za-z0-9]+') GROUP BY ALL ORDER BY writes DESC, key_id, value_name"
            )  # fmt: skip
        for turn in ("first", "later"):
            with rt.open(capture) as opened:
                print(f"{opened.manifest.totals['events']:,} events; {turn} question")
                opened.who(f"#{values.key_id[0]}")  # loads what every question loads
                if turn == "later":
                    opened.why(f"#{values.key_id[0]}", values.value_name[0])
                for key_id, name in list(zip(values.key_id, values.value_name, strict=True))[: asked.values]:
                    cpu, wall = time.process_time(), time.perf_counter()
                    links = len(opened.why(f"#{key_id}", name, depth=3))
                    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                    print(
                        f"  {name}: {links:,} links, {cpu:.2f} s processor, {wall:.2f} s clock, peak {peak_mib():,.0f} MiB"
                    )
                    if turn == "first":
                        break


if __name__ == "__main__":
    main()
