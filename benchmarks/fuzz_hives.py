"""Hives and logs with seeded damage, opened, mounted and read: each is read as far as it goes, or refused in one sentence.

    python benchmarks/fuzz_hives.py [--inputs 10000] [--seed 7]

Nothing else may be raised, and no more data may come out than the files hold. It prints the slowest input.
"""

import argparse
import struct
import sys
import tempfile
import time
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]


def sound() -> tuple[bytes, bytes]:
    """Return a hive, and a log that belongs to it."""
    import hive_writer

    root = hive_writer.Key("R", class_name="class")
    root.below("Select").values.append(("Current", 4, b"\1\0\0\0"))
    root.below("Setup")
    for number in range(30):
        key = root.below(f"Part {number % 3}\\Key {number}")
        key.values += [("", 1, b"a\0b\0"), (f"Value {number}", 4, b"1234")]
        key.values.append(("Long", 3, bytes(20 if number else 20_000)))
    first = hive_writer.hive(root, most=10, sequences=(8, 7))
    root.below("New").values.append(("x", 1, b"abcdefgh"))
    second = hive_writer.hive(root, most=10, sequences=(8, 7))
    return first, hive_writer.log_of(first, second, 7, steps=3)


def damaged(random: Random, hive: bytes, log: bytes) -> tuple[bytearray, bytearray]:
    """Return both with some bytes changed, mostly where there are other bytes than 0, and sometimes cut."""
    files = bytearray(hive), bytearray(log)
    used = [place for place, byte in enumerate(hive) if byte]
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        is_log = random.random() < 0.3
        file = files[is_log]
        at = (random.randrange(len(file)) if is_log else random.choice(used)) & ~random.choice((0, 3))
        width = random.choice((1, 2, 4))
        offset = struct.pack("<I", random.randrange(0, len(hive), 8))[:width]
        file[at : at + width] = random.choice(
            (random.randbytes(width), b"\xff" * width, bytes(width), offset)
        )
    if random.random() < 0.05:
        del files[0][random.randrange(100, len(hive)) :]
    return files


def main() -> None:
    from tracer.baseline.capture_tables import open_baseline
    from tracer.errors import RegtraceError

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    random, refused, slowest = Random(given.seed), 0, (0.0, 0)
    hive, log = sound()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "SYSTEM"
        for number in range(given.inputs):
            files = damaged(random, hive, log)
            path.write_bytes(files[0])
            path.with_name("SYSTEM.LOG1").write_bytes(files[1])
            start, said = time.process_time(), ""
            try:
                baseline = open_baseline([path])
                batches = baseline.hives[0].hive.values()
                size = sum(len(data or b"") for batch in batches for data in batch.data)
                assert size <= sum(map(len, files)), f"input {number}: {size} bytes of data"
                assert all(baseline.paths())
            except RegtraceError as error:
                said = str(error)
                refused += 1
            assert "\n" not in said, f"input {number}: {said}"
            slowest = max(slowest, (time.process_time() - start, number))
    print(
        f"{given.inputs:,} inputs, {refused:,} refused; the slowest, {slowest[1]}, took {slowest[0] * 1000:.0f} ms CPU"
    )


if __name__ == "__main__":
    main()
