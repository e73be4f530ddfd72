"""The boot trace: a session that Windows starts early in every boot, configured by values in the registry.

What is written is a table of writes, so that it can be shown before it is done, as a .reg file for people. How
an AutoLogger takes filter data is not documented (UNCONFIRMED), so the provider's option word is not asked
for: a boot trace holds names and outcomes, and value data only if another program had switched it on.

Value names: "Configuring and Starting an AutoLogger Session", Windows documentation.
"""

import ntpath
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tracer.errors import CaptureError, UsageError
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.session.options import SESSION_PREFIX, LogMode, SessionCounters, SessionStatus, keyword_mask
from tracer.windows.machine_registry import Data, Registry

__all__ = [
    "BOOT_KEY",
    "BOOT_SESSION",
    "DEFAULT_LOG",
    "BootOptions",
    "BootStatus",
    "Write",
    "boot_log",
    "boot_status",
    "boot_writes",
    "disable_boot",
    "enable_boot",
    "reg_file",
    "removal_file",
    "stop_boot",
]

BOOT_SESSION = SESSION_PREFIX + "boot"
BOOT_KEY = f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\WMI\\Autologger\\{BOOT_SESSION}"
_GUID = "{d66f1948-843d-4eb9-b3a9-75a7ca7a7bee}"  # of our boot session, and of nothing else
DEFAULT_LOG = f"%SystemRoot%\\System32\\LogFiles\\WMI\\{BOOT_SESSION}.etl"
_PROCESS_KEYWORD = 0x10  # WINEVENT_KEYWORD_PROCESS of Microsoft-Windows-Kernel-Process
_ALL_LEVELS = 0xFF
_MOST_BOOTS = 16  # what FileMax may be at most
_QPC = 1
_NUMBERED = 4  # ".001": what FileMax appends to the name of the file


@dataclass(frozen=True, slots=True)
class BootOptions:
    r"""Options of a boot trace.

    Attributes:
        operations: names as in `tracer.session.options.KEYWORDS`; None is all.
        log_file: the .etl file, a Windows path; may hold ``%SystemRoot%``.
        largest_mib: its largest size.
        ring: keep the last `largest_mib` instead of the first.
        boots: how many boots keep their file before the oldest is overwritten, 1 to 16.
        buffer_kib, smallest_count, largest_count, flush_seconds: as in SessionOptions.
    """

    operations: tuple[str, ...] | None = None
    log_file: str = DEFAULT_LOG
    largest_mib: int = 1024
    ring: bool = False
    boots: int = 3
    buffer_kib: int = 256
    smallest_count: int = 64
    largest_count: int = 128
    flush_seconds: int = 1


@dataclass(frozen=True, slots=True)
class Write:
    """One registry value to write: key, name, kind (REG_SZ, REG_DWORD, REG_QWORD) and data."""

    key: str
    name: str
    kind: str
    data: Data


@dataclass(frozen=True, slots=True)
class BootStatus:
    """Status of the boot trace.

    Attributes:
        enabled: whether Windows starts it at the next boot.
        last_error: Win32 error of its last start, as Windows noted it; 0 is success, None not noted.
        values: what the registry holds, by name; None if nothing is configured.
        running: the session of this boot; None if there is none.
        log_files: files that can be collected, newest first.
    """

    enabled: bool
    last_error: int | None
    values: dict[str, Data] | None
    running: SessionStatus | None
    log_files: tuple[Path, ...]


def boot_writes(options: BootOptions) -> list[Write]:
    """Return the writes that configure the boot trace, `Start` last: a partial configuration never starts.

    Raises:
        UsageError: an option that Windows would not take, or an unknown operation.
    """
    if not 1 <= options.boots <= _MOST_BOOTS:
        raise UsageError(f"cannot keep the traces of {options.boots} boots; give 1 to {_MOST_BOOTS}")
    if options.largest_mib < 1:
        raise UsageError("the largest size of a boot trace is too small; give 1 MiB or more")
    if not ntpath.isabs(ntpath.splitdrive(options.log_file)[1]) and not options.log_file.startswith("%"):
        raise UsageError(f"{options.log_file} is not an absolute Windows path; give one such as C:\\boot.etl")
    try:
        keywords = keyword_mask(options.operations)
    except KeyError as unknown:
        raise UsageError(f"no operation of the provider is called {unknown.args[0]!r}") from unknown
    providers = {KERNEL_REGISTRY: keywords, KERNEL_PROCESS: _PROCESS_KEYWORD}
    writes = [
        Write(f"{BOOT_KEY}\\{{{guid}}}", name, kind, data)
        for guid, mask in providers.items()
        for name, kind, data in (
            ("Enabled", "REG_DWORD", 1),
            ("EnableLevel", "REG_DWORD", _ALL_LEVELS),
            ("MatchAnyKeyword", "REG_QWORD", mask),
            ("EnableProperty", "REG_DWORD", 0),
        )
    ]
    session: tuple[tuple[str, str, Data], ...] = (
        ("Guid", "REG_SZ", _GUID),
        ("BufferSize", "REG_DWORD", options.buffer_kib),
        ("ClockType", "REG_DWORD", _QPC),
        ("MinimumBuffers", "REG_DWORD", options.smallest_count),
        ("MaximumBuffers", "REG_DWORD", options.largest_count),
        ("FlushTimer", "REG_DWORD", options.flush_seconds),
        ("LogFileMode", "REG_DWORD", int(LogMode.CIRCULAR if options.ring else LogMode.SEQUENTIAL)),
        ("MaxFileSize", "REG_DWORD", options.largest_mib),
        ("FileName", "REG_SZ", options.log_file),
        ("FileMax", "REG_DWORD", options.boots),
        ("Start", "REG_DWORD", 1),
    )
    return [*writes, *(Write(BOOT_KEY, *value) for value in session)]


def reg_file(writes: Iterable[Write]) -> list[str]:
    """Return the lines of a .reg file (version 5.00) that replaces the configuration."""
    lines = [*removal_file()]
    last = None
    for write in writes:
        if write.key != last:
            lines += ["", f"[{_long(write.key)}]"]
            last = write.key
        lines.append(f"{_quoted(write.name)}={_reg_data(write.kind, write.data)}")
    return lines


def removal_file() -> list[str]:
    """Return the lines of a .reg file that removes the boot trace."""
    return ["Windows Registry Editor Version 5.00", "", f"[-{_long(BOOT_KEY)}]"]


def enable_boot(options: BootOptions, registry: Registry) -> None:
    """Configure the boot trace; it starts with the next boot and every later one until it is disabled.

    Raises:
        NotElevated: the user may not write there.
        UsageError: as `boot_writes`.
    """
    writes = boot_writes(options)
    registry.remove(BOOT_KEY)
    try:
        for write in writes:
            registry.write(write.key, write.name, write.kind, write.data)
    except BaseException:
        registry.remove(BOOT_KEY)
        raise


def disable_boot(registry: Registry) -> bool:
    """Remove the configuration, not a running session; return False if there was none."""
    return registry.remove(BOOT_KEY)


def boot_status(registry: Registry, sessions: Iterable[SessionStatus]) -> BootStatus:
    """Return the status of the boot trace."""
    values = registry.read(BOOT_KEY)
    running = next((session for session in sessions if session.name.lower() == BOOT_SESSION), None)
    file_name = None if values is None else values.get("FileName")
    error = None if values is None else values.get("Status")
    return BootStatus(
        enabled=values is not None and values.get("Start") == 1,
        last_error=error if isinstance(error, int) else None,
        values=values,
        running=running,
        log_files=_log_files(file_name if isinstance(file_name, str) else DEFAULT_LOG),
    )


def stop_boot(status: BootStatus, stop: Callable[[str], SessionCounters]) -> SessionCounters | None:
    """Stop the session of this boot, so that its file is complete; return None if none runs."""
    return None if status.running is None else stop(status.running.name)


def boot_log(status: BootStatus) -> Path:
    """Return the file to collect: the one the running session writes, otherwise the newest one.

    Raises:
        CaptureError: there is none.
    """
    if status.running is not None and status.running.log_file:
        # As the kernel spells it: \\??\\C:\\...
        return Path(os.path.expandvars(status.running.log_file.removeprefix("\\??\\")))
    if not status.log_files:
        raise CaptureError(
            "there is no boot trace to collect; `regtrace boot enable` and a restart make one, "
            "and `regtrace boot status` shows its status"
        )
    return status.log_files[0]


def _log_files(file_name: str) -> tuple[Path, ...]:
    """Return the files of a name, newest first, including those with a number that FileMax appends."""
    path = Path(os.path.expandvars(file_name))
    try:
        files = [
            entry
            for entry in path.parent.iterdir()
            if entry.name.lower() == path.name.lower() or _is_numbered(entry.name.lower(), path.name.lower())
        ]
        return tuple(sorted(files, key=lambda entry: entry.stat().st_mtime_ns, reverse=True))
    except OSError:
        return ()


def _is_numbered(name: str, log: str) -> bool:
    end = name.removeprefix(log)
    return end != name and len(end) <= _NUMBERED + 1 and end.startswith(".") and end[1:].isdigit()


def _long(key: str) -> str:
    return "HKEY_LOCAL_MACHINE" + key.removeprefix("HKLM")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _reg_data(kind: str, data: Data) -> str:
    if kind == "REG_DWORD" and isinstance(data, int):
        return f"dword:{data:08x}"
    if kind == "REG_QWORD" and isinstance(data, int):
        return "hex(b):" + data.to_bytes(8, "little").hex(",")
    return _quoted(str(data))
