"""Process lives: which process a record's pid meant, as of its time.

Windows gives a pid to another process soon after its owner ended, so a pid alone names nobody. A *life* is
one process: it begins at its start record (or is met already running), ends at its stop record, and every
row between belongs to it. Rows of a pid that come after its stop still belong to the ended life (handles
are closed by then) until the pid is started again. Rows of a pid nobody recorded get a life too, of which
only the pid is known; a record that comes later and names a running process names that life.

Both process providers may be on in one trace and report each process twice; the second report adds to the
life that the first one began. Records that contradict a life (another parent, image or start time) mean
that the pid was given away unseen, and begin another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import find_distinct
from tracer.decode.layouts import Layout
from tracer.decode.payload import Payload
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.etl.providers import CLASSIC_PROCESS, KERNEL_PROCESS
from tracer.registry.text import fold_name
from tracer.rows.process_tree import parent_by_time
from tracer.schema import PROCESSES

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Life", "ProcessNames", "ProcessRecord", "ProcessTable", "read_process"]

_KINDS = {
    (KERNEL_PROCESS, 1): "start",
    (KERNEL_PROCESS, 2): "stop",
    (KERNEL_PROCESS, 15): "rundown",
    (CLASSIC_PROCESS, 1): "start",
    (CLASSIC_PROCESS, 2): "stop",
    (CLASSIC_PROCESS, 3): "rundown",  # DCStart
    (CLASSIC_PROCESS, 4): "rundown",  # DCEnd
    (CLASSIC_PROCESS, 39): "defunct",
}
_NO_SESSION = 0xFFFFFFFF  # the kernel's own processes belong to none
_LONGEST = (1 << 63) - 1
# Both providers stamp a start within microseconds; a pid cannot end and be given away in this time.
_SAME_START_NS = 1_000_000_000
# The kernel keeps the first 14 characters of an image's name; stop records carry only those.
_KEPT_CHARACTERS = 14
_NO_PROCESS = 0xFFFFFFFF  # what the kernel writes where it has no thread to name
_WIDE = 1 << 22  # pids from here on (never seen) are numbered instead of indexed


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What one record says about one process; None where it does not say.

    Attributes:
        kind: start, stop, rundown (it is running), or defunct (it ended, but something holds it).
        provider: GUID of the provider or classic class.
        time_ns: time of the record, UTC.
        pid: the process. parent_pid: its parent.
        image: its image, a bare name or a path as recorded.
        command_line, user (a SID), session_id, exit_code: as recorded.
        start_ns, end_ns: times of the process, where the record states them.
    """

    kind: str
    provider: str
    time_ns: int
    pid: int
    parent_pid: int | None = None
    image: str | None = None
    command_line: str | None = None
    user: str | None = None
    session_id: int | None = None
    exit_code: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ProcessNames:
    """What rows say of their process; None where it is not known (yet)."""

    pid: int
    image: str | None
    image_path: str | None
    command_line: str | None
    user: str | None


def read_process(layout: Layout, payload: Payload, time_ns: int) -> ProcessRecord | None:
    """Return what a decoded record says about a process; None where it is no such record, or short."""
    kind = _KINDS.get((layout.provider, layout.id))
    if kind is None or payload.short:
        return None
    fields = payload.fields

    def number(*names: str) -> int | None:
        return next((value for name in names if isinstance(value := fields.get(name), int)), None)

    def text(*names: str) -> str | None:
        return next((value for name in names if isinstance(value := fields.get(name), str) and value), None)

    pid = number("ProcessID", "ProcessId")
    if pid is None:
        return None
    ended = kind in ("stop", "defunct")
    session = number("SessionID", "SessionId")
    start_ns = _unix_ns(number("CreateTime"))
    end_ns = _unix_ns(number("ExitTime")) if ended else None
    if kind == "start":
        start_ns = time_ns if start_ns is None else start_ns
    if kind == "stop":
        end_ns = time_ns if end_ns is None else end_ns
    return ProcessRecord(
        kind=kind,
        provider=layout.provider,
        time_ns=time_ns,
        pid=pid & 0xFFFFFFFF,
        parent_pid=_low(number("ParentProcessID", "ParentId")),
        image=text("ImageName", "ImageFileName"),
        command_line=text("CommandLine"),
        user=text("UserSID"),
        session_id=None if session == _NO_SESSION else session,
        exit_code=number("ExitCode", "ExitStatus") if ended else None,
        start_ns=start_ns,
        end_ns=end_ns,
    )


def _low(value: int | None) -> int | None:
    return None if value is None else value & 0xFFFFFFFF


def _unix_ns(filetime: int | None) -> int | None:
    """Return UTC nanoseconds of a FILETIME; None for 0 (not set) and what no clock could say."""
    if not filetime:
        return None
    nanoseconds = (filetime - FILETIME_EPOCH) * 100
    return nanoseconds if abs(nanoseconds) <= _LONGEST else None


@dataclass(slots=True)
class Life:
    """One life while it is being told."""

    process_id: int
    pid: int
    source: str = "none"
    started_by: str | None = None  # the provider whose start record began it
    stopped_by: str | None = None  # the provider whose stop record was last
    parent_pid: int | None = None
    parent_id: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    ended: bool = False
    image: str | None = None
    image_path: str | None = None
    command_line: str | None = None
    user: str | None = None
    session_id: int | None = None
    exit_code: int | None = None
    in_tree: bool = (
        False  # whether a tree of processes that is asked for holds it (`tracer.rows.process_tree`)
    )

    def contradicts(self, record: ProcessRecord) -> bool:
        """Whether the record must be about another process that has the same pid."""
        if record.start_ns is not None:
            if self.start_ns is not None and abs(self.start_ns - record.start_ns) > _SAME_START_NS:
                return True
            if self.end_ns is not None and record.start_ns > self.end_ns:
                return True
        if None not in (self.parent_pid, record.parent_pid) and self.parent_pid != record.parent_pid:
            return True
        return bool(self.image and record.image) and not _same_image(self.image or "", record.image or "")

    def learn(self, record: ProcessRecord) -> None:
        """Take what the record adds."""
        if record.image is not None:
            name = record.image.rpartition("\\")[2] or record.image
            if name != record.image and self.image_path is None:
                self.image_path, self.image = record.image, name
            elif self.image is None or (self.image_path is None and len(name) > len(self.image)):
                self.image = name
        for name in ("parent_pid", "start_ns", "command_line", "user", "session_id", "exit_code"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(record, name))
        if record.kind in ("stop", "defunct"):
            self.ended = True
            if record.kind == "stop":
                self.stopped_by = record.provider
            if self.end_ns is None:
                self.end_ns = record.end_ns


def _same_image(one: str, other: str) -> bool:
    """Whether two spellings of an image (paths, bare names, cut names) may be of one file."""
    one, other = (fold_name(image.rpartition("\\")[2]) for image in (one, other))
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= _KEPT_CHARACTERS and longer.startswith(shorter)


class ProcessTable:
    """The process lives of a capture, and whose each row is.

    >>> table = ProcessTable()
    >>> table.assign(np.array([4, 8, 4, -1]), []).tolist()
    [0, 1, 0, -1]
    """

    def __init__(self) -> None:
        self._lives: list[Life] = []
        self._current = np.full(1 << 16, -1, np.int32)  # code of a pid -> process_id of its current life
        self._wide: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._lives)

    def assign(
        self, pids: NDArray[np.int64], records: Sequence[tuple[int, ProcessRecord]]
    ) -> NDArray[np.int32]:
        """Return the process_id of each row, -1 where the row names no process.

        Args:
            pids: pid of each row of a batch, in time order; -1 where the header has none, and all ones
                (32 bits) where the kernel had no thread to name: no process either.
            records: what was recorded about processes meanwhile, each with the number of the row before
                which it applies (len(pids) for after the last), in time order.
        """
        codes = self._encode(pids)
        record_codes = [self._code(record.pid) for _, record in records]
        self._reserve(max(int(codes.max(initial=-1)), max(record_codes, default=-1)))
        found = self._current.take(codes)
        nobody = codes < 0
        unknown = np.flatnonzero((found < 0) & ~nobody)
        first_codes, first_rows, _ = find_distinct(codes[unknown])
        busy = np.array(sorted(set(record_codes)), np.int64)
        changes = [(code, 0, int(self._current[code])) for code in busy.tolist()]
        # Records apply before the row of their position; a pid's own first row needs a life after them.
        moments = [(position, 0, number) for number, (position, _) in enumerate(records)]
        moments += [
            (int(unknown[row]), 1, int(code)) for code, row in zip(first_codes, first_rows, strict=True)
        ]
        for position, is_row, number in sorted(moments):
            code = number if is_row else record_codes[number]
            if is_row:
                if self._current[code] >= 0:
                    continue
                self._current[code] = self._begin(int(pids[position])).process_id
            else:
                self._current[code] = self._apply(records[number][1], int(self._current[code]))
            changes.append((code, position, int(self._current[code])))
        if changes:
            found = self._current.take(codes)
        found[nobody] = -1
        if len(busy):
            self._follow(found, codes, busy, changes)
        return found

    @property
    def lives(self) -> Sequence[Life]:
        """The lives by their process_id."""
        return self._lives

    def names(self, process_ids: Sequence[int]) -> list[ProcessNames]:
        """Return what is known by now of the lives numbered `process_ids`."""
        lives = [self._lives[number] for number in process_ids]
        return [
            ProcessNames(life.pid, life.image, life.image_path, life.command_line, life.user)
            for life in lives
        ]

    def forget(self, before_ns: int) -> int:
        """Let go of lives that ended before a time or whose pid was given away; return how many.

        The others are numbered anew, so process_ids given before mean nothing any more.
        """
        current = set(self._current.tolist())
        kept = [
            life
            for life in self._lives
            if life.process_id in current and not (life.ended and (life.end_ns or before_ns) <= before_ns)
        ]
        gone = len(self._lives) - len(kept)
        numbers = np.full(len(self._lives) + 1, -1, np.int32)  # the last one, index -1, is of no life
        numbers[[life.process_id for life in kept]] = np.arange(len(kept))
        self._current = numbers[self._current]
        for life in kept:
            life.process_id = int(numbers[life.process_id])
            life.parent_id = None if life.parent_id is None else int(numbers[life.parent_id])
            life.parent_id = None if life.parent_id == -1 else life.parent_id
        self._lives = kept
        return gone

    def arrow(self) -> "pa.Table":
        """Return the lives as the table `processes`."""
        from tracer.columns.arrays import from_rows

        by_pid: dict[int, list[Life]] = {}
        for life in self._lives:
            by_pid.setdefault(life.pid, []).append(life)
        rows = []
        for life in self._lives:
            row = {
                name: getattr(life, name, None) for name in PROCESSES.names
            }  # of paths with a drive it knows none
            if life.parent_id is None:
                parent = parent_by_time(life, by_pid.get(life.parent_pid or 0, []))
                row["parent_id"] = None if parent is None else parent.process_id
            rows.append(row)
        return from_rows(rows, PROCESSES.arrow())

    def _follow(
        self,
        found: NDArray[np.int32],
        codes: NDArray[np.int64],
        busy: NDArray[np.int64],
        changes: list[tuple[int, int, int]],
    ) -> None:
        """Correct the rows of the pids whose life changed inside the batch: the last change before each."""
        rows = np.flatnonzero(np.isin(codes, busy))
        if not len(rows):
            return
        span = len(codes) + 1
        ordered = np.array(sorted(changes, key=lambda change: change[:2]), np.int64)  # stable: last one wins
        keys = ordered[:, 0] * span + ordered[:, 1]
        last = np.searchsorted(keys, codes[rows] * span + rows, side="right") - 1
        found[rows] = ordered[last, 2]

    def _apply(self, record: ProcessRecord, current: int) -> int:
        """Take a record of a pid whose current life is `current` (-1 none); return its life from now on."""
        life = self._lives[current] if current >= 0 else None
        if life is not None and not self._is_same(life, record):
            life = None
        source = {"start": "start", "rundown": "rundown"}.get(record.kind, "later")
        if life is None:
            life = self._begin(record.pid)
            life.source = source
        elif life.source == "none":
            life.source = "later"
        if record.kind == "start":
            life.started_by = record.provider
            life.source = "start"
            if life.parent_id is None:
                life.parent_id = self._running(record.parent_pid, but=life)
        life.learn(record)
        return life.process_id

    def _is_same(self, life: Life, record: ProcessRecord) -> bool:
        """Whether the record speaks of this life of its pid."""
        if life.contradicts(record):
            return False
        if record.kind == "start":
            # Only the other provider's report of the same start; rows before a start are of another process.
            return life.started_by not in (None, record.provider) and not life.ended
        return record.kind != "stop" or life.stopped_by != record.provider

    def _begin(self, pid: int) -> Life:
        life = Life(len(self._lives), pid)
        self._lives.append(life)
        return life

    def _running(self, pid: int | None, *, but: Life) -> int | None:
        """Return the life of `pid` that runs now; None where none is known to, or it is `but`."""
        if pid is None or (pid >= _WIDE and pid not in self._wide):
            return None
        code = self._code(pid)
        life = int(self._current[code]) if code < len(self._current) else -1
        return None if life < 0 or life == but.process_id or self._lives[life].ended else life

    def _code(self, pid: int) -> int:
        return pid if pid < _WIDE else _WIDE + self._wide.setdefault(pid, len(self._wide))

    def _encode(self, pids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return pids as indexes of `_current`; -1 for no process."""
        wide = pids >= _WIDE
        if not wide.any():
            return pids
        pids = np.where(pids == _NO_PROCESS, -1, pids)
        wide = pids >= _WIDE
        values, _, inverse = find_distinct(pids[wide])
        codes = pids.copy()
        codes[wide] = np.array([self._code(int(value)) for value in values], np.int64)[inverse]
        return codes

    def _reserve(self, code: int) -> None:
        if code >= len(self._current):
            grown = np.full(max(code + 1, 2 * len(self._current)), -1, np.int32)
            grown[: len(self._current)] = self._current
            self._current = grown
