"""Options that several verbs share, and the type of their examples."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from cli.options.completion import (
    complete_key,
    complete_operation,
    complete_process,
    complete_status,
    complete_zone,
)

__all__ = [
    "AllRows",
    "CapturePath",
    "EndTime",
    "Example",
    "FailOnLoss",
    "FewRows",
    "Force",
    "Format",
    "FormatOption",
    "KeyWords",
    "Limit",
    "OperationWords",
    "OutputFile",
    "ProcessTree",
    "ProcessWord",
    "Raw",
    "RowFormat",
    "RowFormatOption",
    "StartTime",
    "StatusWords",
    "Subtree",
    "UnderWords",
    "UserWord",
    "ValueWord",
    "Where",
    "Wide",
    "Zone",
]


class Example(NamedTuple):
    """A command line that a user can type, and its purpose."""

    command: str
    purpose: str


class Format(StrEnum):
    """The format of rows."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class RowFormat(StrEnum):
    """The format of rows of a verb that has no table."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


CapturePath = Annotated[
    Path,
    typer.Argument(
        metavar="CAPTURE",
        help="A capture, NAME.regtrace, as `regtrace ingest` makes it; a folder of captures; or s3://BUCKET/PREFIX of either.",
    ),
]
EndTime = Annotated[
    str | None, typer.Option("--to", metavar="TIME", help="Last time, written as for --from; inclusive.")
]
FailOnLoss = Annotated[
    bool,
    typer.Option(
        "--fail-on-loss", help="Return exit code 4 where events were lost or the capture is incomplete."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the output if it exists.")]
FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Format of rows. Default: by the ending of FILE, else a table."),
]
KeyWords = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        "-k",
        metavar="KEY",
        autocompletion=complete_key,
        help="Only this key: HKLM\\..., HKCU\\... or \\REGISTRY\\..., any case, or #ID; * and ** allowed, [*] is the letter *. Repeatable.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="Show the first N rows only.")]
FewRows = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=1, help="Show the first N rows only.  [default: 20 in a table, else all]"
    ),
]
OperationWords = Annotated[
    str | None,
    typer.Option(
        "--operation",
        metavar="WORDS",
        autocompletion=complete_operation,
        help="Only these, separated by commas: set, delete, read, write ... (regtrace list operations).",
    ),
]
OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        readable=False,  # --force replaces a file that only others may read
        help="Write to FILE; - is standard output.",
    ),
]
ProcessWord = Annotated[
    str | None,
    typer.Option(
        "--process",
        "-p",
        metavar="NAME|PID",
        autocompletion=complete_process,
        help="Only processes of this image name (with or without .exe; * and ? allowed), or this id.",
    ),
]
Raw = Annotated[
    bool,
    typer.Option("--raw", help="In CSV also the bytes of values, in hex; other formats always have them."),
]
ProcessTree = Annotated[
    str | None,
    typer.Option(
        "--process-tree",
        "--tree",
        metavar="NAME|PID",
        help="Only these processes and what they started, and so on down.",
    ),
]
RowFormatOption = Annotated[
    RowFormat | None,
    typer.Option("--format", "-f", help="Format of rows. Default: by the ending of FILE, else jsonl."),
]
StartTime = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="TIME",
        help="First time: 2026-11-22T10:00:00Z, 10:00:00 of the capture's day, +90s after the start, -5m before the end.",
    ),
]
StatusWords = Annotated[
    str | None,
    typer.Option(
        "--status",
        metavar="WORDS",
        autocompletion=complete_status,
        help="Only these results: success, error, a name, a code (regtrace list statuses).",
    ),
]
Subtree = Annotated[bool, typer.Option("--subtree", help="Keys below KEY as well.")]
UnderWords = Annotated[
    list[str] | None,
    typer.Option(
        "--under",
        "-u",
        metavar="KEY",
        autocompletion=complete_key,
        help="Only this key and keys below it; * and ** allowed, [*] is the letter *. Repeatable.",
    ),
]
UserWord = Annotated[
    str | None,
    typer.Option(
        "--user",
        "--user-sid",
        metavar="NAME|SID",
        help="Whose keys HKCU and HKCR are: alice, S-1-5-21-...-1001. Default: everybody's.",
    ),
]
AllRows = Annotated[
    bool,
    typer.Option(
        "--all", help="Count what Windows does by itself too, such as tags of handles (docs/questions.md)."
    ),
]
ValueWord = Annotated[
    str | None,
    typer.Option(
        "--value",
        metavar="NAME",
        help="Only this value; * and ? allowed, [*] is the letter *, '' or (default) is the default value.",
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        "--where", metavar="SQL", help="Keep rows for which this SQL condition on the columns is true."
    ),
]
Wide = Annotated[
    bool,
    typer.Option(
        "--wide",
        "-w",
        help="Shorten nothing and show every column, however wide the table becomes; in a pipe, align columns "
        "in place of a tab between them.",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--tz",
        metavar="ZONE",
        autocompletion=complete_zone,
        help="Show times in this zone, such as Europe/Berlin. Default: UTC.",
    ),
]
