"""Small sound logs of every kind that is read: what the mutations damage. All are made by hand or simulated."""

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

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


def _defender_csv() -> bytes:
    rows = [list(_DEFENDER[0]), *(list(record.values()) for record in _DEFENDER)]
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


def _etw(form: str) -> Callable[[], bytes]:
    return lambda: FORMS[form](_etl_records())


_SAMPLES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "json lines": ("json", lambda: as_lines(_RECORDS).encode()),
    "a json array": ("json", lambda: json.dumps(_RECORDS, indent=1).encode()),
    "utf-16": ("json", lambda: as_lines(_RECORDS[:8]).encode("utf-16")),
    "security log": ("json", lambda: as_lines(_AUDITS).encode()),
    "xml": ("xml", lambda: ("<Events>" + "\n".join(_XML) + "</Events>").encode()),
    "procmon csv": ("procmon-csv", lambda: csv_text(_PROCMON).encode("utf-8-sig")),
    "procmon xml": ("procmon-xml", lambda: xml_text(_PROCMON).encode()),
    "defender csv": ("defender-csv", _defender_csv),
    "defender json": ("defender-json", lambda: as_lines(_DEFENDER).encode()),
    "etw watch_etw": ("etw-json", _etw("watch_etw")),
    "etw sigma": ("etw-json", _etw("sigma")),
    "etw silketw": ("etw-json", _etw("silketw")),
    "etw win_event": ("etw-json", _etw("win_event")),
    "etw tracerpt_xml": ("etw-xml", _etw("tracerpt_xml")),
    "etw win_event_xml": ("etw-xml", _etw("win_event_xml")),
    "etw tracerpt_csv": ("etw-csv", _etw("tracerpt_csv")),
}
KINDS = {name: kind for name, (kind, _) in _SAMPLES.items()}  # the kind of a file, by the name of a log


@cache
def log_content(name: str) -> bytes:
    """Return a sound log of this name."""
    return _SAMPLES[name][1]()
