"""Exports: rows a second, bytes a row and peak memory of each format, each in a process of its own.

    python benchmarks/exports.py [--events 1000000] [--rounds 2] [--capture HOST.regtrace]

`read` reads the same columns of the timeline and writes nothing; `timeline` writes the JSON lines of `regtrace timeline`.
Then come answers that verbs write with `-o`, as CSV, JSON lines and Parquet; their rows are the events that were asked.
The best of the rounds counts, by processor time and by the clock. `--only WORD` takes those that begin with a word.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks_common import describe_machine, simulated

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "timesketch": "a.jsonl", "timesketch csv": "a.csv", "ecs": "a.ndjson", "ocsf": "b.jsonl", "splunk": "a.json",
    "l2tcsv": "b.csv", "perfetto": "a.pftrace",
}  # fmt: skip
ENDINGS = ("csv", "jsonl", "parquet", "txt")
VERBS: dict[str, list[str]] = {
    "timeline": [], "history": ["HKLM", "--subtree"], "changes": [], "state": [], "handles": [], "redundant": [],
    "errors": [], "keys": [], "who": [],
}  # fmt: skip
OUTPUTS = {f"{verb} -o .{ending}": (verb, ending) for verb in VERBS for ending in ENDINGS}


def peak_mib() -> float:
    """Return the peak memory of this process alone; `ru_maxrss` would count what its parent had before it began."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def written(verb: str, ending: str, capture: Path, folder: Path) -> dict[str, float]:
    """Let a verb write its answer to a file, and return what `measure` does."""
    from cli.app import main as regtrace

    path = folder / f"answer.{ending}"
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        regtrace([verb, str(capture), *VERBS[verb], "-o", str(path), "--force"])
    except SystemExit as end:
        if end.code:
            raise
    taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "peak": peak_mib()}
    size = path.stat().st_size
    path.unlink()
    events = json.loads((capture / "capture.json").read_text())["totals"]["events"]
    return taken | {"rows": events, "bytes": size}


def measure(what: str, capture: Path, folder: Path) -> dict[str, float]:
    """Do one of them, and return rows, seconds of processor and clock, bytes and peak memory."""
    if what in OUTPUTS:
        return written(*OUTPUTS[what], capture, folder)
    import regtrace as rt
    from analysis.filters import Filters

    path = folder / FILES.get(what, "c.jsonl")
    cpu, wall = time.process_time(), time.perf_counter()
    with rt.open(capture) as opened:
        if what == "read":
            rows = sum(batch.num_rows for batch in opened.timeline_reader(Filters(), batch_rows=32_768))
        elif what == "timeline":
            from cli.output.jsonl import write_jsonl

            with path.open("wb") as stream:
                write_jsonl(opened.timeline_reader(Filters()), stream)
            rows = opened.manifest.totals["events"]
        else:
            rows = opened.export(path, to=what.partition(" ")[0], force=True).rows
    taken = {"rows": rows, "cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    size = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    return taken | {"bytes": size, "peak": peak_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--capture", type=Path, help="a capture to export; else one is simulated")
    parser.add_argument("--only", default="", help="those that begin with it")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.capture, arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        capture = arguments.capture
        if capture is None:
            capture = folder / "capture.regtrace"
            import regtrace as rt

            source = simulated(folder, arguments.events)
            rt.ingest(source, capture)
            source.unlink()
        best: dict[str, dict[str, float]] = {}
        for _ in range(arguments.rounds):
            for what in ("read", "timeline", *FILES, *OUTPUTS):
                if not what.startswith(arguments.only):
                    continue
                command = [
                    sys.executable,
                    __file__,
                    "--one",
                    what,
                    "--capture",
                    str(capture),
                    "--folder",
                    name,
                ]
                ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True,
                                     env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
                found = json.loads(ran.stdout)
                best[what] = {key: min(value, best.get(what, found)[key]) for key, value in found.items()}
        print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f}")
        for what, taken in best.items():
            rows = taken["rows"]
            print(
                f"{what:20} {rows / taken['cpu']:>9,.0f} rows/s of processor time {rows / taken['wall']:>9,.0f} rows/s "
                f"by the clock {taken['bytes'] / rows:>6,.0f} bytes/row {taken['peak']:>6,.0f} MiB"
            )


if __name__ == "__main__":
    main()
