"""The text table of touches of autostart points: by category and key, with what an entry was and what it starts."""

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Any

import pyarrow as pa

from cli.output.answer_columns import short_ids, with_hosts
from cli.output.columns import text_cells
from cli.output.console import with_style
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import TextColumn, cell_width, cut_end, cut_middle, lay_out, path_line
from cli.tables.history import content_cell
from cli.tables.timeline import DATA_WIDTH, process_cells, time_cells, value_cells
from tracer.registry.values import ValueType

__all__ = ["autoruns_lines"]

_ACTIONS = {
    "DeleteValueKey": "(deleted)",
    "DeleteKey": "(key deleted)",
    "RenameKey": "(key renamed)",
    "CreateKey": "(key made)",
    "CreateOrDelete": "(key made or deleted)",
}
_WAS = {"new": "new", "changed": "changed", "same": "same", "existed": "there"}
_TEXTS = (ValueType.SZ, ValueType.EXPAND_SZ)
_FOLDERS = {
    "user": "in a user's folder",
    "temp": "in a temporary folder",
    "shared": "in a folder for all users",
    "remote": "on another machine",
    "other": "",
    "system": "",
    "programs": "",
}
_VERBS = {  # what an entry of such data makes Windows do
    "command": "starts", "commands": "starts", "commands list": "starts", "dll": "loads", "dlls": "loads", "clsid": "loads",
    "key clsid": "loads", "value clsid": "loads", "task actions": "starts",
}  # fmt: skip
_LISTS = ("commands", "commands list", "dlls")
_NARROW = 120  # columns below which
_SHORT = 14  # only so short an entry stands beside its value
_MARK = "…"
_INDENT = "  "
_BELOW = "      "


def autoruns_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.questions.autoruns`.

    Args:
        rows: the rows, by category.
        width: the columns of the terminal; None: every column in one line a row, nothing shortened.
        zone: the zone times are shown in.
        color: whether headings are bold and what failed stands out.
    """
    values = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    failed = ["red" if touch == "attempt" else "" for touch in values["touch"]]
    title, times = time_cells(rows, zone, width)
    entries = _entries(values, full=width is None)
    below = [""] * len(entries)
    if width is not None and width < _NARROW:  # what is long stands on a line of its own
        below = [entry if cell_width(entry) > _SHORT else "" for entry in entries]
        entries = ["" if long else entry for entry, long in zip(entries, below, strict=True)]
    columns = [
        TextColumn(title, times, styles=["dim"] * len(times)),
        TextColumn("process", process_cells(rows), shrink="middle", least=21),
        TextColumn("value", value_cells(rows), shrink="middle", least=8),
        TextColumn("was", _was(values)),
        TextColumn("entry", entries, shrink="end", least=16, most=DATA_WIDTH, styles=failed),
    ]
    if width is not None and width >= _NARROW:
        columns.append(TextColumn("from", _origins(values)))
    if width is None:
        yield from lay_out(with_hosts(rows, _whole(rows, values, columns)), color=color)
        return
    shown = with_hosts(rows, [column for column in columns if any(column.cells)] or columns)
    lines = lay_out([TextColumn("", [""] * rows.num_rows), *shown], width=width, color=color)
    yield next(lines)
    keys, ids = text_cells(rows, "display_key"), short_ids(rows)
    last: tuple[str, str] | None = None
    for number, line in enumerate(lines):
        category, key = values["category"][number], keys[number]
        if last is None or category != last[0]:
            yield from [""] if last is not None else []
            yield with_style(category, "bold") if color else category
        if (category, key) != last:
            technique = values["technique"][number]
            room = width - len(technique) - 1 - len(_INDENT)
            path = path_line(key, room, number=ids[number], color=color) if key else "(no key)"
            yield f"{_INDENT}{path} {technique}"
        last = (category, key)
        yield line
        for said in _remarks(values, number, below[number]):
            room = max(width - len(_BELOW), 8)
            yield _BELOW + _shortened(said, room, is_path=not values["arguments"][number])
    if "?" in columns[3].cells:
        yield ""
        yield cut_end("?: nothing tells what was there before", width)


def _was(values: dict[str, list[Any]]) -> list[str]:
    """Return what was there before each touch: a word, a question mark where that is unknown, "" where it does not matter."""
    cells = []
    for touch, operation, novelty in zip(
        values["touch"], values["operation"], values["novelty"], strict=True
    ):
        makes = touch == "write" and operation in ("SetValueKey", "CreateKey", "CreateOrDelete")
        cells.append(_WAS[novelty] if novelty else "?" if makes else "")
    return cells


def _entries(values: dict[str, list[Any]], *, full: bool) -> list[str]:
    """Return what each touch left behind, or tried to."""
    names = (
        "touch",
        "done",
        "operation",
        "status_name",
        "count",
        "new_text",
        "new_type",
        "new_data",
        "new_size",
        "new_meaning",
    )
    cells = []
    for touch, done, operation, status, count, text, *content in zip(
        *(values[name] for name in names), strict=True
    ):
        if touch == "read":
            vain = "" if done is not False else ", not there" if status else ", refused"
            cells.append(f"(read {plural(count, 'time')}{vain})")
            continue
        is_set = operation == "SetValueKey"
        made = _content(text, *content) if is_set else _ACTIONS.get(operation, operation)
        if touch == "attempt":
            shown = (status or "?") if full else (status or "?").removeprefix("OBJECT_")
            made = f"failed, {shown}: {made}"
        cells.append(made)
    return cells


def _origins(values: dict[str, list[Any]]) -> list[str]:
    """Return in which folder that is which a touch makes Windows run; "" where that is not known, or it makes none."""
    names = ("operation", "holds", "payload", "payload_folder", "folder")
    return [
        "" if operation != "SetValueKey" or holds not in _VERBS else (inner if payload else folder) or ""
        for operation, holds, payload, inner, folder in zip(*(values[name] for name in names), strict=True)
    ]


def _content(
    text: str | None, kind: int | None, data: bytes | None, size: int | None, meaning: str | None
) -> str:
    """Return what a value holds: a text as it is, without quotes around it, other data as in a history."""
    is_text = kind in _TEXTS or (kind is None and data is not None)
    if is_text and text is not None and not meaning:
        return text or "(empty)"
    return content_cell(kind, data, size, meaning) or "(data not recorded)"


def _remarks(values: dict[str, list[Any]], number: int, entry: str) -> Iterator[str]:
    """Yield what stands below a touch: a long entry, the data before, and what is started where the data does not show it.

    Args:
        values: the columns of the rows.
        number: which row.
        entry: the entry, where it does not stand beside its value; "" where it does.
    """
    row = {name: column[number] for name, column in values.items()}
    is_made = row["touch"] == "write" and row["operation"] not in ("DeleteValueKey", "DeleteKey")
    verb = _VERBS.get(row["holds"], "") if is_made else ""
    is_doubtful = bool(row["user_writable"] or row["remote"])
    is_added = row["holds"] in _LISTS and entry != row["program"]  # one of several
    is_inside = bool(row["server"] or row["payload"] or is_added)  # not what the entry begins with
    place = _place(row["folder"], row["remote"]) if is_doubtful else ""
    if entry:
        made = verb and row["operation"] == "SetValueKey"
        yield f"{verb} {entry}{'' if is_inside else place}" if made and not is_added else entry
    if row["novelty"] == "changed" or (
        row["operation"] in ("DeleteValueKey", "DeleteKey") and row["old_from"]
    ):
        old = _content(*(row[f"old_{name}"] for name in ("text", "type", "data", "size", "meaning")))
        yield f"was {old}"
    elif row["novelty"] is None and row["across_loss"] and row["old_from"] == "absent":
        yield "there was none, but events may have been lost since"
    if not verb:
        return
    if row["server"] is not None:
        yield f"{verb} {row['server']}{place}"
    elif row["holds"] == "task actions" and row["program"] is not None:
        yield f"{verb} {row['program']} {row['arguments']}".rstrip() + _place(row["folder"], row["remote"])
    elif row["payload"] is not None:
        yield f"runs {row['payload']}" + _place(row["payload_folder"], row["remote"])
    elif row["program"] is not None and (is_doubtful or row["novelty"] == "changed") and is_added:
        yield f"{verb} {row['program']}{place}"


def _shortened(text: str, width: int, *, is_path: bool) -> str:
    """Return a line shortened to a width: of a path its ends stay, of a command line the program and how it ends."""
    text = visible(text).replace(_MARK, "\\u{2026}")  # a mark always means text that was left out
    if is_path or cell_width(text) <= width:
        return cut_middle(text, width)
    tail = cut_end(text[::-1], width // 3, "")[::-1]
    return cut_end(text, width - cell_width(tail)) + tail


def _place(folder: str | None, remote: str | None) -> str:
    words = _FOLDERS.get(folder or "", "") or ("on another machine" if remote else "")
    return f", {words}" if words else ""


def _whole(rows: pa.Table, values: dict[str, list[Any]], columns: Sequence[TextColumn]) -> list[TextColumn]:
    """Return the columns of a table that nobody fits to a terminal."""
    time, process, value, was, entry = columns[:5]
    old = ("old_type", "old_data", "old_size", "old_meaning")
    before = [
        "(none)" if source == "absent" else content_cell(*content)
        for source, *content in zip(values["old_from"], *(values[name] for name in old), strict=True)
    ]
    names = ("category", "kind", "autostart", "technique", "touch")
    plain = {
        name: TextColumn(name, text_cells(rows, name))
        for name in (*names, "program", "folder", "payload", "remote", "server")
    }
    return [
        time, *(plain[name] for name in names), process, TextColumn("key", text_cells(rows, "display_key")), value, was,
        TextColumn("old data", before, shrink="end", least=10, most=DATA_WIDTH), entry,
        *(plain[name] for name in ("program", "folder", "payload", "remote", "server")),
    ]  # fmt: skip
