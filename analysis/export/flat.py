"""The flat record of an event, for formats that have names and values and no structure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from analysis.export.json_text import Piece, quoted
from analysis.export.people import is_sid
from analysis.export.rows import Rows, mapped
from tracer.registry.ntstatus import status_name
from tracer.schema import FLAGS

__all__ = ["FLAT", "FlatField", "flag_names", "flat_pieces", "hex_status"]


@dataclass(frozen=True, slots=True)
class FlatField:
    """One field of the flat record.

    Attributes:
        name: as Plaso calls the same thing, where it does.
        source: the column that it is made of, for the documents.
        cells: makes it: plain text, dictionary-coded, or numbers as text.
        is_text: whether it holds text of strangers; else it is a number.
    """

    name: str
    source: str
    cells: Callable[[Rows], Piece]
    is_text: bool = True


def flag_names(flags: int) -> str | None:
    """Return the names of flags, with commas between them; None where none is set.

    >>> flag_names(3)
    'name_ambiguous,data_truncated'
    """
    return ",".join(name for name, bit in FLAGS.items() if flags & bit) or None


def hex_status(status: int) -> str:
    """Return an NTSTATUS as people write it.

    >>> hex_status(0xC0000034)
    '0xC0000034'
    """
    return f"0x{status:08X}"


def flat_pieces(rows: Rows, shorten: Callable[[str], str] = str) -> dict[str, Piece]:
    """Return the fields of the rows as JSON, by name; those that are NULL in all rows are left out.

    Args:
        rows: the rows.
        shorten: what becomes of each text.
    """
    pieces: dict[str, Piece] = {}
    for field in FLAT:
        cells = field.cells(rows)
        if cells.null_count == len(cells):
            continue
        pieces[field.name] = mapped(cells, lambda text: quoted(shorten(text))) if field.is_text else cells
    return pieces


def _text(name: str, column: str) -> FlatField:
    return FlatField(name, f"`{column}`", lambda rows: rows.coded(column))


def _told(name: str, column: str, make: Callable[[Any], str | None], meaning: str) -> FlatField:
    return FlatField(name, f"`{column}`: {meaning}", lambda rows: rows.told(column, make))


def _number(name: str, column: str) -> FlatField:
    return FlatField(name, f"`{column}`", lambda rows: rows.numbers(column), is_text=False)


def _of_process(
    name: str, column: str, make: Callable[[Mapping[str, Any]], str | None], *, is_text: bool = True
) -> FlatField:
    return FlatField(name, f"`processes.{column}`", lambda rows: rows.of_process(make), is_text)


def _account(one: Mapping[str, Any]) -> str | None:
    return one["user"] if one["user"] and not is_sid(one["user"]) else None


def _sid(one: Mapping[str, Any]) -> str | None:
    return one["user"] if one["user"] and is_sid(one["user"]) else None


def _parent_pid(one: Mapping[str, Any]) -> str | None:
    return None if one["parent_pid"] is None else str(one["parent_pid"])


FLAT: tuple[FlatField, ...] = (
    _text("hostname", "host"),
    _of_process("username", "user", _account),
    _of_process("user_sid", "user", _sid),
    _text("operation", "operation"),
    _told("status", "status", status_name, "its name"),
    _told("status_code", "status", hex_status, "in hex"),
    _text("key_path", "display_key"),
    _text("native_key", "key"),
    _text("key_user", "key_user"),
    _text("value_name", "value_name"),
    _text("value_type", "data_type_name"),
    _text("value_data", "data_text"),
    _number("value_size", "data_size"),
    _text("value_meaning", "data_meaning"),
    _text("previous_type", "previous_type_name"),
    _text("previous_data", "previous_text"),
    _number("previous_size", "previous_size"),
    _of_process("process_name", "image", lambda one: one["image"]),
    _of_process("pid", "pid", lambda one: str(one["pid"]), is_text=False),
    _number("tid", "tid"),
    _of_process("process_path", "image_path", lambda one: one["image_path"]),
    _of_process("command_line", "command_line", lambda one: one["command_line"]),
    _of_process("parent_pid", "parent_pid", _parent_pid, is_text=False),
    _of_process("parent_name", "image", lambda one: one["parent_image"]),
    _text("requested_name", "requested_name"),
    _number("disposition", "disposition"),
    _number("information_class", "information_class"),
    _number("index", "index"),
    _number("duration_ns", "duration_ns"),
    _text("name_source", "name_source"),
    _told("flags", "flags", flag_names, "their names"),
    _text("noise", "noise"),
    _text("detail", "detail"),
    _text("trace_source", "source"),
    _number("event_id", "event_id"),
    _number("sequence", "sequence"),
    _number("key_id", "key_id"),
    _number("handle_id", "handle_id"),
    _text("capture", "capture"),
)
