"""Options, counters and status of a tracing session: plain values, on any system.

Facts: EVENT_TRACE_PROPERTIES, ENABLE_TRACE_PARAMETERS and Logging Mode Constants of the Windows SDK
documentation; keyword masks and the option word as the manifest and public analyses of the provider have them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

__all__ = [
    "ALL_OPTIONS",
    "CAPTURE_SESSION",
    "CLASSIC_FLAGS",
    "KEYWORDS",
    "NAMING_KEYWORDS",
    "OPTION_DATA",
    "OPTION_NAMES",
    "OPTION_PREVIOUS",
    "PROCESS_SESSION",
    "SESSION_PREFIX",
    "LogMode",
    "Provider",
    "SessionCounters",
    "SessionOptions",
    "SessionStatus",
    "keyword_mask",
]

# Sessions outlive the process that started them, so those of recordings have fixed names by which they are found
# again; others are named after their process (tracer.session.owners).
SESSION_PREFIX = "regtrace-"
CAPTURE_SESSION = "regtrace-capture"
PROCESS_SESSION = "regtrace-processes"

# Manifest keywords of Microsoft-Windows-Kernel-Registry by operation (reference: section 2.2).
KEYWORDS = {
    "CloseKey": 0x0001, "QuerySecurityKey": 0x0002, "SetSecurityKey": 0x0004, "EnumerateValueKey": 0x0010,
    "QueryMultipleValueKey": 0x0020, "SetInformationKey": 0x0040, "FlushKey": 0x0080, "SetValueKey": 0x0100,
    "DeleteValueKey": 0x0200, "QueryValueKey": 0x0400, "EnumerateKey": 0x0800, "CreateKey": 0x1000,
    "OpenKey": 0x2000, "DeleteKey": 0x4000, "QueryKey": 0x8000,
}  # fmt: skip
# Without these no object can be named.
NAMING_KEYWORDS = KEYWORDS["CreateKey"] | KEYWORDS["OpenKey"] | KEYWORDS["CloseKey"]

# The 4-byte option word of the provider: machine-wide, and it stays after the session. 0x2 is confirmed by
# two public tools; 0x1 and 0x4 are UNCONFIRMED in live use, so whether data arrived is probed and recorded.
OPTION_NAMES, OPTION_DATA, OPTION_PREVIOUS = 0x1, 0x2, 0x4
ALL_OPTIONS = OPTION_NAMES | OPTION_DATA | OPTION_PREVIOUS

CLASSIC_FLAGS = 0x0002_0000 | 0x0000_0001  # EVENT_TRACE_FLAG_REGISTRY | EVENT_TRACE_FLAG_PROCESS


def keyword_mask(operations: Iterable[str] | None) -> int:
    """Return the keyword mask for operations by name (None: all), always with those that give names.

    Raises:
        KeyError: an operation the provider does not report.
    """
    mask = NAMING_KEYWORDS
    for name in KEYWORDS if operations is None else operations:
        mask |= KEYWORDS[name]
    return mask


class LogMode(IntEnum):
    """Where the records of a session go (bits of EVENT_TRACE_PROPERTIES.LogFileMode)."""

    SEQUENTIAL = 0x1  # a file, to its end
    CIRCULAR = 0x2  # a file of a largest size, oldest buffers overwritten
    REAL_TIME = 0x100  # a consumer
    BUFFERING = 0x400  # memory, saved on demand


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider to enable in a session.

    Attributes:
        guid: its GUID, lower case, without braces.
        any_keywords: MatchAnyKeyword; 0 is every event.
        level: 0xFF is all. Kernel-Registry rewrites levels: 1 for failures, 2 for the rest.
        option_word: 4 bytes of filter data of type 0; None for none. Machine-wide and lasting.
        event_ids: only these events, filtered in the kernel; None is all.
        stack_ids: events whose kernel and user stack is recorded; None for none.
        properties: EnableProperty bits (0x1 SID, 0x80 process start key, ...), without the one for stacks.
    """

    guid: str
    any_keywords: int = 0
    level: int = 0xFF
    option_word: int | None = None
    event_ids: tuple[int, ...] | None = None
    stack_ids: tuple[int, ...] | None = None
    properties: int = 0


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """A session to start.

    Attributes:
        name: its name; ours begin with SESSION_PREFIX.
        mode: where records go. SEQUENTIAL and CIRCULAR need `log_file`, the others have none.
        log_file: absolute path of the .etl file to be written.
        largest_mib: MaximumFileSize in MiB, 0 for no limit; CIRCULAR needs it.
        buffer_kib, smallest_count, largest_count: size and number of buffers.
        flush_seconds: FlushTimer.
        classic_flags: EnableFlags of the system logger; 0 for a session of manifest providers.
        takes_over: whether a running session of that name is stopped for it; else it is refused.
    """

    name: str
    mode: LogMode
    log_file: Path | None = None
    largest_mib: int = 0
    buffer_kib: int = 256
    smallest_count: int = 64
    largest_count: int = 128
    flush_seconds: int = 1
    classic_flags: int = 0
    takes_over: bool = True


@dataclass(frozen=True, slots=True)
class SessionCounters:
    """Counters of a session at one moment; they only grow.

    Attributes:
        time_ns: when it was asked, UTC nanoseconds.
        events_lost: events that found no room. log_buffers_lost: buffers that could not be written.
        real_time_buffers_lost: buffers that no consumer took.
        buffers_written, buffers, free_buffers: as they stand.
    """

    time_ns: int
    events_lost: int
    log_buffers_lost: int
    real_time_buffers_lost: int
    buffers_written: int
    buffers: int
    free_buffers: int

    @property
    def buffers_lost(self) -> int:
        """How many buffers were lost, of either kind."""
        return self.log_buffers_lost + self.real_time_buffers_lost

    @property
    def missing(self) -> int:
        """The sum of lost events and lost buffers: if it rises, something was lost."""
        return self.events_lost + self.buffers_lost

    @property
    def lost(self) -> bool:
        """Whether anything was lost so far."""
        return bool(self.missing)


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A running session, as the system lists it."""

    name: str
    log_file: str | None
    mode: int
    buffer_kib: int
    counters: SessionCounters
    guid: str | None = field(default=None)

    @property
    def is_ours(self) -> bool:
        """Whether its name says that regtrace started it."""
        return self.name.lower().startswith(SESSION_PREFIX)
