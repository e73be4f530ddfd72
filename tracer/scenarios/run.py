"""Runs a scenario: a trace, its truth, and its story."""

from dataclasses import fields, replace
from pathlib import Path
from random import Random

from tracer.errors import UsageError
from tracer.files.targets import Slot, check_apart
from tracer.scenarios.catalog import SCENARIOS
from tracer.scenarios.ordinary import start_ordinary
from tracer.scenarios.stage import Stage
from tracer.scenarios.story import Story, story_path, write_story
from tracer.simulate.options import SimulationOptions
from tracer.simulate.run import Summary, simulate
from tracer.simulate.sink import Sink

__all__ = ["check_scenario", "simulate_scenario"]

# Options that say what random processes do, and to which registry: a scenario has its own.
_OF_RANDOM_ACTIVITY = (
    "processes", "threads", "keys", "gap_us", "preopened", "seed_table", "late_close", "lost_close", "failed_open",
    "reparse", "links", "mixed_case", "slashes", "empty_relative", "nul_names", "surrogate_names", "hostile_names",
    "users", "app_hives",
)  # fmt: skip
_EVENTS_A_SECOND = 2_000  # of ordinary activity at pace 1


def simulate_scenario(path: Path, name: str, options: SimulationOptions, *, truth: bool = True) -> Summary:
    """Write the trace of a scenario to `path`, its truth and its story beside it.

    Args:
        path: the .etl to write.
        name: a name of `SCENARIOS`.
        options: of the file and of what the provider is asked for. `events` is about how many operations
            ordinary programs do meanwhile; those of the story come on top.
        truth: whether to write the truth of each record too.

    Returns:
        what was written.

    Raises:
        UsageError: as of `check_scenario`.
        OSError, TargetError: as of `tracer.simulate.run.simulate`.
    """
    check_scenario(name, options)
    scenario = SCENARIOS[name]
    story = Story(name, scenario.summary)
    check_apart(story_path(path))

    def play(options: SimulationOptions, sink: Sink, random: Random) -> Stage:
        # Another generator for each scenario, so that two runs of one seed differ in what does not matter.
        stage = Stage(options, sink, Random(f"{name} {random.random()}"), story)
        desktop = start_ordinary(stage, options.events / (_EVENTS_A_SECOND * scenario.seconds))
        scenario.begin(stage, desktop)
        return stage

    summary = simulate(path, replace(options, command_lines=True), truth=truth, play=play)
    slot = Slot(story_path(path))
    with slot.workspace() as workspace, slot.publishing():
        write_story(workspace.path / slot.path.name, story, seed=options.seed)
        (workspace.path / slot.path.name).replace(slot.path)
    return summary


def check_scenario(name: str, options: SimulationOptions) -> None:
    """Raise UsageError where there is no such scenario, or an option was changed that a scenario does not use."""
    if name not in SCENARIOS:
        raise UsageError(f"unknown scenario {name!r}; the scenarios are {', '.join(SCENARIOS)}")
    usual = SimulationOptions()
    odd = [one for one in _OF_RANDOM_ACTIVITY if getattr(options, one) != getattr(usual, one)]
    if odd:
        raise UsageError(
            f"a scenario has its own processes, keys and names: leave out {', '.join('--' + one.replace('_', '-') for one in odd)}"
        )


assert set(_OF_RANDOM_ACTIVITY) <= {field.name for field in fields(SimulationOptions)}
