"""A child process as its parent sees it: started, greeted, asked, and killed.

Pipes and a window of memory, no shell, no fork of this process: the same on Windows. The child finds its modules on this process's
search path, but never in the current folder, which may be full of somebody else's files. It ends by itself when its
input closes, so a killed parent leaves none behind.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, cast

from tracer.errors import SourceError
from tracer.evtx.chunk import CHUNK_SIZE
from tracer.evtx.protocol import Answer, ProtocolError, read_answer, read_greeting, write_stretch
from tracer.evtx.window import Window

__all__ = ["CHILD", "Child"]

CHILD = ("-c", "from tracer.evtx.child import main; main()")  # starts sooner than a module that is run


class Child:
    """One running child."""

    def __init__(self, deadline_s: float, program: Sequence[str] = CHILD) -> None:
        """Start it.

        Args:
            deadline_s: processor time that it has for a chunk.
            program: what the interpreter is to run.

        Raises:
            SourceError: it does not start.
        """
        self._window = Window()
        self._command = [sys.executable, "-P", "-S", *program, str(deadline_s), self._window.argument]
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
                pass_fds=self._window.inherited,
            )
        except OSError as error:
            self._window.close()
            raise SourceError(
                f"event logs are decoded in a process of their own, and {sys.executable} cannot be started: "
                f"{error.strerror or error}"
            ) from error
        self._source = cast("BinaryIO", self._process.stdout)
        self._sink = cast("BinaryIO", self._process.stdin)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def greet(self) -> None:
        """Wait until it is ready.

        Raises:
            SourceError: it ended, or cannot load the library.
        """
        try:
            failure = read_greeting(self._source)
        except ProtocolError as error:
            raise SourceError(
                "the process that decodes event logs ended at its start; run it by hand to see why: "
                + shlex.join(self._command)
            ) from error
        if failure is not None:
            raise SourceError(
                f"the library evtx, which decodes event logs, cannot be loaded ({failure}); "
                "install it: python -m pip install evtx"
            )

    def answer(self, path: str, begin: int, end: int) -> Answer | None:
        """Have chunks of a file decoded; None if the child ended before it answered.

        Args:
            path: the log.
            begin: where the first chunk begins.
            end: where the last one ends.

        Raises:
            OSError: the child cannot read the file.
        """
        try:
            write_stretch(self._sink, path, begin, end)
        except OSError:
            return None
        try:
            return read_answer(self._source, -(-(end - begin) // CHUNK_SIZE), self._window.memory)
        except ProtocolError:
            return None

    def kill(self) -> None:
        """End it at once, if it runs; the thread that waits for its answer sees that it ended."""
        self._process.kill()

    def close(self) -> None:
        """End it and leave nothing of it behind; for the thread that asks it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._sink, self._source):
            try:
                pipe.close()
            except OSError:  # bytes were waiting for a process that is gone
                continue
        self._window.close()


def _search_path() -> list[str]:
    """Return where this process finds modules, without places that depend on the current folder."""
    ours = str(Path(__file__).resolve().parents[2])
    return [ours, *(place for place in sys.path if Path(place).is_absolute())]
