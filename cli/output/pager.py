"""The pager of long tables on a terminal: PAGER, else less; none where nobody could use it.

What it gets went through `cli.output.safe` like all that goes to a terminal, so the only escapes in it are the colours of
tables, and less is asked to obey these alone (-R).
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING

from cli.output.console import console, is_terminal

if TYPE_CHECKING:
    from subprocess import Popen

__all__ = ["is_interactive", "page", "pager_command"]

_LESS = ("less", "-FRX")


def is_interactive() -> bool:
    """Tell whether a person reads standard output on a real terminal, and can answer on it."""
    try:
        return os.isatty(sys.stdout.fileno()) and is_terminal(sys.stdin)
    except (OSError, ValueError, AttributeError):
        return False


def pager_command() -> list[str]:
    """Return the command of the pager, with the path of its program; empty where there is none.

    It is what PAGER says, else less. An empty PAGER and `cat` mean none; so does a program that is not there.
    """
    if not is_interactive() or not console.pager or os.environ.get("TERM") == "dumb":
        return []
    wanted = os.environ.get("PAGER")
    try:
        command = list(_LESS) if wanted is None else shlex.split(wanted)
    except ValueError:  # a quote without its other one
        return []
    program = shutil.which(command[0]) if command and command != ["cat"] else None
    return [program, *command[1:]] if program else []


def page(lines: Iterable[str], command: list[str]) -> bool:
    """Show lines, through the pager where they fill more than the screen; return False where its user left before the end.

    Ctrl-C ends what makes the lines; while the user reads the last of them, it is the pager's own.
    """
    left = iter(lines)
    first = list(islice(left, max(shutil.get_terminal_size().lines - 2, 1)))
    if (more := next(left, None)) is None:
        sys.stdout.write("".join(f"{line}\n" for line in first))
        sys.stdout.flush()
        return True
    process = _start(command)
    if process is None:
        for line in chain(first, [more], left):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        return True
    try:
        is_whole = _feed(process, chain(first, [more], left))
    except BaseException:
        _finish(process)
        raise
    _finish(process)
    return is_whole


def _start(command: list[str]) -> "Popen[bytes] | None":
    import subprocess

    sys.stdout.flush()
    # As git does: a pager that is less, by whatever name, shows our colours and leaves short answers on the screen.
    environment = {"LESS": "FRX", "LV": "-c"} | dict(os.environ)
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    except OSError:
        return None


def _feed(process: "Popen[bytes]", lines: Iterator[str]) -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    pipe = process.stdin
    if pipe is None:
        return False
    try:
        for line in lines:
            pipe.write(f"{line}\n".encode(encoding, "backslashreplace"))
        pipe.flush()
    except OSError:  # the user has seen enough
        return False
    return True


def _finish(process: "Popen[bytes]") -> None:
    """Close the pager's input, and wait for its end: it has the terminal."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
