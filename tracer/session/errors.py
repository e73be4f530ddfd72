"""Errors of the tracing functions: one sentence for each Windows error number, with what to do next.

Facts: the error tables of StartTrace, ControlTrace, EnableTraceEx2, OpenTrace and ProcessTrace.
"""

from pathlib import Path

from tracer.errors import NotElevated, PlatformError, SessionError, SessionGone, SessionLimit

__all__ = ["ALREADY_EXISTS", "INSTANCE_NOT_FOUND", "INVALID_PARAMETER", "error_for"]

INVALID_PARAMETER, ALREADY_EXISTS, INSTANCE_NOT_FOUND = 87, 183, 4201
_ACCESS_DENIED, _PRIVILEGE_NOT_HELD, _NO_SYSTEM_RESOURCES, _INVALID_HANDLE = 5, 1314, 1450, 6
_ELEVATE = (
    "open a terminal with 'Run as administrator' (tracing the kernel needs an administrator, membership in Performance "
    "Log Users is not enough) and run the command again"
)
_ELEVATED = (
    "this process has administrator rights already, so a policy, a security program or the permissions of the session "
    "or provider forbid it; ask who looks after this machine"
)
_PROFILE = (
    "the user needs the right 'Profile system performance' (SeSystemProfilePrivilege), which a policy may have taken "
    "from administrators; leave --classic out, or have the right given"
)
# ERROR_NO_SYSTEM_RESOURCES has a cause for each function (Microsoft Learn: StartTraceW, Return value and Remarks;
# EnableTraceEx2, Return value and Remarks).
_NO_ROOM = {
    "session": "Windows has no free session (64 as a rule, EtwMaxLoggers says another number); list them with "
    "'logman query -ets' and stop what is not needed with 'logman stop NAME -ets'",
    "system logger": "Windows has no free session (64 as a rule), or runs eight system loggers already, of which two are "
    "kept for itself; list them with 'logman query -ets' and stop a kernel trace that is not needed, or leave "
    "--classic out",
    "provider": "eight sessions have this provider enabled already, Windows takes no more; list them with 'logman query "
    "providers' and 'logman query -ets', and stop one of them",
}
_NEXT = {
    3: "its folder does not exist; make the folder or choose another place",
    24: "Windows did not accept the size of a structure (24); please report this with the Windows build",
    32: "the file is in use; choose another file, or close the program that has it open",
    50: "this build of Windows does not support it (50); leave the option out",
    87: "Windows rejected the settings (87); leave out buffer sizes, filters and options of your own, if there are any",
    112: "the disk has not the room that Windows wants: the largest size of the trace, and 200 MB where there is none "
    "or it is the system's disk; free some space, or choose a smaller size or another disk",
    161: "another session writes to that file, or its path cannot be used; choose another file",
    183: "a session of that name was stopped, and Windows still keeps the name; wait a moment before the next try",
    234: "a name is too long for Windows; choose a shorter path",
    1460: "the providers took too long to answer (1460); wait until the machine is less busy",
}


def error_for(
    code: int,
    doing: str,
    name: str,
    *,
    about: str = "session",
    elevated: bool | None = None,
    forbidden_folder: Path | None = None,
) -> SessionError | PlatformError:
    """Return the error to raise for Windows' error number `code`.

    Args:
        code: the error number.
        doing: what was tried, as in "start", "enable provider ... in".
        name: name of the session.
        about: what may have run out: session, system logger, provider.
        elevated: whether this process has the rights of an administrator; None if unknown.
        forbidden_folder: the folder of the trace file, where it is known that this process may not write there.
    """
    what = f"cannot {doing} session '{name}'"
    if code == _ACCESS_DENIED and forbidden_folder is not None:
        return SessionError(
            f"{what}: this user may not write to the folder {forbidden_folder}; choose another place for the trace",
            code,
        )
    if code == _PRIVILEGE_NOT_HELD and elevated:
        return NotElevated(f"{what}: a privilege is missing; {_PROFILE}")
    if code in (_ACCESS_DENIED, _PRIVILEGE_NOT_HELD):
        return NotElevated(f"{what}: access is denied; {_ELEVATED if elevated else _ELEVATE}")
    if code == _NO_SYSTEM_RESOURCES:
        return SessionLimit(f"{what}: {_NO_ROOM[about]}", code)
    if code in (INSTANCE_NOT_FOUND, _INVALID_HANDLE):
        return SessionGone(f"{what}: no session of that name is running", code)
    return SessionError(f"{what}: {_NEXT.get(code, f'Windows error {code}')}", code)
