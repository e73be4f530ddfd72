"""The same answers from Spark on a cluster of two workers, and from DuckDB: seconds of each, and whether they are equal.

    python benchmarks/spark_cluster.py FLEET [--captures 20]

FLEET is a folder of captures, such as `benchmarks/many_captures.py --folder` keeps. A standalone master and two workers of one
core and 1.5 GB are started on this machine, and stopped at the end; the driver is a process of its own beside them. It needs
the extra `spark` and Java 17.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
from benchmarks_common import describe_machine

import regtrace as rt
from analysis.answers.errors import errors
from analysis.answers.hot import hot
from analysis.answers.keys import key_summary
from analysis.answers.who import who
from analysis.dataset.spark import tables_on_spark
from analysis.engine.fetch import fetch

_OF_ALL = ("stored_events", "keys", "processes")
ANSWERS: dict[str, Callable[[Mapping], object]] = {
    "key_summary": lambda tables: key_summary(*(tables[name] for name in _OF_ALL[:2])),
    "who": lambda tables: who(*(tables[name] for name in _OF_ALL)),
    "hot by key": lambda tables: hot(*(tables[name] for name in _OF_ALL), by="key"),
    "errors": lambda tables: errors(*(tables[name] for name in _OF_ALL), tables["stored_events"]),
}


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """Run a master and two workers, and return the master's address."""
    import pyspark

    start = [str(Path(pyspark.__file__).parent / "bin" / "spark-class")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_WORKER_DIR": str(folder / "work")}
    address = f"spark://127.0.0.1:{port}"
    parts = [
        [
            "org.apache.spark.deploy.master.Master",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--webui-port",
            "0",
        ]
    ]
    parts += [
        ["org.apache.spark.deploy.worker.Worker", "--cores", "1", "--memory", "1536M", "--host", "127.0.0.1", "--webui-port", "0", address]
    ] * 2  # fmt: skip
    running: list[subprocess.Popen[bytes]] = []
    try:
        for number, part in enumerate(parts):
            with (folder / f"{number}.log").open("wb") as log:
                running.append(
                    subprocess.Popen([*start, *part], env=environment, stdout=log, stderr=subprocess.STDOUT)
                )
            time.sleep(4)
        yield address
    finally:
        for one in running:
            one.terminate()
        for one in running:
            one.wait()


def rows_of(table: pa.Table) -> list[tuple[str, ...]]:
    """Return the rows as text, in one order for all engines."""
    return sorted(tuple(str(value) for value in row.values()) for row in table.to_pylist())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fleet", type=Path)
    parser.add_argument("--captures", type=int, default=20)
    options = parser.parse_args()
    captures = sorted(options.fleet.glob("*.regtrace"))[: options.captures]
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    with tempfile.TemporaryDirectory() as name, cluster(Path(name)) as address:
        builder = SparkSession.builder.master(address).appName("regtrace")
        for setting, value in {
            "spark.driver.host": "127.0.0.1",
            "spark.executor.memory": "1g",
            "spark.driver.memory": "1g",
            "spark.local.dir": name,
            "spark.sql.shuffle.partitions": "4",
            "spark.sql.warehouse.dir": f"{name}/warehouse",
            "spark.ui.enabled": "false",
        }.items():
            builder = builder.config(setting, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("ERROR")
        executors = session.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1
        began = time.perf_counter()
        tables = tables_on_spark(session, captures)
        opened = time.perf_counter() - began
        with rt.open(captures) as dataset:
            events = dataset.manifest.totals["events"]
            print(
                f"{describe_machine()}; load {os.getloadavg()[0]:.1f}; {len(captures)} captures, {events:,} events; {executors} executors"
            )
            print(f"{'open':12} {opened:>7.1f} s on Spark", flush=True)
            for what, ask in ANSWERS.items():
                began = time.perf_counter()
                there = fetch(ask(tables))
                on_spark = time.perf_counter() - began
                began = time.perf_counter()
                here = fetch(ask(dataset.tables))
                print(
                    f"{what:12} {on_spark:>7.1f} s on Spark {time.perf_counter() - began:>7.1f} s on DuckDB "
                    f"{here.num_rows:>8,} rows, {'equal' if rows_of(there) == rows_of(here) else 'NOT EQUAL'}",
                    flush=True,
                )  # fmt: skip
        session.stop()


if __name__ == "__main__":
    main()
