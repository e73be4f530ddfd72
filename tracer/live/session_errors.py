"""What Windows' error numbers of the tracing functions mean to a user: one sentence each, with what to do next.

Facts: the error tables of StartTrace, ControlTrace, EnableTraceEx2, OpenTrace and ProcessTrace.
"""

from tracer.errors import NotElevated, PlatformError, SessionError, SessionGone, SessionLimit

__all__ = ["ALREADY_EXISTS", "INSTANCE_NOT_FOUND", "INVALID_PARAMETER", "error_for"]

INVALID_PARAMETER, ALREADY_EXISTS, INSTANCE_NOT_FOUND = 87, 183, 4201
_ACCESS_DENIED, _PRIVILEGE_NOT_HELD, _NO_SYSTEM_RESOURCES, _INVALID_HANDLE = 5, 1314, 1450, 6
_ELEVATE = (
    "open a terminal with 'Run as administrator' (tracing the kernel needs an administrator, membership in Performance "
    "Log Users is not enough) and run the command again"
)
_NEXT = {
    3: "its folder does not exist; make the folder or choose another place",
    24: "Windows did not accept the size of a structure (24); please report this with the Windows build",
    32: "the file is in use; choose another file, or close the program that has it open",
    50: "this build of Windows does not support it (50); leave the option out",
    87: "Windows rejected the settings (87); try without buffer sizes, filters and options of your own",
    112: "the disk is full; free some space (about 200 MB more than the trace needs) or choose another disk",
    161: "the file's path cannot be used, or another session writes to it; choose another file",
    183: "a session of that name is running; see 'regtrace sessions', stop it there or choose another name",
    234: "a name is too long for Windows; choose a shorter path",
    1460: "the providers took too long to answer (1460); try again",
}


def error_for(code: int, doing: str, name: str) -> SessionError | PlatformError:
    """Return the error to raise for Windows' error number `code`.

    Args:
        code: the error number.
        doing: what was tried, as in "start", "enable provider ... in".
        name: name of the session.
    """
    what = f"cannot {doing} session '{name}'"
    if code in (_ACCESS_DENIED, _PRIVILEGE_NOT_HELD):
        return NotElevated(f"{what}: access is denied; {_ELEVATE}")
    if code == _NO_SYSTEM_RESOURCES:
        return SessionLimit(
            f"{what}: Windows has no free session (64 at most, 8 for one provider); list them with 'logman query -ets' "
            "and stop what is not needed with 'logman stop NAME -ets'",
            code,
        )
    if code in (INSTANCE_NOT_FOUND, _INVALID_HANDLE):
        return SessionGone(f"{what}: no session of that name is running; start it again", code)
    return SessionError(f"{what}: {_NEXT.get(code, f'Windows error {code}; try again')}", code)
