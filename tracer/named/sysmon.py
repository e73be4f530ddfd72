r"""Sysmon's registry events (12, 13, 14) as rows.

Fields are those of Sysmon's manifest; what real records look like was measured on 196,000 public ones of several
collectors (docs/sources/sysmon.md). What is not obvious:

* Sysmon reports operations that succeeded, and nothing else: `status` is 0.
* EventType says which operation it was. Collectors overwrite it (NXLog with the event's level): then event 13 is
  SetValue and 14 RenameKey all the same, and the text of the message may have it; else a 12 is `CreateOrDelete`.
* A create does not say whether the key was there before: `disposition` is NULL.
* The time is UtcTime, of the operation; that of the event's header is later. The process is ProcessGuid and Image;
  the header's process id is Sysmon's own.
* Details is the new data as text: numbers and ``(Empty)`` have a form of their own, ``Binary Data`` stands for data of
  any other type. Text is of REG_SZ or REG_EXPAND_SZ, so its type is unknown. A text that reads like one of these
  forms cannot be told from it.
"""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.named.actors import Actors
from tracer.named.context import NamedContext
from tracer.named.rows import NamedRows, make_rows
from tracer.named.text_columns import bools, decimals, matches
from tracer.named.times import parse_times
from tracer.registry.text import encode_name
from tracer.registry.values import ValueType

__all__ = ["IDS", "is_sysmon", "sysmon_rows"]

IDS = ("12", "13", "14")
_OPERATIONS = {
    "CREATEKEY": "CreateKey", "DELETEKEY": "DeleteKey", "SETVALUE": "SetValueKey", "DELETEVALUE": "DeleteValueKey",
    "RENAMEKEY": "RenameKey", "RENAMEVALUE": "RenameKey",
}  # fmt: skip
_BY_ID = {"12": "CreateOrDelete", "13": "SetValueKey", "14": "RenameKey"}
_FITTING = {"12": ("CreateKey", "DeleteKey", "DeleteValueKey"), "13": ("SetValueKey",), "14": ("RenameKey",)}
# Fields that collectors lose, and that the message's text has on a line of their own.
_IN_MESSAGE = (
    "EventType",
    "UtcTime",
    "ProcessGuid",
    "ProcessId",
    "Image",
    "TargetObject",
    "Details",
    "NewName",
    "User",
)
_NEEDED = ("UtcTime", "ProcessGuid", "Image", "TargetObject")
_DWORD = re.compile(r"DWORD \(0x([0-9A-Fa-f]{1,8})\)")
_QWORD = re.compile(r"QWORD \(0x([0-9A-Fa-f]{1,8})-0x([0-9A-Fa-f]{1,8})\)")
_BINARY, _EMPTY = "Binary Data", "(Empty)"
_NO_DETAILS = '{"Details":null}'  # of a write whose record lost its data
_NO_PROCESS = "{00000000-0000-0000-0000-000000000000}"
Bools = NDArray[np.bool_]


def is_sysmon(fields: pa.Table) -> Bools:
    """Return which records are Sysmon's registry events."""
    by_sysmon = matches(fields["Provider"], "sysmon")
    # Some exports keep no provider; then only Sysmon's own fields tell.
    by_fields = pc.and_(pc.is_null(fields["Provider"]), pc.is_valid(fields["TargetObject"]))
    of_registry = pc.is_in(fields["EventID"], pa.array(IDS))
    return bools(pc.and_(pc.or_(pc.fill_null(by_sysmon, False), by_fields), of_registry))


def sysmon_rows(fields: pa.Table, context: NamedContext, diagnostics: Diagnostics) -> Iterator[NamedRows]:
    """Yield the rows of Sysmon's records.

    Args:
        fields: text columns as `tracer.logs.field_paths.EVENT_FIELDS` names them, and `offset`; only records that
            `is_sysmon` chose.
        context: where processes get their numbers.
        diagnostics: counts what is missing or odd.
    """
    fields = _with_message(fields)
    times, of_event = parse_times(fields["UtcTime"])
    late = np.flatnonzero(~of_event)
    if len(late):
        others, is_time = parse_times(fields["TimeCreated"].take(pa.array(late)))
        times[late], of_event[late] = others, is_time
        diagnostics.count("log_time_of_collector", int(is_time.sum()))
        lost = late[~is_time]
        if len(lost):
            diagnostics.count("log_no_time", len(lost), offset=fields["offset"][int(lost[0])].as_py())
            fields, times = fields.filter(pa.array(of_event)), times[of_event]
    operation = _operations(fields, diagnostics)
    is_value = bools(pc.is_in(operation, pa.array(["SetValueKey", "DeleteValueKey"])))
    path = pc.if_else(pc.equal(fields["TargetObject"], ""), None, fields["TargetObject"])
    diagnostics.count("log_no_target", path.null_count)
    kinds, sizes, data = _contents(fields["Details"])
    new_name = pc.if_else(pc.equal(operation, "RenameKey"), fields["NewName"], None)
    yield make_rows(
        fields.num_rows,
        {
            "time_ns": times,
            "actor": _actors(fields, context.actors),
            "operation": operation,
            "status": 0,
            "path": path,
            "has_value": is_value,
            # Event 14 gives the new path; RenameKey's own argument is the last component.
            "requested_name": pc.replace_substring_regex(new_name, r"(?s)^.*\\", ""),
            "data_type": kinds,
            "data_size": sizes,
            "data": data,
            # Else it could not be told from a record that shows Binary Data.
            "detail": pc.if_else(
                pc.and_(pc.equal(operation, "SetValueKey"), pc.is_null(fields["Details"])),
                _NO_DETAILS,
                pa.scalar(None, pa.string()),
            ),
            "source": "sysmon",
            "event_id": pc.cast(fields["EventID"], pa.uint16()),
            "record_offset": fields["offset"],
        },
    )


def _with_message(fields: pa.Table) -> pa.Table:
    """Return the fields, those that a record has not on their own taken from the text of its message."""
    # PowerShell's records have no names but those of the header: their ProcessId is that of Sysmon itself.
    bare = pc.and_(pc.is_valid(fields["Properties"]), pc.is_null(fields["ProcessGuid"]))
    if pc.any(bare).as_py():
        own = pc.if_else(bare, None, fields["ProcessId"])
        fields = fields.set_column(fields.column_names.index("ProcessId"), "ProcessId", own)
    message = fields["Message"].combine_chunks()
    lacking = pc.invert(_names_operation(fields["EventType"]))
    for name in _NEEDED:
        lacking = pc.or_(lacking, pc.is_null(fields[name]))
    rows = np.flatnonzero(bools(lacking) & bools(message.is_valid()))
    if not len(rows):
        return fields
    texts = message.take(pa.array(rows))
    for number, name in enumerate(fields.column_names):
        if name not in _IN_MESSAGE:
            continue
        column = fields[name].combine_chunks()
        lines = pc.struct_field(pc.extract_regex(texts, rf"(?:^|\n){name}: (?P<text>[^\r\n]*)"), [0])
        had = column.take(pa.array(rows))
        keep = bools(had.is_valid())
        if name == "EventType":
            keep &= bools(_names_operation(had))
        mended = pc.if_else(pa.array(keep), had, pc.coalesce(lines, had))
        mask = np.zeros(len(column), bool)
        mask[rows] = True
        fields = fields.set_column(number, name, pc.replace_with_mask(column, pa.array(mask), mended))
    return fields


def _names_operation(event_type: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.is_in(pc.utf8_upper(event_type), pa.array(list(_OPERATIONS)))


def _operations(fields: pa.Table, diagnostics: Diagnostics) -> pa.Array:
    """Return the operation of each record, from EventType where it fits the event's id, else from the id."""
    joined = pc.binary_join_element_wise(
        fields["EventID"], pc.utf8_upper(pc.fill_null(fields["EventType"], "")), " "
    ).combine_chunks()
    encoded = joined.dictionary_encode()
    names = []
    for text in encoded.dictionary.to_pylist():
        number, _, event_type = text.partition(" ")
        named = _OPERATIONS.get(event_type)
        names.append(named if named in _FITTING[number] else _BY_ID[number])
    operation = from_texts(names).take(encoded.indices) if names else pa.array([], pa.string())
    diagnostics.count("sysmon_no_event_type", bools(pc.equal(operation, "CreateOrDelete")).sum())
    return operation


def _actors(fields: pa.Table, actors: Actors) -> pa.Array:
    """Return the number of each record's process."""
    guid = fields["ProcessGuid"]
    guid = pc.if_else(pc.equal(guid, _NO_PROCESS), None, guid)
    pid = decimals(fields["ProcessId"])
    has_guid = pc.is_valid(guid)
    # With a GUID, the GUID alone: collectors lose the process id of some of its records.
    identity = {
        "guid": pc.utf8_upper(guid),
        "pid": pc.if_else(has_guid, None, pid.cast(pa.string())),
        "image": pc.if_else(has_guid, None, fields["Image"]),
    }
    return actors.number(
        "sysmon", identity, {"pid": pid, "image_path": fields["Image"], "user": fields["User"]}
    )


def _contents(details: pa.ChunkedArray) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Return type, size and bytes of the data that Details shows."""
    encoded = details.combine_chunks().dictionary_encode()
    kinds: list[int | None] = []
    sizes: list[int | None] = []
    data: list[bytes | None] = []
    for text in encoded.dictionary.to_pylist():
        kind, content = read_details(text)
        kinds.append(kind)
        sizes.append(None if kind is None else len(content or b""))
        data.append(content)
    places = encoded.indices
    return (
        pa.array(kinds, pa.uint32()).take(places),
        pa.array(sizes, pa.uint32()).take(places),
        pa.array(data, pa.binary()).take(places),
    )


def read_details(text: str) -> tuple[int | None, bytes | None]:
    r"""Return the type and the bytes of the data that Details shows; None for what it does not say.

    Text comes as UTF-16LE with its NUL and without a type.

    >>> read_details("DWORD (0x00000010)"), read_details("Binary Data")
    ((4, b'\x10\x00\x00\x00'), (None, None))
    """
    if text == _BINARY:
        return None, None
    if text == _EMPTY:
        return None, b"\0\0"
    if found := _DWORD.fullmatch(text):
        return ValueType.DWORD, int(found[1], 16).to_bytes(4, "little")
    if found := _QWORD.fullmatch(text):  # the high half comes first
        return ValueType.QWORD, (int(found[1], 16) << 32 | int(found[2], 16)).to_bytes(8, "little")
    return None, encode_name(text) + b"\0\0"
