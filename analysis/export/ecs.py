"""Elastic: documents of the Elastic Common Schema for its bulk interface, an action line and a document each.

The fields are those of ECS 9 (`registry`, `event`, `process`, `user`, `host`); what it has no field for stands below
`regtrace`, also what a value held before.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.compute as pc

from analysis.export.contents import Content, content_of
from analysis.export.flat import flag_names, hex_status
from analysis.export.json_text import Piece, decoded, fixed, inner, quoted
from analysis.export.messages import messages
from analysis.export.notices import Notice
from analysis.export.people import user_parts
from analysis.export.records import Records, utc_ns
from analysis.export.rows import Rows, text_bytes
from analysis.export.shape import (
    Shape,
    constant,
    document,
    made_of,
    number,
    of_process,
    text,
    told,
)
from tracer.registry.ntstatus import is_failure, status_name
from tracer.registry.operations import GROUPS
from tracer.registry.values import type_name

__all__ = ["ECS_VERSION", "INDEX", "SHAPE", "Ecs", "event_type"]

ECS_VERSION = "9.0.0"
INDEX = "regtrace"
_DATASET = "regtrace.registry"
_ROOTS = ("HKLM", "HKU", "HKCU", "HKCR", "HKCC")
_CHANGES = {name for case in GROUPS["writes"].cases if not case.conditions for name in case.operations}
_DELETES = {name for case in GROUPS["deletes"].cases for name in case.operations}
_UNCLEAR = ("CreateOrDelete", "HiveWork", "TransactionWork", "ChangeNotify")
_CREATED = 1  # REG_CREATED_NEW_KEY (winnt.h)
_NAMES = ("display_key", "value_name")
_RESULT = ("operation", "disposition", "status")
_VALUE = ("data_type", "data", "data_size")
_PREVIOUS = ("previous_type", "previous_data", "previous_size")


def event_type(operation: str, disposition: int | None, status: int | None) -> str | None:
    """Return the word of `event.type`: creation, deletion, change or access; None where nobody can tell.

    Args:
        operation: the operation.
        disposition: of a create, whether it made the key; None where that is not known.
        status: NTSTATUS; None if unknown.
    """
    if operation in _DELETES:
        return "deletion"
    if operation == "CreateKey":
        if disposition is not None:
            return "creation" if disposition == _CREATED else "access"
        return "creation" if status is not None and is_failure(status) else None
    if operation in _CHANGES or operation == "SetInformationKey":
        return "change"
    return None if operation in _UNCLEAR else "access"


def _outcome(_: str, __: int | None, status: int | None) -> str:
    return quoted("unknown" if status is None else "failure" if is_failure(status) else "success")


def _hive(key: str) -> str | None:
    root = key.partition("\\")[0]
    return quoted(root) if root in _ROOTS else None


def _below(key: str) -> str | None:
    root, separator, rest = key.partition("\\")
    if root not in _ROOTS:
        return quoted(key)
    return quoted(rest) if separator else None


def _path(key: str | None, value: str | None) -> str | None:
    if key is None:
        return None
    return quoted(key if value is None else f"{key}\\{value}")


def _strings(content: Content) -> str | None:
    texts = content.strings if content.number is None else [str(content.number)]
    return None if texts is None else "[" + ",".join(map(quoted, texts)) + "]"


def _octets(content: Content) -> str | None:
    says_all = content.is_exact and (content.strings is not None or content.number is not None)
    return None if says_all else f'"{content.base64}"'


def _type(kind: int | None, _: bytes | None, __: int | None) -> str | None:
    return None if kind is None else quoted(type_name(kind))


def _flags(flags: int) -> str | None:
    names = flag_names(flags)
    return None if names is None else fixed(names.split(","))


def _quoted_or_none(name: str) -> Any:  # noqa: ANN401  (a function of a process)
    return lambda one: quoted(one[name]) if one[name] else None


def _number_or_none(name: str) -> Any:  # noqa: ANN401
    return lambda one: None if one[name] is None else str(one[name])


def _start(one: Mapping[str, Any]) -> str | None:
    return None if one["start_ns"] is None else f'"{utc_ns(one["start_ns"])}Z"'


def _user(part: int) -> Any:  # noqa: ANN401
    def make(one: Mapping[str, Any]) -> str | None:
        found = user_parts(one["user"])[part]
        return None if found is None else quoted(found)

    return make


def _when(rows: Rows) -> Piece:
    return pc.binary_join_element_wise('"', rows.iso_times(), '"', "")


def _message(rows: Rows) -> Piece:
    return pc.binary_join_element_wise('"', messages(rows, inner), '"', "")


def _value(columns: tuple[str, str, str]) -> Shape:
    return {
        "type": told(columns, _type, "REG_SZ, ..."),
        "strings": told(columns, _strings, "texts, or a number in decimal", of=content_of),
        "bytes": told(columns, _octets, "base64, where the strings do not say all", of=content_of),
    }


SHAPE: Shape = {
    "@timestamp": made_of("`time`", _when),
    "ecs": {"version": constant(ECS_VERSION)},
    "message": made_of("a sentence of operation, key, value, data, status, process", _message),
    "event": {
        "kind": constant("event"),
        "category": constant(["registry"]),
        "type": told(
            _RESULT,
            lambda *row: f'["{found}"]' if (found := event_type(*row)) else None,
            "creation, change, deletion or access",
        ),
        "action": made_of(
            "`operation`", lambda rows: rows.told(_RESULT, lambda operation, *_: quoted(operation))
        ),
        "outcome": told(_RESULT, _outcome, "success, failure, or unknown"),
        "code": told("event_id", lambda code: f'"{code}"'),
        "provider": text("source"),
        "module": constant("regtrace"),
        "dataset": constant(_DATASET),
        "duration": number("duration_ns"),
        "sequence": number("sequence"),
    },
    "registry": {
        "hive": told("display_key", _hive, "HKLM, HKU, ..."),
        "key": told("display_key", _below, "below the hive"),
        "value": told(
            _NAMES,
            lambda _, value: None if value is None else quoted(value),
            'the name; "" is the default value',
        ),
        "path": told(_NAMES, _path, "hive, key and value"),
        "data": _value(_VALUE),
    },
    "process": {
        "pid": of_process("pid", _number_or_none("pid")),
        "name": of_process("image", _quoted_or_none("image")),
        "executable": of_process("image_path", _quoted_or_none("image_path")),
        "command_line": of_process("command_line", _quoted_or_none("command_line")),
        "start": of_process("start_ns", _start),
        "thread": {"id": number("tid")},
        "parent": {
            "pid": of_process("parent_pid", _number_or_none("parent_pid")),
            "name": of_process("image", _quoted_or_none("parent_image")),
            "executable": of_process("image_path", _quoted_or_none("parent_path")),
        },
    },
    "user": {
        "id": of_process("user", _user(0)),
        "domain": of_process("user", _user(1)),
        "name": of_process("user", _user(2)),
    },
    "host": {"name": text("host")},
    "regtrace": {
        "previous": _value(_PREVIOUS),
        "status": told("status", lambda status: quoted(status_name(status)), "its name"),
        "status_code": told("status", lambda status: quoted(hex_status(status)), "in hex"),
        "key_user": text("key_user"),
        "meaning": text("data_meaning"),
        "requested_name": text("requested_name"),
        "name_source": text("name_source"),
        "flags": told("flags", _flags, "their names"),
        "noise": text("noise"),
        "detail": text("detail"),
        "key_id": number("key_id"),
        "handle_id": number("handle_id"),
        "capture": text("capture"),
    },
}


class Ecs:
    """A timeline for Elastic's bulk interface; first the notices, as documents of the kind `state`."""

    def __init__(self, records: Records) -> None:
        """Write `records`."""
        self._records = records
        self._action = f'{{"create":{{"_index":{quoted(records.options.index or INDEX)}}}}}\n'

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield the notices."""
        for notice in self._records.notices():
            yield f"{self._action}{fixed(_notice(notice))}\n".encode()

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield the action and the document of each row."""
        yield text_bytes(pc.binary_join_element_wise(self._action, decoded(document(rows, SHAPE)), "\n", ""))

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield nothing."""
        yield from ()


def _notice(notice: Notice) -> dict[str, Any]:
    event: dict[str, Any] = {
        "kind": "state",
        "action": f"regtrace-{notice.kind}",
        "module": "regtrace",
        "dataset": "regtrace.notice",
    }
    if notice.start_ns is not None:
        event["start"] = utc_ns(notice.start_ns) + "Z"
    if notice.end_ns is not None:
        event["end"] = utc_ns(notice.end_ns) + "Z"
    own: dict[str, Any] = {"notice": notice.kind}
    if notice.count is not None:
        own["count"] = notice.count
    if notice.capture is not None:
        own["capture"] = notice.capture
    made: dict[str, Any] = {
        "@timestamp": utc_ns(notice.time_ns) + "Z",
        "ecs": {"version": ECS_VERSION},
        "message": notice.sentence,
        "event": event,
        "regtrace": own,
    }
    if notice.host is not None:
        made["host"] = {"name": notice.host}
    return made
