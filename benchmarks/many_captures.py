"""Many captures as one dataset: seconds and memory to open them, and to ask rules, autostart points and one key of all.

    python benchmarks/many_captures.py [--captures 1000] [--events 50000] [--folder DIR] [--rules RULES] [--rounds 1]

Five captures are made, each of two simulated traces: a story (programs that hide themselves, installations, a start of the
machine) and random activity over some 3,000 keys, part of which have no proved names. All captures are copies of these five:
their tables are hard links, only `capture.json` is a file of its own, with another host. So what a disk has to read, and how
far hosts differ, is less than in a fleet; what is opened, planned, searched and put together is that of a thousand captures.
Each case is a process of its own: processor time from its start, the clock from before the captures are opened.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks_common import describe_machine

import regtrace as rt
from tracer.scenarios import simulate_scenario
from tracer.simulate import SimulationOptions, simulate
from tracer.store.manifest import MANIFEST_NAME, Manifest

ROOT = Path(__file__).resolve().parents[1]
STORIES = ("persistence", "installer", "boot", "persistence", "installer")
KEY = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
CASES = ("open", "who", "who under", "timeline", "autoruns", "rules", "sql")


def many_captures(folder: Path, captures: int, events: int) -> Path:
    """Return a folder of captures of hosts of their own; it is made where it is not there yet."""
    fleet = folder / f"fleet-{captures}-{events}"
    if fleet.exists():
        return fleet
    bases = []
    for seed, story in enumerate(STORIES):
        base = folder / f"base-{seed}-{events}.regtrace"
        if not base.exists():
            traces = [folder / f"{name}.etl" for name in ("story", "others")]
            options = SimulationOptions(events=events // 2, seed=seed)
            simulate_scenario(traces[0], story, options, truth=False)
            simulate(traces[1], options, truth=False)
            rt.ingest(traces, base)
            for trace in traces:
                trace.unlink()
        bases.append(base)
    unfinished = folder / "unfinished"
    unfinished.mkdir()
    for number in range(captures):
        _copy(bases[number % len(bases)], unfinished / f"host-{number:04}.regtrace", f"HOST-{number:04}")
    unfinished.rename(fleet)
    return fleet


def _copy(base: Path, target: Path, host: str) -> None:
    manifest = Manifest.load(base)
    for entry in manifest.files():
        file = target / entry["file"]
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(base / entry["file"], file)
    values = manifest.as_dict()
    values["settings"] = values["settings"] | {"recording": {"host": {"name": host}}}
    (target / MANIFEST_NAME).write_text(json.dumps(values), encoding="ascii")


def measure(case: str, fleet: Path, rules: Path | None) -> dict[str, float]:
    """Answer one case, and return rows, seconds of processor and clock, and peak memory."""
    wall = time.perf_counter()
    with rt.open(fleet) as opened:
        ask = {
            "open": lambda: range(len(opened.captures)),
            "who": lambda: opened.who(KEY),
            "who under": lambda: opened.who(KEY.rpartition("\\")[0], subtree=True),
            "timeline": lambda: opened.timeline(KEY),
            "autoruns": lambda: opened.autoruns(),
            "rules": lambda: opened.rules(str(rules)),
            "sql": lambda: opened.sql("SELECT host, count(*) AS events FROM events GROUP BY host"),
        }[case]
        rows = len(ask())
    used = os.times()
    status = Path("/proc/self/status").read_text()
    return {
        "rows": rows,
        "cpu": used.user + used.system,
        "wall": time.perf_counter() - wall,
        "peak": int(status.partition("VmHWM:")[2].split()[0]) / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--captures", type=int, default=1000)
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="where the captures are, or are made and kept")
    parser.add_argument("--rules", type=Path, help="a folder of Sigma rules; without it they are not asked")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cases", nargs="+", default=CASES, choices=CASES)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.folder, options.rules)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        fleet = many_captures(folder, options.captures, options.events)
        print(f"{describe_machine()}; load {os.getloadavg()[0]:.1f}; {options.captures:,} captures")
        for case in options.cases:
            if case == "rules" and options.rules is None:
                continue
            command = [sys.executable, __file__, "--one", case, "--folder", str(fleet)]
            command += ["--rules", str(options.rules)] if options.rules else []
            runs = [_run(command) for _ in range(options.rounds)]
            best = {name: min(run[name] for run in runs) for name in runs[0]}
            print(
                f"{case:10} {best['rows']:>9,.0f} rows {best['cpu']:>7.2f} s of processor time "
                f"{best['wall']:>7.2f} s by the clock {best['peak']:>6,.0f} MiB",
                flush=True,
            )


def _run(command: list[str]) -> dict[str, float]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return json.loads(ran.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
