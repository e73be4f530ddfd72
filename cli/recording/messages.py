"""Messages of a recording: the line while it runs, and the summary at its end."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from cli.output.console import console, is_terminal, paint, terminal_width
from cli.output.phrases import name_summary, plural, quoted
from cli.output.progress import duration_text, progress_text, size_text

if TYPE_CHECKING:
    from pathlib import Path

    from tracer.progress import Progress
    from tracer.recording.recorder import RecorderStatus
    from tracer.store.manifest import Manifest

__all__ = [
    "RecordingLine",
    "ended_text",
    "lost_text",
    "option_note",
    "say_result",
    "seed_text",
    "status_text",
]

_INTERVAL = 0.25
_ADVICE = (
    "record less (--operation write), or give it more buffers (--buffers); `regtrace info` says when it was"
)
_ENDS = {
    "duration": "its time was up",
    "size": "the largest size was reached",
    "disk": "the disk is nearly full",
    "other": "somebody else stopped its session",
    "stop": "you ended it",
    "snapshot": "the ring goes on",
}


class RecordingLine:
    """The line on standard error while a recording runs and becomes a capture; silent without a terminal."""

    def __init__(
        self, stop: threading.Event | None = None, *, hint: str = "Ctrl-C ends it", note: str | None = None
    ) -> None:
        """Show the reports of a recording.

        Args:
            stop: set once it is asked to end.
            hint: how to end it.
            note: said once, when the recording runs: not before, for what it tells has not happened yet.
        """
        self._note = note
        self._shown = is_terminal(sys.stderr) and not console.quiet
        self._stop, self._hint = stop, hint
        self._next, self._dirty, self._phase = 0.0, False, ""
        self._reading_since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._clear()

    def __call__(self, status: "RecorderStatus | Progress") -> None:
        """Show the progress, at intervals or when a new phase begins."""
        phase = getattr(status, "phase", "reading")
        now = time.monotonic()
        if self._note is not None and phase != "starting":
            self._clear()
            console.say(self._note)
            self._note = None
        if phase == "reading" and self._phase != "reading":
            self._reading_since = now
        if not self._shown or (phase == self._phase and now < self._next):
            self._phase = phase
            return
        self._phase, self._next = phase, now + _INTERVAL
        if phase == "reading":
            plain, lost = f"reading: {progress_text(status, now - self._reading_since)}", ""  # type: ignore[arg-type]
        else:
            plain, lost = status_text(status)  # type: ignore[arg-type]
            if phase == "recording":
                ending = self._stop is not None and self._stop.is_set()
                plain += f"; {'finishing' if ending else self._hint}"
        room = terminal_width() - 1
        lost = lost[: max(0, room)]
        plain = plain[: room - len(lost)]
        self._dirty = True
        sys.stderr.write(f"\r{paint(lost, 'red', sys.stderr)}{plain}\x1b[K")
        sys.stderr.flush()

    def _clear(self) -> None:
        if self._dirty:
            self._dirty = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def status_text(status: "RecorderStatus") -> tuple[str, str]:
    """Return the state of a recording, and its losses (empty where there are none)."""
    lost = lost_text(status.events_lost, status.buffers_lost)
    written = "in memory"
    if status.buffers is not None:
        written = f"{plural(status.buffers, 'buffer')} written ({size_text(status.bytes or 0)})"
    words = f"{status.phase}: {duration_text(status.seconds)}, {written}"
    return (words, f"LOST {lost} ") if lost else (f"{words}, nothing lost", "")


def lost_text(events: int, buffers: int) -> str:
    """Return the losses in words; empty where there are none.

    >>> lost_text(0, 0), lost_text(1200, 1)
    ('', '1,200 events and 1 buffer')
    """
    parts = [plural(count, noun) for count, noun in ((events, "event"), (buffers, "buffer")) if count]
    return " and ".join(parts)


def option_note(word: int) -> str:
    """Return the note about the option word for the user, before it is set."""
    from tracer.session.options import OPTION_DATA, OPTION_NAMES, OPTION_PREVIOUS

    what = [
        name
        for bit, name in (
            (OPTION_NAMES, "key names"),
            (OPTION_DATA, "data"),
            (OPTION_PREVIOUS, "previous data"),
        )
        if word & bit
    ]
    return (
        f"Windows' registry provider now reports {', '.join(what)} (option word 0x{word:x}): to every trace on this "
        "machine, and it stays so after the recording"
    )


def ended_text(recording: Mapping[str, Any]) -> str:
    """Return the reason why a recording ended."""
    program = recording.get("program")
    ended_by = recording.get("ended_by")
    if program and ended_by == "program":
        return f"{program['command'][0]} ended with exit code {program['exit_code']}"
    words = _ENDS.get(str(ended_by), str(ended_by))
    if program:
        code = program["exit_code"]
        words += f"; {program['command'][0]} " + (
            "still runs" if code is None else f"ended with exit code {code}"
        )
    return words


def say_result(target: "Path", manifest: "Manifest") -> None:
    """Print the summary of a recording: its events, how sure their names are, and its losses."""
    recording, totals = manifest.settings["recording"], manifest.totals
    seconds = max(0.0, (recording["ended_ns"] - recording["started_ns"]) / 1e9)
    console.say(
        f"{target}: {plural(totals.get('events', 0), 'event')}, {plural(totals.get('keys', 0), 'key')}, "
        f"{plural(totals.get('processes', 0), 'process')}, recorded for {duration_text(seconds)}; {ended_text(recording)}"
    )
    console.say(name_summary(totals.get("names", {})))
    for line in _data_lines(recording):
        console.say(line)
    seed = recording["seed"] or {}
    if "named" in seed:
        console.say(seed_text(seed))
    unread = seed.get("failed")
    if unread is not None:
        console.warn(f"keys that were open before the recording have no name: {unread}")
    words = lost_text(recording["lost"]["events"], recording["lost"]["buffers"])
    if words:
        console.warn(f"{words} lost, so the capture is incomplete; {_ADVICE}")
    elif not manifest.complete:
        console.warn(f"the capture is incomplete; `regtrace info {quoted(target)}` says what is missing")
    else:
        console.say("losses: none")


def seed_text(seed: Mapping[str, Any]) -> str:
    """Return the result of the handle table about open keys."""
    when = "at the end" if seed["read"] == "end" else f"{seed['after_start_s']:.1f} s after the start"
    words = f"open keys: {seed['named']:,} named {when}"
    if seed["unnamed"]:
        words += f", {seed['unnamed']:,} without a name"
    if seed["refused_processes"]:
        words += f", {plural(seed['refused_processes'], 'process')} refused"
    return words


def _data_lines(recording: Mapping[str, Any]) -> Iterator[str]:
    arrived, option_words = recording["arrived"], recording["option_word_asks_for"]
    writes = arrived["value_writes"]
    if "data" in option_words:
        if writes and not arrived["rows_with_data"]:
            yield "data: asked for, but no record carried any; another tool may have taken the option word"
        else:
            previous = arrived["rows_with_previous_data"]
            yield (
                f"data: {plural(arrived['rows_with_data'], 'row')} with data, {previous:,} with what was there before, "
                f"{plural(writes, 'value write')}"
            )
