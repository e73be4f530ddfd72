"""One key's timeline out of many events: regtrace against DuckDB reading the same columns from the same files.

    python benchmarks/one_key.py [--events 50000000] [--rounds 7] [--folder DIR]

regtrace: finding the key by its path, joining names, ordering, as Arrow. DuckDB: the stored columns of the rows with
the key's ids, which are given to it, in order. Both are open and warm; they run in turns.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
from analyses_common import BUSY_KEY
from benchmarks_common import describe_machine
from large_capture import large_capture

import regtrace as rt
from analysis.filters import Filters
from tracer.schema import EVENTS
from tracer.store.manifest import Manifest
from tracer.store.reader import event_files


def measure(action: Callable[[], int]) -> tuple[float, float, int]:
    cpu, wall = time.process_time(), time.perf_counter()
    rows = action()
    return time.perf_counter() - wall, time.process_time() - cpu, rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = large_capture(arguments.folder or Path(name), arguments.events)
        files = [str(file) for file in event_files(path, Manifest.load(path))]
        columns = ", ".join(f'"{column}"' for column in EVENTS.names)
        print(f"{describe_machine()}; {arguments.events:,} events")
        with rt.open(path) as capture, duckdb.connect() as direct:
            found = capture.sql(f"SELECT key_id FROM keys WHERE folded_path = '{BUSY_KEY.upper()}'")
            ids = ", ".join(map(str, found["key_id"]))
            query = f"SELECT {columns} FROM read_parquet({files}) WHERE key_id IN ({ids}) ORDER BY sequence"
            forms: dict[str, Callable[[], int]] = {
                "regtrace": lambda: capture.timeline_reader(Filters(key=BUSY_KEY)).read_all().num_rows,
                "DataFrame": lambda: len(capture.timeline(BUSY_KEY)),
                "DuckDB": lambda: direct.sql(query).to_arrow_table().num_rows,
            }
            best: dict[str, tuple[float, float, int]] = {}
            for _ in range(arguments.rounds):
                for form, action in forms.items():
                    wall, cpu, rows = measure(action)
                    known = best.get(form, (wall, cpu, rows))
                    best[form] = (min(wall, known[0]), min(cpu, known[1]), rows)
        wall, cpu, _ = best["DuckDB"]
        for form, (own_wall, own_cpu, rows) in best.items():
            print(
                f"{form:10} {rows:,} rows  {own_wall * 1000:7.0f} ms ({own_wall / wall:.2f} x)  "
                f"CPU {own_cpu * 1000:7.0f} ms ({own_cpu / cpu:.2f} x)"
            )


if __name__ == "__main__":
    main()
