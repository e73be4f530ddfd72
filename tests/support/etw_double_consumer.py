"""The consumer's side of the double: a real-time trace is opened, delivered to a callback, and closed."""

import ctypes
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etw_double_records import Item, Running, header_item
from etw_double_structures import INVALID_HANDLE, Code, Mode, extended_table
from etw_windows_types import read_wide

__all__ = ["SLICE", "ConsumerFunctions", "OpenTrace"]

SLICE = 500  # records that are offered and taken at once


@dataclass(slots=True)
class OpenTrace:
    """A handle of OpenTraceW."""

    name: str
    mode: int
    callback: int
    context: int
    session: Running | None = None
    closing: bool = False
    processing: bool = False
    finished: bool = False


class ConsumerFunctions:
    """OpenTraceW, ProcessTrace and CloseTrace, and the sessions they find."""

    def __init__(self) -> None:
        self.elevated = True
        self.performance_log_user = False
        self.header_event = True
        self.second_process_trace = Code.OK
        self.calls: list[tuple[str, Any]] = []
        self.last_error = 0
        self.sessions: dict[str, Running] = {}
        self.traces: dict[int, OpenTrace] = {}
        self._numbers = iter(range(1, 1 << 30))
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)

    def _consumed(self) -> list[Running]:
        """Return the sessions that somebody is consuming."""
        return [t.session for t in self.traces.values() if t.session and t.processing and not t.closing]

    def may_control(self) -> bool:
        """Whether the caller is one of those who may control, list and consume sessions."""
        return self.elevated or self.performance_log_user

    def _note(self, name: str, what: Any) -> None:
        self.calls.append((name, what))

    def _OpenTraceW(self, at: int) -> int:  # noqa: N802
        file_name, name = struct.unpack("<QQ", ctypes.string_at(at, 16))
        (mode,) = struct.unpack("<I", ctypes.string_at(at + 28, 4))
        (callback,) = struct.unpack("<Q", ctypes.string_at(at + 424, 8))
        (context,) = struct.unpack("<Q", ctypes.string_at(at + 440, 8))
        self._note("OpenTraceW", read_wide(name) or read_wide(file_name))
        if not name and not Path(read_wide(file_name) or "?").is_file():
            self.last_error = Code.BAD_PATH
            return INVALID_HANDLE
        if not mode & 0x1000_0000 or not callback or not mode & Mode.REAL_TIME or not name:
            self.last_error = Code.INVALID
            return INVALID_HANDLE
        if not self.may_control():
            self.last_error = Code.DENIED
            return INVALID_HANDLE
        with self._lock:
            number = next(self._numbers)
            self.traces[number] = OpenTrace(read_wide(name), mode, callback, context)
            return number

    def _ProcessTrace(self, handles: int, count: int, _start: int | None, _end: int | None) -> int:  # noqa: N802
        number = ctypes.c_uint64.from_address(handles).value
        self._note("ProcessTrace", number)
        with self._changed:
            trace = self.traces.get(number)
            if trace is None or count != 1:
                return Code.HANDLE
            if trace.finished:
                return self.second_process_trace
            trace.session = self.sessions.get(trace.name.lower())
            if trace.session is None or not trace.session.mode & Mode.REAL_TIME:
                return Code.NO_INSTANCE
            trace.processing = True
            self._changed.notify_all()
        try:
            self._deliver(trace, trace.session)
        finally:
            with self._changed:
                trace.processing, trace.finished = False, True
                self._changed.notify_all()
        return Code.OK

    def _CloseTrace(self, handle: int) -> int:  # noqa: N802
        self._note("CloseTrace", handle)
        with self._changed:
            trace = self.traces.get(handle)
            if trace is None:
                return Code.HANDLE
            trace.closing = True
            self._changed.notify_all()
            if trace.processing:
                return Code.CLOSE_PENDING
            del self.traces[handle]
            return Code.OK

    def _deliver(self, trace: OpenTrace, session: Running) -> None:
        callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(trace.callback)
        if hasattr(ctypes, "WINFUNCTYPE"):
            callback = ctypes.WINFUNCTYPE(None, ctypes.c_void_p)(trace.callback)
        record = ctypes.create_string_buffer(112)
        data = ctypes.create_string_buffer(65536)
        extended = ctypes.create_string_buffer(65536)
        at, data_at, extended_at = (ctypes.addressof(b) for b in (record, data, extended))
        memory = memoryview(record).cast("B")
        number, context, pack_into = (
            session.number & 0xFFFF,
            trace.context,
            struct.Struct("<HHHHQQQ").pack_into,
        )
        move, fill, poison = ctypes.memmove, ctypes.memset, b"\xdd" * 112

        def hand_over(item: Item) -> None:
            size, length, place = 0, len(item.data), 0
            if item.extended:
                blob = extended_table(item.extended, extended_at)
                size, place = len(blob), extended_at
                move(extended_at, blob, size)
            move(data_at, item.data, length)
            memory[:80] = item.header
            pack_into(
                memory,
                80,
                item.cpu,
                number,
                len(item.extended),
                length,
                place,
                data_at if length else 0,
                context,
            )
            callback(at)
            memory[:] = poison
            fill(data_at, 0xDD, length)
            if size:
                fill(extended_at, 0xDD, size)

        if self.header_event:
            hand_over(header_item(session))
        while True:
            with self._changed:
                while not session.backlog:
                    if trace.closing or session.stopped:
                        return
                    self._changed.wait(5)
                items = list(session.backlog)
                session.backlog.clear()
            for at_item in range(0, len(items), SLICE):
                part = items[at_item : at_item + SLICE]
                for item in part:
                    hand_over(item)
                with self._changed:
                    session.delivered += len(part)
                    session.backlog_bytes -= sum(len(item.raw) for item in part)
                    self._changed.notify_all()
