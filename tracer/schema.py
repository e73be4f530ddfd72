"""The tables of a capture: every column with its type, unit and what NULL means.

This is the one place that says so; `regtrace schema` prints it and docs/schema.md is generated from it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tracer.flags import FLAGS, LOST_KINDS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ADDED_COLUMNS",
    "BASELINE_KEYS",
    "BASELINE_TELLS",
    "BASELINE_VALUES",
    "COUNTERS",
    "DIAGNOSTICS",
    "EVENTS",
    "EXTENDED",
    "FLAGS",
    "FORMAT_VERSION",
    "HANDLES",
    "KEYS",
    "LOSSES",
    "LOST_KINDS",
    "NAME_SOURCES",
    "OF_VALUES",
    "OPTIONAL",
    "PROCESSES",
    "SEED",
    "SIMULATED_NAME",
    "STRUCTURED",
    "TABLES",
    "USAGE",
    "Column",
    "Table",
]

FORMAT_VERSION = 1
SIMULATED_NAME = "regtrace simulated trace"  # the session's name in the header of a simulated trace, so that readers can tell

NAME_SOURCES = {
    "event": "the record itself carried the whole name",
    "open": "an earlier record of this trace named the object: an open, a create, or a filled name",
    "seed": "the handle table read when the capture started",
    "rundown": "a rundown of the key control blocks",
    "later": "evidence that came after the row, for the same lifetime of the same object",
    "partial": "only the last components are known, below an object without a name",
    "none": "nothing names the object; only its address is known",
}

# Of operations that are no writes of a value, older captures have a structure and its length in these columns.
OF_VALUES = ("data_type", "data_size", "data")
STRUCTURED = (
    "QueryKey",
    "EnumerateKey",
    "QueryValueKey",
    "EnumerateValueKey",
    "SetInformationKey",
    "QueryMultipleValueKey",
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type by name, and what a value and a NULL mean."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a capture."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [column.name for column in self.columns]

    def arrow(self) -> "pa.Schema":
        """Return the table's Arrow schema."""
        import pyarrow as pa

        kinds = {
            "timestamp": pa.timestamp("us", tz="UTC"),
            "text": pa.string(),
            "bytes": pa.binary(),
            "addresses": pa.list_(pa.int64()),
            "int16": pa.int16(),
            "int32": pa.int32(),
            "int64": pa.int64(),
            "boolean": pa.bool_(),
            "uint16": pa.uint16(),
            "uint32": pa.uint32(),
        }
        return pa.schema([pa.field(column.name, kinds[column.kind]) for column in self.columns])


EVENTS = Table(
    "events",
    "One row per registry operation. Inside a part rows are sorted by (key_id, sequence); `sequence` is the order in time.",
    (
        Column("sequence", "int64", "position in the capture's total order, from 0"),
        Column("time", "timestamp", "UTC, microseconds"),
        Column("time_ns", "int64", "UTC, nanoseconds since 1970 (the clock's own step is often 100 ns)"),
        Column("cpu", "int16", "processor that logged the record; NULL if the source does not say"),
        Column("thread_id", "uint32", "calling thread; NULL if the record's header has none"),
        Column("process_id", "int32", "row of `processes`; NULL if the record names no process"),
        Column(
            "operation", "text", "the operation: CreateKey, SetValueKey, ... (tracer.registry.operations)"
        ),
        Column("notify_class", "int16", "REG_NOTIFY_CLASS number; NULL if there is no callback class"),
        Column("phase", "text", "post, or pre for CloseKey; NULL if there is no callback class"),
        Column(
            "status",
            "uint32",
            "NTSTATUS; NULL if unknown, and for CloseKey of ETW, which always says 0",
        ),
        Column("key_id", "int32", "row of `keys`; NULL if the operation has no key"),
        Column(
            "handle_id",
            "int64",
            "row of `handles`: the lifetime of the key object used. For a successful open or create it is the object "
            "made; with the NT Kernel Logger it is the control block of the key that the name was relative to. NULL if no "
            "object is involved or the source has none",
        ),
        Column(
            "requested_name",
            "text",
            "the name that the caller of an open, create or rename passed, escaped; otherwise NULL",
        ),
        Column(
            "value_name",
            "text",
            "value name, escaped; empty is the default value, NULL is no value at all; for EnumerateValueKey the "
            "returned name, if it was captured",
        ),
        Column("disposition", "uint32", "1 created, 2 opened; NULL unless a create succeeded"),
        Column("information_class", "uint32", "KEY_*_INFORMATION_CLASS requested or set; otherwise NULL"),
        Column("index", "uint32", "index of an enumeration; otherwise NULL"),
        Column(
            "entry_count", "uint32", "number of values requested by QueryMultipleValueKey; otherwise NULL"
        ),
        Column(
            "data_type",
            "uint32",
            "registry value type written or read; NULL if the record has none, and if no value was read",
        ),
        Column(
            "data_size",
            "uint32",
            "full size of the value in bytes, even if fewer were captured; also for a read whose buffer was too short "
            "(BUFFER_OVERFLOW, BUFFER_TOO_SMALL); NULL if the record has none",
        ),
        Column(
            "data",
            "bytes",
            "captured bytes of the value: written by SetValueKey, or read, without the structure around them; where "
            "`data_type` is NULL, the text that the source shows without its type, as UTF-16LE with its NUL; "
            "NULL if nothing was captured, and if the value is empty (data_size 0)",
        ),
        Column("previous_type", "uint32", "type of the value before SetValueKey; NULL if not recorded"),
        Column("previous_size", "uint32", "full size of the value before, in bytes; NULL if not recorded"),
        Column("previous_data", "bytes", "captured bytes of the value before; NULL if nothing was captured"),
        Column("duration_ns", "int64", "duration of the operation; NULL if the source does not say"),
        Column(
            "name_source",
            "text",
            "how the key's name is known (see below). In the stored parts NULL means that "
            "`keys.name_source` says it; in the view only rows without a key are NULL",
        ),
        Column("source", "text", "provider or importer the row came from"),
        Column("source_id", "int16", "position in the list of sources of capture.json"),
        Column("event_id", "uint16", "event id (classic: opcode); NULL if the source has none"),
        Column(
            "record_offset",
            "int64",
            "offset of the record in the source (in an .etl with compressed "
            "buffers: the offset if none were compressed)",
        ),
        Column("flags", "uint32", "sum of tracer.schema.FLAGS"),
        Column(
            "detail",
            "text",
            "JSON object of fields without a column, named as in wdm.h. For reads: the fields of the returned structure "
            "beside the value (Name, LastWriteTime, SubKeys, Values, TitleIndex if it is not 0, ...), ResultLength if not "
            "all of it was captured, and the bytes of an unknown structure as hex digits under "
            "KeyInformation or KeyValueInformation. AlsoReportedBy: the other sources that reported the operation, with "
            "source_id, record_offset and time_ns of each one's record. NULL if there are none",
        ),
    ),
)

KEYS = Table(
    "keys",
    "One row per key, and per object that had no name at first.",
    (
        Column("key_id", "int32", "identity inside this capture"),
        Column(
            "path",
            "text",
            "native path as first spelled, escaped: \\REGISTRY\\MACHINE\\...; below an unnamed "
            "object it starts with <object 0x...>",
        ),
        Column("display_path", "text", "the Win32 spelling (HKLM\\...), or the native path if there is none"),
        Column("folded_path", "text", "display_path in the registry's upper case; patterns match it"),
        Column("parent_id", "int32", "key_id of the parent; NULL for a root and for an unnamed object"),
        Column("name", "text", "last component"),
        Column("depth", "int16", "components in the path"),
        Column(
            "same_as",
            "int32",
            "key_id of the key that this row is the same as: another spelling of it, or one "
            "found by later evidence; otherwise its own key_id",
        ),
        Column(
            "name_source",
            "text",
            "later, rundown, partial or none for an object that had no name when its rows "
            "were written, and for keys below it; NULL for keys that were named from the start",
        ),
    ),
)

HANDLES = Table(
    "handles",
    "One row per lifetime of a key object. Manifest provider: one per open. Classic: the key control block; the "
    "records that make, name and delete it are no event rows, so the sequence of the next row stands for such a "
    "record, or the number of all events if no row follows.",
    (
        Column("handle_id", "int64", "identity inside this capture"),
        Column(
            "address",
            "int64",
            "kernel address of the object, as a 64-bit pattern; NULL of a source that tells handles by their number in a process "
            "(Security log: HandleId in `detail`)",
        ),
        Column("key_id", "int32", "key of the object (its last name, if that changed)"),
        Column("process_id", "int32", "process that opened it; NULL if the open was not recorded"),
        Column("opened_sequence", "int64", "event that opened it; NULL if not recorded"),
        Column("opened_ns", "int64", "time of that event or record; NULL if not recorded"),
        Column("closed_sequence", "int64", "event that closed it; NULL if not recorded"),
        Column("closed_ns", "int64", "time of that event or record; NULL if not recorded"),
        Column("first_sequence", "int64", "first event that used it"),
        Column("last_sequence", "int64", "last event that used it"),
        Column(
            "began",
            "text",
            "how it began: open, create, seed, rundown (control blocks: made or rundown), or unseen",
        ),
        Column(
            "ended",
            "text",
            "how it ended: close, reuse (its address or number was opened again, the close was not recorded), or open "
            "(still open at the end)",
        ),
    ),
)

PROCESSES = Table(
    "processes",
    "One row per process: one use of a process id.",
    (
        Column("process_id", "int32", "identity inside this capture"),
        Column("pid", "uint32", "Windows process id"),
        Column("parent_pid", "uint32", "NULL if unknown"),
        Column("parent_id", "int32", "process_id of the parent; NULL if unknown"),
        Column("start_ns", "int64", "start, UTC nanoseconds; NULL if unknown"),
        Column("end_ns", "int64", "end; NULL if not recorded"),
        Column("image", "text", "file name of the image; NULL if unknown"),
        Column(
            "image_path", "text", "path of the image as recorded; NULL if the source has only a file name"
        ),
        Column(
            "dos_path",
            "text",
            r"path of the image with a drive, C:\...; NULL if it is not known which drive the volume of `image_path` has",
        ),
        Column(
            "dos_path_source",
            "text",
            "how the drive is known: recorded (the source wrote it so), drives (the recording asked Windows), process (a process "
            "has both spellings), or guess (the volume that holds Windows is taken to be C:)",
        ),
        Column("command_line", "text", "NULL if not recorded"),
        Column("user", "text", "account name or SID as recorded; NULL if unknown"),
        Column("session_id", "uint32", "NULL if unknown"),
        Column("exit_code", "uint32", "NULL while it runs, or if not recorded"),
        Column(
            "source",
            "text",
            "how the process is known: start, rundown, later, seed, procmon, or the log that names it (sysmon, ...); none "
            "if only its id is known",
        ),
    ),
)

EXTENDED = Table(
    "extended",
    "Extended items of the events that have any.",
    (
        Column("sequence", "int64", "the event"),
        Column("sid", "text", "SID of the caller, S-1-...; NULL if the event has none"),
        Column("session_id", "uint32", "terminal session; NULL if the event has none"),
        Column(
            "process_start_key",
            "int64",
            "identity of the process across pid reuse; NULL if the event has none",
        ),
        Column("event_key", "int64", "NULL if the event has none"),
        Column(
            "stack",
            "addresses",
            "return addresses, innermost first, as 64-bit patterns; NULL if the event has none",
        ),
    ),
)

LOSSES = Table(
    "losses",
    "What is missing from the capture: lost buffers and events, and damage that hid records.",
    (
        Column("source_id", "int16", "position in the list of sources"),
        Column(
            "kind",
            "text",
            "events, buffers, damage, blind (time before names were seeded), or clock (times that came twice, "
            "because the clock was set back; nothing is missing)",
        ),
        Column(
            "count",
            "int64",
            "how many (damage: bytes, clock: nanoseconds); NULL if unknown",
        ),
        Column("from_ns", "int64", "the loss is after this time; NULL if it could be anywhere"),
        Column("to_ns", "int64", "the loss is before this time; NULL if it could be anywhere"),
        Column("cpu", "int16", "processor; NULL if not tied to one"),
        Column("evidence", "text", "what shows the loss"),
    ),
)

DIAGNOSTICS = Table(
    "diagnostics",
    "Counts of everything unusual that was found while reading.",
    (
        Column("source_id", "int16", "position in the list of sources; NULL for the whole capture"),
        Column("name", "text", "stable name of the counter (tracer.diagnostics)"),
        Column("severity", "text", "info, warning, or loss"),
        Column("count", "int64", "how often"),
        Column("first_offset", "int64", "lowest offset in the source; NULL if it has no place"),
        Column("meaning", "text", "one sentence"),
    ),
)

COUNTERS = Table(
    "counters",
    "Counters of the sessions of a recording, polled about once a second. Only recordings have them: a "
    "capture made from a file has no such table, or an empty one.",
    (
        Column("time_ns", "int64", "time of the poll, UTC nanoseconds"),
        Column("source_id", "int16", "position in the list of sources of the file that the session wrote"),
        Column("session", "text", "name of the session"),
        Column("events_lost", "int64", "events lost so far, because no buffer had room"),
        Column("log_buffers_lost", "int64", "buffers lost so far, because they could not be written"),
        Column("real_time_buffers_lost", "int64", "buffers lost so far, because no consumer took them"),
        Column("buffers_written", "int64", "buffers written so far"),
        Column("buffers", "int64", "buffers allocated"),
        Column("free_buffers", "int64", "buffers that were empty"),
    ),
)

USAGE = Table(
    "usage",
    "Sums of what was done to each key, up to two rows a key, so that questions about load need not read every event. It is "
    "empty in captures of older versions, which had none or counted differently; questions then read the events.",
    (
        Column("key_id", "int32", "row of `keys`; NULL: operations without a key"),
        Column(
            "noise",
            "boolean",
            "whether the row is of what Windows did by itself (column `noise` of `events`), or of the rest",
        ),
        Column("events", "int64", "event rows"),
        Column(
            "reads",
            "int64",
            "reads, successful or not; the next five columns also count both (tracer.registry.operations)",
        ),
        Column("writes", "int64", "operations that certainly change the registry"),
        Column("opens", "int64", "OpenKey and CreateKey"),
        Column("created", "int64", "creates that certainly made the key"),
        Column("deletes", "int64", "deletes of keys and values"),
        Column("unclear_writes", "int64", "operations that do not say whether they are writes"),
        Column("failures", "int64", "operations that failed (tracer.registry.ntstatus.is_failure)"),
        Column("not_found", "int64", "operations with STATUS_OBJECT_NAME_NOT_FOUND"),
        Column("bytes_read", "int64", "data_size of successful reads of values; NULL if none is known"),
        Column("bytes_written", "int64", "data_size of successful SetValueKey; NULL if none is known"),
        Column("time_spent_ns", "int64", "sum of duration_ns; NULL if none is known, or beyond 62 bits"),
        Column("first_ns", "int64", "earliest time_ns"),
        Column("last_ns", "int64", "latest time_ns"),
        Column("first_sequence", "int64", "first of the events"),
        Column("last_sequence", "int64", "last of the events"),
    ),
)

BASELINE_TELLS = {
    "all": "the key was there, with exactly the values that the hive holds",
    "some": "the key was there, with the values that could be read; it may have had others",
    "key": "the key was there, for one below it was; its values may be of a later time",
    "absent": "the hive holds no such key",
    "nothing": "the key was written after the first event: what it was before is unknown",
}
BASELINE_KEYS = Table(
    "baseline_keys",
    "One row per key of the hives that were given with the trace (`--baseline`), and per key of the trace that they do not "
    "hold. A capture made without hives has no such table.",
    (
        Column("key_id", "int32", "row of `keys`"),
        Column("source_id", "int16", "position of the hive in the list of sources of capture.json"),
        Column(
            "tells",
            "text",
            "what the hive tells of the time before the first event: all, some, key, absent or nothing "
            "(tracer.schema.BASELINE_TELLS)",
        ),
        Column(
            "as_of_ns",
            "int64",
            "when that was so, UTC nanoseconds: the time of the hive, or of a hive newer than the trace the key's last "
            "write; NULL if the hive has no time",
        ),
        Column("last_written_ns", "int64", "last write of the key; NULL if the hive does not say"),
        Column(
            "class_name", "text", "class of the key, escaped; NULL if it has none, and if it cannot be read"
        ),
        Column("knows_values", "boolean", "whether each value that the key states could be read"),
        Column("knows_subkeys", "boolean", "whether each subkey that the key states could be read"),
    ),
)

BASELINE_VALUES = Table(
    "baseline_values",
    "One row per value of the hives that were given with the trace.",
    (
        Column("position", "int64", "place among the values of all hives, from 0"),
        Column("key_id", "int32", "row of `keys`"),
        Column("value_name", "text", "value name, escaped; empty is the default value"),
        Column("data_type", "uint32", "registry value type"),
        Column("data_size", "uint32", "size of the value in bytes"),
        Column(
            "data",
            "bytes",
            "the bytes; NULL if they could not be read, and if the value is empty (data_size 0)",
        ),
    ),
)

SEED = Table(
    "seed",
    "Names of objects that were open before the trace, given beside an .etl (Parquet or CSV).",
    (
        Column(
            "address", "int64", "kernel address of the key object (hex text such as 0xffff... is accepted)"
        ),
        Column("path", "text", "its native path, escaped"),
    ),
)

TABLES = {
    table.name: table
    for table in (
        EVENTS, KEYS, HANDLES, PROCESSES, EXTENDED, LOSSES, DIAGNOSTICS, COUNTERS, USAGE,
        BASELINE_KEYS, BASELINE_VALUES,
    )
}  # fmt: skip
# a capture without such a table shows it empty
# Columns that captures of older versions of this format lack: they are NULL there.
ADDED_COLUMNS = {PROCESSES.name: ("dos_path", "dos_path_source")}
OPTIONAL = frozenset({COUNTERS.name, USAGE.name, BASELINE_KEYS.name, BASELINE_VALUES.name})
