"""`regtrace report`: one file to hand over."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import (
    CapturePath,
    EndTime,
    Example,
    FailOnLoss,
    Force,
    KeyWords,
    ProcessTree,
    ProcessWord,
    StartTime,
    UnderWords,
    UserWord,
    Where,
)
from cli.output.console import console

__all__ = ["EXAMPLES", "report"]

EXAMPLES = (
    Example("regtrace report host.regtrace -o report.html", "one page for whoever has no regtrace"),
    Example("regtrace report host.regtrace --rules rules/ -o report.html", "with what Sigma rules say"),
    Example("regtrace report host.regtrace --tree setup.exe -o setup.html", "what one program and its children did"),
    Example("regtrace report host.regtrace -o report.md", "the same as Markdown, for a ticket"),
)  # fmt: skip


def report(
    capture: CapturePath,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", readable=False, metavar="FILE", help="The report: FILE.html or FILE.md."
        ),
    ],
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", metavar="PATH", help="Sigma rules: a file, folder or pattern. Repeatable."),
    ] = None,
    key: KeyWords = None,
    under: UnderWords = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    cards: Annotated[
        int,
        typer.Option(
            "--cards", metavar="N", min=0, help="Tell N keys write by write, those that changed most."
        ),
    ] = 40,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Pictures need the extra regtrace\\[plots].")
    ] = True,
    force: Force = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Write one file to hand over: a page, or Markdown.

    What the capture is, what its sources never say and what was lost; what to look at first, autostart points, and what
    Sigma rules say and cannot; the net changes and the file that takes them back; processes as a tree; what was busy,
    what failed; key by key each write with the data before and after; what was known of these keys at each moment; the
    sources with their SHA-256.

    The page (.html) searches, sorts and filters, and prints. It loads nothing and works from a disk or a mail. Its
    address keeps what you look at. A page is at most three megabytes; longer tables are cut, and say what is left out.
    """
    from cli.captures import check_keys, fail_if_lossy, opened, warn_of_process
    from cli.output.files import check_target, open_target
    from cli.questions import filters_of
    from tracer.errors import UsageError

    check_target(output, force=force)
    ending = output.suffix.lower()
    if ending not in (".html", ".md"):
        raise UsageError(f"unknown format of a report {output.name!r}; use .html or .md")
    from analysis.report.report import make_report

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
    with opened(capture) as source:
        check_keys(source, filters.keys, subtree=filters.subtree, user=user)
        warn_of_process(source, filters)
        made = make_report(
            source, filters, rules=rules, most_keys=cards, pictures=pictures and ending == ".html"
        )
        content = made.render(ending)
        with open_target(output, force=force) as stream:
            stream.write(content)
        console.say(f"wrote {output} ({len(content) / 1e6:,.1f} MB)")
        if pictures and ending == ".html" and not made.pictures:
            console.note(
                "without pictures: nothing is to draw, the extra is missing (pip install 'regtrace[plots]'), or a limit (ulimit -v) "
                "leaves it less than 80 GiB of addresses"
            )
        fail_if_lossy(source, asked=fail_on_loss)
