"""`regtrace stop`: end the recording that `regtrace start` began, and publish it."""

import typer

from cli.exits import Exit
from cli.options.common import Example, FailOnLoss
from cli.output.console import console
from cli.output.phrases import quoted
from cli.recording.messages import RecordingLine, say_result
from cli.recording.options import KeepEtl

__all__ = ["EXAMPLES", "stop"]

EXAMPLES = (Example("regtrace stop", "publishes what `regtrace start` began"),)


def stop(keep_etl: KeepEtl = False, fail_on_loss: FailOnLoss = False) -> None:
    """End the recording that `regtrace start` began, and publish it."""
    from tracer.recording.detached import stop as end
    from tracer.recording.recorder import real_service

    with RecordingLine() as line:
        manifest, target = end(line, service=real_service(), keep_etl=keep_etl)
    say_result(target, manifest)
    console.hint(
        f"regtrace keys {quoted(target)} --sort writes --limit 20", f"regtrace info {quoted(target)}"
    )
    if fail_on_loss and not manifest.complete:
        raise typer.Exit(Exit.LOSS)
