"""What the benchmarks share: the simulated file and the description of the machine."""

import os
import platform
import sys
from pathlib import Path


def simulated(folder: Path, events: int, **options: object) -> Path:
    """Write a simulated trace with the default options and return its path."""
    from tracer.simulate import SimulationOptions, simulate

    path = folder / f"simulated-{events}.etl"
    simulate(path, SimulationOptions(events=events, **options), truth=False)  # type: ignore[arg-type]
    return path


def describe_machine() -> str:
    """Return one line: processor, cores, Python and the libraries that matter."""
    import numpy
    import pyarrow

    processor = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as file:
            processor = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return (
        f"{processor}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, "
        f"NumPy {numpy.__version__}, PyArrow {pyarrow.__version__}, {platform.system()}"
    )
