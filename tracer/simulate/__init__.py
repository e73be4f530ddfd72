"""A simulated registry that writes genuine .etl files with known truth.

`simulate` writes a trace; `Knobs` says what of; `EtlWriter` makes files from records of one's own.
"""

from tracer.simulate.container import Clock, EtlWriter
from tracer.simulate.options import Knobs
from tracer.simulate.run import Summary, seed_path, simulate, truth_path

__all__ = ["Clock", "EtlWriter", "Knobs", "Summary", "seed_path", "simulate", "truth_path"]
