"""The state file: says which recording this user has running; it stands in the user's own folder.

A recording outlives the command that started it (`regtrace start`), and another command may want to save its ring
(`regtrace snapshot`). The sessions themselves are the truth about whether it runs: `tracer.recording.status` asks them.
"""

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.errors import RegtraceError, TargetError
from tracer.ingest.seed import read_seed
from tracer.recording.recording_log import RecordingLog
from tracer.recording.session_plan import CaptureOptions, Files
from tracer.rows.processes import ProcessRecord
from tracer.session.options import SessionStatus
from tracer.session.owners import Owner, process_began_ms
from tracer.windows.handle_table import HandleTable, write_seed

if TYPE_CHECKING:
    from tracer.recording.recorder import Recorder

__all__ = ["State", "load", "release", "state_folder"]

_FILE, _SEED, _VERSION = "recording.json", "seed.parquet", 1
_CLOCK_NS = 2_000_000_000  # systems tell start times by a coarser clock


@dataclass(frozen=True, slots=True)
class State:
    """A recording that was started.

    Attributes:
        detached: whether it runs without the process that started it.
        pid: that process.
        target: the capture it is to become.
        options: what is recorded.
        started_ns: when, UTC nanoseconds.
        seed_facts, rundown, counters, processes: what was noted at the start (`tracer.recording.recording_log.RecordingLog`).
        seed_ns: time of the handle table that is stored beside it; None if there is none.
        began_ms: when that process began, milliseconds since 1970, UTC; None in states of earlier versions.
        session_guids: of its sessions; none before they were started, and in states of earlier versions.
        ended_ns, ended_by: when and how it ended; None while it runs.
    """

    detached: bool
    pid: int
    target: Path
    options: CaptureOptions
    started_ns: int
    seed_ns: int | None = None
    seed_facts: dict[str, Any] | None = None
    rundown: bool | None = None
    counters: list[dict[str, Any]] = field(default_factory=list)
    processes: list[dict[str, Any]] = field(default_factory=list)
    began_ms: int | None = None
    session_guids: tuple[str, ...] = ()
    ended_ns: int | None = None
    ended_by: str | None = None

    @classmethod
    def of(cls, recorder: "Recorder", *, detached: bool, ended_by: str | None = None) -> "State":
        """Return the state of a recorder; `ended_by` once it has ended."""
        log = recorder.log
        return cls(
            detached=detached,
            pid=os.getpid(),
            target=recorder.files.target,
            options=recorder.options,
            started_ns=log.started_ns,
            seed_ns=None if log.table is None else log.table.time_ns,
            seed_facts=log.seed_facts,
            rundown=log.rundown,
            counters=log.counters,
            processes=[asdict(record) for record in log.processes.values()],
            began_ms=process_began_ms(),
            session_guids=recorder.session_guids,
            ended_ns=None if ended_by is None else recorder.ended_ns,
            ended_by=ended_by,
        )

    @property
    def is_owned(self) -> bool:
        """Whether another process takes care of it: not detached, and not known to have ended.

        A process number alone says nothing: Windows gives it to others again.
        """
        return not self.detached and self.pid != os.getpid() and self._process_runs() is not False

    def _process_runs(self) -> bool | None:
        """Return whether the process that started it still runs; None if unknown."""
        if self.began_ms is not None:
            return Owner("capture", self.pid, self.began_ms).is_running()
        import psutil

        try:
            began_ns = psutil.Process(self.pid).create_time() * 1e9
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return None
        return bool(began_ns <= self.started_ns + _CLOCK_NS)

    def has(self, session: SessionStatus) -> bool:
        """Return whether a session of a recording's name belongs to this recording; if unknown, True."""
        # UNCONFIRMED that Windows always says the GUID that a session was started with.
        return not self.session_guids or session.guid is None or session.guid in self.session_guids

    def has_trace(self) -> bool:
        """Return whether its trace of registry events exists."""
        trace = Files(self.target).registry
        return trace.is_file() and trace.stat().st_size > 0

    def log(self) -> RecordingLog:
        """Return what was noted at the start.

        Raises:
            RegtraceError: the table of names beside it cannot be read.
        """
        log = RecordingLog(self.started_ns, counters=[*self.counters], rundown=self.rundown)
        log.seed_facts = self.seed_facts
        log.last = {row["session"]: row for row in self.counters}
        log.add_processes(ProcessRecord(**record) for record in self.processes)
        if self.seed_ns is not None:
            addresses, paths = read_seed(state_folder() / _SEED)
            log.table = HandleTable(addresses, paths, self.seed_ns, 0.0, 0, 0, 0)
        return log

    def save(self, table: HandleTable | None = None) -> None:
        """Write the state, and the handle table beside it.

        Raises:
            TargetError: the user's folder cannot be written.
        """
        folder = state_folder()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if table is not None:
                write_seed(table, folder / _SEED)
            temporary = folder / f"{_FILE}.{os.getpid()}"
            temporary.write_text(json.dumps(self._as_dict(), indent=1), encoding="ascii")
            temporary.replace(folder / _FILE)
        except OSError as error:
            raise TargetError(
                f"{folder} cannot be written: {error.strerror or error}; regtrace keeps the state of recordings there"
            ) from error

    def _as_dict(self) -> dict[str, Any]:
        values = asdict(self) | {"target": str(self.target), "version": _VERSION}
        return values | {"options": asdict(self.options)}


def state_folder() -> Path:
    r"""Return the folder of the state file: %LOCALAPPDATA%\regtrace, elsewhere $XDG_STATE_HOME/regtrace."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "regtrace"


def load() -> State | None:
    """Return the recording that was started and did not end; None if there is none.

    Raises:
        RegtraceError: there is word of one that cannot be read, so this is unknown.
    """
    path = state_folder() / _FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        return _parsed(text)
    except (ValueError, KeyError, TypeError, AttributeError, RegtraceError) as error:
        raise _unreadable(path, error) from error


def _parsed(text: str) -> State:
    values = json.loads(text)
    version = values.pop("version")
    if version != _VERSION:
        raise ValueError(f"it is of version {version}, this is {_VERSION}")
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.pop("options").items()
    }
    target, guids = Path(values.pop("target")), tuple(values.pop("session_guids", ()))
    return State(target=target, options=CaptureOptions(**options), session_guids=guids, **values)


def _unreadable(path: Path, error: Exception) -> RegtraceError:
    why = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
    return RegtraceError(
        f"{path}, which keeps track of what is recorded, cannot be read: {why}; `regtrace sessions` shows what runs, "
        "and `regtrace cancel --force` forgets this file"
    )


def release() -> None:
    """Forget the recording: it ended."""
    for name in (_FILE, _SEED):
        with contextlib.suppress(OSError):
            (state_folder() / name).unlink(missing_ok=True)
