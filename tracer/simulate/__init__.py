"""A simulated registry that writes genuine .etl files with known truth.

`simulate` writes a trace; `SimulationOptions` says what of; `EtlWriter` makes files from records of one's own.
"""

from tracer.simulate.container import Clock, EtlWriter
from tracer.simulate.options import SimulationOptions
from tracer.simulate.run import Summary, seed_path, simulate, truth_path

__all__ = ["Clock", "EtlWriter", "SimulationOptions", "Summary", "seed_path", "simulate", "truth_path"]
