"""OCSF: one JSON object a line, of the classes Registry Key Activity (201001) and Registry Value Activity (201002).

Both are of the Windows extension, version 1.8 of the schema. An operation whose key is not known at all is a Base Event,
for both classes require a path. What OCSF has no attribute for stands in `unmapped`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from analysis.export.contents import Content, content_of
from analysis.export.flat import flag_names, hex_status
from analysis.export.json_text import Piece, decoded, fixed, inner, quoted
from analysis.export.messages import messages
from analysis.export.notices import Notice
from analysis.export.ocsf_words import (
    BASE_CLASS,
    CLASSES,
    KEY_CLASS,
    TYPE_IDS,
    VALUE_CLASS,
    VALUE_OPERATIONS,
    activity,
    class_words,
    status_words,
)
from analysis.export.people import user_parts
from analysis.export.records import Records
from analysis.export.rows import Rows, text_bytes
from analysis.export.shape import Field, Shape, constant, document, made_of, number, of_process, text, told
from tracer.registry.ntstatus import status_name
from tracer.registry.values import type_name
from tracer.schema import FLAGS
from tracer.store.manifest import Manifest

__all__ = ["ACTOR", "OCSF_VERSION", "PREV_REG_VALUE", "REG_VALUE", "SHAPE", "Ocsf"]

OCSF_VERSION = "1.8.0"
_PRODUCT = {
    "name": "regtrace",
    "vendor_name": "regtrace",
    "version": Manifest(complete=True).regtrace_version,
}
_EXTENSION = {"name": "win", "uid": "2", "version": OCSF_VERSION}
_CLASS = ("class_uid", "operation", "disposition", "information_class", "status", "had_value")
_NAMES = ("display_key", "value_name")
_VALUE = ("data_type", "data", "data_size")
_PREVIOUS = ("previous_type", "previous_data", "previous_size")
_TRUNCATED = FLAGS["data_truncated"] | FLAGS["previous_truncated"]
_MOST_LONG = 2**63 - 1


def _of_class(which: int, meaning: str) -> Field:
    """Return the field that is one word of the class and the activity of an operation (`class_words`)."""

    def make(*row: Any) -> str:  # noqa: ANN401  (the columns of _CLASS)
        return class_words(row[0], *activity(*row))[which]

    return made_of(meaning, lambda rows: rows.told(_CLASS, make))


def _data(name: str) -> Callable[[Content], str | None]:
    """Return a function that makes the typed data called `name` of a content."""

    def make(content: Content) -> str | None:
        found, value = _typed(content)
        return value if found == name else None

    return make


def _typed(content: Content) -> tuple[str, str]:
    if content.number is not None and content.number <= _MOST_LONG:
        return "reg_integer_data", str(content.number)
    if content.is_list and content.strings is not None:
        return "reg_string_list_data", "[" + ",".join(map(quoted, content.strings)) + "]"
    if content.strings is not None:
        return "reg_string_data", quoted(content.strings[0])
    return "reg_binary_data", f'"{content.base64}"'


def _type(kind: int | None, _: bytes | None, __: int | None) -> str | None:
    return None if kind is None else quoted(type_name(kind))


def _type_id(kind: int | None, _: bytes | None, __: int | None) -> str | None:
    return None if kind is None else str(TYPE_IDS.get(kind, 99))


def _value(columns: tuple[str, str, str]) -> Shape:
    return {
        "name": told(_NAMES, lambda _, value: None if value is None else quoted(value)),
        "path": told(_NAMES, lambda key, _: None if key is None else quoted(key)),
        "is_default": told(_NAMES, lambda _, value: "true" if value == "" else None, 'where the name is ""'),
        "type": told(columns, _type, "REG_SZ, ..."),
        "type_id": told(columns, _type_id, "OCSF's number of the type; 99 where it has none"),
        "reg_string_data": told(columns, _data("reg_string_data"), "one text", of=content_of),
        "reg_string_list_data": told(
            columns, _data("reg_string_list_data"), "a list of texts", of=content_of
        ),
        "reg_integer_data": told(columns, _data("reg_integer_data"), "a number", of=content_of),
        "reg_binary_data": told(
            columns, _data("reg_binary_data"), "base64 of everything else", of=content_of
        ),
    }


REG_VALUE, PREV_REG_VALUE = _value(_VALUE), _value(_PREVIOUS)


def _only(rows: Rows, where: str, shape: Shape) -> Piece:
    """Return the objects of the rows for which a column is true."""
    if not pc.any(rows[where]).as_py():
        return pa.nulls(len(rows), pa.string())
    return pc.if_else(rows[where], decoded(document(rows, shape)), pa.scalar(None, pa.string()))


def _key_path(class_uid: int, key: str | None, new_name: str | None) -> str | None:
    if class_uid != KEY_CLASS or key is None:
        return None
    above, separator, _ = key.rpartition("\\")
    return quoted(key if new_name is None else above + separator + new_name)


def _old_path(_: int, key: str | None, new_name: str | None) -> str | None:
    return None if new_name is None or key is None else quoted(key)


def _actor(rows: Rows) -> Piece:
    """Return who acted; of a row without process and user, that it is not known: one of them is required."""
    return pc.coalesce(decoded(document(rows, ACTOR)), pa.scalar('{"app_name":"unknown"}'))


def _thread(rows: Rows) -> Piece:
    return pc.if_else(pc.is_valid(rows["process_id"]), rows.numbers("tid"), pa.scalar(None, pa.string()))


def _quoted_or_none(name: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda one: quoted(one[name]) if one[name] else None


def _number_or_none(name: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda one: None if one[name] is None else str(one[name])


def _created(one: Mapping[str, Any]) -> str | None:
    return None if one["start_ns"] is None else str(one["start_ns"] // 1_000_000)


def _user(part: int) -> Callable[[Mapping[str, Any]], str | None]:
    def make(one: Mapping[str, Any]) -> str | None:
        found = user_parts(one["user"])[part]
        return None if found is None else quoted(found)

    return make


ACTOR: Shape = {
    "process": {
        "pid": of_process("pid", _number_or_none("pid")),
        "name": of_process("image", _quoted_or_none("image")),
        "path": of_process("image_path", _quoted_or_none("image_path")),
        "cmd_line": of_process("command_line", _quoted_or_none("command_line")),
        "created_time": of_process("start_ns", _created),
        "parent_process": {
            "pid": of_process("parent_pid", _number_or_none("parent_pid")),
            "name": of_process(
                "image",
                lambda one: _quoted_or_none("parent_image")(one) if one["parent_pid"] is not None else None,
            ),
        },
        "tid": made_of("`tid`", _thread),
    },
    "user": {
        "uid": of_process("user", _user(0)),
        "domain": of_process("user", _user(1)),
        "name": of_process("user", _user(2)),
    },
}
SHAPE: Shape = {
    "class_uid": _of_class(
        0, "201002 where the operation is of a value that is named, else 201001; 0 without a key"
    ),
    "class_name": _of_class(1, "its caption"),
    "category_uid": _of_class(2, "1; of a Base Event 0"),
    "category_name": _of_class(3, "its caption"),
    "activity_id": _of_class(4, "the operation; see the table of activities"),
    "activity_name": _of_class(5, "its caption; of 99 the name of the operation"),
    "type_uid": _of_class(6, "class_uid × 100 + activity_id"),
    "severity_id": constant(1),
    "severity": constant("Informational"),
    "time": made_of(
        "`time`, in milliseconds",
        lambda rows: pc.divide(pc.cast(rows["time"], pa.int64()), 1000).cast(pa.string()),
    ),
    "message": made_of(
        "a sentence of operation, key, value, data, status, process",
        lambda rows: pc.binary_join_element_wise('"', messages(rows, inner), '"', ""),
    ),
    "status_id": told(
        ("status",), lambda status: str(status_words(status)[0]), "1 success, 2 failure, 0 unknown"
    ),
    "status": told(("status",), lambda status: quoted(status_words(status)[1])),
    "status_code": told(
        ("status",), lambda status: None if status is None else quoted(hex_status(status)), "in hex"
    ),
    "status_detail": told(
        ("status",), lambda status: None if status is None else quoted(status_name(status)), "its name"
    ),
    "metadata": {
        "version": constant(OCSF_VERSION),
        "product": constant(_PRODUCT),
        "extensions": constant([_EXTENSION]),
        "profiles": told(
            "class_uid", lambda uid: '["host"]' if uid == BASE_CLASS else None, "of a Base Event"
        ),
        "is_truncated": told(
            "flags", lambda flags: "true" if flags & _TRUNCATED else None, "where data was cut"
        ),
        "event_code": told("event_id", lambda code: f'"{code}"'),
        "log_provider": text("source"),
        "log_name": text("capture"),
        "sequence": number("sequence"),
    },
    "device": {"type_id": constant(0), "hostname": text("host")},
    "actor": made_of("process and user, see below", _actor),
    "reg_key": {
        "path": told(
            ("class_uid", "display_key", "new_name"), _key_path, "of a rename that was done, the new one"
        )
    },
    "prev_reg_key": {
        "path": told(("class_uid", "display_key", "new_name"), _old_path, "of a rename that was done")
    },
    "reg_value": made_of("key, value and data, see below", lambda rows: _only(rows, "is_value", REG_VALUE)),
    "prev_reg_value": made_of(
        "the data before, where the record tells it", lambda rows: _only(rows, "had_value", PREV_REG_VALUE)
    ),
    "unmapped": {
        "operation": text("operation"),
        "time_ns": number("time_ns"),
        "name_source": text("name_source"),
        "flags": told(
            "flags",
            lambda flags: None if not flags else quoted(flag_names(flags) or str(flags)),
            "their names",
        ),
        "key_user": text("key_user"),
        "requested_name": text("requested_name"),
        "meaning": text("data_meaning"),
        "noise": text("noise"),
        "duration_ns": number("duration_ns"),
        "detail": text("detail"),
        "key_id": number("key_id"),
        "handle_id": number("handle_id"),
    },
}


class Ocsf:
    """A timeline as OCSF events; first the notices, as Base Events."""

    def __init__(self, records: Records) -> None:
        """Write `records`."""
        self._records = records

    def head(self) -> Iterator[bytes | memoryview]:
        """Yield the notices."""
        for notice in self._records.notices():
            yield fixed(_notice(notice)).encode() + b"\n"

    def rows(self, rows: Rows) -> Iterator[bytes | memoryview]:
        """Yield the line of each row."""
        made = decoded(document(_with_class(rows), SHAPE))
        yield text_bytes(pc.binary_join_element_wise(made, "\n", ""))

    def tail(self) -> Iterator[bytes | memoryview]:
        """Yield nothing."""
        yield from ()


def _with_class(rows: Rows) -> Rows:
    """Return the rows with what their class depends on."""
    has_key = pc.is_valid(rows["display_key"])
    of_value = pc.is_in(rows["operation"], pa.array(VALUE_OPERATIONS))
    is_value = pc.and_(pc.and_(has_key, of_value), pc.is_valid(rows["value_name"]))
    before = pc.or_(pc.is_valid(rows["previous_type"]), pc.is_valid(rows["previous_size"]))
    uid = pc.if_else(is_value, VALUE_CLASS, pc.if_else(has_key, KEY_CLASS, BASE_CLASS))
    renamed = pc.and_(pc.equal(rows["operation"], "RenameKey"), pc.equal(rows["status"], 0).fill_null(False))
    return rows.with_columns(
        {
            "class_uid": uid.cast(pa.int32()),
            "is_value": is_value,
            "had_value": pc.and_(is_value, before),
            "new_name": pc.if_else(renamed, rows["requested_name"], pa.scalar(None, pa.string())),
        }
    )


def _notice(notice: Notice) -> dict[str, Any]:
    known = {"start_time_ns": notice.start_ns, "end_time_ns": notice.end_ns, "count": notice.count,
             "host": notice.host, "capture": notice.capture}  # fmt: skip
    return {
        "class_uid": BASE_CLASS,
        "class_name": CLASSES[BASE_CLASS][0],
        "category_uid": 0,
        "category_name": "Uncategorized",
        "activity_id": 99,
        "activity_name": f"regtrace {notice.kind}",
        "type_uid": 99,
        "severity_id": 1,
        "severity": "Informational",
        "time": notice.time_ns // 1_000_000,
        "message": notice.sentence,
        "metadata": {"version": OCSF_VERSION, "product": _PRODUCT, "extensions": [_EXTENSION]},
        "unmapped": {"notice": notice.kind}
        | {name: value for name, value in known.items() if value is not None},
    }
