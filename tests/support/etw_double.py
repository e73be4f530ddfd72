r"""A tracing service in pure Python: the functions that pywintrace and tracer.session.session call, with their rules.

    def test_something(monkeypatch, tmp_path):
        service = etw_double.install(monkeypatch)      # or the fixture `etw_service` of this module
        with Session(SessionOptions(name="regtrace-x", mode=LogMode.REAL_TIME)) as session:
            session.enable(Provider(guid=KERNEL_REGISTRY, any_keywords=0x3001))
            service.play(path)                         # an .etl of the simulator: sessions get what they enabled
        service.sessions                               # {} when nothing was leaked

* play(path, rate=None, wait=True): every record of the file goes to the sessions that enabled its provider,
  keywords, level and event ids (classic records: by EnableFlags). File sessions write a genuine .etl (whole,
  when everything in the file is wanted), buffering sessions keep the last buffers, real-time sessions hand
  EVENT_RECORDs to the registered callback inside ProcessTrace. Without `rate` a slow consumer is waited for;
  with `rate` (records a second) what finds no room is lost and counted. `wait` waits until consumers, where
  there are any, have been handed everything. Returns how many records each session was offered.
* fail(function, code, times=1, after=0): the next call of that function returns code and does nothing else.
* lose(events=, buffers=, name=): counters of running sessions grow, and the file's header says so.
* stop_externally(name), start_foreign(name), calls, option_words, rundowns, errors (exceptions inside the
  double, which a test should find empty).
* Who calls: elevated, performance_log_user, profile_privilege. Sessions belong to nobody: another process, or
  another user with the rights, sees and controls them; a test changes who calls between two calls.
* What there is: limit, system_limit, provider_limit, largest_array, free_bytes (None: plenty), locked_files (open in
  another program), forbidden_folders, playback_bytes, linger_starts (starts under a name that a stop leaves taken).

On Linux pywintrace is imported with ctypes as on Windows (etw_windows_types); on Windows the real ctypes is
used and only the functions are replaced. Structures are read at fixed offsets, never through pywintrace's own.

What it believes, and why (a page of Microsoft Learn with its part; headers: Windows SDK; observed: others' public
reports; unknown: nobody has looked here, where there is a knob it is named)

* who may control sessions: elevated administrators, Performance Log Users, three services; others get 5.
  [ControlTraceW, Return value; StartTraceW, Return value]
* for a caller who may not, QueryAllTraces succeeds and leaves out what it may not query. [QueryAllTracesW,
  Remarks; QueryAllTracesA, LoggerCount]
* QueryAllTraces takes 1 to as many properties as sessions are possible, else 87; no private sessions.
  [QueryAllTracesW, Return value, Remarks]
* consuming in real time wants the same rights, 5 from OpenTrace. [OpenTraceW, Return value]
* OpenTrace with neither a session nor a file: 161. [OpenTraceW, Return value]
* a name that nobody runs: 4201, also for a caller without rights (knob `denied_before_lookup`: 5).
  [ControlTraceW, Return value; the order of the two checks: unknown]
* ControlTrace goes by the name where one is given, whatever the handle; neither: 87. [ControlTraceW,
  TraceHandle, Return value]
* a system logger is controlled by administrators only. [ControlTraceW and StartTraceW, Return value (of the
  NT Kernel Logger)]
* EnableFlags want the right to profile the system; without it 1314. [Configuring and Starting a
  SystemTraceProvider Session, Note; the number: unknown]
* sessions go on without the process that started them, until stopped, restarted or full. [StartTraceW,
  Remarks; EnableTraceEx2, Remarks]
* another session writes the file: 161, from StartTrace and from ControlTrace. [StartTraceW and
  ControlTraceW, Return value]
* another program has the file open: 32; its folder may not be written: 5. [observed; StartTraceW, Return
  value]
* MaximumFileSize ends a session whose file is not circular; in KB with USE_KBYTES_FOR_SIZE. [StartTraceW,
  Remarks; Logging Mode Constants]
* less free than MaximumFileSize, or than 200 MB where that is 0: 112. [StartTraceW, Return value]
* a file without a file mode is sequential; real time goes with a file, not with APPEND or PRIVATE. [Logging
  Mode Constants]
* real time without a consumer fills a playback file; when that is full nothing is logged, to no file
  either. [EVENT_TRACE_PROPERTIES, LogFileMode; its size: unknown (knob `playback_bytes`; None: as the
  buffers)]
* eight system loggers at most; not with paged memory. [StartTraceW, Remarks; the number 1450: unknown]
* eight sessions enable one manifest provider, the ninth gets 1450. [EnableTraceEx2, Remarks, Return value]
* a stopped session's name may be taken for a moment: 183 (knob `linger_starts`). [observed]
* sizes and offsets of the structures on x64. [headers]
* names stand at offsets inside Wnode.BufferSize; too small a buffer is 24. [StartTraceW, Return value]
* neither file, real time nor buffering: 161. [StartTraceW, Return value]
* sequential with circular, or buffering with a file: 87. [Logging Mode Constants]
* circular without MaximumFileSize: 87. [EVENT_TRACE_PROPERTIES, MaximumFileSize]
* same name or GUID: 183; session limit: 1450. [StartTraceW, Return value]
* Performance Log Users may start, but not enable a kernel provider. [observed]
* a level of 0 or 0xFF, and a keyword mask of 0, let everything pass; event id filter, at most 64 ids.
  [EnableTraceEx2, Level, Remarks]
* filter type 0 of 4 bytes is the registry provider's machine-wide option word and outlives the session.
  [observed]
* type 0 together with an event id filter in one call (knob `option_with_filters`). [unknown]
* process filters do nothing for kernel providers.
  [EVENT_FILTER_DESCRIPTOR, EVENT_FILTER_TYPE_PID]
* zero EnableFlags group masks, then the true ones: a rundown of key control blocks. [observed]
* OpenTraceW of a session that does not run succeeds, ProcessTrace then says 4201. [ProcessTrace, Return
  value]
* CloseTrace while ProcessTrace runs: 7007, and it ends after the records at hand. [CloseTrace, Return
  value]
* ProcessTrace ends when its session stops. [ProcessTrace, Remarks] What a second call says (knob
  `second_process_trace`). [unknown]
* ControlTrace on a stopped session: 4201, EnableTraceEx2 with its handle: 6. [ControlTraceW, Return
  value; unknown]
* CloseTrace with a session's handle: 6, and nothing happens. [unknown]
* the first record of a real-time stream is the header event, class 68fdd900 (knob `header_event`).
  [observed]
* EVENT_HEADER.HeaderType is 0 on delivery; Flags tell width, extended items and classic records.
  [EVENT_HEADER; unknown]
* the record's memory is used again after the callback: it is poisoned here with 0xDD.
  [observed]
* a snapshot of a buffering session leaves its memory as it is. [unknown]
"""

import ctypes
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from etw_double_consumer import SLICE
from etw_double_functions import KERNEL_PROVIDERS, EtwFunctions
from etw_double_records import (
    HEADER_EVENT,
    Item,
    Running,
    append_to_file,
    file_writer,
    make_items,
    neutral,
    wanted,
)
from etw_double_structures import FILE_MODES, Mode, file_limit
from etw_windows_types import MODULES, EtwFinder, Ole32, windows_ctypes

from tracer.diagnostics import Diagnostics
from tracer.etl.reader import EtlReader

__all__ = ["HEADER_EVENT", "KERNEL_PROVIDERS", "EtwService", "etw_service", "install"]


class EtwService(EtwFunctions):
    """The service; see the module."""

    # ------------------------------------------------------------------ what a test may do

    def fail(self, function: str, code: int, times: int = 1, after: int = 0) -> None:
        """Let `times` calls of the function, the first `after` ones not counted, return `code`."""
        self._failures.setdefault(function, []).append([after, times, code])

    def lose(self, events: int = 0, buffers: int = 0, name: str | None = None) -> None:
        """Let running sessions (or one) lose events and buffers."""
        for session in self.running(name):
            session.events_lost += events
            if session.mode & Mode.REAL_TIME:
                session.real_time_lost += buffers
            else:
                session.buffers_lost += buffers
            if session.writer is not None:
                session.writer.events_lost += events
                session.writer.buffers_lost += buffers

    def running(self, name: str | None = None) -> list[Running]:
        """Return the running sessions, or the one of that name."""
        with self._lock:
            return [s for s in self.sessions.values() if name is None or s.name.lower() == name.lower()]

    def stop_externally(self, name: str) -> None:
        """Stop a session as another program would."""
        with self._lock:
            self._end(self.sessions[name.lower()])

    def start_foreign(
        self, name: str, mode: int = Mode.REAL_TIME, guid: str | None = None, log_file: str = ""
    ) -> Running:
        """Start a session of somebody else's."""
        with self._lock:
            raw = uuid.UUID(guid).bytes_le if guid else uuid.uuid4().bytes_le
            session = Running(next(self._numbers), name, raw, 64, 4, 24, 0, mode, 1, 1, 0, log_file)
            self.sessions[name.lower()] = session
            return session

    def play(
        self,
        path: Path,
        *,
        rate: float | None = None,
        wait: bool = True,
        whole: bool = False,
        timeout: float = 60.0,
    ) -> dict[str, int]:
        """Play a file into the running sessions; see the module.

        With `whole` sequential sessions get the file itself, even where it holds records they did not ask for.
        """
        before = {session.name: session.offered for session in self.running()}
        with EtlReader([path], [Diagnostics()]) as reader:
            header = reader.headers[0]
        taken = self._take_whole(path, header, whole)
        targets = [s for s in self.running() if s not in taken]
        slices: list[tuple[Running, list[Item]]] = []
        with EtlReader([path], [Diagnostics()]) as reader:
            for records in reader if targets else ():
                chosen = [(s, wanted(s, records, reader.providers)) for s in targets]
                for at in range(0, len(records), SLICE):
                    part = records.order[at : at + SLICE]
                    for session, mask in chosen:
                        rows = part[mask[part]]
                        if session.mode & FILE_MODES:
                            self._write(session, records, rows, header)
                        if not session.mode & (Mode.REAL_TIME | Mode.BUFFERING) or not len(rows):
                            continue
                        items = make_items(records, rows, reader.providers)
                        if rate:
                            slices.append((session, items))
                        else:
                            self._offer(session, items, header, wait=True, timeout=timeout)
        started, count = time.monotonic(), 0
        for session, items in slices:  # everything is ready, so the rate is that of the service alone
            self._offer(session, items, header, wait=False, timeout=timeout)
            count += len(items) if session is slices[0][0] else 0
            ahead = count / (rate or 1) - (time.monotonic() - started)
            if ahead > 0:
                threading.Event().wait(ahead)
        if wait:
            self.drain(timeout)
        return {s.name: s.offered - before.get(s.name, 0) for s in self.running()}

    def drain(self, timeout: float = 60.0) -> None:
        """Wait until consumers have been handed everything; sessions without one are not waited for."""
        end = time.monotonic() + timeout
        with self._changed:
            while any(s.backlog or s.offered > s.delivered + s.real_time_lost for s in self._consumed()):
                left = end - time.monotonic()
                if left <= 0:
                    raise TimeoutError("a consumer did not take its records")
                self._changed.wait(left)

    def wait_for_consumer(self, timeout: float = 10.0) -> None:
        """Wait until somebody is inside ProcessTrace."""
        with self._changed:
            if not self._changed.wait_for(self._consumed, timeout):
                raise TimeoutError("nobody consumes")

    # ------------------------------------------------------------------ playing

    def _take_whole(self, path: Path, header: Any, anyway: bool) -> list[Running]:
        """Give the file itself to sequential sessions that want every record of it."""
        fresh = [
            s for s in self.running()
            if s.mode & Mode.SEQUENTIAL and not s.mode & Mode.REAL_TIME and s.writer is None and not s.whole
            and path.stat().st_size <= (file_limit(s.largest_mib, s.mode) or 1 << 60)
        ]  # fmt: skip
        all_of_it = {s.number: True for s in fresh}
        counts = dict.fromkeys(all_of_it, 0)
        if fresh:
            with EtlReader([path], [Diagnostics()]) as reader:
                for records in reader:
                    rest = neutral(records, reader.providers)
                    for session in fresh:
                        mask = wanted(session, records, reader.providers)
                        counts[session.number] += int(mask.sum())
                        all_of_it[session.number] &= bool((mask | rest).all())
        taken = [s for s in fresh if anyway or all_of_it[s.number]]
        for session in taken:
            shutil.copyfile(path, session.log_file)
            session.whole, session.source = True, header
            session.offered += counts[session.number]
            session.delivered = session.offered
            session.written = header.buffers_written
        return taken

    def _write(self, session: Running, records: Any, rows: np.ndarray, header: Any) -> None:
        with self._lock:
            if session.stopped:
                return
            if session.whole:
                raise ValueError(f"{session.name} has the whole of another file; play one file into it")
            if session.writer is None:
                session.writer = file_writer(Path(session.log_file), session, header)
            session.source = header
            if session.is_full:
                return  # the playback file is full; what is lost is counted where it is offered
            limit = file_limit(session.largest_mib, session.mode)
            sizes = session.file_bytes + np.cumsum(records.end[rows] - records.start[rows], dtype=np.int64)
            fits = int(np.searchsorted(sizes, limit, side="right")) if limit else len(rows)
            append_to_file(session.writer, records, rows[:fits])
            session.file_bytes = int(sizes[fits - 1]) if fits else session.file_bytes
            if not session.mode & Mode.REAL_TIME:
                session.offered += fits
                session.delivered += fits
            if fits < len(rows):
                session.written = max(session.written, session.file_bytes // (session.buffer_kib << 10))
                self._end(session)

    def _room(self, session: Running) -> int:
        if self.playback_bytes is not None and session not in self._consumed():
            return self.playback_bytes
        return session.largest * session.buffer_kib << 10

    def _offer(self, session: Running, items: list[Item], header: Any, *, wait: bool, timeout: float) -> None:
        room = self._room(session)
        end = time.monotonic() + timeout
        with self._changed:
            session.source = header
            for item in items:
                if session.stopped:
                    return
                size = len(item.raw)
                if session.mode & Mode.BUFFERING:
                    session.offered += 1
                    session.kept.append(item)
                    session.kept_bytes += size
                    while session.kept_bytes > session.smallest * session.buffer_kib << 10:
                        session.kept_bytes -= len(session.kept.popleft().raw)
                    continue
                while wait and session.backlog_bytes + size > room and session in self._consumed():
                    self._changed.notify_all()
                    if not self._changed.wait(max(end - time.monotonic(), 0)):
                        raise TimeoutError(f"nobody takes the records of {session.name}")
                if session.stopped:  # by another thread, meanwhile
                    return  # type: ignore[unreachable]
                session.is_full = session.backlog_bytes + size > room and session not in self._consumed()
                if session.backlog_bytes + size > room:
                    session.events_lost += 1
                    continue
                session.offered += 1
                session.backlog.append(item)
                session.backlog_bytes += size
            self._changed.notify_all()


def install(monkeypatch: pytest.MonkeyPatch) -> EtwService:
    """Put a fresh service in place of Windows' own until the test ends, and say that this is Windows.

    `tracer.session.session.is_supported` is replaced: ask it as `session.is_supported()`, not by a name of your own.
    """
    service = EtwService()
    for name in MODULES:  # a fresh import binds this service's functions; afterwards none remains
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    if sys.platform == "win32":
        for name, function in service.functions.items():
            monkeypatch.setattr(ctypes.windll.advapi32, name, function, raising=False)
        for name, function in service.tdh.items():
            monkeypatch.setattr(ctypes.windll.Tdh, name, function, raising=False)
    else:
        libraries = SimpleNamespace(
            advapi32=SimpleNamespace(**service.functions), Tdh=SimpleNamespace(**service.tdh), ole32=Ole32(),
            kernel32=SimpleNamespace(LocalFree=lambda _pointer: None),
        )  # fmt: skip
        shim = windows_ctypes(libraries, lambda: service.last_error)
        monkeypatch.setattr(sys, "meta_path", [EtwFinder(shim), *sys.meta_path])
    monkeypatch.setattr("tracer.session.session.is_supported", lambda: True)
    monkeypatch.setattr("tracer.windows.rights.is_elevated", lambda: service.elevated)
    monkeypatch.setattr("tracer.windows.rights.sees_all_sessions", service.may_control)
    monkeypatch.setattr(
        "tracer.windows.rights.may_write", lambda folder: str(folder) not in service.forbidden_folders
    )
    return service


@pytest.fixture
def etw_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[EtwService]:
    """A fresh service; afterwards it must have had no error of its own."""
    service = install(monkeypatch)
    yield service
    assert not service.errors, service.errors
