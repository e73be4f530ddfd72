"""Columns of a decoded record: what its header says, and the fields of the payloads that regtrace knows.

Header columns are called `@...`, so that no field of a payload can be taken for one. All are text, NULL where a record
does not say.
"""

from tracer.decode.layouts import LAYOUTS, Layout
from tracer.decode.payload import COUNT_NAMES
from tracer.logs.field_paths import FieldPaths

__all__ = ["COLUMN", "HEADER", "JSON_FIELDS", "PAYLOAD", "SPELLINGS", "XML_SYSTEM", "payload_names"]

# The header of a record.
HEADER = (
    "@guid",  # GUID of the provider
    "@provider",  # its name, or that of the session
    "@class",  # GUID of a class of the NT Kernel Logger
    "@id",
    "@opcode",
    "@version",
    "@name",  # of the event, or of its opcode
    "@pid",
    "@tid",
    "@cpu",
    "@time",
    "@computer",
    "@pointer",  # bytes of a pointer
    "@fields",  # values of the payload without their names, in order, as JSON: [{"Value": 1}, ...]
)


def payload_names(layout: Layout) -> tuple[str, ...]:
    """Return the names of a payload's fields in order; the count of captured bytes stands before them."""
    return tuple(
        name
        for field in layout.fields
        for name in ((COUNT_NAMES[field.name],) if field.kind == "captured" else ()) + (field.name,)
    )


# Every field that a known payload may have.
_NAMES = tuple(dict.fromkeys(name for layout in LAYOUTS.values() for name in payload_names(layout)))
# Each field by its name in small letters: the names that differ in case only.
SPELLINGS: dict[str, list[str]] = {}
for _name in _NAMES:
    SPELLINGS.setdefault(_name.lower(), []).append(_name)
# The column of each field: names that differ in case only (ProcessID, ProcessId) share one, for parsers fold them.
COLUMN = {name: SPELLINGS[name.lower()][0] for name in _NAMES}
PAYLOAD = tuple(dict.fromkeys(COLUMN.values()))

# Names that a header may have at the top of a record, where a field of the payload would stand in a flat record.
_OF_HEADERS = {"ProcessID", "ProcessId", "ThreadID", "Type", "Flags", "Path", "Size"}
# Where fields of payloads are. Seen in public records: EventData (Velociraptor's watch_etw and its Sigma models).
# Read of: XmlEventData (SilkETW's source, and programs that read its registry records), EventProperties (the library under
# watch_etw).
_HOMES = ("EventData", "XmlEventData", "EventProperties", "Event.EventData")

_EXECUTION = ("Event.System.Execution.#attributes", "System.Execution")
# Velociraptor: watch_etw writes System.{ID, ProcessID, TimeStamp, Provider (a GUID), OpCode, KernelEventType}; its Sigma
# models System.{Channel, Computer, EventType, EventID.Value} and Timestamp. SilkETW: the names without dots.
# Get-WinEvent | ConvertTo-Json: ProviderId, ProviderName, Id, ProcessId, MachineName, TimeCreated, Properties.
JSON_FIELDS: FieldPaths = {
    "@guid": (
        "Event.System.Provider.#attributes.Guid", "System.Provider.Guid", "System.Provider", "Header.Provider", "ProviderGuid",
        "ProviderId",
    ),
    "@provider": (
        "Event.System.Provider.#attributes.Name", "System.Provider.Name", "ProviderName", "System.Channel", "Channel", "Provider",
    ),
    "@class": ("Event.ExtendedTracingInfo.EventGuid", "EventGuid", "TaskGuid"),
    "@id": (
        "Event.System.EventID.#text", "Event.System.EventID", "System.ID", "Header.ID", "System.EventID.Value",
        "System.EventID", "EventID", "EventId", "Id", "ID",
    ),
    "@opcode": (
        "Event.System.Opcode", "System.OpCode", "Header.OpCode", "System.Opcode", "Opcode", "OpCode",
    ),
    "@version": ("Event.System.Version", "System.Version", "Version"),
    "@name": (
        "System.KernelEventType", "Header.KernelEventType", "System.EventType", "EventName", "EventType", "OpcodeName",
    ),
    "@pid": (
        *(f"{home}.ProcessID" for home in _EXECUTION), "System.ProcessID", "Header.ProcessID", "ProcessID", "ProcessId",
        "EventData.ProcInfo.Pid",
    ),
    "@tid": (*(f"{home}.ThreadID" for home in _EXECUTION), "System.ThreadID", "ThreadID", "ThreadId"),
    "@cpu": (*(f"{home}.ProcessorID" for home in _EXECUTION), "ProcessorNumber"),
    "@time": (
        "Event.System.TimeCreated.#attributes.SystemTime", "System.TimeCreated.SystemTime", "System.TimeStamp",
        "Header.TimeStamp", "TimeStamp", "Timestamp", "TimeCreated.value", "TimeCreated",
    ),
    "@computer": ("Event.System.Computer", "System.Computer", "MachineName", "Computer", "Hostname"),
    "@pointer": ("PointerSize",),
    "@fields": ("Properties",),
    **{
        name: tuple(
            path
            for spelt in SPELLINGS[name.lower()]
            for path in (*(f"{home}.{spelt}" for home in _HOMES), *(() if spelt in _OF_HEADERS else (spelt,)))
        )
        for name in PAYLOAD
    },
}  # fmt: skip

# Elements of System and ExtendedTracingInfo, their attributes ("" for the text), and the column.
XML_SYSTEM = (
    ("Provider", "Guid", "@guid"),
    ("Provider", "Name", "@provider"),
    ("EventGuid", "", "@class"),
    ("EventID", "", "@id"),
    ("Opcode", "", "@opcode"),
    ("Version", "", "@version"),
    ("Execution", "ProcessID", "@pid"),
    ("Execution", "ThreadID", "@tid"),
    ("Execution", "ProcessorID", "@cpu"),
    ("TimeCreated", "SystemTime", "@time"),
    ("Computer", "", "@computer"),
)
