"""`regtrace boot`: the trace that Windows starts early in every boot."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options.common import Example, Force
from cli.output.console import console
from cli.output.phrases import quoted
from cli.recording.options import OperationWords, read_size
from tracer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracer.recording.autologger import BootOptions, BootStatus

__all__ = ["EXAMPLES", "boot"]

EXAMPLES = (
    Example("regtrace boot enable", "then restart; the trace begins early in the boot"),
    Example("regtrace boot collect -o boot.regtrace --disable", "after the restart: stop it, make a capture"),
    Example("regtrace boot enable --ring --max-size 512MB", "keep the last 512 MB instead of the first"),
    Example("regtrace boot enable --dry-run > boot.reg", "what would be written, on any system"),
    Example("regtrace boot disable", "no trace at the next boot"),
)

_SILENT = (
    "value data is not asked for at boot: how Windows takes that request from an AutoLogger is not documented"
)


class Action(StrEnum):
    """What to do about the boot trace."""

    ENABLE = "enable"
    COLLECT = "collect"
    DISABLE = "disable"
    STATUS = "status"


def boot(
    action: Annotated[
        Action, typer.Argument(metavar="ACTION", help="One of enable, collect, disable, status.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", readable=False, metavar="NAME.regtrace", help="collect: the capture to make."),
    ] = Path("boot.regtrace"),
    operation: OperationWords = None,
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="enable: largest size of the trace.")
    ] = "1GB",
    ring: Annotated[
        bool, typer.Option("--ring", help="enable: when it is full, drop the oldest records, not the newest.")
    ] = False,
    log_file: Annotated[
        str | None,
        typer.Option("--log-file", metavar="PATH",
                     help="enable: the .etl to write. Default: regtrace-boot.etl in %SystemRoot%\\System32\\LogFiles\\WMI."),
    ] = None,
    disable: Annotated[
        bool, typer.Option("--disable", help="collect: and do not trace the next boot.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="enable, disable: print the writes as a .reg file instead.")
    ] = False,
    force: Force = False,
) -> None:  # fmt: skip
    """Trace the boot: configure it, make a capture of it, switch it off.

    Windows calls this an AutoLogger: a session described in the registry and started by the kernel, early
    enough to see nearly every key opened. It goes on until it is collected, and starts again with every boot
    until it is disabled. Value data is not asked for. enable, disable and collect need an elevated terminal;
    with --dry-run nothing is written, and any system will do.
    """
    from cli.output.destination import write_lines
    from tracer.recording import autologger
    from tracer.windows.machine_registry import real_registry

    if dry_run and action not in (Action.ENABLE, Action.DISABLE):
        raise UsageError(
            f"--dry-run shows what enable and disable would write; {action} writes nothing there"
        )
    if action is Action.ENABLE:
        options = _options(operation, max_size, log_file, ring=ring)
        if dry_run:
            write_lines(autologger.reg_file(autologger.boot_writes(options)))
        else:
            autologger.enable_boot(options, real_registry("tracing the boot"))
            console.say("the boot trace starts with the next boot, and every one after until it is disabled")
        console.say(_SILENT)
        console.hint("regtrace boot collect -o boot.regtrace --disable")
    elif action is Action.DISABLE:
        if dry_run:
            write_lines(autologger.removal_file())
        else:
            was = autologger.disable_boot(real_registry("tracing the boot"))
            console.say("no boot is traced any more" if was else "the boot trace was not configured")
    elif action is Action.STATUS:
        write_lines(_status_lines())
    else:
        _collect(output, force=force, disable=disable)


def _collect(output: Path, *, force: bool, disable: bool) -> None:
    from cli.commands.ingest import ingest_with_progress
    from cli.recording.messages import lost_text
    from tracer.errors import TargetError
    from tracer.recording import autologger
    from tracer.session.session import stop_session
    from tracer.windows.machine_registry import real_registry

    if output.exists() and not force:
        raise TargetError(f"{output} exists; choose another name or replace it with --force")
    status = _status("collecting the boot trace")
    log = autologger.boot_log(status)
    counters = autologger.stop_boot(status, stop_session)
    if counters is None:
        console.say(f"no boot trace is running; {log} is of an earlier one")
    elif counters.lost:
        lost = lost_text(counters.events_lost, counters.buffers_lost)
        console.warn(f"the boot trace lost {lost}; a larger --max-size may help")
    if disable:
        autologger.disable_boot(real_registry("tracing the boot"))
    ingest_with_progress([log], output, force=force)
    console.say(f"the trace itself stays in {log}")
    if not disable and status.enabled:
        console.say("the next boot is traced too; `regtrace boot disable` ends that")
    console.hint(f"regtrace info {quoted(output)}", f"regtrace keys {quoted(output)} --limit 20")


def _status(what: str) -> "BootStatus":
    from tracer.recording.autologger import BOOT_SESSION, boot_status
    from tracer.session.session import find_session
    from tracer.windows.machine_registry import real_registry

    registry = real_registry(what)
    running = find_session(BOOT_SESSION)
    return boot_status(registry, [] if running is None else [running])


def _status_lines() -> "Iterator[str]":
    from cli.output.safe import visible
    from cli.recording.messages import lost_text
    from tracer.errors import NotElevated
    from tracer.recording.autologger import boot_status
    from tracer.windows.machine_registry import real_registry

    is_seen = True
    try:
        status = _status("the boot trace")
    except NotElevated:
        is_seen, status = False, boot_status(real_registry("the boot trace"), [])
    configured = "configured, but switched off" if status.values is not None else "not configured"
    yield f"next boot:    {'will be traced' if status.enabled else configured}"
    if status.last_error is not None:
        yield f"last start:   {'worked' if status.last_error == 0 else f'failed with error {status.last_error}'}"
    if not is_seen:
        yield "this boot:    unknown: only an elevated prompt sees whether it is being traced"
    elif status.running is None:
        yield "this boot:    not being traced"
    else:
        counters = status.running.counters
        lost = lost_text(counters.events_lost, counters.buffers_lost)
        yield f"this boot:    being traced, {lost or 'nothing'} lost so far"
    for file in status.log_files:
        yield f"trace:        {visible(str(file))}, {file.stat().st_size:,} bytes"


def _options(operation: str | None, max_size: str, log_file: str | None, *, ring: bool) -> "BootOptions":
    from tracer.recording.autologger import DEFAULT_LOG, BootOptions
    from tracer.registry.terms import operation_names
    from tracer.session.options import KEYWORDS

    operations = operation_names(operation)
    recorded = None if operations is None else tuple(name for name in operations if name in KEYWORDS)
    if operations and not recorded:
        raise UsageError(
            f"Windows' tracing does not report {', '.join(operations)}; `regtrace list operations` names what there is"
        )
    return BootOptions(
        operations=recorded,
        log_file=log_file or DEFAULT_LOG,
        largest_mib=read_size(max_size, "--max-size"),
        ring=ring,
    )
