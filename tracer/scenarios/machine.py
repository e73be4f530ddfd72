"""The machine: the keys and values that its made-up Windows has before a scenario begins.

Names, types and data look like those of Windows 10. They were written for this table and come from no machine.
"""

from random import Random

from tracer.scenarios.data import parse_data
from tracer.simulate.options import SimulationOptions
from tracer.simulate.registry import Key, Registry

__all__ = ["USERS", "make_machine"]

USERS = ("alice", "bob")

_MACHINE = r"""
SOFTWARE\Microsoft\Windows NT\CurrentVersion
    ProductName = Windows 10 Pro
    CurrentBuild = 19045
    DisplayVersion = 22H2
    UBR = #4046
    InstallationType = Client
    RegisteredOwner = alice
SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon
    Shell = explorer.exe
    Userinit = C:\Windows\system32\userinit.exe,
    AutoAdminLogon = 0
SOFTWARE\Microsoft\Windows NT\CurrentVersion\Windows
    AppInit_DLLs =
    LoadAppInit_DLLs = #0
SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\sethc.exe
    MitigationOptions = x00000100000000000000000000000000
SOFTWARE\Microsoft\Windows NT\CurrentVersion\Fonts
    Segoe UI (TrueType) = segoeui.ttf
    Consolas (TrueType) = consola.ttf
SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree\Microsoft\Windows\Defrag\ScheduledDefrag
    Id = {5B2A9F41-7C0E-4D63-9F55-1C2D3E4F5061}
    Index = #3
SOFTWARE\Microsoft\Windows NT\CurrentVersion\Time Zones\UTC
    Display = (UTC) Coordinated Universal Time
SOFTWARE\Microsoft\Windows\CurrentVersion
    ProgramFilesDir = C:\Program Files
    CommonFilesDir = C:\Program Files\Common Files
    ProgramFilesDir (x86) = C:\Program Files (x86)
SOFTWARE\Microsoft\Windows\CurrentVersion\Run
    SecurityHealth = %%windir%\system32\SecurityHealthSystray.exe
SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce
SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System
    EnableLUA = #1
    ConsentPromptBehaviorAdmin = #5
    PromptOnSecureDesktop = #1
SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Explorer
    NoDriveTypeAutoRun = #145
SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer
    GlobalAssocChangedCounter = #17
SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders
    Common Startup = C:\ProgramData\Microsoft\Windows\Start Menu\Programs\Startup
SOFTWARE\Microsoft\Windows\CurrentVersion\App Paths\WORDPAD.EXE
     = %"%ProgramFiles%\Windows NT\Accessories\WORDPAD.EXE"
SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall\7-Zip
    DisplayName = 7-Zip 23.01 (x64)
    DisplayVersion = 23.01
    UninstallString = "C:\Program Files\7-Zip\Uninstall.exe"
SOFTWARE\Microsoft\Windows\CurrentVersion\Installer\InProgress
SOFTWARE\Microsoft\Windows\CurrentVersion\SideBySide
    PublisherPolicyChangeTime = x0000000000000000
SOFTWARE\Microsoft\Windows\CurrentVersion\ShellServiceObjectDelayLoad
SOFTWARE\Microsoft\Cryptography
    MachineGuid = 6f3f0a52-58b1-4d0e-9a77-3c1f9f1f7a11
SOFTWARE\Microsoft\Active Setup\Installed Components
SOFTWARE\Microsoft\Ole
    EnableDCOM = Y
SOFTWARE\Microsoft\Windows Defender\Exclusions\Paths
SOFTWARE\Microsoft\Windows Defender\Real-Time Protection
    DpaDisabled = #0
SOFTWARE\Microsoft\.NETFramework\v4.0.30319
SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full
    Release = #528372
    Version = 4.8.04084
SOFTWARE\Policies\Microsoft\Windows\System
SOFTWARE\Policies\Microsoft\Windows Defender
SOFTWARE\Policies\Contoso
SOFTWARE\RegisteredApplications
    Paint = SOFTWARE\Microsoft\Windows\CurrentVersion\Applets\Paint\Capabilities
SOFTWARE\Classes\.txt
     = txtfile
    Content Type = text/plain
    PerceivedType = text
SOFTWARE\Classes\.txt\OpenWithProgids
    txtfile =
SOFTWARE\Classes\.pdf
     = MSEdgePDF
SOFTWARE\Classes\txtfile\shell\open\command
     = %%SystemRoot%\system32\NOTEPAD.EXE %1
SOFTWARE\Classes\Folder\ShellEx\ContextMenuHandlers\Offline Files
     = {474C98EE-CF3D-41F5-80E3-4AAB0AB04301}
SOFTWARE\Classes\CLSID\{474C98EE-CF3D-41F5-80E3-4AAB0AB04301}
     = Offline Files Menu
SOFTWARE\Classes\CLSID\{474C98EE-CF3D-41F5-80E3-4AAB0AB04301}\InprocServer32
     = %%SystemRoot%\System32\cscui.dll
    ThreadingModel = Apartment
SOFTWARE\Classes\CLSID\{BCDE0395-E52F-467C-8E3D-C4579291692E}
     = MMDeviceEnumerator class
SOFTWARE\Classes\CLSID\{BCDE0395-E52F-467C-8E3D-C4579291692E}\InprocServer32
     = %%SystemRoot%\System32\MMDevApi.dll
    ThreadingModel = both
SOFTWARE\Classes\CLSID\{00021401-0000-0000-C000-000000000046}
     = Shortcut
SOFTWARE\Classes\CLSID\{00021401-0000-0000-C000-000000000046}\InProcServer32
     = %%SystemRoot%\system32\windows.storage.dll
    ThreadingModel = Both
SOFTWARE\Classes\Interface\{000214F9-0000-0000-C000-000000000046}
     = IShellLinkW
SYSTEM\Select
    Current = #1
    Default = #1
    LastKnownGood = #1
SYSTEM\Setup
    SystemSetupInProgress = #0
SYSTEM\ControlSet001\Control
    CurrentUser = USERNAME
    SystemBootDevice = multi(0)disk(0)rdisk(0)partition(3)
SYSTEM\ControlSet001\Control\ComputerName\ActiveComputerName
    ComputerName = DESKTOP-7Q2SIM
SYSTEM\ControlSet001\Control\Nls\CodePage
    ACP = 1252
    OEMCP = 437
SYSTEM\ControlSet001\Control\Nls\Sorting\Versions
     = 00060305
SYSTEM\ControlSet001\Control\Lsa
    Security Packages = *""
    Notification Packages = *scecli
    LimitBlankPasswordUse = #1
SYSTEM\ControlSet001\Control\SecurityProviders\WDigest
    Negotiate = #0
SYSTEM\ControlSet001\Control\Session Manager
    BootExecute = *autocheck autochk *
    CriticalSectionTimeout = #2592000
SYSTEM\ControlSet001\Control\Session Manager\Environment
    Path = %%SystemRoot%\system32;%SystemRoot%;%SystemRoot%\System32\Wbem
    TEMP = %%SystemRoot%\TEMP
    NUMBER_OF_PROCESSORS = 4
SYSTEM\ControlSet001\Control\Terminal Server
    fDenyTSConnections = #1
    TSUserEnabled = #0
SYSTEM\ControlSet001\Control\TimeZoneInformation
    TimeZoneKeyName = UTC
    Bias = #0
SYSTEM\ControlSet001\Services\Tcpip\Parameters
    Hostname = DESKTOP-7Q2SIM
    Domain =
    DataBasePath = %%SystemRoot%\System32\drivers\etc
SYSTEM\ControlSet001\Services\Tcpip\Parameters\Interfaces\{8C1D0A6E-0F0D-4A5B-9A65-1E0B7C3F2A10}
    DhcpIPAddress = 192.168.1.23
    DhcpNameServer = 192.168.1.1
    EnableDHCP = #1
SYSTEM\ControlSet001\Services\bam\State\UserSettings
SYSTEM\ControlSet001\Services\SharedAccess\Parameters\FirewallPolicy\FirewallRules
    CoreNet-DHCP-In = v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=17|LPort=68|App=%SystemRoot%\system32\svchost.exe|Svc=dhcp|
HARDWARE\DESCRIPTION\System\CentralProcessor\0
    ProcessorNameString = Simulated CPU @ 2.40GHz
    ~MHz = #2400
"""

_USER = r"""
Environment
    TEMP = %%USERPROFILE%\AppData\Local\Temp
    Path = %%USERPROFILE%\AppData\Local\Microsoft\WindowsApps;
Control Panel\Desktop
    Wallpaper = C:\Windows\web\wallpaper\Windows\img0.jpg
    ScreenSaveActive = 1
    MenuShowDelay = 400
Control Panel\International
    LocaleName = en-US
    sShortDate = M/d/yyyy
Keyboard Layout\Preload
    1 = 00000409
Software\Microsoft\Windows\CurrentVersion\Run
    OneDrive = "C:\Users\{user}\AppData\Local\Microsoft\OneDrive\OneDrive.exe" /background
Software\Microsoft\Windows\CurrentVersion\RunOnce
Software\Microsoft\Windows\CurrentVersion\Explorer\Advanced
    Hidden = #2
    HideFileExt = #1
    TaskbarGlomLevel = #0
Software\Microsoft\Windows\CurrentVersion\Explorer\Shell Folders
    AppData = C:\Users\{user}\AppData\Roaming
    Desktop = C:\Users\{user}\Desktop
    Startup = C:\Users\{user}\AppData\Roaming\Microsoft\Windows\Start Menu\Programs\Startup
Software\Microsoft\Windows\CurrentVersion\Explorer\RecentDocs
Software\Microsoft\Windows\CurrentVersion\Explorer\UserAssist\{CEBFF5CD-ACE2-4F4F-9178-9926F41749EA}\Count
Software\Microsoft\Windows\CurrentVersion\Explorer\SessionInfo\1
Software\Microsoft\Windows\CurrentVersion\Internet Settings
    ProxyEnable = #0
Software\Microsoft\Windows\CurrentVersion\Themes\Personalize
    AppsUseLightTheme = #1
Software\Microsoft\Windows NT\CurrentVersion\Winlogon
    ExcludeProfileDirs = AppData\Local;AppData\LocalLow;$Recycle.Bin;OneDrive
"""

# Name, display name, start type, type, image path: what services.exe reads when the machine starts.
_SERVICES = r"""
AudioEndpointBuilder|Windows Audio Endpoint Builder|2|32|%SystemRoot%\System32\svchost.exe -k LocalSystemNetworkRestricted -p
BFE|Base Filtering Engine|2|32|%systemroot%\system32\svchost.exe -k LocalServiceNoNetworkFirewall -p
BITS|Background Intelligent Transfer Service|3|32|%SystemRoot%\System32\svchost.exe -k netsvcs -p
CryptSvc|Cryptographic Services|2|32|%SystemRoot%\system32\svchost.exe -k NetworkService -p
Dhcp|DHCP Client|2|32|%SystemRoot%\system32\svchost.exe -k LocalServiceNetworkRestricted -p
Dnscache|DNS Client|2|32|%SystemRoot%\system32\svchost.exe -k NetworkService -p
EventLog|Windows Event Log|2|32|%SystemRoot%\System32\svchost.exe -k LocalServiceNetworkRestricted -p
LanmanServer|Server|2|32|%SystemRoot%\system32\svchost.exe -k netsvcs -p
LanmanWorkstation|Workstation|2|32|%SystemRoot%\System32\svchost.exe -k NetworkService -p
MpsSvc|Windows Defender Firewall|2|32|%SystemRoot%\system32\svchost.exe -k LocalServiceNoNetworkFirewall -p
PlugPlay|Plug and Play|3|32|%SystemRoot%\system32\svchost.exe -k DcomLaunch -p
ProfSvc|User Profile Service|2|32|%systemroot%\system32\svchost.exe -k UserProfileService -p
RpcSs|Remote Procedure Call (RPC)|2|32|%SystemRoot%\system32\svchost.exe -k rpcss -p
Schedule|Task Scheduler|2|32|%systemroot%\system32\svchost.exe -k netsvcs -p
Spooler|Print Spooler|2|272|%SystemRoot%\System32\spoolsv.exe
Themes|Themes|2|32|%SystemRoot%\System32\svchost.exe -k netsvcs -p
WSearch|Windows Search|2|16|%systemroot%\system32\SearchIndexer.exe /Embedding
WinDefend|Microsoft Defender Antivirus Service|2|16|"C:\Program Files\Windows Defender\MsMpEng.exe"
Winmgmt|Windows Management Instrumentation|2|32|%systemroot%\system32\svchost.exe -k netsvcs -p
wuauserv|Windows Update|3|32|%systemroot%\system32\svchost.exe -k netsvcs -p
disk|Disk Driver|0|1|System32\drivers\disk.sys
Ntfs|Ntfs|0|2|System32\Drivers\Ntfs.sys
Tcpip|TCP/IP Protocol Driver|0|1|System32\drivers\tcpip.sys
ACPI|Microsoft ACPI Driver|0|1|System32\drivers\ACPI.sys
volmgr|Volume Manager Driver|0|1|System32\drivers\volmgr.sys
kbdclass|Keyboard Class Driver|3|1|\SystemRoot\System32\drivers\kbdclass.sys
"""


def make_machine(options: SimulationOptions, random: Random) -> Registry:
    """Return the registry of the machine, with the hives of `USERS`."""
    registry = Registry(options, random, fill=False)
    _fill(registry.machine, _MACHINE)
    services = registry.at("\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services")
    for line in _SERVICES.strip().splitlines():
        name, shown, start, kind, image = line.split("|")
        key = services.add(name)
        for value, data in (("DisplayName", shown), ("ErrorControl", "#1"), ("ImagePath", f"%{image}"),
                            ("ObjectName", "LocalSystem"), ("Start", f"#{start}"), ("Type", f"#{kind}")):  # fmt: skip
            _put(key, value, data)
    profiles = registry.at(
        "\\REGISTRY\\MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\ProfileList"
    )
    for user, sid, hive in zip(USERS, registry.sids, registry.users, strict=False):
        _fill(hive, _USER.replace("{user}", user))
        profile = profiles.add(sid)
        _put(profile, "ProfileImagePath", f"%C:\\Users\\{user}")
        _put(profile, "Flags", "#0")
        _put(profile, "State", "#0")
    return registry


def _put(key: Key, name: str, words: str) -> None:
    """Put a value into the model, from the short form of `parse_data`."""
    key.put_value(name, *parse_data(words))


def _fill(top: Key, table: str) -> None:
    key = top
    for line in table.strip("\n").splitlines():
        if line[:1] != " ":
            key = top
            for component in line.split("\\"):
                key = key.add(component)
            continue
        name, _, words = line[4:].partition(" =")
        _put(key, name, words[1:])
