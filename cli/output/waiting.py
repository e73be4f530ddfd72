"""A line on standard error that moves while a person waits; drawn by a thread, and only after half a second."""

import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cli.output.console import before_words, console, is_terminal

__all__ = ["Waiting", "goes_to_file", "waiting", "while_waiting"]

_AFTER = 0.5  # seconds: less is no wait
_STEP = 0.1
_FRAMES = "|/-\\"


class Waiting:
    """The line; `begin` and `end` may be called at any time, also twice."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._drawn = False
        self._began = 0.0
        self.rows = 0

    def begin(self) -> None:
        """Begin to wait; nothing is ever drawn where no person reads standard error, or with --quiet."""
        if self._thread is not None or console.quiet or not is_terminal(sys.stderr):
            return
        self.rows, self._began = 0, self._clock()
        self._over.clear()
        before_words.append(self._wipe)
        self._thread = threading.Thread(target=self._run, name="regtrace-waiting", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wipe the line and draw no more."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._over.set()
        thread.join()
        self._wipe()
        before_words.remove(self._wipe)

    def _run(self) -> None:
        if self._over.wait(_AFTER):
            return
        frame = 0
        while True:
            with self._lock:
                if self._over.is_set():
                    return
                self._draw(_FRAMES[frame % len(_FRAMES)])
            frame += 1
            if self._over.wait(_STEP):
                return

    def _draw(self, frame: str) -> None:
        rows = f", {self.rows:,} rows" if self.rows else ""
        try:
            sys.stderr.write(f"\r{frame} working, {self._clock() - self._began:.0f} s{rows}\x1b[K")
            sys.stderr.flush()
        except (OSError, ValueError):
            self._over.set()
            return
        self._drawn = True

    def _wipe(self) -> None:
        with self._lock:
            if not self._drawn:
                return
            self._drawn = False
            try:
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()
            except (OSError, ValueError):
                return


waiting = Waiting()


@contextmanager
def while_waiting() -> Iterator[None]:
    """Show the line while the block runs, unless somebody ends it before."""
    waiting.begin()
    try:
        yield
    finally:
        waiting.end()


def goes_to_file() -> bool:
    """Tell whether standard output is a file: nobody else writes to the terminal then, as the end of a pipe might."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False
