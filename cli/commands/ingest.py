"""`regtrace ingest`: traces in, one published capture out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example, FailOnLoss
from cli.output.console import console
from cli.output.phrases import name_summary, plural, quoted, say_pipes
from cli.output.progress import ProgressLine, count_text, duration_text

if TYPE_CHECKING:
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
    Example("regtrace ingest app.etl --seed handles.csv", "names of keys that were open before the trace"),
)


def ingest(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE", help="Traces: .etl files, or Procmon .pml files; folders of them; packed ones; - for standard input.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="NAME.regtrace",
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
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Read traces, name their keys, and publish a capture.

    The type of a source is detected by its content: a Windows event trace (.etl, plain or compressed, also cut
    short or never finished) or a Procmon log (.pml). A .zip, .gz, .bz2, .xz or .zst is unpacked beside the capture for
    as long as it is read. Of a folder or a .zip all traces are read, and the verb says what it leaves out. The capture
    is a folder of Parquet files that appears when it is whole. Sources are only read; nothing is ever written to
    them. Damage and losses are counted and shown, not hidden.
    """
    from tracer.sources.inputs import bare_name

    target = output or Path(bare_name(sources[0]) + ".regtrace")
    say_pipes(sources)
    manifest = ingest_with_progress(sources, target, force=force, seed=seed, control_set=control_set)
    if not manifest.complete:
        console.warn(f"the trace is incomplete; `regtrace info {quoted(target)}` says what is missing")
    console.hint(
        f"regtrace info {quoted(target)}",
        f"regtrace keys {quoted(target)} --sort events --limit 20",
        f"regtrace timeline {quoted(target)} --key KEY",
    )
    if fail_on_loss and not manifest.complete:
        raise typer.Exit(Exit.LOSS)


def ingest_with_progress(
    sources: list[Path],
    target: Path,
    *,
    force: bool,
    seed: Path | None = None,
    control_set: int | None = None,
) -> "Manifest":
    """Ingest with a progress line, print a summary, and return the manifest."""
    from tracer.ingest.pipeline import ingest as publish

    with ProgressLine("ingest") as line:
        manifest = publish(sources, target, force=force, seed=seed, control_set=control_set, progress=line)
        seconds = line.elapsed
    totals = manifest.totals
    events = totals.get("events", 0)
    console.say(
        f"{target}: {plural(events, 'event')}, {plural(totals.get('keys', 0), 'key')} by name, "
        f"{plural(totals.get('processes', 0), 'process')}, in {duration_text(seconds)} "
        f"({count_text(round(events / max(seconds, 1e-9)))} events/s)"
    )
    console.say(name_summary(totals.get("names", {})))
    for note in manifest.settings.get("notes", ()):
        console.warn(note)
    return manifest
