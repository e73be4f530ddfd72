"""The plan of a recording: which sessions and providers its options need. Plain values only."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.errors import UsageError
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.session.options import (
    ALL_OPTIONS,
    CAPTURE_SESSION,
    CLASSIC_FLAGS,
    KEYWORDS,
    OPTION_DATA,
    OPTION_NAMES,
    OPTION_PREVIOUS,
    PROCESS_SESSION,
    LogMode,
    Provider,
    SessionOptions,
    keyword_mask,
)

__all__ = ["MIB", "CaptureOptions", "Files", "plan_providers", "plan_sessions", "settings_of"]

MIB = 1 << 20
_PROCESS_KEYWORD = 0x10  # WINEVENT_KEYWORD_PROCESS of Microsoft-Windows-Kernel-Process
_PROCESS_RING_MIB = 8  # some 20,000 starts and ends
_STACK_IDS = tuple(range(1, 16))  # the registry operations
_MOST_IDS = 64  # of an event id filter, by EVENT_FILTER_EVENT_ID
_MOST_RING_MIB = 16 * 1024


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """Options of a recording.

    Attributes:
        operations: names of tracer.session.options.KEYWORDS; None is every event of the provider. Creates, opens
            and closes are always recorded, names need them.
        option_word: what the provider is asked to add (OPTION_*). Machine-wide, and it stays afterwards.
        level: 1 failures only, 0xFF all.
        event_ids: only these events, filtered in the kernel; None is no such filter.
        buffer_kib, buffers: size and smallest number of buffers; None is sized by the processors.
        ring_mib: keep the last so many MiB only; None keeps all.
        ring_on_disk: the ring is a file instead of memory.
        largest_mib: end when the trace has this size; None is no limit.
        seconds: end after this time; None is no limit.
        classic: the system logger's registry records (key control blocks, elapsed times, no data) instead.
        stacks: record the stack of every registry event (True), of these event ids, or of none (False).
        command: a program to run, and to end with; empty for none.
        children: end when all processes that the program started have ended too.
        handles: read the handle table for names of keys that are open already: it opens the processes of others.
        keep_etl: keep the trace files beside the capture.
        force: replace what exists.
    """

    operations: tuple[str, ...] | None = None
    option_word: int = ALL_OPTIONS
    level: int = 0xFF
    event_ids: tuple[int, ...] | None = None
    buffer_kib: int | None = None
    buffers: int | None = None
    ring_mib: int | None = None
    ring_on_disk: bool = False
    largest_mib: int | None = None
    seconds: float | None = None
    classic: bool = False
    stacks: bool | tuple[int, ...] = False
    command: tuple[str, ...] = ()
    children: bool = False
    handles: bool = True
    keep_etl: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError for options that cannot be recorded."""
        unknown = [name for name in self.operations or () if name not in KEYWORDS]
        _need(
            not unknown, f"there is no recordable operation {(*unknown, '')[0]!r}; `regtrace list` names them"
        )
        _need(self.ring_mib is None or 1 <= self.ring_mib <= _MOST_RING_MIB, "a ring must have 1 MB to 16 GB")
        _need(self.largest_mib is None or self.largest_mib >= 1, "the largest size must be 1 MB or more")
        _need(self.seconds is None or self.seconds > 0, "a duration must be longer than 0 seconds")
        _need(
            self.ring_mib is None or self.largest_mib is None,
            "a ring and a largest size exclude each other; give one of them",
        )
        _need(
            not self.classic or self.event_ids is None,
            "the classic logger cannot filter by event ids; leave them out, or record without --classic",
        )
        _need(
            not self.classic or self.operations is None,
            "the classic logger always records every operation; filter the capture instead, or record without --classic",
        )
        ids = (*(self.event_ids or ()), *(self.stacks if isinstance(self.stacks, tuple) else ()))
        _need(
            all(0 <= number <= 0xFFFF for number in ids) and len(ids) <= _MOST_IDS,
            "event ids must be 0 to 65535, and at most 64 of them",
        )
        _need(self.buffer_kib is None or 4 <= self.buffer_kib <= 1024, "a buffer must have 4 to 1024 KB")
        _need(self.buffers is None or self.buffers >= 2, "there must be 2 buffers or more")

    @property
    def is_ring(self) -> bool:
        """Whether only the end of the recording is kept."""
        return self.ring_mib is not None

    @property
    def is_in_memory(self) -> bool:
        """Whether the trace is in memory until it is saved."""
        return self.ring_mib is not None and not self.ring_on_disk


@dataclass(frozen=True, slots=True)
class Files:
    """The trace files of a capture `target`, beside it."""

    target: Path

    @property
    def registry(self) -> Path:
        """The trace of registry events."""
        return self.target.with_name(f"{self._stem}.etl").absolute()

    @property
    def processes(self) -> Path:
        """The trace of process starts and ends."""
        return self.target.with_name(f"{self._stem}.processes.etl").absolute()

    @property
    def seed(self) -> Path:
        """The names of open keys, as a table that `regtrace ingest --seed` reads."""
        return self.registry.with_suffix(".seed.parquet")

    @property
    def traces(self) -> tuple[Path, Path]:
        """Both traces."""
        return self.registry, self.processes

    @property
    def outputs(self) -> tuple[Path, ...]:
        """All files that may stand beside the capture in the end."""
        return *self.traces, self.seed

    @property
    def _stem(self) -> str:
        return self.target.name.removesuffix(".regtrace")


def plan_sessions(
    options: CaptureOptions, files: Files, cpus: int | None = None
) -> tuple[SessionOptions, SessionOptions]:
    """Return the session for registry events and the one for process events."""
    cpus = cpus or os.cpu_count() or 1
    size = options.buffer_kib or (256 if cpus <= 16 else 128 if cpus <= 64 else 64)
    smallest = max(options.buffers or max(32, 4 * cpus), 2 * cpus)  # Windows wants two a processor
    largest, mode, limit = 4 * smallest, LogMode.SEQUENTIAL, 0
    if options.ring_mib is not None and not options.ring_on_disk:
        # What is kept is the smallest number of buffers.
        smallest = max(-(-options.ring_mib * 1024 // size), 2 * cpus)
        largest, mode = smallest, LogMode.BUFFERING
    elif options.ring_mib is not None:
        mode, limit = LogMode.CIRCULAR, options.ring_mib
    elif options.largest_mib is not None:
        # We end the recording when it is reached. This is for the case that we cannot: a file does not grow on.
        limit = options.largest_mib + max(64, options.largest_mib // 8)
    main = SessionOptions(
        name=CAPTURE_SESSION,
        mode=mode,
        log_file=None if mode is LogMode.BUFFERING else files.registry,
        largest_mib=limit,
        buffer_kib=size,
        smallest_count=smallest,
        largest_count=largest,
        classic_flags=CLASSIC_FLAGS if options.classic else 0,
        takes_over=False,
    )
    ring = max(_PROCESS_RING_MIB * 1024 // 64, 2 * cpus) if options.is_in_memory else max(8, 2 * cpus)
    aside = SessionOptions(
        name=PROCESS_SESSION,
        mode=LogMode.BUFFERING if options.is_in_memory else LogMode.SEQUENTIAL,
        log_file=None if options.is_in_memory else files.processes,
        buffer_kib=64,
        smallest_count=ring,
        largest_count=ring if options.is_in_memory else 4 * ring,
        takes_over=False,
    )
    return main, aside


def plan_providers(options: CaptureOptions) -> tuple[tuple[Provider, ...], tuple[Provider, ...]]:
    """Return the providers of the session for registry events and of the one for process events."""
    processes = Provider(guid=KERNEL_PROCESS, any_keywords=_PROCESS_KEYWORD)
    if options.classic:
        return (), (processes,)
    stacks = options.stacks if isinstance(options.stacks, tuple) else _STACK_IDS if options.stacks else None
    registry = Provider(
        guid=KERNEL_REGISTRY,
        any_keywords=0 if options.operations is None else keyword_mask(options.operations),
        level=options.level,
        option_word=options.option_word,
        event_ids=options.event_ids,
        stack_ids=stacks,
    )
    return (registry,), (processes,)


def settings_of(options: CaptureOptions, sessions: Sequence[SessionOptions]) -> dict[str, Any]:
    """Return the options and sessions, ready for JSON."""
    mask = keyword_mask(options.operations)
    words = {"names": OPTION_NAMES, "data": OPTION_DATA, "previous": OPTION_PREVIOUS}
    return {
        "kind": "classic" if options.classic else "manifest",
        "operations": None if options.operations is None else [*options.operations],
        "keywords": {name: bit for name, bit in KEYWORDS.items() if mask & bit},
        "level": options.level,
        "event_ids": None if options.event_ids is None else [*options.event_ids],
        "option_word": None if options.classic else options.option_word,
        "option_word_asks_for": []
        if options.classic
        else [name for name, bit in words.items() if options.option_word & bit],
        "stacks": [*options.stacks] if isinstance(options.stacks, tuple) else options.stacks,
        "ring_mib": options.ring_mib,
        "largest_mib": options.largest_mib,
        "seconds": options.seconds,
        "command": [*options.command] or None,
        "children": options.children,
        "handles": options.handles,
        "sessions": [
            {
                "name": session.name,
                "mode": session.mode.name.lower(),
                "buffer_kib": session.buffer_kib,
                "buffers": [session.smallest_count, session.largest_count],
            }
            for session in sessions
        ],
    }


def _need(fits: bool, sentence: str) -> None:
    if not fits:
        raise UsageError(sentence)
