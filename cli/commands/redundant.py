"""`regtrace redundant`: reads repeated though nothing changed, and polling."""

from functools import partial
from typing import Annotated

import typer

from cli.options.common import (
    AllRows,
    CapturePath,
    EndTime,
    Example,
    FailOnLoss,
    FewRows,
    Force,
    FormatOption,
    KeyWords,
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

__all__ = ["EXAMPLES", "redundant"]

EXAMPLES = (
    Example("regtrace redundant app.regtrace", "the twenty reads that are repeated most"),
    Example("regtrace redundant app.regtrace --polling", "what is read by the clock, and how often"),
    Example(
        r"regtrace redundant app.regtrace --process explorer.exe --status NAME_NOT_FOUND --min-count 10",
        "what one program asks for in vain, again and again",
    ),
)


def redundant(
    capture: CapturePath,
    polling: Annotated[bool, typer.Option("--polling", help="Only reads at regular intervals.")] = False,
    min_count: Annotated[
        int, typer.Option("--min-count", metavar="N", min=1, help="The fewest redundant reads of a row.")
    ] = 1,
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
    everything: AllRows = False,
    limit: FewRows = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Print reads that a process repeated though nothing changed.

    Reads are identical where one process asks the same of one key, with the same result. Only the first after
    each change, by whatever process, was needed. Misses and other failures count likewise. Polling is what is
    read at equal intervals of 10 ms or more; its period is shown.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, few_rows, filters_of
    from cli.tables.redundant import redundant_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
        noise=everything or None,
    )  # fmt: skip
    limit = few_rows(limit, target)
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        question.print(
            question.queries.redundant(min_count=min_count, polling=polling, limit=limit),
            partial(redundant_lines, zone=target.zone, color=target.color),
            noun="row",
            limit=limit,
        )
        question.say_noise()
