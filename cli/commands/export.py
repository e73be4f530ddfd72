"""`regtrace export`: a timeline as other programs read it."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    KeyWords,
    OperationWords,
    ProcessTree,
    ProcessWord,
    StartTime,
    StatusWords,
    Subtree,
    UserWord,
    ValueWord,
    Where,
)

if TYPE_CHECKING:
    from analysis.export.records import Exported

__all__ = ["EXAMPLES", "To", "export"]

EXAMPLES = (
    Example("regtrace export host.regtrace --to timesketch -o host.jsonl", "everything, for Timesketch"),
    Example(
        "regtrace export host.regtrace --to ecs --operation write -o host.ndjson",
        "what was written, for Elasticsearch's _bulk",
    ),
    Example(
        r"regtrace export a.regtrace --to ocsf -k 'HKLM\SYSTEM' --subtree -o a.jsonl.gz",
        "one subtree as OCSF, compressed",
    ),
    Example(
        "regtrace export a.regtrace --to perfetto -p setup.exe -o a.pftrace",
        "threads, handles and who read what, to drop onto ui.perfetto.dev",
    ),
    Example("regtrace export hosts/ --to splunk --index win -o hosts.json", "many captures, for Splunk"),
)


class To(StrEnum):
    """The format; the words are those of analysis.export.formats.FORMATS (a test compares them)."""

    TIMESKETCH = "timesketch"
    ECS = "ecs"
    OCSF = "ocsf"
    PERFETTO = "perfetto"
    SPLUNK = "splunk"
    L2TCSV = "l2tcsv"


def export(
    capture: CapturePath,
    to: Annotated[
        To,
        typer.Option("--to", metavar="FORMAT", help="timesketch, ecs, ocsf, perfetto, splunk or l2tcsv."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", readable=False, metavar="FILE", help="The file; .gz compresses it. - is standard output."),
    ],
    key: KeyWords = None,
    subtree: Subtree = False,
    value: ValueWord = None,
    process: ProcessWord = None,
    process_tree: ProcessTree = None,
    operation: OperationWords = None,
    status: StatusWords = None,
    start: StartTime = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="TIME", help="Last time, written as for --from; inclusive. (--to is the format.)"
        ),
    ] = None,
    where: Where = None,
    user: UserWord = None,
    limit: Annotated[
        int | None, typer.Option("--limit", metavar="N", min=1, help="Write the first N rows only.")
    ] = None,
    index: Annotated[
        str | None,
        typer.Option("--index", metavar="NAME", help="The index of Elasticsearch (default: regtrace) or Splunk."),
    ] = None,
    sourcetype: Annotated[
        str | None,
        typer.Option("--sourcetype", metavar="NAME", help="The sourcetype of Splunk (default: regtrace:event)."),
    ] = None,
    force: Force = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Write a timeline for Timesketch, Elastic, Splunk or Perfetto.

    FORMAT is timesketch (CSV or JSON lines, by the ending of FILE), ecs (bulk lines for Elasticsearch), ocsf
    (Registry Key and Value Activity), perfetto (a picture for ui.perfetto.dev; needs the extra: pip install
    'regtrace[perfetto]'), splunk (HTTP Event Collector), or l2tcsv (log2timeline).

    Every option of the timeline narrows here too. Losses, doubts about names and what a source never tells
    are records of the export as well. What is not known is left out, never written as empty or 0. Texts
    beyond a limit of the format are cut, and counted. docs/export.md has the fields and how to import them.
    """
    from analysis.export.formats import check_format, export_file, export_stream, options_of
    from analysis.export.records import Records
    from analysis.filters import Filters
    from cli.captures import say_empty
    from cli.output.console import console, is_terminal
    from cli.output.destination import Output
    from cli.output.files import binary_stdout, check_target
    from cli.output.waiting import goes_to_file, waiting
    from cli.questions import asking
    from tracer.errors import UsageError

    path = None if str(output) == "-" else output
    is_text = check_format(to.value, path).is_text
    options = options_of(to.value, path, index=index, sourcetype=sourcetype)
    if path is not None:
        check_target(path, force=force, sources=[capture])
    elif not is_text and is_terminal(sys.stdout):
        raise UsageError(f"{to.value} is not text: give -o FILE, or send it into a pipe")
    filters = Filters(
        key=key or None, subtree=subtree, value=value, process=process, process_tree=process_tree, operation=operation, status=status,
        start=start, end=end, where=where, user=user,
    )  # fmt: skip

    def count(rows: int) -> None:
        waiting.rows = rows

    with asking(capture, filters, Output("jsonl", path, force), fail_on_loss=fail_on_loss) as question:
        if path is None:
            if not goes_to_file():
                waiting.end()
            records = Records(question.context, question.filters, options, limit=limit)
            done = export_stream(records, binary_stdout(), to=to.value, progress=count)
            binary_stdout().flush()
        else:
            done = export_file(
                question.context, question.filters, path, to=to.value, force=force, limit=limit, index=index,
                sourcetype=sourcetype, progress=count,
            )  # fmt: skip
        waiting.end()
        console.say(_summary(done, path))
        for note in done.notes:
            console.say(note)
        if not done.rows:
            say_empty(question.context, question.filters)


def _summary(done: "Exported", path: Path | None) -> str:
    from cli.output.phrases import plural

    where = "" if path is None else f" to {path}"
    parts = [f"wrote {plural(done.rows, 'event')}{where}"]
    if done.notices:
        parts.append(f"{plural(done.notices, 'record')} of what is missing")
    parts.append(f"{plural(done.cut, 'cell')} cut")
    parts.append(f"{plural(done.unnamed, 'row')} without a whole name")
    return ", ".join(parts)
