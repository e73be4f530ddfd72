"""`regtrace blame`: who wrote what stands in a tree of keys."""

from functools import partial
from typing import Annotated

import typer

from cli.options.change_sets import GroupBy, GroupByOption, Pause
from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    Limit,
    OutputFile,
    Raw,
    UserWord,
    ValueWord,
    Wide,
    Zone,
)
from cli.options.completion import complete_key

__all__ = ["EXAMPLES", "blame"]

EXAMPLES = (
    Example(r"regtrace blame setup.regtrace 'HKLM\SOFTWARE\Vendor'", "who wrote each value below a key"),
    Example(
        r"regtrace blame setup.regtrace 'HKLM\SOFTWARE\Vendor' --at +30s --deleted",
        "the same half a minute after the start, with what was gone",
    ),
    Example(r"regtrace blame setup.regtrace 'HKCU\**\Run' -f csv", "of every user's Run keys, as CSV"),
)


def blame(
    capture: CapturePath,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            autocompletion=complete_key,
            help="This key and keys below it; * and ** allowed, [*] is the letter *.",
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The time: 2026-11-22T10:00:00Z, +90s after the start, -5m before the end. Default: the end.",
        ),
    ] = None,
    value: ValueWord = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Show what was deleted or absent too.")] = False,
    user: UserWord = None,
    pause: Pause = "2s",
    by: GroupByOption = GroupBy.TREE,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print who wrote what stands in a tree of keys, with its change set.

    Of each key and value: the last process that was seen to write it, when, and what is known of it at that time; of a key
    the last change of itself or of one of its values. "(not seen)" is what nobody was seen to write: a read tells of it,
    or told other data than the last write. Other formats say how it is known (evidence). A renamed key keeps its past.
    """
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.blame import blame_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = filters_of(under=[key], value=value, end=at, user=user)
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        rows = question.queries.blame(pause=parse_duration(pause), by=by.value, deleted=deleted, limit=limit)
        question.print(
            rows, partial(blame_lines, zone=target.zone, color=target.color), noun="row", limit=limit
        )
