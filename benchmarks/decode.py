"""Decoding to time-ordered columns against dissect.etl and etl-parser, in one run.

    python benchmarks/decode.py [--events 1000000] [--peer-events 20000] [--rounds 3]

All read files of the same generator with every field of every registry event; the peers, which take
minutes for a million events, a smaller one. They run with the workarounds their faults need
(tests/support/foreign_readers.py). CPU time, in turns, the best of the rounds.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks_common import describe_machine, simulated

from tracer.ingest.kernels import NUMPY, Kernels, load_compiled

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))


def ours(path: Path, kernels: Kernels = NUMPY) -> int:
    from tracer.decode.columns import decode_operations
    from tracer.diagnostics import Diagnostics
    from tracer.etl.reader import EtlReader
    from tracer.rows.events import time_order

    diagnostics = [Diagnostics()]
    names = kernels.name_table()
    rows = 0
    with EtlReader([path], diagnostics, reuse=True, kernels=kernels.read) as reader:
        for records in reader:
            operations = decode_operations(records, reader.providers, names, diagnostics, kernels.chunk)
            order = time_order(records, operations)
            # Every column in time order, as a reader of columns would want them.
            for column in (operations.plan, operations.first_name, operations.last_name, operations.flags):
                column[order]
            for column in (records.time_ns, records.pid, records.tid, records.cpu, records.offset):
                column.take(operations.rows)[order]
            for column in operations.fields.values():
                column[order]
            rows += len(operations)
    return rows


def ours_compiled(path: Path) -> int:
    return ours(path, load_compiled())


def dissect(path: Path) -> int:
    import foreign_readers

    return sum(
        foreign_readers.dissect_registry_fields(record) is not None
        for record in foreign_readers.dissect_records(path)
        if record.provider == foreign_readers.KERNEL_REGISTRY
    )


def etl_parser(path: Path) -> int:
    import foreign_readers

    return sum(
        foreign_readers.etl_parser_registry_fields(record) is not None
        for record in foreign_readers.etl_parser_records(path)
        if record.provider == foreign_readers.KERNEL_REGISTRY
    )


def cpu_per_event(read: Callable[[Path], int], path: Path) -> float:
    start = time.process_time()
    rows = read(path)
    return (time.process_time() - start) / rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--peer-events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        big = simulated(Path(name), arguments.events, foreign=0.0)
        small = simulated(Path(name), arguments.peer_events, foreign=0.0)
        readers = ((ours_compiled, big), (ours, big), (dissect, small), (etl_parser, small))
        ours_compiled(small)  # loads the compiled code, or compiles it
        best = dict.fromkeys(readers, float("inf"))
        for _ in range(arguments.rounds):
            for reader in readers:
                best[reader] = min(best[reader], cpu_per_event(*reader))
    print(describe_machine())
    base = best[readers[0]]
    for (read, path), seconds in best.items():
        print(
            f"{read.__name__:14} {seconds * 1e6:8.2f} us/event  {1 / seconds:10,.0f} events/s  {seconds / base:6.0f} x  ({path.stem})"
        )


if __name__ == "__main__":
    main()
