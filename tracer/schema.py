"""The tables of a capture: every column with its type, unit and what NULL means.

This is the one place that says so; `regtrace schema` prints it and docs/schema.md is generated from it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
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
    "later": "evidence that came after the row, for the same life of the same object",
    "partial": "only the last components are known, below an object nobody named",
    "none": "nothing names the object; its address is all there is",
}

FLAGS = {
    "name_ambiguous": 1,  # embedded NULs allow more than one reading
    "data_truncated": 2,  # fewer bytes were captured than the value, or what was read of a key, holds
    "previous_truncated": 4,
    "name_has_nul": 8,  # a name holds a NUL: hidden from Win32 programs
    "across_loss": 16,  # events were lost between the row and the evidence that names it
    "after_close": 32,  # the object's close was recorded before this row
    "layout_prefix": 64,  # an unknown newer version of a known event, read as far as the known layout goes
    "path_split": 128,  # Procmon writes key and value as one path: where the key ends was inferred
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
            "uint16": pa.uint16(),
            "uint32": pa.uint32(),
        }
        return pa.schema([pa.field(column.name, kinds[column.kind]) for column in self.columns])


EVENTS = Table(
    "events",
    "One row per registry operation. Inside a part rows stand by (key_id, sequence); `sequence` is the order.",
    (
        Column("sequence", "int64", "position in the capture's total order, from 0"),
        Column("time", "timestamp", "UTC, microseconds"),
        Column("time_ns", "int64", "UTC, nanoseconds since 1970 (the clock's own step is often 100 ns)"),
        Column("cpu", "int16", "processor that logged the record; NULL where the source does not say"),
        Column("thread_id", "uint32", "thread that called; NULL where the record's header has none"),
        Column("process_id", "int32", "row of `processes`; NULL where the record names no process"),
        Column(
            "operation", "text", "what was done: CreateKey, SetValueKey, ... (tracer.registry.operations)"
        ),
        Column("notify_class", "int16", "REG_NOTIFY_CLASS number; NULL where no callback class exists"),
        Column("phase", "text", "post, or pre for CloseKey; NULL where no callback class exists"),
        Column(
            "status",
            "uint32",
            "NTSTATUS; NULL where unknown, and for the CloseKey of ETW, whose 0 is nominal",
        ),
        Column("key_id", "int32", "row of `keys`; NULL where the operation has no key"),
        Column(
            "handle_id",
            "int64",
            "row of `handles`: the life of the key object used (for a successful "
            "open or create, the one it made; of the NT Kernel Logger the control block of the key that the name was "
            "relative to); NULL where no object is involved or the source has none",
        ),
        Column(
            "requested_name",
            "text",
            "what the caller of an open, create or rename passed, escaped; else NULL",
        ),
        Column(
            "value_name",
            "text",
            "value name, escaped; empty is the default value, NULL is no value at all; of EnumerateValueKey the "
            "name that came back, where it was captured",
        ),
        Column("disposition", "uint32", "1 created, 2 opened; NULL unless a create succeeded"),
        Column("information_class", "uint32", "KEY_*_INFORMATION_CLASS asked for or set; else NULL"),
        Column("index", "uint32", "index of an enumeration; else NULL"),
        Column("entry_count", "uint32", "values asked for by QueryMultipleValueKey; else NULL"),
        Column(
            "data_type",
            "uint32",
            "registry value type written or read; NULL where not carried, and where no value is read",
        ),
        Column(
            "data_size",
            "uint32",
            "the value's own full size in bytes, even where fewer were captured; of a read that was too short "
            "(BUFFER_OVERFLOW, BUFFER_TOO_SMALL) the size that the value has; NULL where not carried",
        ),
        Column(
            "data",
            "bytes",
            "the value's own captured bytes: written by SetValueKey, or read, without the structure around them; "
            "NULL where nothing was captured, and where the value is empty (data_size 0)",
        ),
        Column("previous_type", "uint32", "type of the value before SetValueKey; NULL where not recorded"),
        Column("previous_size", "uint32", "its full size in bytes; NULL where not recorded"),
        Column("previous_data", "bytes", "its captured bytes; NULL where nothing was captured"),
        Column("duration_ns", "int64", "how long the operation took; NULL where the source does not say"),
        Column(
            "name_source",
            "text",
            "where the key's name came from (see below); NULL in the stored parts where "
            "`keys.name_source` says it, in the view only for rows without a key",
        ),
        Column("source", "text", "provider or importer the row came from"),
        Column("source_id", "int16", "position in the list of sources of capture.json"),
        Column("event_id", "uint16", "event id (classic: opcode); NULL where the source has none"),
        Column(
            "record_offset",
            "int64",
            "where in the source the record starts (in an .etl with compressed "
            "buffers: where it would start if none were compressed)",
        ),
        Column("flags", "uint32", "sum of tracer.schema.FLAGS"),
        Column(
            "detail",
            "text",
            "JSON object of fields that have no column, as wdm.h names them: of reads what the returned structure says "
            "beside the value (Name, LastWriteTime, SubKeys, Values, TitleIndex where it is not 0, ...), ResultLength "
            "where not all of it was captured, and the bytes of a structure nobody knows as hex digits under "
            "KeyInformation or KeyValueInformation; NULL when there are none",
        ),
    ),
)

KEYS = Table(
    "keys",
    "One row per key, and per object nobody named in advance.",
    (
        Column("key_id", "int32", "identity inside this capture"),
        Column(
            "path",
            "text",
            "native path as first spelled, escaped: \\REGISTRY\\MACHINE\\...; below an unnamed "
            "object it starts with <object 0x...>",
        ),
        Column(
            "display_path", "text", "the Win32 spelling (HKLM\\...) where there is one, else the native path"
        ),
        Column("folded_path", "text", "display_path in the registry's upper case: what patterns match"),
        Column("parent_id", "int32", "key_id of the parent; NULL for a root and for an unnamed object"),
        Column("name", "text", "last component"),
        Column("depth", "int16", "components in the path"),
        Column(
            "same_as",
            "int32",
            "key_id under which this key is grouped: another spelling of the same key, or "
            "what later evidence found; its own key_id otherwise",
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
    "One row per life of a key object (manifest provider: one per open; classic: the key control block, which "
    "records make, name and delete that are no event rows: the row after such a record stands for it, and the "
    "number of all events where none came after it).",
    (
        Column("handle_id", "int64", "identity inside this capture"),
        Column("address", "int64", "kernel address of the object, as a 64-bit pattern"),
        Column("key_id", "int32", "key it stood for (its last name, where it changed)"),
        Column("process_id", "int32", "process that opened it; NULL where the opening was not seen"),
        Column("opened_sequence", "int64", "event that opened it; NULL where not seen"),
        Column("opened_ns", "int64", "time of that event or record; NULL where not seen"),
        Column("closed_sequence", "int64", "event that closed it; NULL where not seen"),
        Column("closed_ns", "int64", "time of that event or record; NULL where not seen"),
        Column("first_sequence", "int64", "first event that touched it"),
        Column("last_sequence", "int64", "last event that touched it"),
        Column(
            "began", "text", "open, create, seed, rundown (of a control block: made or rundown), or unseen"
        ),
        Column(
            "ended",
            "text",
            "close, reuse (its address was opened again, the close was not recorded), or open "
            "(still open at the end)",
        ),
    ),
)

PROCESSES = Table(
    "processes",
    "One row per life of a process id.",
    (
        Column("process_id", "int32", "identity inside this capture"),
        Column("pid", "uint32", "Windows process id"),
        Column("parent_pid", "uint32", "NULL where unknown"),
        Column("parent_id", "int32", "process_id of the parent; NULL where unknown"),
        Column("start_ns", "int64", "start, UTC nanoseconds; NULL where unknown"),
        Column("end_ns", "int64", "end; NULL where it was not seen"),
        Column("image", "text", "file name of the image; NULL where unknown"),
        Column("image_path", "text", "its path as recorded; NULL where the source has only a file name"),
        Column("command_line", "text", "NULL where not recorded"),
        Column("user", "text", "account name or SID as recorded; NULL where unknown"),
        Column("session_id", "uint32", "NULL where unknown"),
        Column("exit_code", "uint32", "NULL while it runs or where not recorded"),
        Column(
            "source",
            "text",
            "start, rundown, later, seed, procmon: how it is known; none where only its id is",
        ),
    ),
)

EXTENDED = Table(
    "extended",
    "Extended items of the events that carried any.",
    (
        Column("sequence", "int64", "the event"),
        Column("sid", "text", "SID of the caller, S-1-...; NULL where not carried"),
        Column("session_id", "uint32", "terminal session; NULL where not carried"),
        Column(
            "process_start_key", "int64", "identity of the process across pid reuse; NULL where not carried"
        ),
        Column("event_key", "int64", "NULL where not carried"),
        Column(
            "stack",
            "addresses",
            "return addresses, innermost first, as 64-bit patterns; NULL where not carried",
        ),
    ),
)

LOST_KINDS = ("events", "buffers", "damage")  # kinds of losses that mean that events are missing
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
            "how many (damage: bytes, clock: nanoseconds); NULL where only the fact is known",
        ),
        Column("from_ns", "int64", "the loss lies after this time; NULL where it could be anywhere"),
        Column("to_ns", "int64", "and before this one; NULL where it could be anywhere"),
        Column("cpu", "int16", "NULL where not tied to one processor"),
        Column("evidence", "text", "what said so"),
    ),
)

DIAGNOSTICS = Table(
    "diagnostics",
    "Everything odd that was met while reading, counted.",
    (
        Column("source_id", "int16", "position in the list of sources; NULL for the whole capture"),
        Column("name", "text", "stable name of the counter (tracer.diagnostics)"),
        Column("severity", "text", "info, warning, or loss"),
        Column("count", "int64", "how often"),
        Column("first_offset", "int64", "where in the source it was met first; NULL where it has no place"),
        Column("meaning", "text", "one sentence"),
    ),
)

COUNTERS = Table(
    "counters",
    "What the sessions of a recording said of themselves, asked about once a second. Recordings only: a "
    "capture made from a file has no such table, or an empty one.",
    (
        Column("time_ns", "int64", "when it was asked, UTC nanoseconds"),
        Column("source_id", "int16", "position in the list of sources of the file that the session wrote"),
        Column("session", "text", "name of the session"),
        Column("events_lost", "int64", "events that found no room so far"),
        Column("log_buffers_lost", "int64", "buffers that could not be written so far"),
        Column("real_time_buffers_lost", "int64", "buffers that no consumer took so far"),
        Column("buffers_written", "int64", "buffers written so far"),
        Column("buffers", "int64", "buffers allocated"),
        Column("free_buffers", "int64", "buffers that held nothing"),
    ),
)

USAGE = Table(
    "usage",
    "What was done to each key that events touch, summed over the capture, so that questions about load need not read "
    "every event. It is empty in captures of older versions, which made none or counted otherwise; these are asked all "
    "the same.",
    (
        Column("key_id", "int32", "row of `keys`; NULL: operations without a key"),
        Column("events", "int64", "event rows"),
        Column(
            "reads",
            "int64",
            "those that read, done or tried, as in the next five (tracer.registry.operations)",
        ),
        Column("writes", "int64", "those that change the registry, and say so"),
        Column("opens", "int64", "OpenKey and CreateKey"),
        Column("created", "int64", "creates that made the key, and say so"),
        Column("deletes", "int64", "deletes of keys and values"),
        Column("unclear_writes", "int64", "those that do not say whether they are writes"),
        Column("failures", "int64", "those that failed (tracer.registry.ntstatus.is_failure)"),
        Column("not_found", "int64", "those with STATUS_OBJECT_NAME_NOT_FOUND"),
        Column("bytes_read", "int64", "data_size of successful reads of values; NULL where none is known"),
        Column("bytes_written", "int64", "data_size of successful SetValueKey; NULL where none is known"),
        Column("time_spent_ns", "int64", "sum of duration_ns; NULL where none is known, or beyond 62 bits"),
        Column("first_ns", "int64", "earliest time_ns"),
        Column("last_ns", "int64", "latest time_ns"),
        Column("first_sequence", "int64", "first of the events"),
        Column("last_sequence", "int64", "last of the events"),
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
    for table in (EVENTS, KEYS, HANDLES, PROCESSES, EXTENDED, LOSSES, DIAGNOSTICS, COUNTERS, USAGE)
}
OPTIONAL = frozenset({COUNTERS.name, USAGE.name})  # a capture without such a table shows it empty
