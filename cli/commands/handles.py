"""`regtrace handles`: lives of key objects: leaks, late closes, keys opened over and over."""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

from cli.options.common import (
    CapturePath,
    EndTime,
    Example,
    FailOnLoss,
    FewRows,
    Force,
    FormatOption,
    KeyWords,
    OutputFile,
    ProcessTree,
    ProcessWord,
    StartTime,
    UnderWords,
    UserWord,
    Where,
    Wide,
    Zone,
)
from cli.output.console import console

__all__ = ["EXAMPLES", "By", "handles"]

EXAMPLES = (
    Example("regtrace handles app.regtrace --problems", "handles that were not closed, or late"),
    Example("regtrace handles app.regtrace --by key --problems", "what leaks, or is opened over and over"),
    Example(
        r"regtrace handles app.regtrace --process setup.exe --under 'HKLM\SOFTWARE' -o handles.csv",
        "one program's handles below a key",
    ),
)


class By(StrEnum):
    """What one row is of."""

    HANDLE = "handle"
    KEY = "key"


def handles(
    capture: CapturePath,
    by: Annotated[
        By, typer.Option("--by", "-b", help="One row per handle, or per process and key.")
    ] = By.HANDLE,
    problems: Annotated[
        bool,
        typer.Option(
            "--problems", help="Only what was not closed, or late; by key: what leaks or is re-opened."
        ),
    ] = False,
    late: Annotated[
        str, typer.Option("--late", metavar="TIME", help="Idle time before a close that makes the close late.")
    ] = "10s",
    min_count: Annotated[
        int,
        typer.Option(
            "--min-count", metavar="N", min=1, help="By key: the smallest number that is a leak, or re-opening."
        ),
    ] = 10,
    key: KeyWords = None,
    under: UnderWords = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    limit: FewRows = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Print how long handles lived, and which were never closed.

    A handle is shown where an operation that fits opened, used or closed it. By key, growth counts the
    handles opened and never closed, brief those used for one read at most: --min-count of them are a leak, or
    re-opening over and over. Where events were lost, a close may be missing: such rows are marked.
    """
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, few_rows, filters_of
    from cli.tables.handles import handle_lines, handle_use_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    late_s = parse_duration(late)
    filters = filters_of(
        key=key,
        under=under,
        process=process,
        process_tree=process_tree,
        start=start,
        end=end,
        where=where,
        user=user,
    )
    limit = few_rows(limit, target)
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        query = question.queries.handles(
            by=by.value, late_s=late_s, min_count=min_count, problems=problems, limit=limit
        )
        lines = handle_lines if by is By.HANDLE else handle_use_lines
        count = question.print(
            query,
            partial(lines, zone=target.zone, color=target.color),
            noun="handle" if by is By.HANDLE else "row",
            limit=limit,
        )
        context = question.context
        if not count and context.span() is not None and context.engine.is_empty(context.relation("handles")):
            console.warn(
                f"{capture.name} has no handles: its source records no key objects, like every Procmon log"
            )
