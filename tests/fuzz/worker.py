"""The worker: a process that makes inputs, reads them, and tells what came of them. It may crash; its parent keeps the input.

The input that is being read stands in a file, so that it is there when the process is not. The system ends a process
that takes too much processor time for one input, also inside a library.
"""

import faulthandler
import gc
import importlib
import pickle
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from fuzz.changes import changed
from fuzz.lines import EVERY, Line, NewLines

__all__ = ["CPU_S", "MEMORY_MIB", "Report", "Task", "make_input", "read_input", "work"]

CPU_S = 10.0  # processor time of one input
MEMORY_MIB = 2048  # that the process may have had resident, all inputs so far together
_SPACE = 8 << 30  # of addresses: libraries reserve much more than they use
_LONGEST = 1 << 20  # bytes of an input


@dataclass(frozen=True, slots=True)
class Task:
    """Inputs to make and to read: their numbers, the limits of each, and what other workers found meanwhile."""

    seed: str
    first: int
    count: int
    kept: list[tuple[str, dict[str, bytes]]]
    lines: set[Line]
    kinds: tuple[str, ...] = ()
    cpu_s: float = CPU_S
    memory_mib: int = MEMORY_MIB


@dataclass(slots=True)
class Report:
    """What came of a task; `raised` are inputs that raised what they should not: number, kind, files, traceback."""

    inputs: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)  # seconds of processor time, number
    kept: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)
    lines: set[Line] = field(default_factory=set)
    raised: list[tuple[int, str, dict[str, bytes], str]] = field(default_factory=list)
    peak: int = 0
    next: int = 0  # number of the first input that was not read


def make_input(
    kind: Any, corpus: list[dict[str, bytes]], sound: int, places: dict[int, Any], random: Random
) -> dict[str, bytes]:
    """Return a changed input of a kind.

    Args:
        kind: its kind.
        corpus: what it is made from; the first `sound` are sound.
        sound: how many.
        places: remembers the fields of what is in the corpus.
        random: decides everything.
    """
    # What was kept is damaged already: with nothing else to start from, inputs get worse and end at the first check.
    parent = random.choice(corpus[:sound] if random.random() < 0.5 else corpus)
    other = random.choice(corpus)
    name = random.choice(list(kind.structures))
    structure, content = kind.structures[name], parent[name]
    found = places.get(id(content))
    if found is None:
        found = places[id(content)] = structure.fields(content)
    made = changed(content, other[name], structure, found, random)[:_LONGEST]
    return {**parent, name: made}


def read_input(kind: Any, parts: dict[str, bytes], folder: Path) -> int:
    """Write an input into `folder`, read it, and return the number of rows; -1 if it was refused in one sentence."""
    from tracer.errors import RegtraceError

    shutil.rmtree(folder, ignore_errors=True)
    for name, content in parts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        return int(kind.read(folder))
    except RegtraceError as error:
        said = str(error)
        assert said, "no sentence"
        assert "\n" not in said, f"not one line: {said!r}"
        assert len(said) < 2000, f"{len(said)} letters"
        return -1


def _limit() -> None:
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_SPACE, _SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _allow(seconds: float) -> None:
    """Let the system end this process after so much more processor time; 0: never."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_PROF, seconds)


def _peak() -> int:
    """Return the memory that this process had resident at most, in bytes; 0 where nobody knows."""
    most = 0
    if sys.platform != "win32":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)
    return most


def work(pipe: Connection, place: str, importers: str) -> None:
    """Answer tasks until the parent ends.

    Args:
        pipe: tasks come in, reports go out.
        place: a folder: `now` in it is the input that is being read, `stack` what faulthandler says of a crash.
        importers: the module whose KINDS are read.
    """
    stack = Path(place, "stack").open("w")  # noqa: SIM115 - open as long as the process
    faulthandler.enable(stack)
    if sys.platform != "win32":
        faulthandler.register(signal.SIGPROF, stack, chain=True)  # says where, and then the process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("error")
    from tracer.errors import RegtraceWarning

    warnings.simplefilter("ignore", RegtraceWarning)
    kinds: dict[str, Any] = importlib.import_module(importers).KINDS
    corpus = {name: kind.sound() for name, kind in kinds.items()}
    sound = {name: len(inputs) for name, inputs in corpus.items()}
    lines, places, now = NewLines(), dict[int, Any](), Path(place, "now")
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        folder = Path(scratch, "input")
        lines.start()
        for (
            name,
            kind,
        ) in kinds.items():  # what sound inputs reach is not new; and compiled loops are loaded here
            for parts in corpus[name]:
                if read_input(kind, parts, folder) < 0:
                    raise ValueError(f"a sound input of the kind {name} is refused")
        known = lines.stop()
        _limit()
        pipe.send(known)
        while True:
            try:
                task = pipe.recv()
            except EOFError:
                return
            for name, parts in task.kept:
                corpus.setdefault(name, []).append(parts)  # a state file may hold kinds that are gone
            lines.learn(task.lines)
            try:
                pipe.send(_run(task, kinds, corpus, sound, lines, places, now, folder))
            except Exception:  # noqa: BLE001 - a fault of this program, not of what it tries
                pipe.send(traceback.format_exc())
                return
            gc.collect()


def _run(
    task: Task,
    kinds: dict[str, Any],
    corpus: dict[str, list[dict[str, bytes]]],
    sound: dict[str, int],
    lines: NewLines,
    places: dict[int, Any],
    now: Path,
    folder: Path,
) -> Report:
    report = Report()
    names = list(task.kinds or kinds)
    weights = [kinds[name].weight for name in names]
    for number in range(task.first, task.first + task.count):
        random = Random(f"{task.seed} {number}")
        name = random.choices(names, weights)[0]
        kind = kinds[name]
        parts = make_input(kind, corpus[name], sound[name], places, random)
        now.write_bytes(pickle.dumps((number, name, parts)))
        is_watched = number % EVERY == 0
        _allow(task.cpu_s)
        begin = time.process_time()
        if is_watched:
            lines.start()
        try:
            rows = read_input(kind, parts, folder)
        except BaseException:  # noqa: BLE001 - this is what is looked for
            report.raised.append((number, name, parts, traceback.format_exc()))
            rows = -1
        fresh = lines.stop() if is_watched else set()
        took = time.process_time() - begin
        _allow(0)
        report.next = number + 1
        report.inputs[name] += 1
        report.refused[name] += rows < 0
        report.rows[name] += max(rows, 0)
        report.slowest[name] = max(report.slowest.get(name, (0.0, 0)), (took, number))
        report.peak = _peak()
        if report.peak > task.memory_mib << 20:
            report.raised.append((number, name, parts, f"memory: {report.peak >> 20} MiB"))
            break
        report.lines |= fresh
        if fresh and rows >= 0:
            report.kept.append((name, parts))
            corpus[name].append(parts)
    return report
