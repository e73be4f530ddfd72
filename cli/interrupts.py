"""Ctrl-C while something is recorded: the first one asks to finish, a second one gives up."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["graceful"]


@contextmanager
def graceful(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C (on Windows Ctrl-Break too) set `stop`, and the next one interrupt as usual.

    Outside of the main thread, where signals cannot be caught, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    names = [name for name in ("SIGINT", "SIGBREAK") if hasattr(signal, name)]
    before = {name: signal.signal(getattr(signal, name), note) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
