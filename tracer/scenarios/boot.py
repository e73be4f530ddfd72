"""A boot: the session manager, the services and a logon, from the first process on."""

from tracer.scenarios.data import dword
from tracer.scenarios.ordinary import Desktop
from tracer.scenarios.stage import Act, Stage

__all__ = ["SUMMARY", "begin"]

SUMMARY = "A machine starts: drivers, services in the order of their start types, and alice signs in."
_CONTROL = r"HKLM\SYSTEM\CurrentControlSet\Control"
_SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
_BOOT, _AUTOMATIC = 0, 2


def begin(stage: Stage, desktop: Desktop) -> None:
    """Put the story on the stage."""
    stage.play(_boot(stage, desktop), main=True)


def _boot(stage: Stage, desktop: Desktop) -> Act:
    story = stage.story
    manager = stage.run("smss.exe", command_line=r"\SystemRoot\System32\smss.exe")
    story.cast.append(manager.pid)
    for name in ("BootExecute", "CriticalSectionTimeout", "PendingFileRenameOperations"):
        manager.get(rf"{_CONTROL}\Session Manager", name)
    environment = manager.open(rf"{_CONTROL}\Session Manager\Environment")
    if environment is not None:
        manager.enumerate_values(environment)
        manager.close(environment)
    yield 30_000.0

    stage.run("csrss.exe", parent=manager)
    initial = stage.run("wininit.exe", parent=manager, command_line="wininit.exe")
    logon = stage.run("winlogon.exe", parent=manager, command_line="winlogon.exe")
    stage.run("lsass.exe", parent=initial, command_line=r"C:\Windows\system32\lsass.exe")
    initial.get(rf"{_CONTROL}\ComputerName\ActiveComputerName", "ComputerName")
    yield 20_000.0

    services = desktop.services
    story.cast.append(services.pid)
    top = services.open(_SERVICES)
    assert top is not None, "every machine has services"
    names = services.enumerate_keys(top)
    automatic = []
    for name in names:
        key = services.open_below(top, name)
        if key is None:
            continue
        start = services.query(key, "Start")
        if start == dword(_BOOT):
            services.query(key, "ImagePath")
        elif start == dword(_AUTOMATIC):
            automatic.append(name)
        services.close(key)
        yield 1_000.0
    services.close(top)
    for name in automatic:
        key = services.open(rf"{_SERVICES}\{name}")
        assert key is not None, "it was there a moment ago"
        for value in ("Type", "ImagePath", "ObjectName", "DependOnService", "FailureActions"):
            services.query(key, value)
        services.close(key)
        host = stage.run(
            "svchost.exe", parent=services, command_line=rf"C:\Windows\system32\svchost.exe -k {name}"
        )
        host.get(rf"{_SERVICES}\{name}\Parameters", "ServiceDll")
        yield 15_000.0
    story.plant("services started", _SERVICES, None, "services with start type 2", len(automatic))

    for name in ("Shell", "Userinit", "AutoAdminLogon"):
        logon.get(r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon", name)
    yield 200_000.0
    userinit = stage.run(
        "userinit.exe", parent=logon, user="alice", command_line=r"C:\Windows\system32\userinit.exe"
    )
    shell = stage.run(
        "explorer.exe", parent=userinit, folder=r"C:\Windows", command_line=r"C:\Windows\Explorer.EXE"
    )
    looks = [(userinit, r"HKCU\Environment")]
    for root in (r"HKLM\SOFTWARE", r"HKCU\Software"):
        looks += [(shell, rf"{root}\Microsoft\Windows\CurrentVersion\{name}") for name in ("RunOnce", "Run")]
    for program, path in looks:
        handle = program.open(path)
        if handle is not None:
            program.enumerate_values(handle)
            program.close(handle)
        yield 10_000.0
    stage.exit(userinit)
    yield 400_000.0
