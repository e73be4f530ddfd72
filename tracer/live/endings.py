"""What must be done before this process ends, however it ends: sessions outlive their process.

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

__all__ = ["CONSOLE_ENDS", "before_console_ends", "forget", "remember", "run_all"]

CONSOLE_ENDS = (2, 5, 6)  # CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT
_IS_WINDOWS = sys.platform == "win32"

_pending: dict[object, Callable[[], object]] = {}
_guard = threading.Lock()
_undo: list[Callable[[], object]] = []


def remember(key: object, action: Callable[[], object]) -> None:
    """Have `action` called before this process ends, unless `forget` comes first; it must not raise."""
    with _guard:
        if not _pending:
            atexit.register(run_all)
            _undo.append(_add_handler(lambda _: run_all()))
        _pending[key] = action


def forget(key: object) -> None:
    """Take back what was asked for that key."""
    with _guard:
        if _pending.pop(key, None) is not None and not _pending:
            atexit.unregister(run_all)
            while _undo:
                _undo.pop()()


def run_all() -> None:
    """Do everything that is pending."""
    for action in list(_pending.values()):
        action()


@contextmanager
def before_console_ends(action: Callable[[], object]) -> Iterator[None]:
    """Call `action` in the block where the console is closed, the user logs off, or Windows shuts down.

    It runs in another thread, before what `remember` asked for, and has a few seconds.
    """
    undo = _add_handler(lambda _: action())
    try:
        yield
    finally:
        undo()


def _add_handler(action: Callable[[int], object]) -> Callable[[], object]:
    """Add a console handler for the ends of a process, and return what removes it."""
    if not _IS_WINDOWS:
        return lambda: None
    prototype: Any = vars(ctypes)["WINFUNCTYPE"](ctypes.c_int, ctypes.c_uint32)
    return _add(prototype, action, _set_handler())


def _set_handler() -> Callable[[Any, int], int]:
    from tracer.live.kernel import bind

    kernel = bind("kernel32", SetConsoleCtrlHandler=(ctypes.c_int, ctypes.c_void_p, ctypes.c_int))
    return lambda handler, add: kernel.SetConsoleCtrlHandler(ctypes.cast(handler, ctypes.c_void_p), add)


def _add(
    prototype: Any,  # noqa: ANN401
    action: Callable[[int], object],
    set_handler: Callable[[Any, int], int],
) -> Callable[[], object]:
    def handle(event: int) -> int:
        if event in CONSOLE_ENDS:
            action(event)
        return 0  # the next handler's turn, in the end Windows' own, which ends the process

    handler = prototype(handle)
    set_handler(handler, 1)
    return lambda: set_handler(handler, 0)  # keeps the handler's memory as long as Windows has its address
