"""`regtrace bisect`: which differing value may be why a run fails."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.exits import Exit
from cli.options.common import (
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

__all__ = ["EXAMPLES", "bisect"]

EXAMPLES = (
    Example("regtrace bisect works.regtrace fails.regtrace --process app.exe", "what may be why app.exe fails"),
    Example(
        "regtrace bisect works.regtrace fails.regtrace -p app.exe --reg try.reg --undo undo.reg",
        "the first candidate as a file to import where it fails",
    ),
    Example(
        "regtrace bisect works.regtrace fails.regtrace -p app.exe --take 1-4 --reg try.reg",
        "the first four candidates together",
    ),
)  # fmt: skip


def bisect(
    works: Annotated[Path, typer.Argument(metavar="WORKS", help="The capture of the run that works.")],
    fails: Annotated[Path, typer.Argument(metavar="FAILS", help="The capture of the run that fails.")],
    key: KeyWords = None,
    under: UnderWords = None,
    value: ValueWord = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    where: Where = None,
    user: UserWord = None,
    a_process: Annotated[
        str | None, typer.Option("--a-process", metavar="NAME|PID", help="The process of WORKS.")
    ] = None,
    b_process: Annotated[
        str | None, typer.Option("--b-process", metavar="NAME|PID", help="The process of FAILS.")
    ] = None,
    a_start: Annotated[str | None, typer.Option("--a-from", metavar="TIME", help="First time in WORKS.")] = None,
    a_end: Annotated[str | None, typer.Option("--a-to", metavar="TIME", help="Last time in WORKS.")] = None,
    b_start: Annotated[str | None, typer.Option("--b-from", metavar="TIME", help="First time in FAILS.")] = None,
    b_end: Annotated[str | None, typer.Option("--b-to", metavar="TIME", help="Last time in FAILS.")] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            "--fold", metavar="WORDS",
            help="Parts of names to ignore: sid, guid, controlset, wow64, or all. Default: sid,controlset.",
        ),
    ] = None,
    take: Annotated[
        str, typer.Option("--take", metavar="N", help="The candidates for the files: 1, 1-4, 2,5 or all.")
    ] = "1",
    reg: Annotated[
        Path | None,
        typer.Option("--reg", metavar="FILE", help="Write a .reg file that makes FAILS like WORKS."),
    ] = None,
    undo: Annotated[
        Path | None, typer.Option("--undo", metavar="FILE", help="Write the .reg file that takes it back.")
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
    """Print which differing value may be why a run fails.

    The operations of both runs are aligned as by `diff --first`. Values that the failing run read differently before
    they part are candidates, the most likely first: near the place, used in what comes next, missing on one side.
    Times, what the program writes itself, and what Windows notes weigh less. So do values that another program read,
    which then wrote what the program read. The page says how to try them, one after the other.

    A candidate is no proof. Returns 3 where there are candidates, else 0. docs/causes.md has the rules.
    """
    from contextlib import ExitStack

    from analysis.filters import Filters
    from analysis.questions.caveats import find_caveats
    from cli.captures import check_keys, in_zone, opened
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.output.files import open_target
    from cli.questions import Question, filters_of
    from cli.tables.bisect import bisect_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), raw=raw)
    _check_files(reg, undo, output, force=force)
    filters = filters_of(
        key=key, under=under, value=value, process=process, process_tree=process_tree, where=where, user=user
    )
    with ExitStack() as stack:
        good, bad = (stack.enter_context(opened(one)) for one in (works, fails))
        for one in key or under or ():
            if not bad.context.has_key(one, subtree=filters.subtree, user=filters.user):
                check_keys(good, [one], subtree=filters.subtree, user=filters.user)
        a, b = (
            (asked.start, asked.end)
            for asked in (
                in_zone(good, Filters(start=a_start, end=a_end), target.zone),
                in_zone(bad, Filters(start=b_start, end=b_end), target.zone),
            )
        )
        query = good.where(filters).queries.bisect(
            bad, fold=fold, a_process=a_process, b_process=b_process,
            a_start=a[0], a_end=a[1], b_start=b[0], b_end=b[1], limit=limit,
        )  # fmt: skip
        found = query.compare()
        rows = found.rows if limit is None else found.rows.slice(0, limit)
        spell = [one.users.spelling(asked) for one, asked in query.aligned.sides]
        Question(good, filters, target).print(
            rows,
            partial(
                bisect_lines, found=found, names=[works.name, fails.name], color=target.color, spell=spell
            ),
            noun="candidate",
            limit=limit,
            is_page=True,
        )
        if found.candidates and (reg is not None or undo is not None):
            trial = found.trial(take, about=[f"Made of {works.name} and {fails.name}."])
            for path, file in ((reg, "apply"), (undo, "undo")):
                if path is not None:
                    with open_target(path, force=force) as stream:
                        stream.write(trial.encoded(file))
                    console.say(
                        f"wrote {path} ({'makes FAILS like WORKS' if file == 'apply' else 'takes it back'})"
                    )
            for place, file, reason in trial.left_out:
                if (reg if file == "apply" else undo) is not None:
                    console.warn(f"candidate {place} is not in the file ({file}): {reason}")
            for sentence in trial.warnings:
                console.warn(sentence)
        elif reg is not None or undo is not None:
            console.warn("no file was written: there is no candidate")
        for sentence in found.notes[:-1]:  # the last one stands below the page
            console.note(sentence)
        for letter, (one, asked) in zip("ab", query.aligned.sides, strict=True):
            for sentence in find_caveats(one, asked).sentences:
                console.note(f"{letter}: {sentence}")
        if sentence := query.why_empty(found):
            console.note(sentence)
        if not found.candidates and process is None and a_process is None:
            console.hint(f"regtrace bisect {quoted(works)} {quoted(fails)} --process NAME")
        complete = all(one.manifest.complete for one, _ in query.aligned.sides)
    if found.candidates:
        raise typer.Exit(Exit.FINDINGS)
    if fail_on_loss and not complete:
        raise typer.Exit(Exit.LOSS)


def _check_files(reg: Path | None, undo: Path | None, output: Path | None, *, force: bool) -> None:
    """Raise UsageError for a file that is none for regedit, and TargetError for one that is in the way."""
    from cli.output.files import check_target

    given = [one for one in (reg, undo, output) if one is not None]
    if len(set(given)) < len(given):
        raise UsageError("--reg, --undo and --output name the same file; give each its own")
    for one in (reg, undo):
        if one is not None:
            if one.suffix.lower() != ".reg":
                raise UsageError(f"unknown kind of file {one.name!r}; use .reg, which regedit imports")
            check_target(one, force=force)
