"""One line of progress on standard error: MB, events, events/s, time. Silent without a terminal."""

import sys
import time
from typing import Protocol, Self

from cli.output.console import console, is_terminal, terminal_width

__all__ = ["Measured", "ProgressLine", "count_text", "duration_text", "progress_text", "size_text"]

_INTERVAL = 0.1  # seconds between redraws


class Measured(Protocol):
    """The report of a long job: see tracer.ingest.pipeline.Progress."""

    @property
    def bytes_done(self) -> int:
        """Bytes of the sources that were read."""

    @property
    def bytes_total(self) -> int:
        """Bytes of all sources; 0 where unknown."""

    @property
    def events(self) -> int:
        """Events so far."""

    @property
    def note(self) -> str:
        """A sentence for the user, printed once; usually empty."""


class ProgressLine:
    """The progress line of a job; a context manager that leaves no half line behind.

    There is no estimate of the time left: the stages of a job differ in speed, so it would be wrong.
    """

    def __init__(self, verb: str) -> None:
        self.events = 0
        self._verb = verb
        self._shown = is_terminal(sys.stderr) and not console.quiet
        self._started = time.monotonic()
        self._next = 0.0
        self._dirty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def _clear(self) -> None:
        if self._dirty:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._dirty = False

    @property
    def elapsed(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._started

    def __call__(self, progress: Measured) -> None:
        """Store `progress`, and redraw the line at intervals."""
        self.events = progress.events
        if progress.note:
            self._clear()
            console.say(progress.note)
        now = time.monotonic()
        if not self._shown or now < self._next:
            return
        self._next = now + _INTERVAL
        self._dirty = True
        line = f"{self._verb}: {progress_text(progress, self.elapsed)}"
        sys.stderr.write(f"\r{line[: terminal_width() - 1]}\x1b[K")
        sys.stderr.flush()


def progress_text(progress: Measured, seconds: float) -> str:
    """Return the text of the progress line."""
    share = f" {progress.bytes_done * 100 // progress.bytes_total} %," if progress.bytes_total else ""
    rate = progress.events / seconds if seconds > 0 else 0
    read = f"{size_text(progress.bytes_done)},{share} " if progress.bytes_done else ""
    return (
        f"{read}{count_text(progress.events)} events, "
        f"{count_text(round(rate))} events/s, {duration_text(seconds)}"
    )


def count_text(number: int) -> str:
    """Return a count with thin groups of three.

    >>> count_text(1234567)
    '1,234,567'
    """
    return f"{number:,}"


def size_text(size: int) -> str:
    """Return a size in decimal units.

    >>> size_text(999), size_text(1_500_000)
    ('999 bytes', '1.5 MB')
    """
    if size < 1000:
        return f"{size} bytes"
    for unit, scale in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if size < scale * 999.95 or unit == "GB":
            return f"{size / scale:,.1f} {unit}"
    raise AssertionError


def duration_text(seconds: float) -> str:
    """Return a duration in common units.

    >>> duration_text(3.21), duration_text(75), duration_text(3700)
    ('3.2 s', '1 min 15 s', '1 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
