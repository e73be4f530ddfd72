"""Fixtures that many tests share."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Files are written per example, so examples take their time; and where CI runs, a test must not fail today and
# pass tomorrow. Half of Hypothesis' usual examples, for all must be done in minutes; HYPOTHESIS_PROFILE=search looks
# further, by hand.
settings.register_profile("regtrace", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.register_profile(
    "search", deadline=None, max_examples=5000, suppress_health_check=list(HealthCheck), derandomize=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "regtrace"))

# Phrasing a question makes hundreds of thousands of short-lived objects: with the standard thresholds a fifth of the
# processor time, and more where much is loaded, goes into looking for cycles among them.
gc.set_threshold(100_000, 20, 50)

# Tests start hundreds of processes. Where bytecode may not be kept, each of them compiles the whole program, and that
# is half of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


# Altair and nbformat load jsonschema, which makes the grammars of addresses for two seconds where it finds this package of
# Jupyter's. No test has such an address.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


def _synced(descriptor: int) -> None:
    """Stand in for os.fsync: thousands of captures are written, and waiting for the disk proves nothing of any."""
    os.fstat(descriptor)  # a file that is closed is still an error


os.fsync = _synced


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: a process that has nothing left takes over from the others, in the end quick ones."""
    with_slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in with_slow)


def pytest_collection_finish() -> None:
    """Keep what was collected out of later searches for cycles: hundreds of thousands of objects that live to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def phrases(pytestconfig: pytest.Config) -> Path | None:
    """The folder of what Ibis said: no question is phrased twice, in whichever test, process or run.

    Beside it is one of what foreign readers found in files. `--cache-clear` forgets both; None where pytest keeps nothing.
    """
    import foreign_readings
    from phrase_cache import forget_old, use_folder

    cache = getattr(pytestconfig, "cache", None)
    if cache is None:
        return None
    folder = cache.mkdir("phrases")
    forget_old(folder)
    use_folder(folder)
    readings = cache.mkdir("readings")
    forget_old(readings)
    foreign_readings.use_folder(readings)
    return folder


@pytest.fixture(scope="module", autouse=True)
def captures_stay_open() -> Iterator[None]:
    """Let the verbs that a module runs in this process share open captures, while their files are as they were."""
    if "cli.app" not in sys.modules:
        yield
        return
    from open_captures import captures_stay_open as stay_open

    with stay_open():
        yield


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real traces beside the checkout; tests on it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip("no folder of real traces (../shared/corpus) beside this checkout")
    return folder


@pytest.fixture(scope="session")
def procmon_capture(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The capture of a real log of Procmon, 46,030 operations, for tests that only read it."""
    from tracer.ingest.pipeline import ingest

    log = corpus / "pml" / "pp-LogfileTests64bitUTC.pml"
    if not log.is_file():
        pytest.skip("no real log of Procmon in the folder of real traces")
    target = tmp_path_factory.mktemp("procmon") / "log.regtrace"
    ingest([log], target)
    return target
