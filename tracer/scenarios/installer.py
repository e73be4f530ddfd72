"""The installer: setup.exe and what it starts put a program on the machine; one part of it fails and is rolled back."""

from tracer.scenarios.data import dword, expand_text, multi_text, text
from tracer.scenarios.ordinary import Desktop
from tracer.scenarios.stage import Act, Stage

__all__ = ["SUMMARY", "begin"]

SUMMARY = "Contoso Notes is installed; its service part fails and is rolled back, which leaves nothing of that part behind."
_FOLDER = r"C:\Program Files\Contoso\Notes"
_PRODUCT = r"HKLM\SOFTWARE\Contoso\Notes"
_UNINSTALL = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\ContosoNotes"
_RUN = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
_CLASSES = r"HKLM\SOFTWARE\Classes"
_CLSID = "{3F9D1C52-6A0B-4E7D-8F21-9B64C5D7E801}"
_SERVICE = r"HKLM\SYSTEM\CurrentControlSet\Services\ContosoSync"
_IN_PROGRESS = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\InProgress"


def begin(stage: Stage, desktop: Desktop) -> None:
    """Put the story on the stage."""
    stage.play(_setup(stage, desktop), after_us=1_500_000, main=True)


def _setup(stage: Stage, desktop: Desktop) -> Act:
    story = stage.story
    setup = stage.run(
        "setup.exe", parent=desktop.explorer, folder=r"C:\Users\alice\Downloads",
        command_line=r'"C:\Users\alice\Downloads\setup.exe" /S',
    )  # fmt: skip
    story.cast.append(setup.pid)
    yield stage.pause(45_000, 135_000)

    for name in ("ProductName", "CurrentBuild", "UBR"):
        setup.get(r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion", name)
    setup.get(r"HKLM\SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full", "Release")
    setup.get(r"HKLM\SOFTWARE\Policies\Microsoft\Windows\Installer", "DisableMSI")
    setup.get(r"HKCU\Control Panel\International", "LocaleName")
    setup.get(_UNINSTALL, "DisplayVersion")
    yield stage.pause(45_000, 135_000)

    setup.put(_IN_PROGRESS, "ContosoNotes", text(r"C:\Windows\Installer\3f9d1c.ipi"))
    product = setup.create(_PRODUCT)
    for name, data in (
        ("InstallPath", text(_FOLDER)), ("Version", text("4.2.0.1187")), ("Language", dword(1033)),
        ("Components", multi_text("Editor", "Tray", "Sync")),
    ):  # fmt: skip
        setup.set(product, name, data)
        yield 4_000.0
    setup.set(product, "Version", text("4.2.1.1203"))  # the patch that the package brings along
    setup.close(product)
    yield stage.pause(45_000, 135_000)

    registrar = stage.run(
        "regsvr32.exe", parent=setup, command_line=rf'regsvr32.exe /s "{_FOLDER}\NotesShell.dll"'
    )
    story.cast.append(registrar.pid)
    registrar.put(rf"{_CLASSES}\CLSID\{_CLSID}", "", text("Contoso Notes Preview Handler"))
    registrar.put(rf"{_CLASSES}\CLSID\{_CLSID}\InprocServer32", "", text(rf"{_FOLDER}\NotesShell.dll"))
    registrar.put(rf"{_CLASSES}\CLSID\{_CLSID}\InprocServer32", "ThreadingModel", text("Apartment"))
    yield 8_000.0
    registrar.put(rf"{_CLASSES}\.cnote\ShellEx\{{8895B1C6-B41F-4C1C-A562-0D564250836F}}", "", text(_CLSID))
    stage.exit(registrar)
    yield stage.pause(45_000, 135_000)

    setup.put(rf"{_CLASSES}\.cnote", "", text("Contoso.Note.1"))
    setup.put(rf"{_CLASSES}\.cnote", "Content Type", text("application/x-contoso-note"))
    setup.put(rf"{_CLASSES}\Contoso.Note.1", "", text("Contoso Note"))
    setup.put(rf"{_CLASSES}\Contoso.Note.1\DefaultIcon", "", text(rf"{_FOLDER}\Notes.exe,1"))
    setup.put(rf"{_CLASSES}\Contoso.Note.1\shell\open\command", "", text(rf'"{_FOLDER}\Notes.exe" "%1"'))
    setup.put(rf"{_CLASSES}\.txt\OpenWithProgids", "Contoso.Note.1", text(""))
    story.plant("file association", rf"{_CLASSES}\.cnote", "", "opens with Contoso Notes")
    explorer_key = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer"
    counter = setup.get(explorer_key, "GlobalAssocChangedCounter")
    number = int.from_bytes(counter[1], "little") if counter else 0
    setup.put(explorer_key, "GlobalAssocChangedCounter", dword(number + 1))
    yield stage.pause(45_000, 135_000)

    yield from _failing_part(stage, desktop)
    yield stage.pause(45_000, 135_000)

    helper = stage.run(
        "NotesConfig.exe", parent=setup, folder=_FOLDER,
        command_line=rf'"{_FOLDER}\NotesConfig.exe" --first-run',
    )  # fmt: skip
    story.cast.append(helper.pid)
    helper.put(r"HKCU\Software\Contoso\Notes", "Theme", text("System"))
    helper.put(r"HKCU\Software\Contoso\Notes", "RecentLimit", dword(12))
    helper.put(_RUN, "ContosoNotesTray", text(rf'"{_FOLDER}\NotesTray.exe" /background'))
    story.plant("autostart", _RUN, "ContosoNotesTray", "the tray icon starts with every session")
    stage.exit(helper)
    yield stage.pause(45_000, 135_000)

    setup.put(
        r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths\Notes.exe",
        "",
        text(rf"{_FOLDER}\Notes.exe"),
    )
    uninstall = setup.create(_UNINSTALL)
    for name, data in (
        ("DisplayName", text("Contoso Notes")), ("DisplayVersion", text("4.2.1.1203")),
        ("Publisher", text("Contoso Ltd.")), ("InstallLocation", text(_FOLDER)),
        ("UninstallString", expand_text(rf'"{_FOLDER}\uninstall.exe" /S')),
        ("EstimatedSize", dword(48_213)), ("NoModify", dword(1)),
    ):  # fmt: skip
        setup.set(uninstall, name, data)
        yield 3_000.0
    setup.close(uninstall)
    story.plant("uninstall entry", _UNINSTALL, "DisplayName", "the program can be removed again")
    setup.delete_value(_IN_PROGRESS, "ContosoNotes")
    stage.exit(setup)


def _failing_part(stage: Stage, desktop: Desktop) -> Act:
    """The service is registered by services.exe; then its certificate is missing, and all of it is taken back."""
    services, story = desktop.services, stage.story
    service = services.create(_SERVICE)
    for name, data in (
        ("DisplayName", text("Contoso Sync")), ("Type", dword(16)), ("Start", dword(2)), ("ErrorControl", dword(1)),
        ("ImagePath", expand_text(rf'"{_FOLDER}\NotesSync.exe"')), ("ObjectName", text("LocalSystem")),
    ):  # fmt: skip
        services.set(service, name, data)
        yield 2_500.0
    services.close(service)
    services.put(rf"{_SERVICE}\Parameters", "Endpoint", text("https://sync.contoso.example"))
    rules = r"HKLM\SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules"
    services.put(
        rules,
        "ContosoSync-In",
        text(rf"v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|App={_FOLDER}\NotesSync.exe|"),
    )
    yield 220_000.0
    services.get(r"HKLM\SOFTWARE\Microsoft\SystemCertificates\MY\Certificates\0E5D2B7A")
    yield 40_000.0
    services.delete_value(rules, "ContosoSync-In")
    services.delete_tree(_SERVICE)
    story.plant("rolled back", _SERVICE, None, "the service was made and removed again")
    story.plant("rolled back", rules, "ContosoSync-In", "the firewall rule was made and removed again")
