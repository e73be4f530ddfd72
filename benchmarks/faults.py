"""Disks that are full, read-only or forbidden, few files, little memory, a clock that jumps: under every verb that writes.

    python benchmarks/faults.py [--verb NAME ...] [--sizes 12] [--seed 7]

Each verb runs as often as it has calls that make, open, rename or flush a file in its output folder or the temporary one, and
its k-th call fails (no space, no permission, an input or output error, too many open files, read-only). As root on Linux the
disk itself is small, too: a tmpfs of every size up to what the verb needs, in a private mount namespace, and one that is
mounted read-only. Then each verb runs with few open files, little memory, and a clock that jumps.

Whatever happens: exit code 0 and the whole output, or 1 and a sentence without a traceback; nothing half there, nothing
temporary left, and the sources as they were. Exit code 1 if one of this does not hold. Needs POSIX.
"""

import argparse
import errno
import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks_common import forked

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EIO, errno.EMFILE, errno.EROFS)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
VERBS: dict[str, list[str]] = {
    "ingest": ["ingest", "{in}/a.etl", "-o", "{out}/a.regtrace"],
    "ingest --force": ["ingest", "{in}/a.etl", "-o", "{out}/old.regtrace", "--force"],
    "ingest of a zip": ["ingest", "{in}/a.zip", "-o", "{out}/a.regtrace"],
    "ingest of two kinds": ["ingest", "{in}/a.etl", "{in}/log.jsonl", "-o", "{out}/a.regtrace"],
    "timeline": ["timeline", "{in}/c.regtrace", "-f", "csv", "-o", "{out}/t.csv"],
    "timeline --force": ["timeline", "{in}/c.regtrace", "-f", "csv", "-o", "{out}/old.csv", "--force"],
    "timeline parquet": ["timeline", "{in}/c.regtrace", "-f", "parquet", "-o", "{out}/t.parquet"],
    "sql": ["sql", "{in}/c.regtrace", "SELECT * FROM events", "-f", "jsonl", "-o", "{out}/s.jsonl"],
    "export": ["export", "{in}/c.regtrace", "--to", "timesketch", "-o", "{out}/e.jsonl"],
    "export gz": ["export", "{in}/c.regtrace", "--to", "ecs", "-o", "{out}/e.ndjson.gz"],
    "export perfetto": ["export", "{in}/c.regtrace", "--to", "perfetto", "-o", "{out}/e.pftrace"],
    "report": ["report", "{in}/c.regtrace", "-o", "{out}/r.html"],
    "plot html": ["plot", "activity", "{in}/c.regtrace", "-o", "{out}/p.html"],
    "plot svg": ["plot", "activity", "{in}/c.regtrace", "-o", "{out}/p.svg"],
    "changes": ["changes", "{in}/c.regtrace", "--reg", "{out}/a.reg", "--undo", "{out}/b.ps1"],
    "checkout": ["checkout", "{in}/c.regtrace", "--under", "HKLM\\SOFTWARE", "-o", "{out}/tree"],
    "checkout one": ["checkout", "{in}/c.regtrace", "--under", "HKLM\\SOFTWARE", "-o", "{out}/all.reg"],
    "show": ["show", "{in}/c.regtrace", "{set}", "--reg", "{out}/a.reg", "--undo", "{out}/b.ps1"],
    "why": ["why", "{in}/c.regtrace", "{key}", "{value}", "--graph", "{out}/w.html"],
    "bisect": [
        "bisect",
        "{in}/works.regtrace",
        "{in}/fails.regtrace",
        "-p",
        "ReportViewer.exe",
        "--reg",
        "{out}/a.reg",
        "--undo",
        "{out}/b.reg",
    ],
    "ingest with a hive": [
        "ingest",
        "{in}/a.etl",
        "--baseline",
        r"{in}/SOFTWARE=HKLM\SOFTWARE",
        "-o",
        "{out}/a.regtrace",
    ],
    "baseline": ["baseline", "{in}/h.regtrace", "-f", "csv", "-o", "{out}/b.csv"],
    "simulate": ["simulate", "-o", "{out}/s.etl", "--events", "3000"],
    "demo": ["demo", "--events", "3000"],
    "dump": ["dump", "{in}/a.etl", "-f", "jsonl", "-o", "{out}/d.jsonl"],
    "schema": ["schema", "--format", "json", "-o", "{out}/s.json"],
}


def prepare(folder: Path) -> None:
    """Make the sources and the capture that verbs ask."""
    import zipfile

    from hive_writer import Key, hive
    from sysmon_records import as_lines, event

    import regtrace as rt
    from tracer.ingest.pipeline import ingest
    from tracer.scenarios import simulate_scenario
    from tracer.simulate import SimulationOptions, simulate

    folder.mkdir()
    simulate(folder / "a.etl", SimulationOptions(events=3000, seed=5), truth=False)
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "a.etl", "a.etl")
    times = (f"2024-12-30 02:40:{second:02}.000" for second in range(20))
    lines = [event("CreateKey", f"HKLM\\SOFTWARE\\V\\{at}", UtcTime=when) for at, when in enumerate(times)]
    (folder / "log.jsonl").write_text(as_lines(lines))
    ingest([folder / "a.etl"], folder / "c.regtrace")
    simulate(folder / "b.etl", SimulationOptions(events=500, seed=6), truth=False)
    ingest([folder / "b.etl"], folder / "old.regtrace")
    (folder / "SOFTWARE").write_bytes(
        hive(Key("ROOT", keys=[Key("Vendor", values=[("Run", 4, b"\1\0\0\0")])]))
    )
    ingest([folder / "a.etl"], folder / "h.regtrace", baseline=[rf"{folder / 'SOFTWARE'}=HKLM\SOFTWARE"])
    for name in ("works", "fails"):
        simulate_scenario(folder / f"{name}.etl", name, SimulationOptions(events=100))
        ingest([folder / f"{name}.etl"], folder / f"{name}.regtrace")
    with rt.open(folder / "c.regtrace") as capture:
        written = capture.changes().query("change in ('set', 'created')").dropna(subset="value_name").iloc[0]
        words = {
            "set": capture.log(limit=1)["change_set"][0],
            "key": written["display_key"],
            "value": written["value_name"],
        }
    (folder / "words.json").write_text(json.dumps(words))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder; without the time at which a report was made."""
    made = re.compile(rb"on [0-9-]{10} [0-9:]{8} UTC")
    return {
        str(path.relative_to(folder)): made.sub(b"", path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Trial:
    """One verb in its folders."""

    def __init__(self, folder: Path, sources: Path, verb: str) -> None:
        self.folder, self.verb = folder, verb
        self.sources, self.out, self.tmp = sources, folder / "out", folder / "tmp"
        words = VERBS[verb]
        known = {"in": sources, "out": self.out, **json.loads((sources / "words.json").read_text())}
        self.words = [re.sub(r"\{(\w+)\}", lambda match: str(known[match[1]]), word) for word in words]
        self.count = mmap.mmap(-1, 8)  # shared with the child, which may leave without Python's ways
        self.before: dict[str, bytes] = {}

    def reset(self) -> None:
        """Make the folders anew, with an older output where the verb replaces one."""
        for path in (self.out, self.tmp):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
        if "--force" in self.words:
            old = self.out / "old.csv"
            if self.words[0] == "ingest":
                shutil.copytree(self.sources / "old.regtrace", self.out / "old.regtrace")
            else:
                old.write_text("older\n")
        self.before = snapshot(self.out)

    def run(self, setup: Callable[[], None] = lambda: None) -> tuple[int, str]:
        """Run the verb in a child after `setup`; return its exit code and what it said."""
        self.count[:] = bytes(8)
        said = self.folder / "said"

        def go() -> None:
            null, errors = (
                os.open(os.devnull, os.O_RDWR),
                os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            )
            for number, descriptor in ((0, null), (1, null), (2, errors)):
                os.dup2(descriptor, number)
            os.chdir(self.out)
            os.environ["TMPDIR"] = tempfile.tempdir = str(self.tmp)
            from cli.app import main

            setup()
            main(self.words)

        code = forked(go)
        code = 0 if (self.words[0], code) == ("bisect", 3) else code  # there are candidates
        return code, said.read_text(errors="replace")

    def fail_at(self, number: int, code: int) -> Callable[[], None]:
        """Return a setup that lets the k-th call fail; call 0 is none, so that calls are only counted."""
        ours = (str(self.out), str(self.tmp))

        def step(path: Any) -> None:
            seen = struct.unpack("<q", self.count[:])[0] + 1
            self.count[:] = struct.pack("<q", seen)
            if seen == number:
                raise OSError(code, os.strerror(code), os.fspath(path) if path is not None else None)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                path, _, flags = arguments
                if (
                    isinstance(path, str | bytes | os.PathLike)
                    and flags & WRITES
                    and os.fsdecode(path).startswith(ours)
                ):
                    step(path)
            elif event in ("os.mkdir", "os.rename", "os.link", "os.truncate") and os.fsdecode(
                arguments[0]
            ).startswith(ours):
                step(arguments[0])

        def setup() -> None:
            real = os.fsync

            def fsync(descriptor: int) -> None:
                step(None)
                real(descriptor)

            os.fsync = fsync
            sys.addaudithook(hook)

        return setup


class Faults:
    """What was tried and what did not hold."""

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.codes: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []

    def check(self, trial: Trial, what: str, whole: dict[str, bytes], code: int, said: str) -> None:
        """Check what a run left."""
        kind = what.partition(" ")[0].rstrip(":")
        self.tried[kind] += 1
        self.codes[kind, code] += 1
        problems = []
        if code not in (0, 1):
            problems.append(f"exit code {code}")
        if "Traceback" in said or "Exception ignored" in said:
            problems.append("a traceback")
        if code and not said.strip():
            problems.append("no sentence")
        made = snapshot(trial.out)
        for name, content in made.items():
            if content != whole.get(name) and content != trial.before.get(name):
                problems.append(f"{name} is half there")
        if code == 0 and made.keys() != whole.keys():
            problems.append(f"exit code 0 and only {sorted(made)}")
        left = [path.name for path in (*trial.tmp.iterdir(), *trial.out.glob(".*"))]
        if left:
            problems.append(f"{left} is left")
        for problem in problems:
            self.wrong.append(f"{trial.verb}, {what}: {problem}; it said: {said.strip()[-300:]!r}")
            print(self.wrong[-1], flush=True)


def on_disk(folder: Path, options: str, action: Callable[[], None]) -> None:
    """Do something while a folder is a disk of its own."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        action()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def small_disks(
    faults: Faults, root: Path, sources: Path, verb: str, whole: dict[str, bytes], sizes: int
) -> None:
    """Run a verb on disks of several sizes."""
    disk = root / "disk"
    need = sum(len(content) for content in whole.values()) // 1024 + 64
    for number in range(sizes):
        size = 16 + need * 3 * number // sizes

        def run(size: int = size) -> None:
            trial = Trial(disk, sources, verb)
            trial.folder = root
            try:
                trial.reset()
            except OSError:  # not even the older output has room
                return
            code, said = trial.run()
            faults.check(trial, f"disk of {size} KiB", whole, code, said)

        on_disk(disk, f"size={size}k", run)

    def read_only() -> None:
        trial = Trial(disk, sources, verb)
        trial.folder = root
        trial.reset()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code, said = trial.run()
        faults.check(trial, "disk that is read-only", whole, code, said)
        if not code:
            faults.wrong.append(f"{verb}: exit code 0 on a disk that is read-only")

    on_disk(disk, "size=64m", read_only)


def limited(kind: int, value: int) -> Callable[[], None]:
    """Return a setup that limits a resource."""

    def setup() -> None:
        import resource

        resource.setrlimit(kind, (value, value))

    return setup


def jumping(random: Random) -> Callable[[], None]:
    """Return a setup after which each look at the system's clock finds another year."""

    def setup() -> None:
        seconds, nanoseconds = time.time, time.time_ns
        time.time = lambda: seconds() + random.uniform(-3e8, 3e8)
        time.time_ns = lambda: nanoseconds() + random.randrange(-(3 * 10**17), 3 * 10**17)

    return setup


def try_verb(
    faults: Faults, root: Path, sources: Path, verb: str, asked: argparse.Namespace, random: Random
) -> None:
    """Try everything on one verb."""
    import resource

    trial = Trial(root / "plain", sources, verb)
    trial.reset()
    code, said = trial.run(trial.fail_at(0, 0))
    calls = struct.unpack("<q", trial.count[:])[0]
    if code:
        raise SystemExit(f"{verb} fails by itself: {said}")
    whole = snapshot(trial.out)
    for number in range(1, calls + 1):
        for error in ERRORS if asked.all else [ERRORS[number % len(ERRORS)]]:
            trial.reset()
            code, said = trial.run(trial.fail_at(number, error))
            faults.check(trial, f"call {number} of {calls}: {errno.errorcode[error]}", whole, code, said)
    others = [
        ("files: 256", limited(resource.RLIMIT_NOFILE, 256)),
        ("files: 64", limited(resource.RLIMIT_NOFILE, 64)),
        ("files: 24", limited(resource.RLIMIT_NOFILE, 24)),
        ("memory: 4 GiB", limited(resource.RLIMIT_AS, 4 << 30)),
        ("memory: 2 GiB", limited(resource.RLIMIT_AS, 2 << 30)),
        ("clock", jumping(random)),
    ]
    for what, setup in others:
        trial.reset()
        code, said = trial.run(setup)
        faults.check(trial, what, whole, code, said)
        draws = verb.startswith("plot") and what.startswith("memory")  # which needs 80 GiB, and says so
        if code and what in ("files: 256", "memory: 4 GiB", "clock") and not draws:
            faults.wrong.append(f"{verb}, {what}: it fails: {said.strip()[-300:]}")
            print(faults.wrong[-1])
    if sys.platform == "linux" and not os.geteuid():
        small_disks(faults, root, sources, verb, whole, asked.sizes)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--verb", action="append", choices=VERBS, help="only this one; several times for several"
    )
    parser.add_argument("--sizes", type=int, default=12, help="of disks, for each verb")
    parser.add_argument("--all", action="store_true", help="every error at every call, not one in turn")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    if sys.platform == "linux" and not os.geteuid() and "IN_NAMESPACE" not in os.environ:
        os.environ["IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", sys.executable, *sys.argv])
    # Loaded once, before any thread is started: children are forks.
    import tracer.ingest.etl
    import tracer.ingest.pipeline
    import tracer.simulate  # noqa: F401

    faults, random = Faults(), Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        root.chmod(0o755)
        if forked(lambda: prepare(root / "in")):
            return 1
        before = snapshot(root / "in")
        for verb in asked.verb or VERBS:
            try_verb(faults, root, root / "in", verb, asked, random)
            print(f"{verb}: {sum(faults.tried.values()):,} runs so far", file=sys.stderr, flush=True)
        if snapshot(root / "in") != before:
            faults.wrong.append("a source or a capture that was asked changed")
    for kind, count in faults.tried.items():
        ended = ", ".join(
            f"{n} with exit code {code}" for (one, code), n in sorted(faults.codes.items()) if one == kind
        )
        print(f"{kind}: {count:,} runs, {ended}")
    print(
        f"{sum(faults.tried.values()):,} runs of {len(asked.verb or VERBS)} verbs: {len(faults.wrong)} wrong"
    )
    return 1 if faults.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
