"""`regtrace timeline`: events in order."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    Limit,
    OperationWords,
    OutputFile,
    ProcessTree,
    Raw,
    StatusWords,
    Subtree,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.options.completion import complete_key, complete_process
from cli.output.console import console
from cli.output.phrases import quoted

__all__ = ["EXAMPLES", "timeline"]

EXAMPLES = (
    Example(r"regtrace timeline app.regtrace --key 'HKLM\SOFTWARE\Vendor'", "one key"),
    Example(
        r"regtrace timeline app.regtrace --key 'HKLM\**\CurrentVersion\Run*' --operation write",
        "who changed autostarts",
    ),
    Example(
        r"regtrace timeline app.regtrace --key 'HKU' --subtree --status error",
        "everything that failed below HKU",
    ),
    Example(
        "regtrace timeline app.regtrace --process setup.exe --from +10s --to +20s",
        "ten seconds of one process",
    ),
    Example(r"regtrace timeline app.regtrace --key 'HKLM\SYSTEM' --subtree -o system.parquet", "as Parquet"),
    Example(
        'regtrace timeline app.regtrace --where "data_size > 4096" -f jsonl | jq .key',
        "by a condition, as JSON lines",
    ),
)


def timeline(
    capture: CapturePath,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="KEY", autocompletion=complete_key,
                     help="The key: HKLM\\..., HKCU\\... or \\REGISTRY\\..., any case. * stands for any letters "
                     "of a component, ** for any components, [*] for the letter *. Repeatable."),
    ] = None,
    subtree: Subtree = False,
    value: ValueWord = None,
    process: Annotated[
        str | None,
        typer.Option("--process", "-p", metavar="NAME|PID", autocompletion=complete_process,
                     help="Only processes of this image name (* and ? allowed), or this id."),
    ] = None,
    process_tree: ProcessTree = None,
    operation: OperationWords = None,
    status: StatusWords = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME",
                     help="First time: 2026-11-22T10:00:00Z, 10:00:00 of the capture's day, +90s after the start, -5m before the end."),
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Last time, written as for --from.")
    ] = None,
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
) -> None:  # fmt: skip
    """Print what happened to keys and values, oldest first.

    Every option narrows; without any, everything is printed. The table shows time, process (its id),
    operation, value, result and data; a note says where a key's name is not certain. CSV, JSONL and
    Parquet carry all columns of the view `events` (regtrace list columns).
    """
    from analysis.engine.columns import EVENT_COLUMNS, SHOWN_COLUMNS
    from analysis.filters import Filters
    from cli.captures import (
        check_keys,
        fail_if_lossy,
        in_zone,
        opened,
        print_rows,
        timeline_reader,
        warn_of_process,
    )
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.tables.timeline import timeline_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = Filters(
        key=key or None, subtree=subtree, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    with opened(capture) as source:
        check_keys(source, key, subtree=subtree, user=user)
        warn_of_process(source, filters)
        filters = in_zone(source, filters, target.zone)
        # A table makes its cells of the data itself.
        shown = (*EVENT_COLUMNS, "data_meaning", "previous_meaning")
        columns = shown if target.format == "table" else source.event_columns
        listed = [name for name in source.event_columns if name in columns or name not in SHOWN_COLUMNS]
        rows = timeline_reader(source, filters, limit=limit, columns=listed)
        count = print_rows(
            rows,
            target,
            partial(timeline_lines, zone=target.zone, color=target.color),
            noun="event",
            limit=limit,
            asked=(source, filters),
        )
        _hint(capture, key, count)
        fail_if_lossy(source, asked=fail_on_loss)


def _hint(capture: Path, key: list[str] | None, count: int) -> None:
    if key and count:
        command_line = f"regtrace timeline {quoted(capture)} --key {quoted(key[0])}"
        console.hint(f"{command_line} -o timeline.csv", f"{command_line} --operation write --wide")
    elif not count:
        console.hint(f"regtrace keys {quoted(capture)} --limit 20")
