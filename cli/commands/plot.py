"""`regtrace plot`: a chart of a capture."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import AllRows, CapturePath, Example, FailOnLoss, Force, ProcessTree, UserWord, Where
from cli.options.completion import complete_key, complete_operation, complete_process, complete_status
from cli.output.console import console

__all__ = ["EXAMPLES", "Kind", "plot"]

EXAMPLES = (
    Example("regtrace plot activity app.regtrace -o activity.html", "operations per second, to point at"),
    Example(
        r"regtrace plot timeline app.regtrace --key 'HKLM\SOFTWARE\Vendor' --subtree -o vendor.png",
        "who did what below a key",
    ),
    Example(
        r"regtrace plot values app.regtrace --key 'HKLM\SOFTWARE\Vendor' --value Version -o version.svg",
        "what a value held",
    ),
    Example(
        r"regtrace plot tree app.regtrace --key 'HKLM\SYSTEM' -o system.html", "where the operations are"
    ),
)


class Kind(StrEnum):
    """The chart; the words are those of analysis.charts.figures.PICTURES (a test compares them)."""

    TIMELINE = "timeline"
    ACTIVITY = "activity"
    HANDLES = "handles"
    VALUES = "values"
    TREE = "tree"


def plot(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", help="timeline, activity, handles, values or tree.")
    ],
    capture: CapturePath,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", readable=False, metavar="FILE", help="The picture: FILE.html, .png or .svg."
        ),
    ],
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            "-k",
            metavar="KEY",
            autocompletion=complete_key,
            help="The key; * and ** allowed. Repeatable.",
        ),
    ] = None,
    subtree: Annotated[
        bool, typer.Option("--subtree", help="Keys below KEY as well; always so for tree.")
    ] = False,
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="NAME", help="Only this value; * and ? allowed, '' is the default."),
    ] = None,
    process: Annotated[
        str | None,
        typer.Option(
            "--process",
            "-p",
            metavar="NAME|PID",
            autocompletion=complete_process,
            help="Only processes of this name, or this id.",
        ),
    ] = None,
    process_tree: ProcessTree = None,
    operation: Annotated[
        str | None,
        typer.Option(
            "--operation",
            metavar="WORDS",
            autocompletion=complete_operation,
            help="Only these, separated by commas.",
        ),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar="WORDS",
            autocompletion=complete_status,
            help="Only these results, separated by commas.",
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="First time, as in `regtrace timeline`.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Last time, written as for --from.")
    ] = None,
    where: Where = None,
    user: UserWord = None,
    everything: AllRows = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", min=1, help="Marks, steps in time, lives, or levels of the tree."
        ),
    ] = None,
    force: Force = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Draw a capture as a page that needs no network, or as an image.

    KIND is timeline (each operation as a mark, a row a process, failures as crosses), activity (operations
    per second), handles (lives of key objects as bars), values (what values held), or tree (a subtree, as
    high as it is busy). Times where something was lost are shaded. Needs the extra: pip install
    'regtrace[plots]'.

    A page (.html) zooms, moves, hides by legend and searches, and lists the rows behind its marks. All pictures of a
    capture count from its first event. The whole time is always shown: more than --limit operations (default 2,000)
    of a timeline are bars, which open into marks where a page is zoomed; of more writes (2,000) values are right at
    the end of each of as many stretches of time, and the picture says so.
    """
    from analysis.filters import Filters
    from cli.captures import check_keys, fail_if_lossy, opened, warn_of_process
    from cli.output.files import check_target, open_target
    from cli.output.phrases import plural

    # Before the extra is looked for: a mistake in the command line is said first.
    check_target(output, force=force)
    _check_ending(output)
    from analysis.charts.figures import PICTURES

    filters = Filters(
        key=key or None, subtree=subtree, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user, noise=everything or None,
    )  # fmt: skip
    with opened(capture) as source:
        check_keys(source, key, subtree=subtree or kind is Kind.TREE, user=user)
        warn_of_process(source, filters)
        picture = PICTURES[kind.value](source, filters, limit=limit)
        content = picture.render(output.suffix.lower())
        with open_target(output, force=force) as stream:
            stream.write(content)
        console.say(f"wrote a picture of {plural(picture.rows, 'row')} to {output}")
        for note in picture.notes:
            console.say(f"  {note}")
        fail_if_lossy(source, asked=fail_on_loss)


def _check_ending(output: Path) -> None:
    from tracer.errors import UsageError

    if output.suffix.lower() not in (".html", ".png", ".svg"):
        raise UsageError(f"unknown picture format of {output.name!r}; use .html, .png or .svg")
