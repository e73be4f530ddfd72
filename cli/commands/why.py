"""`regtrace why`: the chain of causes and effects of a write."""

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
    OutputFile,
    Raw,
    UserWord,
    Wide,
    Zone,
)
from cli.options.completion import complete_key

__all__ = ["EXAMPLES", "why"]

EXAMPLES = (
    Example(r"regtrace why app.regtrace 'HKLM\SOFTWARE\Vendor' Version", "the last write of a value"),
    Example(
        r"regtrace why app.regtrace 'HKLM\SOFTWARE\Vendor' Version --at 10:00:05", "the last one by a time"
    ),
    Example(
        r"regtrace why app.regtrace 'HKCU\Software\Vendor' Mode --user alice --depth 5 --graph why.html",
        "further away, with a page that draws it",
    ),
    Example(r"regtrace why app.regtrace 'HKLM\SOFTWARE\Vendor' '' -f jsonl", "the default value, as JSON"),
)


def why(
    capture: CapturePath,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            autocompletion=complete_key,
            help="The key: HKLM\\..., HKCU\\... or \\REGISTRY\\..., any case, or #ID.",
        ),
    ],
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="The value; '' or (default) is the default value.")
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="The last write by this time, written as for `timeline --from`. Default: of all."),
    ] = None,
    depth: Annotated[
        int, typer.Option("--depth", metavar="N", min=0, max=20, help="How many writes away the chain goes.")
    ] = 3,
    within: Annotated[
        str,
        typer.Option("--within", metavar="TIME", help="How far a read may be before a write, and a write after a read: 5s, 200ms."),
    ] = "5s",
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=1, max=50, help="Links of one kind at one operation, the heaviest.")
    ] = 5,
    graph: Annotated[
        Path | None,
        typer.Option("--graph", metavar="FILE", help="Also draw the chain: FILE.html or FILE.svg, which need no network."),
    ] = None,
    user: UserWord = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Print what led to a write, and what came of it, link by link.

    It tells of the last write or delete of the value: the process and its parents with their command lines; what
    that thread read before, and who had written that; who read the value afterwards, and what they wrote next.
    A chain crosses processes. Each link has the names of its rules, and a weight: an order to look in.

    A link is evidence and no proof. docs/causes.md has the rules, and what a chain cannot see.
    """
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.output.console import console
    from cli.output.destination import Output
    from cli.output.files import check_target
    from cli.questions import asking, filters_of
    from cli.tables.why import save_graph, why_lines
    from tracer.errors import UsageError

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    if graph is not None:
        if graph.suffix.lower() not in (".html", ".svg"):
            raise UsageError(f"unknown ending of {graph.name}; a graph is FILE.html or FILE.svg")
        check_target(graph, force=force)
    seconds = parse_duration(within)
    filters = filters_of(key=[key], value=value, end=at, user=user)
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        query = question.queries.why(depth=depth, within_s=seconds, most=most)
        rows = query.to_arrow()
        question.print(
            rows, partial(why_lines, zone=target.zone, color=target.color), noun="link", is_page=True
        )
        if not rows.num_rows:
            console.say(query.no_write)
        for sentence in query.sentences[1:]:  # the first stands below the page
            console.note(sentence)
        if graph is not None:
            save_graph(graph, rows, title=f"{key} : {value or '(default)'}", force=force)
            console.say(f"drew the chain in {graph}")
