"""All errors that regtrace raises, and what each means to a user.

    RegtraceError                 exit code 1
    ├── UsageError                exit code 2: the question cannot be understood (key, time, zone, column)
    ├── SourceError               a source file cannot be read as what it should be
    ├── CaptureError              a capture directory is missing, incomplete or of another format
    ├── TargetError               an output cannot be written, or exists and --force was not given
    ├── SessionError              a tracing session cannot be started, asked or stopped
    │   ├── SessionGone           no session of that name runs (any more)
    │   └── SessionLimit          no session or provider slot is free
    ├── TimeLimit                 a question takes longer than the asker allows
    └── PlatformError             exit code 5: the operation needs Windows, or rights
        └── NotElevated           the process lacks the rights for tracing

A message names what failed, on what, and what to do next. Damaged input is not an error: it is counted
in `tracer.diagnostics` and whatever could be read is kept.
"""

__all__ = [
    "CaptureError",
    "NotElevated",
    "PlatformError",
    "RegtraceError",
    "RegtraceWarning",
    "SessionError",
    "SessionGone",
    "SessionLimit",
    "SourceError",
    "TargetError",
    "TimeLimit",
    "UsageError",
    "reason_of",
]


_LONGEST_REASON = 200  # letters: a library may quote what a file says, and a file may say anything


def reason_of(error: Exception) -> str:
    r"""Return what another library's error says, for a sentence of ours: one line, not long, without its full stop.

    >>> reason_of(ValueError("bad magic.\nsee the manual")), reason_of(EOFError())
    ('bad magic', 'EOFError')
    """
    text = str(error).strip().partition("\n")[0].rstrip(". ")
    return f"{text[:_LONGEST_REASON]}…" if len(text) > _LONGEST_REASON else text or type(error).__name__


class RegtraceError(Exception):
    """An error that a user can understand and act on; `exit_code` is what the command line returns."""

    exit_code = 1

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows (IPython asks for it): the sentence, which says what to do, and no page of frames.

        Python's own traceback is not touched.
        """
        at = self.__traceback__
        while at is not None and at.tb_frame.f_globals.get("__name__") != "__main__":
            at = at.tb_next
        where = "" if at is None else f" in line {at.tb_lineno} of the cell"
        return [f"{type(self).__name__}{where}: {self}"]


class RegtraceWarning(UserWarning):
    """A warning that an answer does not show, such as a key or process that the capture does not contain."""


class UsageError(RegtraceError):
    """The request itself is wrong: an unknown column, zone, operation, or a malformed key or time."""

    exit_code = 2


class SourceError(RegtraceError):
    """A source cannot be read: it is empty, of an unknown kind, or damaged at its start."""


class CaptureError(RegtraceError):
    """A capture directory cannot be opened: no manifest, a part missing, or another format version."""


class TargetError(RegtraceError):
    """An output cannot be written: it exists, its folder is missing, or the disk refuses."""


class TimeLimit(RegtraceError):
    """A question takes longer than whoever asks allows (`analysis.engine.interruption.time_limit`)."""


class PlatformError(RegtraceError):
    """The operation needs Windows, or rights that this process does not have."""

    exit_code = 5


class NotElevated(PlatformError):
    """The process lacks the rights for tracing: it is not elevated, or may start a session but not trace the kernel."""


class SessionError(RegtraceError):
    """A tracing session cannot be started, asked or stopped.

    Attributes:
        code: Windows' error number; None if there is none.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class SessionGone(SessionError):
    """No session of that name runs, or another program's session took the name."""


class SessionLimit(SessionError):
    """Windows has no free session, or the provider is enabled in the largest possible number of sessions."""
