"""`regtrace cancel`: end the recording that `regtrace start` began, and discard it."""

from typing import Annotated

import typer

from cli.options.common import Example
from cli.output.console import console

__all__ = ["EXAMPLES", "cancel"]

EXAMPLES = (
    Example("regtrace cancel", "nothing of the recording is left"),
    Example("regtrace cancel --force", "also where its process hangs"),
)


def cancel(
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also if a process still supervises it, or if its notes cannot be read."
        ),
    ] = False,
) -> None:
    """End the recording that `regtrace start` began, and discard it.

    It also discards what a killed `regtrace capture` left. With --force it ends the recording of a process that
    still runs, and forgets what is known of a recording where that cannot be read.
    """
    from tracer.recording.detached import cancel as discard
    from tracer.recording.recorder import real_service

    target = discard(service=real_service(), force=force)
    if target is None:
        console.say(
            "the notes of the recording were removed; `regtrace sessions` shows whether a session still runs"
        )
    else:
        console.say(f"the recording for {target} was ended, and its trace removed")
