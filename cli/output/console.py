"""Messages for people on standard error: warnings, errors, hints. No data."""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from cli.output.safe import visible

__all__ = [
    "STYLES",
    "Settings",
    "before_words",
    "console",
    "has_color",
    "is_terminal",
    "paint",
    "terminal_width",
    "with_style",
]

before_words: list[Callable[[], None]] = []  # what gives way before a line of words is printed
STYLES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33", "green": "32"}


@dataclass(slots=True)
class Settings:
    """The values of the options that all verbs share; one object for one run of a command.

    Attributes:
        quiet: no progress, no summaries, no hints; warnings and errors remain.
        debug: show the traceback behind an error.
        pager: long tables on a terminal go through a pager.
    """

    quiet: bool = False
    debug: bool = False
    pager: bool = True

    def reset(self) -> None:
        """Restore the defaults before a new command line is read."""
        self.quiet = False
        self.pager = True
        self.debug = bool(os.environ.get("REGTRACE_DEBUG"))

    def say(self, text: str) -> None:
        """Print a line about a result, unless --quiet; on a terminal it is wrapped between words."""
        if self.quiet:
            return
        _print(_wrapped(visible(text)))

    def headline(self, text: str) -> None:
        """Print the title of a step, unless --quiet."""
        if not self.quiet:
            _print(paint(visible(text), "bold", sys.stderr))

    def command(self, text: str) -> None:
        """Print a command to copy, never wrapped, unless --quiet."""
        if not self.quiet:
            _print(paint(visible(text), "dim", sys.stderr))

    def hint(self, *commands: str) -> None:
        """Print useful next commands, if a person reads standard error."""
        if commands and not self.quiet and is_terminal(sys.stderr):
            lead = "next: "
            for command in commands:
                _print(paint(lead + visible(command), "dim", sys.stderr))
                lead = "      "

    @property
    def shows_notes(self) -> bool:
        """Whether `note` prints: what costs a query is asked only then."""
        return not self.quiet and is_terminal(sys.stderr)

    def note(self, text: str) -> None:
        """Print a remark if a person reads standard error, unless --quiet."""
        if self.shows_notes:
            _print(paint(_wrapped(f"regtrace: {visible(text)}"), "dim", sys.stderr))

    def warn(self, text: str) -> None:
        """Print one important sentence; --quiet does not silence it."""
        lead = "regtrace: warning: "
        wrapped = _wrapped(lead + visible(text)).removeprefix(lead)
        _print(paint(lead, "yellow", sys.stderr) + wrapped)

    def error(self, text: str) -> None:
        """Print one sentence with the reason why the command failed."""
        lead = "regtrace: "
        first, *more = text.split("\n")  # the engine points with a caret below the user's own SQL
        wrapped = _wrapped(lead + visible(first)).removeprefix(lead)
        _print(paint(lead, "red", sys.stderr) + wrapped)
        for line in more:
            _print(" " * len(lead) + visible(line))  # indented: no name can fake a line of ours


console = Settings()


def is_terminal(stream: TextIO) -> bool:
    """Return whether a person reads `stream`; a closed or missing stream is no terminal."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def has_color(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that can show colour; NO_COLOR says no (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not is_terminal(stream):
        return False
    # The old Windows console prints escape sequences as rubbish; the new ones announce themselves.
    return os.name != "nt" or any(os.environ.get(name) for name in ("WT_SESSION", "ANSICON", "TERM"))


def paint(text: str, style: str, stream: TextIO) -> str:
    """Return `text` in a style (bold, dim, red, yellow) where `stream` shows colour."""
    return with_style(text, style) if has_color(stream) else text


def with_style(text: str, style: str) -> str:
    """Return `text` between the escape sequences of a style."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def terminal_width() -> int:
    """Return the columns of the terminal; COLUMNS overrides."""
    return max(shutil.get_terminal_size((80, 24)).columns, 40)


def _wrapped(text: str) -> str:
    """Return a line wrapped between words where a terminal would break it anywhere."""
    if not is_terminal(sys.stderr):
        return text
    import textwrap

    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return textwrap.fill(
        text, terminal_width(), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _print(text: str) -> None:
    for give_way in list(before_words):
        give_way()
    try:
        print(text, file=sys.stderr, flush=True)
    except (BrokenPipeError, ValueError):
        return  # nobody listens to words; the data may still have a reader
