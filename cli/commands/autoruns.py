"""`regtrace autoruns`: who touched what Windows starts by itself, and what guards it."""

from functools import partial
from typing import Annotated

import typer

from cli.exits import Exit
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
    Raw,
    StartTime,
    StatusWords,
    UnderWords,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.options.completion import complete_category

__all__ = ["EXAMPLES", "autoruns"]

EXAMPLES = (
    Example("regtrace autoruns host.regtrace", "what became an autostart, changed, or was taken away, and by whom"),
    Example("regtrace autoruns host.regtrace --new --category services,logon", "services and logon entries that are new or changed"),
    Example("regtrace autoruns host.regtrace --reads --process-tree installer.exe", "also what a program only looked at"),
    Example("regtrace autoruns captures/ --new -o new.csv", "many machines, as CSV with the column host"),
    Example("regtrace autoruns host.regtrace -q && echo untouched", "in a script: exit code 3 if anything was touched"),
)  # fmt: skip


def autoruns(
    capture: CapturePath,
    category: Annotated[
        str | None,
        typer.Option(
            "--category",
            metavar="WORDS",
            autocompletion=complete_category,
            help="Only these categories, separated by commas: logon, services, com, ... `regtrace list autostarts` has all.",
        ),
    ] = None,
    new: Annotated[
        bool,
        typer.Option(
            "--new", help="Only what made an entry, changed it, or may have: no deletes, no attempts."
        ),
    ] = False,
    reads: Annotated[
        bool, typer.Option("--reads", help="Who read an entry too: one row per entry and process.")
    ] = False,
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
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print who touched autostart points, and what is new of them.

    An autostart point is a place of the registry from which something is started without being asked, or
    which weakens what would notice it: Run keys, services, tasks, COM classes, debuggers of programs,
    Defender's exclusions, ... Each row says who and when, what the entry was before (new, changed, same, or
    ? where nothing tells), what it starts, and its ATT&CK technique. Attempts that failed are shown.
    A touch is no proof of harm: installers and Windows touch them all day. Returns 3 where there is any, else 0.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.autoruns import autoruns_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    with asking(capture, filters, target) as question:
        query = question.queries.autoruns(reads=reads, new=new, category=category, limit=limit)
        count = question.print(
            query, partial(autoruns_lines, zone=target.zone, color=target.color), noun="finding", limit=limit
        )
        is_complete = question.capture.manifest.complete
    if count:
        raise typer.Exit(Exit.FINDINGS)
    if fail_on_loss and not is_complete:
        raise typer.Exit(Exit.LOSS)
