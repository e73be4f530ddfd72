"""The processes of a Procmon log: from its process table, or from its events if the table is lost."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

import pyarrow as pa

from tracer.diagnostics import Diagnostics
from tracer.pml.header import Bytes, Header, filetime_ns
from tracer.registry.text import decode_name
from tracer.schema import PROCESSES

__all__ = ["Process", "complete", "process_table", "read_births", "read_exit_codes", "read_processes"]

_HEAD_SIZE = 52
# index, pid, parent pid, -, logon, session, -, start, end, virtualized, 64 bit, integrity, user, name, path,
# command line (the texts are numbers of strings)
_PROCESS = struct.Struct("<III4xQI4xQQII5I")
_BIRTH = struct.Struct(
    "<III I I 4x Q 8x 4x BB HH 2x"
)  # index, pid, parent index, parent pid, session, start, ...
_DWORD, _INDEX_AND_DATE, _DEPTH_AND_SIZE = map(struct.Struct, ("<I", "<I24xQ", "<H2xI"))
_LONGEST = 1 << 16  # bytes of a text; no name or command line of Windows is longer


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the file; None means unknown.

    Attributes:
        index: the number by which events name it.
        source: procmon, or none where only the index is known.
    """

    index: int
    pid: int | None = None
    parent_pid: int | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    image: str | None = None
    image_path: str | None = None
    command_line: str | None = None
    user: str | None = None
    session_id: int | None = None
    exit_code: int | None = None
    source: str = "procmon"


def read_processes(raw: Bytes, header: Header, diagnostics: Diagnostics) -> list[Process]:
    """Read the process table as far as possible; of entries with the same index the first counts."""
    strings = _Strings(raw, header.strings_at, diagnostics)
    table, size = header.processes_at, len(raw)
    if not 0 < table <= size - 4:
        diagnostics.count("pml_bad_table", offset=min(table, size))
        return []
    count: int = raw.unpack(_DWORD, table)[0]
    if count > (size - table) // (_PROCESS.size + 8):
        diagnostics.count("pml_bad_table", offset=table)
        return []
    processes: dict[int, Process] = {}
    for number in range(count):
        entry = table + 4 + 4 * count + 4 * number  # the array before it repeats the indexes
        at = table + raw.unpack(_DWORD, entry)[0] if entry + 4 <= size else size
        if at + _PROCESS.size > size:
            diagnostics.count("pml_bad_table", offset=min(entry, size))
            continue
        index, pid, parent, _logon, session, start, end, _virtual, _bits, _integrity, *texts = raw.unpack(
            _PROCESS, at
        )
        user, image, image_path, command_line = (strings[text] for text in texts)
        process = Process(
            index,
            pid,
            parent,
            filetime_ns(start),
            filetime_ns(end),
            image,
            image_path,
            command_line,
            user,
            session,
        )
        processes.setdefault(index, process)
    return list(processes.values())


def read_births(raw: Bytes, offsets: Iterable[int], pointer_size: int) -> dict[int, Process]:
    """Return the processes that events define or create, by process index."""
    births: dict[int, Process] = {}
    for offset in offsets:
        at, size = _detail(raw, offset, pointer_size)
        if size < _BIRTH.size:
            continue
        index, pid, _parent, parent_pid, session, start, owner, other, path_info, command_info = raw.unpack(
            _BIRTH, at
        )
        path_at = at + _BIRTH.size + owner + other
        path, command_at = _text(raw, path_at, path_info, at + size)
        command_line, _ = _text(raw, command_at, command_info, at + size)
        image = path.rpartition("\\")[2] if path else None
        process = Process(
            index, pid, parent_pid, filetime_ns(start), None, image, path, command_line, None, session
        )
        births.setdefault(index, process)
    return births


def read_exit_codes(
    raw: Bytes, offsets: Iterable[int], pointer_size: int
) -> dict[int, tuple[int, int | None]]:
    """Return the exit code and the time of each process whose end is an event, by process index."""
    exit_codes = {}
    for offset in offsets:
        at, size = _detail(raw, offset, pointer_size)
        if size >= 4:
            index, date = raw.unpack(_INDEX_AND_DATE, offset)
            exit_codes[index] = (raw.unpack(_DWORD, at)[0], filetime_ns(date))
    return exit_codes


def process_table(processes: list[Process], source_id: int, first_process_id: int) -> pa.Table:
    """Return rows of the table `processes` (tracer.schema.PROCESSES), in the same order.

    A parent is the process with the parent's pid that had started and not ended when the child started, the
    latest of several.
    """
    del source_id  # the table has no such column; every importer is called alike
    ids = {process.index: first_process_id + row for row, process in enumerate(processes)}
    by_pid: dict[int, list[Process]] = {}
    for process in sorted(processes, key=lambda p: p.start_ns or 0):
        if process.pid is not None:
            by_pid.setdefault(process.pid, []).append(process)
    rows = []
    for process in processes:
        parent = _parent(process, by_pid)
        rows.append(
            {
                "process_id": ids[process.index],
                "pid": process.pid,
                "parent_pid": process.parent_pid,
                "parent_id": ids[parent.index] if parent else None,
                "start_ns": process.start_ns,
                "end_ns": process.end_ns,
                "image": process.image,
                "image_path": process.image_path,
                "command_line": process.command_line,
                "user": process.user,
                "session_id": process.session_id,
                "exit_code": process.exit_code,
                "source": process.source,
            }
        )
    return pa.Table.from_pylist(rows, schema=PROCESSES.arrow())


def complete(
    processes: list[Process],
    *,
    used: Iterable[int],
    births: dict[int, Process],
    exits: dict[int, tuple[int, int | None]],
) -> tuple[list[Process], int]:
    """Add the processes that the table lacks, and exit codes; return all, and how many are not described."""
    listed = {process.index for process in processes}
    added = [births[index] for index in sorted(births) if index not in listed]
    unknown = [Process(index, source="none") for index in used if index not in listed and index not in births]
    everything = []
    for process in [*processes, *added, *unknown]:
        if process.index in exits:
            code, end_ns = exits[process.index]
            process = replace(process, exit_code=code, end_ns=process.end_ns or end_ns)
        everything.append(process)
    return everything, len(unknown)


def _parent(process: Process, by_pid: dict[int, list[Process]]) -> Process | None:
    if process.parent_pid is None or process.start_ns is None:
        return None
    best = None
    for candidate in by_pid.get(process.parent_pid, []):
        if candidate is process or (candidate.start_ns or 0) > process.start_ns:
            continue
        if candidate.end_ns is None or candidate.end_ns >= process.start_ns:
            best = candidate
    return best


def _detail(raw: Bytes, offset: int, pointer_size: int) -> tuple[int, int]:
    """Return where an event's detail starts, and how many bytes of it are in the file."""
    depth, size = raw.unpack(_DEPTH_AND_SIZE, offset + 0x28)
    at = offset + _HEAD_SIZE + pointer_size * depth
    return at, max(0, min(size, len(raw) - at))


def _text(raw: Bytes, at: int, info: int, end: int) -> tuple[str | None, int]:
    """Return a text whose length and width are in `info` (None if it does not fit), and where it ends."""
    size = info & 0x7FFF
    if info < 0x8000:
        size *= 2
    if at + size > end or not size:
        return None, at + size
    text = raw[at : at + size]
    return decode_name(text if info < 0x8000 else text.decode("latin-1").encode("utf-16-le")), at + size


class _Strings:
    """The string table, read on demand; an unreadable string is None and counted."""

    def __init__(self, raw: Bytes, start: int, diagnostics: Diagnostics) -> None:
        self._raw = raw
        self._start = start
        self._diagnostics = diagnostics
        self._known: dict[int, str | None] = {}
        self._budget = 4 * len(raw)  # what all processes' texts may come to; they share strings
        self._count = 0
        if 0 < start <= len(raw) - 4:
            self._count = raw.unpack(_DWORD, start)[0]
        else:
            diagnostics.count("pml_bad_table", offset=min(start, len(raw)))

    def __getitem__(self, number: int) -> str | None:
        if number not in self._known:
            self._known[number] = self._read(number)
        text = self._known[number]
        self._budget -= len(text or "")
        return (text or None) if self._budget > 0 else None

    def _read(self, number: int) -> str | None:
        raw, entry = self._raw, self._start + 4 + 4 * number
        if number < self._count and entry + 4 <= len(raw):
            at = self._start + raw.unpack(_DWORD, entry)[0]
            if at + 4 <= len(raw):
                size = raw.unpack(_DWORD, at)[0]
                if size <= _LONGEST + 2 and at + 4 + size <= len(raw):
                    text = raw[at + 4 : at + 4 + size]
                    return decode_name(text.removesuffix(b"\0\0") if size % 2 == 0 else text)
        if self._count:
            self._diagnostics.count("pml_bad_table", offset=min(entry, len(raw)))
        return None
