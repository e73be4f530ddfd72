"""Sysmon's registry events as collectors write them, made by hand: no line of a real log."""

import json
from typing import Any
from xml.sax.saxutils import escape

__all__ = ["GUID", "SHAPES", "as_lines", "as_xml", "event", "event_data", "message_of"]

GUID = "{11111111-2222-3333-4444-000000000001}"
_IDS = {"CreateKey": 12, "DeleteKey": 12, "DeleteValue": 12, "SetValue": 13, "RenameKey": 14}


def event_data(kind: str, target: str, **more: str | None) -> dict[str, str]:
    """Return the fields of one event in the manifest's order; a field that is None is left out."""
    data: dict[str, str | None] = {
        "RuleName": "-",
        "EventType": kind,
        "UtcTime": "2024-05-06 07:08:09.123",
        "ProcessGuid": GUID,
        "ProcessId": "4321",
        "Image": r"C:\Windows\System32\tool.exe",
        "TargetObject": target,
        **more,
    }
    return {name: value for name, value in data.items() if value is not None}


def message_of(data: dict[str, str]) -> str:
    """Return the message as the event viewer shows it."""
    return "Registry event:\r\n" + "\r\n".join(f"{name}: {value}" for name, value in data.items())


def event(kind: str, target: str, shape: str = "flat", **more: str | None) -> dict[str, Any]:
    """Return one record in the shape of a collector."""
    data = event_data(kind, target, **more)
    return SHAPES[shape](_IDS[kind], data)


def _evtx_dump(number: int, data: dict[str, str]) -> dict[str, Any]:
    return {
        "Event": {
            "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
            "System": {
                "Provider": {
                    "#attributes": {
                        "Name": "Microsoft-Windows-Sysmon",
                        "Guid": "{5770385F-C22A-43E0-BF4C-06F5698FFBD9}",
                    }
                },
                "EventID": number,
                "Execution": {"#attributes": {"ProcessID": 99, "ThreadID": 98}},
                "TimeCreated": {"#attributes": {"SystemTime": "2024-05-06T07:08:09.128999Z"}},
                "EventRecordID": 7,
                "Channel": "Microsoft-Windows-Sysmon/Operational",
                "Computer": "pc1.example",
            },
            "EventData": {**data, "ProcessId": int(data.get("ProcessId", "0"))}
            if "ProcessId" in data
            else data,
        }
    }


def _flat(number: int, data: dict[str, str]) -> dict[str, Any]:
    return {
        "SourceName": "Microsoft-Windows-Sysmon", "Channel": "Microsoft-Windows-Sysmon/Operational", "Hostname": "pc1.example",
        "TimeCreated": "2024-05-06T07:08:09.200Z", "EventID": number, **data,
    }  # fmt: skip


def _nxlog(number: int, data: dict[str, str]) -> dict[str, Any]:
    """NXLog overwrites EventType and ProcessID with its own, and keeps the message."""
    own = {name: value for name, value in data.items() if name not in ("ProcessId",)}
    return {
        "EventTime": "2024-05-06 09:08:09", "Hostname": "pc1.example", "SourceName": "Microsoft-Windows-Sysmon",
        "EventID": number, "ProcessID": 99, "ThreadID": 98, "Message": message_of(data), **own, "EventType": "INFO",
    }  # fmt: skip


def _winlogbeat(number: int, data: dict[str, str]) -> dict[str, Any]:
    return {
        "@timestamp": "2024-05-06T07:08:09.300Z",
        "event": {"code": str(number), "provider": "Microsoft-Windows-Sysmon"},
        "winlog": {
            "event_id": str(number), "provider_name": "Microsoft-Windows-Sysmon", "computer_name": "pc1.example",
            "channel": "Microsoft-Windows-Sysmon/Operational", "event_data": data, "record_id": 7, "process": {"pid": 99},
        },
        "host": {"name": "pc1.example"},
    }  # fmt: skip


def _dotted(number: int, data: dict[str, str]) -> dict[str, Any]:
    """A search's answer, flattened: names with dots."""
    return {
        "@timestamp": "2024-05-06T07:08:09.300Z", "winlog.event_id": number,
        "winlog.provider_name": "Microsoft-Windows-Sysmon", "winlog.computer_name": "pc1.example",
        **{f"winlog.event_data.{name}": value for name, value in data.items()},
    }  # fmt: skip


def _powershell(number: int, data: dict[str, str]) -> dict[str, Any]:
    """`Get-WinEvent | ConvertTo-Json`: values without names, and the message."""
    return {
        "Id": number, "ProviderName": "Microsoft-Windows-Sysmon", "MachineName": "pc1.example", "RecordId": 7,
        "ProcessId": 99, "ThreadId": 98,
        "TimeCreated": "/Date(1714979289300)/", "Message": message_of(data), "Properties": [{"Value": one} for one in data.values()],
    }  # fmt: skip


def _wazuh(number: int, data: dict[str, str]) -> dict[str, Any]:
    """Wazuh: names with a small first letter; in an answer of its index."""
    system = {
        "eventID": str(number), "providerName": "Microsoft-Windows-Sysmon", "computer": "pc1.example",
        "systemTime": "2024-05-06T07:08:09.3000000Z", "processID": "99",
    }  # fmt: skip
    own = {name[0].lower() + name[1:]: value for name, value in data.items()}
    return {"_index": "x", "_source": {"data": {"win": {"system": system, "eventdata": own}}}}


def _listed(number: int, data: dict[str, str]) -> dict[str, Any]:
    """A converter of XML that keeps elements with attributes as they are."""
    record = _evtx_dump(number, {})
    record["Event"]["EventData"] = {"Data": [{"@Name": name, "#text": value} for name, value in data.items()]}
    return record


def _xml_inside(number: int, data: dict[str, str]) -> dict[str, Any]:
    """A table whose column holds the event's data as XML."""
    inside = "".join(f'<Data Name="{name}">{escape(value)}</Data>' for name, value in data.items())
    return {"EventID": number, "Source": "Microsoft-Windows-Sysmon", "Computer": "pc1.example",
            "EventData": f"<DataItem><EventData>{inside}</EventData></DataItem>"}  # fmt: skip


SHAPES = {
    "wazuh": _wazuh, "listed": _listed, "xml inside": _xml_inside,
    "evtx_dump": _evtx_dump, "flat": _flat, "nxlog": _nxlog, "winlogbeat": _winlogbeat, "dotted": _dotted,
    "powershell": _powershell,
}  # fmt: skip


def as_lines(records: list[dict[str, Any]]) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records)


def as_xml(number: int, data: dict[str, str]) -> str:
    """Return an event as `wevtutil qe /f:xml` writes it."""
    fields = "".join(f"<Data Name='{name}'>{escape(value)}</Data>" for name, value in data.items())
    return (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>"
        "<Provider Name='Microsoft-Windows-Sysmon' Guid='{5770385f-c22a-43e0-bf4c-06f5698ffbd9}'/>"
        f"<EventID>{number}</EventID><TimeCreated SystemTime='2024-05-06T07:08:09.1289999Z'/>"
        "<EventRecordID>7</EventRecordID><Execution ProcessID='99' ThreadID='98'/>"
        "<Channel>Microsoft-Windows-Sysmon/Operational</Channel><Computer>pc1.example</Computer></System>"
        f"<EventData>{fields}</EventData></Event>"
    )
