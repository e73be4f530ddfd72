"""Changes and history of large captures are made by loops over ranges of keys: row by row what the engine's windows say."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from plain_rows import simulated
from workloads import PATHS, events, losses, write_workload

from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions import changes, history, key_ranges

Row = dict[str, Any]
SIMULATED: dict[str, Any] = {
    "seed": 22,
    "events": 2500,
    "keys": 50,
    "lost_buffers": 0.15,
    "buffer_size": 8192,
    "nul_names": 0.1,
}


@contextmanager
def in_ranges(rows: int) -> Iterator[None]:
    """Ask for each key by ranges of so many rows, however small the capture."""
    with (
        patch.object(key_ranges, "_MANY_ROWS", 0),
        patch.object(key_ranges, "_usual_rows", lambda _: rows),
        patch.object(changes, "_at_once", None),
        patch.object(history, "_at_once", None),
    ):
        yield


def compare(capture: Capture, rows: int, **words: Any) -> tuple[int, int]:
    """Compare both forms of both answers; return how many rows these have."""
    asked = capture.context, Filters(**words)
    wanted, told = changes.query(*asked).net_changes(), history.query(*asked).to_arrow()
    with in_ranges(rows):
        found = changes.query(*asked).net_changes()
        same(history.query(*asked).to_arrow(), told)
    assert (found.as_before, found.passing) == (wanted.as_before, wanted.passing)
    same(found.rows, wanted.rows)
    return wanted.rows.num_rows, told.num_rows


def same(found: pa.Table, wanted: pa.Table) -> None:
    assert found.schema == wanted.schema
    for name in wanted.schema.names:
        assert found.column(name).to_pylist() == wanted.column(name).to_pylist(), name


@pytest.mark.slow
@settings(max_examples=4, phases=[Phase.reuse, Phase.generate])  # a workload takes too long to shrink
@given(
    st.lists(events(), min_size=20, max_size=80),
    st.lists(losses(), max_size=2),
    st.integers(1, 60),
    st.sampled_from(
        [
            {},
            {"start": "+10us"},
            {"process": "a.exe"},
            {"key": (PATHS[3][0], PATHS[7][0])},
            {"key": (PATHS[2][0],), "subtree": True, "end": "+20us"},
        ]
    ),
)
def test_any_workload_comes_to_the_same(
    rows: list[Row], lost: list[Row], size: int, words: dict[str, Any]
) -> None:
    rows = [row for row in rows if row["operation"] != "RenameKey"]  # of these the engine follows the keys
    with (
        tempfile.TemporaryDirectory() as folder,
        open_capture(write_workload(Path(folder) / "a.regtrace", rows, lost), threads=1) as capture,
    ):
        compare(capture, size, **words)


@pytest.mark.slow
def test_a_simulated_trace_comes_to_the_same(tmp_path: Path) -> None:
    with open_capture(simulated(tmp_path, **SIMULATED), memory_limit="512MB", threads=2) as capture:
        assert min(compare(capture, 300)) > 20
        assert min(compare(capture, 700, start="+1s", end="-500ms", process="*s*"))
        assert min(compare(capture, 500, key=("HKLM",), subtree=True))


def test_a_procmon_log_comes_to_the_same(procmon_capture: Path) -> None:
    with open_capture(procmon_capture) as capture:
        assert min(compare(capture, 5000)) > 20
