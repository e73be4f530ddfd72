"""`regtrace hot`: the busiest keys, processes and times; storms of misses."""

from enum import StrEnum
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
from cli.output.console import console
from cli.output.phrases import quoted

__all__ = ["EXAMPLES", "By", "Sort", "hot"]

EXAMPLES = (
    Example("regtrace hot app.regtrace", "the twenty busiest keys"),
    Example("regtrace hot app.regtrace --by second --every 100ms", "the busiest tenths of a second"),
    Example(
        "regtrace hot app.regtrace --by process --sort failures --operation read", "whose reads fail most"
    ),
    Example("regtrace hot app.regtrace --by storm --min-count 100", "who asks in vain, hundreds of times"),
)


class By(StrEnum):
    """The grouping; the words are those of analysis.answers.words.HOT_BY, and storm."""

    KEY = "key"
    PROCESS = "process"
    SECOND = "second"
    OPERATION = "operation"
    STATUS = "status"
    STORM = "storm"


class Sort(StrEnum):
    """Orders of rows; the words are those of analysis.answers.words.HOT_SORTS."""

    EVENTS = "events"
    READS = "reads"
    WRITES = "writes"
    OPENS = "opens"
    CREATED = "created"
    DELETES = "deletes"
    FAILURES = "failures"
    NOT_FOUND = "not_found"
    TIME_SPENT = "time_spent_ns"
    FIRST_TIME = "first_time"


def hot(
    capture: CapturePath,
    by: Annotated[By, typer.Option("--by", "-b", help="The grouping of rows.")] = By.KEY,
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="The order; storms come by misses.")] = Sort.EVENTS,
    every: Annotated[
        str, typer.Option("--every", metavar="TIME", help="By second: the width of a step, such as 100ms or 1m.")
    ] = "1s",
    gap: Annotated[
        str, typer.Option("--gap", metavar="TIME", help="By storm: the longest pause between two misses.")
    ] = "1s",
    min_count: Annotated[int, typer.Option("--min-count", metavar="N", min=1, help="By storm: the fewest misses.")] = 20,
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
    """Print the busiest keys, processes or seconds, or storms of misses.

    Shares are of all operations that fit. A rate is over the time between the first and the last operation
    of a row, by second over the step. A storm is a run in which one process asks for keys and values that do
    not exist (NAME NOT FOUND) without a longer pause than --gap.
    """
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, few_rows, filters_of
    from cli.tables.hot import hot_lines, storm_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    every_s, gap_s = parse_duration(every), parse_duration(gap)
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
        noise=everything or None,
    )  # fmt: skip
    limit = few_rows(limit, target)
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        query = question.queries.hot(
            by=by.value, sort=sort.value, every_s=every_s, gap_s=gap_s, min_count=min_count, limit=limit
        )
        lines = storm_lines if by is By.STORM else hot_lines
        count = question.print(
            query,
            partial(lines, zone=target.zone, color=target.color),
            noun="storm" if by is By.STORM else "row",
            limit=limit,
        )
        question.say_noise()
        if by is By.STORM and not count:
            console.hint(f"regtrace hot {quoted(capture)} --by storm --min-count 2 --gap 10s")
