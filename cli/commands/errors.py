"""`regtrace errors`: failed operations, and which of them are harmless."""

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
    KeyWords,
    Limit,
    OperationWords,
    OutputFile,
    ProcessTree,
    ProcessWord,
    StartTime,
    StatusWords,
    UnderWords,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.output.console import console
from cli.output.phrases import quoted

__all__ = ["EXAMPLES", "errors"]

EXAMPLES = (
    Example("regtrace errors app.regtrace --limit 20", "what failed most, and was not answered"),
    Example(
        "regtrace errors app.regtrace --process setup.exe --status ACCESS_DENIED",
        "what a program was not allowed",
    ),
    Example(
        r"regtrace errors app.regtrace --under 'HKLM\SOFTWARE' --no-fold -o errors.csv",
        "every failure below a key, searches not folded, as CSV",
    ),
)


def errors(
    capture: CapturePath,
    key: KeyWords = None,
    under: UnderWords = None,
    value: ValueWord = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    operation: OperationWords = None,
    status: StatusWords = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    fold: Annotated[
        bool,
        typer.Option("--fold/--no-fold", help="Make one row of the misses of a search that found its key."),
    ] = True,
    harmless: Annotated[
        bool, typer.Option("--harmless/--no-harmless", help="Show searches that ended well.")
    ] = True,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print what failed, by process, key, value and status.

    Most frequent first; behind them the searches that ended well: a miss in one place and then a hit in
    another, as Windows programs look for the user's key and then the machine's (hkcu-hklm), in both views
    (wow64), for policies and then preferences (policy), and for classes (com). These misses mean nothing.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.errors import error_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        question.print(
            question.queries.errors(fold=fold, harmless=harmless, limit=limit),
            partial(error_lines, zone=target.zone, color=target.color),
            noun="row",
            limit=limit,
        )
        if harmless:
            console.hint(f"regtrace errors {quoted(capture)} --no-harmless --limit 20")
