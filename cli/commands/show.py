"""`regtrace show`: one change set as a diff, and as a .reg file or a script."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.options.change_sets import GroupBy, GroupByOption, Pause
from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    OutputFile,
    Raw,
    Wide,
    Zone,
)
from tracer.errors import UsageError

__all__ = ["EXAMPLES", "show"]

EXAMPLES = (
    Example("regtrace show setup.regtrace 06394ac7", "what a change set of `regtrace log` did: - old, + new"),
    Example("regtrace show setup.regtrace 0639 --reg again.reg --undo back.reg", "as files for regedit"),
    Example("regtrace show setup.regtrace 0639 --ps1 again.ps1", "as a script for PowerShell"),
    Example("regtrace show setup.regtrace 0639 -f csv", "a row for each key and value, as CSV"),
)


def show(
    capture: CapturePath,
    change_set: Annotated[
        str,
        typer.Argument(metavar="CHANGESET", help="The first digits of its name, as `regtrace log` shows it."),
    ],
    pause: Pause = "2s",
    by: GroupByOption = GroupBy.TREE,
    reg: Annotated[
        Path | None,
        typer.Option("--reg", metavar="FILE", help="Also write a .reg file that makes the changes."),
    ] = None,
    ps1: Annotated[
        Path | None,
        typer.Option("--ps1", metavar="FILE", help="Also write a PowerShell script that makes the changes."),
    ] = None,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="FILE", help="Also write a .reg or .ps1 file that takes them back."),
    ] = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print one change set as a diff: - old, + new.

    What was there before is told by the change itself, by an earlier write or read, or by a proof that there was
    nothing; else it is not known, and a line with ? says so. The files are those of `regtrace changes`, for this
    change set alone; each ends with a list of what it cannot do. Give --pause and --by as to `regtrace log`.
    """
    from analysis.filters import Filters
    from analysis.versions.change_sets import Grouping
    from analysis.versions.show import query
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.output.change_files import SCRIPT, check_change_files, write_change_file
    from cli.output.console import console
    from cli.output.destination import Output
    from cli.questions import asking
    from cli.tables.patch import patch_lines, with_head

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    wanted = [
        (path, which) for path, which in ((reg, "apply"), (ps1, "apply"), (undo, "undo")) if path is not None
    ]
    paths = [path for path, _ in wanted]
    check_change_files(paths, (output,), force=force, options="--reg, --ps1, --undo and --output")
    for option, path, ending in (("--reg", reg, ".reg"), ("--ps1", ps1, SCRIPT)):
        if path is not None and path.suffix.lower() != ending:
            raise UsageError(
                f"{option} {path.name}: a file of this kind ends with {ending}; give it that name"
            )
    with asking(capture, Filters(), target, fail_on_loss=fail_on_loss) as question:
        found = query(question.context, change_set, grouping=Grouping.of(parse_duration(pause), by.value))
        net = found.net_changes()
        for path, which in wanted:
            files = found.reg_files(net, powershell=path.suffix.lower() == SCRIPT)
            write_change_file(files, which, path, force=force)
        lines = partial(patch_lines, zone=target.zone, color=target.color)
        if target.format == "table":
            lines = partial(with_head, lines=lines, head=found.head(), zone=target.zone, color=target.color)
        question.print(found.rows(net), lines, noun="net change", is_page=True)
        for sentence in net.sentences:
            console.note(sentence)
