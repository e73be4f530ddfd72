"""`regtrace cancel`: end the recording that `regtrace start` began, and discard it."""

from cli.console import console
from cli.options import Example

__all__ = ["EXAMPLES", "cancel"]

EXAMPLES = (Example("regtrace cancel", "nothing of the recording is left"),)


def cancel() -> None:
    """End the recording that `regtrace start` began, and discard it."""
    from tracer.live.detached import cancel as discard
    from tracer.live.recorder import real_service

    target = discard(service=real_service())
    console.say(f"the recording for {target} was ended, and its trace removed")
