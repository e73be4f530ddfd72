"""One line of progress on standard error: MB, events, events/s, time. Silent without a terminal."""

import sys
import time
from typing import Protocol, Self

from cli.output.console import console, is_terminal, terminal_width

__all__ = ["Measured", "ProgressLine", "count_text", "duration_text", "progress_text", "size_text"]

_INTERVAL = 0.1  # seconds between redraws
_BAR = 20  # letters of a full bar
_KNOWN_SHARE, _KNOWN_SECONDS = 0.05, 1.0  # from here on the time left is known


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

    The time left is that of the bytes still to be read, at the speed so far; it is shown once a twentieth of them is read.
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
    rate = progress.events / seconds if seconds > 0 else 0
    parts = [f"{count_text(progress.events)} events", f"{count_text(round(rate))} events/s"]
    done, total = progress.bytes_done, progress.bytes_total
    if not done:
        return ", ".join([*parts, duration_text(seconds)])
    if not total:
        return ", ".join([size_text(done), *parts, duration_text(seconds)])
    share = min(done / total, 1.0)
    filled = int(share * _BAR)
    bar = f"[{'#' * filled}{'-' * (_BAR - filled)}] {int(share * 100)} %"
    left = duration_text(seconds * (1 - share) / share) if share < 1 else ""
    is_known = share >= _KNOWN_SHARE and seconds >= _KNOWN_SECONDS
    ending = "finishing" if not left else f"{left} left" if is_known else duration_text(seconds)
    return f"{bar} " + ", ".join([f"{size_text(done)} of {size_text(total)}", *parts, ending])


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
