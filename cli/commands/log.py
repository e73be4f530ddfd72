"""`regtrace log`: the change sets of a capture, newest first."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated

import typer

from cli.options.change_sets import GroupBy, GroupByOption, Pause
from cli.options.common import (
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
    Raw,
    StartTime,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.options.completion import complete_key, complete_process
from tracer.errors import UsageError

__all__ = ["EXAMPLES", "log"]

EXAMPLES = (
    Example("regtrace log setup.regtrace", "who changed the registry, and when, newest first"),
    Example(
        r"regtrace log setup.regtrace 'HKLM\SOFTWARE\Vendor' -p", "what changed below a key, before and after"
    ),
    Example(
        "regtrace log setup.regtrace --process-tree setup.exe --graph", "the processes behind each change set"
    ),
    Example(
        "regtrace log setup.regtrace --pause 10s -o log.csv", "longer pauses within a change set, as CSV"
    ),
)


def log(
    capture: CapturePath,
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            autocompletion=complete_key,
            help="Only what changed this key or keys below it; * and ** allowed, [*] is the letter *.",
        ),
    ] = None,
    value: ValueWord = None,
    process: Annotated[
        str | None,
        typer.Option(
            "--process",
            metavar="NAME|PID",
            autocompletion=complete_process,
            help="Only changes by processes of this image name (with or without .exe; * and ? allowed), or this id.",
        ),
    ] = None,
    process_tree: ProcessTree = None,
    operation: OperationWords = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    pause: Pause = "2s",
    by: GroupByOption = GroupBy.TREE,
    patch: Annotated[
        bool, typer.Option("--patch", "-p", help="Show what each change set did, before and after.")
    ] = False,
    graph: Annotated[
        bool, typer.Option("--graph", help="Show the processes of each change set as a tree.")
    ] = False,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print the change sets of a capture, newest first.

    A change set is what a program that began during the capture, and those it started, changed without a
    longer pause; a process that ran before is one by itself. Its name is made of what it did, so that the same capture
    always has the same names. Filters choose sets by their changes, and what is counted: keys and
    values are those that fit. With --patch other formats have a row for each key and value.
    """
    from analysis.versions.graph import branches_of
    from analysis.versions.patch import patch_of
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.output.console import console
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.log import below_log, graph_lines, log_lines, rows_by
    from cli.tables.patch import patch_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    if graph and target.format != "table":
        raise UsageError("--graph draws for people; leave it out, or write a table")
    filters = filters_of(
        under=[key] if key is not None else None, value=value, process=process, process_tree=process_tree, operation=operation,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    one_line = partial(log_lines, zone=target.zone, color=target.color)
    as_diff = partial(patch_lines, zone=target.zone, color=target.color)
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        found = question.queries.log(pause=parse_duration(pause), by=by.value, limit=limit).log()
        for sentence in found.doubts:
            console.note(sentence)
        patches = patch_of(question.context, found.members) if patch else None
        if patches is not None and target.format != "table":
            question.print(patches, as_diff, noun="change")
            return
        members = {one.name: one for one in found.members}
        of_sets = {} if patches is None else rows_by(patches, "change_set")

        def below(name: str, width: int | None) -> Iterable[str]:
            if graph:
                yield from graph_lines(list(branches_of(members[name])), width)
            if name in of_sets:
                yield from as_diff(of_sets[name], width)
            yield ""

        lines = partial(below_log, lines=one_line, below=below) if graph or patch else one_line
        question.print(found.rows, lines, noun="change set", limit=limit, is_page=graph or patch)
