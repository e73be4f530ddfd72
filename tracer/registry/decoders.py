r"""Well-known data of values, read for people: what a FILETIME, a UserAssist entry or an MRU list says.

`DECODERS` is the table: which keys and values each is for, what it makes of them, and where the format is published. A
decoder that cannot read the data says nothing, so unknown stays bytes. Whoever shows a meaning names its decoder, and the data
stays beside it. General decoders go by the name of the value and then by the data, which must fit to the last field; no decoder
goes by the data alone. COM_CLASS stands beside the table: only a capture knows what a class is called.
"""

import codecs
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import NamedTuple

from tracer.registry.text import decode_name
from tracer.registry.values import ValueType

__all__ = ["COM_CLASS", "DECODERS", "Decoder", "data_meaning", "may_fit_key", "may_fit_value"]

_WIN32 = "https://learn.microsoft.com/windows/win32/api/"
_MS_DTYP = "https://learn.microsoft.com/openspecs/windows_protocols/ms-dtyp/"
_WINREG_KB = "https://winreg-kb.readthedocs.io/en/latest/sources/"
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)  # of a FILETIME, which counts 100 ns
_FIRST, _LAST = 0x019DB1DED53E8000, 0x023868F0F9A98000  # 1970 and 2050: other numbers are no times of a value
_FOLDERS = {  # KNOWNFOLDERID of knownfolders.h
    "{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}": "System32",
    "{D65231B0-B2F1-4857-A4CE-A8E7C6EA7D27}": "SysWOW64",
    "{F38BF404-1D43-42F2-9305-67DE0B28FC23}": "Windows",
    "{6D809377-6AF0-444B-8957-A3773F02200E}": "Program Files",
    "{7C5A40EF-A0FB-4BFC-874A-C0F2E0B9FA8E}": "Program Files (x86)",
    "{0139D44E-6AFE-49F2-8690-3DAFCAE6FFB8}": "Common Programs",
    "{A77F5D77-2E2B-44C3-A6A2-ABA601054A51}": "Programs",
    "{9E3995AB-1F9C-4F13-B827-48B24B6C7174}": "User Pinned",
}
_FLAGS = re.IGNORECASE | re.DOTALL
_NUMBERS = frozenset({ValueType.QWORD, ValueType.BINARY})
_BYTES = frozenset({ValueType.BINARY})
_TEXTS = frozenset({ValueType.SZ, ValueType.EXPAND_SZ})


class Decoder(NamedTuple):
    """One format of well-known data.

    Attributes:
        name: what stands behind a meaning, in brackets.
        key: regular expression that fits the display path of a key, in any case.
        value: regular expression that fits the whole name of a value, in any case.
        kinds: value types.
        read: makes the meaning of the path behind the match of `key` with the name of the value, and of the data; None
            where it is not of this format.
        source: where the format is published.
    """

    name: str
    key: str
    value: str
    kinds: frozenset[int]
    read: Callable[[str, bytes], str | None]
    source: str


def data_meaning(key: str | None, value_name: str | None, kind: int | None, data: bytes | None) -> str | None:
    r"""Return what well-known data says, with the name of its decoder in brackets; None where no decoder reads it.

    Args:
        key: display path of the key; None if unknown.
        value_name: name of the value; None if unknown.
        kind: registry value type; None if unknown.
        data: the captured bytes, perhaps fewer than the value has; None if none were captured.

    >>> data_meaning(r"HKLM\SYSTEM\ControlSet001\Control\Windows", "ShutdownTime", 3, bytes.fromhex("36AF1AFBE857D601"))
    '2020-07-12T01:08:41.086751Z (FILETIME)'
    """
    if not data or key is None or value_name is None or kind is None:
        return None
    for decoder, below in _decoders(key, value_name, kind):
        said = decoder.read(below, data)
        if said is not None:
            return f"{said} ({decoder.name})"
    return None


def may_fit_key(key: str) -> bool:
    """Tell whether a decoder is for this key alone, whatever its values are called (`data_meaning`)."""
    return _keys_of_decoders().search(key) is not None


def may_fit_value(value_name: str) -> bool:
    """Tell whether a decoder is for values of this name, whatever their key is (`data_meaning`)."""
    return _names_of_decoders().fullmatch(value_name) is not None


def _filetime(_: str, data: bytes) -> str | None:
    return _time(data) if len(data) == 8 else None


def _time(data: bytes) -> str | None:
    """Return the FILETIME at the start of data as text; None where it is none of the years 1970 to 2050."""
    ticks = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not _FIRST <= ticks < _LAST:
        return None
    moment = _EPOCH + timedelta(microseconds=ticks // 10)
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds").replace(
        "+00:00", "Z"
    )


def _unix_time(_: str, data: bytes) -> str | None:
    if len(data) != 4:
        return None
    return datetime.fromtimestamp(int.from_bytes(data, "little"), UTC).isoformat().replace("+00:00", "Z")


def _systemtime(_: str, data: bytes) -> str | None:
    """Read year, month, day of the week (0 is Sunday), day, hour, minute, second and milliseconds of 16 bits each."""
    if len(data) != 16:
        return None
    year, month, weekday, day, hour, minute, second, millisecond = (
        int.from_bytes(data[at : at + 2], "little") for at in range(0, 16, 2)
    )
    try:
        moment = datetime(year, month, day, hour, minute, second, millisecond * 1000, UTC)
    except ValueError:
        return None
    if moment.isoweekday() % 7 != weekday or year < 1970:
        return None
    spelled = moment.replace(tzinfo=None).isoformat(timespec="milliseconds" if millisecond else "seconds")
    return f"{spelled} of no stated zone"


def _guid(_: str, data: bytes) -> str | None:
    if len(data) != 16 or not any(data):
        return None
    parts = (
        data[3::-1],
        data[5:3:-1],
        data[7:5:-1],
        data[8:10],
        data[10:],
    )  # three little-endian numbers, then bytes
    return f"{{{'-'.join(part.hex() for part in parts)}}}".upper()


def _sid(_: str, data: bytes) -> str | None:
    """Read revision 1, the number of sub-authorities, the authority (6 bytes, big-endian), and the sub-authorities."""
    if len(data) < 8 or data[0] != 1 or not data[1] or len(data) != 8 + 4 * data[1]:
        return None
    parts = [int.from_bytes(data[at : at + 4], "little") for at in range(8, len(data), 4)]
    return "-".join(map(str, ["S-1", int.from_bytes(data[2:8], "big"), *parts]))


def _user_assist(below: str, data: bytes) -> str | None:
    """Read an entry of 72 bytes (Windows 7 and later), of which fewer may be captured, or of 16 (before).

    The first has the number of runs at 4, how often it came to the front at 8, the milliseconds that it stayed there at
    12, and the time of the last run at 60; the second the number of runs, from 5 on, at 4 and the time at 8.
    """
    name = codecs.decode(below, "rot13")
    folder, slash, rest = name.partition("\\")
    if slash and folder.upper() in _FOLDERS:
        name = f"{_FOLDERS[folder.upper()]}\\{rest}"
    if name.startswith("UEME_CTL"):
        return f"sums of a session, {name}"
    if len(data) < 16 or len(data) > 72:
        return None
    runs, focuses, focus_ms = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12))
    said = ["1 run" if runs == 1 else f"{runs:,} runs"]
    said.append(f"{focuses:,} times in front for {focus_ms / 1000:,.0f} s")
    if len(data) >= 68:
        said.append(f"last run {_time(data[60:68]) or 'not stated'}")
    return ", ".join([*said, name])


def _bam(_: str, data: bytes) -> str | None:
    """Read the time of the last run, with which the data begins."""
    time = _time(data)
    return None if time is None else f"last run {time}"


def _mru_list_ex(_: str, data: bytes) -> str | None:
    """Read numbers of 32 bits, the newest first, up to 0xFFFFFFFF; of a cut list what there is."""
    numbers = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data) & ~3, 4)]
    end = numbers.index(0xFFFFFFFF) if 0xFFFFFFFF in numbers else len(numbers)
    listed = ", ".join(map(str, numbers[:end]))
    if end == len(numbers):
        return f"{listed}, ..., newest first" if numbers else None
    return f"{listed}, newest first" if listed else "empty"


def _mru_list(_: str, data: bytes) -> str | None:
    text = decode_name(data).removesuffix("<U+0000>")
    return f"{', '.join(text)}, newest first" if text.isascii() and text.isalpha() else None


def _recent_name(_: str, data: bytes) -> str | None:
    """Read the name before the first NUL; a shell item stands behind it."""
    text, nul, _rest = decode_name(data).partition("<U+0000>")
    cut = not nul
    return (f"{text}..." if cut else text) if text.isprintable() and text else None


def _run_mru(_: str, data: bytes) -> str | None:
    r"""Read a command, which ends with \1."""
    text = decode_name(data).removesuffix("<U+0000>")
    return text.removesuffix("\\1") if text.endswith("\\1") else None


def _class_name(_: str, data: bytes) -> str | None:
    """Read the name of a class, or its ProgID, before the first NUL."""
    return decode_name(data).partition("<U+0000>")[0] or None


DECODERS: tuple[Decoder, ...] = (
    Decoder(
        "UserAssist",
        r"\\Explorer\\UserAssist\\\{[^\\]*\}\\Count",
        ".+",
        _BYTES,
        _user_assist,
        f"{_WINREG_KB}explorer-keys/User-assist.html",
    ),
    Decoder(
        "BAM",
        r"\\Services\\(bam|dam)(\\State)?\\UserSettings\\S-1-[^\\]*$",
        ".+",
        _BYTES,
        _bam,
        f"{_WINREG_KB}system-keys/Background-activity-moderator.html",
    ),
    Decoder(
        "MRUListEx",
        "",
        "MRUListEx",
        _BYTES,
        _mru_list_ex,
        f"{_WINREG_KB}explorer-keys/Most-recently-used.html",
    ),
    Decoder(
        "MRUList", "", "MRUList", _TEXTS, _mru_list, f"{_WINREG_KB}explorer-keys/Most-recently-used.html"
    ),
    Decoder(
        "RecentDocs",
        r"\\Explorer\\RecentDocs(\\[^\\]*)?$",
        r"\d+",
        _BYTES,
        _recent_name,
        f"{_WINREG_KB}explorer-keys/Most-recently-used.html",
    ),
    Decoder(
        "RunMRU",
        r"\\Explorer\\RunMRU$",
        "[a-z]",
        _TEXTS,
        _run_mru,
        f"{_WINREG_KB}explorer-keys/Most-recently-used.html",
    ),
    Decoder(
        "FILETIME",
        r"\\(Search\\JumplistData|TypedURLsTime)$",
        ".+",
        _NUMBERS,
        _filetime,
        f"{_WIN32}minwinbase/ns-minwinbase-filetime",
    ),
    Decoder(
        "FILETIME",
        "",
        r".*(Time|Date|Timestamp)\d*",
        _NUMBERS,
        _filetime,
        f"{_WIN32}minwinbase/ns-minwinbase-filetime",
    ),
    Decoder(
        "Unix time",
        r"\\Windows NT\\CurrentVersion$",
        "InstallDate",
        frozenset({ValueType.DWORD}),
        _unix_time,
        "https://learn.microsoft.com/windows/win32/cimwin32prov/win32-operatingsystem",
    ),
    Decoder(
        "SYSTEMTIME",
        "",
        r".*(Time|Date|Timestamp)\d*|Date.*|Time.*",
        _BYTES,
        _systemtime,
        f"{_WIN32}minwinbase/ns-minwinbase-systemtime",
    ),
    Decoder(
        "GUID",
        "",
        r".*(GUID|CLSID|ClassId)",
        _BYTES,
        _guid,
        f"{_MS_DTYP}001eec5a-7f8b-4293-9e21-ca349392db40",
    ),
    Decoder("SID", "", r".*Sid", _BYTES, _sid, f"{_MS_DTYP}f992ad60-0fe4-4b87-9fed-beb478836861"),
)

# The name of a class, by which `analysis.questions.class_names` says what a CLSID means.
COM_CLASS = Decoder(
    "COM class",
    r"\\CLSID\\\{[^\\]*\}(\\(VersionIndependent)?ProgID)?$",
    "",
    _TEXTS,
    _class_name,
    "https://learn.microsoft.com/windows/win32/com/clsid-key-hklm",
)


@lru_cache(50_000)
def _decoders(key: str, value_name: str, kind: int) -> tuple[tuple[Decoder, str], ...]:
    """Return the decoders for a value, each with the path behind the match of its key."""
    fitting, is_of_key = [], may_fit_key(key)
    for decoder, key_pattern, value_pattern in _patterns():
        if kind not in decoder.kinds or (decoder.key and not is_of_key):
            continue
        found = value_pattern.fullmatch(value_name) and key_pattern.search(key)
        if found:
            below = key[found.end() :].lstrip("\\") if decoder.key else ""
            fitting.append((decoder, f"{below}\\{value_name}" if below else value_name))
    return tuple(fitting)


@cache
def _patterns() -> list[tuple[Decoder, re.Pattern[str], re.Pattern[str]]]:
    return [(one, re.compile(one.key, _FLAGS), re.compile(one.value, _FLAGS)) for one in DECODERS]


@cache
def _keys_of_decoders() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one.key})" for one in DECODERS if one.key), _FLAGS)


@cache
def _names_of_decoders() -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one.value})" for one in DECODERS if not one.key), _FLAGS)
