"""The tracing functions themselves, for the double: what each checks, changes and returns."""

import ctypes
import struct
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etw_double_consumer import ConsumerFunctions
from etw_double_records import Enabled, Running, file_writer, say_losses
from etw_double_structures import (
    INVALID_HANDLE,
    PROPERTIES,
    Code,
    Mode,
    check_mode,
    read_ids,
    read_properties,
    with_file_mode,
)
from etw_double_tdh import tdh_functions
from etw_windows_types import read_wide

from tracer.simulate.container import EtlWriter

__all__ = ["KERNEL_PROVIDERS", "EtwFunctions"]

KERNEL_PROVIDERS = {
    "70eb4f03-c1de-4f73-a051-33d13d5413bd",  # Kernel-Registry
    "22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716",  # Kernel-Process
}
SPARE_BYTES = 200 << 20
_U, _L, _P, _B = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_ubyte
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "StartTraceW": (_U, (_P, _P, _P)),
    "ControlTraceW": (_U, (_L, _P, _P, _U)),
    "EnableTraceEx2": (_U, (_L, _P, _U, _B, _L, _L, _U, _P)),
    "OpenTraceW": (_L, (_P,)),
    "ProcessTrace": (_U, (_P, _U, _P, _P)),
    "CloseTrace": (_U, (_L,)),
    "QueryAllTracesW": (_U, (_P, _U, _P)),
    "TraceSetInformation": (_U, (_L, _U, _P, _U)),
    "TraceQueryInformation": (_U, (_L, _U, _P, _U, _P)),
    "ConvertSidToStringSidW": (_U, (_P, _P)),
}


class EtwFunctions(ConsumerFunctions):
    """The service as its callers see it; `functions` and `tdh` are what they call, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 64
        self.system_limit = 8
        self.provider_limit = 8
        self.largest_array = 256
        self.profile_privilege = True
        self.denied_before_lookup = False
        self.free_bytes: int | None = None
        self.locked_files: set[str] = set()
        self.forbidden_folders: set[str] = set()
        self.lingering: dict[str, int] = {}
        self.linger_starts = 0
        self.playback_bytes: int | None = None
        self.option_with_filters = True
        self.errors: list[BaseException] = []
        self.option_words: dict[str, int] = {}
        self.rundowns = 0
        self._failures: dict[str, list[list[int]]] = {}
        self.functions: dict[str, Any] = {}
        for name, (result, arguments) in _SIGNATURES.items():
            prototype = getattr(ctypes, "WINFUNCTYPE", ctypes.CFUNCTYPE)(result, *arguments)
            self.functions[name] = prototype(self._guarded(name))
        self.tdh = tdh_functions()

    # ------------------------------------------------------------------ the functions

    def _guarded(self, name: str) -> Callable[..., int]:
        def call(*arguments: Any) -> int:
            try:
                for failure in self._failures.get(name, []):
                    if failure[0]:
                        failure[0] -= 1
                    elif failure[1]:
                        failure[1] -= 1
                        self._note(name, ("failed", failure[2]))
                        self.last_error = failure[2]
                        return INVALID_HANDLE if name == "OpenTraceW" else failure[2]
                return getattr(self, f"_{name}")(*arguments)
            except BaseException as error:  # noqa: BLE001
                self.errors.append(error)
                return 998

        return call

    def _StartTraceW(self, handle: int, name_at: int, at: int) -> int:  # noqa: N802
        name = read_wide(name_at)
        self._note("StartTraceW", name)
        given = read_properties(at)
        log_file = ""
        if given is None or not name or len(name) > 1024:
            return Code.BAD_LENGTH if given is None else Code.INVALID
        size = given["size"]
        if not 120 <= given["LoggerNameOffset"] <= size - 2 * (len(name) + 1):
            return Code.BAD_LENGTH
        if given["LogFileNameOffset"]:
            if not 120 <= given["LogFileNameOffset"] < size - 2:
                return Code.BAD_LENGTH
            log_file = read_wide(at + given["LogFileNameOffset"])
        mode = given["LogFileMode"]
        status = check_mode(mode, log_file, given)
        if status:
            return status
        mode = with_file_mode(mode, log_file)
        if not self.may_control() or (given["EnableFlags"] and not self.elevated):
            return Code.DENIED
        if given["EnableFlags"] and not self.profile_privilege:
            return Code.NO_PRIVILEGE
        with self._lock:
            guid = given["Guid"] if any(given["Guid"]) else uuid.uuid4().bytes_le
            if name.lower() in self.sessions or any(s.guid == guid for s in self.sessions.values()):
                return Code.EXISTS
            if self.lingering.get(name.lower(), 0):
                self.lingering[name.lower()] -= 1
                return Code.EXISTS
            if len(self.sessions) >= self.limit or (mode & Mode.SYSTEM and self._is_system_full()):
                return Code.NO_ROOM
            status = self._check_file(log_file, given["MaximumFileSize"], mode) if log_file else 0
            if status:
                return status
            smallest = max(given["MinimumBuffers"], 2)
            session = Running(
                next(self._numbers), name, guid, given["BufferSize"] or 64, smallest,
                max(given["MaximumBuffers"], smallest + 20), given["MaximumFileSize"], mode,
                given["FlushTimer"], given["ClientContext"] or 1, given["EnableFlags"], log_file,
            )  # fmt: skip
            if log_file:  # the header buffer is written at once
                EtlWriter(Path(log_file), buffer_size=session.buffer_kib << 10, logger_name=name).finish()
            self.sessions[name.lower()] = session
            ctypes.c_uint64.from_address(handle).value = session.number
            self._fill(session, at)
            return Code.OK

    def _ControlTraceW(self, handle: int, name_at: int, at: int, code: int) -> int:  # noqa: N802
        name = read_wide(name_at)
        self._note("ControlTraceW", (code, name or handle))
        given = read_properties(at)
        if given is None:
            return Code.BAD_LENGTH
        if not name and not handle:
            return Code.INVALID
        with self._changed:
            found = [
                s for s in self.sessions.values()
                if (s.name.lower() == name.lower() if name else s.number == handle)
            ]  # fmt: skip
            if not self.may_control() and (found or self.denied_before_lookup):
                return Code.DENIED
            if not found:
                return Code.NO_INSTANCE
            session = found[0]
            if session.flags and not self.elevated:
                return Code.DENIED
            file_name = ""
            if given["LogFileNameOffset"] and 120 <= given["LogFileNameOffset"] < given["size"] - 2:
                file_name = read_wide(at + given["LogFileNameOffset"])
            if code == 1:
                self._end(session)
            elif code == 2:
                session.flush = given["FlushTimer"] or session.flush
                session.largest = max(session.largest, given["MaximumBuffers"])
                session.flags = given["EnableFlags"] or session.flags
            elif code == 3 and session.mode & Mode.BUFFERING:
                status = self._snapshot(session, file_name)
                if status:
                    return status
            elif code == 3 and session.writer is not None:
                session.writer.flush_all()
            elif code not in (0, 3):
                return Code.INVALID
            return self._fill(session, at)

    def _EnableTraceEx2(  # noqa: N802
        self,
        handle: int,
        guid_at: int,
        code: int,
        level: int,
        any_: int,
        all_: int,
        timeout: int,
        at: int | None,
    ) -> int:
        if not guid_at or code > 2:
            return Code.INVALID
        guid = str(uuid.UUID(bytes_le=ctypes.string_at(guid_at, 16)))
        note: dict[str, Any] = {
            "code": code,
            "guid": guid,
            "level": level,
            "any": any_,
            "all": all_,
            "filters": {},
            "property": 0,
        }
        self._note("EnableTraceEx2", note)
        with self._lock:
            found = [s for s in self.sessions.values() if s.number == handle]
            if not found:
                return Code.HANDLE
            session = found[0]
            if code == 0:
                session.providers.pop(guid, None)
                return Code.OK
            if not self.may_control() or (guid in KERNEL_PROVIDERS and not self.elevated):
                return Code.DENIED
            users = [s for s in self.sessions.values() if guid in s.providers and s is not session]
            if len(users) >= self.provider_limit:
                return Code.NO_ROOM
            enabled = Enabled(level, any_, all_)
            word = None
            if at:
                version, note["property"], flags = struct.unpack("<III", ctypes.string_at(at, 12))
                (first, count) = struct.unpack("<QI", ctypes.string_at(at + 0x20, 12))
                if version not in (1, 2) or flags or count > 8 or (count and not first):
                    return Code.INVALID
                enabled.property = note["property"]
                for number in range(count):
                    where, size, kind = struct.unpack("<QII", ctypes.string_at(first + 16 * number, 16))
                    if kind in note["filters"] or not where or size > 1024:
                        return Code.INVALID
                    data = note["filters"][kind] = ctypes.string_at(where, size)
                    if kind == 0:
                        word = struct.unpack("<I", data)[0] if size == 4 else None
                    elif kind in (0x8000_0200, 0x8000_1000):
                        ids = read_ids(data)
                        if ids is None or (kind == 0x8000_1000 and not enabled.property & 4):
                            return Code.INVALID
                        if kind == 0x8000_0200:
                            enabled.ids, enabled.ids_in = ids, bool(data[0])
                        else:
                            enabled.stacks = ids
                    elif kind == 0x8000_0004:
                        if size % 4 or not 4 <= size <= 32:
                            return Code.INVALID
                    elif not 0x8000_0000 <= kind <= 0x8000_8000:
                        return Code.INVALID
                if not self.option_with_filters and 0 in note["filters"] and count > 1:
                    return Code.INVALID
            if word is not None:
                self.option_words[guid] = word
            session.providers[guid] = enabled
            return Code.OK

    def _QueryAllTracesW(self, array: int, count: int, out: int) -> int:  # noqa: N802
        self._note("QueryAllTracesW", count)
        if not array or not 1 <= count <= self.largest_array:
            return Code.INVALID
        with self._lock:
            sessions = [s for s in self.sessions.values() if self.may_control() and not s.mode & Mode.PRIVATE]
            for place, session in enumerate(sessions[:count]):
                self._fill(session, ctypes.c_uint64.from_address(array + 8 * place).value)
            ctypes.c_uint32.from_address(out).value = len(sessions)
            return Code.MORE if len(sessions) > count else Code.OK

    def running(self, name: str | None = None) -> list[Running]:
        """Return the running sessions, or the one of that name."""
        raise NotImplementedError

    def _TraceSetInformation(self, handle: int, kind: int, at: int, size: int) -> int:  # noqa: N802
        data = ctypes.string_at(at, size)
        self._note("TraceSetInformation", (kind, data))
        found = [s for s in self.running() if s.number == handle]
        if not found:
            return Code.NO_INSTANCE
        if kind != 4:
            return Code.OK if kind == 3 else 50
        if not found[0].mode & Mode.SYSTEM or size != 32:
            return Code.INVALID
        if not self.profile_privilege:
            return Code.NO_PRIVILEGE
        (flags,) = struct.unpack_from("<I", data)
        if flags & ~found[0].flags & 0x0002_0000:
            self.rundowns += 1
        found[0].flags = flags
        return Code.OK

    def _TraceQueryInformation(self, handle: int, kind: int, at: int, size: int, _out: int) -> int:  # noqa: N802
        found = [s for s in self.running() if s.number == handle]
        if kind != 4 or size < 32 or not found:
            return Code.INVALID
        ctypes.memmove(at, struct.pack("<8I", found[0].flags, *[0] * 7), 32)
        return Code.OK

    def _ConvertSidToStringSidW(self, _sid: int, _out: int) -> int:  # noqa: N802
        return 0

    # ------------------------------------------------------------------ sessions

    def _is_system_full(self) -> bool:
        return sum(bool(s.mode & Mode.SYSTEM) for s in self.sessions.values()) >= self.system_limit

    def _check_file(self, log_file: str, largest: int, mode: int) -> int:
        """Return 0, or why a session cannot write this file."""
        same = log_file.lower()
        if any(s.log_file.lower() == same for s in self.sessions.values()):
            return Code.BAD_PATH
        if same in {path.lower() for path in self.locked_files}:
            return Code.SHARING
        if not Path(log_file).parent.is_dir():
            return Code.NO_PATH
        if str(Path(log_file).parent) in self.forbidden_folders:
            return Code.DENIED
        wanted = largest << (10 if mode & Mode.KILOBYTES else 20) or SPARE_BYTES
        return Code.DISK_FULL if self.free_bytes is not None and self.free_bytes < wanted else Code.OK

    def _end(self, session: Running) -> None:
        with self._changed:
            if self.sessions.pop(session.name.lower(), None) is not None and self.linger_starts:
                self.lingering[session.name.lower()] = self.linger_starts
            session.stopped = True
            if session.writer is not None:
                session.writer.finish()
                session.written = max(session.written, session.offered // 100)
            elif session.whole:
                say_losses(Path(session.log_file), session)
            self._changed.notify_all()

    def _snapshot(self, session: Running, file_name: str) -> int:
        status = self._check_file(file_name, 0, session.mode) if file_name else Code.BAD_PATH
        if status:
            return status
        writer = file_writer(Path(file_name), session, session.source)
        for item in session.kept:
            writer.append(item.cpu, item.raw, item.ticks)
        writer.finish()
        return Code.OK

    def _fill(self, session: Running, at: int) -> int:
        given = read_properties(at)
        if given is None:
            return Code.BAD_LENGTH
        buffers = session.smallest
        packed = PROPERTIES.pack(
            given["size"], 0, session.number, 0, session.guid, session.clock, 0x20000, session.buffer_kib,
            session.smallest, session.largest, session.largest_mib, session.mode, session.flush, session.flags,
            0, buffers, max(buffers - 1, 0), session.events_lost, session.written, session.buffers_lost,
            session.real_time_lost, 4, given["LogFileNameOffset"], given["LoggerNameOffset"],
        )  # fmt: skip
        ctypes.memmove(at, packed, 120)
        for offset, text in (("LoggerNameOffset", session.name), ("LogFileNameOffset", session.log_file)):
            place, raw = given[offset], text.encode("utf-16-le") + b"\0\0"
            if place:
                if place + len(raw) > given["size"]:
                    return Code.MORE
                ctypes.memmove(at + place, raw, len(raw))
        return Code.OK
