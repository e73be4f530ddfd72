"""Reads changed inputs of every kind that regtrace imports, and keeps those that do more than give rows or one sentence.

    python tests/fuzz [--inputs 20000] [--seed TEXT] [--processes 2] [--state FILE] [--kind KIND ...] [--findings FOLDER]
    python tests/fuzz --replay FINDING

An input must end in rows with counted losses or in one RegtraceError of one line: no other exception, no warning, no
crash of the interpreter, within ten seconds of processor time and 2 GiB; and NumPy's and the compiled loops must agree.
Inputs that reach a line of regtrace that none reached before are kept and changed further. With --state what was kept is
there again the next time, and the numbers go on.

The exit code is 1 if anything was found. A finding is a folder with the files of the input and `why.txt`.
"""

import argparse
import json
import os
import pickle
import re
import signal
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections import Counter
from datetime import UTC, datetime
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "support")]
BATCH = 200  # inputs of a task
SILENT_S = 1800  # by the clock: who answered nothing for so long is stuck
EXAMPLES = 3  # of findings that look alike


class State:
    """What a run knows: how far it came, which lines ran, which inputs are worth changing further."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.next = 0
        self.lines: set[tuple[str, int]] = set()
        self.kept: list[tuple[str, dict[str, bytes]]] = []
        self.inputs: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        if file is not None and file.exists():
            known = json.loads(file.read_text())
            self.next, self.inputs, self.findings = (
                known["next"],
                Counter(known["inputs"]),
                Counter(known["findings"]),
            )
            self.lines = {(name, line) for name, lines in known["lines"].items() for line in lines}
            self.kept = [
                (kind, {name: b64decode(text) for name, text in parts.items()})
                for kind, parts in known["kept"]
            ]

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self.file is None:
            return
        lines: dict[str, list[int]] = {}
        for name, line in sorted(self.lines):
            lines.setdefault(name, []).append(line)
        kept = [
            (kind, {name: b64encode(content).decode() for name, content in parts.items()})
            for kind, parts in self.kept
        ]
        known = {
            "next": self.next, "inputs": self.inputs, "findings": self.findings, "lines": lines, "kept": kept,
        }  # fmt: skip
        waiting = self.file.with_name(self.file.name + ".new")
        waiting.write_text(json.dumps(known))
        waiting.replace(self.file)


class Worker:
    """A worker process as its parent sees it."""

    def __init__(self, place: Path, importers: str) -> None:
        from fuzz.worker import work

        self.place = place
        place.mkdir(exist_ok=True)
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, str(place), importers), daemon=False)
        self.process.start()
        theirs.close()
        self.is_ready = False
        self.told = self.learnt = 0  # how many of the kept inputs it knows
        self.task: Any = None
        self.since = time.monotonic()

    def input(self) -> tuple[int, str, dict[str, bytes]] | None:
        """Return the input that it reads, or read when it ended."""
        try:
            return pickle.loads((self.place / "now").read_bytes())
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def end(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.join()
        self.pipe.close()


class Run:
    """One run of workers over many inputs."""

    def __init__(self, asked: argparse.Namespace, state: State) -> None:
        from fuzz.worker import Report

        self.asked, self.state = asked, state
        self.total = Report()
        self.new_findings = 0
        self.is_full = False
        self.end = state.next + asked.inputs
        self.retry: list[tuple[int, int]] = []

    def go(self, folder: Path) -> None:
        """Read all inputs."""
        workers = [
            Worker(folder / str(number), self.asked.importers) for number in range(self.asked.processes)
        ]
        began = saved = time.monotonic()
        try:
            while workers:
                ready = connection.wait([one.pipe for one in workers], 2.0)
                for number, worker in reversed(list(enumerate(workers))):
                    if worker.pipe in ready:
                        try:
                            answer = worker.pipe.recv()
                        except (EOFError, OSError):
                            self._lost(worker, "the process ended")
                            workers[number] = Worker(worker.place, self.asked.importers)
                            continue
                        more = self._took(worker, answer)
                        if not more or self.is_full:
                            worker.end()
                            workers.pop(number)
                        if more and self.is_full:  # what one had resident once says nothing of the next input
                            self.is_full = False
                            workers.append(Worker(worker.place, self.asked.importers))
                    elif time.monotonic() - worker.since > SILENT_S:
                        self._lost(worker, f"no answer for {SILENT_S} s")
                        workers[number] = Worker(worker.place, self.asked.importers)
                if time.monotonic() - saved > 30:
                    saved = time.monotonic()
                    self.state.save()
                    self._say(saved - began)
        finally:
            for worker in workers:
                worker.end()
            self.state.save()

    def _took(self, worker: Worker, answer: Any) -> bool:
        """Take an answer and give the next task; tell whether there is one."""
        worker.since = time.monotonic()
        state = self.state
        if isinstance(answer, str):
            raise SystemExit(f"this program has a fault: {answer}")
        if not worker.is_ready:
            worker.is_ready = True
            state.lines |= answer
        else:
            self._add(worker, answer)
        if self.is_full:
            return bool(self.retry) or self.state.next < self.end
        task = self._next(worker)
        if task is None:
            return False
        worker.task = task
        worker.pipe.send(task)
        return True

    def _next(self, worker: Worker) -> Any:
        from fuzz.worker import Task

        state = self.state
        if self.retry:
            first, count = self.retry.pop()
        else:
            first, count = state.next, min(BATCH, self.end - state.next)
            state.next += max(count, 0)
        if count <= 0:
            return None
        kept = state.kept[worker.told :]
        worker.told = len(state.kept)
        asked = self.asked
        return Task(
            asked.seed, first, count, kept, set(state.lines), tuple(asked.kind), asked.cpu, asked.memory
        )

    def _add(self, worker: Worker, report: Any) -> None:
        total, state = self.total, self.state
        for mine, theirs in (
            (total.inputs, report.inputs),
            (total.refused, report.refused),
            (total.rows, report.rows),
        ):
            mine.update(theirs)
        state.inputs.update(report.inputs)
        for name, slowest in report.slowest.items():
            total.slowest[name] = max(total.slowest.get(name, (0.0, 0)), slowest)
        self._later(report.next, worker.task.first + worker.task.count)
        total.peak = max(total.peak, report.peak)
        self.is_full = report.peak > self.asked.memory << 20
        state.lines |= report.lines
        if worker.told == len(state.kept):  # it knows its own
            worker.told += len(report.kept)
        state.kept += report.kept
        for number, kind, parts, why in report.raised:
            self.keep(number, kind, parts, why)

    def _lost(self, worker: Worker, how: str) -> None:
        """Keep the input that a worker was lost to, and go on behind it."""
        worker.process.join(0 if how.startswith("no answer") else 5)
        worker.end()
        found = worker.input()
        task, code = worker.task, worker.process.exitcode
        stack = (worker.place / "stack").read_text(errors="replace")[:6000]
        if not worker.is_ready or task is None or found is None:
            raise SystemExit(f"a worker does not start (exit code {code}): {stack}")
        number, kind, parts = found
        # What came before in the task was read and not told, so it is read again; this input is not.
        self.state.inputs[kind] += 1
        self.total.inputs[kind] += 1
        self.keep(number, kind, parts, f"{how}, exit code {code}\n{stack}")
        self._later(task.first, number)
        self._later(number + 1, task.first + task.count)

    def _later(self, first: int, end: int) -> None:
        if first < end:
            self.retry.append((first, end - first))

    def keep(self, number: int, kind: str, parts: dict[str, bytes], why: str) -> None:
        """Keep an input as a finding; of those that look alike only a few."""
        own = re.findall(r'File "[^"]*/((?:tracer|analysis|tests/fuzz)/[^"]+)", line (\d+)', why)
        last = why.strip().splitlines()[-1][:80] if "Traceback" in why else why.splitlines()[0]
        sign = f"{kind}: {re.sub(r'[0-9]+', 'N', last)} at {':'.join(own[-1]) if own else '?'}"
        self.state.findings[sign] += 1
        self.new_findings += 1
        if self.state.findings[sign] > EXAMPLES:
            return
        folder = self.asked.findings / f"{kind.replace(' ', '-')}-{self.asked.seed}-{number}"
        for name, content in parts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (folder / "why.txt").write_text(f"{kind}\n{why}")
        print(f"found: {sign}\n  kept in {folder}", file=sys.stderr, flush=True)

    def _say(self, seconds: float) -> None:
        done = sum(self.total.inputs.values())
        print(
            f"{done:,} of {self.asked.inputs:,} inputs, {done / seconds:.0f} a second, {len(self.state.lines):,} lines, "
            f"{len(self.state.kept):,} kept, {self.new_findings:,} found",
            file=sys.stderr,
            flush=True,
        )


def replay(folder: Path, importers: str) -> None:
    """Read a finding once more in this process."""
    import importlib

    from fuzz.worker import read_input

    kind = (folder / "why.txt").read_text().splitlines()[0]
    parts = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "why.txt"
    }
    with tempfile.TemporaryDirectory() as scratch:
        rows = read_input(importlib.import_module(importers).KINDS[kind], parts, Path(scratch) / "input")
    print("refused in one sentence" if rows < 0 else f"{rows} rows")


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python tests/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", default=f"{datetime.now(UTC):%Y-%m-%d}", help="default: the date")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--state", type=Path, help="a file that the run goes on from, and writes")
    parser.add_argument(
        "--kind", action="append", default=[], help="only this one; several times for several"
    )
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument(
        "--cpu", type=float, default=10.0, help="seconds of processor time that an input may take"
    )
    parser.add_argument("--memory", type=int, default=2048, help="MiB that a process may have resident")
    parser.add_argument("--importers", default="fuzz.importers", help=argparse.SUPPRESS)
    parser.add_argument("--replay", type=Path, help="a finding")
    asked = parser.parse_args()
    if asked.replay is not None:
        replay(asked.replay, asked.importers)
        return 0
    # However it is ended, what it found is kept; a shell may have told its background jobs to ignore Ctrl-C.
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, signal.default_int_handler)
    state = State(asked.state)
    run, began = Run(asked, state), time.monotonic()
    before = os.times()
    # Files live for milliseconds: in memory where the system has a place there.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        run.go(Path(folder))
    seconds = time.monotonic() - began
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    total = run.total
    for name in sorted(total.inputs):
        slowest, number = total.slowest.get(name, (0.0, 0))
        print(
            f"{name:22} {total.inputs[name]:8,} inputs {total.refused[name]:8,} refused {total.rows[name]:10,} rows, "
            f"slowest {slowest * 1000:6.0f} ms (number {number})"
        )
    print(
        f"seed {asked.seed}: {sum(total.inputs.values()):,} inputs in {seconds:.0f} s, {used:.0f} s of processor time; "
        f"{len(state.lines):,} lines reached, {len(state.kept):,} inputs kept, at most {total.peak >> 20:,} MiB; "
        f"{run.new_findings:,} found"
    )
    if asked.state:
        print(f"with earlier runs of {asked.state}: {sum(state.inputs.values()):,} inputs")
    return 1 if run.new_findings else 0


if __name__ == "__main__":
    sys.exit(main())
