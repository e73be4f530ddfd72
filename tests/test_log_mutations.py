"""Damaged logs: whatever was changed in them, no reader raises, and records beside the damage are read.

`python benchmarks/fuzz_logs.py` does the same for as long as one likes.
"""

from pathlib import Path
from random import Random

import pytest
from log_mutations import damage, read_damaged
from log_samples import KINDS, log_content


@pytest.mark.parametrize("name", KINDS)
def test_a_damaged_log_is_read_as_far_as_it_goes(tmp_path: Path, name: str) -> None:
    kind, content = KINDS[name], log_content(name)
    whole, unread = read_damaged(kind, content, tmp_path)
    assert whole >= 8
    assert not unread
    for seed in range(5):
        rows, _ = read_damaged(kind, damage(content, Random(seed)), tmp_path)
        assert rows <= 2 * whole + 4  # a piece of the log may have been doubled


@pytest.mark.parametrize("name", ["json lines", "xml"])
def test_records_beside_one_changed_byte_are_rows(tmp_path: Path, name: str) -> None:
    kind, content = KINDS[name], log_content(name)
    whole, _ = read_damaged(kind, content, tmp_path)
    random = Random(7)
    for _ in range(10):
        at = random.randrange(len(content) // 4, len(content))
        changed = content[:at] + bytes([random.randrange(32, 127)]) + content[at + 1 :]
        rows, _ = read_damaged(kind, changed, tmp_path)
        assert rows >= whole - 2
