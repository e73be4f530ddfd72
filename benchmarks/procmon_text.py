"""How fast Procmon's exports are read to rows: records a second of a CSV or an XML, beside Arrow or a parser alone.

    python benchmarks/procmon_text.py Logfile.CSV [--times 6] [--rounds 3]
    python benchmarks/procmon_text.py Logfile.XML

The records of the file are repeated to make a large one. Ours and the parser alone run in turns; wall time counts on a quiet
machine only, so processor time stands beside it. Repeated records have few distinct details; those of a real log
of 53,214 records are few already (2,000 of 46,030).
"""

import argparse
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

from benchmarks_common import describe_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def ours(path: Path, kind: str) -> int:
    from tracer.diagnostics import Diagnostics
    from tracer.named.context import NamedContext, NamedOptions
    from tracer.named.ingest import READERS
    from tracer.sources.inputs import SourceFile

    diagnostics = Diagnostics()
    file = SourceFile(path, path.name, str(path), kind)
    context = NamedContext(NamedOptions())
    rows = sum(table.num_rows for table in READERS[kind](file, path.stat().st_size, context, diagnostics))
    return rows + diagnostics["log_other_records"]


def arrow(path: Path) -> int:
    import pyarrow as pa
    import pyarrow.csv as pcsv

    with path.open("rb") as file:
        names = next(file).decode("utf-8-sig").strip().replace('"', "").split(",")
    options = pcsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return int(
        pcsv.read_csv(
            path, convert_options=options, parse_options=pcsv.ParseOptions(newlines_in_values=True)
        ).num_rows
    )


def element_tree(path: Path) -> int:
    count = 0
    for _, element in ET.iterparse(path):
        if element.tag == "event":
            count += 1
            element.clear()
    return count


def repeated(source: Path, kind: str, target: Path, times: int) -> None:
    text = source.read_bytes()
    if kind == "procmon-csv":
        start, end = text.index(b"\n") + 1, len(text)
    else:
        start, end = text.index(b"<event>"), text.rindex(b"</event>") + len(b"</event>")
    with target.open("wb") as out:
        out.write(text[:start])
        for _ in range(times):
            out.write(text[start:end])
        out.write(text[end:])


def measured(name: str, read: Callable[[], int]) -> None:
    wall, cpu = time.perf_counter(), time.process_time()
    count = read()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{name:10} {count:>9,} records  {count / wall:>9,.0f}/s  {count / cpu:>9,.0f} per second of processor"
    )


def main() -> None:
    from tracer.sources.description import kind_of_file

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("--times", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    words = parser.parse_args()
    kind = kind_of_file(words.log, str(words.log)).word
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large"
        repeated(words.log, kind, large, words.times)
        print(f"{large.stat().st_size / 1e6:,.0f} MB")
        for _ in range(words.rounds):
            measured("ours", lambda: ours(large, kind))
            if kind == "procmon-csv":
                measured("arrow", lambda: arrow(large))
            else:
                measured("iterparse", lambda: element_tree(large))


if __name__ == "__main__":
    main()
