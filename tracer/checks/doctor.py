"""The doctor: what prevents a good capture on this machine, and what to do about it.

Looks and does not touch, except that leftover sessions are stopped on request. Works on every system; what
only Windows can answer is not asked elsewhere.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tracer.checks.host_checks import Machine
from tracer.checks.selftest import Report
from tracer.errors import RegtraceError
from tracer.recording.autologger import BOOT_SESSION
from tracer.recording.status import Kind
from tracer.registry.text import plural
from tracer.session.options import CAPTURE_SESSION, PROCESS_SESSION, SessionStatus
from tracer.session.owners import owner_of, owner_of_guid, owner_text

__all__ = ["STATES", "Finding", "examine", "stop_leftovers"]

STATES = ("ok", "warn", "fail", "unknown")
_MIB = 1 << 20
_LEAST_FREE, _GOOD_FREE = 256 * _MIB, 2048 * _MIB  # Windows does not log to a disk with less than some 200 MB
_DEFAULT_LIMIT = 64  # sessions, where EtwMaxLoggers is not set
_NEEDED, _ROOMY = 2, 6  # sessions of a capture; with some for other programs
_OLDEST_BUILD = 10240  # before it the provider has 15 of its 45 events, and nothing of ours was ever tried


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        name: of the check.
        state: ok, warn (a capture works, but ...), fail (it does not), unknown.
        sentence: what was found.
        advice: what to do; None if nothing is to be done.
    """

    name: str
    state: str
    sentence: str
    advice: str | None = None

    @property
    def is_problem(self) -> bool:
        """Whether it needs attention."""
        return self.state in ("warn", "fail")


def examine(
    machine: Machine | None = None,
    folder: Path | None = None,
    selftest: Report | RegtraceError | None = None,
    *,
    handles: bool = True,
) -> list[Finding]:
    """Return what every check found, in order.

    Args:
        machine: what to look at; None is this one.
        folder: where captures are to be made; None is the current folder.
        selftest: its report, or why it could not be run; None if not requested.
        handles: whether the handle table is read, which opens the processes of others.
    """
    machine = machine or Machine()
    findings = [_guarded("system", lambda: _system(machine))]
    if machine.is_supported():
        sessions = _sessions(machine)
        findings += [
            _guarded("rights", lambda: _rights(machine)),
            _guarded("pywintrace", lambda: _pywintrace(machine)),
            _guarded("sessions", lambda: _session_room(machine, sessions)),
            _guarded("recording", lambda: _recording(machine)),
            _guarded("leftovers", lambda: _leftover_finding(machine, sessions)),
            _guarded("handle table", lambda: _handle_table(machine, look=handles)),
            _guarded("boot trace", lambda: _boot(machine)),
        ]
    if machine.is_supported() or selftest is not None:
        findings += _option_word(selftest)
    findings.append(_guarded("disk", lambda: _disk(machine, folder or Path.cwd())))
    findings.append(_compiled(machine))
    return findings


def stop_leftovers(machine: Machine | None = None) -> list[str]:
    """Stop sessions of regtrace that are certainly unused, and return their names.

    A session whose process runs or cannot be asked is left alone, and so is a recording: it can be made a capture of,
    or is another user's. What is known of a recording that ended and left nothing is forgotten.

    Raises:
        PlatformError: this is not Windows, or the rights are missing.
        SessionError: Windows refuses.
    """
    machine = machine or Machine()
    stopped = []
    for session in _leftovers(machine, machine.sessions()):
        machine.stop(session.name)
        stopped.append(session.name)
    now = machine.recording()
    if now.kind is Kind.ENDED and now.state is not None and not now.state.has_trace():
        machine.forget_recording()
    return stopped


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (RegtraceError, OSError) as problem:
        return Finding(name, "unknown", f"could not be found out: {problem}")


def _system(machine: Machine) -> Finding:
    if not machine.is_supported():
        return Finding(
            "system",
            "warn",
            f"this is {machine.system()}: capturing needs Windows; everything else works here",
            "capture on Windows, and bring the capture or the .etl here",
        )
    build = machine.build()
    if not machine.is_64_bit():
        return Finding(
            "system", "fail", "this Python is a 32-bit program, and capturing needs a 64-bit one",
            "install a 64-bit Python, and regtrace there",
        )  # fmt: skip
    if build is not None and build < _OLDEST_BUILD:
        return Finding(
            "system", "warn", f"build {build} is older than Windows 10; capturing was never tried there"
        )
    return Finding("system", "ok", f"{machine.system()}, build {build or 'unknown'}")


def _rights(machine: Machine) -> Finding:
    elevated = machine.is_elevated()
    if elevated is None:
        return Finding("rights", "unknown", "it is unknown whether this process is elevated")
    if elevated:
        return Finding("rights", "ok", "this process has administrator rights")
    return Finding(
        "rights",
        "fail",
        "this process is not elevated: Windows will refuse the registry provider, also to Performance Log Users",
        "open the terminal with 'Run as administrator'",
    )


def _pywintrace(machine: Machine) -> Finding:
    version = machine.pywintrace_version()
    if version is None:
        return Finding("pywintrace", "fail", "pywintrace is not installed", "pip install pywintrace")
    return Finding("pywintrace", "ok", f"version {version}")


def _sessions(machine: Machine) -> list[SessionStatus] | RegtraceError:
    try:
        return machine.sessions()
    except RegtraceError as problem:
        return problem


def _checked(sessions: list[SessionStatus] | RegtraceError) -> list[SessionStatus]:
    if isinstance(sessions, RegtraceError):
        raise sessions
    return sessions


def _session_room(machine: Machine, sessions: list[SessionStatus] | RegtraceError) -> Finding:
    count, limit = len(_checked(sessions)), machine.session_limit() or _DEFAULT_LIMIT
    sentence = f"{count} of {limit} tracing sessions are in use"
    advice = (
        "stop sessions that are not needed: `logman query -ets` lists them, `logman stop NAME -ets` stops one"
    )
    if machine.sees_all_sessions() is not True:
        return Finding(
            "sessions",
            "unknown",
            f"{count} of {limit} tracing sessions are shown to this user; Windows leaves out those that it may not ask",
            "an elevated prompt shows all",
        )
    if limit - count < _NEEDED:
        return Finding("sessions", "fail", f"{sentence}; a capture needs {_NEEDED}", advice)
    if limit - count < _ROOMY:
        return Finding("sessions", "warn", sentence, advice)
    return Finding("sessions", "ok", sentence)


def _recording(machine: Machine) -> Finding:
    """Return the finding on this user's recording, with the verb that ends it."""
    now = machine.recording()
    if now.foreign is not None:
        return Finding(
            "recording", "warn", f"a session that is no recording of this user runs: {owner_text(now.foreign)}",
            f"wait for its end, or end it with `regtrace sessions --stop {now.foreign.name}`",
        )  # fmt: skip
    if now.state is None:
        return Finding("recording", "ok", "this user records nothing")
    target = now.state.target
    if now.kind is Kind.RUNNING:
        advice = "`regtrace stop` makes a capture of it, `regtrace cancel` discards it"
        if now.state.detached:
            return Finding("recording", "ok", f"a recording for {target} is running", advice)
        return Finding(
            "recording",
            "warn",
            f"a recording for {target} was left running by a process that is gone",
            advice,
        )
    if now.kind is Kind.OWNED:
        return Finding(
            "recording", "ok", f"process {now.state.pid} records for {target}",
            "end it there; `regtrace cancel --force` discards it if that process hangs",
        )  # fmt: skip
    if now.state.has_trace():
        return Finding(
            "recording", "warn", f"a recording for {target} ended before it became a capture",
            "`regtrace stop` makes a capture of what it wrote, `regtrace cancel` discards it",
        )  # fmt: skip
    return Finding(
        "recording", "warn", f"a recording for {target} ended and left no trace",
        "`regtrace doctor --fix` or `regtrace cancel` forget it",
    )  # fmt: skip


def _leftovers(machine: Machine, sessions: list[SessionStatus]) -> list[SessionStatus]:
    """Return the sessions that are certainly unused."""
    ours = [one for one in sessions if one.is_ours and one.name.lower() != BOOT_SESSION]
    ours = [one for one in ours if not _may_be_in_use(one)]
    recordings = [one for one in ours if one.name.lower() in (CAPTURE_SESSION, PROCESS_SESSION)]
    if not recordings:
        return ours
    now = machine.recording()  # one that was left running can still be made a capture of
    orphans = {one.name for one in now.sessions} if now.kind is Kind.ENDED else set()
    return [one for one in ours if one not in recordings or one.name in orphans]


def _may_be_in_use(session: SessionStatus) -> bool:
    """Whether its name or GUID names a process that runs or cannot be asked."""
    owner = owner_of(session.name) or owner_of_guid(session.guid)
    return owner is not None and owner.is_running() is not False


def _leftover_finding(machine: Machine, sessions: list[SessionStatus] | RegtraceError) -> Finding:
    leftovers = _leftovers(machine, _checked(sessions))
    if leftovers:
        return Finding(
            "leftovers",
            "warn",
            f"running without a process that owns them: {', '.join(session.name for session in leftovers)}",
            "`regtrace doctor --fix` stops them",
        )
    if machine.sees_all_sessions() is not True:
        return Finding(
            "leftovers",
            "unknown",
            "Windows does not show this user all sessions, so it is unknown whether one was left behind",
            "an elevated prompt shows all",
        )
    return Finding("leftovers", "ok", "no session of regtrace was left behind")


def _handle_table(machine: Machine, *, look: bool) -> Finding:
    if not look:
        return Finding("handle table", "unknown", "it was not read, as asked")
    table = machine.handle_table()
    sentence = (
        f"{plural(len(table.addresses), 'open key')} named in {table.seconds:.1f} s, {table.unnamed:,} without a name, "
        f"{plural(table.refused_processes, 'process')} refused"
    )
    if table.hidden:
        return Finding(
            "handle table",
            "warn",
            f"Windows hides the addresses of {table.hidden:,} of {plural(table.handles, 'handle')} to keys, "
            "so keys that are open before a capture stay unnamed",
            None if table.privileged else "run elevated, with the right to debug programs",
        )
    if not table.privileged:
        return Finding(
            "handle table",
            "warn",
            f"{sentence}; without the right to debug programs, so other users' keys may be missing",
            "run elevated",
        )
    return Finding("handle table", "ok", sentence)


def _boot(machine: Machine) -> Finding:
    status = machine.boot()
    if status is None or (status.values is None and status.running is None):
        return Finding("boot trace", "ok", "not configured")
    if status.last_error:
        return Finding(
            "boot trace", "warn", f"Windows could not start it at the last boot (error {status.last_error})",
            "`regtrace boot disable`, or enable it again with other options",
        )  # fmt: skip
    if status.running is not None:
        return Finding(
            "boot trace", "warn", "it is still running, since the boot",
            "`regtrace boot collect` makes a capture of it, `regtrace boot disable` ends it for good",
        )  # fmt: skip
    return Finding(
        "boot trace", "ok", "it starts with every boot" if status.enabled else "configured, but switched off"
    )


def _option_word(report: Report | RegtraceError | None) -> Iterator[Finding]:
    """Yield findings on value data, which only a trial can show."""
    name = "value data"
    if report is None:
        yield Finding(
            name, "unknown", "whether the provider hands out values can only be tried",
            "`regtrace selftest`, or `regtrace doctor --selftest`",
        )  # fmt: skip
        return
    if isinstance(report, RegtraceError):
        yield Finding("self-test", "fail", f"it could not be run: {report}")
        return
    if report.option_data is None:
        yield Finding(
            name, "fail", "the self-test saw none of its own writes", "`regtrace selftest` says more"
        )
        return
    arrived = {"values": report.option_data, "previous values": report.option_previous}
    missing = [what for what, came in arrived.items() if not came]
    if missing:
        yield Finding(name, "warn", f"the self-test got no {' and no '.join(missing)}")
    else:
        yield Finding(name, "ok", "the self-test got values and previous values")
    if report.findings:
        yield Finding(
            "self-test", "warn", f"{plural(len(report.findings), 'finding')}, the first: {report.findings[0]}",
            "`regtrace selftest` says more",
        )  # fmt: skip
    else:
        yield Finding("self-test", "ok", "every operation came out, with its name")


def _disk(machine: Machine, folder: Path) -> Finding:
    free = machine.free_bytes(folder)
    sentence = f"{free / (1 << 30):,.1f} GiB free in {folder}"
    if free < _LEAST_FREE:
        return Finding(
            "disk", "fail", sentence, "make room; Windows stops logging with less than 200 MB free"
        )
    if free < _GOOD_FREE:
        return Finding(
            "disk", "warn", sentence, "make room, or give `regtrace capture` a --max-size or a --ring"
        )
    return Finding("disk", "ok", sentence)


def _compiled(machine: Machine) -> Finding:
    if machine.has_numba():
        return Finding("compiled loops", "ok", "Numba is installed, so large traces are read faster")
    return Finding(
        "compiled loops", "ok", "Numba is not installed; large traces take longer to read",
        "pip install 'regtrace[fast]'",
    )  # fmt: skip
