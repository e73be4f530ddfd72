"""`regtrace timeline`: what happened, in order."""

from pathlib import Path
from typing import Annotated

import typer

from cli.console import console
from cli.options import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    Limit,
    OutputFile,
    Where,
    Wide,
    Zone,
)
from cli.words import plural, quoted

__all__ = ["EXAMPLES", "timeline"]

EXAMPLES = (
    Example(r"regtrace timeline app.regtrace --key 'HKLM\SOFTWARE\Vendor'", "one key"),
    Example(r"regtrace timeline app.regtrace --key 'HKLM\*\CurrentVersion\Run*' --operation write", "who changed autostarts"),
    Example(r"regtrace timeline app.regtrace --key 'HKU' --subtree --status error", "everything that failed below HKU"),
    Example("regtrace timeline app.regtrace --process setup.exe --from +10s --to +20s", "ten seconds of one process"),
    Example(r"regtrace timeline app.regtrace --key 'HKLM\SYSTEM' --subtree -o system.parquet", "as Parquet"),
    Example("regtrace timeline app.regtrace --where \"data_size > 4096\" -f jsonl | jq .key", "by a condition, as JSON lines"),
)


def timeline(
    capture: CapturePath,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="KEY",
                     help="The key: HKLM\\..., \\REGISTRY\\..., any case, * and ? allowed. May be given several times."),
    ] = None,
    subtree: Annotated[bool, typer.Option("--subtree", help="Keys below KEY as well.")] = False,
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="NAME", help="Only this value; * and ? allowed; '' is the default value."),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option("--process", "-p", metavar="NAME|PID", help="Only processes of this image name (* and ? allowed) or id."),
    ] = None,
    operation: Annotated[
        str | None,
        typer.Option("--operation", metavar="WORDS", help="Only these, separated by commas: set, delete, read, write ... "
                     "(regtrace list operations)."),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="WORDS", help="Only these results: success, error, a name, a code "
                     "(regtrace list statuses)."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="First time: 2026-11-22T10:00:00Z, +90s after the start, -5m before the end."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Last time, written likewise.")] = None,
    where: Where = None,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Print what happened to keys and values, oldest first.

    Every option narrows; without any, everything is printed. The table shows time, process (its id), operation,
    value, result and data; a note says where a key's name is not certain. CSV, JSONL and Parquet carry all columns of
    the view `events` (regtrace list columns).
    """
    from cli.captures import finish, opened
    from cli.console import has_color
    from cli.output import Output, write_rows
    from cli.zones import find_zone

    import sys

    zone = find_zone(tz)
    target = Output.of(output, format, force=force, wide=wide, zone=zone)
    with opened(capture) as source:
        rows = source.timeline_rows(
            key=key, subtree=subtree, value=value, process=process, operation=operation, status=status,
            start=start, end=end, where=where, limit=limit,
        )  # fmt: skip
