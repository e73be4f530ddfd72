"""How fast a hive is read, beside libregf alone: keys, values and their data, in turns in one process.

    python benchmarks/hives.py HIVE [--rounds 3]

The hive is read alone, then with the logs beside it, if there are any. Times are CPU time; libregf builds no columns.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks_common import describe_machine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def ours(path: Path) -> tuple[int, int]:
    from tracer.baseline.hive import open_hive

    hive = open_hive(path)
    values = sum(len(batch.names) for batch in hive.values())
    return len(hive.keys), values


def theirs(path: Path) -> tuple[int, int]:
    import pyregf

    counts = [0, 0]

    def walk(key: object) -> None:
        counts[0] += 1
        key.name, key.get_last_written_time_as_integer()
        for value in key.values:
            value.name, value.type, value.data  # noqa: B018
            counts[1] += 1
        for child in key.sub_keys:
            walk(child)

    file = pyregf.file()
    file.open(str(path))
    walk(file.get_root_key())
    file.close()
    return counts[0], counts[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("hive", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(shutil.copy(given.hive, folder))
        readers = {"regtrace": (ours, alone), "libregf": (theirs, alone), "with logs": (ours, given.hive)}
        best = dict.fromkeys(readers, (float("inf"), 0, 0))
        for _ in range(given.rounds):
            for name, (read, path) in readers.items():
                start = time.process_time()
                keys, values = read(path)
                best[name] = min(best[name], (time.process_time() - start, keys, values))
    for name, (seconds, keys, values) in best.items():
        print(f"{name}: {keys:,} keys, {values:,} values, {seconds:.3f} s CPU, {keys / seconds:,.0f} keys/s")
    print(f"regtrace / libregf: {best['libregf'][0] / best['regtrace'][0]:.2f} times as many keys a second")


if __name__ == "__main__":
    main()
