"""A terminal for tests and for the recorded pages: a command runs on it, and what it shows comes back as text.

Needs a pseudo terminal, so not Windows.
"""

import contextlib
import importlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.app import main

ROOT = Path(__file__).resolve().parents[2]
_CONTROL = re.compile(r"\x1b\[[=?>]?[0-9;?]*[A-Za-z]")


@dataclass
class Screen:
    """What a terminal was sent: letters and sequences as they came, and the exit code of the command."""

    sent: str = ""
    code: int = 0

    @property
    def lines(self) -> list[str]:
        """The lines without colours; of a line that was overwritten the last form."""
        text = _CONTROL.sub("", self.sent).replace("\r\n", "\n")
        return [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]


@contextlib.contextmanager
def terminal(columns: int) -> Iterator[tuple[int, Screen]]:
    """Open a terminal; yields the file descriptor to write to, and what it was sent, whole once the block has ended."""
    pty: Any = importlib.import_module("pty")  # Windows has none
    fcntl: Any = importlib.import_module("fcntl")
    termios: Any = importlib.import_module("termios")

    ours, theirs = pty.openpty()
    size = (500).to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    screen, blocks = Screen(), []

    def read() -> None:
        with contextlib.suppress(OSError):  # how Linux says that the other side has closed
            while block := os.read(ours, 65536):
                blocks.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield theirs, screen
    finally:
        os.close(theirs)
        reader.join()
        os.close(ours)
        screen.sent = b"".join(blocks).decode("utf-8", "surrogateescape")


def settings(columns: int, **more: str) -> dict[str, str]:
    """Return the environment of a command on a terminal."""
    own = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "500", "PAGER": "cat", "PYTHONPATH": str(ROOT)}
    return {name: text for name, text in os.environ.items() if name != "NO_COLOR"} | own | more


def run(
    command: str, folder: Path, *, columns: int = 80, errors: bool = True, codes: Sequence[int] = (0,)
) -> Screen:
    """Run `regtrace ...`, a line for the shell, in a process of its own; `errors`: standard error is shown too."""
    with terminal(columns) as (theirs, screen):
        screen.code = subprocess.run(
            f"{sys.executable} -m cli.app {command.removeprefix('regtrace ')}",
            shell=True, cwd=folder, env=settings(columns), stdin=subprocess.DEVNULL, timeout=120, check=False,
            stdout=theirs, stderr=theirs if errors else subprocess.DEVNULL,
        ).returncode  # fmt: skip
    assert screen.code in codes, screen.sent
    return screen


def call(*words: object, columns: int = 80) -> Screen:
    """Run a verb inside this process, which is quicker: its standard output and standard error are the terminal."""
    before, kept = (sys.stdout, sys.stderr), dict(os.environ)
    with terminal(columns) as (theirs, screen):
        stream = os.fdopen(os.dup(theirs), "w", encoding="utf-8", newline="")
        os.environ.update(settings(columns))
        os.environ.pop("NO_COLOR", None)
        sys.stdout = sys.stderr = stream
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            screen.code = int(end.code or 0)
        finally:
            sys.stdout, sys.stderr = before
            os.environ.clear()
            os.environ.update(kept)
            stream.close()
    return screen
