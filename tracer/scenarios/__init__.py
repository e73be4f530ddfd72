"""Scenarios: traces with a story, and the story beside them as the truth.

`SCENARIOS` lists them; `simulate_scenario` writes one.
"""

from tracer.scenarios.catalog import SCENARIOS
from tracer.scenarios.run import check_scenario, simulate_scenario
from tracer.scenarios.story import read_story, story_path

__all__ = ["SCENARIOS", "check_scenario", "read_story", "simulate_scenario", "story_path"]
