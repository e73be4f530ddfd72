"""Spark answers as DuckDB does, types included: every analysis, on a simulated capture and on several as one.

Needs the extra `spark` and Java 17; skips without them: pip install -e '.[dev,spark]' && pytest -m spark
"""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from small_capture import write_capture
from spark_answers import ANSWERS, NO_TABLES

import regtrace as rt
from analysis.dataset.spark import tables_on_spark
from analysis.engine.fetch import collect, fetch
from tracer.errors import CaptureError, UsageError
from tracer.ingest.pipeline import ingest
from tracer.simulate import SimulationOptions, simulate

# py4j lets go of its sockets when they are collected.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).resolve().parents[1]


def test_every_module_of_answers_is_compared():
    modules = {path.stem for path in (ROOT / "analysis" / "answers").glob("*.py")} - {"__init__"}
    assert modules <= {name.partition(":")[0] for name in ANSWERS} | NO_TABLES.keys()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    sql = pytest.importorskip("pyspark.sql", reason="the extra spark is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        folder = tmp_path_factory.mktemp("spark")
        settings = {
            "spark.driver.host": "localhost",
            "spark.driver.memory": "3g",
            "spark.local.dir": str(folder / "local"),
            # After each of its stages an adaptive plan is printed for the pages of the UI, which takes minutes for a long question.
            "spark.sql.adaptive.enabled": "false",
            "spark.sql.session.timeZone": "America/New_York",  # answers are in UTC wherever Spark runs
            "spark.sql.shuffle.partitions": "2",
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.ui.enabled": "false",
        }
        builder = sql.SparkSession.builder.master("local[2]").appName("regtrace tests")
        for name, value in settings.items():
            builder = builder.config(name, value)
        running = builder.getOrCreate()
        running.sparkContext.setLogLevel("ERROR")
        yield running
        running.stop()
        gc.collect()


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("captures")
    trace = folder / "odd.etl"
    odd = {"nul_names": 0.05, "surrogate_names": 0.05, "hostile_names": 0.1, "lost_events": 0.01}
    simulate(
        trace,
        SimulationOptions(events=3000, seed=5, processes=3, threads=1, failed_open=0.6, extended=0.1, **odd),
        truth=False,
    )
    ingest([trace], folder / "odd.regtrace")
    return [folder / "odd.regtrace", write_capture(folder / "host=1 [a]*" / "small.regtrace")]


@pytest.fixture(scope="module", params=["one", "several"])
def both(request, session, captures) -> Iterator[tuple[rt.Capture, object]]:
    which = captures[0] if request.param == "one" else captures
    with rt.open(which, memory_limit="1GB", threads=2) as capture:
        yield capture, tables_on_spark(session, which)


def compare(ours: pa.Table, theirs: pa.Table) -> None:
    assert theirs.schema == ours.schema
    for name in ours.schema.names:
        assert theirs.column(name).to_pylist() == ours.column(name).to_pylist(), name


@pytest.mark.spark
@pytest.mark.parametrize("name", ANSWERS)
def test_both_engines_answer_alike(both, name):
    capture, tables = both
    ask = ANSWERS[name]
    ours = fetch(ask({**capture.tables, "events": capture.events}))
    assert ours.num_rows
    compare(ours, fetch(ask(tables)))


@pytest.mark.spark
def test_both_engines_hold_the_same_tables(both):
    capture, tables = both
    assert set(tables) == {*capture.tables, "events"}
    for name, table in capture.tables.items():
        ours, theirs = fetch(table), fetch(tables[name])
        order = [(column, "ascending") for column in ours.schema.names if column != "stack"]
        compare(ours.sort_by(order), theirs.sort_by(order))


@pytest.mark.spark
def test_a_frame_from_spark_has_the_types_of_one_from_duckdb(both):
    capture, tables = both
    ask = ANSWERS["keys"]
    ours, theirs = collect(ask(capture.tables)), collect(ask(tables))
    assert list(ours.dtypes) == list(theirs.dtypes)
    assert str(theirs.dtypes["first_time"]) == "datetime64[us, UTC]"


@pytest.mark.spark
def test_the_sessions_settings_and_views_stay_its_own(session, captures):
    tables = tables_on_spark(session, captures)
    assert fetch(tables["keys"].count().as_table()).num_rows == 1
    assert session.conf.get("spark.sql.session.timeZone") == "America/New_York"
    assert session.catalog.listTables() == []


@pytest.mark.spark
def test_no_capture_and_damaged_ones_are_said_in_one_sentence(session, tmp_path):
    with pytest.raises(UsageError, match="no capture"):
        tables_on_spark(session, [])
    with pytest.raises(CaptureError, match="does not exist"):
        tables_on_spark(session, tmp_path / "none.regtrace")
