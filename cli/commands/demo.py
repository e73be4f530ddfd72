"""`regtrace demo`: the whole job on a simulated trace that tells a story, in one folder, with the command of every step."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example, Force
from cli.output.console import console
from cli.output.phrases import name_lines, name_summary, quoted
from tracer.errors import TargetError
from tracer.scenarios import SCENARIOS, check_scenario

if TYPE_CHECKING:
    from tracer.simulate.options import SimulationOptions
    from tracer.store.manifest import Manifest

__all__ = ["EXAMPLES", "demo"]

EXAMPLES = (
    Example("regtrace demo", "an installation, in ./regtrace-demo"),
    Example("regtrace demo /tmp/tour --scenario slow-start", "an application that starts slowly, elsewhere"),
    Example("regtrace demo /tmp/pair --scenario fails", "a run that fails, compared with one that works"),
)

_SEED = 2


@dataclass(frozen=True, slots=True)
class _Step:
    """A step: what it shows, and the words of its command; names of files stand for those in the folder."""

    title: str
    words: tuple[str, ...]


_PRODUCT = r"HKLM\SOFTWARE\Contoso\Notes"
_LEDGER = ("demo.regtrace", "--process", "Ledger.exe", "--limit", "8")
_STORIES = {
    "installer": (
        _Step("who changed the registry", ("who", "demo.regtrace", "--operation", "write", "--limit", "6")),
        _Step(
            "what setup.exe and its children left behind, and a file that takes it back",
            ("changes", "demo.regtrace", "--tree", "setup.exe", "--fold", "noise", "--limit", "12", "--undo", "undo.reg"),
        ),
        _Step("one key's history: what was there before each write", ("history", "demo.regtrace", _PRODUCT)),
    ),
    "persistence": (
        _Step("who changed the registry", ("who", "demo.regtrace", "--operation", "write", "--limit", "8")),
        _Step(
            "what the script and its children planted, and a file that takes it back",
            ("changes", "demo.regtrace", "--tree", "wscript.exe", "--undo", "undo.reg"),
        ),
        _Step("who else touched one of these keys", ("who", "demo.regtrace", r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon")),
    ),
    "slow-start": (
        _Step("what the application read again though nothing had changed", ("redundant", *_LEDGER)),
        _Step("what it reads by the clock", ("redundant", "demo.regtrace", "--polling", "--limit", "5")),
        _Step("what it looks for in vain", ("errors", *_LEDGER)),
        _Step("which handles it never closed", ("handles", "demo.regtrace", "--by", "key", "--problems", "--limit", "5")),
    ),
    "works": (
        _Step("what the program read of its settings", ("timeline", "demo.regtrace", "--process", "ReportViewer.exe", "--operation", "query", "--limit", "20")),
        _Step("what it changed", ("changes", "demo.regtrace", "--process", "ReportViewer.exe")),
    ),
    "fails": (
        _Step("where this run parts from the one that works", ("diff", "works.regtrace", "demo.regtrace", "--process", "ReportViewer.exe", "--first")),
        _Step("what differs between both", ("diff", "works.regtrace", "demo.regtrace", "--fold", "all,noise", "--only", "values", "--process", "ReportViewer.exe")),
    ),
    "boot": (
        _Step("which processes were busy", ("hot", "demo.regtrace", "--by", "process", "--limit", "8")),
        _Step("what ran at logon", ("timeline", "demo.regtrace", "--key", r"**\CurrentVersion\Run*", "--limit", "20")),
    ),
}  # fmt: skip
# Whose operations the picture and the files show.
_SHOWN = {
    "installer": ("--tree", "setup.exe"),
    "persistence": ("--tree", "wscript.exe"),
    "slow-start": ("--process", "Ledger.exe"),
    "works": ("--process", "ReportViewer.exe"),
    "fails": ("--process", "ReportViewer.exe"),
    "boot": ("--process", "services.exe"),
}
_WRITING = {"-o", "--undo"}  # options that name an output
_GO_ON = (
    "regtrace info {capture}",
    "regtrace timeline {capture} --key 'HKLM\\SOFTWARE' --subtree --operation write",
    "regtrace ingest YOUR.etl",
)


def demo(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to put everything.")] = Path(
        "regtrace-demo"
    ),
    scenario: Annotated[
        str, typer.Option("--scenario", metavar="NAME", help=f"The story: {', '.join(SCENARIOS)}.")
    ] = "installer",
    events: Annotated[
        int,
        typer.Option("--events", "-n", metavar="N", min=1000, help="Operations of ordinary programs, about."),
    ] = 20_000,
    force: Force = False,
) -> None:
    """Show the whole job on a simulated trace.

    Simulates a trace that tells a story (a genuine .etl of a made-up machine), ingests it,
    finds the story with the verbs that people use, draws it, and says what was named and what was lost. The command of
    each step stands above what it prints, so that you can go on by yourself.
    """
    from tracer.simulate.options import SimulationOptions

    options = SimulationOptions(events=events, seed=_SEED)
    check_scenario(scenario, options)
    _prepare(folder, force=force)
    steps = _Steps(context, folder, force=force)
    manifest = _make(steps, scenario, "demo", options, force=force)
    if scenario == "fails":  # nothing shows why a run fails but one that works
        _make(steps, "works", "works", options, force=force)
    capture = folder / "demo.regtrace"
    places = {name: str(folder / name) for name in ("demo.regtrace", "works.regtrace", "undo.reg")}
    for step in _STORIES[scenario]:
        steps.run(step.title, [places.get(word, word) for word in step.words])
    operations = (str(capture), *_SHOWN[scenario])
    _draw(steps, operations)
    _write_timeline(steps, operations)
    steps.begin("what was named, and what was lost", ("info", str(capture)))
    _show_quality(capture, manifest)
    console.say("")
    console.headline("Go on with:")
    for command in _GO_ON:
        console.command("   " + command.format(capture=quoted(capture)))


class _Steps:
    """Numbered steps, each a command that is printed and run; with `force` outputs are replaced.

    Attributes:
        folder: where everything goes.
    """

    def __init__(self, context: typer.Context, folder: Path, *, force: bool) -> None:
        self._context, self.folder, self._force, self._count = context, folder, force, 0

    def begin(self, title: str, words: Sequence[str]) -> None:
        """Print the title and the command of a step."""
        self._count += 1
        if self._count > 1:
            console.say("")
        console.headline(f"{self._count}. {title}")
        console.command(f"   regtrace {' '.join(map(quoted, words))}")

    def run(self, title: str, words: Sequence[str]) -> None:
        """Print a step and do what its command does."""
        words = self._forced(words)
        self.begin(title, words)
        _run_verb(self._context, words)

    def run_too(self, words: Sequence[str]) -> None:
        """Print another command of the step and do what it does."""
        words = self._forced(words)
        console.command(f"   regtrace {' '.join(map(quoted, words))}")
        _run_verb(self._context, words)

    def _forced(self, words: Sequence[str]) -> Sequence[str]:
        return (*words, "--force") if self._force and not _WRITING.isdisjoint(words) else words


def _run_verb(context: typer.Context, words: Sequence[str]) -> None:
    """Run a verb of this command line without its hints; differences that it reports are no failure."""
    root = context.find_root()
    name, *rest = words
    command = root.command.get_command(root, name)  # type: ignore[attr-defined]
    quiet, console.quiet = console.quiet, True
    try:
        with command.make_context(name, rest, parent=root) as inner:
            command.invoke(inner)
    except typer.Exit as end:
        if end.exit_code not in (Exit.OK, Exit.FINDINGS):
            raise
    finally:
        console.quiet = quiet


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


def _make(
    steps: _Steps, scenario: str, name: str, options: "SimulationOptions", *, force: bool
) -> "Manifest":
    """Simulate a scenario and ingest it, a step each."""
    from cli.commands.ingest import ingest_with_progress
    from cli.commands.simulate import simulate_with

    trace, target = (steps.folder / f"{name}{ending}" for ending in (".etl", ".regtrace"))
    steps.begin(
        "simulate a trace: no real machine was recorded",
        (
            "simulate", "-o", str(trace), "--scenario", scenario, "-n", str(options.events), "--seed", str(options.seed),
        ),
    )  # fmt: skip
    simulate_with(options, trace, force=force, scenario=scenario)
    steps.begin(
        "ingest it: decode, order, name the keys, publish a capture",
        ("ingest", str(trace), "-o", str(target)),
    )
    return ingest_with_progress([trace], target, force=force)


def _draw(steps: _Steps, operations: Sequence[str]) -> None:
    """Draw a picture of some operations, where the extra is there."""
    if importlib.util.find_spec("altair") is None or importlib.util.find_spec("vl_convert") is None:
        return
    picture = str(steps.folder / "timeline.html")
    steps.run("a picture to open in a browser", ("plot", "timeline", *operations, "-o", picture))
    console.say(f"wrote {picture}")


def _write_timeline(steps: _Steps, operations: Sequence[str]) -> None:
    """Write the timeline of some operations as CSV and Parquet."""
    targets = [str(steps.folder / name) for name in ("timeline.csv", "timeline.parquet")]
    first, second = (("timeline", *operations, "-o", target) for target in targets)
    steps.run("the timeline as CSV and Parquet, all columns", first)
    console.say(f"wrote {targets[0]}")
    steps.run_too(second)
    console.say(f"wrote {targets[1]}")


def _show_quality(capture: Path, manifest: "Manifest") -> None:
    from analysis.open import open_capture

    names = manifest.totals.get("names", {})
    console.say(name_summary(names))
    for line in name_lines(names):
        console.say(f"  {line}")
    with open_capture(capture) as opened:
        losses = opened.info()["losses"]
    console.say("losses: none recorded" if manifest.complete and not losses else "losses:")
    for loss in losses[:5]:
        count = "some" if loss["count"] is None else f"{loss['count']:,}"
        console.say(f"  {count} {loss['kind']}: {loss['evidence']}")
    if len(losses) > 5:
        console.say(f"  and {len(losses) - 5:,} more")
