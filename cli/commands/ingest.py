"""`regtrace ingest`: traces in, one published capture out."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example, FailOnLoss
from cli.output.console import console
from cli.output.phrases import name_summary, plural, quoted, say_pipes
from cli.output.progress import ProgressLine, count_text, duration_text
from tracer.errors import UsageError

if TYPE_CHECKING:
    from tracer.named.context import NamedOptions
    from tracer.sources.inputs import SourceFiles
    from tracer.store.manifest import Manifest

__all__ = ["EXAMPLES", "ingest", "ingest_with_progress"]

EXAMPLES = (
    Example("regtrace ingest boot.etl", "makes boot.regtrace in this folder"),
    Example("regtrace ingest Logfile.pml -o app.regtrace", "a Procmon file"),
    Example(
        "regtrace ingest part1.etl part2.etl -o whole.regtrace",
        "several files of one machine, merged by time",
    ),
    Example("regtrace ingest PerfViewData.etl.zip", "the traces in an archive; also .gz, .bz2, .xz and .zst"),
    Example("zstd -dc boot.etl.zst | regtrace ingest - -o boot.regtrace", "what another program writes"),
    Example("regtrace ingest sysmon.jsonl.gz -o host.regtrace", "Sysmon's events as a collector wrote them"),
    Example(
        "regtrace ingest sysmon.jsonl boot.etl app.pml -o host.regtrace",
        "several kinds of sources of one machine",
    ),
    Example(
        "regtrace ingest forwarded.jsonl --each-host -o fleet",
        "a capture for each computer, in the folder fleet",
    ),
    Example(
        "regtrace ingest Logfile.CSV --date 2026-05-31 --tz +02:00",
        "a Procmon log saved as CSV; it has local times, and dates only where that column was on",
    ),
    Example(
        "regtrace ingest boot.etl --baseline SYSTEM --baseline SOFTWARE",
        "what the hives held before the trace",
    ),
    Example("regtrace ingest app.etl --seed handles.csv", "names of keys that were open before the trace"),
)


def ingest(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="Traces and logs: .etl, Procmon .pml, .csv or .xml, event logs (.evtx, XML, JSON), Defender CSV; folders of them; packed ones; - for standard input.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", readable=False, metavar="NAME.regtrace",
                     help="The capture to make. Default: the first source's name, in this folder."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the capture if it exists.")] = False,
    seed: Annotated[
        Path | None,
        typer.Option("--seed", metavar="FILE", help="Objects that were open before the trace: CSV or Parquet "
                     "with the columns address and path."),
    ] = None,
    control_set: Annotated[
        int | None,
        typer.Option("--control-set", metavar="N", min=1, max=999,
                     help="Number of the current control set, where the trace does not say."),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="NAME", help="The computer whose records are read, where a log holds those of several."),
    ] = None,
    each_host: Annotated[
        bool,
        typer.Option("--each-host", help="Make a folder with a capture for each computer of the logs; verbs read it as one dataset."),
    ] = False,
    fields: Annotated[
        Path | None,
        typer.Option("--fields", metavar="FILE.toml", help="Where a collector of your own puts the fields of events (docs/sources)."),
    ] = None,
    day: Annotated[
        str | None,
        typer.Option("--date", metavar="YYYY-MM-DD",
                     help="The day on which a Procmon export begins, where it has no dates. Default: by the file's time."),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option("--tz", metavar="ZONE", help="The time zone of a Procmon export: +02:00, Europe/Berlin, local. Default: UTC."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", metavar="HIVE[=KEY]",
                     help="A hive of the machine, for the state before the first event: SYSTEM, SOFTWARE, NTUSER.DAT=SID ... "
                     "Repeatable."),
    ] = None,
    no_merge: Annotated[
        bool,
        typer.Option("--no-merge", help="Keep a row of each source for an operation that several kinds of sources report."),
    ] = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Read traces and logs, name their keys, and publish a capture.

    The type of a source is detected by its content: a Windows event trace (.etl, plain or compressed, also cut
    short or never finished), a Procmon log (.pml, or saved as CSV or XML), or an event log with records of Sysmon (.evtx, XML, JSON); sources of
    several types make one capture, if they are of one machine. A .zip, .gz, .bz2, .xz or .zst is unpacked beside the capture for
    as long as it is read. Of a folder or a .zip all traces are read, and the verb says what it leaves out. The capture
    is a folder of Parquet files that appears when it is whole. Sources are only read; nothing is ever written to
    them. Damage and losses are counted and shown, not hidden.

    A hive (--baseline) tells what keys and values were before the first event; `state`, `history` and `changes` then call
    this `baseline`. Its logs (NAME.LOG1, NAME.LOG2) are read where they lie beside it.
    """
    from tracer.sources.inputs import bare_name

    target = output or Path(bare_name(sources[0]) + ".regtrace")
    say_pipes(sources)
    options = _named_options(host, fields, day, zone)
    if each_host and baseline:
        raise UsageError("a hive is of one machine; give --host and --baseline, one capture at a time")
    if each_host:
        _ingest_each_host(
            sources, target, force=force, options=options, control_set=control_set, merge=not no_merge
        )
        return
    manifest = ingest_with_progress(
        sources,
        target,
        force=force,
        seed=seed,
        control_set=control_set,
        baseline=baseline or (),
        named=options,
        merge=not no_merge,
    )
    if not manifest.complete:
        console.warn(f"the trace is incomplete; `regtrace info {quoted(target)}` says what is missing")
    console.hint(
        f"regtrace info {quoted(target)}",
        f"regtrace keys {quoted(target)} --sort events --limit 20",
        f"regtrace timeline {quoted(target)} --key KEY",
    )
    if fail_on_loss and not manifest.complete:
        raise typer.Exit(Exit.LOSS)


def _named_options(
    host: str | None, fields: Path | None, day: str | None, zone: str | None
) -> "NamedOptions | None":
    """Return what the user said of logs; None for nothing.

    Raises:
        UsageError: the day is no day, the zone no zone, or the file of fields cannot be read.
    """
    if host is None and fields is None and day is None and zone is None:
        return None
    from cli.options.zones import find_log_zone
    from tracer.logs.field_paths import EVENT_FIELDS, read_fields
    from tracer.named.context import NamedOptions

    return NamedOptions(
        host=host,
        fields={} if fields is None else read_fields(fields, EVENT_FIELDS),
        day=None if day is None else _day(day),
        zone=None if zone is None else find_log_zone(zone),
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"--date {text!r} is no day; write it as 2026-05-31") from None


def _ingest_each_host(
    sources: list[Path],
    folder: Path,
    *,
    force: bool,
    options: "NamedOptions | None",
    control_set: int | None,
    merge: bool,
) -> None:
    """Make a folder with a capture for each computer that the logs are of."""
    from contextlib import ExitStack
    from dataclasses import replace

    from tracer.ingest.hosts import open_hosts
    from tracer.named.context import NamedOptions

    if folder.suffix == ".regtrace":
        folder = folder.with_suffix("")
    with ExitStack() as stack:
        with ProgressLine("computers") as line:
            logs = stack.enter_context(
                open_hosts(sources, options or NamedOptions(), folder=folder.parent, progress=line)
            )
        folder.mkdir(parents=True, exist_ok=True)
        for host, name in logs.names:
            ingest_with_progress(
                logs.sources,
                folder / f"{name}.regtrace",
                force=force,
                control_set=control_set,
                named=replace(logs.options, host=host),
                merge=merge,
            )
    console.say(f"{folder}: {plural(len(logs.names), 'capture')}, one for each computer")
    console.hint(f"regtrace info {quoted(folder)}", f"regtrace who {quoted(folder)}")


def ingest_with_progress(
    sources: "list[Path] | SourceFiles",
    target: Path,
    *,
    force: bool,
    seed: Path | None = None,
    control_set: int | None = None,
    named: "NamedOptions | None" = None,
    baseline: Sequence[str] = (),
    merge: bool = True,
) -> "Manifest":
    """Ingest with a progress line, print a summary, and return the manifest."""
    from tracer.ingest.pipeline import ingest as publish

    with ProgressLine("ingest") as line:
        manifest = publish(
            sources,
            target,
            force=force,
            seed=seed,
            control_set=control_set,
            baseline=baseline,
            progress=line,
            named=named,
            merge=merge,
        )
        seconds = line.elapsed
    totals = manifest.totals
    events = totals.get("events", 0)
    console.say(
        f"{target}: {plural(events, 'event')}, {plural(totals.get('keys', 0), 'key')} by name, "
        f"{plural(totals.get('processes', 0), 'process')}, in {duration_text(seconds)} "
        f"({count_text(round(events / max(seconds, 1e-9)))} events/s)"
    )
    console.say(name_summary(totals.get("names", {})))
    for link in manifest.settings.get("links", ()):
        console.say(link["sentence"])
    for note in manifest.settings.get("notes", ()):
        console.warn(note)
    return manifest
