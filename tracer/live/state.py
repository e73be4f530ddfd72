"""Which recording this user has running: one small file in the user's own folder, beside the kernel's sessions.

A recording outlives the command that started it (`regtrace start`), and another command may want to save its ring
(`regtrace snapshot`). The sessions themselves are the truth about whether it runs.
"""

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.errors import RegtraceError, TargetError
from tracer.live.handle_table import HandleTable, write_seed
from tracer.live.options import CAPTURE_SESSION
from tracer.live.recorder_notes import Notes
from tracer.live.recorder_plan import CaptureOptions
from tracer.processes import ProcessRecord
from tracer.seed import read_seed

if TYPE_CHECKING:
    from tracer.live.recorder import Recorder, Service

__all__ = ["State", "claim", "load", "release", "state_folder"]

_FILE, _SEED, _VERSION = "recording.json", "seed.parquet", 1


@dataclass(frozen=True, slots=True)
class State:
    """A recording that was started.

    Attributes:
        detached: whether it runs without the process that started it.
        pid: that process.
        target: the capture it is to become.
        options: what is recorded.
        started_ns: when, UTC nanoseconds.
        seed_facts, rundown, counters, processes: what was noted at the start (`recorder_notes.Notes`).
        seed_ns: time of the handle table that is stored beside it; None where there is none.
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

    @classmethod
    def of(cls, recorder: "Recorder", *, detached: bool) -> "State":
        """Return the state of a recorder."""
        notes = recorder.notes
        return cls(
            detached=detached,
            pid=os.getpid(),
            target=recorder.files.target,
            options=recorder.options,
            started_ns=notes.started_ns,
            seed_ns=None if notes.table is None else notes.table.time_ns,
            seed_facts=notes.seed_facts,
            rundown=notes.rundown,
            counters=notes.counters,
            processes=[asdict(record) for record in notes.processes.values()],
        )

    @property
    def is_owned(self) -> bool:
        """Whether a process, not this one, takes care of it: it was not detached, and its process still runs."""
        import psutil

        return not self.detached and self.pid != os.getpid() and bool(psutil.pid_exists(self.pid))

    def notes(self) -> Notes:
        """Return what was noted at the start.

        Raises:
            RegtraceError: the table of names beside it cannot be read.
        """
        notes = Notes(self.started_ns, counters=[*self.counters], rundown=self.rundown)
        notes.seed_facts = self.seed_facts
        notes.add_processes(ProcessRecord(**record) for record in self.processes)
        if self.seed_ns is not None:
            addresses, paths = read_seed(state_folder() / _SEED)
            notes.table = HandleTable(addresses, paths, self.seed_ns, 0.0, 0, 0, 0)
        return notes

    def save(self, table: HandleTable | None = None) -> None:
        """Write it, with the handle table beside it.

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
                f"{folder} cannot be written: {error.strerror or error}; it keeps track of what is recorded"
            ) from error

    def _as_dict(self) -> dict[str, Any]:
        values = asdict(self) | {"target": str(self.target), "version": _VERSION}
        return values | {"options": asdict(self.options)}


def state_folder() -> Path:
    r"""Return the user's folder for it: %LOCALAPPDATA%\regtrace, elsewhere $XDG_STATE_HOME/regtrace."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "regtrace"


def load() -> State | None:
    """Return the recording that was started last and not ended; None where there is none, or no readable word of it."""
    try:
        values = json.loads((state_folder() / _FILE).read_text(encoding="utf-8"))
        if values.pop("version") != _VERSION:
            return None
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.pop("options").items()
        }
        target = Path(values.pop("target"))
        return State(target=target, options=CaptureOptions(**options), **values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RegtraceError):
        return None


def claim(state: State, service: "Service") -> None:
    """Store the state of a recording that is about to start.

    Raises:
        RegtraceError: another one of this user is running.
        TargetError: the user's folder cannot be written.
    """
    other = load()
    if other is not None and other.is_owned:
        raise RegtraceError(
            f"a recording for {other.target} is running already, by process {other.pid}; end that one first"
        )
    if other is not None and any(session.name == CAPTURE_SESSION for session in service.sessions()):
        how = "is running already" if other.detached else "was left running by a process that is gone"
        raise RegtraceError(
            f"a recording for {other.target} {how}; end it with `regtrace stop`, or discard it with `regtrace cancel`"
        )
    state.save()


def release() -> None:
    """Forget the recording: it ended."""
    for name in (_FILE, _SEED):
        with contextlib.suppress(OSError):
            (state_folder() / name).unlink(missing_ok=True)
