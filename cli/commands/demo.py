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
    """A step: what it shows, and the words of the command; `{capture}` and `{folder}` are filled in."""

    title: str
    words: tuple[str, ...]


_PRODUCT = r"HKLM\SOFTWARE\Contoso\Notes"
_STATE = ("{capture}", "--process", "Ledger.exe", "--limit", "8")
_STORIES = {
    "installer": (
        _Step("who changed the registry", ("who", "{capture}", "--operation", "write", "--limit", "6")),
        _Step(
            "what setup.exe and its children left behind, and a file that takes it back",
            ("changes", "{capture}", "--tree", "setup.exe", "--fold", "noise", "--limit", "12", "--undo", "{folder}/undo.reg"),
        ),
        _Step("one key's history: what was there before each write", ("history", "{capture}", _PRODUCT)),
    ),
    "persistence": (
        _Step("who changed the registry", ("who", "{capture}", "--operation", "write", "--limit", "8")),
        _Step(
            "what the script and its children planted, and a file that takes it back",
            ("changes", "{capture}", "--tree", "wscript.exe", "--undo", "{folder}/undo.reg"),
        ),
        _Step("who else touched one of these keys", ("who", "{capture}", r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon")),
    ),
    "slow-start": (
        _Step("what the application read again though nothing had changed", ("redundant", *_STATE)),
        _Step("what it reads by the clock", ("redundant", "{capture}", "--polling", "--limit", "5")),
        _Step("what it looks for in vain", ("errors", *_STATE)),
        _Step("which handles it never closed", ("handles", "{capture}", "--by", "key", "--problems", "--limit", "5")),
    ),
    "works": (
        _Step("what the program read of its settings", ("timeline", "{capture}", "--process", "ReportViewer.exe", "--operation", "query", "--limit", "20")),
        _Step("what it changed", ("changes", "{capture}", "--process", "ReportViewer.exe")),
    ),
    "fails": (
        _Step("where this run parts from the one that works", ("diff", "{folder}/works.regtrace", "{capture}", "--process", "ReportViewer.exe", "--first")),
        _Step("what differs between both", ("diff", "{folder}/works.regtrace", "{capture}", "--fold", "all,noise", "--only", "values", "--process", "ReportViewer.exe")),
    ),
    "boot": (
        _Step("which processes were busy", ("hot", "{capture}", "--by", "process", "--limit", "8")),
        _Step("what ran at logon", ("timeline", "{capture}", "--key", r"**\CurrentVersion\Run*", "--limit", "20")),
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
    capture = folder / "demo.regtrace"
    steps = _Steps(context, folder, capture)
    manifest = _make(steps, scenario, "demo", options, force=force)
    if scenario == "fails":  # nothing shows why a run fails but one that works
        _make(steps, "works", "works", options, force=force)
    for step in _STORIES[scenario]:
        writes = force and "--undo" in step.words
        steps.run(step.title, (*step.words, "--force") if writes else step.words)
    _draw(steps, scenario, force=force)
    _write_timeline(steps, scenario, force=force)
    steps.begin("what was named, and what was lost", ("info", "{capture}"))
    _show_quality(capture, manifest)
    console.say("")
    console.headline("Go on with:")
    for command in _GO_ON:
        console.command("   " + command.format(capture=quoted(capture)))


class _Steps:
    """Numbered steps, each a command that is printed and run."""

    def __init__(self, context: typer.Context, folder: Path, capture: Path) -> None:
        self._context, self.folder, self._capture, self._count = context, folder, capture, 0

    def begin(self, title: str, words: Sequence[str]) -> list[str]:
        """Print the title and the command of a step; return its words."""
        self._count += 1
        if self._count > 1:
            console.say("")
        console.headline(f"{self._count}. {title}")
        filled = [word.format(capture=self._capture, folder=self.folder) for word in words]
        console.command(f"   regtrace {' '.join(map(quoted, filled))}")
        return filled

    def run_too(self, words: Sequence[str]) -> None:
        """Print another command of the step and do what it does."""
        _run_verb(self._context, self._said(words))

    def run(self, title: str, words: Sequence[str]) -> None:
        """Print a step and do what its command does."""
        _run_verb(self._context, self.begin(title, words))

    def _said(self, words: Sequence[str]) -> list[str]:
        places = {"{capture}": str(self._capture)}
        filled = [
            places.get(
                word, word.replace("{folder}", str(self.folder)) if word.startswith("{folder}") else word
            )
            for word in words
        ]
        console.command(f"   regtrace {' '.join(map(quoted, filled))}")
        return filled


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


def _draw(steps: _Steps, scenario: str, *, force: bool) -> None:
    """Draw a picture, where the extra is there."""
    if importlib.util.find_spec("altair") is None or importlib.util.find_spec("vl_convert") is None:
        return
    picture = str(steps.folder / "timeline.html")
    steps.run(
        "a picture to open in a browser",
        ("plot", "timeline", "{capture}", *_SHOWN[scenario], "-o", picture, *(["--force"] if force else [])),
    )
    console.say(f"wrote {picture}")


def _write_timeline(steps: _Steps, scenario: str, *, force: bool) -> None:
    """Write the timeline of the story as CSV and Parquet."""
    for ending in ("csv", "parquet"):
        target = str(steps.folder / f"timeline.{ending}")
        words = ("timeline", "{capture}", *_SHOWN[scenario], "-o", target, *(["--force"] if force else []))
        if ending == "csv":
            steps.run("the timeline as CSV and Parquet, all columns", words)
        else:
            steps.run_too(words)
        console.say(f"wrote {target}")


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
