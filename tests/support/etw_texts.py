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


def _event_xml(record: Record, *, of_tracerpt: bool) -> str:
    classic = record["provider"] in CLASSIC
    pid = 0xFFFFFFFF if record["pid"] is None else record["pid"]
    tid = 0xFFFFFFFF if record["tid"] is None else record["tid"]
    guid = _SESSION if classic else _guid(record)
    name = "" if classic else f' Name="{_name(record)}"'

    def number(field: str, value: int, pointer: bool) -> str:
        return f"0x{value:X}" if pointer else f"0x{value:x}" if field == "Status" else f"{value:8d}"

    texts = _texts(record, number)
    for field in _FILETIMES & set(texts):
        texts[field] = _filetime(record[field])
    data = "".join(f'<Data Name="{field}">{_xml_text(text)}</Data>\r\n' for field, text in texts.items())
    more = (
        f'<ExtendedTracingInfo xmlns="http://schemas.microsoft.com/win/2004/08/events/trace"><EventGuid>{{{_guid(record)}}}'
        "</EventGuid></ExtendedTracingInfo>"
        if classic
        else ""
    )
    rendering = (
        "<RenderingInfo Culture='en-US'><Level>Information </Level><Opcode>a name</Opcode></RenderingInfo>"
    )
    return (
        f'<Event xmlns="http://schemas.microsoft.com/win/2004/08/events/event">\r\n<System><Provider{name} Guid="{{{guid}}}" />'
        f"<EventID>{record['id'] or 0}</EventID><Version>{record['version']}</Version><Level>4</Level><Task>0</Task>"
        f"<Opcode>{record['opcode']}</Opcode><Keywords>0x0</Keywords>"
        f'<TimeCreated SystemTime="{_time(record)}{"00+00:00" if of_tracerpt else "00Z"}" />'
        f'<Execution ProcessID="{pid}" ThreadID="{tid}" ProcessorID="{record["cpu"]}" KernelTime="0" UserTime="15" />'
        f"<Channel /><Computer />{'' if of_tracerpt else '<Security />'}</System>\r\n<EventData>{data}</EventData>"
        f"{rendering if of_tracerpt else ''}{more}</Event>\r\n"
    )


def _xml_text(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#13;").replace("\n", "&#10;")


def tracerpt_xml(records: list[Record]) -> bytes:
    """Return what `tracerpt x.etl -of XML` writes."""
    events = "".join(_event_xml(record, of_tracerpt=True) for record in records)
    return f'\ufeff<?xml version="1.0"?>\r\n<Events>\r\n{events}</Events>\r\n'.encode()


def win_event_xml(records: list[Record]) -> bytes:
    """Return what `Get-WinEvent -Path x.etl -Oldest | % ToXml` writes, saved by Windows PowerShell: UTF-16."""
    return "".join(_event_xml(record, of_tracerpt=False) for record in records).encode("utf-16")


def tracerpt_csv(records: list[Record]) -> bytes:
    """Return what `tracerpt x.etl -of CSV` writes."""
    titles = (
        "Event Name,       Type,   Event ID,    Version,    Channel,      Level,     Opcode,       Task,            Keyword, "
        "       PID,        TID,  Processor Number,        Instance ID,   Parent Instance ID,      Activity ID, Related Activity "
        "ID,         Clock-Time,  Kernel(ms),    User(ms),    User Data"
    )
    return "\r\n".join([titles, *map(_csv_line, records), ""]).encode()


def _csv_line(record: Record) -> str:
    names = {CLASSIC_REGISTRY: "Registry", CLASSIC_PROCESS: "Process"}
    layout = _layout(record)
    pid = 0xFFFFFFFF if record["pid"] is None else record["pid"]
    tid = 0xFFFFFFFF if record["tid"] is None else record["tid"]
    clock = record["time_ns"] // 100 + _FILETIME_1970
    fixed = [
        names.get(record["provider"], _name(record)), layout.name if layout else "Other", record["id"] or 0, record["version"],
        0, 4, record["opcode"], 0, "0x0000000000000000", f"0x{pid:08X}", f"0x{tid:08X}", record["cpu"], "", "",
        "{00000000-0000-0000-0000-000000000000}", "", clock, 0, 15,
    ]  # fmt: skip
    return ",".join([*(f"{field!s:>12}" for field in fixed), *(f" {text}" for text in _csv_values(record))])


def _csv_values(record: Record) -> list[str]:
    values = []
    for name, value, pointer in _fields(record):
        if isinstance(value, str):
            values.append('"' + value.replace('"', '""') + '"')
        elif isinstance(value, bytes):
            values.append(f"0x{value.hex().upper()}" if value else '""')
        else:
            values.append(
                f"0x{value:016X}" if pointer else f"0x{value:X}" if name == "Status" else f"{value:10d}"
            )
    return values


FORMS: dict[str, Callable[[list[Record]], bytes]] = {
    "watch_etw": as_lines(watch_etw),
    "sigma": as_lines(sigma),
    "silketw": as_lines(silketw),
    "win_event": _array,
    "tracerpt_xml": tracerpt_xml,
    "win_event_xml": win_event_xml,
    "tracerpt_csv": tracerpt_csv,
}
