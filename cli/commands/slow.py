"""`regtrace slow`: one page about the time that a program spends in the registry."""

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

__all__ = ["EXAMPLES", "slow"]

EXAMPLES = (
    Example(
        "regtrace slow app.regtrace --process app.exe", "what a program's time in the registry goes into"
    ),
    Example("regtrace slow setup.regtrace --tree setup.exe", "a program and everything that it started"),
    Example("regtrace slow app.regtrace --process app.exe --from +2s --to +4s", "the same of two seconds"),
    Example("regtrace slow app.regtrace --process app.exe -o slow.csv", "every row, for a spreadsheet"),
)


def slow(
    capture: CapturePath,
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=1, help="How many keys, reads and stretches of time to list.")
    ] = 10,
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
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Show a program's time in the registry, and what need not be.

    One page: time in the registry of all the time, by operation and by key; reads that told nothing new
    (repeated or by the clock) and misses, which need not be; the worst stretches of time; and a histogram of
    durations. Where the source records no durations, as ETW, counts decide what is worst.
    """
    from dataclasses import replace

    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.slow import slow_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation,
        status=status, start=start, end=end, where=where, user=user,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        others = replace(filters, process=None, process_tree=None)
        tree = None if process_tree is None else f"{process_tree} and what it started"
        asked = ", of these ".join(filter(None, (tree, process))) or "every process"
        what = f"{asked} in {capture.name}" + (f", {others}" if others.stated() else "")
        question.print(
            question.queries.slow(most=most, limit=limit),
            partial(slow_lines, what=what, zone=target.zone, color=target.color),
            noun="row",
            limit=limit,
            is_page=True,
        )
