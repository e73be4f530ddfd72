"""This machine, as far as a check before a capture asks about it: plain answers, None where nobody can say."""

import ctypes
import importlib.metadata
import shutil
import sys
from ctypes import c_uint32
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tracer.live.autologger import BootStatus, boot_status
from tracer.live.handle_table import HandleTable, read_handle_table
from tracer.live.kernel import bind
from tracer.live.options import SessionStatus
from tracer.live.registry import real_registry

__all__ = ["Machine"]

_WMI_KEY = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\WMI"
_CLOCK_NS = 2_000_000_000  # systems tell start times by a coarser clock
_IS_WINDOWS = sys.platform == "win32"


class Machine:
    """The machine we run on; tests put another in its place."""

    def is_supported(self) -> bool:
        """Whether it can trace at all."""
        from tracer.session import is_supported

        return is_supported()

    def system(self) -> str:
        """Return what system it is, for people."""
        import platform

        return f"{platform.system()} {platform.release()}".strip()

    def build(self) -> int | None:
        """Return the build of Windows."""
        if not _IS_WINDOWS:
            return None
        version: Any = vars(sys)["getwindowsversion"]()
        build: int = version.platform_version[
            2
        ]  # the other fields are what the program is said to be made for
        return build

    def is_elevated(self) -> bool | None:
        """Return whether this process has the rights of an administrator."""
        if not _IS_WINDOWS:
            return None
        return bool(bind("shell32", IsUserAnAdmin=(c_uint32,)).IsUserAnAdmin())

    def is_64_bit(self) -> bool:
        """Whether this Python is a 64-bit program."""
        return ctypes.sizeof(ctypes.c_void_p) == 8

    def pywintrace_version(self) -> str | None:
        """Return the installed version of pywintrace."""
        try:
            return importlib.metadata.version("pywintrace")
        except importlib.metadata.PackageNotFoundError:
            return None

    def sessions(self) -> list[SessionStatus]:
        """Return the running sessions that this user may see."""
        from tracer.session import list_sessions

        return list_sessions()

    def session_limit(self) -> int | None:
        """Return the configured limit of sessions (EtwMaxLoggers); None where none is set."""
        if not _IS_WINDOWS:
            return None
        limit = (real_registry("the limit of sessions").read(_WMI_KEY) or {}).get("EtwMaxLoggers")
        return limit if isinstance(limit, int) else None

    def stop(self, name: str) -> None:
        """Stop a session."""
        from tracer.session import stop_session

        stop_session(name)

    def claimed_sessions(self) -> bool:
        """Whether a recording of this user is under way, so that capture sessions are no leftovers."""
        import psutil

        from tracer.live.state import load

        state = load()
        if state is None or state.detached:
            return state is not None
        try:
            begun_ns = psutil.Process(state.pid).create_time() * 1e9
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True
        return begun_ns <= state.started_ns + _CLOCK_NS  # else its pid was given to another process

    def free_bytes(self, folder: Path) -> int:
        """Return the free space where a capture would be made."""
        return shutil.disk_usage(folder).free

    def handle_table(self) -> HandleTable:
        """Read the handle table."""
        return read_handle_table()

    def boot(self, sessions: list[SessionStatus]) -> BootStatus | None:
        """Return how the boot trace stands; None outside of Windows."""
        return boot_status(real_registry("the boot trace"), sessions) if _IS_WINDOWS else None

    def has_numba(self) -> bool:
        """Whether the compiled loops can run."""
        return find_spec("numba") is not None
