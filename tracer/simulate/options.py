"""Options of the simulator."""

from dataclasses import dataclass, fields
from math import isfinite

from tracer.errors import UsageError

__all__ = ["CAPTURED_LIMIT", "OPTION_DATA", "OPTION_NAMES", "OPTION_PREVIOUS", "SimulationOptions"]

# The provider's option word (EnableTraceEx2 filter data of 4 bytes).
OPTION_NAMES, OPTION_DATA, OPTION_PREVIOUS = 0x1, 0x2, 0x4
CAPTURED_LIMIT = 2048  # bytes the provider copies of written, read and previous data, each


@dataclass(frozen=True, slots=True)
class SimulationOptions:
    r"""Options of a simulation. The defaults make a busy, realistic, undamaged trace.

    Shares are probabilities from 0 to 1. Two runs with the same options write the same bytes.

    Size and shape
        events: registry operations, those that get lost included; up to a few dozen more where the last
            step is the end of a process, which closes all it holds.
        seed: of everything random.
        cpus: processors (1 to 255).
        processes: processes running at a time.
        threads: threads of each process.
        keys: keys in the registry when the trace starts (roughly).
        gap_us: mean microseconds between operations, over the whole machine.
        pointer_size: 8 (64-bit Windows) or 4.

    What the provider is asked for
        option_word: sum of 0x1 fill KeyName and BaseName, 0x2 captured data, 0x4 previous data.
        option_from: share of the trace after which the option word takes effect; 0 is from the start.
        fill_share: with 0x1, share of records whose name could be filled.
        classic: the NT Kernel Logger's registry class (V2 records, key control blocks with rundown) instead
            of the manifest provider.
        rundown_begin: classic: name the blocks that exist when the session starts (opcode 24).
        rundown_end: classic: name the blocks that exist when it stops (opcode 25).
        process_events: also record process starts, stops and rundown.
        command_lines: also record them by the NT Kernel Logger's class, which carries command lines and users.
        extended: share of manifest records with extended items (stack, SID, process start key).
        newer_version: share of manifest records that claim version 1 and have bytes appended.
        foreign: share of additional records of other providers, of all header kinds.

    Names and keys
        preopened: key objects open before the trace starts, whose names it never gets; classic: control
            blocks, which a rundown may name.
        seed_table: also write NAME.seed.parquet, what a reading of the handle table at start would give.
        reuse: probability that a new object takes the address of a closed one.
        late_close: share of closes stamped slightly before the object's last use, on another processor.
        lost_close: share of closes the trace does not hold, without any sign of a loss.
        failed_open: share of opens that fail (KeyObject 0).
        reparse: share of opens through a link that show a STATUS_REPARSE record first.
        links: share of opens that ask through a link (CurrentControlSet, a user's Software\Classes).
        mixed_case: share of opens that spell names in another case.
        slashes: share of opens with trailing or doubled backslashes.
        empty_relative: share of opens that open their base again with an empty name.
        nul_names: share of keys and values whose names hold NULs.
        surrogate_names: share with lone surrogates.
        hostile_names: share with terminal escapes, formulas, HTML, newlines, right-to-left marks, ``..``.
        users: user hives, each with its _Classes hive.
        app_hives: application hives, \REGISTRY\A\{guid}.

    The file
        buffer_size: bytes of a buffer.
        disorder: full buffers held back and written in random order.
        flush_ms: period of the flush timer, milliseconds; 0 is never.
        clock: 1 performance counter, 2 system time, 3 processor cycles.
        compressed: XPRESS-compressed buffers.
        circular_mib: size of a circular file; 0 is sequential.
        zeros_mib: preallocated, unused MiB at the end.
        unfinalised: the session was never stopped: EndTime 0, BuffersWritten stale.
        cut: the file ends in the middle of its last buffer.
        lost_buffers: share of buffers lost (the next one of that processor says so).
        lost_events: share of records lost (the buffer says so).
    """

    events: int = 100_000
    seed: int = 1
    cpus: int = 4
    processes: int = 8
    threads: int = 3
    keys: int = 4000
    gap_us: float = 20.0
    pointer_size: int = 8

    option_word: int = OPTION_DATA | OPTION_PREVIOUS
    option_from: float = 0.0
    fill_share: float = 1.0
    classic: bool = False
    rundown_begin: bool = False
    rundown_end: bool = True
    process_events: bool = True
    command_lines: bool = False
    extended: float = 0.0
    newer_version: float = 0.0
    foreign: float = 0.02

    preopened: int = 40
    seed_table: bool = False
    reuse: float = 0.9
    late_close: float = 0.0
    lost_close: float = 0.0
    failed_open: float = 0.33
    reparse: float = 0.5
    links: float = 0.02
    mixed_case: float = 0.05
    slashes: float = 0.005
    empty_relative: float = 0.01
    nul_names: float = 0.0
    surrogate_names: float = 0.0
    hostile_names: float = 0.0
    users: int = 2
    app_hives: int = 2

    buffer_size: int = 65536
    disorder: int = 4
    flush_ms: int = 1000
    clock: int = 1
    compressed: bool = False
    circular_mib: int = 0
    zeros_mib: int = 0
    unfinalised: bool = False
    cut: bool = False
    lost_buffers: float = 0.0
    lost_events: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            self._need(not isinstance(value, float) or isfinite(value), field.name, "a finite number")
        self._need(self.events >= 0, "events", "0 or more")
        self._need(1 <= self.cpus <= 255, "cpus", "1 to 255")
        self._need(1 <= self.processes <= 4000, "processes", "1 to 4000")
        self._need(1 <= self.threads <= 200, "threads", "1 to 200")
        self._need(1 <= self.users <= 20, "users", "1 to 20")
        self._need(self.pointer_size in (4, 8), "pointer_size", "4 or 8")
        self._need(self.clock in (1, 2, 3), "clock", "1, 2 or 3")
        self._need(8192 <= self.buffer_size <= 16 << 20, "buffer_size", "8192 to 16777216 bytes")
        self._need(self.buffer_size % 1024 == 0, "buffer_size", "a multiple of 1024")
        self._need(self.gap_us > 0, "gap_us", "above 0")
        self._need(not (self.circular_mib and self.compressed), "circular_mib", "0 in a compressed file")
        for name in ("keys", "preopened", "app_hives", "disorder", "flush_ms", "circular_mib", "zeros_mib"):
            self._need(getattr(self, name) >= 0, name, "0 or more")
        for name in _SHARES:
            self._need(0.0 <= getattr(self, name) <= 1.0, name, "a share from 0 to 1")

    def _need(self, fits: bool, name: str, allowed: str) -> None:
        if not fits:
            raise UsageError(f"the option {name} is {getattr(self, name)}; it must be {allowed}")


_SHARES = (
    "option_from", "fill_share", "extended", "newer_version", "foreign", "reuse", "late_close", "lost_close",
    "failed_open", "reparse", "links", "mixed_case", "slashes", "empty_relative", "nul_names",
    "surrogate_names", "hostile_names", "lost_buffers", "lost_events",
)  # fmt: skip
