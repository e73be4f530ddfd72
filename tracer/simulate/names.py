"""Names of the simulated registry, including names that are hard for readers.

All names are escaped text (tracer.registry.text).
"""

from random import Random

from tracer.registry.text import decode_name
from tracer.simulate.options import SimulationOptions

__all__ = ["APP_IMAGES", "MISSING_KEYS", "SKELETON", "Namer", "make_guid"]

# Keys every machine has; below them the registry is filled at random.
SKELETON = tuple(
    "\\REGISTRY\\" + line.strip()
    for line in r"""
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Run
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\RunOnce
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Explorer\Advanced\Folder\Hidden\Policy\ShowAll\Local\Cache\Items
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\Explorer
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Packages
    MACHINE\SOFTWARE\Microsoft\Windows\CurrentVersion\AppModel\StateRepository\Cache
    MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon
    MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options
    MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tree\Microsoft\Windows
    MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Schedule\TaskCache\Tasks
    MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Fonts
    MACHINE\SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList
    MACHINE\SOFTWARE\Microsoft\Cryptography\OID\EncodingType 0
    MACHINE\SOFTWARE\Microsoft\SystemCertificates\ROOT\Certificates
    MACHINE\SOFTWARE\Microsoft\.NETFramework\v4.0.30319
    MACHINE\SOFTWARE\Microsoft\Ole
    MACHINE\SOFTWARE\Policies\Microsoft\Windows\System
    MACHINE\SOFTWARE\Policies\Microsoft\Windows Defender
    MACHINE\SOFTWARE\Classes\CLSID
    MACHINE\SOFTWARE\Classes\Interface
    MACHINE\SOFTWARE\Classes\TypeLib
    MACHINE\SOFTWARE\Classes\.txt\ShellEx
    MACHINE\SOFTWARE\Classes\Directory\shell\cmd\command
    MACHINE\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Run
    MACHINE\SOFTWARE\WOW6432Node\Classes\CLSID
    MACHINE\SOFTWARE\WOW6432Node\Microsoft\Office\16.0\Common
    MACHINE\SYSTEM\ControlSet001\Control\Session Manager\Memory Management
    MACHINE\SYSTEM\ControlSet001\Control\Lsa
    MACHINE\SYSTEM\ControlSet001\Control\Nls\Sorting\Versions
    MACHINE\SYSTEM\ControlSet001\Control\WMI\Autologger
    MACHINE\SYSTEM\ControlSet001\Control\Class
    MACHINE\SYSTEM\ControlSet001\Enum\PCI
    MACHINE\SYSTEM\ControlSet001\Enum\USB
    MACHINE\SYSTEM\ControlSet001\Services\Tcpip\Parameters\Interfaces
    MACHINE\SYSTEM\ControlSet001\Services\bam\State\UserSettings
    MACHINE\SYSTEM\ControlSet001\Services\EventLog\Application
    MACHINE\SYSTEM\Select
    MACHINE\SYSTEM\Setup
    MACHINE\HARDWARE\DEVICEMAP\VIDEO
    MACHINE\SAM\SAM\Domains\Account\Users
    MACHINE\SECURITY\Policy\Secrets
    MACHINE\BCD00000000\Objects
    USER\.DEFAULT\Software\Microsoft\Windows\CurrentVersion
    """.strip().splitlines()
)

APP_IMAGES = (
    "svchost.exe", "explorer.exe", "SearchIndexer.exe", "MsMpEng.exe", "RuntimeBroker.exe", "chrome.exe",
    "OUTLOOK.EXE", "notepad.exe", "powershell.exe", "setup.exe", "taskhostw.exe", "WmiPrvSE.exe", "reg.exe",
    "Updater Service.exe", "ctfmon.exe", "dllhost.exe",
)  # fmt: skip

MISSING_KEYS = (
    "Policies", "Debug", "AppCompatFlags", "PropertySystem", "TreatAs", "InprocHandler32", "InprocHandler",
    "Elevation", "Overrides", "Software\\Policies\\Microsoft\\Control Panel", "MuiCached", "LocalServer",
    "ShellEx\\IconHandler", "Instance", "Rpc\\SecurityService", "Diagnostics\\Performance",
    "Safer\\CodeIdentifiers",
    "Extended Properties", "KindMap", "UserChoice",
)  # fmt: skip

_KEY_WORDS = (
    "Parameters", "Settings", "Cache", "State", "Providers", "Security", "Shell", "Open", "InprocServer32",
    "ProgID", "Version", "Default", "Extensions", "Handlers", "Profiles", "Interfaces", "Performance", "Enum",
    "Linkage", "Options", "History", "Index", "Channels", "Publishers", "Devices", "Updates", "Components",
    "Features", "Licensing", "Telemetry", "Übersicht", "设置", "Настройки", "Größe",
)  # fmt: skip
_VALUE_WORDS = (
    "", "Start", "Type", "ImagePath", "DisplayName", "ErrorControl", "ObjectName", "Description", "Enabled",
    "InstallPath", "Version", "LastRun", "Flags", "ThreadingModel", "Timeout", "LogLevel", "ProxyEnable",
    "Shell", "Userinit", "Publisher", "UninstallString", "InstallDate", "Path", "Guid", "Locale",
    "NameServer",
    "DhcpIPAddress", "Count", "State", "Löschen", "MRUListEx", "Attributes",
    "\\Device\\HarddiskVolume3\\Windows\\System32\\notepad.exe",
)  # fmt: skip
_HOSTILE = (
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "=cmd|'/c calc'!A1", "+1+1", "-2", "@SUM(1)",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>", "two\nlines", "carriage\rreturn", "tab\there", "\u202egnp.exe",
    "\ufefffeed",
    "..", "...", "a,b;c\"d'e", "%s%n{0}", "<U+0000>", "\x85next", "CON", " leading", "trailing ",
    "\u2028line",
    "'; DROP TABLE keys; --", "[bold]rich[/bold]", "$(id)`id`",
)  # fmt: skip
_HOSTILE_VALUES = ("..\\..\\..\\etc\\passwd", "C:\\x\\..\\y", "\\", "\\\\host\\share\\..", "NUL:\\")
_WITH_NUL = ("Hidden\0Key", "\0Start", "End\0", "a\0b", "x\0\0y")
_WITH_SURROGATE = ("half\ud800", "\udc00low", "swap\udc00\ud800", "\ud83d\ude00 smile")


def make_guid(random: Random) -> str:
    """Return a GUID in braces."""
    bits = f"{random.getrandbits(128):032X}"
    return f"{{{bits[:8]}-{bits[8:12]}-{bits[12:16]}-{bits[16:20]}-{bits[20:]}}}"


class Namer:
    """Draws names of keys and values."""

    def __init__(self, options: SimulationOptions, random: Random) -> None:
        self._random = random
        self._nul, self._surrogate, self._hostile = (
            options.nul_names,
            options.surrogate_names,
            options.hostile_names,
        )
        # A little more than their sum: what is left of a draw decides, and may be rounded.
        self._odd_share = (self._nul + self._surrogate + self._hostile) * 1.000001
        self._count = 0

    def key(self) -> str:
        """Return a name for a key."""
        odd = self._odd(())
        if odd is not None:
            return odd
        draw = self._random.random()
        word = _KEY_WORDS[int(draw * 1e6) % len(_KEY_WORDS)]
        if draw < 0.3:
            return make_guid(self._random)
        if draw < 0.6:
            return word
        return f"{word}{int(draw * 1e9) % 1000}"

    def value(self) -> str:
        """Return a name for a value; the empty one is the default value."""
        odd = self._odd(_HOSTILE_VALUES)
        if odd is not None:
            return odd
        draw = self._random.random()
        word = _VALUE_WORDS[int(draw * 1e6) % len(_VALUE_WORDS)]
        return word if draw < 0.8 else f"{word}{int(draw * 1e9) % 100}"

    def _odd(self, more_hostile: tuple[str, ...]) -> str | None:
        draw = self._random.random()
        if draw >= self._odd_share:
            return None
        for share, pool in (
            (self._nul, _WITH_NUL), (self._surrogate, _WITH_SURROGATE), (self._hostile,
                                                                         _HOSTILE + more_hostile),
        ):  # fmt: skip
            if draw < share:
                self._count += 1
                # Through UTF-16: a high and a low surrogate side by side are a letter, not two halves.
                return decode_name(pool[self._count % len(pool)].encode("utf-16-le", "surrogatepass"))
            draw -= share
        return None
