"""What a touch of an autostart point tells: whether the entry is new, and what its data starts.

A touch is a write, a delete, an attempt or reads of what a row of `analysis.rules.autostarts` is about. Which touches a
capture has is asked in `analysis.questions.autoruns`; here are values, and no tables of a capture.
"""

from collections.abc import Mapping
from typing import Any

from analysis.rules.autostarts import Autostart
from analysis.rules.commands import Command, take_apart, take_apart_list
from analysis.rules.task_actions import task_actions
from tracer.registry.class_ids import class_of_name
from tracer.registry.text import decode_name
from tracer.registry.values import ValueType

__all__ = ["NOVELTIES", "TOUCHES", "class_id_of", "novelty_of", "parts_of"]

TOUCHES = {
    "touch": "string", "sequence": "int64", "time": "timestamp[us, tz=UTC]", "last_time": "timestamp[us, tz=UTC]",
    "category": "string", "kind": "string", "autostart": "string", "technique": "string", "technique_name": "string",
    "display_key": "string", "value_name": "string", "operation": "string", "done": "bool", "status": "uint32",
    "status_name": "string", "process": "string", "pid": "uint32", "user": "string", "command_line": "string",
    "count": "int64", "novelty": "string", "new_type": "uint32", "new_size": "uint32", "new_data": "binary",
    "old_from": "string", "old_type": "uint32", "old_size": "uint32", "old_data": "binary", "across_loss": "bool",
    "holds": "string", "program": "string", "arguments": "string", "folder": "string", "user_writable": "bool",
    "host_program": "string", "payload": "string", "payload_folder": "string", "remote": "string", "clsid": "string",
    "server": "string", "note": "string", "last_sequence": "int64", "key_id": "int64", "process_id": "int64", "flags": "uint32",
}  # fmt: skip
NOVELTIES = {
    "new": "there was no such entry before",
    "changed": "the entry was there and held something else",
    "same": "the entry was there and held the same",
    "existed": "the entry was there; whether it held the same is not known",
}
_TEXTS = frozenset(
    {None, ValueType.NONE, ValueType.SZ, ValueType.EXPAND_SZ, ValueType.MULTI_SZ, ValueType.LINK}
)
_NUL = "<U+0000>"  # as `tracer.registry.text` escapes it
_LISTS = frozenset({"commands", "commands list", "dlls"})
_LIBRARIES = frozenset({"dll", "dlls", "path", "folder", "value path"})
_COMMANDS = frozenset({"command", "commands", "commands list"})

_Content = tuple[int | None, int | None, bytes | None]  # type, size and data of a value


def novelty_of(
    operation: str,
    *,
    done: bool | None,
    new: _Content,
    old_from: str | None,
    old: _Content,
    across_loss: bool | None,
) -> str | None:
    """Return whether a touch made or changed an entry, a word of NOVELTIES; None where that cannot be told, or it made none.

    Args:
        operation: the name of the operation.
        done: whether it succeeded; None: not known.
        new: type, size and data after it.
        old_from: how the data before is known; "absent": there was no such entry; None: nothing is known.
        old: type, size and data before.
        across_loss: whether events may have been lost since.
    """
    if operation not in ("SetValueKey", "CreateKey") or done is False or old_from is None:
        return None
    if old_from == "absent":
        return None if across_loss else "new"
    (kind, size, data), (old_kind, old_size, old_data) = new, old
    if _differ(kind, old_kind) or _differ(size, old_size):
        return "changed"
    if size == old_size == 0 and kind == old_kind:
        return "same"
    if data is None or old_data is None:
        return "existed"
    if not (data.startswith(old_data) or old_data.startswith(data)):
        return "changed"
    is_whole = data == old_data and size in (None, len(data)) and old_size in (None, len(old_data))
    return "existed" if not is_whole or across_loss else "same"


def class_id_of(row: Autostart, key: str, value_name: str | None, content: _Content) -> str | None:
    """Return the CLSID that an entry names, in upper case; None where it names none, or its data is not known.

    Args:
        row: the row of the table.
        key: the path of the key.
        value_name: the name of the value; None for the key itself.
        content: type, size and data.
    """
    if row.data == "key clsid":
        return class_of_name(key.rpartition("\\")[2])
    if row.data == "value clsid":
        return class_of_name(value_name or "")
    if row.data == "task actions":
        return next((one.clsid for one in task_actions(content[2]) if one.clsid is not None), None)
    if row.data != "clsid":
        return None
    texts = _texts(content)
    return class_of_name(texts[0].strip()) if texts else class_of_name(key.rpartition("\\")[2])


def parts_of(
    row: Autostart, value_name: str | None, content: _Content, old: _Content, server: str | None
) -> Mapping[str, Any]:
    """Return the columns of TOUCHES that say what an entry starts; those that are not known are left out.

    Of a list that is what the old one had not; else its entry from the most doubtful folder.

    Args:
        row: the row of the table.
        value_name: the name of the value; None for the key itself.
        content: type, size and data of the entry.
        old: the same before the touch.
        server: the library or program of the class that the entry names; None: unknown, or it names none.
    """
    if server is not None:
        return {
            "server": server,
            **_columns(take_apart(server, is_library=server.lower().endswith((".dll", ".ocx")))),
        }
    if row.data == "value path":
        return _columns(take_apart(value_name, is_library=True))
    if row.data == "task actions":
        lines = [take_apart(one.line) for one in task_actions(content[2]) if one.line is not None]
        return _columns(min(lines, key=_trust)) if lines else {}
    if row.data not in _COMMANDS | _LIBRARIES:
        return {}
    texts = _texts(content)
    if not texts:
        return {}
    is_library = row.data in _LIBRARIES
    if row.data not in _LISTS:
        return _columns(take_apart(texts[0], is_library=is_library))
    found = _listed(texts, is_library=is_library)
    before = {one.path for one in _listed(_texts(old) or [], is_library=is_library)}
    added = [one for one in found if one.path not in before] or found
    return _columns(min(added, key=_trust)) if added else {}


def _texts(content: _Content) -> list[str] | None:
    """Return the strings of a value, escaped; None where it is no text, or its data is not known."""
    kind, size, data = content
    if kind not in _TEXTS or data is None:
        return [""] if size == 0 and kind in _TEXTS else None
    return decode_name(data).removesuffix(_NUL).split(_NUL)


def _listed(texts: list[str], *, is_library: bool) -> list[Command]:
    return [
        one for text in texts for one in take_apart_list(text, is_library=is_library) if one.path is not None
    ]


def _trust(command: Command) -> int:
    """Return how little is to be said against a command, for order."""
    if command.remote is not None:
        return 0
    return {True: 1, None: 2, False: 3}[command.runs_from_writable]


def _columns(command: Command) -> dict[str, Any]:
    return {
        "program": command.path,
        "arguments": command.arguments,
        "folder": command.folder,
        "user_writable": command.runs_from_writable,
        "host_program": command.host,
        "payload": command.payload,
        "payload_folder": command.payload_folder,
        "remote": command.remote,
    }


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other
