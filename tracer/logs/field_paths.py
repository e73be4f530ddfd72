"""Where collectors put the fields of an event: for each field an ordered list of paths, of which the first that is there counts.

A path is a list of names, outermost first, written with dots: ``Event.System.Computer`` is either a name in nested
objects or one name with dots in it. The shapes were seen in public records of evtx_dump, NXLog and Winlogbeat, and
read in the documents of Winlogbeat, the Elastic Common Schema and PowerShell (`Get-WinEvent | ConvertTo-Json`).
Users add paths of their own with ``--fields FILE.toml``: these come first.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tracer.errors import UsageError
from tracer.logs.nested_fields import NESTED

__all__ = ["CONDITIONS", "EVENT_FIELDS", "RARE_FIELDS", "WRAPPERS", "FieldPaths", "data_paths", "read_fields"]

FieldPaths = Mapping[str, tuple[str, ...]]

# Objects around a record in the answers of Elasticsearch and Splunk.
WRAPPERS = ("_source", "result")
# Where the fields below an event's EventData are, with the field's name in place of *, or of ~ with a small first letter (Wazuh).
_DATA = (
    "Event.EventData.*",
    "winlog.event_data.*",
    "*",
    "EventData.*",
    "event_data.*",
    "data.win.eventdata.~",
)

# What the header of an event says (its element System).
_SYSTEM: FieldPaths = {
    "EventID": (
        "Event.System.EventID.#text", "Event.System.EventID", "winlog.event_id", "EventID", "event_id", "Id", "EventId",
        "System.EventID", "event.code", "data.win.system.eventID",
    ),
    "Provider": (
        "Event.System.Provider.#attributes.Name", "Event.System.Provider.@Name", "winlog.provider_name",
        "winlog.channel", "SourceName", "ProviderName", "Provider", "source_name", "event.provider", "Source",
        "Event.System.Channel", "Channel", "LogName", "log_name", "data.win.system.providerName",
    ),
    "Computer": (
        "Event.System.Computer", "winlog.computer_name", "Hostname", "Computer", "computer_name", "MachineName", "ComputerName",
        "host.name", "host.hostname", "data.win.system.computer", "hostname",
    ),
    "RecordNumber": (
        "Event.System.EventRecordID", "winlog.record_id", "RecordNumber", "RecordId", "record_id", "EventRecordID",
        "data.win.system.eventRecordID",
    ),
    "TimeCreated": (
        "Event.System.TimeCreated.#attributes.SystemTime", "Event.System.TimeCreated.@SystemTime", "TimeCreated.value",
        "TimeCreated", "SystemTime", "event.created", "@timestamp", "EventTime", "timestamp", "data.win.system.systemTime",
    ),
    "Keywords": (
        "Event.System.Keywords", "winlog.keywords", "Keywords", "keywords", "System.Keywords", "data.win.system.keywords",
    ),
    "Task": (
        "Event.System.Task", "winlog.task", "Task", "task", "System.Task", "data.win.system.task",
    ),
    "Outcome": ("event.outcome",),
    "EventTime": ("EventTime",),
}  # fmt: skip

# Fields of Sysmon's and the Security log's registry events that have further homes beside EventData.
_ALSO: FieldPaths = {
    "TargetObject": ("registry.path",),
    "Image": ("process.executable",),
    "ProcessGuid": ("process.entity_id",),
    "ProcessId": ("process.pid",),
    "ProcessName": ("process.executable",),
}
# Names under EventData, as the manifests of Sysmon and of Microsoft-Windows-Security-Auditing spell them.
_DATA_NAMES = (
    "EventType", "UtcTime", "ProcessGuid", "ProcessId", "Image", "TargetObject", "Details", "NewName", "User",
    "SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId", "ObjectServer", "ObjectType", "ObjectName",
    "ObjectValueName", "HandleId", "OperationType", "OldValueType", "OldValue", "NewValueType", "NewValue", "ProcessName",
    "AccessList", "AccessMask", "TransactionId", "AccessReason",
)  # fmt: skip


def data_paths(name: str) -> tuple[str, ...]:
    """Return the paths of a field of an event's EventData, in order."""
    small = name[0].lower() + name[1:]
    return (*(form.replace("*", name).replace("~", small) for form in _DATA), *_ALSO.get(name, ()))


EVENT_FIELDS: FieldPaths = {**_SYSTEM, **{name: data_paths(name) for name in _DATA_NAMES}}
# Long ones, of use where the fields above are not in their usual places.
RARE_FIELDS: FieldPaths = {
    # The data as a list, or as XML in a string (`tracer.logs.nested_fields`).
    NESTED: (
        "Event.EventData", "EventData", "winlog.event_data", "event_data", "Event.UserData", "_raw", "xml", "event_xml", "Event",
    ),
    "Message": ("Message", "message", "winlog.message", "event.original"),
    "Properties": ("Properties",),
}  # fmt: skip
_OF_SYSMON = "EventID IN ('12', '13', '14')"
_OF_SECURITY = "EventID IN ('4656', '4657', '4658', '4660', '4663')"
# Which records need a field, in SQL: to take one out of a record that does not costs as much as one that does.
CONDITIONS: Mapping[str, str] = {
    **dict.fromkeys(
        ("RecordNumber", "Keywords", "Task", "Outcome", "EventTime"), f"EventID IS NULL OR {_OF_SECURITY}"
    ),
    NESTED: (
        "TargetObject IS NULL AND ObjectName IS NULL AND (EventID IS NULL OR EventID IN ('12', '13', '14', '4656', '4657', '4663')) "
        "OR HandleId IS NULL AND EventID IN ('4658', '4660')"
    ),
    # It repeats the event's fields: wanted where one of Sysmon's is lost or overwritten.
    "Message": (
        f"({_OF_SYSMON} OR EventID IS NULL) AND (UtcTime IS NULL OR ProcessGuid IS NULL OR Image IS NULL "
        "OR TargetObject IS NULL OR EventType IS NULL "
        "OR EventType NOT IN ('CreateKey', 'DeleteKey', 'SetValue', 'DeleteValue', 'RenameKey'))"
    ),
    "Properties": f"{_OF_SECURITY} AND SubjectLogonId IS NULL OR {_OF_SYSMON} AND ProcessGuid IS NULL",
}


def read_fields(path: Path, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Read a user's own field paths from a TOML file: a table `fields` with a path, or a list of paths, a field.

    Args:
        path: the file.
        names: the fields that exist.

    Raises:
        UsageError: the file cannot be read, is not TOML, or names a field that does not exist.
    """
    known = set(names)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig")).get("fields")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}: cannot be read as TOML: {reason}") from error
    if not isinstance(table, dict) or not table:
        raise UsageError(
            f'{path}: has no table [fields]; write lines such as TargetObject = "my.path" below [fields]'
        )
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        paths = [value] if isinstance(value, str) else value
        if name not in known:
            raise UsageError(f"{path}: there is no field {name!r}; the fields are {', '.join(sorted(known))}")
        if not isinstance(paths, list) or not all(
            isinstance(one, str) and one and '"' not in one for one in paths
        ):
            raise UsageError(
                f"{path}: the field {name!r} needs a path of names with dots between them, or a list of paths"
            )
        fields[name] = tuple(paths)
    return fields
