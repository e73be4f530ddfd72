"""What the benchmarks share: the simulated file and the description of the machine."""

import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable
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


def forked(action: Callable[[], object], *, after_s: float = 0.0) -> int:
    """Do something in a child of this process, and return its exit code; -9 where it was killed, after some seconds say.

    It loads nothing again, so that hundreds of runs are cheap. This process must not have started a thread.
    """
    child = os.fork()
    if not child:
        code = 1
        try:
            action()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:  # noqa: BLE001 - shown, and the process ends
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if after_s:
        time.sleep(after_s)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
