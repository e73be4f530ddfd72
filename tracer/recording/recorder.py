"""The recorder: runs the two sessions of a recording, reads the seed and polls. The caller decides how long.

Registry events have a session to themselves. Process starts and ends have another, small one that is hardly ever
written to: where a storm of registry events loses buffers, the processes are still known.
"""

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.errors import PlatformError, RegtraceError, SessionGone, TargetError
from tracer.recording.recording_log import RecordingLog
from tracer.recording.session_plan import MIB, CaptureOptions, Files, plan_providers, plan_sessions
from tracer.recording.trace_files import put_back, set_aside
from tracer.rows.processes import ProcessRecord
from tracer.session.options import SessionOptions, SessionStatus
from tracer.windows.handle_table import HandleTable

if TYPE_CHECKING:
    from tracer.session.session import Session

__all__ = ["LEAST_FREE", "Recorder", "RecorderStatus", "Service", "real_service"]

LEAST_FREE = 256 * MIB  # Windows itself refuses to log to a disk with less than some 200 MB
_POLL_SECONDS = 1.0
_SNAPSHOT_SHARE = 10  # looking at processes takes at most one part in so many of the time


@dataclass(frozen=True, slots=True)
class Service:
    """The system calls of a recording, so that tests can replace them.

    Attributes:
        session: makes a session from its options.
        attach: finds a running session by name; raises SessionGone.
        find: asks for a session by name: None if there is none; raises NotElevated where it may not be asked.
        sessions: the running sessions that this process may see.
        sees_all: whether these are all; None if unknown.
        handles: reads the handle table.
        processes: looks at the running processes.
        pids: ids of the running processes, which is cheap.
    """

    session: Callable[[SessionOptions], "Session"]
    attach: Callable[[str], "Session"]
    find: Callable[[str], SessionStatus | None]
    sessions: Callable[[], list[SessionStatus]]
    sees_all: Callable[[], bool | None]
    handles: Callable[[], HandleTable]
    processes: Callable[[], list[ProcessRecord]]
    pids: Callable[[], list[int]]


def real_service() -> Service:
    """Return the service of this machine.

    Raises:
        PlatformError: it is not Windows.
    """
    from tracer.session import session
    from tracer.windows import rights
    from tracer.windows.handle_table import read_handle_table
    from tracer.windows.process_snapshot import snapshot_processes

    session.require_windows("recording registry activity")

    def pids() -> list[int]:
        import psutil

        return psutil.pids()

    return Service(
        session=session.Session,
        attach=session.Session.attach,
        find=session.find_session,
        sessions=session.list_sessions,
        sees_all=rights.sees_all_sessions,
        handles=read_handle_table,
        processes=snapshot_processes,
        pids=pids,
    )


@dataclass(frozen=True, slots=True)
class RecorderStatus:
    """Status of a recording.

    Attributes:
        phase: starting, recording or saving.
        seconds: since the start.
        buffers: buffers of registry events written so far; in memory: nothing is written, so None.
        bytes: size of what was written, at most; None as above.
        events_lost, buffers_lost: of both sessions, so far.
    """

    phase: str
    seconds: float
    buffers: int | None = None
    bytes: int | None = None
    events_lost: int = 0
    buffers_lost: int = 0


class Recorder:
    """Runs the two sessions of a recording and keeps its log.

    Attributes:
        options, files: what is recorded, and to where.
        log: what was noted so far; before `start` it is empty.
        gone: whether another program stopped a session.
        saved: whether the trace of a recording in memory was saved.
        ended_ns: when it was ended or saved, UTC nanoseconds.
    """

    def __init__(self, options: CaptureOptions, files: Files, service: Service) -> None:
        self.options, self.files, self.service = options, files, service
        self.plans = plan_sessions(options, files)
        self.log = RecordingLog(time.time_ns())
        self.gone = self.saved = False
        self.ended_ns = self.log.started_ns
        self._sessions: list[Session] = []  # registry events first, as the sources of the capture are
        self._running: list[Session] = []
        self._next_poll = self._next_snapshot = 0.0
        self._pids: set[int] = set()

    @classmethod
    def resume(cls, options: CaptureOptions, files: Files, service: Service, log: RecordingLog) -> "Recorder":
        """Return the recorder of sessions that another process started.

        Raises:
            SessionGone: the session for registry events does not run.
        """
        recorder = cls(options, files, service)
        recorder.log = log
        main = service.attach(recorder.plans[0].name)
        recorder._sessions.append(main)
        recorder._running.append(main)
        with contextlib.suppress(RegtraceError):  # without it the capture knows less of processes
            process_session = service.attach(recorder.plans[1].name)
            recorder._sessions.append(process_session)
            recorder._running.append(process_session)
        return recorder

    @classmethod
    def ended(
        cls, options: CaptureOptions, files: Files, service: Service, log: RecordingLog, ended_ns: int | None
    ) -> "Recorder":
        """Return the recorder of a recording whose sessions ended, and whose trace files remain.

        Args:
            options: what was recorded.
            files: where its traces are.
            service: what to ask of the system.
            log: what was noted at its start.
            ended_ns: when it ended, UTC nanoseconds; None: when its trace was written last.
        """
        recorder = cls(options, files, service)
        recorder.log, recorder.gone = log, True
        trace = files.registry
        written_ns = trace.stat().st_mtime_ns if trace.exists() else log.started_ns
        recorder.ended_ns = ended_ns or written_ns
        return recorder

    @property
    def session_guids(self) -> tuple[str, ...]:
        """The GUIDs of its sessions; none before they are made."""
        return tuple(session.guid for session in self._sessions)

    def start(self) -> None:
        """Start recording; if that fails, nothing keeps running.

        Raises:
            RegtraceError: one sentence about what failed.
        """
        self.check_disk(at_start=True)
        self.make_room()
        try:
            main, process_session = (self.service.session(plan) for plan in self.plans)
            registry, processes = plan_providers(self.options)
            self._sessions = [main, process_session]
            for session, providers in ((process_session, processes), (main, registry)):
                self._running.append(session)
                session.start()
                self.log.started_ns = time.time_ns()
                for provider in providers:
                    session.enable(provider)
            if self.options.classic:
                self.log.rundown = main.request_rundown()
            self._snapshot()
            if not self.options.is_ring:
                self._read_handles("start")
            self.poll(force=True)
        except BaseException:
            self.abandon()
            raise

    def poll(self, *, force: bool = False) -> RecorderStatus:
        """Ask the sessions for their counters when due, and take a snapshot if there are new processes."""
        now = time.monotonic()
        if force or now >= self._next_poll:
            self._next_poll = now + _POLL_SECONDS
            for source, session in enumerate(self._sessions):
                try:
                    self.log.add_counters(source, session.name, session.counters())
                except SessionGone:
                    self.gone = True
        if now >= self._next_snapshot:
            pids = set(self.service.pids())
            if pids - self._pids:
                self._snapshot()
        return self.status("recording")

    def status(self, phase: str) -> RecorderStatus:
        """Return the status of the recording as of the last poll."""
        main = self.plans[0]
        last = self.log.last.get(main.name)
        buffers_written = last["buffers_written"] if last and not self.options.is_in_memory else None
        events, buffers = self.log.lost()
        return RecorderStatus(
            phase=phase,
            seconds=max(0.0, (time.time_ns() - self.log.started_ns) / 1e9),
            buffers=buffers_written,
            bytes=None if buffers_written is None else buffers_written * main.buffer_kib * 1024,
            events_lost=events,
            buffers_lost=buffers,
        )

    def check_disk(self, *, at_start: bool = False) -> bool:
        """Return whether the disk has room to go on.

        Windows starts no session whose largest file is larger than what is free (Microsoft Learn, StartTraceW,
        ERROR_DISK_FULL).

        Raises:
            TargetError: at the start, where it has not.
        """
        folder = self.files.registry.parent
        if at_start and not folder.is_dir():
            raise TargetError(
                f"{self.files.target} cannot be made: there is no folder {folder}; make it first"
            )
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            return True  # the system will say so itself
        largest = self.plans[0].largest_mib * MIB
        if at_start and free < LEAST_FREE + largest:
            smaller = ", give a smaller size" if largest else ""
            raise TargetError(
                f"{folder} has {free // MIB:,} MB free, this recording needs {(LEAST_FREE + largest) // MIB:,}; "
                f"make room{smaller}, or record to another disk with -o"
            )
        return free >= LEAST_FREE

    def has_reached_largest(self) -> bool:
        """Return whether its trace has the size at which Windows itself ends the session (StartTraceW, Remarks)."""
        main = self.plans[0]
        limit = main.largest_mib * MIB
        if not limit or self.options.is_ring:
            return False
        try:
            return self.files.registry.stat().st_size > limit - 2 * main.buffer_kib * 1024
        except OSError:
            return False

    def save(self, files: Files) -> None:
        """Save a recording in memory to trace files, without ending it.

        Raises:
            RegtraceError: the trace cannot be saved.
        """
        self._read_handles("end")
        self._snapshot()
        for session, path in zip(self._sessions, files.traces, strict=False):
            session.save(path)
        self.ended_ns = time.time_ns()

    def stop(self) -> None:
        """Stop the recording; no session of ours runs afterwards, even if something fails.

        Raises:
            RegtraceError: the trace in memory cannot be saved, or a session cannot be stopped.
        """
        try:
            self._note_end()
        finally:
            self._stop_all()
            self.ended_ns = time.time_ns()

    def abandon(self) -> None:
        """Stop the recording, remove its trace files, and give earlier ones their names back."""
        try:
            self._stop_all()
        except RegtraceError:
            pass  # what made it fail is said already
        finally:
            self._sweep()
        if not self.options.is_in_memory:  # of which nothing was written: what has the names is another's
            for path in self.files.traces:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        put_back(self.files.outputs)

    def detach(self) -> None:
        """Leave the sessions running when this process ends."""
        for session in self._running:
            session.leave()
        self._running.clear()

    def _note_end(self) -> None:
        if not self._running or self.gone:
            return
        with contextlib.suppress(RegtraceError):
            self._snapshot()
        if self.options.is_in_memory:
            self.save(self.files)
            self.saved = True
        elif self.options.is_ring:
            self._read_handles("end")

    def _stop_all(self) -> None:
        """Stop every session, even if one fails or the user interrupts; raise the first error at the end."""
        trouble: BaseException | None = None
        for _ in range(2):
            for session in list(self._running):
                try:
                    counters = session.stop()
                except BaseException as error:  # noqa: BLE001
                    trouble = trouble or error
                    if isinstance(
                        error, Exception
                    ):  # asking again would not help; an interrupted stop is tried again
                        self._running.remove(session)
                    continue
                self._running.remove(session)
                self.gone = self.gone or session.ended_by_other
                self.log.add_counters(self._sessions.index(session), session.name, counters)
        if trouble is not None:
            raise trouble

    def _sweep(self) -> None:
        """Stop by name what an interrupted start may have left running."""
        for name in (plan.name for plan in self.plans[: len(self._sessions)]):
            with contextlib.suppress(RegtraceError):
                self.service.attach(name).stop()

    def _read_handles(self, at: str) -> None:
        """Read the handle table. A failure is only noted, because a recording without it is still useful."""
        if self.options.classic:
            return  # its records are about key control blocks, which no handle table lists
        if not self.options.handles:
            self.log.seed_facts = {"read": None, "failed": "the handle table was left out, as asked"}
            return
        try:
            self.log.add_handles(self.service.handles(), at=at)
        except (PlatformError, TargetError, OSError) as error:
            self.log.seed_facts = {"read": at, "failed": str(error)}

    def _snapshot(self) -> None:
        """Take a snapshot of the running processes, because the kernel's records hold no command lines."""
        began = time.monotonic()
        processes = self.service.processes()
        self._pids = {record.pid for record in processes}
        self.log.add_processes(processes)
        took = time.monotonic() - began
        self._next_snapshot = began + max(took * _SNAPSHOT_SHARE, 0.1)

    def make_room(self) -> None:
        """Set trace files of an earlier recording aside.

        Raises:
            TargetError: one exists that may not be replaced.
        """
        files = self.files.outputs if self.options.keep_etl else self.files.traces
        set_aside(files, force=self.options.force)
