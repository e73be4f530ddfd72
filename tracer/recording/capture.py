"""A recording of registry activity on Windows: from the first session to the published capture.

The kernel writes the trace; nothing of Python runs for an event while it is recorded.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracer.errors import RegtraceError, SourceError, TargetError
from tracer.files.targets import check_apart, open_target
from tracer.files.workspace import remove_dead
from tracer.ingest.pipeline import ingest
from tracer.progress import Progress
from tracer.recording.child_process import Program
from tracer.recording.recorder import Recorder, RecorderStatus, Service, real_service
from tracer.recording.recording_log import host_facts
from tracer.recording.session_plan import MIB, CaptureOptions, Files, settings_of
from tracer.recording.state_file import State, release
from tracer.recording.status import claim
from tracer.recording.trace_files import put_back, remove_replaced, replaced_path
from tracer.rows.processes import ProcessRecord
from tracer.store.manifest import Manifest
from tracer.windows.handle_table import write_seed

__all__ = ["CaptureOptions", "Follow", "advice_on_traces", "check_target", "publish", "record"]

Follow = Callable[[RecorderStatus | Progress], None]
_STEP_SECONDS = 0.2  # Windows delivers Ctrl-C between two waits
_SNAPSHOT = "snapshot"
_DISK_SECONDS = 2.0


def record(
    options: CaptureOptions,
    target: Path,
    *,
    stop: threading.Event,
    progress: Follow | None = None,
    service: Service | None = None,
) -> Manifest:
    """Record until something ends it, and publish the capture `target`.

    What ends it: the program, its time, its size, a disk that is nearly full, another program that stops the session, `stop`,
    or a KeyboardInterrupt while it records. In each case what was recorded is published; `settings["recording"]`
    of the manifest says which (`ended_by`: program, duration, size, disk, other, stop).

    Args:
        options: what to record, and when to end.
        target: the capture to make; the trace files stand beside it until it is published.
        stop: set it from anywhere to end the recording.
        progress: called a few times a second with a RecorderStatus, later with a Progress.
        service: replaces the system in tests; None is this machine.

    Raises:
        PlatformError: this is not Windows, or the process is not elevated.
        RegtraceError: one sentence about what failed; no session is left running. Trace files that could not
            be made into a capture are kept, and the sentence names them.
    """
    service = service or real_service()
    target = target.absolute()
    check_target(target, force=options.force)
    program = Program(options.command, children=options.children) if options.command else None
    if program:
        program.check()
    recorder = Recorder(options, Files(target), service)
    follow: Follow = progress or (lambda _: None)
    claim(State.of(recorder, detached=False), service.find, lambda name: service.attach(name).stop())
    try:
        follow(recorder.status("starting"))
        recorder.start()
        try:
            # Should this process be killed, `regtrace stop` can still publish what the kernel went on recording.
            State.of(recorder, detached=False).save(recorder.log.table)
            if program:
                recorder.log.add_processes([_started(program, recorder)])
            ended_by = _wait(recorder, program, stop, follow)
            follow(recorder.status("saving"))
        finally:
            recorder.stop()
        # From here on its files are enough: should this process be killed, `regtrace stop` goes on.
        State.of(recorder, detached=False, ended_by=ended_by).save(recorder.log.table)
        outcome = {
            "ended_by": ended_by,
            "program": None
            if program is None
            else {"command": [*options.command], "pid": program.pid, "exit_code": program.exit_code},
        }
        return publish(recorder, outcome, follow)
    finally:
        release()


def _started(program: Program, recorder: Recorder) -> ProcessRecord:
    """Start the program; if that fails, discard the recording and its trace files."""
    try:
        return program.start()
    except BaseException:
        recorder.abandon()
        raise


def publish(
    recorder: Recorder, outcome: dict[str, Any], follow: Follow, files: Files | None = None
) -> Manifest:
    """Make the capture of a recording whose trace files are complete, and remove them unless they are kept.

    Args:
        recorder: the recording.
        outcome: how it ended, for capture.json.
        follow: called after every chunk.
        files: of a snapshot; None is the recording's own.
    """
    files, options, log = files or recorder.files, recorder.options, recorder.log
    sources = [path for path in files.traces if path.exists() and path.stat().st_size]
    events, buffers = log.lost()
    settings = {
        **settings_of(options, recorder.plans),
        "host": host_facts(),
        "started_ns": log.started_ns,
        "ended_ns": recorder.ended_ns,
        "lost": {"events": events, "buffers": buffers},
        **outcome,
    }
    manifest = None if outcome["ended_by"] == _SNAPSHOT else _published_before(files.target, log.started_ns)
    if manifest is not None:
        remove_dead(files.target.parent)  # the folder that it was made in
    elif files.registry not in sources:
        put_back(files.outputs)
        raise SourceError(
            "the ring in memory is lost, because another program stopped its session; record again"
            if options.is_in_memory
            else f"{files.registry} does not exist or is empty, so no capture can be made; record again"
        )
    try:
        if manifest is None:
            manifest = ingest(
                sources, files.target, force=options.force, progress=follow, live=log.facts(settings)
            )
    except (RegtraceError, OSError) as error:
        kind = type(error) if isinstance(error, RegtraceError) else TargetError
        raise kind(f"{error}; {advice_on_traces(files)}") from error
    if options.keep_etl:
        if log.table is not None:
            with open_target(files.seed, force=options.force) as stream:
                write_seed(log.table, stream)
    else:
        for path in sources:
            with contextlib.suppress(OSError):
                path.unlink()
    remove_replaced(files.outputs)
    return manifest


def _published_before(target: Path, started_ns: int) -> Manifest | None:
    """Return the manifest of this very recording, where a command published it and was killed before it had cleaned up."""
    try:
        manifest = Manifest.load(target)
    except RegtraceError:
        return None
    said = manifest.settings.get("recording")
    if (
        not isinstance(said, dict)
        or said.get("started_ns") != started_ns
        or said.get("ended_by") == _SNAPSHOT
    ):
        return None
    return manifest


def advice_on_traces(files: Files) -> str:
    """Return a sentence on what to do with trace files that still exist; empty if there are none."""
    sources = [path for path in files.traces if path.exists()]
    again = " ".join(f'"{path}"' for path in sources)
    earlier = [str(path) for path in map(replaced_path, files.outputs) if path.exists()]
    before = f"; of the recording before it there is still {', '.join(earlier)}" if earlier else ""
    return f"the trace is kept, `regtrace ingest {again}` makes a capture of it{before}" if sources else ""


def check_target(target: Path, *, force: bool) -> None:
    """Raise TargetError if the capture could not be published, before anything is recorded."""
    if target.suffix.lower() in (".etl", ".pml"):
        raise TargetError(
            f"{target} has the name of a trace, but a capture is a folder; name it NAME.regtrace"
        )
    check_apart(target)
    if target.exists() and not force:
        raise TargetError(f"{target} exists; choose another name or replace it with --force")
    if not target.parent.is_dir():
        raise TargetError(f"{target} cannot be made: there is no folder {target.parent}; make it first")


def _wait(recorder: Recorder, program: Program | None, stop: threading.Event, follow: Follow) -> str:
    """Record until something ends the recording; return what ended it."""
    options = recorder.options
    began, next_disk = time.monotonic(), 0.0
    try:
        while not stop.wait(
            _STEP_SECONDS if options.seconds is None else min(_STEP_SECONDS, options.seconds)
        ):
            status = recorder.poll()
            follow(status)
            now = time.monotonic()
            if recorder.gone:
                return "size" if recorder.has_reached_largest() else "other"
            if program is not None and program.has_ended():
                return "program"
            if options.seconds is not None and now - began >= options.seconds:
                return "duration"
            if options.largest_mib is not None and (status.bytes or 0) >= options.largest_mib * MIB:
                return "size"
            if now >= next_disk:
                next_disk = now + _DISK_SECONDS
                if not recorder.check_disk():
                    return "disk"
    except KeyboardInterrupt:
        stop.set()
    return "stop"
