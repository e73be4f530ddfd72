"""Options of the verbs that record, and the parsing of their values."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options.durations import parse_duration
from tracer.errors import UsageError

if TYPE_CHECKING:
    from tracer.recording.session_plan import CaptureOptions

__all__ = [
    "BufferSize",
    "Buffers",
    "Classic",
    "KeepEtl",
    "NoData",
    "NoHandles",
    "OperationWords",
    "Ring",
    "RingOnDisk",
    "Stacks",
    "default_target",
    "make_options",
    "read_size",
]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

OperationWords = Annotated[
    str | None,
    typer.Option("--operation", metavar="WORDS",
                 help="Record these operations, separated by commas, such as set,delete or write (regtrace list "
                 "operations). Creates, opens and closes are always recorded: names need them."),
]  # fmt: skip
NoData = Annotated[
    bool, typer.Option("--no-data", help="Record neither the data of values nor what it was before.")
]
Ring = Annotated[
    str | None,
    typer.Option("--ring", metavar="SIZE",
                 help="Keep the last SIZE of the trace only, such as 256MB, in memory."),
]  # fmt: skip
RingOnDisk = Annotated[bool, typer.Option("--ring-on-disk", help="Keep the ring in a file, not in memory.")]
Classic = Annotated[
    bool,
    typer.Option("--classic", help="Use the system logger: elapsed times and hive events, but no data."),
]
Stacks = Annotated[
    bool, typer.Option("--stacks", help="Record the stack of every operation: addresses, much larger.")
]
NoHandles = Annotated[
    bool,
    typer.Option("--no-handles",
                 help="Do not read the handle table: opening the processes of others, which it takes, may be reported by "
                 "security programs. Keys that are open already then have no name until they are opened again."),
]  # fmt: skip
KeepEtl = Annotated[bool, typer.Option("--keep-etl", help="Keep the trace files beside the capture.")]
BufferSize = Annotated[
    int | None,
    typer.Option(
        "--buffer-size", metavar="KB", min=4, max=1024, help="Size of a buffer. Default: 64 to 256."
    ),
]
Buffers = Annotated[
    int | None,
    typer.Option("--buffers", metavar="N", min=2,
                 help="Smallest number of buffers; more of them ride out longer bursts. Default: by processors."),
]  # fmt: skip


def make_options(
    *,
    operation: str | None,
    no_data: bool,
    ring: str | None,
    ring_on_disk: bool,
    classic: bool,
    stacks: bool,
    no_handles: bool,
    keep_etl: bool,
    force: bool,
    buffer_size: int | None,
    buffers: int | None,
    largest: str | None = None,
    duration: str | None = None,
    command: tuple[str, ...] = (),
    children: bool = False,
) -> "CaptureOptions":
    """Return the recording options of a command line.

    Raises:
        UsageError: a word cannot be read, or two wishes exclude each other.
    """
    from tracer.recording.session_plan import CaptureOptions
    from tracer.registry.terms import operation_names
    from tracer.session.options import ALL_OPTIONS, KEYWORDS, OPTION_NAMES

    operations = operation_names(operation)
    recorded = None if operations is None else tuple(name for name in operations if name in KEYWORDS)
    if operations and not recorded:
        raise UsageError(
            f"Windows' tracing does not report {', '.join(operations)}; `regtrace list operations` names what there is"
        )
    if ring_on_disk and ring is None:
        raise UsageError("--ring-on-disk needs the size of the ring; give --ring SIZE too")
    if children and not command:
        raise UsageError("--children needs a program; give one after --")
    return CaptureOptions(
        operations=recorded,
        option_word=OPTION_NAMES if no_data else ALL_OPTIONS,
        ring_mib=None if ring is None else read_size(ring, "--ring"),
        ring_on_disk=ring_on_disk,
        largest_mib=None if largest is None else read_size(largest, "--max-size"),
        seconds=None if duration is None else parse_duration(duration),
        classic=classic,
        stacks=stacks,
        command=command,
        children=children,
        handles=not no_handles,
        keep_etl=keep_etl,
        force=force,
        buffer_kib=buffer_size,
        buffers=buffers,
    )


def default_target(now: datetime | None = None) -> Path:
    """Return the default name of a capture: its start time in UTC.

    >>> default_target(datetime(2026, 3, 1, 9, 5, 7, tzinfo=UTC)).name
    'capture-20260301T090507Z.regtrace'
    """
    return Path(f"capture-{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}.regtrace")


def read_size(text: str, option: str) -> int:
    """Return a size in MiB, at least 1.

    >>> read_size("256MB", "--ring"), read_size("2 GiB", "--ring"), read_size("500", "--ring")
    (256, 2048, 500)

    Raises:
        UsageError: it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMG])(?:i?B)?)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"{option} {text!r} is no size; write it as 256MB or 2GB")
    size = float(match[1]) * _UNITS[(match[2] or "M").upper()]  # a bare number is of megabytes
    return max(1, round(size / _UNITS["M"]))
