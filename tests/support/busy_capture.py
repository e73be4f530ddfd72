"""A capture for pictures: many operations of many processes, losses, and names made to do harm."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.capture import Capture
from analysis.open import open_capture
from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate

__all__ = ["busy_capture"]


@contextmanager
def busy_capture(folder: Path, *, events: int) -> Iterator[Capture]:
    """Simulate and ingest a busy trace in `folder`, and open its capture."""
    options = SimulationOptions(
        events=events, seed=3, gap_us=300, lost_buffers=0.1, hostile_names=0.2, nul_names=0.1, surrogate_names=0.1,
    )  # fmt: skip
    simulate(folder / "busy.etl", options)
    ingest([folder / "busy.etl"], folder / "busy.regtrace")
    with open_capture(folder / "busy.regtrace") as opened:
        yield opened
