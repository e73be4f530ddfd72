r"""Command lines and paths of libraries, taken apart: which program is started, from which folder, and what it runs.

Data of autostarts are written for different readers: CreateProcess cuts an unquoted line where a file is found, the service
manager adds a folder, rundll32 takes a library and a function. Nothing here looks at a disk, so where a line can be read in
two ways the shorter program that ends like one is taken. What is not known stays None.
"""

import ntpath
import re
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["FOLDERS", "HOSTS", "Command", "take_apart", "take_apart_list"]

FOLDERS = {
    "system": "a folder of Windows that only the system writes to",
    "programs": "Program Files",
    "user": "a folder of a user",
    "temp": "a folder of temporary files",
    "shared": "ProgramData, or a folder that all users write to",
    "remote": "another machine",
    "other": "any other folder",
}
_WRITABLE = {"user": True, "temp": True, "shared": True, "system": False, "programs": False}
HOSTS = {  # programs that run what their arguments name (LOLBAS; Microsoft Learn, "Windows commands")
    "rundll32.exe": "library", "regsvr32.exe": "library", "msiexec.exe": "package", "mshta.exe": "script", "wscript.exe": "script",
    "cscript.exe": "script", "powershell.exe": "script", "pwsh.exe": "script", "cmd.exe": "command", "forfiles.exe": "command",
    "pcalua.exe": "command", "conhost.exe": "command", "explorer.exe": "command", "installutil.exe": "library",
    "regasm.exe": "library", "regsvcs.exe": "library", "msbuild.exe": "script", "python.exe": "script", "pythonw.exe": "script",
    "javaw.exe": "package", "java.exe": "package", "schtasks.exe": "command", "control.exe": "library", "odbcconf.exe": "library",
    "bash.exe": "command", "wsl.exe": "command", "node.exe": "script", "perl.exe": "script", "svchost.exe": "service",
    "dllhost.exe": "class", "wmic.exe": "command", "certutil.exe": "command", "bitsadmin.exe": "command", "start": "command",
}  # fmt: skip
_PROGRAM = re.compile(
    r"(.*?\.(?:exe|dll|com|scr|bat|cmd|cpl|ocx|sys|ps1|vbs|vbe|jse?|wsf|wsh|hta|msi|lnk|pif|ax|acm|drv|tsp|msc|sdb|jar|py))"
    r"(?=[\s,\"']|\Z)(.*)",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_FILE = re.compile(
    r"\"([^\"]+)\"|(?<![a-z0-9])((?:[a-z]:(?=[\\/])|%[^%\s]+%|\\\\|https?://|\.{0,2}[\\/])[^\s\",]*|[^\s\",;=/]{1,260}\.(?:dll|ocx|cpl|ps1|psm1|vbs|vbe|jse?"
    r"|wsf|hta|exe|bat|cmd|msi|sct|inf|jar|py|csproj|xml|scr|com))(?![^\s\",])",
    re.ASCII | re.IGNORECASE,
)
_URL = re.compile(r"(?:https?|ftp|file)://[^\s\"',]+", re.ASCII | re.IGNORECASE)
_WEBDAV = re.compile(
    r"\\\\[^\\\s]+(?:@ssl)?(?:@[0-9]+)?\\davwwwroot(?=\\|\Z)|\\\\[^\\\s@]+@(?:ssl|[0-9]+)",
    re.ASCII | re.IGNORECASE,
)
_UNC = re.compile(
    r"(?:^|(?<=[\s\"'=,;(:@]))\\\\(?![?.]\\)[^\\\s\"?*<>|]+\\[^\\\s\"]+", re.ASCII | re.IGNORECASE
)
_DEVICE = re.compile(r"\\\\[?.]\\UNC\\", re.ASCII | re.IGNORECASE)
_OPTION = re.compile(r"(?:^|\s)[/-][a-z]{1,12}(?:[:\s]|\Z)", re.ASCII | re.IGNORECASE)
_PLACE_HOLDER = re.compile(r"%[0-9*l]", re.ASCII | re.IGNORECASE)
_ENCODED = re.compile(r"(?i)(?:^|\s)[-/]e(?:c|n|nc|nco[a-z]*)?\s+[a-z0-9+/=]{16,}", re.ASCII)
_VARIABLES = {  # what a variable stands for, as far as every machine has it so
    "%systemroot%": r"\windows", "%windir%": r"\windows", "%programfiles%": r"\program files",
    "%programfiles(x86)%": r"\program files (x86)", "%programw6432%": r"\program files",
    "%commonprogramfiles%": r"\program files\common files", "%commonprogramfiles(x86)%": r"\program files (x86)\common files",
    "%programdata%": r"\programdata", "%allusersprofile%": r"\programdata", "%public%": r"\users\public",
    "%userprofile%": r"\users\x", "%appdata%": r"\users\x\appdata\roaming", "%localappdata%": r"\users\x\appdata\local",
    "%temp%": r"\users\x\appdata\local\temp", "%tmp%": r"\users\x\appdata\local\temp", "%systemdrive%": "", "%homedrive%": "",
    "%homepath%": r"\users\x",
}  # fmt: skip
_PLACES = (  # beginnings of paths without their drive, the first that fits
    (re.compile(r"\\windows\\(?:temp|tasks|tracing|debug|system32\\(?:tasks|spool\\drivers\\color)|servicing)(?=\\|\Z)"), "temp"),
    (re.compile(r"\\windows(?=\\|\Z)"), "system"),
    (re.compile(r"\\program files(?: \(x86\))?(?=\\|\Z)"), "programs"),
    (re.compile(r"\\users\\public(?=\\|\Z)"), "shared"),
    (re.compile(r"\\users\\[^\\]+\\(?:appdata\\local\\temp|locals~1\\temp)(?=\\|\Z)"), "temp"),
    (re.compile(r"\\users\\"), "user"),
    (re.compile(r"\\documents and settings\\[^\\]+\\local settings\\temp(?=\\|\Z)"), "temp"),
    (re.compile(r"\\documents and settings\\"), "user"),
    (re.compile(r"\\programdata(?=\\|\Z)"), "shared"),
    (re.compile(r"\\(?:temp|tmp)(?=\\|\Z)"), "temp"),
    (re.compile(r"\\(?:perflogs|\$recycle\.bin|recycler|recovery)(?=\\|\Z)"), "shared"),
)  # fmt: skip
_MOST = 8_192  # characters that are looked at; a prompt takes no more (Microsoft Learn, "Command prompt line string limitation")


@dataclass(frozen=True, slots=True)
class Command:
    r"""A command line or a library, taken apart.

    Attributes:
        path: the program or library as written, without quotes; None where none can be told.
        arguments: what stands behind it; "" for nothing, None where the program cannot be told.
        folder: where the program is, a word of FOLDERS; None where the path does not say (``notepad.exe`` alone).
        is_writable: whether users write to that folder, as Windows sets it up; None where that cannot be told.
        host: what kind of thing the program runs for others (`HOSTS`); None where it is no such program.
        payload: the file, library or address that the host runs; None where there is none, or it cannot be told.
        payload_folder: where the payload is, a word of FOLDERS.
        remote: unc, webdav or url, where a path or address of another machine is named; None where none is.
        is_encoded: whether PowerShell is given an encoded command.
    """

    path: str | None
    arguments: str | None
    folder: str | None = None
    is_writable: bool | None = None
    host: str | None = None
    payload: str | None = None
    payload_folder: str | None = None
    remote: str | None = None
    is_encoded: bool = False

    @property
    def place(self) -> str | None:
        """The folder of what is run in the end: of the payload of a host, else of the program."""
        return self.payload_folder if self.payload is not None else self.folder

    @property
    def runs_from_writable(self) -> bool | None:
        """Whether users write to the folder of what is run in the end; None where that cannot be told."""
        return self.is_writable if self.payload is None else _WRITABLE.get(self.payload_folder or "")


_UNKNOWN = Command(None, None)


@lru_cache(4096)  # the same commands are written again and again
def take_apart(text: str | None, *, is_library: bool = False) -> Command:
    r"""Return the parts of a command line, or of the path of a library.

    Args:
        text: the command line as the value holds it; None: unknown.
        is_library: the data is a library or another file: nothing stands behind its path.

    >>> take_apart(r'"C:\Users\a\x.exe" /q').path
    'C:\\Users\\a\\x.exe'
    >>> take_apart(r"rundll32.exe C:\Temp\a.dll,Start").payload
    'C:\\Temp\\a.dll'
    """
    line = (text or "").strip().strip("\0")[:_MOST]
    if not line:
        return _UNKNOWN
    path, arguments = _split(line, is_library=is_library)
    if not path:
        return _UNKNOWN
    name = ntpath.basename(path.replace("/", "\\")).lower()
    host = None if is_library else HOSTS.get(name, HOSTS.get(name + ".exe"))
    payload = _payload(arguments) if host else None
    folder = folder_of(path)
    if folder is None and host is not None and "\\" not in path:
        folder = "system" if host != "package" else None
    return Command(
        path=path,
        arguments=arguments,
        folder=folder,
        is_writable=_WRITABLE.get(folder or ""),
        host=host,
        payload=payload,
        payload_folder=None if payload is None else folder_of(payload),
        remote=_remote(line),
        is_encoded=bool(_ENCODED.search(arguments)) if name.startswith(("powershell", "pwsh")) else False,
    )


def take_apart_list(text: str | None, *, is_library: bool = False) -> list[Command]:
    """Return the parts of each command or library of a list; they are separated by commas, semicolons, NULs or lines."""
    words = re.split(r"[,;\0\r\n]+", (text or "")[:_MOST])
    return [take_apart(word, is_library=is_library) for word in words if word.strip()]


def folder_of(path: str) -> str | None:
    """Return a word of FOLDERS for the folder of a path; None where the path does not say where it is."""
    plain = path.replace("/", "\\") if "://" not in path else path
    if _remote(plain) is not None:
        return "remote"
    plain = plain.replace("%%", "%")  # as collectors of logs write it
    plain = re.sub(r"^\\(?:\?\?|\\[?.])\\", "", plain).lower()
    for variable, meaning in _VARIABLES.items():
        if plain.startswith(variable):
            plain = meaning + plain.removeprefix(variable)
            break
    plain = re.sub(r"^\\?systemroot(?=\\)", r"\\windows", plain)
    plain = re.sub(
        r"^system32(?=\\)", r"\\windows\\system32", plain
    )  # drivers; the service manager adds the folder
    plain = re.sub(r"^\\device\\harddiskvolume[0-9]+", "", re.sub(r"^[a-z]:", "", plain))
    if "\\" not in plain or plain.startswith("%"):
        return None
    if ".." in plain.split("\\"):
        plain = ntpath.normpath(plain)
    if not plain.startswith("\\"):
        return None
    plain = re.sub(r"\\progra~1(?=\\|$)", r"\\program files", plain)
    plain = re.sub(r"\\progra~2(?=\\|$)", r"\\program files (x86)", plain)
    return next((place for beginning, place in _PLACES if beginning.match(plain)), "other")


def _split(line: str, *, is_library: bool) -> tuple[str, str]:
    if line[0] == '"':
        path, _, rest = line[1:].partition('"')
        return path.strip(), rest.strip()
    if is_library:
        return line.strip("\"' "), ""
    found = _PROGRAM.fullmatch(line)
    if found and not _before_program(found[1]):
        return found[1].strip(), found[2].strip()
    path, _, rest = line.partition(" ")
    return path, rest.strip()


def _before_program(path: str) -> bool:
    r"""Tell whether the words before the first ending are a program and its arguments, such as ``cmd /c a.exe``."""
    first = path.split(" ", 1)[0]
    if " " not in path or "\\" in first or first.startswith("%"):
        return " /" in path or ' "' in path
    return True


def _payload(arguments: str) -> str | None:
    """Return the file, library or address that arguments of a host name first."""
    url = _URL.search(arguments)
    for found in _FILE.finditer(arguments):
        if url is not None and url.start() < found.start():
            break
        word = found[1].strip() if found[1] else found[2].rstrip(")';`")
        if _OPTION.match(word) or (found[1] and _PLACE_HOLDER.fullmatch(word)):
            continue
        if not found[1] or _is_path(word):
            return word
        inside = _payload(word)  # a command in quotes, as of cmd /c "..."
        if inside is not None:
            return inside
    return url[0] if url is not None else None


def _is_path(text: str) -> bool:
    r"""Tell whether a text in quotes is a path by itself, and no command with one inside."""
    return bool(
        re.match(r"(?:[a-z]:[\\/]|%[^%\s]+%|\\\\|[^\s\\/]+\Z)", text, re.IGNORECASE)
    ) and not _OPTION.search(text)


def _remote(text: str) -> str | None:
    if _WEBDAV.search(text):
        return "webdav"
    if re.search(r"(?:https?|ftp)://", text, re.IGNORECASE):
        return "url"
    if _UNC.search(text) or _DEVICE.search(text):
        return "unc"
    return None
