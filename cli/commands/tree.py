"""`regtrace tree`: operations on each key and on all keys below it."""

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

__all__ = ["EXAMPLES", "Sort", "tree"]

EXAMPLES = (
    Example("regtrace tree app.regtrace", "which parts of the registry are busy"),
    Example(
        r"regtrace tree app.regtrace --under 'HKLM\SOFTWARE\Microsoft' --depth 3", "one part, more closely"
    ),
    Example(
        "regtrace tree app.regtrace --process setup.exe --operation write --sort writes --limit 20",
        "where an installer writes",
    ),
)


class Sort(StrEnum):
    """Orders of rows; the words are those of analysis.answers.words.TREE_SORTS."""

    PATH = "path"
    EVENTS = "events"
    READS = "reads"
    WRITES = "writes"
    OPENS = "opens"
    CREATED = "created"
    DELETES = "deletes"
    FAILURES = "failures"
    NOT_FOUND = "not_found"
    KEYS = "keys"
    TIME_SPENT = "time_spent_ns"


def tree(
    capture: CapturePath,
    under: UnderWords = None,
    depth: Annotated[
        int, typer.Option("--depth", "-d", metavar="N", min=0, help="Levels below KEY; the last counts all below it.")
    ] = 2,
    sort: Annotated[
        Sort, typer.Option("--sort", "-s", help="The order: path is a tree, all others show the largest first.")
    ] = Sort.PATH,
    key: KeyWords = None,
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
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Print how much was done to each key and to all keys below it.

    Counts are of the key and everything below it, own of the key alone; shares are of all that is shown.
    Keys and processes are how many different ones. --key counts the operations on these keys only, in the
    tree of all; --under begins the tree there.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.tree import tree_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
        noise=everything or None,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        question.print(
            question.queries.tree(depth=depth, sort=sort.value, limit=limit),
            partial(tree_lines, as_tree=sort is Sort.PATH, zone=target.zone, color=target.color),
            noun="key",
            limit=limit,
        )
        question.say_noise()
