"""Kinds of files, detected by their first bytes, and what to do with a file that is no trace.

Signatures are those that each format's own description publishes. An .etl file has none: it is known by its first
buffer header, so everything else is asked first.
"""

import codecs
import re
import struct
import zlib
from dataclasses import dataclass

__all__ = ["HEAD_BYTES", "OTHER_JSON", "RAW_ETW", "TRACES", "WRAPPERS", "FileKind", "file_kind"]

HEAD_BYTES = 4096  # what `file_kind` wants to see of a file
RAW_ETW = frozenset({"etw-json", "etw-xml", "etw-csv"})  # records of ETW that a tool decoded to text
TRACES = (
    frozenset(
        {"defender-csv", "defender-json", "etl", "pml", "evtx", "json", "procmon-csv", "procmon-xml", "xml"}
    )
    | RAW_ETW
)
WRAPPERS = frozenset({"zip", "gz", "bz2", "xz", "zst"})

_BUFFER_SIZES = range(73, (16 << 20) + 1)  # WMI_BUFFER_HEADER and a byte, to what Windows 8 and later allow
_RECORD_AGAIN = "record with `regtrace capture`, wpr or logman, or save Procmon's log as .pml"
_UNPACK = "unpack it, and name the .etl or .pml file in it"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file.

    Attributes:
        word: one of TRACES, one of WRAPPERS, "unknown", or "foreign": known, and nothing that can be read.
        name: what it is, with its article.
        advice: what to do with it instead.
    """

    word: str
    name: str = ""
    advice: str = ""

    def sentence(self, shown: str) -> str:
        """Return why the file `shown` is not read, and what to do next."""
        return f"{shown}: this is {self.name}, not a trace; {self.advice}"


_ETL, _PML = FileKind("etl"), FileKind("pml")
_SIGNATURES = (
    (b"PML_", _PML),
    (b"PK\x03\x04", FileKind("zip")),
    (b"PK\x05\x06", FileKind("zip")),
    (b"BZh", FileKind("bz2")),
    (b"\xfd7zXZ\0", FileKind("xz")),
    (b"\x28\xb5\x2f\xfd", FileKind("zst")),
    (b"PK\x07\x08", FileKind("foreign", "a part of a .zip of several parts", "join or " + _UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", FileKind("foreign", "a 7-Zip archive (.7z)", _UNPACK)),
    (b"Rar!\x1a\x07", FileKind("foreign", "a RAR archive (.rar)", _UNPACK)),
    (b"MSCF", FileKind("foreign", "a cabinet (.cab)", "unpack it with `expand -F:*`, and name the .etl file in it")),
    (b"MSWIM\0\0\0", FileKind("foreign", "a Windows image (.wim)", _UNPACK)),
    (b"\x04\x22\x4d\x18", FileKind("foreign", "an LZ4 file (.lz4)", _UNPACK)),
    (b"ElfFile\0", FileKind("evtx")),
    (b"\x30\0\0\0LfLe", FileKind(
        "foreign", "an old Windows event log (.evt)", "convert it with `wevtutil export-log old.evt new.evtx /lf:true`")),
    (b"regf", FileKind(
        "foreign", "a registry hive",
        "it holds what keys are, not what happened to them: give it beside a trace, `regtrace ingest TRACE --baseline HIVE`")),
    (b"PAR1", FileKind(
        "foreign", "a Parquet file", "if it belongs to a capture, name that folder to the verb that asks it")),
    (b"Nettrace", FileKind("foreign", "a .NET runtime trace (.nettrace)", _RECORD_AGAIN)),
    (b"\x14\0\0\0!FastSerialization.1", FileKind(
        "foreign", "PerfView's own copy of a trace (.etlx)", "name the .etl file that it was made of")),
    (b"MDMP", FileKind("foreign", "a minidump (.dmp)", _RECORD_AGAIN)),
    (b"PAGEDU", FileKind(
        "foreign", "a dump of Windows (.dmp)", "write the sessions in it to .etl files with WinDbg's !wmitrace.logsave")),
    (b"SQLite format 3\0", FileKind("foreign", "an SQLite database", _RECORD_AGAIN)),
    (b"\x7fELF", FileKind("foreign", "a program", _RECORD_AGAIN)),
    (b"%PDF-", FileKind("foreign", "a PDF file", "name the trace itself")),
)  # fmt: skip
_TEXTS = (
    ("version https://git-lfs.github.com/spec/", FileKind(
        "foreign", "a Git LFS pointer", "fetch the file that it stands for with `git lfs pull`")),
    ("Windows Registry Editor Version", FileKind(
        "foreign", "a .reg file", "it holds what keys are, not what happened to them; " + _RECORD_AGAIN)),
    ("REGEDIT4", FileKind(
        "foreign", "a .reg file", "it holds what keys are, not what happened to them; " + _RECORD_AGAIN)),
    ("<?xml", FileKind("foreign", "XML text", _RECORD_AGAIN)),
    ("<!doctype html", FileKind("foreign", "a web page (HTML)", "the download went wrong: fetch the trace again")),
    ("<html", FileKind("foreign", "a web page (HTML)", "the download went wrong: fetch the trace again")),
)  # fmt: skip
# No known form: a log all the same, where the user says where its fields are.
OTHER_JSON = FileKind(
    "foreign",
    "JSON text",
    "no event that is read was recognised at its beginning; where it holds some in a form of its own, "
    "`regtrace ingest --fields FILE.toml` says where their fields are (docs/sources/sysmon.md)",
)
# Names of fields that a record of an event has in some collector's form.
_EVENT_WORDS = re.compile(r'"(?:[^"\n]*(?:event|registry|targetobject|winlog)[^"\n]*|id)"\s*:', re.IGNORECASE)
_DEFENDER_WORDS = re.compile(r'"ActionType"\s*:\s*"Registry|AdvancedHunting-DeviceRegistryEvents')
# What only decoded records of ETW have: fields of the registry's providers, or one of their names or GUIDs as a value.
_ETW_PROVIDERS = (
    r"\{?(?:70eb4f03-c1de-4f73-a051-33d13d5413bd|22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716|ae53722e-c863-11d2-8659-00c04fa321a1"
    r"|3d6fa8d0-fe05-11d0-9dda-00c04fd7ba7c|9e814aad-3204-11d2-9a82-006008a86939)\}?"
    r"|microsoft-windows-kernel-(?:registry|process)|nt[ -]kernel[ -]logger|windows kernel"
)
_ETW_JSON = re.compile(
    r'"(?:keyobject|baseobject|keyhandle|kerneleventtype|xmleventdata)"\s*:|"(?:' + _ETW_PROVIDERS + ')"',
    re.IGNORECASE,
)
# Only events of a trace say on which processor they were logged, and of which class they are.
_ETW_XML = re.compile(
    r'name="(?:keyobject|baseobject|keyhandle)"|\sprocessorid="|/events/trace"|\s(?:name|guid)="(?:'
    + _ETW_PROVIDERS
    + ')"'
)
_PROCMON_CSV = FileKind("procmon-csv")
_PROCMON_XML = FileKind("procmon-xml")
_PROFILE = FileKind(
    "foreign", "a profile of Windows Performance Recorder (.wprp)", "record with it: wpr -start"
)
_TEXT = FileKind(
    "foreign",
    "text",
    "name the trace that it was made of, or a log: .evtx, events as JSON or XML, Procmon's CSV or XML, "
    "Defender's CSV or JSON",
)
_TAR = FileKind("foreign", "a tar archive", _UNPACK)
_PROGRAM = FileKind("foreign", "a Windows program (.exe or .dll)", _RECORD_AGAIN)
_ZEROS = FileKind(
    "foreign",
    "a file that begins with zeros only",
    "a copy or a download may not have ended: fetch the trace again",
)
_EMPTY = FileKind("foreign", "an empty file", "record the trace again, or name another file")


def file_kind(head: bytes) -> FileKind:
    """Return the kind of a file.

    Args:
        head: its first HEAD_BYTES bytes, fewer where it is shorter.
    """
    if not head:
        return _EMPTY
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(b"\x1f\x8b\x08") and _inflates(head):
        return FileKind("gz")
    if head[257:262] == b"ustar":
        return _TAR
    csv = _csv_kind(head)
    if csv is not None:
        return csv
    text = _as_text(head)
    if text is not None:
        return _text_kind(text)
    if head.startswith(b"MZ") and len(head) > 0x40:
        return _PROGRAM
    if len(head) > 72 and not any(head):
        return _ZEROS
    return _ETL if _starts_with_buffer(head) else FileKind("unknown")


def _starts_with_buffer(head: bytes) -> bool:
    """Tell whether a buffer header begins here, followed (unless compressed) by a system record (ntwmi.h)."""
    if len(head) < 80:
        return False
    size, filled, flags = struct.unpack_from("<I44xIH", head)
    record = bool(flags & 0x40) or (head[74] in (1, 2) and head[75] == 0xC0 and head[78:80] == b"\0\0")
    return record and size in _BUFFER_SIZES and filled in _BUFFER_SIZES


def _inflates(head: bytes) -> bool:
    """Tell whether a gzip stream begins here; the size of an .etl buffer may look like one."""
    try:
        zlib.decompressobj(31).decompress(head, 64)
    except zlib.error:
        return False
    return True


def _as_text(head: bytes) -> str | None:
    """Return the start of a text file (UTF-8, or UTF-16 with its mark); None if it is not text."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head[: len(head) & ~1].decode("utf-16", "replace")
    else:
        text = head.decode("utf-8-sig", "replace")
        if "\ufffd" in text[:-3]:  # the last character may be cut
            return None
    if len(text) < 2 or any(character < " " and character not in "\t\r\n\f\x1a" for character in text):
        return None
    return text


def _text_kind(text: str) -> FileKind:
    if text.lstrip()[:1] in ("{", "["):
        if _DEFENDER_WORDS.search(text) and '"RegistryKey"' in text:
            return FileKind("defender-json")
        if _ETW_JSON.search(text):
            return FileKind("etw-json")
        if _EVENT_WORDS.search(text):
            return FileKind("json")
        if re.match(r"\s*(?:\[\s*)?\{", text):
            return OTHER_JSON
    start = text.lstrip().lower()
    if start.startswith(("<?xml", "<")):
        for mark, kind in (("<procmon", _PROCMON_XML), ("<windowsperformancerecorder", _PROFILE)):
            if mark in start:
                return kind
        if re.search(r"<event[\s>]", start) and _ETW_XML.search(start):
            return FileKind("etw-xml")
        if re.search(r"<event[\s>]", start):
            return FileKind("xml")
    for first, kind in _TEXTS:
        if start.startswith(first.lower()):
            return kind
    return _TEXT


def _csv_kind(head: bytes) -> FileKind | None:
    """Return the kind of a CSV file that is known by the titles of its columns; None for any other file.

    Behind its first line there may be anything: a spreadsheet saves text in the machine's code page.
    """
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head[: len(head) & ~1].decode("utf-16", "replace")
    else:
        text = head.removeprefix(codecs.BOM_UTF8).decode("ascii", "replace")
    titles = {
        title.strip(' "').lower() for title in re.split("[,;\t]", text.lstrip().partition("\n")[0].strip())
    }
    is_procmon = {"operation", "path"} <= titles and not titles.isdisjoint({"process name", "time of day"})
    if {"event name", "clock-time", "user data"} <= titles:
        return FileKind("etw-csv")
    if {"actiontype", "registrykey"} <= titles:
        return FileKind("defender-csv")
    return _PROCMON_CSV if is_procmon else None
