"""Persistence: a script host plants autostarts of several kinds, among ordinary activity."""

from tracer.scenarios.data import dword, expand_text, multi_text, text
from tracer.scenarios.ordinary import Desktop
from tracer.scenarios.stage import Act, Stage

__all__ = ["SUMMARY", "begin"]

SUMMARY = "A script that alice opened plants autostarts, and weakens what would notice them."
_DROPPED = r"C:\Users\alice\AppData\Roaming\Contoso\updater.exe"
_LIBRARY = r"C:\Users\alice\AppData\Roaming\Contoso\sync.dll"
_NT = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
_WINDOWS = r"SOFTWARE\Microsoft\Windows\CurrentVersion"
_SYSTEM = r"HKLM\SYSTEM\CurrentControlSet"
_CLSID = "{BCDE0395-E52F-467C-8E3D-C4579291692E}"  # a class of the audio service that many programs load
_TASK = "{A7C4E0B1-52D9-4B7F-9E36-0D2F8B61C3A5}"


def begin(stage: Stage, desktop: Desktop) -> None:
    """Put the story on the stage."""
    stage.play(_script(stage, desktop), after_us=1_200_000, main=True)


def _script(stage: Stage, desktop: Desktop) -> Act:
    story = stage.story
    host = stage.run(
        "wscript.exe", parent=desktop.explorer,
        command_line=r'"C:\Windows\System32\WScript.exe" "C:\Users\alice\Downloads\invoice_2024.js"',
    )  # fmt: skip
    story.cast.append(host.pid)
    host.get(r"HKCU\Software\Microsoft\Windows Script Host\Settings", "Enabled")
    host.get(r"HKLM\SOFTWARE\Microsoft\Windows Script Host\Settings", "Enabled")
    yield stage.pause(60_000, 460_000)
    shell = stage.run(
        "powershell.exe", parent=host, folder=r"C:\Windows\System32\WindowsPowerShell\v1.0",
        command_line=r"powershell.exe -NoProfile -WindowStyle Hidden -File C:\Users\alice\AppData\Local\Temp\a.ps1",
    )  # fmt: skip
    story.cast.append(shell.pid)
    for key in (rf"HKCU\{_WINDOWS}\Run", rf"HKLM\{_WINDOWS}\Run"):  # it looks before it writes
        handle = shell.open(key)
        if handle is not None:
            shell.enumerate_values(handle)
            shell.close(handle)
    yield stage.pause(60_000, 460_000)

    def planted(what: str, key: str, value: str, note: str) -> None:
        story.plant(what, key.replace("HKCU", f"HKU\\{shell.process.sid}", 1), value, note)

    shell.put(rf"HKCU\{_WINDOWS}\Run", "ContosoUpdate", text(f'"{_DROPPED}" /quiet'))
    planted("autostart", rf"HKCU\{_WINDOWS}\Run", "ContosoUpdate", "starts when alice signs in")
    yield stage.pause(60_000, 460_000)
    shell.put(rf"HKLM\{_WINDOWS}\RunOnce", "*Finish", text(f'"{_DROPPED}" /finish'))
    planted("autostart", rf"HKLM\{_WINDOWS}\RunOnce", "*Finish", "starts once, in safe mode too")
    yield stage.pause(60_000, 460_000)

    userinit = shell.get(rf"{_NT}\Winlogon", "Userinit")
    before = userinit[1].decode("utf-16-le").rstrip("\0") if userinit else ""
    shell.put(rf"{_NT}\Winlogon", "Userinit", text(f"{before}{_DROPPED},"))
    planted("autostart", rf"{_NT}\Winlogon", "Userinit", "a second program beside userinit.exe")
    yield stage.pause(60_000, 460_000)
    shell.put(
        rf"{_NT}\Image File Execution Options\sethc.exe", "Debugger", text(r"C:\Windows\System32\cmd.exe")
    )
    planted(
        "hijack",
        rf"{_NT}\Image File Execution Options\sethc.exe",
        "Debugger",
        "a prompt at the sign-in screen",
    )
    yield stage.pause(60_000, 460_000)

    shell.put(rf"HKCU\Software\Classes\CLSID\{_CLSID}\InprocServer32", "", text(_LIBRARY))
    shell.put(rf"HKCU\Software\Classes\CLSID\{_CLSID}\InprocServer32", "ThreadingModel", text("Both"))
    story.plant(
        "hijack", rf"HKU\{shell.process.sid}_Classes\CLSID\{_CLSID}\InprocServer32", "",
        "alice's class stands before the machine's",
    )  # fmt: skip
    yield stage.pause(60_000, 460_000)
    shell.put(r"HKCU\Environment", "UserInitMprLogonScript", expand_text(r"%APPDATA%\Contoso\logon.cmd"))
    planted("autostart", r"HKCU\Environment", "UserInitMprLogonScript", "a logon script of alice")
    shell.put(r"HKCU\Control Panel\Desktop", "SCRNSAVE.EXE", text(_DROPPED))
    planted("autostart", r"HKCU\Control Panel\Desktop", "SCRNSAVE.EXE", "the screen saver of alice")
    yield stage.pause(60_000, 460_000)

    windows = shell.create(rf"{_NT}\Windows")
    shell.set(windows, "AppInit_DLLs", text(_LIBRARY))
    shell.set(windows, "LoadAppInit_DLLs", dword(1))
    shell.close(windows)
    planted("hijack", rf"{_NT}\Windows", "AppInit_DLLs", "loaded into every program with a window")
    planted("hijack", rf"{_NT}\Windows", "LoadAppInit_DLLs", "switches AppInit_DLLs on")
    yield stage.pause(60_000, 460_000)
    shell.put(rf"{_SYSTEM}\Control\Lsa", "Notification Packages", multi_text("scecli", "ctsync"))
    planted("credential", rf"{_SYSTEM}\Control\Lsa", "Notification Packages", "sees every new password")
    shell.put(rf"{_SYSTEM}\Control\SecurityProviders\WDigest", "UseLogonCredential", dword(1))
    planted(
        "credential",
        rf"{_SYSTEM}\Control\SecurityProviders\WDigest",
        "UseLogonCredential",
        "keeps passwords in memory",
    )
    yield stage.pause(60_000, 460_000)

    register = stage.run("reg.exe", parent=shell, command_line=(
        rf'reg add "HKLM\SOFTWARE\Microsoft\Windows Defender\Exclusions\Paths" /v {_DROPPED.rpartition(chr(92))[0]} /t REG_DWORD /d 0 /f'
    ))  # fmt: skip
    story.cast.append(register.pid)
    exclusions = r"HKLM\SOFTWARE\Microsoft\Windows Defender\Exclusions\Paths"
    register.put(exclusions, _DROPPED.rpartition("\\")[0], dword(0))
    planted("security control", exclusions, _DROPPED.rpartition("\\")[0], "the folder is not scanned")
    stage.exit(register)
    yield stage.pause(60_000, 460_000)

    control = stage.run(
        "sc.exe", parent=shell, command_line=f'sc create CtSync binPath= "{_DROPPED} -s" start= auto'
    )
    story.cast.append(control.pid)
    services, service = desktop.services, rf"{_SYSTEM}\Services\CtSync"
    handle = services.create(service)
    for name, data in (("Type", dword(16)), ("Start", dword(2)), ("ErrorControl", dword(1)),
                       ("ImagePath", expand_text(f"{_DROPPED} -s")), ("ObjectName", text("LocalSystem"))):  # fmt: skip
        services.set(handle, name, data)
        yield 1_500.0
    services.close(handle)
    planted("autostart", service, "ImagePath", "a service, written by services.exe for sc.exe")
    stage.exit(control)
    yield stage.pause(60_000, 460_000)

    cache, scheduler = rf"{_NT}\Schedule\TaskCache", desktop.scheduler
    scheduler.put(rf"{cache}\Tree\ContosoUpdate", "Id", text(_TASK))
    scheduler.put(rf"{cache}\Tree\ContosoUpdate", "Index", dword(3))
    scheduler.put(rf"{cache}\Tasks\{_TASK}", "Path", text(r"\ContosoUpdate"))
    scheduler.put(rf"{cache}\Tasks\{_TASK}", "Author", text(r"DESKTOP-7Q2SIM\alice"))
    planted("autostart", rf"{cache}\Tree\ContosoUpdate", "Id", "a task, written by the Task Scheduler")
    planted("autostart", rf"{cache}\Tasks\{_TASK}", "Path", "the same task, by its id")
    yield stage.pause(60_000, 460_000)
    stage.exit(shell)
    stage.exit(host)
