"""New lines: which lines of regtrace ran for the first time. Inputs that reach one are kept and changed further.

Python 3.12 and newer tell each line once (sys.monitoring), which costs next to nothing. Python 3.11 calls back for each
line (sys.settrace), so that only one input in eight is looked at there, and a function all of whose lines have run no
more.
"""

import os
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

__all__ = ["EVERY", "NewLines"]

ROOT = Path(__file__).resolve().parents[2]
EVERY = 1 if sys.version_info >= (3, 12) else 8  # inputs, of which one is looked at
Line = tuple[str, int]  # a file below the checkout, and a line


class NewLines:
    """Lines of tracer/ and analysis/ that have not run yet in this process, nor in others that told theirs."""

    def __init__(self) -> None:
        self.seen: set[Line] = set()
        self._fresh: set[Line] = set()
        self._waiting: dict[CodeType, set[int] | None] = {}
        self._is_on = False
        self._disable: object = None
        if sys.version_info >= (3, 12):
            monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
            monitoring.use_tool_id(monitoring.COVERAGE_ID, "fuzz")
            monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, self._told)
            monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)
            self._disable = monitoring.DISABLE

    def learn(self, lines: Iterable[Line]) -> None:
        """Note lines that ran elsewhere."""
        self.seen.update(lines)

    def start(self) -> None:
        """Look from now on."""
        self._fresh = set()
        self._is_on = True
        if sys.version_info < (3, 12):
            threading.settrace(self._called)
            sys.settrace(self._called)

    def stop(self) -> set[Line]:
        """Return the lines that ran for the first time since `start`."""
        if sys.version_info < (3, 12):
            sys.settrace(None)
            threading.settrace(None)
        self._is_on = False
        fresh = self._fresh - self.seen
        self.seen |= fresh
        return fresh

    def _told(self, code: CodeType, line: int) -> Any:
        file = _ours(code)
        if file and self._is_on:
            self._fresh.add((file, line))
        return self._disable if not file or self._is_on else None

    def _called(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if code not in self._waiting:
            file = _ours(code)
            lines = {line for _, _, line in code.co_lines() if line} if file else set()
            self._waiting[code] = {line for line in lines if (file, line) not in self.seen} or None
        return self._stepped if self._waiting[code] else None

    def _stepped(self, frame: FrameType, event: str, argument: object) -> Any:
        waiting = self._waiting[frame.f_code]
        if waiting is None:
            return None
        if event == "line" and frame.f_lineno in waiting:
            waiting.discard(frame.f_lineno)
            self._fresh.add((_ours(frame.f_code), frame.f_lineno))
            if not waiting:
                self._waiting[frame.f_code] = None
        return self._stepped


def _ours(code: CodeType) -> str:
    """Return the file of a function below the checkout; "" if it is not regtrace's."""
    file = code.co_filename
    is_ours = file.startswith((f"{ROOT}{os.sep}tracer{os.sep}", f"{ROOT}{os.sep}analysis{os.sep}"))
    return file[len(str(ROOT)) + 1 :] if is_ours else ""
