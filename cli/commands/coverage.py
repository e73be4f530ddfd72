"""`regtrace coverage`: which source reported which operations."""

from functools import partial

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

__all__ = ["EXAMPLES", "coverage"]

EXAMPLES = (
    Example("regtrace coverage host.regtrace", "what each source saw, and what only one of them saw"),
    Example(
        r"regtrace coverage host.regtrace --under 'HKLM\SOFTWARE' --operation write",
        "who saw the writes below a key",
    ),
    Example("regtrace coverage host.regtrace --status success -f csv", "what succeeded, as CSV"),
)


def coverage(
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
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print which source reported which operations.

    One row per operation and source (ETW's providers, Procmon, Sysmon, ...): how many operations it reported, how
    many of them another source reported too, and how many it alone. Then of how many the capture knows the
    key's name, the process, the data, the data before, and the duration, whichever source said it.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.coverage import coverage_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        question.print(
            question.queries.coverage(limit=limit),
            partial(coverage_lines, zone=target.zone, color=target.color),
            noun="row",
            limit=limit,
        )
