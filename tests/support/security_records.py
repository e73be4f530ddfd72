"""Registry events of the Windows Security log as collectors write them, made by hand: no line of a real log."""

from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

__all__ = ["DENIED", "SHAPES", "as_audits", "as_xml", "audit", "audit_data"]

DENIED = 0xC0000022

_SUBJECT = {
    "SubjectUserSid": "S-1-5-21-1-2-3-1001",
    "SubjectUserName": "alice",
    "SubjectDomainName": "PC1",
    "SubjectLogonId": "0x3e7a1",
}
_NO_TRANSACTION = "{00000000-0000-0000-0000-000000000000}"
# The fields of each event in the manifest's order, beside the subject.
_FIELDS: dict[int, dict[str, str]] = {
    4656: {
        "ObjectServer": "Security", "ObjectType": "Key", "ObjectName": "", "HandleId": "0x1d4",
        "TransactionId": _NO_TRANSACTION, "AccessList": "%%4432\r\n\t\t\t\t", "AccessReason": "-", "AccessMask": "0x1",
        "PrivilegeList": "-", "RestrictedSidCount": "0", "ProcessId": "0x10e1",
        "ProcessName": r"C:\Windows\regedit.exe", "ResourceAttributes": "-",
    },
    4657: {
        "ObjectName": "", "ObjectValueName": "v", "HandleId": "0x1d4", "OperationType": "%%1905",
        "OldValueType": "%%1876", "OldValue": "1", "NewValueType": "%%1876", "NewValue": "2", "ProcessId": "0x10e1",
        "ProcessName": r"C:\Windows\regedit.exe",
    },
    4658: {
        "ObjectServer": "Security", "HandleId": "0x1d4", "ProcessId": "0x10e1",
        "ProcessName": r"C:\Windows\regedit.exe",
    },
    4660: {
        "ObjectServer": "Security", "HandleId": "0x1d4", "ProcessId": "0x10e1",
        "ProcessName": r"C:\Windows\regedit.exe", "TransactionId": _NO_TRANSACTION,
    },
    4663: {
        "ObjectServer": "Security", "ObjectType": "Key", "ObjectName": "", "HandleId": "0x1d4",
        "AccessList": "%%4432\r\n\t\t\t\t", "AccessMask": "0x1", "ProcessId": "0x10e1",
        "ProcessName": r"C:\Windows\regedit.exe", "ResourceAttributes": "-",
    },
}  # fmt: skip


def audit_data(number: int, key: str | None = None, **more: str | None) -> dict[str, str | None]:
    """Return the fields of one event; one that is given as None is left out."""
    data: dict[str, str | None] = {**_SUBJECT, **_FIELDS[number]}
    if "ObjectName" in data:
        data["ObjectName"] = key
    return {**data, **more}


def audit(
    number: int,
    key: str | None = None,
    shape: str = "flat",
    *,
    time: str = "2024-05-06T07:08:09.1234567Z",
    failed: bool = False,
    task: int | None = 12801,
    **more: str | None,
) -> dict[str, Any]:
    """Return one record in the shape of a collector; `more` are fields of the event, and of the record in the shape `flat`."""
    record = SHAPES[shape](number, audit_data(number, key, **more), time, failed, task)
    return {name: value for name, value in record.items() if value is not None}


def _keywords(failed: bool) -> int:
    return 0x8010000000000000 if failed else 0x8020000000000000


def _without_none(data: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in data.items() if value is not None}


def _evtx_dump(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    system = {
        "Provider": {"#attributes": {"Name": "Microsoft-Windows-Security-Auditing"}},
        "EventID": number,
        "Task": task,
        "Keywords": hex(_keywords(failed)),
        "TimeCreated": {"#attributes": {"SystemTime": time}},
        "EventRecordID": 7,
        "Execution": {"#attributes": {"ProcessID": 4, "ThreadID": 98}},
        "Channel": "Security",
        "Computer": "pc1.example",
    }
    return {"Event": {"System": system, "EventData": _without_none(data)}}


def _flat(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    return {
        "SourceName": "Microsoft-Windows-Security-Auditing", "Channel": "Security", "Hostname": "pc1.example",
        "TimeCreated": time, "EventID": number, "Keywords": hex(_keywords(failed)), "Task": task and str(task), **data,
    }  # fmt: skip


def _nxlog(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    """NXLog: keywords as a signed number, local time in whole seconds, and the header's process."""
    return {
        "EventTime": "2024-05-06 09:08:08", "@timestamp": time, "Hostname": "pc1.example", "ExecutionProcessID": 4, "ThreadID": 98,
        "SourceName": "Microsoft-Windows-Security-Auditing", "EventID": number, "Keywords": _keywords(failed) - (1 << 64),
        "EventType": "AUDIT_FAILURE" if failed else "AUDIT_SUCCESS", "Task": task, "Channel": "Security", "ProcessID": 4, **data,
    }  # fmt: skip


def _winlogbeat(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    """Winlogbeat: keywords and tasks as texts of the machine's language."""
    return {
        "@timestamp": time,
        "event": {"code": str(number), "provider": "Microsoft-Windows-Security-Auditing", "outcome": "failure" if failed else "success"},
        "winlog": {
            "event_id": str(number), "provider_name": "Microsoft-Windows-Security-Auditing", "computer_name": "pc1.example",
            "channel": "Security", "event_data": _without_none(data), "record_id": 7, "process": {"pid": 4},
            "keywords": ["Überwachung gescheitert" if failed else "Überwachung erfolgreich"], "task": "Registry" if task else None,
        },
        "host": {"name": "pc1.example"},
    }  # fmt: skip


def _dotted(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    """A search's answer, flattened: names with dots."""
    return {
        "@timestamp": time, "winlog.event_id": number, "winlog.provider_name": "Microsoft-Windows-Security-Auditing",
        "winlog.computer_name": "pc1.example", "event.outcome": "failure" if failed else "success",
        **{f"winlog.event_data.{name}": value for name, value in data.items()},
    }  # fmt: skip


def _powershell(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    """`Get-WinEvent | ConvertTo-Json`: values without names, numbers as numbers, a SID as an object."""

    def value(name: str, text: str | None) -> object:
        if name == "SubjectUserSid":
            return {"BinaryLength": 28, "AccountDomainSid": "S-1-5-21-1-2-3", "Value": text}
        if (
            name in ("SubjectLogonId", "HandleId", "ProcessId", "AccessMask")
            and text
            and text.startswith("0x")
        ):
            return int(text, 16)
        return text

    return {
        "Id": number, "ProviderName": "Microsoft-Windows-Security-Auditing", "MachineName": "pc1.example", "RecordId": 7,
        "Keywords": _keywords(failed) - (1 << 64), "Task": task, "ProcessId": 4, "ThreadId": 98, "TimeCreated": time,
        "Message": "A registry value was modified.", "Properties": [{"Value": value(name, text)} for name, text in data.items()],
    }  # fmt: skip


def _wazuh(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    """Wazuh: names with a small first letter."""
    system = {
        "eventID": str(number), "providerName": "Microsoft-Windows-Security-Auditing", "computer": "pc1.example",
        "systemTime": time, "processID": "4", "keywords": hex(_keywords(failed)), "task": task and str(task),
    }  # fmt: skip
    own = {name[0].lower() + name[1:]: value for name, value in data.items()}
    return {"_index": "x", "_source": {"data": {"win": {"system": system, "eventdata": own}}}}


def _listed(
    number: int, data: dict[str, str | None], time: str, failed: bool, task: int | None
) -> dict[str, Any]:
    """A converter of XML that keeps elements with attributes as they are."""
    record = _evtx_dump(number, {}, time, failed, task)
    record["Event"]["EventData"] = {"Data": [{"@Name": name, "#text": value} for name, value in data.items()]}
    return record


SHAPES = {
    "wazuh": _wazuh, "listed": _listed, "evtx_dump": _evtx_dump, "flat": _flat, "nxlog": _nxlog, "winlogbeat": _winlogbeat,
    "dotted": _dotted, "powershell": _powershell,
}  # fmt: skip


def as_xml(number: int, key: str | None = None, *, failed: bool = False, **more: str | None) -> str:
    """Return an event as `wevtutil qe /f:xml` writes it."""
    data = _without_none(audit_data(number, key, **more))
    fields = "".join(f"<Data Name='{name}'>{escape(value)}</Data>" for name, value in data.items())
    return (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>"
        "<Provider Name='Microsoft-Windows-Security-Auditing' Guid='{54849625-5478-4994-a5ba-3e3b0328c30d}'/>"
        f"<EventID>{number}</EventID><Task>12801</Task><Keywords>{_keywords(failed):#x}</Keywords>"
        "<TimeCreated SystemTime='2024-05-06T07:08:09.1234567Z'/><EventRecordID>7</EventRecordID>"
        "<Execution ProcessID='4' ThreadID='98'/><Channel>Security</Channel><Computer>pc1.example</Computer></System>"
        f"<EventData>{fields}</EventData></Event>"
    )


def as_audits(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write the operations of an .etl as the Security log would, had every key an auditing entry for everything."""
    held: dict[tuple[int, str], tuple[int | None, bytes | None]] = {}
    records: list[dict[str, Any]] = []
    for row in rows:
        operation, status, key = row["operation"], row["status"], row["path"]
        handle = "0x0" if row["handle_id"] is None else hex(4 * row["handle_id"] + 4)
        second, fraction = divmod(row["time_ns"], 10**9)
        more: dict[str, Any] = {"HandleId": handle, "ProcessId": hex(row["pid"])}
        more["ProcessName"] = rf"C:\Windows\System32\{row['process']}"
        more["time"] = datetime.fromtimestamp(second, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{fraction:09}Z")
        slot = (row["group"], row["folded_value"])
        if operation in ("OpenKey", "CreateKey") and status in (0, DENIED):
            records.append(audit(4656, key, failed=status != 0, **more))
        elif operation == "CloseKey":
            records.append(audit(4658, **more))
        elif status != 0:
            continue  # nothing is logged of what failed otherwise
        elif operation == "SetValueKey":
            before = (row["previous_type"], row["previous_data"])
            held[slot] = (row["data_type"], row["data"])
            more["OperationType"] = "%%1904" if row["previous_type"] is None else "%%1905"
            more["OldValueType"], more["OldValue"] = _written(*before)
            more["NewValueType"], more["NewValue"] = _written(row["data_type"], row["data"])
            records.append(audit(4657, key, ObjectValueName=row["value_name"], **more))
        elif operation == "DeleteValueKey":
            kind, text = _written(*held.get(slot, (3, None)))
            gone: dict[str, Any] = {
                "OldValueType": kind,
                "OldValue": text,
                "NewValueType": "-",
                "NewValue": "-",
            }
            records.append(
                audit(4657, key, ObjectValueName=row["value_name"], OperationType="%%1906", **gone, **more)
            )
        elif operation == "DeleteKey":
            records.append(audit(4660, **more))
        elif operation.startswith(("Query", "Enumerate")):
            records.append(audit(4663, key, **more))
    return records


def _written(kind: int | None, data: bytes | None) -> tuple[str, str]:
    """Write data as the log does; what it writes in a form that nobody knows as a question mark."""
    if kind is None:
        return "-", "-"
    code, data = f"%%{1872 + kind}", data or b""
    if (kind, len(data)) in ((4, 4), (11, 8)):
        number = int.from_bytes(data, "little")
        return code, str(number) if kind == 4 else f"0x{number:X}"
    if kind in (1, 2) and len(data) % 2 == 0 and data.endswith(b"\0\0"):
        decoded = data.decode("utf-16-le", "surrogatepass")[:-1]
        if "\0" not in decoded:
            return code, decoded
    return "%%1875", "?"
