"""kill -9 at random points of an ingest and of the end of a detached recording: nothing is damaged, and a second run succeeds.

    python benchmarks/kills.py [--points 200] [--seed 7] [--what ingest|recording]

Half of the points are file-system events (the k-th open, rename, removal ... of the run, before it takes place), the other
half are times. The recording is one of the double of the tracing service in tests/support; the sessions are the
kernel's, so they outlive the process that is killed. Needs POSIX.
"""

import argparse
import hashlib
import mmap
import os
import shutil
import signal
import struct
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
EVENTS = ("open", "os.", "shutil.")
COUNTED = 1 << 30  # an event that is never reached: the run ends by itself and tells how many there were


def files_of(folder: Path) -> dict[str, str]:
    """Return every file below a folder, with the hash of what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cut(action: Callable[[], object], *, at_event: int = 0, after_s: float = 0.0) -> tuple[bool, int]:
    """Run an action in a child; kill it at its k-th file-system event, or after some seconds.

    Returns whether it was killed, and how many events it had.
    """
    shared = mmap.mmap(-1, 8)

    def hook(event: str, _arguments: Any) -> None:
        if event.startswith(EVENTS):
            count = struct.unpack("<q", shared[:])[0] + 1
            shared[:] = struct.pack("<q", count)
            if count == at_event:
                os.kill(os.getpid(), signal.SIGKILL)

    def counted() -> None:
        if at_event:
            sys.addaudithook(hook)
        action()

    code = forked(counted, after_s=after_s)
    assert code in (0, -signal.SIGKILL), "the run failed by itself"
    return code != 0, struct.unpack("<q", shared[:])[0]


def done(action: Callable[[], object]) -> None:
    """Do something in a child."""
    assert not forked(action)


def points(random: Random, count: int, events: int, seconds: float) -> list[dict[str, Any]]:
    """Return where to kill."""
    return [
        {"at_event": random.randint(1, events)} if number % 2 else {"after_s": random.uniform(0.01, seconds)}
        for number in range(count)
    ]


def say(number: int, outcome: Counter[str]) -> None:
    """Say now and then how far it is."""
    if number % 20 == 19:
        print(f"{number + 1} points: {dict(outcome)}", file=sys.stderr, flush=True)


def measured(action: Callable[[], None]) -> tuple[int, float]:
    """Return how many events a run has, and how long it takes."""
    began = time.monotonic()
    _, events = cut(action, at_event=COUNTED)
    return events, time.monotonic() - began


def kill_ingests(folder: Path, count: int, random: Random) -> Counter[str]:
    """Kill ingests, half of them with an older capture in the place."""
    from tracer.ingest.kernels import NUMPY
    from tracer.ingest.pipeline import ingest
    from tracer.simulate import SimulationOptions, simulate
    from tracer.store.manifest import Manifest

    source, target = folder / "a.etl", folder / "a.regtrace"
    older, newer = folder / "older", folder / "newer"

    def make(events: int, path: Path) -> None:
        simulate(path, SimulationOptions(events=events, seed=events), truth=False)

    done(lambda: make(4000, folder / "older.etl"))
    done(lambda: make(6000, source))
    done(lambda: ingest([folder / "older.etl"], older, kernels=NUMPY))
    done(lambda: ingest([source], newer, kernels=NUMPY))
    place = folder / "place"
    target = place / "a.regtrace"
    expected = {name: files_of(path) for name, path in (("older", older), ("newer", newer))}
    digest = hashlib.sha256(source.read_bytes()).hexdigest()

    def run() -> None:
        ingest([source], target, force=True, kernels=NUMPY)

    def load() -> None:
        Manifest.load(target)

    place.mkdir()
    events, seconds = measured(run)
    outcome: Counter[str] = Counter()
    for number, point in enumerate(points(random, count, events, seconds)):
        shutil.rmtree(place)
        place.mkdir()
        if number % 4 < 2:
            shutil.copytree(older, target)
        killed, _ = cut(run, **point)
        outcome["killed" if killed else "ended before"] += 1
        assert hashlib.sha256(source.read_bytes()).hexdigest() == digest, "the source changed"
        if target.exists():
            done(load)
            which = [name for name, files in expected.items() if files == files_of(target)]
            assert which, f"point {number}: {point}: the capture is neither the old nor the new one"
            outcome[f"the {which[0]} capture stood"] += 1
        elif number % 4 < 2:  # between the two renames
            (aside,) = place.glob(".regtrace-*/replaced")
            assert files_of(aside) == expected["older"]
            outcome["the older capture waited aside"] += 1
        else:
            outcome["no capture stood"] += 1
        outcome["something was left"] += len(list(place.iterdir())) > target.exists()
        done(run)
        assert files_of(target) == expected["newer"], "the second run made another capture"
        left = [path.name for path in place.iterdir()]
        assert left == [target.name], f"point {number}: {point}: {left} is left"
        say(number, outcome)
    return outcome


def kill_ends(folder: Path, count: int, random: Random) -> Counter[str]:
    """Kill `regtrace stop` of a detached recording."""
    import etw_double
    import pytest
    from capture_kit import Machine, make_trace, use_machine

    from tracer.errors import RegtraceError
    from tracer.recording import detached
    from tracer.recording.session_plan import CaptureOptions
    from tracer.store.manifest import Manifest

    trace = folder / "trace.etl"
    done(lambda: make_trace(trace, events=2000))
    place = folder / "recording"
    target = place / "a.regtrace"
    ended = folder / "ended"  # says that the kernel stopped the sessions, for the process that comes after

    def begin() -> tuple[Any, Any]:
        """Start a recording, and let it see the trace."""
        patch = pytest.MonkeyPatch()
        service = etw_double.install(patch)
        machine = Machine()
        use_machine(patch, folder, machine)
        detached.start(CaptureOptions(), target, service=machine.service())
        service.play(trace)
        return service, machine

    def stop(machine: Any) -> None:
        detached.stop(lambda _: None, service=machine.service())

    def stop_noted(service: Any, machine: Any) -> None:
        real = service._end

        def end(session: Any, *arguments: Any) -> Any:
            answer = real(session, *arguments)
            with ended.open("a") as file:
                file.write(f"{session.name}\n")
            return answer

        service._end = end
        stop(machine)

    def again(service: Any, machine: Any) -> None:
        """Stop it once more, in a process of its own: sessions that the kernel stopped are gone."""
        for name in ended.read_text().split() if ended.exists() else ():
            service.sessions.pop(name.lower(), None)
        try:
            stop(machine)
            said = "the second stop published it"
        except RegtraceError as error:
            said = str(error)
        if "nothing is being recorded" in said:
            said = "it was published before"
        (folder / "said").write_text(said)
        manifest = Manifest.load(target)
        assert manifest.totals["events"] == expected, (said, manifest.totals["events"])

    expected = 0

    def whole() -> None:
        service, machine = begin()
        killed, events = cut(lambda: stop_noted(service, machine), at_event=COUNTED)
        assert not killed
        (folder / "events").write_text(f"{events} {Manifest.load(target).totals['events']}")

    place.mkdir()
    began = time.monotonic()
    done(whole)
    seconds = time.monotonic() - began
    events, expected = map(int, (folder / "events").read_text().split())
    outcome: Counter[str] = Counter()
    for number, point in enumerate(points(random, count, events, seconds / 2)):
        for path in (place, folder / "state"):
            shutil.rmtree(path, ignore_errors=True)
        ended.unlink(missing_ok=True)
        place.mkdir()

        def one(point: dict[str, Any] = point) -> None:
            service, machine = begin()
            killed, _ = cut(lambda: stop_noted(service, machine), **point)
            (folder / "killed").write_text("killed" if killed else "ended before")
            done(lambda: again(service, machine))

        done(one)
        outcome[(folder / "killed").read_text()] += 1
        outcome[(folder / "said").read_text()] += 1
        left = sorted(path.name for path in place.iterdir())
        assert left == [target.name], f"point {number}: {point}: {left} is left"
        assert not list((folder / "state").rglob("recording.json")), "the recording is not forgotten"
        say(number, outcome)
    return outcome


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=200, help="of each")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--what", choices=("ingest", "recording"), help="only this")
    asked = parser.parse_args()
    # Loaded once, before any thread is started: children are forks.
    import tracer.ingest.etl
    import tracer.ingest.pipeline
    import tracer.recording.detached
    import tracer.simulate  # noqa: F401

    for name, kill in (("ingest", kill_ingests), ("recording", kill_ends)):
        if asked.what not in (None, name):
            continue
        with tempfile.TemporaryDirectory() as folder:
            outcome = kill(Path(folder), asked.points, Random(asked.seed))
        print(
            f"{name}: {asked.points} points: {', '.join(f'{what} {n}' for what, n in outcome.most_common())}",
            flush=True,
        )


if __name__ == "__main__":
    main()
