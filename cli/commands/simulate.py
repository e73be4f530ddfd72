"""`regtrace simulate`: write a simulated trace. Its options are the fields of `SimulationOptions`."""

import inspect
import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.options.common import Example, Force
from cli.output.console import console
from cli.output.files import check_target
from cli.output.phrases import plural, quoted
from cli.output.progress import size_text
from tracer.errors import TargetError, UsageError
from tracer.scenarios import SCENARIOS, check_scenario, simulate_scenario, story_path
from tracer.simulate.options import SimulationOptions

__all__ = ["EXAMPLES", "option_help", "simulate", "simulate_with"]

EXAMPLES = (
    Example("regtrace simulate -o demo.etl", "a busy, undamaged trace of 100,000 operations"),
    Example(
        "regtrace simulate -o big.etl --events 5000000 --compressed",
        "a large one, compressed as Windows does",
    ),
    Example("regtrace simulate -o bad.etl --lost-buffers 0.02 --cut", "one with losses and a cut end"),
    Example("regtrace simulate -o setup.etl --scenario installer", "a story, and the story as its truth"),
    Example(
        "regtrace simulate -o odd.etl --hostile-names 0.1 --nul-names 0.05", "one with names made to do harm"
    ),
)

# The number operations are spread over is the first thing to say, so it has its own letter.
_LETTERS = {"events": "-n"}


def simulate_with(
    options: SimulationOptions, output: Path, *, force: bool, scenario: str | None = None
) -> None:
    """Write the trace, of random activity or of a scenario, and print a summary."""
    from tracer.simulate import seed_path, truth_path
    from tracer.simulate import simulate as write_trace

    if scenario is not None:
        check_scenario(scenario, options)
    if output.suffix.lower() != ".etl":
        raise UsageError(f"{output.name!r} must end with .etl, the format of the trace")
    beside = [truth_path(output), *([seed_path(output)] if options.seed_table else [])]
    beside += [story_path(output)] if scenario else []
    for path in (output, *beside):
        check_target(path, force=force)
    try:
        summary = simulate_scenario(output, scenario, options) if scenario else write_trace(output, options)
    except OSError as problem:
        raise TargetError(f"cannot write {output}: {problem.strerror or problem}") from problem
    lost = [
        plural(count, noun)
        for count, noun in ((summary.events_lost, "event"), (summary.buffers_lost, "buffer"))
        if count
    ]
    console.say(
        f"{output}: a simulated trace of {plural(summary.operations, 'operation')}, {size_text(summary.size)}"
        + (f", {' and '.join(lost)} lost as asked" if lost else "")
    )
    console.say(f"beside it: {', '.join(map(str, beside))}")
    if scenario:
        console.say(f"the story: {SCENARIOS[scenario].summary}")


def option_help() -> dict[str, str]:
    """Return the help of each option, from the docstring of SimulationOptions."""
    help_of: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(SimulationOptions.__doc__ or "").splitlines():
        start = re.match(r"    (\w+): (.+)", line)
        if start:
            name = start[1]
            help_of[name] = start[2]
        elif line.startswith("        ") and name:
            help_of[name] += " " + line.strip()
        else:
            name = ""
    return help_of


def _option_of(name: str, kind: type, default: object, words: str) -> inspect.Parameter:
    spelled = name.replace("_", "-")
    if kind is bool:
        declared = [f"--{spelled}/--no-{spelled}"] if default else [f"--{spelled}"]
    else:
        declared = [f"--{spelled}", *([_LETTERS[name]] if name in _LETTERS else [])]
    sentence = (words[:1].upper() + words[1:]).replace("``", "")
    option = typer.Option(*declared, help=sentence)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def _with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return `function` with a typer parameter for each field of SimulationOptions."""
    own = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.VAR_KEYWORD]
    words = option_help()
    kinds = {"int": int, "float": float, "bool": bool}
    options = [
        _option_of(
            field.name,
            kinds[getattr(field.type, "__name__", str(field.type))],
            field.default,
            words[field.name],
        )
        for field in fields(SimulationOptions)
        if field.default is not MISSING
    ]
    parameters = [*own, *options]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


@_with_options
def simulate(
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            readable=False,
            metavar="FILE.etl",
            help="The trace to write.",
            show_default=False,
        ),
    ],
    scenario: Annotated[
        str | None,
        typer.Option(
            "--scenario",
            metavar="NAME",
            help=f"Tell a story instead of random activity: {', '.join(SCENARIOS)}.",
        ),
    ] = None,
    force: Force = False,
    **options: Any,  # noqa: ANN401
) -> None:
    """Write a simulated trace, a genuine .etl, with its truth beside it.

    A small model of a registry, its processes and their handles drives a writer of Windows' own trace format.
    Options add what makes real traces hard. The same options and seed give the same bytes. The truth (what
    each record really meant) is written beside the trace as Parquet. A capture made from it says that it
    is simulated.

    A scenario is a story on a made-up Windows machine among ordinary programs, such as an installation. What
    happened in it, and what there is to find, is written beside the trace as JSON. There, --events is about how
    many operations the ordinary programs do.
    """
    simulate_with(SimulationOptions(**options), output, force=force, scenario=scenario)
    capture = output.with_suffix(".regtrace")
    console.hint(f"regtrace ingest {quoted(output)} -o {quoted(capture)}", f"regtrace info {quoted(output)}")
