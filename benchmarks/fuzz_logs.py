"""Damages logs of every kind at random, and reads them: nothing may be raised, and nothing may hang.

    PYTHONPATH=.:tests/support python benchmarks/fuzz_logs.py --inputs 10000 [--seed 0] [--kind 'json lines']

Prints inputs, rows and the slowest input of each kind. It stops at the first input that raises, and keeps it.
"""

import argparse
import faulthandler
import resource
import tempfile
import time
from pathlib import Path
from random import Random

from log_mutations import damage, read_damaged
from log_samples import KINDS, log_content

HANG_S = 60  # of one input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--kind", choices=KINDS, help="only this one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in [asked.kind] if asked.kind else KINDS:
            kind, content = KINDS[name], log_content(name)
            rows, slowest = 0, (0.0, 0)
            for seed in range(asked.seed, asked.seed + asked.inputs):
                damaged = damage(content, Random(seed))
                faulthandler.dump_traceback_later(HANG_S, exit=True)
                begin = time.perf_counter()
                try:
                    rows += read_damaged(kind, damaged, Path(folder))[0]
                except BaseException:
                    kept = Path(f"{name.replace(' ', '-')}-{seed}.log")
                    kept.write_bytes(damaged)
                    print(f"{name}, seed {seed}: kept as {kept}")
                    raise
                slowest = max(slowest, (time.perf_counter() - begin, seed))
            faulthandler.cancel_dump_traceback_later()
            print(
                f"{name}: {asked.inputs:,} inputs, {rows:,} rows, slowest {slowest[0]:.2f} s (seed {slowest[1]})"
            )
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10:,} MiB")


if __name__ == "__main__":
    main()
