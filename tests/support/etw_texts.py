"""Records of an .etl as other tools write them to text: one function a form, from the records of `regtrace dump`.

The shapes are those that docs/sources/etw-text.md describes; nothing here reads what the product writes.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tracer.decode.layouts import LAYOUTS
from tracer.etl.providers import CLASSIC_PROCESS, CLASSIC_REGISTRY, KERNEL_PROCESS, PROVIDER_NAMES
from tracer.inspect.dump import dump
from tracer.registry.text import unescape_name

__all__ = ["FORMS", "Record", "records_of"]

CLASSIC = (CLASSIC_REGISTRY, CLASSIC_PROCESS)
POINTERS = {field.name for layout in LAYOUTS.values() for field in layout.fields if field.kind == "ptr"}
_FILETIME_1970 = 116_444_736_000_000_000
_FILETIMES = {"CreateTime", "ExitTime"}
# Velociraptor's names.
_KERNEL_TYPES = {
    (CLASSIC_REGISTRY, 10): "RegCreateKey", (CLASSIC_REGISTRY, 11): "RegOpenKey", (CLASSIC_REGISTRY, 27): "RegCloseKey",
    (CLASSIC_REGISTRY, 14): "RegSetValue", (CLASSIC_REGISTRY, 16): "RegQueryValue",
}  # fmt: skip
_SESSION = "9e814aad-3204-11d2-9a82-006008a86939"

Record = dict[str, Any]


def records_of(path: Path) -> Iterator[Record]:
    """Yield the records of an .etl in order; texts are what they were, not escaped."""
    for table in dump([path]):
        for row in table.to_pylist():
            names = [field.name for field in _layout(row).fields] if _layout(row) else []
            yield {
                name: unescape_name(value) if isinstance(value, str) and name in names else value
                for name, value in row.items()
            }


def _layout(record: Record) -> Any:
    event = record["opcode"] if record["id"] is None else record["id"]
    return LAYOUTS.get((record["provider"], event, record["version"]))


def _guid(record: Record) -> str:
    text = record["provider"]
    return text if len(text) == 36 else "00000000-0000-0000-0000-0000000000ff"


def _name(record: Record) -> str:
    return PROVIDER_NAMES.get(record["provider"], "Another-Provider")


def _time(record: Record, digits: int = 7) -> str:
    seconds, rest = divmod(record["time_ns"], 1_000_000_000)
    when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}"[: 20 + digits].rstrip(".")


def _fields(record: Record) -> Iterator[tuple[str, Any, bool]]:
    """Yield the fields of a payload in order: name, value, and whether it is a pointer."""
    layout = _layout(record)
    for field in layout.fields if layout else ():
        if field.kind == "captured":
            count = {"CapturedData": "CapturedDataSize", "PreviousData": "PreviousDataCapturedSize"}[
                field.name
            ]
            if record[count] is not None:
                yield count, record[count], False
        if record[field.name] is not None:
            yield field.name, record[field.name], field.kind == "ptr"


def _texts(record: Record, number: Callable[[str, int, bool], str]) -> dict[str, str]:
    return {
        name: value.hex() if isinstance(value, bytes) else value if isinstance(value, str) else number(name, value, pointer)
        for name, value, pointer in _fields(record)
    }  # fmt: skip


def _velociraptor_number(name: str, value: int, pointer: bool) -> str:
    return f"0x{value:X}" if pointer or name == "Status" else str(value)


def watch_etw(record: Record) -> Record:
    """Return what Velociraptor's watch_etw writes."""
    system = {
        "ID": record["id"] or 0,
        "ProcessID": 0xFFFFFFFF if record["pid"] is None else record["pid"],
        "TimeStamp": _time(record).rstrip("0").rstrip(".") + "Z",
        "Provider": "{" + _guid(record).upper() + "}",
        "OpCode": record["opcode"],
    }
    kernel = _KERNEL_TYPES.get((record["provider"], record["opcode"]))
    if kernel:
        system["KernelEventType"] = kernel
    return {"System": system, "EventData": _texts(record, _velociraptor_number)}


def sigma(record: Record) -> Record:
    """Return what Velociraptor's Sigma models write: a time in seconds, names for GUIDs, no process in the header."""
    classic = record["provider"] in CLASSIC
    layout = _layout(record)
    event = _KERNEL_TYPES.get((record["provider"], record["opcode"])) or (layout.name if layout else "Other")
    system = {
        "Channel": "NT Kernel Logger" if classic else _name(record),
        "Computer": "PC-1",
        "EventType": event,
        "EventID": {"Value": record["id"] or 0},
    }
    return {
        "Timestamp": _time(record, 0).rstrip(".") + "Z",
        "System": system,
        "EventData": {
            **_texts(record, _velociraptor_number),
            "ProcInfo": {"Pid": record["pid"], "Name": "a.exe"},
        },
    }


def silketw(record: Record) -> Record:
    """Return what SilkETW writes: no id and no version, thousands with commas."""
    layout = _layout(record)
    event = layout.name if layout else "Other"
    task = {KERNEL_PROCESS: f"{event}/{event.removeprefix('Process')}", CLASSIC_REGISTRY: f"Registry/{event}"}

    def number(name: str, value: int, pointer: bool) -> str:
        return f"0x{value:x}" if pointer or name == "Status" else f"{value:,}"

    return {
        "ProviderGuid": _guid(record),
        "YaraMatch": [],
        "ProviderName": _name(record),
        "EventName": task.get(record["provider"], f"EventID({record['id']})"),
        "Opcode": record["opcode"],
        "OpcodeName": event,
        "TimeStamp": _time(record) + "+00:00",
        "ThreadID": -1 if record["tid"] is None else record["tid"],
        "ProcessID": -1 if record["pid"] is None else record["pid"],
        "ProcessName": "N/A",
        "PointerSize": 4 if record["header_type"].endswith("32") else 8,
        "EventDataLength": 0,
        "XmlEventData": {
            **_texts(record, number),
            "FormattedMessage": "x",
            "MSec": "1.5",
            "PID": "1",
            "PName": "",
        },
    }


def win_event(record: Record) -> Record:
    """Return what `Get-WinEvent -Path x.etl -Oldest | ConvertTo-Json` writes: values without names."""
    values = [
        list(value) if isinstance(value, bytes) else f"{_filetime(value)}" if name in _FILETIMES else value
        for name, value, _ in _fields(record)
    ]
    return {
        "Message": None,
        "Id": record["id"] or 0,
        "Version": record["version"],
        "Opcode": record["opcode"],
        "ProviderName": _name(record),
        "ProviderId": _guid(record),
        "LogName": None,
        "ProcessId": record["pid"],
        "ThreadId": record["tid"],
        "MachineName": "",
        "TimeCreated": _time(record) + "+00:00",
        "Properties": [{"Value": value} for value in values],
    }


def _filetime(value: int) -> str:
    return _time({"time_ns": (value - _FILETIME_1970) * 100}) + "Z"


def as_lines(make: Callable[[Record], Record]) -> Callable[[list[Record]], bytes]:
    """Return a writer of JSON lines."""
    return lambda records: "".join(json.dumps(make(record)) + "\n" for record in records).encode()


def _array(records: list[Record]) -> bytes:
    return json.dumps([win_event(record) for record in records], indent=2).encode()


FORMS: dict[str, Callable[[list[Record]], bytes]] = {
    "watch_etw": as_lines(watch_etw),
    "sigma": as_lines(sigma),
    "silketw": as_lines(silketw),
    "win_event": _array,
}
