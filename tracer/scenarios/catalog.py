"""The catalog of scenarios: name, sentence, and the function that puts the story on the stage."""

from collections.abc import Callable
from dataclasses import dataclass

from tracer.scenarios import boot, installer, persistence, policy, slow_start
from tracer.scenarios.ordinary import Desktop
from tracer.scenarios.stage import Stage

__all__ = ["SCENARIOS", "Scenario"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Attributes:
        name: as users write it.
        summary: one sentence.
        seconds: about how long it lasts.
        begin: puts its acts on a stage.
    """

    name: str
    summary: str
    seconds: float
    begin: Callable[[Stage, Desktop], None]


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("installer", installer.SUMMARY, 2.9, installer.begin),
        Scenario("persistence", persistence.SUMMARY, 4.9, persistence.begin),
        Scenario("slow-start", slow_start.SUMMARY, 9.6, slow_start.begin),
        Scenario("works", policy.WORKS, 1.3, policy.begin_works),
        Scenario("fails", policy.FAILS, 1.3, policy.begin_fails),
        Scenario("boot", boot.SUMMARY, 1.3, boot.begin),
    )
}
