"""`regtrace diff`: two captures, or two intervals of one, compared by meaning; or where two runs part first."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    KeyWords,
    Limit,
    OutputFile,
    ProcessTree,
    ProcessWord,
    Raw,
    UnderWords,
    UserWord,
    ValueWord,
    Where,
    Wide,
    Zone,
)
from cli.output.console import console
from cli.output.phrases import quoted
from tracer.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from analysis.capture import Capture
    from analysis.filters import Filters

__all__ = ["EXAMPLES", "diff"]

EXAMPLES = (
    Example("regtrace diff good.regtrace bad.regtrace --process setup.exe", "one installer on two machines"),
    Example(
        "regtrace diff good.regtrace bad.regtrace --fold sid,controlset --only values",
        "values only, whoever the user is",
    ),
    Example(
        "regtrace diff works.regtrace fails.regtrace --first --process app.exe",
        "where the run that fails parts from the one that works, and what it had read",
    ),
    Example(
        "regtrace diff app.regtrace --first --a-process 1234 --b-process 5678", "two processes of one capture"
    ),
    Example("regtrace diff app.regtrace --a-to +10s --b-from +10s", "before and after, in one capture"),
    Example(
        "regtrace diff a.regtrace b.regtrace -q && echo alike", "in a script: exit code 3 if they differ"
    ),
)


def diff(
    capture: CapturePath,
    other: Annotated[
        Path | None,
        typer.Argument(metavar="OTHER", help="The capture to compare with. CAPTURE itself where not given."),
    ] = None,
    key: KeyWords = None,
    under: UnderWords = None,
    value: ValueWord = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    where: Where = None,
    user: UserWord = None,
    a_start: Annotated[
        str | None,
        typer.Option("--a-from", metavar="TIME", help="First time in CAPTURE: +90s after its start, or ISO 8601."),
    ] = None,
    a_end: Annotated[str | None, typer.Option("--a-to", metavar="TIME", help="Last time in CAPTURE.")] = None,
    b_start: Annotated[
        str | None, typer.Option("--b-from", metavar="TIME", help="First time in OTHER.")
    ] = None,
    b_end: Annotated[str | None, typer.Option("--b-to", metavar="TIME", help="Last time in OTHER.")] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            "--fold", metavar="WORDS",
            help="Parts of names to ignore: sid, guid, controlset, wow64, or all. Names that do not "
            "pair one to one stay apart. noise: leave out where Windows notes what a user did. With --first: "
            "sid,controlset where not given.",
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="WORDS",
            help="Compare only these: values, keys, processes, operations. Default: all but operations.",
        ),
    ] = None,
    counts: Annotated[
        bool, typer.Option("--counts", help="Different numbers of operations are differences too.")
    ] = False,
    first: Annotated[
        bool,
        typer.Option(
            "--first", help="Show where the operations of both part first, and what each side had read by then."
        ),
    ] = False,
    a_process: Annotated[
        str | None,
        typer.Option("--a-process", metavar="NAME|PID", help="With --first: the process of CAPTURE."),
    ] = None,
    b_process: Annotated[
        str | None,
        typer.Option("--b-process", metavar="NAME|PID", help="With --first: the process of OTHER, or of CAPTURE too."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", metavar="N", min=0, help="With --first: operations to show before and after. Default: 5."),
    ] = None,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    raw: Raw = False,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Compare two captures, or two intervals of one.

    Values differ where their last known contents do, or where one side alone changed them; keys where one
    side alone made or deleted them, or they are there on one side only; processes where one side alone has
    them. Returns 3 where there are differences, else 0.

    --first aligns the operations of both sides one by one, thread by thread, whatever their times, ids and
    addresses, and shows the first that one side does and the other does not, or that ends otherwise. Reads
    before it that returned other data may be why: the nearest is listed first. Returns 3 where they part.
    """
    if first:
        if only is not None or counts:
            raise UsageError("--only and --counts compare the registry; with --first operations are aligned")
    elif (a_process, b_process, context) != (None, None, None):
        raise UsageError("--a-process, --b-process and --context need --first")
    from contextlib import ExitStack

    from analysis.filters import Filters
    from analysis.questions.caveats import find_caveats
    from analysis.questions.diff import side_doubts
    from cli.captures import in_zone, opened
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.output.phrases import plural
    from cli.questions import Question, filters_of
    from cli.tables.diff import diff_lines, diff_summary
    from cli.tables.divergence import divergence_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, where=where, user=user
    )
    with ExitStack() as stack:
        source = stack.enter_context(opened(capture))
        second = None if other is None else stack.enter_context(opened(other))
        _check_keys(source, second or source, key or under, filters)
        a, b = (
            (asked.start, asked.end)
            for asked in (
                in_zone(source, Filters(start=a_start, end=a_end), target.zone),
                in_zone(second or source, Filters(start=b_start, end=b_end), target.zone),
            )
        )
        if first:
            query = source.where(filters).queries.first_divergence(
                second, fold=fold, a_process=a_process, b_process=b_process, context=5 if context is None else context,
                a_start=a[0], a_end=a[1], b_start=b[0], b_end=b[1], limit=limit,
            )  # fmt: skip
            found = query.compare()
            rows, differ = found.rows, found.parted

            def render(rows: "pa.Table", width: int | None) -> "Iterator[str]":
                spell = [one.users.spelling(asked) for one, asked in query.sides]
                return divergence_lines(
                    rows, width, found=found, names=[capture.name, (other or capture).name], zone=target.zone,
                    color=target.color, spell=spell,
                )  # fmt: skip

            Question(source, filters, target).print(
                rows if limit is None else rows.slice(0, limit), render, noun="row", limit=limit, is_page=True
            )
            for sentence in found.notes:
                console.note(sentence)
        else:
            query = source.where(filters).queries.diff(
                second, fold=fold, only=only, counts=counts,
                a_start=a[0], a_end=a[1], b_start=b[0], b_end=b[1],
            )  # fmt: skip
            rows = query.to_arrow()
            shown = rows if limit is None else rows.slice(0, limit)
            Question(source, filters, target).print(
                shown, partial(diff_lines, color=target.color), noun="difference", limit=limit
            )
            differ = rows.num_rows > 0
            console.note(diff_summary(rows))
            if apart := sum(rows.column("apart").to_pylist()):
                console.note(
                    f"{plural(apart, 'difference')} could not be paired: several names of one side become one name, "
                    "and which of them pair is unknown (column apart)"
                )
        for letter, (one, asked) in zip("ab", query.sides, strict=True):
            # Where operations are aligned, what a hive holds is not asked for.
            for sentence in find_caveats(one, asked).sentences if first else side_doubts(one, asked):
                console.note(f"{letter}: {sentence}")
        if other is not None and differ and fold is None and not first:
            console.hint(f"regtrace diff {quoted(capture)} {quoted(other)} --fold sid,controlset")
        complete = all(one.manifest.complete for one, _ in query.sides)
    if differ:
        raise typer.Exit(Exit.FINDINGS)
    if fail_on_loss and not complete:
        raise typer.Exit(Exit.LOSS)


def _check_keys(a: "Capture", b: "Capture", keys: "Sequence[str] | None", filters: "Filters") -> None:
    """Raise UsageError for a key that neither capture has; a key of one side is a difference."""
    from cli.captures import check_keys

    for key in keys or ():
        if not b.context.has_key(key, subtree=filters.subtree, user=filters.user):
            check_keys(a, [key], subtree=filters.subtree, user=filters.user)
