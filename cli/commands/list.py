"""`regtrace list`: the words that options accept."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from cli.options.common import Example, Wide
from cli.output.console import console, is_terminal, terminal_width

__all__ = ["EXAMPLES", "JOINED_COLUMNS", "Subject", "list_words"]

EXAMPLES = (
    Example("regtrace list operations", "what --operation accepts, and the callback each stands for"),
    Example("regtrace list columns", "the columns of the view events: what --where can name"),
    Example("regtrace list statuses", "what --status accepts"),
    Example("regtrace list weights", "what each reason weighs in `regtrace triage`"),
    Example("regtrace list autostarts", "the places that `regtrace autoruns` knows, by --category"),
)


JOINED_COLUMNS = {  # what the view adds to the stored columns
    "noise": (
        "text",
        "why Windows did it by itself (handle tags, key name, link); NULL where a program asked for it",
    ),
    "status_name": ("text", "name of `status`; its hex form where it has none; NULL where `status` is"),
    "key": ("text", "native path of the key, escaped; NULL where the operation has no key"),
    "display_key": ("text", "its Win32 spelling (HKLM\\...), where it has one"),
    "process": ("text", "file name of the process's image; NULL where unknown"),
    "pid": ("uint32", "Windows process id; NULL where unknown"),
    "tid": ("uint32", "thread id; NULL where unknown"),
    "user": ("text", "account name or SID of the process; NULL where unknown"),
    "command_line": ("text", "command line of the process; NULL where not recorded"),
    "data_type_name": ("text", "name of `data_type` (REG_MULTI_SZ); its hex form where it has none"),
    "data_text": (
        "text",
        "`data` as text, as Procmon writes it; docs/questions.md says how. NULL where nothing of it is known",
    ),
    "data_meaning": (
        "text",
        "what well-known data says, with the name of its decoder in brackets; NULL where no decoder reads it",
    ),
    "previous_type_name": ("text", "name of `previous_type`"),
    "previous_text": ("text", "`previous_data` as text"),
    "previous_meaning": ("text", "what well-known `previous_data` says"),
}


class Subject(StrEnum):
    """What can be listed."""

    OPERATIONS = "operations"
    COLUMNS = "columns"
    STATUSES = "statuses"
    AUTOSTARTS = "autostarts"
    WEIGHTS = "weights"


def list_words(
    subject: Annotated[Subject, typer.Argument(help="What to list.", show_default=False)],
    wide: Wide = False,
) -> None:
    """Print the words that options accept."""
    from cli.output.destination import write_lines
    from cli.output.table import TextColumn, lay_out

    rows = {
        Subject.OPERATIONS: _operations,
        Subject.COLUMNS: _columns,
        Subject.STATUSES: _statuses,
        Subject.AUTOSTARTS: _autostarts,
        Subject.WEIGHTS: _weights,
    }[subject]()
    titles, *cells = rows
    columns = [
        TextColumn(title, [row[index] for row in cells], shrink="end" if index == len(titles) - 1 else None)
        for index, title in enumerate(titles)
    ]
    width = terminal_width() if is_terminal(sys.stdout) and not wide else None
    write_lines(lay_out(columns, width=width))
    if subject is Subject.OPERATIONS:
        console.hint("regtrace timeline CAPTURE --key KEY --operation set,delete")


def _operations() -> list[tuple[str, ...]]:
    from tracer.registry.operations import GROUPS, OPERATIONS

    writes = {name: case for case in GROUPS["writes"].cases for name in case.operations}
    rows: list[tuple[str, ...]] = [("word", "operation", "changes", "callback", "class")]
    for operation in OPERATIONS:
        number = "" if operation.notify_class is None else str(operation.notify_class)
        case = writes.get(operation.name)
        changes = "" if case is None else "some" if case.conditions else "yes"
        rows.append((operation.short, operation.name, changes, operation.notification or "", number))
    for group in GROUPS.values():
        rows.append((group.word or group.name, f"({group.meaning})", "", "", ""))
    return rows


def _columns() -> list[tuple[str, ...]]:
    from analysis.engine.columns import SHOWN_COLUMNS
    from tracer.schema import TABLES

    columns = {
        column.name: (column.kind, column.meaning) for column in TABLES["events"].columns
    } | JOINED_COLUMNS
    rows: list[tuple[str, ...]] = [("column", "type", "meaning")]
    return rows + [(name, *columns[name]) for name in SHOWN_COLUMNS]


def _statuses() -> list[tuple[str, ...]]:
    from tracer.registry.ntstatus import STATUSES

    rows: list[tuple[str, ...]] = [("status", "name")]
    return rows + [(f"0x{number:08X}", name) for number, name in STATUSES.items()]


def _weights() -> list[tuple[str, ...]]:
    from analysis.rules.weights import LEVEL_WEIGHTS, WEIGHTS

    levels = [
        ("rule " + (level or "without level"), str(weight), "a Sigma rule of this level matches")
        for level, weight in LEVEL_WEIGHTS.items()
    ]
    return [
        ("reason", "weight", "meaning"),
        *levels,
        *((name, str(weight), meaning) for name, (weight, meaning) in WEIGHTS.items()),
    ]


def _autostarts() -> list[tuple[str, ...]]:
    from analysis.rules.autostarts import autostarts

    rows: list[tuple[str, ...]] = [("category", "id", "kind", "technique", "place", "note")]
    return rows + [
        (row.category, row.id, row.kind, row.technique, row.location, row.note) for row in autostarts()
    ]
