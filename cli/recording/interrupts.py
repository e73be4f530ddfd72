"""Ctrl-C during a recording: the first one finishes it, a second one aborts it.

So does a console window that is closed, as far as Windows gives it time.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tracer.windows.exit_handlers import before_console_ends

__all__ = ["StopEvent", "graceful"]

_SLICE_SECONDS = 0.05
_CONSOLE_SECONDS = 4.0  # of the five that Windows gives a process whose console is closed


class StopEvent(threading.Event):
    """An event that a signal handler may set while its own thread waits for it.

    The one of the standard library may not: where the signal comes while `wait` holds the event's lock, `set`
    waits for that lock for ever, in the very thread that holds it. This one has no lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_asked = False

    def set(self) -> None:
        """Request a stop."""
        self._is_asked = True

    def is_set(self) -> bool:
        """Return whether a stop was requested."""
        return self._is_asked

    def clear(self) -> None:
        """Clear the request to stop."""
        self._is_asked = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for a request to stop, at most `timeout` seconds; return whether there was one."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self._is_asked:
            left = _SLICE_SECONDS if until is None else until - time.monotonic()
            if left <= 0:
                break
            time.sleep(min(left, _SLICE_SECONDS))
        return self._is_asked


@contextmanager
def graceful(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C (on Windows Ctrl-Break too) set `stop`, and the next one interrupt as usual.

    A closed console window, a logoff and a shutdown set `stop` too, and wait a few seconds for the block's end. What is
    not finished then can be finished with `regtrace stop`. Where the main thread waits for `stop`, it must be a StopEvent.
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
    ended = threading.Event()

    def end() -> None:
        stop.set()
        ended.wait(_CONSOLE_SECONDS)

    try:
        with before_console_ends(end):
            try:
                yield
            finally:
                ended.set()
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
