"""`regtrace start`: begin a recording that runs in the background."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import Example
from cli.output.console import console
from cli.output.phrases import plural
from cli.recording.messages import option_note
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

__all__ = ["EXAMPLES", "start"]

EXAMPLES = (
    Example("regtrace start", "then: regtrace stop"),
    Example("regtrace start --ring 256MB", "a flight recorder; `regtrace snapshot` saves what it holds"),
)


def start(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", readable=False, metavar="NAME.regtrace",
                     help="The capture to make in the end. Default: capture-TIME.regtrace in this folder."),
    ] = None,
    operation: OperationWords = None,
    no_data: NoData = False,
    ring: Ring = None,
    ring_on_disk: RingOnDisk = False,
    classic: Classic = False,
    stacks: Stacks = False,
    no_handles: NoHandles = False,
    keep_etl: KeepEtl = False,
    buffer_size: BufferSize = None,
    buffers: Buffers = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the capture if it exists.")] = False,
) -> None:  # fmt: skip
    """Begin a recording on Windows that goes on by itself.

    The command returns, the kernel goes on recording until `regtrace stop` (publishes the capture), `regtrace
    cancel` (discards it), or a restart. Nothing of regtrace runs meanwhile, so nothing ends it when the
    disk fills: give --ring for long recordings.
    """
    from tracer.recording.detached import start as begin
    from tracer.recording.recorder import real_service

    service = real_service()
    options = make_options(
        operation=operation, no_data=no_data, ring=ring, ring_on_disk=ring_on_disk, classic=classic,
        stacks=stacks, no_handles=no_handles, keep_etl=keep_etl, force=force, buffer_size=buffer_size, buffers=buffers,
    )  # fmt: skip
    target = output or default_target()
    recorder = begin(options, target, service=service)
    if not classic:
        console.say(option_note(options.option_word))
    seed = recorder.log.seed_facts or {}
    seed_note = f", {plural(seed['named'], 'open key')} named" if "named" in seed else ""
    console.say(f"recording for {target}{seed_note}")
    if "failed" in seed:
        console.warn(f"keys that are open already will have no name: {seed['failed']}")
    console.hint("regtrace status", *(["regtrace snapshot"] if options.is_in_memory else []), "regtrace stop")
