"""From shell to answer: processor time of verbs against a Python process that imports DuckDB and counts the operations.

    python benchmarks/verbs.py [--source LOG.pml | --events 50000] [--rounds 7]

All run as processes of their own, in turns; the best of the rounds counts. Python finds its bytecode, as that of an installed
package, in a folder of this run: the first round writes it. Where PYTHONDONTWRITEBYTECODE is set and a checkout has no
bytecode yet, each process would compile our sources again. The second table is of one open capture: each question asked a
second time.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks_common import describe_machine, simulated

import regtrace as rt

ROOT = Path(__file__).resolve().parents[1]
KEY = r"HKLM\SOFTWARE"
COUNT = (
    "import duckdb, sys; "
    "print(duckdb.sql(f\"SELECT operation, count(*) FROM read_parquet('{sys.argv[1]}/events/*.parquet') GROUP BY ALL\").fetchall())"
)
VERBS = {
    "info": [], "sql": ["SELECT count(*) FROM events"], "timeline": ["--limit", "20"], "who": [],
    "history": [KEY, "--subtree"], "keys": [], "hot": [], "state": [], "errors": [], "changes": [], "redundant": [],
    "handles": [], "tree": [], "diff": ["--a-to", "+1s", "--b-from", "+1s"],
}  # fmt: skip
QUESTIONS: dict[str, Callable[[rt.Capture], object]] = {
    "timeline": lambda capture: capture.timeline(KEY, limit=20),
    "who": lambda capture: capture.who(),
    "history": lambda capture: capture.history(KEY, subtree=True),
    "keys": lambda capture: capture.keys(),
    "hot": lambda capture: capture.hot(),
    "state": lambda capture: capture.state(),
    "errors": lambda capture: capture.errors(),
    "changes": lambda capture: capture.changes(),
    "redundant": lambda capture: capture.redundant(),
    "handles": lambda capture: capture.handles(),
    "tree": lambda capture: capture.tree(),
    "diff": lambda capture: capture.diff(a_end="+1s", b_start="+1s"),
}


def seconds(command: list[str], settings: dict[str, str]) -> float:
    """Return the processor time of a command with these variables, user and system."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, **settings}
    subprocess.run(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, env=environment
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a trace or log to ask about; else one is simulated")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = arguments.source or simulated(folder, arguments.events)
        capture = folder / "capture.regtrace"
        rt.ingest(source, capture)
        small = simulated(folder, 3_000)
        commands = {
            "baseline": [sys.executable, "-c", COUNT, str(capture)],
            **{verb: [sys.executable, "-m", "cli.app", verb, str(capture), *more] for verb, more in VERBS.items()},
            "ingest of 3,000": [sys.executable, "-m", "cli.app", "ingest", str(small), "-o", str(folder / "s.regtrace"), "--force"],
        }  # fmt: skip
        settings = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
        best: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for verb, command in commands.items():
                best[verb] = min(best.get(verb, 1e9), seconds(command, settings))
        print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f}; {source.name}")
        print(f"baseline: {best['baseline']:.3f} s")
        for verb, taken in best.items():
            if verb != "baseline":
                print(f"{verb:16} {taken:.3f} s {taken / best['baseline']:5.1f} x")
        print("\na second time, in one program:")
        with rt.open(capture) as opened:
            for question, ask in QUESTIONS.items():
                ask(opened)
                cpu, wall = time.process_time(), time.perf_counter()
                ask(opened)
                print(
                    f"{question:16} {time.process_time() - cpu:.3f} s CPU {time.perf_counter() - wall:.3f} s"
                )


if __name__ == "__main__":
    main()
