"""`regtrace history`: what happened to a value, write by write."""

from functools import partial
from typing import Annotated

import typer

from cli.options.common import (
    CapturePath,
    EndTime,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    Limit,
    OperationWords,
    OutputFile,
    ProcessTree,
    ProcessWord,
    Raw,
    StartTime,
    StatusWords,
    Subtree,
    UserWord,
    Where,
    Wide,
    Zone,
)
from cli.options.completion import complete_key

__all__ = ["EXAMPLES", "history"]

EXAMPLES = (
    Example(r"regtrace history app.regtrace 'HKLM\SOFTWARE\Vendor' Version", "one value"),
    Example(
        r"regtrace history app.regtrace 'HKLM\**\CurrentVersion\Run*'", "every value of the keys that fit"
    ),
    Example(
        r"regtrace history app.regtrace 'HKCU\Software\Vendor' --subtree --user alice",
        "a key of one user; without --user, of each",
    ),
    Example(
        r"regtrace history app.regtrace 'HKLM\SOFTWARE' --subtree --process setup.exe -o setup.csv",
        "what one program changed below a key, as CSV",
    ),
)


def history(
    capture: CapturePath,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            autocompletion=complete_key,
            help="The key: HKLM\\..., HKCU\\... or \\REGISTRY\\..., any case, or #ID; * and ** allowed, [*] is the letter *.",
        ),
    ],
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE", help="Only this value; * and ? allowed, '' or (default) is the default value."
        ),
    ] = None,
    subtree: Subtree = False,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    operation: OperationWords = None,
    status: StatusWords = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print each write and delete of values, with old and new data.

    The old data is what the record itself tells, else what this capture saw last: a write, a read, or
    that there was no such value; CSV, JSONL and Parquet say which (old_from), and have the bytes. Attempts
    that failed are shown with their status, and the values that a deleted key took with it.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.history import history_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = filters_of(
        key=None if subtree else [key], under=[key] if subtree else None, value=value,
        process=process, process_tree=process_tree, operation=operation, status=status, start=start, end=end, where=where,
        user=user,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        lines = partial(history_lines, zone=target.zone, color=target.color)
        question.print(question.queries.history(limit=limit), lines, noun="change", limit=limit)
