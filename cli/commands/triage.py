"""`regtrace triage`: what to look at first."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.exits import Exit
from cli.options.common import (
    CapturePath,
    EndTime,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    KeyWords,
    OutputFile,
    ProcessTree,
    ProcessWord,
    StartTime,
    UnderWords,
    UserWord,
    Where,
    Wide,
    Zone,
)

__all__ = ["EXAMPLES", "triage"]

EXAMPLES = (
    Example("regtrace triage host.regtrace", "autostart points and net changes, the heaviest first"),
    Example("regtrace triage host.regtrace --rules sigma/rules/windows/registry", "with Sigma rules"),
    Example(
        r"regtrace triage host.regtrace --policy C:\Windows\System32\GroupPolicy",
        "with who overwrote policies",
    ),
    Example("regtrace triage hosts/ --limit 50", "many captures: what only one of the hosts has weighs more"),
    Example("regtrace triage host.regtrace -o triage.csv", "every row, as CSV"),
)
_FEW = 10  # on a terminal: one screen


def triage(
    capture: CapturePath,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", metavar="PATH", help="Sigma rules: a file, folder or pattern. Repeatable."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option("--policy", metavar="DIR", help="A folder with registry.pol and .admx files of group policies."),
    ] = None,
    key: KeyWords = None,
    under: UnderWords = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    start: StartTime = None,
    end: EndTime = None,
    where: Where = None,
    user: UserWord = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help=f"Show the first N rows. [default: {_FEW} in a table, else all]"),
    ] = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Print what to look at first: autostarts, rules, policies, changes.

    One row for each value that a process touched, the heaviest first. The weight is the sum of the weights of its
    reasons, which stand beside it; `regtrace list weights` has the table. A question mark is what nobody saw.

    A weight is an order to look in, and no verdict. Returns 3 where an autostart point, a rule or a policy is
    touched, else 0.
    """
    import pyarrow as pa

    from cli.options.zones import find_zone
    from cli.output.console import console
    from cli.output.destination import Output
    from cli.questions import asking, filters_of
    from cli.tables.triage import triage_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
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
    few = _FEW if limit is None and target.format == "table" else limit
    with asking(capture, filters, target) as question:
        query = question.queries.triage(rules=rules, policy=policy)
        rows = query.to_arrow()
        is_finding = [word != "changes" for word in rows.column("found_by").to_pylist()]
        found = rows.filter(is_finding)
        shown = rows if few is None else rows.slice(0, few)
        if (
            target.format == "table" and few is not None
        ):  # the changes of which nothing else is known are one line
            rest = rows.filter([not one for one in is_finding])
            shown = pa.concat_tables([found.slice(0, few), rest])
        question.print(
            shown, partial(triage_lines, zone=target.zone, color=target.color), noun="row", limit=limit
        )
        if few is not None and found.num_rows > few:
            console.say(
                f"the first {few:,} of {found.num_rows:,} findings; --limit N shows more, -o FILE writes all"
            )
        for sentence in query.sentences:
            console.note(sentence)
        is_complete = question.capture.manifest.complete
    if found.num_rows:
        raise typer.Exit(Exit.FINDINGS)
    if fail_on_loss and not is_complete:
        raise typer.Exit(Exit.LOSS)
