"""The program that a recording is made around: started, waited for, its exit code kept. It is never ended by us."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Any

from tracer.errors import UsageError
from tracer.live.process_snapshot import SNAPSHOT
from tracer.processes import ProcessRecord

__all__ = ["Program"]


class Program:
    """A program and, where asked for, the processes it starts.

    Attributes:
        command: its path and arguments.
        children: whether it counts as running while a process that it started runs.
    """

    def __init__(self, command: Sequence[str], *, children: bool = False) -> None:
        self.command, self.children = tuple(command), children
        self._process: subprocess.Popen[bytes] | None = None
        self._family: dict[int, Any] = {}

    @property
    def exit_code(self) -> int | None:
        """What the program returned; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def pid(self) -> int | None:
        """Its process id; None before it was started."""
        return None if self._process is None else self._process.pid

    def check(self) -> None:
        """Raise UsageError where there is no such program, before anything else is started."""
        if shutil.which(self.command[0]) is None:
            raise UsageError(
                f"there is no program {self.command[0]!r} to run; give its path, or a name that PATH finds"
            )

    def start(self) -> ProcessRecord:
        """Start it with our standard streams, and return what the capture should know of it.

        Raises:
            UsageError: the system cannot run it.
        """
        try:
            self._process = subprocess.Popen(self.command)
        except OSError as error:
            raise UsageError(f"{self.command[0]} cannot be run: {error.strerror or error}") from error
        return ProcessRecord(
            kind="rundown",
            provider=SNAPSHOT,
            time_ns=time.time_ns(),
            pid=self._process.pid,
            parent_pid=os.getpid(),
            command_line=subprocess.list2cmdline(self.command),
        )

    def has_ended(self) -> bool:
        """Return whether it ended, and with `children` everything that it started as far as it was seen."""
        if self._process is None:
            return False
        if not self.children:
            return self._process.poll() is not None
        import psutil

        # Asked before the program itself: whoever starts a process and ends is still a parent here.
        for known in [self._process.pid, *self._family]:
            try:
                for child in psutil.Process(known).children():
                    self._family.setdefault(child.pid, child)
            except psutil.Error:
                continue
        running = [child for child in self._family.values() if _runs(child)]
        return self._process.poll() is not None and not running


def _runs(process: Any) -> bool:  # noqa: ANN401
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
