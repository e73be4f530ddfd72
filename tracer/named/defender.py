"""Microsoft Defender's table DeviceRegistryEvents, exported as CSV or JSON: its records as rows.

Columns are those of the documented table of advanced hunting (Microsoft Learn, "DeviceRegistryEvents"); the words of types
and actions were read in public queries and programs that use it. UNCONFIRMED on a real export:

* Only what succeeded is reported, so `status` is 0. "A key was created" does not say that it was not there before:
  `disposition` is NULL.
* Of what was deleted, key and value stand in the columns Previous...; of a renamed key, these have the old name.
* Numbers are decimal. How bytes and lists of strings are written is documented nowhere, so such data is unknown, and its
  text stands in `detail`.
* The data before a write has no type of its own: where its text fits the type of the new data, it is read as that, and
  counted.
"""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.logs.csv_fields import csv_tables
from tracer.logs.json_fields import JsonFields
from tracer.logs.json_texts import json_texts
from tracer.logs.utf8 import read_utf8
from tracer.named.actors import Actors
from tracer.named.context import NamedContext
from tracer.named.rows import NamedRows, make_rows
from tracer.named.targets import DEFAULT
from tracer.named.text_columns import decimals
from tracer.named.times import parse_times
from tracer.registry.text import encode_name
from tracer.registry.values import ValueType
from tracer.sources.inputs import SourceFile

__all__ = ["FIELDS", "defender_csv_rows", "defender_json_rows"]

FIELDS = (
    "Timestamp", "DeviceName", "ActionType", "RegistryKey", "RegistryValueName", "RegistryValueType", "RegistryValueData",
    "PreviousRegistryKey", "PreviousRegistryValueName", "PreviousRegistryValueData", "InitiatingProcessAccountDomain",
    "InitiatingProcessAccountName", "InitiatingProcessFileName", "InitiatingProcessId", "InitiatingProcessCommandLine",
    "InitiatingProcessCreationTime", "InitiatingProcessFolderPath", "InitiatingProcessParentId", "InitiatingProcessSessionId",
)  # fmt: skip
# Of a record as the portal and the API give it, and below `properties` as it is streamed to a storage account or a hub.
_PATHS = {name: (name, f"properties.{name}") for name in FIELDS}
_OPERATIONS = {
    "RegistryKeyCreated": "CreateKey", "RegistryKeyDeleted": "DeleteKey", "RegistryKeyRenamed": "RenameKey",
    "RegistryValueSet": "SetValueKey", "RegistryValueDeleted": "DeleteValueKey",
}  # fmt: skip
_BEFORE = pa.array(["DeleteKey", "DeleteValueKey", "RenameKey"])  # their key is the one of before
_TYPES = {
    "none": ValueType.NONE, "string": ValueType.SZ, "expandstring": ValueType.EXPAND_SZ, "binary": ValueType.BINARY,
    "dword": ValueType.DWORD, "multistring": ValueType.MULTI_SZ, "qword": ValueType.QWORD,
    **{f"reg_{kind.name.lower()}": kind for kind in ValueType},
}  # fmt: skip
_WIDTHS = {ValueType.DWORD: 4, ValueType.QWORD: 8}
_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ)
_BACKSLASH = "\\"
_NUMBER = re.compile(r"\d{1,20}")


def defender_csv_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the rows of the table as the portal exports it (CSV).

    Args:
        file: the export.
        size: bytes to read.
        context: what all files share.
        diagnostics: counts what is no registry operation, and what cannot be read.
    """
    for fields in csv_tables(read_utf8(file.path, diagnostics, size), FIELDS, diagnostics):
        yield from _rows(fields, context, diagnostics)


def defender_json_rows(
    file: SourceFile, size: int, context: NamedContext, diagnostics: Diagnostics
) -> Iterator[NamedRows]:
    """Yield the rows of the table as JSON objects; arguments as for `defender_csv_rows`."""
    with closing(JsonFields(_PATHS, diagnostics)) as parser:
        for texts in json_texts(read_utf8(file.path, diagnostics, size), diagnostics):
            yield from _rows(parser.table(texts), context, diagnostics)


def _rows(fields: pa.Table, context: NamedContext, diagnostics: Diagnostics) -> Iterator[NamedRows]:
    """Yield the rows of some records: FIELDS as text, "" or NULL where the record does not say, and `offset`."""
    fields = pa.table(
        [_known(fields[name]) if name in FIELDS else fields[name] for name in fields.column_names],
        names=fields.column_names,
    )
    fields = _with_action(fields, diagnostics)
    yield from context.rows_of_host(fields, fields["DeviceName"], _rows_of, diagnostics)


def _rows_of(fields: pa.Table, context: NamedContext, diagnostics: Diagnostics) -> Iterator[NamedRows]:
    """Yield the rows of records of registry operations."""
    times, is_time = parse_times(fields["Timestamp"])
    lost = np.flatnonzero(~is_time)
    if len(lost):
        diagnostics.count("log_no_time", len(lost), offset=fields["offset"][int(lost[0])].as_py())
        fields, times = fields.filter(pa.array(is_time)), times[is_time]
    operation = from_texts([_OPERATIONS[word] for word in fields["ActionType"].to_pylist()])
    is_before = pc.is_in(operation, _BEFORE)
    old_key = pc.if_else(is_before, fields["PreviousRegistryKey"], None)
    path = pc.coalesce(old_key, fields["RegistryKey"])
    diagnostics.count("log_no_target", path.null_count)
    new_key = pc.if_else(pc.equal(operation, "RenameKey"), fields["RegistryKey"], None)
    data = _contents(fields, operation, diagnostics)
    yield make_rows(
        fields.num_rows,
        {
            "time_ns": times,
            "actor": _actors(fields, context.actors),
            "operation": operation,
            "status": 0,
            "path": path,
            "value_name": _value_names(fields, operation),
            "requested_name": pc.replace_substring_regex(new_key, r"(?s)^.*\\", ""),
            "data_type": pa.array([one.kind for one in data], pa.uint32()),
            "data_size": pa.array([one.size for one in data], pa.uint32()),
            "data": pa.array([one.data for one in data], pa.binary()),
            "previous_type": pa.array([one.previous_kind for one in data], pa.uint32()),
            "previous_data": pa.array([one.previous for one in data], pa.binary()),
            "source": "defender",
            "record_offset": fields["offset"],
            "detail": from_texts([one.json for one in data]),
        },
    )


def _known(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _with_action(fields: pa.Table, diagnostics: Diagnostics) -> pa.Table:
    """Return the records of registry operations, and count the others."""
    mine = pc.is_in(fields["ActionType"], pa.array(list(_OPERATIONS)))
    others = fields.num_rows - pc.sum(mine).as_py() if fields.num_rows else 0
    if others:
        first = pc.min(fields["offset"].filter(pc.invert(mine))).as_py()
        diagnostics.count("log_other_records", others, offset=first)
    return fields.filter(mine)


def _value_names(fields: pa.Table, operation: pa.Array) -> pa.Array | pa.ChunkedArray:
    """Return the value's name of operations on values; "" is the default value, for which the table has no name."""
    deleted = pc.coalesce(fields["PreviousRegistryValueName"], fields["RegistryValueName"])
    name = pc.if_else(pc.equal(operation, "DeleteValueKey"), deleted, fields["RegistryValueName"])
    name = pc.fill_null(name, "")
    name = pc.if_else(pc.equal(name, DEFAULT), "", name)
    return pc.if_else(pc.is_in(operation, pa.array(["SetValueKey", "DeleteValueKey"])), name, None)


def _actors(fields: pa.Table, actors: Actors) -> pa.Array:
    """Return the number of each record's process: its id and the time of its creation tell it apart."""
    folder, name = fields["InitiatingProcessFolderPath"], fields["InitiatingProcessFileName"]
    image = from_texts(
        [_image(path, file) for path, file in zip(folder.to_pylist(), name.to_pylist(), strict=True)]
    )
    pid = decimals(fields["InitiatingProcessId"])
    started, is_time = parse_times(fields["InitiatingProcessCreationTime"])
    domain, account = fields["InitiatingProcessAccountDomain"], fields["InitiatingProcessAccountName"]
    user = pc.coalesce(pc.binary_join_element_wise(domain, account, "\\"), account)
    return actors.number(
        "defender",
        {
            "pid": pid.cast(pa.string()),
            "started": fields["InitiatingProcessCreationTime"],
            "image": image,
            "name": name,
        },
        {
            "pid": pid,
            "parent_pid": decimals(fields["InitiatingProcessParentId"]),
            "session_id": decimals(fields["InitiatingProcessSessionId"]),
            "image_path": image,
            "name": name,
            "command_line": fields["InitiatingProcessCommandLine"],
            "user": user,
            "start_ns": pa.array(started, mask=~is_time),
        },
    )


def _image(folder: str | None, name: str | None) -> str | None:
    """Return the path of an image: the column is documented as its folder, and seen with the file's name in it."""
    if folder is None or name is None or folder.lower().endswith("\\" + name.lower()):
        return folder
    return f"{folder.rstrip(_BACKSLASH)}\\{name}"


@dataclass(slots=True)
class _Content:
    """The data of one record; None where it is not known."""

    kind: int | None = None
    size: int | None = None
    data: bytes | None = None
    previous_kind: int | None = None
    previous: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> str | None:
        return json.dumps(self.texts, ensure_ascii=False) if self.texts else None


def _contents(fields: pa.Table, operation: pa.Array, diagnostics: Diagnostics) -> list[_Content]:
    contents = []
    for name, word, text, before in zip(
        operation.to_pylist(),
        fields["RegistryValueType"].to_pylist(),
        fields["RegistryValueData"].to_pylist(),
        fields["PreviousRegistryValueData"].to_pylist(),
        strict=True,
    ):
        content = _Content()
        contents.append(content)
        if name not in ("SetValueKey", "DeleteValueKey"):
            continue
        kind = _TYPES.get((word or "").lower())
        if name == "SetValueKey":
            content.kind = kind
            content.data = _data(kind, text)
            content.size = len(content.data) if content.data is not None and kind in _WIDTHS else None
            if text is not None and content.data is None:
                content.texts["RegistryValueData"] = text
        if before is not None:
            content.previous = _data(kind, before)
            if content.previous is None:
                content.texts["PreviousRegistryValueData"] = before
            else:
                content.previous_kind = kind
                diagnostics.count("defender_previous_type")
    return contents


def _data(kind: int | None, text: str | None) -> bytes | None:
    """Return the bytes of data that is shown as text; None where it is not known how it was written."""
    if text is None or kind is None:
        return None
    if kind in _TEXTS:
        return encode_name(text) + b"\0\0"
    width = _WIDTHS.get(ValueType(kind))
    if width is None or not _NUMBER.fullmatch(text) or int(text) >= 1 << 8 * width:
        return None
    return int(text).to_bytes(width, "little")
