"""Ordinary activity: what Windows and its usual programs do to the registry while a story happens."""

from tracer.scenarios.data import binary, dword, filetime, rot13, text, user_assist
from tracer.scenarios.program import Program
from tracer.scenarios.stage import Act, Stage

__all__ = ["Desktop", "start_ordinary"]

_EXPLORER = r"HKCU\Software\Microsoft\Windows\CurrentVersion\Explorer"
_USER_ASSIST = _EXPLORER + r"\UserAssist\{CEBFF5CD-ACE2-4F4F-9178-9926F41749EA}\Count"
_BAM = r"HKLM\SYSTEM\CurrentControlSet\Services\bam\State\UserSettings"
_MUI_CACHE = r"HKCU\Software\Classes\Local Settings\MuiCache\17\52C64B7E"
_SESSION_MANAGER = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager"
_SYSTEM_FOLDER = "{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}"  # FOLDERID_System, as UserAssist writes paths

_EXTENSIONS = (".txt", ".pdf", ".docx", ".png", ".lnk", ".cnote", ".zip", ".html")
_CLASSES = (
    "{474C98EE-CF3D-41F5-80E3-4AAB0AB04301}", "{BCDE0395-E52F-467C-8E3D-C4579291692E}",
    "{00021401-0000-0000-C000-000000000046}", "{9BA05972-F6A8-11CF-A442-00A0C90A8F39}",
)  # fmt: skip
_SERVICES = ("Dnscache", "Dhcp", "LanmanWorkstation", "Schedule", "ProfSvc", "CryptSvc", "wuauserv", "BITS")


class Desktop:
    """The programs that ran before the trace.

    Attributes:
        services: services.exe, which writes the keys of services.
        explorer: explorer.exe of alice, which starts what a user starts.
        scheduler: the svchost.exe of the Task Scheduler.
    """

    def __init__(self, stage: Stage) -> None:
        stage.run("System", announced=False, command_line=" ")
        self.services = stage.run(
            "services.exe", announced=False, command_line=r"C:\Windows\system32\services.exe"
        )
        self.scheduler = stage.run(
            "svchost.exe", parent=self.services, announced=False,
            command_line=r"C:\Windows\system32\svchost.exe -k netsvcs -p -s Schedule",
        )  # fmt: skip
        self.explorer = stage.run(
            "explorer.exe",
            user="alice",
            folder=r"C:\Windows",
            announced=False,
            command_line=r"C:\Windows\Explorer.EXE",
        )


def start_ordinary(stage: Stage, pace: float) -> Desktop:
    """Start ordinary activity, and return its programs.

    Args:
        stage: the stage, before anything happened.
        pace: how busy the machine is; 1 is about 2,000 operations a second.
    """
    desktop = Desktop(stage)
    services, explorer = desktop.services, desktop.explorer

    def host(group: str, service: str) -> Program:
        line = rf"C:\Windows\system32\svchost.exe -k {group} -p -s {service}"
        return stage.run("svchost.exe", parent=services, announced=False, command_line=line)

    network, moderator = host("NetworkService", "Dnscache"), host("LocalSystemNetworkRestricted", "bam")
    profile = host("UserProfileService", "ProfSvc")
    defender = stage.run(
        "MsMpEng.exe", parent=services, folder=r"C:\Program Files\Windows Defender", announced=False
    )
    indexer = stage.run(
        "SearchIndexer.exe", parent=services, announced=False,
        command_line=r"C:\Windows\system32\SearchIndexer.exe /Embedding",
    )  # fmt: skip
    browser = stage.run(
        "msedge.exe",
        parent=explorer,
        folder=r"C:\Program Files (x86)\Microsoft\Edge\Application",
        announced=False,
    )
    broker = stage.run("RuntimeBroker.exe", parent=explorer, announced=False)
    other = stage.run("explorer.exe", user="bob", folder=r"C:\Windows", announced=False)

    pause = 60_000 / max(pace, 0.01)
    for number, act in enumerate((
        _shell(stage, explorer, pause), _shell(stage, other, pause * 4), _classes(stage, explorer, pause / 2),
        _network(stage, network, pause), _moderator(stage, moderator, pause * 6), _profiles(stage, profile, pause * 8),
        _scanner(stage, defender, pause / 2), _index(stage, indexer, pause / 2), _browser(stage, browser, pause),
        _settings(stage, broker, pause), _service_control(stage, services, pause * 3),
    )):  # fmt: skip
        stage.play(act, after_us=number * 500)
    return desktop


def _shell(stage: Stage, program: Program, pause: float) -> Act:
    """Explorer: what was used, what a thing is called, how a folder looks."""
    runs = 3
    while True:
        draw = stage.random.random()
        if draw < 0.06:
            runs += 1
            name = rot13(f"{_SYSTEM_FOLDER}\\notepad.exe")
            program.put(_USER_ASSIST, name, user_assist(runs, runs * 9000, stage.world.now()))
        elif draw < 0.10:
            program.put(
                _EXPLORER + r"\RecentDocs",
                "MRUListEx",
                binary(b"\x02\0\0\0\x01\0\0\0\0\0\0\0\xff\xff\xff\xff"),
            )
        elif draw < 0.2:
            path = r"C:\Windows\System32\notepad.exe.FriendlyAppName"
            if program.get(_MUI_CACHE, path) is None and draw < 0.13:
                program.put(_MUI_CACHE, path, text("Notepad"))
        elif draw < 0.6:
            for name in ("Hidden", "HideFileExt", "TaskbarGlomLevel", "ShowSuperHidden"):
                program.get(_EXPLORER + r"\Advanced", name)
        else:
            extension = _EXTENSIONS[int(stage.random.random() * len(_EXTENSIONS))]
            program.get(rf"{_EXPLORER}\FileExts\{extension}\UserChoice", "ProgId")
            program.get(rf"HKCU\Software\Classes\{extension}")
            program.get(rf"HKCR\{extension}")
            program.get(rf"HKCR\{extension}", "PerceivedType")
        yield stage.pause(pause * 0.3, pause * 1.7)


def _classes(stage: Stage, program: Program, pause: float) -> Act:
    """COM: a class is looked for in the user's classes, then in the machine's."""
    while True:
        clsid = _CLASSES[int(stage.random.random() * len(_CLASSES))]
        program.open(rf"HKCU\Software\Classes\CLSID\{clsid}")
        handle = program.open(rf"HKCR\CLSID\{clsid}")
        if handle is not None:
            missing = program.open_below(handle, "TreatAs")
            assert missing is None
            server = program.open_below(handle, "InprocServer32")
            if server is not None:
                program.query_key(server, 2)
                program.query(server, "")
                program.query(server, "ThreadingModel")
                program.close(server)
            program.close(handle)
        yield stage.pause(pause * 0.3, pause * 1.7)


def _network(stage: Stage, program: Program, pause: float) -> Act:
    """The DNS client: its parameters, again and again."""
    parameters = r"HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
    while True:
        for name in ("Hostname", "Domain", "SearchList", "UseDomainNameDevolution"):
            program.get(parameters, name)
        handle = program.open(parameters + r"\Interfaces")
        if handle is not None:
            program.enumerate_keys(handle)
            program.close(handle)
        program.get(r"HKLM\SOFTWARE\Policies\Microsoft\Windows NT\DNSClient", "EnableMulticast")
        yield stage.pause(pause * 0.3, pause * 1.7)


def _moderator(stage: Stage, program: Program, pause: float) -> Act:
    """The background activity moderator: when a program last ran."""
    sid = stage.world.registry.sids[0]
    images = ("Windows\\explorer.exe", "Windows\\System32\\notepad.exe", "Program Files\\7-Zip\\7zFM.exe")
    while True:
        image = images[int(stage.random.random() * len(images))]
        data = filetime(stage.world.now()) + bytes(16)
        program.put(rf"{_BAM}\{sid}", rf"\Device\HarddiskVolume3\{image}", binary(data))
        yield stage.pause(pause * 0.3, pause * 1.7)


def _profiles(stage: Stage, program: Program, pause: float) -> Act:
    """The profile service: whose hive is whose."""
    profiles = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList"
    while True:
        handle = program.open(profiles)
        assert handle is not None
        for sid in program.enumerate_keys(handle):
            program.get(rf"{profiles}\{sid}", "ProfileImagePath")
        program.close(handle)
        yield stage.pause(pause * 0.3, pause * 1.7)


def _scanner(stage: Stage, program: Program, pause: float) -> Act:
    """The virus scanner: policies that are not set, then its own settings."""
    while True:
        program.get(
            r"HKLM\SOFTWARE\Policies\Microsoft\Windows Defender\Real-Time Protection",
            "DisableRealtimeMonitoring",
        )
        program.get(r"HKLM\SOFTWARE\Microsoft\Windows Defender\Real-Time Protection", "DpaDisabled")
        handle = program.open(r"HKLM\SOFTWARE\Microsoft\Windows Defender\Exclusions\Paths")
        if handle is not None:
            program.enumerate_values(handle)
            program.close(handle)
        yield stage.pause(pause * 0.3, pause * 1.7)


def _index(stage: Stage, program: Program, pause: float) -> Act:
    """The indexer: which filter reads a kind of file."""
    while True:
        extension = _EXTENSIONS[int(stage.random.random() * len(_EXTENSIONS))]
        program.get(rf"HKCR\{extension}\PersistentHandler")
        program.get(rf"HKCR\{extension}", "Content Type")
        program.get(_SESSION_MANAGER, "CriticalSectionTimeout")
        yield stage.pause(pause * 0.3, pause * 1.7)


def _browser(stage: Stage, program: Program, pause: float) -> Act:
    """The browser: policies of machine and user, and the proxy."""
    while True:
        program.get(r"HKLM\SOFTWARE\Policies\Microsoft\Edge", "MetricsReportingEnabled")
        program.get(r"HKCU\Software\Policies\Microsoft\Edge", "MetricsReportingEnabled")
        program.get(r"HKCU\Software\Microsoft\Windows\CurrentVersion\Internet Settings", "ProxyEnable")
        yield stage.pause(pause * 0.3, pause * 1.7)


def _settings(stage: Stage, program: Program, pause: float) -> Act:
    """The broker of store apps: language, theme, and a count of its own."""
    count = 0
    while True:
        program.get(r"HKCU\Control Panel\International", "LocaleName")
        program.get(r"HKCU\Software\Microsoft\Windows\CurrentVersion\Themes\Personalize", "AppsUseLightTheme")
        if stage.random.random() < 0.1:
            count += 1
            program.put(_EXPLORER + r"\SessionInfo\1", "Activations", dword(count))
        yield stage.pause(pause * 0.3, pause * 1.7)


def _service_control(stage: Stage, program: Program, pause: float) -> Act:
    """The service control manager: which control set is current, and the settings of one service after the other."""
    program.get(r"HKLM\SYSTEM\Select", "Current")
    while True:
        service = _SERVICES[int(stage.random.random() * len(_SERVICES))]
        for name in ("Start", "ImagePath", "ObjectName", "DelayedAutostart"):
            program.get(rf"HKLM\SYSTEM\CurrentControlSet\Services\{service}", name)
        yield stage.pause(pause * 0.3, pause * 1.7)
