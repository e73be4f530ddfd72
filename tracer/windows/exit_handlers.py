"""Exit handlers: actions before this process ends, because sessions outlive their process.

Python's own ways (an exception, Ctrl-C, exit) are covered by atexit. A closed console window, a logoff and a shutdown end
a process without them: Windows calls a console handler in a thread of its own and ends the process when that returns
or its time is up, 5 seconds as a rule (Microsoft Learn, HandlerRoutine, Timeouts). A logoff or a shutdown may
come without any call (SetConsoleCtrlHandler, Remarks: programs that load user32.dll), and TerminateProcess always
does: what is left then is found by `regtrace doctor`, and `regtrace stop` publishes a recording.
"""

import atexit
import ctypes
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = [
    "CONSOLE_ENDS", "add_console_handler", "before_console_ends", "console_event", "forget", "remember", "run_all",
]  # fmt: skip

CONSOLE_ENDS = (2, 5, 6)  # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
_IS_WINDOWS = sys.platform == "win32"

_pending: dict[object, Callable[[], object]] = {}
_first: list[Callable[[], object]] = []
_guard = threading.RLock()
_undo: list[Callable[[], object]] = []


def remember(key: object, action: Callable[[], object]) -> None:
    """Register an action to be called before this process ends, until `forget`; it must not raise."""
    with _guard:
        if not _pending:
            atexit.register(run_all)
        _pending[key] = action
        _handle()


def forget(key: object) -> None:
    """Remove the action registered for that key."""
    with _guard:
        if _pending.pop(key, None) is not None and not _pending:
            atexit.unregister(run_all)
        _handle()


def run_all() -> None:
    """Call all registered actions."""
    for action in list(_pending.values()):
        action()


@contextmanager
def before_console_ends(action: Callable[[], object]) -> Iterator[None]:
    """Call `action` in the block where the console is closed, the user logs off, or Windows shuts down.

    It runs in another thread and before what `remember` asked for; together they have a few seconds.
    """
    with _guard:
        _first.append(action)
        _handle()
    try:
        yield
    finally:
        with _guard:
            _first.remove(action)
            _handle()


def console_event(event: int) -> int:
    """Call the actions if the process is about to end; return 0, so that Windows' own handler ends it."""
    if event in CONSOLE_ENDS:
        for action in reversed(_first):
            action()
        run_all()
    return 0


def _handle() -> None:
    """Keep a console handler installed exactly as long as there are actions."""
    has_actions = bool(_pending or _first)
    if has_actions and not _undo:
        _undo.append(add_console_handler(console_event))
    while _undo and not has_actions:
        _undo.pop()()


def add_console_handler(handle: Callable[[int], int]) -> Callable[[], object]:
    """Add a console handler to this process (on Windows), and return a function that removes it."""
    if not _IS_WINDOWS:
        return lambda: None
    from tracer.windows.system_calls import bind

    prototype: Any = vars(ctypes)["WINFUNCTYPE"](ctypes.c_int, ctypes.c_uint32)
    kernel = bind("kernel32", SetConsoleCtrlHandler=(ctypes.c_int, prototype, ctypes.c_int))
    handler = prototype(handle)
    kernel.SetConsoleCtrlHandler(handler, 1)
    return lambda: kernel.SetConsoleCtrlHandler(
        handler, 0
    )  # and keeps the memory that Windows has an address of
