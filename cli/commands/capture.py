"""`regtrace capture`: record registry activity on Windows, around a program or until Ctrl-C."""

from pathlib import Path
from typing import Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example, FailOnLoss
from cli.output.console import console
from cli.output.phrases import quoted
from cli.recording.interrupts import StopEvent, graceful
from cli.recording.messages import RecordingLine, option_note, say_result
from cli.recording.options import (
    Buffers,
    BufferSize,
    Classic,
    KeepEtl,
    NoData,
    NoHandles,
    OperationWords,
    Ring,
    RingOnDisk,
    Stacks,
    default_target,
    make_options,
)

__all__ = ["EXAMPLES", "capture"]

EXAMPLES = (
    Example("regtrace capture -o install.regtrace -- setup.exe /S", "around a program"),
    Example("regtrace capture", "until Ctrl-C"),
    Example("regtrace capture --duration 60s --operation write", "a minute of changes"),
    Example("regtrace capture --ring 256MB", "the last 256 MB; `regtrace snapshot` saves them meanwhile"),
)


def capture(
    program: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- PROGRAM ARGS...]", help="Record while this program runs."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", readable=False, metavar="NAME.regtrace",
                     help="The capture to make. Default: capture-TIME.regtrace in this folder."),
    ] = None,
    operation: OperationWords = None,
    no_data: NoData = False,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="End after this time: 60s, 5m, 1h30m.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", metavar="SIZE", help="End when the trace has this size: 2GB.")
    ] = None,
    ring: Ring = None,
    ring_on_disk: RingOnDisk = False,
    children: Annotated[
        bool, typer.Option("--children", help="Go on until every process that PROGRAM started has ended.")
    ] = False,
    classic: Classic = False,
    stacks: Stacks = False,
    no_handles: NoHandles = False,
    keep_etl: KeepEtl = False,
    buffer_size: BufferSize = None,
    buffers: Buffers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the capture if it exists.")] = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Record on Windows, around a program or until Ctrl-C.

    Needs an elevated prompt. The kernel writes the trace, of all processes; then names of keys that were open
    before are added, and a capture is published. The first Ctrl-C ends the recording and publishes it (exit
    code 130), a second one gives up. Losses are counted while it runs and shown at the end. The exit code of
    PROGRAM is printed, not returned. README.md says where this was tried.
    """
    from tracer.recording.capture import advice_on_traces, record
    from tracer.recording.recorder import real_service
    from tracer.recording.session_plan import Files

    service = real_service()
    options = make_options(
        operation=operation, no_data=no_data, ring=ring, ring_on_disk=ring_on_disk, classic=classic,
        stacks=stacks, no_handles=no_handles, keep_etl=keep_etl, force=force, buffer_size=buffer_size, buffers=buffers,
        largest=max_size, duration=duration, command=tuple(program or ()), children=children,
    )  # fmt: skip
    target = output or default_target()
    note = None if classic else option_note(options.option_word)
    stop = StopEvent()
    try:
        with graceful(stop), RecordingLine(stop, hint=_hint(options.command), note=note) as line:
            manifest = record(options, target, stop=stop, progress=line, service=service)
    except KeyboardInterrupt:
        advice = advice_on_traces(Files(target.absolute())) if stop.is_set() else ""
        if advice:
            console.warn(advice)
        raise
    say_result(target, manifest)
    console.hint(
        f"regtrace keys {quoted(target)} --sort writes --limit 20",
        f"regtrace timeline {quoted(target)} --key KEY",
        f"regtrace info {quoted(target)}",
    )
    if stop.is_set():
        raise typer.Exit(Exit.INTERRUPTED)
    if fail_on_loss and not manifest.complete:
        raise typer.Exit(Exit.LOSS)


def _hint(command: tuple[str, ...]) -> str:
    return "ends with the program, or Ctrl-C" if command else "Ctrl-C ends it"
