"""Small sound logs of every kind that is read: what the mutations damage. All are made by hand or simulated."""

import json
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import security_records as security
from etw_texts import FORMS, records_of
from procmon_csv import csv_text
from procmon_xml import xml_text
from sysmon_records import SHAPES, as_lines, as_xml, event, event_data

from tracer.simulate import SimulationOptions, simulate

__all__ = ["KINDS", "log_content"]

_KEY = r"HKLM\SOFTWARE\Vendor"
_NATIVE = r"\REGISTRY\MACHINE\SOFTWARE\Vendor"
_RECORDS = [
    event(kind, f"{_KEY}\\{number}", shape, Details=f"DWORD (0x{number:08x})", NewName=_KEY)
    for number, shape in enumerate(SHAPES)
    for kind in ("CreateKey", "SetValue", "DeleteValue", "RenameKey")
]
_XML = [
    as_xml(13, event_data("SetValue", f"{_KEY}\\{number}", Details="text & <more>")) for number in range(8)
]
_AUDITS = [
    security.audit(number, _NATIVE, shape)
    for shape in security.SHAPES
    for number in (4656, 4657, 4658, 4660, 4663)
]
_DETAILS = (
    ("RegOpenKey", "Desired Access: Read, WOW64_64Key"),
    ("RegCreateKey", "Desired Access: All Access, Disposition: REG_OPENED_EXISTING_KEY"),
    ("RegQueryValue", 'Type: REG_SZ, Length: 6, Data: "a, b"'),
    ("RegQueryValue", "Length: 144"),
    ("RegQueryKey", "Query: Cached, SubKeys: 1,234, Values: 0"),
    ("RegEnumKey", "Index: 2, Name: Sub"),
    ("RegEnumValue", "Index: 1,000, Name: v, Type: REG_BINARY, Length: 3, Data: 01 02 03"),
    ("RegSetValue", "Type: REG_DWORD, Length: 4, Data: 4294967295"),
    ("RegSetValue", "Type: REG_MULTI_SZ, Length: 14, Data: one, two"),
    ("RegSetInfoKey", "KeySetInformationClass: KeySetHandleTagsInformation, Length: 0"),
    ("RegRenameKey", "New Name: New"),
    ("RegLoadKey", r"Hive Path: C:\a.dat"),
    ("RegDeleteValue", ""),
    ("RegCloseKey", ""),
)
_PROCMON = [{"Operation": name, "Detail": detail, "Path": rf"{_KEY}\ä{at}"} for at, (name, detail) in enumerate(_DETAILS)]  # fmt: skip
_DEFENDER = [
    {
        "Timestamp": "2024-05-06T07:08:09.1234567Z", "DeviceName": "pc1.example.org", "ActionType": action,
        "RegistryKey": r"HKEY_LOCAL_MACHINE\SOFTWARE\Vendor", "RegistryValueName": "Colour", "RegistryValueType": kind,
        "RegistryValueData": new, "PreviousRegistryKey": r"HKEY_LOCAL_MACHINE\SOFTWARE\Old", "PreviousRegistryValueData": old,
        "InitiatingProcessAccountDomain": "contoso", "InitiatingProcessAccountName": "alice",
        "InitiatingProcessFileName": "tool.exe", "InitiatingProcessFolderPath": r"c:\bin\tool.exe",
        "InitiatingProcessId": "996", "InitiatingProcessCommandLine": 'tool.exe /y, "now"',
        "InitiatingProcessCreationTime": "2024-05-06T07:00:00Z", "InitiatingProcessParentId": "5452",
    }
    for action in ("RegistryValueSet", "RegistryKeyCreated", "RegistryKeyDeleted", "RegistryKeyRenamed", "RegistryValueDeleted")
    for kind, new, old in (("String", "blue", "red"), ("Dword", "1", "4294967295"), ("Qword", "258", ""), ("Binary", "01-02", ""))
]  # fmt: skip


def _defender_csv(records: Sequence[dict[str, str]]) -> bytes:
    rows = [list(_DEFENDER[0]), *(list(record.values()) for record in records)]
    texts = (",".join('"' + field.replace('"', '""') + '"' for field in row) for row in rows)
    return "\r\n".join(texts).encode()


@cache
def _etl_records() -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.etl"
        options = SimulationOptions(
            events=60, keys=40, preopened=2, option_word=7, processes=2, users=1, app_hives=0, seed=4
        )
        simulate(path, options, truth=False)
        return list(records_of(path))


# The kind of a file, what its records are made of, and what makes a log of some of them.
_SAMPLES: dict[str, tuple[str, Callable[[], Sequence[Any]], Callable[[Any], bytes]]] = {
    "json lines": ("json", lambda: _RECORDS, lambda some: as_lines(some).encode()),
    "a json array": ("json", lambda: _RECORDS, lambda some: json.dumps(some, indent=1).encode()),
    "utf-16": ("json", lambda: _RECORDS[:8], lambda some: as_lines(some).encode("utf-16")),
    "security log": ("json", lambda: _AUDITS, lambda some: as_lines(some).encode()),
    "xml": ("xml", lambda: _XML, lambda some: ("<Events>" + "\n".join(some) + "</Events>").encode()),
    "procmon csv": ("procmon-csv", lambda: _PROCMON, lambda some: csv_text(some).encode("utf-8-sig")),
    "procmon xml": ("procmon-xml", lambda: _PROCMON, lambda some: xml_text(some).encode()),
    "defender csv": ("defender-csv", lambda: _DEFENDER, _defender_csv),
    "defender json": ("defender-json", lambda: _DEFENDER, lambda some: as_lines(some).encode()),
    "etw watch_etw": ("etw-json", _etl_records, FORMS["watch_etw"]),
    "etw sigma": ("etw-json", _etl_records, FORMS["sigma"]),
    "etw silketw": ("etw-json", _etl_records, FORMS["silketw"]),
    "etw win_event": ("etw-json", _etl_records, FORMS["win_event"]),
    "etw tracerpt_xml": ("etw-xml", _etl_records, FORMS["tracerpt_xml"]),
    "etw win_event_xml": ("etw-xml", _etl_records, FORMS["win_event_xml"]),
    "etw tracerpt_csv": ("etw-csv", _etl_records, FORMS["tracerpt_csv"]),
}
KINDS = {name: kind for name, (kind, _, _) in _SAMPLES.items()}  # the kind of a file, by the name of a log


@cache
def log_content(name: str, part: int = 0, of: int = 1) -> bytes:
    """Return a sound log of this name, or of one part of its records."""
    _, make_records, write = _SAMPLES[name]
    records = make_records()
    count = len(records)
    return write(records[count * part // of : count * (part + 1) // of])
