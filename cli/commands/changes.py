"""`regtrace changes`: net changes, and .reg files that make them again or take them back."""

from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

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
    Raw,
    StartTime,
    UnderWords,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.output.console import console

__all__ = ["EXAMPLES", "By", "Fold", "changes"]

EXAMPLES = (
    Example("regtrace changes setup.regtrace --process setup.exe", "what an installer left behind"),
    Example(
        r"regtrace changes setup.regtrace --under 'HKLM\SOFTWARE' --reg apply.reg --undo undo.reg",
        "the same below a key, as files for regedit: to make it again, and to take it back",
    ),
    Example(
        "regtrace changes setup.regtrace --process-tree setup.exe --by process --undo undo.ps1",
        "what it and its children changed, by process, and a script that takes it back",
    ),
    Example("regtrace changes app.regtrace --from +60s --to +90s -f csv", "the net change of half a minute"),
)


class By(StrEnum):
    """The grouping of rows on a terminal."""

    KEY = "key"
    PROCESS = "process"


class Fold(StrEnum):
    """What is left out on request."""

    NOISE = "noise"


def changes(
    capture: CapturePath,
    key: KeyWords = None,
    under: UnderWords = None,
    value: ValueWord = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    operation: OperationWords = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    by: Annotated[
        By, typer.Option("--by", "-b", help="On a terminal: one tree of keys, or one for each process.")
    ] = By.KEY,
    fold: Annotated[
        Fold | None,
        typer.Option(
            "--fold",
            help="noise: leave out where Windows notes what a user did (MUI caches, UserAssist, ...).",
        ),
    ] = None,
    reg: Annotated[
        Path | None,
        typer.Option("--reg", metavar="FILE", help="Also write a .reg or .ps1 file that makes the changes."),
    ] = None,
    undo: Annotated[
        Path | None,
        typer.Option("--undo", metavar="FILE", help="Also write a .reg or .ps1 file that takes them back."),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Also write the changes as tables in Markdown."),
    ] = None,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print the net changes, and write .reg files that undo them.

    A net change is a value or key that ended otherwise than it began; written and put back is none. The
    first write itself, an earlier write or read, or a proof that there was nothing tells what was there before;
    "set" means that nobody saw it. --process asks for the changes of some programs;
    where others changed the same later, a note says so.

    The files are for regedit (version 5.00) or, where their names end with .ps1, for PowerShell, and for the
    machine that was traced. Each ends with a list of what it cannot do, which is also said here: data never seen
    or cut, and names that no such file can hold.
    """
    from analysis.questions.changes import markdown_text, of_changes, reg_files
    from cli.options.zones import find_zone
    from cli.output.change_files import SCRIPT, check_change_files, write_change_file
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.changes import change_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    check_change_files(
        (reg, undo), (markdown, output), force=force, options="--reg, --undo, --markdown and --output"
    )
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    writes_files = reg is not None or undo is not None
    asked = of_changes(filters) if writes_files else filters
    with asking(capture, asked, target, fail_on_loss=fail_on_loss) as question:
        net = question.queries.changes(fold=None if fold is None else fold.value).net_changes()
        of_user = replace(question.filters, user=filters.user)
        wanted = [(path, which) for path, which in ((reg, "apply"), (undo, "undo")) if path is not None]
        files = {
            ending: reg_files(question.context, net, of_user, powershell=ending == SCRIPT)
            for ending in {path.suffix.lower() for path, _ in wanted}
        }
        for path, which in wanted:
            write_change_file(files[path.suffix.lower()], which, path, force=force)
        if markdown is not None:
            text = markdown_text(question.context, net, question.filters)
            _write_markdown(text, markdown, force=force)
        rows = net.rows if limit is None else net.rows.slice(0, limit)
        lines = partial(change_lines, zone=target.zone, color=target.color, by_process=by is By.PROCESS)
        question.print(rows, lines, noun="net change", limit=limit)
        for sentence in net.sentences:
            console.note(sentence)


def _write_markdown(text: str, path: Path, *, force: bool) -> None:
    from cli.output.files import open_target

    with open_target(path, force=force) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))
    console.say(f"wrote {path}")
