"""`regtrace snapshot`: save what the ring of a running recording holds."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import Example
from cli.output.console import console
from cli.output.phrases import quoted
from cli.recording.messages import RecordingLine, say_result
from cli.recording.options import KeepEtl, default_target

__all__ = ["EXAMPLES", "snapshot"]

EXAMPLES = (Example("regtrace snapshot -o crash.regtrace", "what led here; the recording goes on"),)


def snapshot(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="NAME.regtrace",
                     help="The capture to make. Default: capture-TIME.regtrace in this folder."),
    ] = None,
    keep_etl: KeepEtl = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the capture if it exists.")] = False,
) -> None:  # fmt: skip
    """Save what the ring of a running recording holds.

    The recording is one that `regtrace start --ring` or `regtrace capture --ring` began; it goes on.
    """
    from tracer.recording.detached import snapshot as save
    from tracer.recording.recorder import real_service

    target = output or default_target()
    with RecordingLine() as line:
        manifest = save(line, target, force=force, keep_etl=keep_etl, service=real_service())
    say_result(target, manifest)
    console.hint(
        f"regtrace keys {quoted(target)} --sort writes --limit 20", f"regtrace info {quoted(target)}"
    )
