"""`regtrace who`: which processes touched a key or a value."""

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

__all__ = ["EXAMPLES", "who"]

EXAMPLES = (
    Example(r"regtrace who app.regtrace 'HKLM\SOFTWARE\Vendor' Version", "who wrote, read or missed a value"),
    Example(
        r"regtrace who app.regtrace 'HKLM\**\CurrentVersion\Run' --each",
        "by key and value, where a pattern fits several",
    ),
    Example(r"regtrace who app.regtrace HKLM --subtree -o who.csv", "every process below HKLM, as CSV"),
)


def who(
    capture: CapturePath,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            autocompletion=complete_key,
            help="The key: HKLM\\... or \\REGISTRY\\..., any case; * and ** allowed, [*] is the letter *. All keys where not given.",
        ),
    ] = None,
    value: Annotated[
        str | None,
        typer.Argument(
            metavar="VALUE", help="Only this value of the key; * and ? allowed, '' is the default value."
        ),
    ] = None,
    subtree: Subtree = False,
    each: Annotated[
        bool, typer.Option("--each", help="One row per key, value and process, instead of one per process.")
    ] = False,
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
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print which processes wrote, read, opened or missed a key.

    One row per process, those that changed most first. Counts are of operations tried or done, the same in every
    question (`regtrace list operations`, docs/questions.md); failures are among them. A wide table shows each
    process's last change; CSV, JSONL and Parquet carry it always, and command lines.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.who import who_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = filters_of(
        key=[key] if key is not None and not subtree else None,
        under=[key] if key is not None and subtree else None,
        value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
        noise=everything or None,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        question.print(
            question.queries.who(each=each, limit=limit),
            partial(who_lines, zone=target.zone, color=target.color),
            noun="row",
            limit=limit,
        )
        question.say_noise()
