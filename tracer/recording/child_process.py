"""The program that is recorded: regtrace starts it, waits for it and keeps its exit code, but never ends it.

What is checked is what is run. A bare name is looked for once, in the current folder and PATH with the endings of PATHEXT
(`npm` is `npm.cmd`), and that file is started: CreateProcess alone tries only `.exe` (Microsoft Learn,
CreateProcessW, lpCommandLine). Batch files are run by cmd.exe, which reads the command line by rules of its own, so words
that it would change (`%`, `"`, line ends) are refused, and all others stand in double quotes.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from tracer.errors import UsageError
from tracer.rows.processes import ProcessRecord
from tracer.windows.process_snapshot import SNAPSHOT

__all__ = ["Launch", "Program", "is_windows", "launch_of"]

_BATCH, _PROGRAMS = (".bat", ".cmd"), (".exe", ".com")
_RUN_BY = {
    ".msi": "msiexec /i FILE", ".msp": "msiexec /p FILE", ".ps1": "powershell -File FILE", ".vbs": "wscript FILE",
    ".vbe": "wscript FILE", ".js": "wscript FILE", ".jse": "wscript FILE", ".wsf": "wscript FILE",
    ".msc": "mmc FILE", ".reg": "reg import FILE", ".py": "py FILE",
}  # fmt: skip
_WORDS_THAT_CMD_CHANGES = '%"\r\n\0'


@dataclass(frozen=True, slots=True)
class Launch:
    """The command line that is started.

    Attributes:
        executable: the file.
        arguments: as subprocess takes them: words, or on Windows a whole command line.
    """

    executable: str
    arguments: tuple[str, ...] | str


def is_windows() -> bool:
    """Return whether programs are started by the rules of Windows."""
    return os.name == "nt"


def launch_of(command: Sequence[str], file: str, environment: Mapping[str, str]) -> Launch:
    """Return how a file is started on Windows.

    Args:
        command: the words of the user.
        file: what the first one is.
        environment: says where cmd.exe is.

    Raises:
        UsageError: Windows cannot start it so; the sentence says how it can.
    """
    ending = PureWindowsPath(file).suffix.lower()
    if ending in _BATCH:
        return _batch_launch(command, file, environment)
    if ending not in _PROGRAMS:
        by = _RUN_BY.get(ending, "the program that opens it").replace("FILE", file)
        raise UsageError(
            f"{file} is a file that Windows opens with another program; run that one, such as {by}"
        )
    try:
        with open(file, "rb") as opened:  # noqa: PTH123
            start = opened.read(2)
    except OSError:  # an alias of an app cannot be read, and can be run
        start = b"MZ"
    if start != b"MZ" and ending != ".com":
        raise UsageError(f"{file} is no program that Windows can run: it does not begin as one; give another")
    return Launch(file, tuple(command))


def _batch_launch(command: Sequence[str], file: str, environment: Mapping[str, str]) -> Launch:
    words = [file, *command[1:]]
    wrong = next((word for word in words if any(sign in word for sign in _WORDS_THAT_CMD_CHANGES)), None)
    if wrong is not None:
        raise UsageError(
            f"{file} is a batch file, and cmd.exe changes what it is given in {wrong!r} (a per cent sign, a double quote or "
            "a line end); put the call into a batch file of your own and run that"
        )
    shell = environment.get("COMSPEC") or "cmd.exe"
    # /d no AutoRun, /v:off no !names!, /s strips the outer quotes only; a backslash before a quote is doubled for
    # the programs that the batch file hands its words to.
    line = " ".join(f'"{word}{chr(92) * (len(word) - len(word.rstrip(chr(92))))}"' for word in words)
    return Launch(shutil.which(shell) or shell, f'"{shell}" /d /v:off /s /c "{line}"')


class Program:
    """A program and, with `children`, the processes it starts.

    Attributes:
        command: its path and arguments.
        children: whether it counts as running while a process that it started runs.
    """

    def __init__(self, command: Sequence[str], *, children: bool = False) -> None:
        self.command, self.children = tuple(command), children
        self._launch: Launch | None = None
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
        """Raise UsageError if the program cannot be run, before anything else is started."""
        self._launch = self._find()

    def _find(self) -> Launch:
        file = _which(self.command[0])
        if file is None:
            raise UsageError(
                f"there is no program {self.command[0]!r} to run; give its path, or a name that PATH finds"
            )
        file = str(Path(file).absolute())  # cmd.exe and the program may look elsewhere for a bare name
        return launch_of(self.command, file, os.environ) if is_windows() else Launch(file, self.command)

    def start(self) -> ProcessRecord:
        """Start the program with our standard streams, and return its process record for the capture.

        Raises:
            UsageError: the system cannot run it.
        """
        launch = self._launch or self._find()
        try:
            self._process = subprocess.Popen(launch.arguments, executable=launch.executable)
        except OSError as error:
            raise UsageError(f"{self.command[0]} cannot be run: {error.strerror or error}") from error
        return ProcessRecord(
            kind="rundown",
            provider=SNAPSHOT,
            time_ns=time.time_ns(),
            pid=self._process.pid,
            parent_pid=os.getpid(),
            command_line=launch.arguments
            if isinstance(launch.arguments, str)
            else subprocess.list2cmdline(launch.arguments),
        )

    def has_ended(self) -> bool:
        """Return whether the program ended, with `children` also all processes it was seen to start."""
        if self._process is None:
            return False
        if not self.children:
            return self._process.poll() is not None
        import psutil

        # Asked before the program itself: whoever starts a process and ends is still a parent here.
        for pid in [self._process.pid, *self._family]:
            try:
                for child in psutil.Process(pid).children():
                    self._family.setdefault(child.pid, child)
            except psutil.Error:
                continue
        running = [child for child in self._family.values() if _runs(child)]
        return self._process.poll() is not None and not running


def _which(name: str) -> str | None:
    """Return the file of a program. A Windows path may omit the extension, which Python 3.11 ignores."""
    if is_windows() and os.path.dirname(name):  # noqa: PTH120
        endings = os.environ.get("PATHEXT", ".COM;.EXE;.BAT;.CMD").split(";")
        for candidate in (name, *(name + ending for ending in endings)):
            if Path(candidate).is_file():
                return candidate
    return shutil.which(name)


def _runs(process: Any) -> bool:  # noqa: ANN401
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
