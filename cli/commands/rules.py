"""`regtrace rules`: what Sigma rules say of a capture."""

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
    Limit,
    OperationWords,
    OutputFile,
    ProcessTree,
    ProcessWord,
    StartTime,
    UnderWords,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.options.completion import complete_level

__all__ = ["EXAMPLES", "rules"]

EXAMPLES = (
    Example("regtrace rules host.regtrace --rules sigma/rules/windows/registry", "every rule of a folder"),
    Example("regtrace rules hosts/ --rules rules/ --level high", "severe rules only, over many captures"),
    Example(
        "regtrace rules host.regtrace --rules rules/ --rule 'run keys' --unknown",
        "one rule, with the events of which cannot be told whether it matches",
    ),
    Example("regtrace rules host.regtrace --rules rules/ -o verdicts.parquet", "everything, as Parquet"),
)


def rules(
    capture: CapturePath,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            "--rules",
            metavar="PATH",
            help="Sigma rules: a .yml file, a folder (and all below), or a pattern such as 'rules/**/*.yml'. Repeatable.",
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            "--level", metavar="LEVEL", autocompletion=complete_level, help="Only rules of at least this level: informational, low, medium, high, critical."
        ),
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="WORD", help="Only rules with this text in their title or id.")
    ] = None,
    attempts: Annotated[
        bool, typer.Option("--attempts", help="Operations that failed count too, as attempts. Sysmon shows none.")
    ] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="List the events of which cannot be told whether a rule matches.")
    ] = False,
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
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Try Sigma rules about the registry on a capture.

    A rule matches, does not match, or cannot be told, where the capture lacks what decides it: data, the path of the
    program, the name of a key. What to record next time stands below. Hits are grouped by rule, the most severe
    first, with the data before, the parent process, and who opened the handle.

    Needs pySigma: pip install 'regtrace[sigma]'. Returns 3 where a rule matches, else 0.
    """
    from cli.options.zones import find_zone
    from cli.output.console import console
    from cli.output.destination import Output
    from cli.output.phrases import quoted
    from cli.questions import asking, filters_of
    from cli.tables.rules import rules_lines
    from tracer.errors import UsageError

    if not paths:
        raise UsageError(
            "--rules is missing: name a file or folder of Sigma rules, such as --rules sigma/rules/windows/registry"
        )
    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, operation=operation,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip
    with asking(capture, filters, target, fail_on_loss=fail_on_loss) as question:
        answer = question.queries.rules(
            paths, level=level, rule=rule, attempts=attempts, unknown=unknown, limit=limit
        )
        rows = answer.to_arrow()
        question.print(
            rows,
            partial(rules_lines, zone=target.zone, color=target.color),
            noun="row",
            limit=limit,
            is_page=True,
        )
        hits = [row for row in rows.slice(0, 1).to_pylist() if row["section"] == "hit"]
        if hits and hits[0]["key_id"] is not None and len(question.context.stores) == 1:
            name = Path(quoted(capture))
            console.hint(
                f"regtrace history {name} '#{hits[0]['key_id']}'",
                *(
                    [f"regtrace timeline {name} --process-tree {hits[0]['pid']}"]
                    if hits[0]["pid"] is not None
                    else []
                ),
            )
    if hits:
        raise typer.Exit(Exit.FINDINGS)
