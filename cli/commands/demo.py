"""`regtrace demo`: the whole job on a simulated trace, in one folder, with the command of every step."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options.common import Example, Force
from cli.output.console import console
from cli.output.phrases import name_lines, name_summary, plural, quoted
from tracer.errors import RegtraceError, TargetError

if TYPE_CHECKING:
    from analysis.capture import Capture
    from tracer.store.manifest import Manifest

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = (
    Example("regtrace demo", "in ./regtrace-demo"),
    Example("regtrace demo /tmp/tour --events 500000", "larger, elsewhere"),
)

_SEED = 7
_GAP_US = 400.0  # a leisurely machine, so that a timeline spans seconds
_LOST = 0.03  # of the buffers: losses are part of the job
_ROWS = (10, 20)  # how long a timeline is good to look at
_PATH = 60  # and how long its key


def demo(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to put everything.")] = Path(
        "regtrace-demo"
    ),
    events: Annotated[
        int, typer.Option("--events", "-n", metavar="N", min=1000, help="Operations to simulate.")
    ] = 30_000,
    force: Force = False,
) -> None:
    """Show the whole job on a simulated trace.

    Simulates a trace (a genuine .etl of a made-up machine, with some buffers lost), ingests it, prints the
    timeline of one key, writes it as CSV and Parquet, and shows what was named and what was lost. Says the
    command each step stands for, so that you can go on by yourself.
    """
    from analysis.open import open_capture
    from cli.commands.ingest import ingest_with_progress
    from cli.commands.simulate import simulate_with
    from tracer.simulate.options import SimulationOptions

    _prepare(folder, force=force)
    trace, target = folder / "demo.etl", folder / "demo.regtrace"
    options = SimulationOptions(events=events, seed=_SEED, gap_us=_GAP_US, lost_buffers=_LOST)

    _step(
        1,
        "simulate a trace: no real machine was recorded",
        f"regtrace simulate -o {quoted(trace)} -n {events} --seed {_SEED} --gap-us {_GAP_US:g} "
        f"--lost-buffers {_LOST:g}",
    )
    simulate_with(options, trace, force=force)

    _step(
        2,
        "ingest it: decode, order, name the keys, publish a capture",
        f"regtrace ingest {quoted(trace)} -o {quoted(target)}",
    )
    manifest = ingest_with_progress([trace], target, force=force)

    with open_capture(target) as capture:
        key = _interesting_key(capture)
        command_line = f"regtrace timeline {quoted(target)} --key {quoted(key)}"
        _step(3, "one key's timeline: who did what to it, in order", command_line)
        _show_timeline(capture, key, [folder / "timeline.csv", folder / "timeline.parquet"])
        _step(4, "what was named, and what was lost", f"regtrace info {quoted(target)}")
        _show_quality(capture, manifest)

    console.say("")
    console.headline("Go on with:")
    for command in (
        f"regtrace keys {quoted(target)} --sort errors --limit 20",
        f"regtrace timeline {quoted(target)} --key 'HKLM\\SOFTWARE' --subtree --operation write",
        f"regtrace timeline {quoted(target)} --status error --from +1s --to +2s",
        "regtrace ingest YOUR.etl",
    ):
        console.command(f"   {command}")


def _prepare(folder: Path, *, force: bool) -> None:
    if folder.is_file():
        raise TargetError(f"{folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise TargetError(
            f"{folder} exists and is not empty; give another folder, or --force to use it again"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise TargetError(f"{folder} cannot be made: {problem.strerror or problem}") from problem


def _step(number: int, what: str, command: str) -> None:
    if number > 1:
        console.say("")
    console.headline(f"{number}. {what}")
    console.command(f"   {command}")


def _interesting_key(capture: "Capture") -> str:
    """Return the key with the most kinds of operations, of those whose timeline fits a screen."""
    from analysis.questions import sql

    least, most = _ROWS
    keys = sql.rows(
        capture.context,
        f"""
        SELECT min(display_key) AS shown,
            count(DISTINCT process_id) + count(DISTINCT operation) + 2 * count(DISTINCT data) FILTER (WHERE
                operation = 'SetValueKey' AND status = 0 AND data_type IN (1, 2, 4) AND data_size < 80
            ) AS variety
        FROM events WHERE display_key LIKE 'HKLM\\%' AND length(display_key) < {_PATH} GROUP BY key_id
        HAVING count(*) BETWEEN {least} AND {most} ORDER BY variety DESC, shown LIMIT 1
        """,
    ).column(0)
    if not len(keys):
        keys = capture.queries.keys(sort="writes", limit=1).to_arrow().column("display_key")
    if not len(keys):
        raise RegtraceError("the simulated trace holds no key; simulate more --events")
    return str(keys[0])


def _show_timeline(capture: "Capture", key: str, files: list[Path]) -> None:
    from analysis.filters import Filters
    from cli.captures import timeline_reader
    from cli.output.destination import Output, write_rows
    from cli.tables.timeline import timeline_lines

    rows = timeline_reader(capture, Filters(key=key)).read_all()
    screen = Output.of(None, "table")
    write_rows(rows, screen, partial(timeline_lines, color=screen.color))
    for file in files:
        write_rows(rows, Output.of(file, None, force=True), timeline_lines)
        console.command(f"   ... -o {quoted(file)}")
    console.say(f"wrote {plural(rows.num_rows, 'event')}, all columns, to {' and '.join(map(str, files))}")


def _show_quality(capture: "Capture", manifest: "Manifest") -> None:
    names = manifest.totals.get("names", {})
    console.say(name_summary(names))
    for line in name_lines(names):
        console.say(f"  {line}")
    losses = capture.info()["losses"]
    console.say("losses: none recorded" if manifest.complete and not losses else "losses:")
    for loss in losses[:5]:
        count = "some" if loss["count"] is None else f"{loss['count']:,}"
        console.say(f"  {count} {loss['kind']}: {loss['evidence']}")
    if len(losses) > 5:
        console.say(f"  and {len(losses) - 5:,} more")
