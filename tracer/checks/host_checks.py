"""Facts about this machine for the checks: plain values, None if unknown."""

import importlib.metadata
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tracer.recording.autologger import BOOT_SESSION, BootStatus, boot_status
from tracer.recording.status import RecordingStatus, recording_status
from tracer.session.options import SessionStatus
from tracer.windows import rights
from tracer.windows.handle_table import HandleTable, read_handle_table
from tracer.windows.machine_registry import real_registry

__all__ = ["Machine"]

_WMI_KEY = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\WMI"
_IS_WINDOWS = sys.platform == "win32"


class Machine:
    """This machine; tests replace it."""

    def is_supported(self) -> bool:
        """Whether it can trace at all."""
        from tracer.session.session import is_supported

        return is_supported()

    def system(self) -> str:
        """Return the name of the system, for people."""
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
        return rights.is_elevated()

    def sees_all_sessions(self) -> bool | None:
        """Return whether `sessions` lists all running sessions; None if unknown."""
        return rights.sees_all_sessions()

    def is_64_bit(self) -> bool:
        """Whether this Python is a 64-bit program."""
        from tracer.session.session import is_64_bit

        return is_64_bit()

    def pywintrace_version(self) -> str | None:
        """Return the installed version of pywintrace."""
        try:
            return importlib.metadata.version("pywintrace")
        except importlib.metadata.PackageNotFoundError:
            return None

    def sessions(self) -> list[SessionStatus]:
        """Return the running sessions that this user may see."""
        from tracer.session.session import list_sessions

        return list_sessions()

    def session_limit(self) -> int | None:
        """Return the configured limit of sessions (EtwMaxLoggers); None if none is set."""
        if not _IS_WINDOWS:
            return None
        limit = (real_registry("the limit of sessions").read(_WMI_KEY) or {}).get("EtwMaxLoggers")
        return limit if isinstance(limit, int) else None

    def stop(self, name: str) -> None:
        """Stop a session."""
        from tracer.session.session import stop_session

        stop_session(name)

    def recording(self) -> RecordingStatus:
        """Return the status of this user's recording.

        Raises:
            RegtraceError: unknown.
        """
        from tracer.session.session import find_session

        return recording_status(find_session)

    def forget_recording(self) -> None:
        """Forget this user's recording."""
        from tracer.recording.state_file import release

        release()

    def free_bytes(self, folder: Path) -> int:
        """Return the free space where a capture would be made."""
        return shutil.disk_usage(folder).free

    def handle_table(self) -> HandleTable:
        """Read the handle table."""
        return read_handle_table()

    def boot(self) -> BootStatus | None:
        """Return the status of the boot trace; None outside of Windows.

        Raises:
            NotElevated: its session may not be asked.
        """
        from tracer.session.session import find_session

        if not _IS_WINDOWS:
            return None
        running = find_session(BOOT_SESSION)
        return boot_status(real_registry("the boot trace"), [] if running is None else [running])

    def has_numba(self) -> bool:
        """Whether the compiled loops can run."""
        return find_spec("numba") is not None
