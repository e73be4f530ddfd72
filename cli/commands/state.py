"""`regtrace state`: keys and values as of a time."""

from functools import partial
from typing import Annotated

import typer

from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    KeyWords,
    Limit,
    OutputFile,
    ProcessTree,
    ProcessWord,
    Raw,
    UnderWords,
    UserWord,
    Where,
    Wide,
    Zone,
)
from cli.output.console import console

__all__ = ["EXAMPLES", "state"]

EXAMPLES = (
    Example(
        r"regtrace state app.regtrace --at +30s --under 'HKLM\SOFTWARE\Vendor'",
        "a key and what is below it, thirty seconds after the start",
    ),
    Example(
        r"regtrace state app.regtrace --key 'HKLM\**\Run' --value '*'", "the values of autostarts, at the end"
    ),
    Example(
        r"regtrace state app.regtrace --at 2026-11-22T10:00:00Z -o before.parquet", "everything, as Parquet"
    ),
)


def state(
    capture: CapturePath,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The time: 2026-11-22T10:00:00Z, +90s after the start, -5m before the end. Default: the end.",
        ),
    ] = None,
    key: KeyWords = None,
    under: UnderWords = None,
    value: Annotated[
        str | None,
        typer.Option(
            "--value",
            metavar="NAME",
            help="Only values of this name, no keys; * and ? allowed, '' or (default) is the default value.",
        ),
    ] = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
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
    """Print what was known of keys and values at a time.

    A value is known by a write or by a read; or it is absent (asked for, and not found) or deleted; or it
    is unknown, where events may have been lost since it was known, and what it held then is shown. What
    no event up to that time mentions is not shown. --process and --where choose by the event that is the evidence.
    """
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.state import state_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = filters_of(
        key=key,
        under=under,
        value=value,
        process=process,
        process_tree=process_tree,
        end=at,
        where=where,
        user=user,
    )
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        span, end_ns = question.context.span(), question.context.interval(filters)[1]
        if span is not None and end_ns is not None and end_ns > span[1]:
            console.note("--at is after the last event; this is the state at the end")
        lines = partial(state_lines, zone=target.zone, color=target.color)
        question.print(question.queries.state(limit=limit), lines, noun="row", limit=limit)
